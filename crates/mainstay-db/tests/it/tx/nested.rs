//! Savepoints: what is kept, what is undone, and whose turn it is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use mainstay_db::{Code, Db, Engine, Error, Propagation, Result, Tx};
use tokio::sync::Notify;

use crate::support::{accounts, all_back, on_every_engine};

on_every_engine!(
    a_failed_statement_costs_only_its_savepoint,
    savepoints_nest,
    a_dropped_savepoint_is_undone_before_the_next_statement,
    a_dropped_savepoint_is_undone_before_the_commit,
    the_outer_handle_is_refused_inside,
    two_at_once_take_turns,
    a_part_that_joined_a_savepoint_ends_it_alone,
    a_handle_that_outlived_its_savepoint_is_refused,
    a_savepoint_dropped_in_a_statement_ends_the_transaction,
    a_task_that_outlives_its_savepoint_keeps_nothing,
    many_savepoints_with_drops_at_random_keep_the_books,
);

fn nested(tx: &Db) -> Tx<'_> {
    tx.tx().propagation(Propagation::Nested)
}

async fn add(db: &Db, id: i64, cents: i64) -> Result<()> {
    let sql = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
    db.query(sql).bind(cents).bind(id).execute().await.map(drop)
}

async fn balance(db: &Db, id: i64) -> i64 {
    db.query("SELECT balance FROM accounts WHERE id = $1").bind(id).scalar().await.unwrap()
}

/// On PostgreSQL a failed statement gives up all of a transaction, but for a savepoint.
async fn a_failed_statement_costs_only_its_savepoint(db: Db) {
    accounts(&db, 2).await;
    db.transaction(|tx| async move {
        add(&tx, 0, 1).await?;
        let failed = nested(&tx).run(|inner| async move {
            add(&inner, 1, 7).await?;
            add(&inner, 0, -5000).await
        });
        assert_eq!(failed.await.unwrap_err().code(), Code::Check);
        // Swallowed inside, it is found when the savepoint would be kept.
        let swallowed: Result<()> = nested(&tx)
            .run(|inner| async move {
                add(&inner, 1, 7).await?;
                let _ = add(&inner, 0, -5000).await;
                Ok(())
            })
            .await;
        match tx.engine() {
            Engine::Postgres => assert_eq!(swallowed.unwrap_err().code(), Code::TxRollbackOnly),
            Engine::Sqlite | Engine::MySql => swallowed.unwrap(),
        }
        add(&tx, 0, 1).await
    })
    .await
    .unwrap();
    let kept = if db.engine() == Engine::Postgres { 1000 } else { 1007 };
    assert_eq!((balance(&db, 0).await, balance(&db, 1).await), (1002, kept));
}

