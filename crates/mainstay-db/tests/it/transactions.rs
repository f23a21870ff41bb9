//! What a transaction leaves behind, however it ends.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, TryStreamExt};
use mainstay_db::{Code, Db, Engine, Error, Result};
use tokio::sync::Barrier;

use crate::support::{accounts, all_back, on_every_engine};

on_every_engine!(
    ok_commits,
    an_error_rolls_back_and_comes_through,
    a_panic_rolls_back,
    a_drop_rolls_back,
    nested_work_joins,
    a_swallowed_joined_error_forbids_the_commit,
    a_swallowed_statement_error_does_not_commit_by_half,
    a_handle_that_outlived_its_transaction_is_refused,
    a_query_inside_a_stream_is_refused_at_once,
    a_dropped_stream_leaves_the_transaction_usable,
    a_statement_dropped_half_way_ends_the_transaction,
    concurrent_statements_take_turns,
    conflicting_transfers_are_run_again,
    a_swallowed_deadlock_does_not_commit_the_rest,
    a_transaction_by_text_is_refused,
    what_a_script_leaves_open_is_rolled_back,
    a_rollback_by_the_engine_is_noticed,
    a_schema_change_in_a_transaction_is_seen_by_all_after_it,
    a_swallowed_bulk_insert_does_not_commit_by_half,
    an_abandoned_transaction_gives_its_connection_back_while_statements_queue,
    thirty_two_workers_keep_the_sum,
);

async fn balance(db: &Db, id: i64) -> i64 {
    db.query("SELECT balance FROM accounts WHERE id = $1").bind(id).scalar().await.unwrap()
}

async fn add(db: &Db, id: i64, cents: i64) -> Result<()> {
    db.query("UPDATE accounts SET balance = balance + $1 WHERE id = $2")
        .bind(cents)
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

async fn ok_commits(db: Db) {
    accounts(&db, 2).await;
    let seen = db
        .transaction(|tx| async move {
            assert!(tx.in_transaction());
            add(&tx, 0, 5).await?;
            Ok(balance(&tx, 0).await)
        })
        .await
        .unwrap();
    assert_eq!((seen, balance(&db, 0).await), (1005, 1005));
}

#[derive(Debug)]
struct Short;
impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("short")
    }
}

async fn an_error_rolls_back_and_comes_through(db: Db) {
    accounts(&db, 2).await;
    let error = db
        .transaction(|tx| async move {
            add(&tx, 0, 5).await?;
            Err::<(), _>(Error::wrap(Short))
        })
        .await
        .unwrap_err();
    assert!(error.detail::<Short>().is_some());
    assert_eq!(balance(&db, 0).await, 1000);
}

async fn a_panic_rolls_back(db: Db) {
    accounts(&db, 1).await;
    let work = db.transaction(|tx| async move {
        add(&tx, 0, 5).await?;
        assert!(tx.engine() != db_engine_that_is_not(&tx), "boom");
        Ok(())
    });
    std::panic::AssertUnwindSafe(work).catch_unwind().await.unwrap_err();
    all_back(&db).await;
    assert_eq!(balance(&db, 0).await, 1000);
}

/// The engine itself, so that the assertion above fails.
fn db_engine_that_is_not(db: &Db) -> Engine {
    db.engine()
}

async fn a_drop_rolls_back(db: Db) {
    accounts(&db, 1).await;
    let work = db.transaction(|tx| async move {
        add(&tx, 0, 5).await?;
        std::future::pending::<Result<()>>().await
    });
    assert!(tokio::time::timeout(Duration::from_millis(100), work).await.is_err());
    all_back(&db).await;
    assert_eq!(balance(&db, 0).await, 1000);
}

async fn nested_work_joins(db: Db) {
    accounts(&db, 1).await;
    let error = db
        .transaction(|tx| async move {
            tx.transaction(|inner| async move { add(&inner, 0, 5).await }).await?;
            assert_eq!(balance(&tx, 0).await, 1005);
            Err::<(), _>(Error::user("the outer fails"))
        })
        .await
        .unwrap_err();
    assert_eq!(error.what(), "the outer fails");
    assert_eq!(balance(&db, 0).await, 1000, "the inner part has not committed by itself");
}

