//! Thirty-two workers read two accounts and move money between them, at the level where that conflicts:
//! SERIALIZABLE on PostgreSQL, REPEATABLE READ on MariaDB; and on SQLite, where one writes at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use mainstay::clock::Clock;
use mainstay::db::{Isolation, RetryPolicy};
use mainstay::observe::{Subscriber, Transaction};
use mainstay::{Db, Retry};

use crate::report::{Better, Case, median};
use crate::servers::{Engine, Fresh, connect, fresh};
use crate::transfers::pair;

const WORKERS: i64 = 32;
const ACCOUNTS: i64 = 200;
const SECONDS_PER_ROUND: u64 = 3;
const ROUNDS: usize = 5;
/// A hand-written loop gives up after as many.
const ATTEMPTS: u32 = 20;

#[derive(Clone, Default)]
struct Counts {
    moved: Arc<AtomicU64>,
    again: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl Counts {
    fn of(&self) -> (f64, f64, f64) {
        let [moved, again, failed] =
            [&self.moved, &self.again, &self.failed].map(|n| n.load(Relaxed) as f64);
        (moved, again / moved * 1000.0, failed)
    }
}

impl Subscriber for Counts {
    fn transaction(&self, event: &Transaction<'_>) {
        if event.retry_after.is_some() {
            self.again.fetch_add(1, Relaxed);
        }
    }
}

/// Runs `work` in every worker for a round; transfers a second.
async fn round<F, W>(work: F) -> f64
where
    F: Fn(i64, i64) -> W,
    W: Future<Output = bool>,
{
    let clock = Clock::system();
    let begun = clock.now();
    let end = begun + Duration::from_secs(SECONDS_PER_ROUND);
    let (work, clock) = (&work, &clock);
    let workers = (0..WORKERS).map(|worker| async move {
        let (mut n, mut moved) = (0, 0u32);
        while clock.now() < end {
            moved += u32::from(work(worker, n).await);
            n += 1;
        }
        moved
    });
    let moved: u32 = join_all(workers).await.into_iter().sum();
    f64::from(moved) / (clock.now() - begun).as_secs_f64()
}

const READ: &str = "SELECT balance FROM accounts WHERE id = $1";
const MOVE: &str = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";

async fn ours(db: &Db, level: Isolation, counts: &Counts) -> f64 {
    let policy = RetryPolicy::attempts(ATTEMPTS);
    round(|worker, n| async move {
        let (low, high, sign) = pair(ACCOUNTS, worker, n);
        let moved = db.tx().isolation(level).retry(policy).run(|tx| async move {
            for (id, cents) in [(low, sign), (high, -sign)] {
                let _: i64 = tx.query(READ).bind(id).scalar().await?;
                tx.query(MOVE).bind(cents).bind(id).execute().await?;
            }
            Ok(())
        });
        let moved = moved.await;
        if let Err(error) = &moved {
            assert_eq!(error.retryability(), Retry::Transaction, "{error:?}");
        }
        let counted = if moved.is_ok() { &counts.moved } else { &counts.failed };
        counted.fetch_add(1, Relaxed);
        moved.is_ok()
    })
    .await
}

/// The same with the driver's pool, in the loop that one writes by hand.
macro_rules! theirs {
    ($pool:expr, $begin:literal, $read:literal, $move:literal, $counts:expr, $again:expr) => {{
        let (pool, counts) = (&$pool, $counts);
        round(|worker, n| async move {
            let (low, high, sign) = pair(ACCOUNTS, worker, n);
            for _ in 0..ATTEMPTS {
                let moved = async {
                    let mut tx = pool.begin_with($begin).await?;
                    for (id, cents) in [(low, sign), (high, -sign)] {
                        sqlx::query($read).bind(id).fetch_one(&mut *tx).await?;
                        sqlx::query($move).bind(cents).bind(id).execute(&mut *tx).await?;
                    }
                    tx.commit().await
                };
                match moved.await {
                    Ok(()) => {
                        counts.moved.fetch_add(1, Relaxed);
                        return true;
                    }
                    Err(error) => {
                        let code = error.as_database_error().and_then(|e| e.code());
                        let code = code.as_deref().unwrap_or_default();
                        assert!($again.contains(&code), "{error}");
                        counts.again.fetch_add(1, Relaxed);
                    }
                }
            }
            counts.failed.fetch_add(1, Relaxed);
            false
        })
        .await
    }};
}

async fn peer(engine: Engine, fresh: &Fresh, counts: &Counts) -> f64 {
    match engine {
        Engine::Sqlite => {
            // As most begin: the driver's defaults, and a transaction that reads before it writes.
            let pool = sqlx::SqlitePool::connect(&fresh.url).await.expect("the driver's pool");
            theirs!(
                pool,
                "BEGIN",
                "SELECT balance FROM accounts WHERE id = $1",
                "UPDATE accounts SET balance = balance + $1 WHERE id = $2",
                counts,
                ["5", "517"]
            )
        }
        Engine::Postgres => {
            let pool = sqlx::PgPool::connect(&fresh.url).await.expect("the driver's pool");
            theirs!(
                pool,
                "BEGIN ISOLATION LEVEL SERIALIZABLE",
                "SELECT balance FROM accounts WHERE id = $1",
                "UPDATE accounts SET balance = balance + $1 WHERE id = $2",
                counts,
                ["40001", "40P01"]
            )
        }
        Engine::MariaDb => {
            let pool = sqlx::MySqlPool::connect(&fresh.url).await.expect("the driver's pool");
            theirs!(
                pool,
                "BEGIN",
                "SELECT balance FROM accounts WHERE id = ?",
                "UPDATE accounts SET balance = balance + ? WHERE id = ?",
                counts,
                ["40001"]
            )
        }
    }
}

pub(crate) async fn run(engine: Engine) -> Vec<Case> {
    let fresh = fresh(engine).await;
    let db = connect(&fresh).await;
    db.script("CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)")
        .await
        .expect("a table");
    let rows = (0..ACCOUNTS).map(|n| (n, 1_000_000i64));
    db.bulk_insert("accounts", &["id", "balance"], rows).await.expect("rows");
    let level = match engine {
        Engine::MariaDb => Isolation::RepeatableRead,
        Engine::Sqlite | Engine::Postgres => Isolation::Serializable,
    };
    let (counts, theirs) = (Counts::default(), Counts::default());
    db.observer().subscribe(counts.clone());
    let (mut mine, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        mine.push(ours(&db, level, &counts).await);
        peers.push(peer(engine, &fresh, &theirs).await);
        let balances: Vec<(i64,)> =
            db.query("SELECT balance FROM accounts").all().await.expect("rows");
        let sum: i64 = balances.iter().map(|b| b.0).sum();
        assert_eq!(sum, ACCOUNTS * 1_000_000, "money was created or lost");
    }
    let at = format!("32 workers, {level}, {}", engine.name());
    let ((_, again, failed), (_, again_theirs, failed_theirs)) = (counts.of(), theirs.of());
    let peer = "sqlx::Pool and a loop";
    vec![
        Case::new(format!("transfers, {at}"), "per second", Better::Higher, median(mine))
            .peer(peer, median(peers)),
        Case::new(format!("runs again, {at}"), "per 1000", Better::Lower, again)
            .peer(peer, again_theirs),
        Case::new(format!("conflicts at the caller, {at}"), "count", Better::Lower, failed)
            .peer(peer, failed_theirs),
    ]
}
