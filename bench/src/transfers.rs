//! Thirty-two workers move money between a thousand accounts; the sum must not change.

use std::time::Duration;

use futures_util::future::join_all;
use mainstay::Db;
use mainstay::clock::Clock;

use crate::report::{Better, Case, median};
use crate::servers::{Engine, connect, fresh};

const WORKERS: i64 = 32;
const ACCOUNTS: i64 = 1000;
const SECONDS_PER_ROUND: u64 = 2;
const ROUNDS: usize = 5;

/// Two different accounts, lower key first, and which of them gives.
pub(crate) fn pair(accounts: i64, worker: i64, n: i64) -> (i64, i64, i64) {
    let a = (worker * 7919 + n * 104_729) % accounts;
    let b = (a + 1 + (n * 31) % (accounts - 1)) % accounts;
    (a.min(b), a.max(b), if n % 2 == 0 { 1 } else { -1 })
}

/// Runs `$transfer` in every worker for a round, and returns how many a second.
macro_rules! round {
    ($n:ident, $worker:ident => $transfer:expr) => {{
        let clock = Clock::system();
        let begun = clock.now();
        let end = begun + Duration::from_secs(SECONDS_PER_ROUND);
        let tasks: Vec<_> = (0..WORKERS)
            .map(|$worker| {
                let clock = clock.clone();
                let work = $transfer;
                tokio::spawn(async move {
                    let mut $n = 0i64;
                    while clock.now() < end {
                        work($worker, $n).await;
                        $n += 1;
                    }
                    $n
                })
            })
            .collect();
        let done: i64 =
            join_all(tasks).await.into_iter().map(|t| t.expect("no worker failed")).sum();
        done as f64 / (clock.now() - begun).as_secs_f64()
    }};
}

macro_rules! with_pool {
    ($pool:expr, $sql:literal, $begin:literal) => {{
        let pool = $pool;
        round!(n, worker => {
            let pool = pool.clone();
            move |worker, n| {
                let pool = pool.clone();
                async move {
                    let (low, high, sign) = pair(ACCOUNTS, worker, n);
                    let mut tx = pool.begin_with($begin).await.expect("begun");
                    for (id, cents) in [(low, sign), (high, -sign)] {
                        sqlx::query($sql).bind(cents).bind(id).execute(&mut *tx).await.expect("moved");
                    }
                    tx.commit().await.expect("committed");
                }
            }
        })
    }};
}

async fn ours(db: &Db) -> f64 {
    round!(n, worker => {
        let db = db.clone();
        move |worker, n| {
            let db = db.clone();
            async move {
                let (low, high, sign) = pair(ACCOUNTS, worker, n);
                db.transaction(|tx| async move {
                    for (id, cents) in [(low, sign), (high, -sign)] {
                        tx.query("UPDATE accounts SET balance = balance + $1 WHERE id = $2")
                            .bind(cents)
                            .bind(id)
                            .execute()
                            .await?;
                    }
                    Ok(())
                })
                .await
                .expect("moved");
            }
        }
    })
}

pub(crate) async fn run(engine: Engine) -> Case {
    let fresh = fresh(engine).await;
    let db = connect(&fresh).await;
    db.script("CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)")
        .await
        .expect("a table");
    let rows = (0..ACCOUNTS).map(|n| (n, 1_000_000i64));
    db.bulk_insert("accounts", &["id", "balance"], rows).await.expect("rows");
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        mine.push(ours(&db).await);
        theirs.push(match engine {
            Engine::Sqlite => {
                // As a careful user of the driver's pool would: it has no one writer of its own.
                let options: sqlx::sqlite::SqliteConnectOptions = fresh.url.parse().expect("a URL");
                let options = options.busy_timeout(Duration::from_secs(60));
                let pool =
                    sqlx::SqlitePool::connect_with(options).await.expect("the driver's pool");
                with_pool!(
                    pool,
                    "UPDATE accounts SET balance = balance + $1 WHERE id = $2",
                    "BEGIN IMMEDIATE"
                )
            }
            Engine::Postgres => {
                let pool = sqlx::PgPool::connect(&fresh.url).await.expect("the driver's pool");
                with_pool!(
                    pool,
                    "UPDATE accounts SET balance = balance + $1 WHERE id = $2",
                    "BEGIN"
                )
            }
            Engine::MariaDb => {
                let pool = sqlx::MySqlPool::connect(&fresh.url).await.expect("the driver's pool");
                with_pool!(pool, "UPDATE accounts SET balance = balance + ? WHERE id = ?", "BEGIN")
            }
        });
        let balances: Vec<(i64,)> =
            db.query("SELECT balance FROM accounts").all().await.expect("rows");
        let sum: i64 = balances.iter().map(|b| b.0).sum();
        assert_eq!(sum, ACCOUNTS * 1_000_000, "money was created or lost");
    }
    let case = format!("32 concurrent transfers, {}", engine.name());
    Case::new(case, "per second", Better::Higher, median(mine)).peer("sqlx::Pool", median(theirs))
}
