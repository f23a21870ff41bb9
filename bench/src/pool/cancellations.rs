//! Futures dropped at random points of begin, query, commit and release, a million times over the
//! three databases: whether anybody ever got another's answer, and whether a place was lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::observe::{Outcome, Statement, Subscriber};
use mainstay::pool::Options;
use mainstay::rng::Rng;
use mainstay::{Code, Db, Result};

use crate::report::{Better, Case};
use crate::servers::{Engine, fresh};

/// Over all databases; split by how fast each gets its connections back.
const CANCELLATIONS: [(Engine, usize); 3] =
    [(Engine::Sqlite, 400_000), (Engine::Postgres, 450_000), (Engine::MariaDb, 150_000)];
/// A few more than there are connections, so that most fall on a statement and not on a wait.
const TASKS: u64 = 16;
/// In case a machine is far slower.
const TIME_MAX: Duration = Duration::from_secs(600);

pub(crate) async fn run() -> Vec<Case> {
    let (mut total, mut foreign, mut lost, mut open) = (0, 0, 0, 0);
    for (engine, wanted) in CANCELLATIONS {
        let counts = on(engine, wanted).await;
        let (all, under_way) = (counts.cancelled.load(SeqCst), counts.under_way.load(SeqCst));
        eprintln!("{}: {all} cancelled, {under_way} of them in a statement", engine.name());
        total += counts.cancelled.load(SeqCst);
        foreign += counts.foreign.load(SeqCst);
        open += counts.dirty.load(SeqCst);
        lost += counts.lost.load(SeqCst);
    }
    let of = format!("of {total} cancellations");
    vec![
        Case::new(
            format!("foreign answers and errors, {of}"),
            "count",
            Better::Lower,
            f64::from(foreign as u32),
        ),
        Case::new(
            format!("dirty connections handed out, {of}"),
            "count",
            Better::Lower,
            f64::from(open as u32),
        ),
        Case::new(format!("places lost, {of}"), "count", Better::Lower, f64::from(lost as u32)),
    ]
}

#[derive(Default)]
struct Counts {
    cancelled: AtomicUsize,
    /// Of them, those whose statement had been sent.
    under_way: AtomicUsize,
    foreign: AtomicUsize,
    /// Found inside somebody's transaction.
    dirty: AtomicUsize,
    lost: AtomicUsize,
}

struct UnderWay(Arc<Counts>);

impl Subscriber for UnderWay {
    fn statement(&self, event: &Statement<'_>) {
        if matches!(event.outcome, Outcome::Cancelled) && event.connection.is_some() {
            self.0.under_way.fetch_add(1, SeqCst);
        }
    }
}

async fn on(engine: Engine, wanted: usize) -> Arc<Counts> {
    let fresh = fresh(engine).await;
    let options = Options { max_size: 12, ..Options::default() };
    let db = Db::builder(&fresh.url).pool(options).connect().await.expect("ours");
    db.script("CREATE TABLE c (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)").await.expect("a table");
    db.bulk_insert("c", &["id", "n"], (0..64i64).map(|id| (id, 0i64))).await.expect("rows");
    let counts = Arc::new(Counts::default());
    db.observer().subscribe(UnderWay(counts.clone()));
    let clock = Clock::system();
    let until = clock.now() + TIME_MAX;
    let tasks: Vec<_> = (0..TASKS)
        .map(|seed| {
            let (db, counts, clock) = (db.clone(), counts.clone(), clock.clone());
            tokio::spawn(async move {
                let rng = Rng::seeded(seed);
                let mut number = seed.cast_signed() * 1_000_000_000;
                while counts.cancelled.load(SeqCst) < wanted && clock.now() < until {
                    number += 10;
                    let work = one(&db, rng.u64(0..8), number, &counts);
                    // Most fall between the first message and the last answer.
                    let limit = Duration::from_micros(rng.u64(0..1500));
                    if clock.timeout(limit, work).await.is_none() {
                        counts.cancelled.fetch_add(1, SeqCst);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    settle(&db, &counts).await;
    counts
}

async fn one(db: &Db, kind: u64, number: i64, counts: &Counts) -> Result<()> {
    match kind {
        0 => match db.query("SELECT * FROM nowhere").execute().await {
            Err(error) if error.code() == Code::Undefined => Ok(()),
            _ => {
                counts.foreign.fetch_add(1, SeqCst);
                Ok(())
            }
        },
        1..=3 => {
            db.transaction(|tx| async move {
                ask(&tx, number, counts).await?;
                let update = tx.query("UPDATE c SET n = n + 1 WHERE id = $1").bind(number % 64);
                update.execute().await?;
                ask(&tx, number + 1, counts).await
            })
            .await
        }
        _ => ask(db, number, counts).await,
    }
}

/// Asks for a number that nobody else asks for.
async fn ask(db: &Db, number: i64, counts: &Counts) -> Result<()> {
    let sql = match db.engine() {
        mainstay::Engine::MySql => "SELECT CAST($1 AS SIGNED)",
        mainstay::Engine::Postgres => "SELECT $1::bigint",
        mainstay::Engine::Sqlite => "SELECT $1 + 0",
    };
    match db.query(sql).bind(number).scalar::<i64>().await {
        Ok(answer) if answer == number => Ok(()),
        // A lock's victim is no stranger's error.
        Err(error) if matches!(error.code(), Code::Deadlock | Code::Serialization) => Err(error),
        Ok(_) | Err(_) => {
            counts.foreign.fetch_add(1, SeqCst);
            Ok(())
        }
    }
}

/// All is back, none is inside a transaction, and the whole capacity can be had.
async fn settle(db: &Db, counts: &Counts) {
    let clock = Clock::system();
    let until = clock.now() + Duration::from_secs(10);
    while db.status().in_use + db.status().connecting > 0 && clock.now() < until {
        clock.sleep(Duration::from_millis(5)).await;
    }
    counts.lost.fetch_add(db.status().in_use + db.status().waiting, SeqCst);
    let in_transaction = match db.engine() {
        mainstay::Engine::Postgres => {
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
        }
        mainstay::Engine::MySql => {
            "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE()"
        }
        // Its one writer would not be free for this.
        mainstay::Engine::Sqlite => "UPDATE c SET n = 0 WHERE id = -1 RETURNING id",
    };
    clock.sleep(Duration::from_millis(500)).await;
    let open = db.query(in_transaction).optional::<(i64,)>().await;
    counts.dirty.fetch_add(open.ok().flatten().map_or(0, |(n,)| n as usize), SeqCst);
}
