//! Futures dropped at seeded random points: nobody gets another's answer, nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use mainstay_db::{Db, Engine, Result};

use crate::support::{accounts, all_back, behind_pooler, on_every_engine};

on_every_engine!(
    random_cancellations_leave_nothing_behind,
    a_slow_statement_dropped_frees_its_connection
);

const TASKS: u64 = 24;
const ROUNDS: u64 = 120;

/// Some wait in the server, so that many drops hit a statement that is running.
fn query(engine: Engine, slow: bool) -> &'static str {
    match (engine, slow) {
        (Engine::Sqlite, true) => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT $1 + 0 * MAX(i) FROM n"
        }
        (Engine::Postgres, true) => "SELECT $1::bigint FROM pg_sleep(0.002)",
        (Engine::MySql, true) => "SELECT CAST($1 + SLEEP(0.002) AS SIGNED)",
        (Engine::Sqlite, false) => "SELECT $1 + 0",
        (Engine::Postgres, false) => "SELECT $1::bigint",
        (Engine::MySql, false) => "SELECT CAST($1 AS SIGNED)",
    }
}

/// Asks for a number that nobody else asks for: any other answer is another's.
async fn ask(db: &Db, number: i64, slow: bool) -> Result<()> {
    let answer: i64 = db.query(query(db.engine(), slow)).bind(number).scalar().await?;
    assert_eq!(answer, number, "another's answer");
    Ok(())
}

async fn fail(db: &Db) {
    let error = db.query("SELECT * FROM nowhere").execute().await.unwrap_err();
    assert_eq!(error.code(), mainstay_db::Code::Undefined, "another's error: {error:?}");
}

async fn one(db: &Db, kind: u8, number: i64) -> Result<()> {
    match kind {
        0 => fail(db).await,
        1 | 2 => {
            db.transaction(|tx| async move {
                ask(&tx, number, true).await?;
                tx.query("UPDATE accounts SET balance = balance + 1 WHERE id = $1")
                    .bind(number % 8)
                    .execute()
                    .await?;
                ask(&tx, number + 1, false).await
            })
            .await?;
        }
        3 => {
            let rows = db.query("SELECT id FROM accounts").stream::<(i64,)>();
            let some: Vec<_> = rows.take(3).try_collect().await?;
            assert_eq!(some.len(), 3);
        }
        4 => {
            // Half of them break off by themselves: the last row is there already.
            let ids = (0..3000).map(|n| 1_000_000_000 + number * 10_000 + n);
            let ids: Vec<i64> = ids.chain((number % 20 == 0).then_some(1)).collect();
            let rows = ids.into_iter().map(|id| (id, 1i64));
            match db.bulk_insert("accounts", &["id", "balance"], rows).await {
                Err(error) => assert_eq!(error.code(), mainstay_db::Code::Unique, "{error:?}"),
                Ok(count) => assert_eq!(count, 3000),
            }
        }
        kind => ask(db, number, kind > 6).await?,
    }
    Ok(())
}

async fn random_cancellations_leave_nothing_behind(db: Db) {
    accounts(&db, 400).await;
    let cancelled = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|seed| {
            let (db, cancelled) = (db.clone(), Arc::clone(&cancelled));
            tokio::spawn(async move {
                let mut rng = fastrand::Rng::with_seed(seed);
                for round in 0..ROUNDS {
                    let number = ((seed * ROUNDS + round) * 10).cast_signed();
                    let work = one(&db, rng.u8(0..10), number);
                    if rng.u8(0..3) == 0 {
                        work.await.unwrap();
                    } else {
                        let limit = Duration::from_micros(rng.u64(0..5000));
                        match tokio::time::timeout(limit, work).await {
                            Ok(done) => done.unwrap(),
                            Err(_) => _ = cancelled.fetch_add(1, SeqCst),
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(cancelled.load(SeqCst) > 100, "too few were cancelled to show anything");
    all_back(&db).await;
    assert_eq!(db.status().waiting, 0);
    // A connection that was closed half-way is over for its server a moment later.
    for _ in 0..500 {
        if open_transactions(&db).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(open_transactions(&db).await, 0);
    for number in 0..50 {
        ask(&db, number, false).await.unwrap();
    }
    let parts: i64 =
        db.query("SELECT COUNT(*) FROM accounts WHERE id >= 1000000000").scalar().await.unwrap();
    assert_eq!(parts % 3000, 0, "a bulk insert was done by half");
}

async fn open_transactions(db: &Db) -> i64 {
    match db.engine() {
        Engine::Postgres => db
            .query("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'")
            .scalar()
            .await
            .unwrap(),
        Engine::MySql => db
            .query(
                "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p
                 ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE()",
            )
            .scalar()
            .await
            .unwrap(),
        // The one writer would not be free for this.
        Engine::Sqlite => {
            db.query("UPDATE accounts SET balance = balance WHERE id = 0").execute().await.unwrap();
            0
        }
    }
}

/// Thirty seconds of work are abandoned: the connection is back well before they would be over, and
/// PostgreSQL's server has stopped working on it.
async fn a_slow_statement_dropped_frees_its_connection(db: Db) {
    let slow = match db.engine() {
        Engine::Postgres => "SELECT pg_sleep(30)",
        Engine::MySql => "SELECT SLEEP(30)",
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n"
        }
    };
    abandon(&db, slow).await;
    // A pooler does not pass a cancel on for us.
    if db.engine() == Engine::Postgres && !behind_pooler(&db).await {
        none_sleeps(&db).await;
        // It takes the first cancel for itself, as one does that comes before the statement began.
        abandon(
            &db,
            "DO $$ BEGIN PERFORM pg_sleep(30);
             EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(30); END $$",
        )
        .await;
        none_sleeps(&db).await;
    }
}

async fn abandon(db: &Db, slow: &'static str) {
    let dropped = tokio::time::timeout(Duration::from_millis(100), db.query(slow).execute()).await;
    assert!(dropped.is_err());
    all_back(db).await;
}

/// A server under load may take a moment to end what it was told to; the work would take 30 s.
async fn none_sleeps(db: &Db) {
    const RUNNING: &str = "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' \
         AND datname = current_database() AND query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()";
    for _ in 0..500 {
        if db.query(RUNNING).scalar::<i64>().await.unwrap() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the server still works for nobody");
}