async fn savepoints_nest(db: Db) {
    accounts(&db, 1).await;
    db.transaction(|tx| async move {
        add(&tx, 0, 1).await?;
        nested(&tx)
            .run(|a| async move {
                add(&a, 0, 10).await?;
                let inner: Result<()> = nested(&a)
                    .run(|b| async move {
                        add(&b, 0, 100).await?;
                        nested(&b).run(|c| async move { add(&c, 0, 500).await }).await?;
                        Err(Error::user("b fails, and c with it"))
                    })
                    .await;
                assert!(inner.is_err());
                nested(&a).run(|c| async move { add(&c, 0, 200).await }).await
            })
            .await
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1211);
}

async fn half(tx: &Db) {
    let written = &Notify::new();
    let run = nested(tx).run(|inner| async move {
        add(&inner, 0, 500).await?;
        let deeper = nested(&inner).run(|deeper| async move {
            add(&deeper, 0, 70).await?;
            written.notify_one();
            std::future::pending::<Result<()>>().await
        });
        deeper.await
    });
    tokio::select! {
        ended = run => panic!("it was to be dropped: {ended:?}"),
        () = written.notified() => {}
    }
}

async fn a_dropped_savepoint_is_undone_before_the_next_statement(db: Db) {
    accounts(&db, 1).await;
    db.transaction(|tx| async move {
        add(&tx, 0, 1).await?;
        half(&tx).await;
        assert_eq!(balance(&tx, 0).await, 1001);
        nested(&tx).run(|inner| async move { add(&inner, 0, 2).await }).await
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1003);
}

async fn a_dropped_savepoint_is_undone_before_the_commit(db: Db) {
    accounts(&db, 1).await;
    db.transaction(|tx| async move {
        add(&tx, 0, 1).await?;
        half(&tx).await;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1001);
}

async fn the_outer_handle_is_refused_inside(db: Db) {
    accounts(&db, 1).await;
    db.transaction(|tx| async move {
        let outer = tx.clone();
        nested(&tx)
            .run(|inner| {
                let outer = outer.clone();
                async move {
                    let error = add(&outer, 0, 1).await.unwrap_err();
                    assert_eq!(error.code(), Code::TxBusy);
                    assert!(error.report().contains("nested"), "{error:?}");
                    let error = nested(&outer).run(|_| async { Ok(()) }).await.unwrap_err();
                    assert_eq!(error.code(), Code::TxBusy);
                    add(&inner, 0, 2).await
                }
            })
            .await
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1002);
}

async fn two_at_once_take_turns(db: Db) {
    accounts(&db, 1).await;
    db.transaction(|tx| async move {
        let parts = (0..6).map(|n| {
            let tx = tx.clone();
            async move {
                let outcome: Result<()> = nested(&tx)
                    .run(|inner| async move {
                        add(&inner, 0, 1).await?;
                        tokio::task::yield_now().await;
                        add(&inner, 0, 1).await?;
                        if n % 3 == 0 { Err(Error::user("every third")) } else { Ok(()) }
                    })
                    .await;
                outcome.is_ok()
            }
        });
        let plain = async {
            for _ in 0..5 {
                add(&tx, 0, 100).await.unwrap();
            }
        };
        let (kept, ()) =
            futures_util::future::join(futures_util::future::join_all(parts), plain).await;
        assert_eq!(kept, [false, true, true, false, true, true]);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1508);
}

async fn a_part_that_joined_a_savepoint_ends_it_alone(db: Db) {
    accounts(&db, 1).await;
    db.transaction(|tx| async move {
        add(&tx, 0, 1).await?;
        let error = nested(&tx)
            .run(|inner| async move {
                add(&inner, 0, 10).await?;
                let _: Result<()> = inner.transaction(|_| async { Err(Error::user("no")) }).await;
                Ok(())
            })
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::TxRollbackOnly);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1001);
}

async fn a_handle_that_outlived_its_savepoint_is_refused(db: Db) {
    accounts(&db, 1).await;
    db.transaction(|tx| async move {
        let kept = nested(&tx).run(|inner| async move { Ok(inner) }).await?;
        assert_eq!(add(&kept, 0, 1).await.unwrap_err().code(), Code::TxEnded);
        assert_eq!(
            nested(&kept).run(|_| async { Ok(()) }).await.unwrap_err().code(),
            Code::TxEnded
        );
        let mut rows = std::pin::pin!(kept.query("SELECT 1").stream::<(i32,)>());
        assert_eq!(rows.try_next().await.unwrap_err().code(), Code::TxEnded);
        add(&tx, 0, 2).await
    })
    .await
    .unwrap();
    assert_eq!(balance(&db, 0).await, 1002);
}

/// Nobody knows whether the statement took effect, so nothing can be built on it.
async fn a_savepoint_dropped_in_a_statement_ends_the_transaction(db: Db) {
    accounts(&db, 1).await;
    let slow = match db.engine() {
        Engine::Postgres => "SELECT 1 FROM pg_sleep(1)",
        Engine::MySql => "SELECT SLEEP(1)",
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000000) SELECT MAX(i) FROM n"
        }
    };
    let error = db
        .transaction(|tx| async move {
            let run = nested(&tx).run(|inner| async move {
                add(&inner, 0, 5).await?;
                inner.query(slow).execute().await
            });
            assert!(tokio::time::timeout(Duration::from_millis(100), run).await.is_err());
            add(&tx, 0, 1).await
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::TxAbandoned, "{error:?}");
    all_back(&db).await;
    assert_eq!(balance(&db, 0).await, 1000);
}

async fn a_task_that_outlives_its_savepoint_keeps_nothing(db: Db) {
    accounts(&db, 1).await;
    let go = Arc::new(Notify::new());
    let late = db
        .transaction(|tx| {
            let go = Arc::clone(&go);
            async move {
                let late = nested(&tx)
                    .run(|inner| {
                        let go = Arc::clone(&go);
                        async move {
                            Ok(tokio::spawn(async move {
                                go.notified().await;
                                add(&inner, 0, 500).await.map_err(|e| e.code())
                            }))
                        }
                    })
                    .await?;
                add(&tx, 0, 1).await?;
                Ok(late)
            }
        })
        .await
        .unwrap();
    go.notify_one();
    assert_eq!(late.await.unwrap(), Err(Code::TxEnded));
    assert_eq!(balance(&db, 0).await, 1001);
}

/// A seeded tree of savepoints, some failing, some dropped between statements: the balance is the sum
/// of exactly those that were kept.
async fn many_savepoints_with_drops_at_random_keep_the_books(db: Db) {
    accounts(&db, 1).await;
    let mut expected = 1000;
    for seed in 0..12u64 {
        let added = db
            .transaction(|tx| async move {
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut sum = 0;
                for _ in 0..rng.u32(1..8) {
                    let (cents, fate) = (rng.i64(1..50), rng.u8(0..3));
                    let run = nested(&tx).run(|inner| async move {
                        add(&inner, 0, cents).await?;
                        let deep = nested(&inner).run(|deep| async move { add(&deep, 0, 1).await });
                        deep.await?;
                        match fate {
                            0 => Ok(()),
                            1 => Err(Error::user("no")),
                            _ => std::future::pending().await,
                        }
                    });
                    let limit = Duration::from_millis(if fate == 2 { 60 } else { 5000 });
                    if let Ok(Ok(())) = tokio::time::timeout(limit, run).await {
                        sum += cents + 1;
                    }
                }
                Ok(sum)
            })
            .await;
        match added {
            Ok(sum) => expected += sum,
            // A drop fell into a statement on a slow machine: then all of it is rolled back.
            Err(error) => assert_eq!(error.code(), Code::TxAbandoned, "{error:?}"),
        }
        all_back(&db).await;
        assert_eq!(balance(&db, 0).await, expected, "seed {seed}");
    }
}