async fn a_swallowed_joined_error_forbids_the_commit(db: Db) {
    accounts(&db, 1).await;
    let error = db
        .transaction(|tx| async move {
            add(&tx, 0, 5).await?;
            let swallowed: Result<()> =
                tx.transaction(|_| async { Err(Error::user("inner")) }).await;
            assert!(swallowed.is_err());
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::TxRollbackOnly);
    assert!(error.report().contains("transactions.rs:"), "{error:?}");
    assert_eq!(balance(&db, 0).await, 1000);
}

/// PostgreSQL gives the whole up; the others undo the statement alone, as their users expect.
async fn a_swallowed_statement_error_does_not_commit_by_half(db: Db) {
    accounts(&db, 1).await;
    let outcome = db
        .transaction(|tx| async move {
            add(&tx, 0, 5).await?;
            assert_eq!(add(&tx, 0, -5000).await.unwrap_err().code(), Code::Check);
            Ok(())
        })
        .await;
    if db.engine() == Engine::Postgres {
        assert_eq!(outcome.unwrap_err().code(), Code::TxRollbackOnly);
        assert_eq!(balance(&db, 0).await, 1000);
    } else {
        outcome.unwrap();
        assert_eq!(balance(&db, 0).await, 1005);
    }
}

async fn a_handle_that_outlived_its_transaction_is_refused(db: Db) {
    accounts(&db, 1).await;
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    db.transaction(|tx| {
        *keep.lock().unwrap() = Some(tx.clone());
        async move { Ok(()) }
    })
    .await
    .unwrap();
    let tx = kept.lock().unwrap().take().unwrap();
    assert_eq!(add(&tx, 0, 5).await.unwrap_err().code(), Code::TxEnded);
    let nested: Result<()> = tx.transaction(|_| async { Ok(()) }).await;
    assert_eq!(nested.unwrap_err().code(), Code::TxEnded);
    assert_eq!(balance(&db, 0).await, 1000);
}

async fn a_query_inside_a_stream_is_refused_at_once(db: Db) {
    accounts(&db, 3).await;
    db.transaction(|tx| async move {
        let mut rows = std::pin::pin!(tx.query("SELECT id FROM accounts").stream::<(i64,)>());
        rows.try_next().await?.unwrap();
        let error = add(&tx, 0, 1).await.unwrap_err();
        assert_eq!(error.code(), Code::TxBusy);
        assert!(error.report().contains("stream"), "{error:?}");
        while rows.try_next().await?.is_some() {}
        add(&tx, 0, 1).await
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1001);
}

async fn a_dropped_stream_leaves_the_transaction_usable(db: Db) {
    accounts(&db, 2000).await;
    db.transaction(|tx| async move {
        {
            let mut rows =
                std::pin::pin!(tx.query("SELECT id, balance FROM accounts").stream::<(i64, i64)>());
            rows.try_next().await?.unwrap();
        }
        add(&tx, 0, 1).await
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1001);
}

async fn a_statement_dropped_half_way_ends_the_transaction(db: Db) {
    accounts(&db, 1).await;
    let slow = match db.engine() {
        Engine::Postgres => "SELECT pg_sleep(0.3)",
        Engine::MySql => "SELECT SLEEP(0.3)",
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT MAX(i) FROM n"
        }
    };
    let error = db
        .transaction(|tx| async move {
            add(&tx, 0, 5).await?;
            let dropped =
                tokio::time::timeout(Duration::from_millis(30), tx.query(slow).execute()).await;
            assert!(dropped.is_err(), "it was to be slow");
            Ok(())
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::TxAbandoned);
    all_back(&db).await;
    assert_eq!(balance(&db, 0).await, 1000);
}

async fn concurrent_statements_take_turns(db: Db) {
    accounts(&db, 1).await;
    db.transaction(|tx| async move {
        let all = (0..20).map(|_| add(&tx, 0, 1));
        futures_util::future::try_join_all(all).await?;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1020);
}

/// Two transfers lock two accounts in opposite orders and meet in the middle: on engines with row
/// locks one is the deadlock's victim, and neither caller sees it.
async fn conflicting_transfers_are_run_again(db: Db) {
    accounts(&db, 2).await;
    let runs = Arc::new(AtomicU32::new(0));
    let meet = Arc::new(Barrier::new(2));
    let row_locks = db.engine() != Engine::Sqlite;
    let transfer = |from: i64, to: i64| {
        let (db, runs, meet) = (db.clone(), Arc::clone(&runs), Arc::clone(&meet));
        async move {
            let first = AtomicBool::new(true);
            db.transaction(|tx| {
                runs.fetch_add(1, SeqCst);
                let waits = row_locks && first.swap(false, SeqCst);
                let meet = Arc::clone(&meet);
                async move {
                    add(&tx, from, -1).await?;
                    if waits {
                        meet.wait().await;
                    }
                    add(&tx, to, 1).await
                }
            })
            .await
        }
    };
    futures_util::future::try_join(transfer(0, 1), transfer(1, 0)).await.unwrap();
    assert_eq!((balance(&db, 0).await, balance(&db, 1).await), (1000, 1000));
    // The victim's second run may take its first row before the winner wakes for it: one more.
    let runs = runs.load(SeqCst);
    assert!(if row_locks { runs >= 3 } else { runs == 2 }, "{runs} runs");
}

async fn thirty_two_workers_keep_the_sum(db: Db) {
    accounts(&db, 50).await;
    let tasks: Vec<_> = (0..32u64)
        .map(|seed| {
            let db = db.clone();
            tokio::spawn(async move {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..20 {
                    let (from, to) = (rng.i64(0..50), rng.i64(0..50));
                    let (first, second) = (from.min(to), from.max(to));
                    let work = db.transaction(|tx| async move {
                        for id in [first, second] {
                            add(&tx, id, if id == from { -1 } else { 1 }).await?;
                        }
                        Ok(())
                    });
                    if from == to {
                        continue;
                    }
                    if rng.u8(0..4) == 0 {
                        let limit = Duration::from_micros(rng.u64(0..4000));
                        let _ = tokio::time::timeout(limit, work).await;
                    } else {
                        work.await.unwrap();
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    all_back(&db).await;
    let rows: Vec<(i64,)> = db.query("SELECT balance FROM accounts").all().await.unwrap();
    assert_eq!(rows.iter().map(|r| r.0).sum::<i64>(), 50_000);
}

/// InnoDB rolls the victim back whole: what follows must not commit by itself.
async fn a_swallowed_deadlock_does_not_commit_the_rest(db: Db) {
    accounts(&db, 2).await;
    if db.engine() != Engine::MySql {
        return;
    }
    let meet = Arc::new(Barrier::new(2));
    let transfer = |from: i64, to: i64| {
        let (db, meet) = (db.clone(), Arc::clone(&meet));
        async move {
            db.transaction(|tx| {
                let meet = Arc::clone(&meet);
                async move {
                    add(&tx, from, -1).await?;
                    meet.wait().await;
                    if add(&tx, to, 1).await.is_err() {
                        assert_eq!(
                            add(&tx, from, 50).await.unwrap_err().code(),
                            Code::TxRollbackOnly
                        );
                    }
                    Ok(())
                }
            })
            .await
        }
    };
    let (a, b) = futures_util::future::join(transfer(0, 1), transfer(1, 0)).await;
    let failed = [a, b].into_iter().filter_map(Result::err).map(|e| e.code()).collect::<Vec<_>>();
    assert_eq!(failed, [Code::TxRollbackOnly]);
    assert_eq!(balance(&db, 0).await + balance(&db, 1).await, 2000);
}

async fn a_transaction_by_text_is_refused(db: Db) {
    accounts(&db, 1).await;
    for sql in [
        "BEGIN",
        " /* x */ commit",
        "ROLLBACK",
        "SAVEPOINT a",
        "START TRANSACTION",
        "UPDATE accounts SET balance = 1; BEGIN",
    ] {
        assert_eq!(db.query(sql).execute().await.unwrap_err().code(), Code::TxControl, "{sql}");
    }
    db.transaction(|tx| async move {
        assert_eq!(tx.query("COMMIT").execute().await.unwrap_err().code(), Code::TxControl);
        let hidden = "UPDATE accounts SET balance = 1; COMMIT; SELECT 1";
        assert_eq!(tx.script(hidden).await.unwrap_err().code(), Code::TxControl);
        add(&tx, 0, 1).await?;
        tx.query("SAVEPOINT a").execute().await?;
        add(&tx, 0, 1).await?;
        tx.query("ROLLBACK TO SAVEPOINT a").execute().await?;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1001);
}

async fn what_a_script_leaves_open_is_rolled_back(db: Db) {
    accounts(&db, 1).await;
    let failing = "BEGIN; UPDATE accounts SET balance = 5; SELECT * FROM nowhere; COMMIT";
    db.script(failing).await.unwrap_err();
    all_back(&db).await;
    assert_eq!(balance(&db, 0).await, 1000);
    db.script("BEGIN; UPDATE accounts SET balance = 6; COMMIT").await.unwrap();
    all_back(&db).await;
    db.transaction(|tx| async move { add(&tx, 0, 1).await }).await.unwrap();
    assert_eq!(balance(&db, 0).await, 7);
}

/// A row that can't be encoded calls PostgreSQL's COPY off, and with it the transaction.
async fn a_swallowed_bulk_insert_does_not_commit_by_half(db: Db) {
    accounts(&db, 1).await;
    let outcome = db
        .transaction(|tx| async move {
            add(&tx, 0, 1).await?;
            let wrong = vec![vec![mainstay_db::Value::from(5i64), 1i64.into()], vec![6i64.into()]];
            tx.bulk_insert("accounts", &["id", "balance"], wrong).await.unwrap_err();
            Ok(())
        })
        .await;
    let committed = outcome.is_ok();
    assert_eq!(committed, db.engine() != Engine::Postgres);
    assert_eq!(balance(&db, 0).await, if committed { 1001 } else { 1000 });
}

async fn an_abandoned_transaction_gives_its_connection_back_while_statements_queue(db: Db) {
    accounts(&db, 1).await;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let work = db.transaction(|tx| {
        keep.lock().unwrap().push(tx.clone());
        for _ in 0..4 {
            let tx = tx.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    let _ = add(&tx, 0, 1).await;
                }
            });
        }
        std::future::pending::<Result<()>>()
    });
    assert!(tokio::time::timeout(Duration::from_millis(30), work).await.is_err());
    // The handle is still held, and the connection is back all the same.
    all_back(&db).await;
    assert_eq!(balance(&db, 0).await, 1000);
    drop(kept);
}

/// Where the engine ends the transaction by itself, nothing that follows commits by itself.
async fn a_rollback_by_the_engine_is_noticed(db: Db) {
    accounts(&db, 2).await;
    match db.engine() {
        Engine::Sqlite => {
            let outcome = db
                .transaction(|tx| async move {
                    add(&tx, 0, 1).await?;
                    let ends = "INSERT OR ROLLBACK INTO accounts (id, balance) VALUES (1, 1)";
                    assert_eq!(tx.query(ends).execute().await.unwrap_err().code(), Code::Unique);
                    assert_eq!(add(&tx, 0, 50).await.unwrap_err().code(), Code::TxRollbackOnly);
                    Ok(())
                })
                .await;
            assert_eq!(outcome.unwrap_err().code(), Code::TxRollbackOnly);
        }
        Engine::MySql => {
            let outcome: Result<()> = db
                .transaction(|tx| async move {
                    add(&tx, 0, 1).await?;
                    tx.query("CREATE TABLE log (id BIGINT)").execute().await?;
                    Ok(())
                })
                .await;
            assert_eq!(outcome.unwrap_err().code(), Code::TxControl, "it would commit half");
        }
        Engine::Postgres => {}
    }
    assert_eq!(balance(&db, 0).await, 1000);
}

async fn a_schema_change_in_a_transaction_is_seen_by_all_after_it(db: Db) {
    if db.engine() == Engine::MySql {
        return;
    }
    db.script("CREATE TABLE c (a BIGINT NOT NULL)").await.unwrap();
    db.query("INSERT INTO c (a) VALUES (1)").execute().await.unwrap();
    let outer = db.clone();
    db.transaction(|tx| {
        let outer = outer.clone();
        async move {
            tx.query("ALTER TABLE c ADD COLUMN b BIGINT").execute().await?;
            if tx.engine() == Engine::Sqlite {
                // Prepares the old table anew, while the change is not yet committed.
                assert_eq!(outer.query("SELECT * FROM c").rows().await?[0].columns(), ["a"]);
            }
            Ok(())
        }
    })
    .await
    .unwrap();
    for _ in 0..20 {
        assert_eq!(db.query("SELECT * FROM c").rows().await.unwrap()[0].columns(), ["a", "b"]);
    }
}
