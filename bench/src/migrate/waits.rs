//! How long a change of a table waits for its lock while somebody holds the table, and what the
//! table's readers feel meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay::Db;
use mainstay::clock::Clock;
use mainstay_migrate::{Migrations, Migrator, Options, Target};

use crate::report::{Better, Case};
use crate::servers::{Engine, connect, fresh};

/// What a statement may wait.
const LOCK_TIMEOUT: Duration = Duration::from_millis(500);
/// How long somebody reads the table in one transaction.
const HELD: Duration = Duration::from_secs(6);

pub(crate) async fn run() -> Vec<Case> {
    let database = fresh(Engine::Postgres).await;
    let db = connect(&database).await;
    db.script(
        "CREATE TABLE t (id BIGINT PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000)",
    )
    .await
    .expect("a table");
    let clock = Clock::system();
    let reader = db.clone();
    let held = tokio::spawn(async move {
        let clock = Clock::system();
        let work = reader.transaction(|tx| {
            let clock = clock.clone();
            async move {
                tx.query("SELECT COUNT(*) FROM t").scalar::<i64>().await?;
                clock.sleep(HELD).await;
                Ok(())
            }
        });
        work.await.expect("read");
    });
    clock.sleep(Duration::from_millis(200)).await;
    let over = Arc::new(AtomicBool::new(false));
    let reads = tokio::spawn(read(db.clone(), Arc::clone(&over)));
    let waits = tokio::spawn(watch(db.clone(), Arc::clone(&over)));
    let options = Options { lock_timeout: LOCK_TIMEOUT, lock_retries: 100, ..Options::default() };
    let migrations = Migrations::new().text("V1__n.sql", "ALTER TABLE t ADD COLUMN n BIGINT");
    let migrator = Migrator::new(&db, migrations)
        .options(Options { baseline_on_migrate: true, baseline_version: "0".to_owned(), ..options })
        .on(|_| {});
    migrator.up(Target::Latest).await.expect("migrated");
    over.store(true, Ordering::SeqCst);
    held.await.expect("it ended");
    let longest_read = reads.await.expect("it ended");
    let longest_wait = waits.await.expect("it ended");
    let limit = LOCK_TIMEOUT.as_millis();
    let case = |what: &str, ms: f64| {
        let case =
            format!("{what}, a table held for {HELD:?}, lock_timeout {limit} ms, PostgreSQL");
        Case::new(case, "ms", Better::Lower, ms)
    };
    vec![case("longest wait of a DDL", longest_wait), case("longest read meanwhile", longest_read)]
}

/// Reads the table over and over; the longest read in milliseconds.
async fn read(db: Db, over: Arc<AtomicBool>) -> f64 {
    let clock = Clock::system();
    let mut longest = Duration::ZERO;
    while !over.load(Ordering::SeqCst) {
        let begun = clock.now();
        db.query("SELECT id FROM t WHERE id = 7").one::<(i64,)>().await.expect("read");
        longest = longest.max(clock.now() - begun);
        clock.sleep(Duration::from_millis(2)).await;
    }
    longest.as_secs_f64() * 1e3
}

/// Asks the server who waits for a lock; the longest wait in milliseconds.
async fn watch(db: Db, over: Arc<AtomicBool>) -> f64 {
    const ASK: &str = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start)), 0)::float8 \
                       FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER%'";
    let clock = Clock::system();
    let mut longest: f64 = 0.0;
    while !over.load(Ordering::SeqCst) {
        longest = longest.max(db.query(ASK).scalar::<f64>().await.expect("asked"));
        clock.sleep(Duration::from_millis(5)).await;
    }
    longest * 1e3
}
