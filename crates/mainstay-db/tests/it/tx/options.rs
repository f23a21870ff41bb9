//! Isolation, access, time, retries, and errors that commit all the same.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::observe::{Outcome, Subscriber, Transaction};
use mainstay_core::scope::{Kind, Scope};
use mainstay_db::{Code, Db, Engine, Error, Isolation, Propagation, Result, RetryPolicy};
use mainstay_pool::Options;

use crate::support::{accounts, all_back, on_every_engine};

on_every_engine!(
    each_level_is_what_the_server_was_asked_for,
    what_the_engine_lacks_is_refused,
    a_read_only_transaction_writes_nothing,
    a_part_that_asks_for_another_isolation_is_refused,
    a_timeout_rolls_back_and_says_so,
    a_deadline_that_passed_forbids_the_commit,
    conflicts_are_retried_as_often_as_the_policy_says,
    attempts_end_with_the_deadline,
    an_error_may_commit_anyway,
    a_level_ends_with_its_transaction,
    a_part_that_is_still_running_forbids_the_commit,
    a_conflict_inside_does_not_multiply_the_attempts,
    what_would_end_the_transaction_unseen_is_refused,
);
mod pooled {
    use super::*;
    on_every_engine!(url:
        requires_new_that_could_never_be_had_is_refused_at_once,
        requires_new_waits_where_somebody_will_give_back,
        parts_of_one_transaction_count_its_connection_once,
    );
}

async fn balance(db: &Db) -> i64 {
    db.query("SELECT balance FROM accounts WHERE id = 0").scalar().await.unwrap()
}

fn is_read(engine: Engine) -> Option<&'static str> {
    match engine {
        Engine::Postgres => Some("SELECT upper(current_setting('transaction_isolation'))"),
        Engine::MySql => Some(
            "SELECT trx_isolation_level FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()",
        ),
        Engine::Sqlite => None,
    }
}

/// It shows its transactions as they were up to a tenth of a second before.
async fn innodb_looks_again(tx: &Db) {
    if tx.engine() == Engine::MySql {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn each_level_is_what_the_server_was_asked_for(db: Db) {
    accounts(&db, 1).await;
    for level in Isolation::ALL.into_iter().filter(|level| level.is_of(db.engine())) {
        let told: Option<String> = db
            .tx()
            .isolation(level)
            .run(|tx| async move {
                // InnoDB lists only transactions that have done something.
                tx.query("UPDATE accounts SET balance = 5").execute().await?;
                innodb_looks_again(&tx).await;
                match is_read(tx.engine()) {
                    Some(sql) => tx.query(sql).scalar().await.map(Some),
                    None => Ok(None),
                }
            })
            .await
            .unwrap();
        if let Some(told) = told {
            assert_eq!(told, level.as_sql());
        }
    }
}

/// A level is the transaction's, not the session's: the next one on the connection has the default.
async fn a_level_ends_with_its_transaction(db: Db) {
    accounts(&db, 1).await;
    let Some(sql) = is_read(db.engine()) else { return };
    let ask = || {
        db.transaction(move |tx| async move {
            tx.query("UPDATE accounts SET balance = 5").execute().await?;
            innodb_looks_again(&tx).await;
            tx.query(sql).scalar::<String>().await
        })
    };
    let default = ask().await.unwrap();
    assert_ne!(default, "SERIALIZABLE");
    for _ in 0..4 {
        db.tx().isolation(Isolation::Serializable).run(|_| async { Ok(()) }).await.unwrap();
        assert_eq!(ask().await.unwrap(), default);
    }
}

async fn what_the_engine_lacks_is_refused(db: Db) {
    let run = |level: Option<Isolation>, deferrable: bool, read_only: bool| {
        let mut tx = db.tx();
        tx = if let Some(level) = level { tx.isolation(level) } else { tx };
        tx = if deferrable { tx.deferrable() } else { tx };
        tx = if read_only { tx.read_only() } else { tx };
        tx.run(|_| async { Ok(()) })
    };
    for level in Isolation::ALL {
        let outcome = run(Some(level), false, false).await;
        assert_eq!(outcome.is_ok(), level.is_of(db.engine()), "{level}");
        if let Err(error) = outcome {
            assert_eq!(error.code(), Code::Unsupported);
            assert!(error.report().contains("options.rs:"), "{error:?}");
        }
    }
    let whole = run(Some(Isolation::Serializable), true, true).await;
    assert_eq!(whole.is_ok(), db.engine() == Engine::Postgres);
    for outcome in
        [run(None, true, true).await, run(Some(Isolation::Serializable), true, false).await]
    {
        assert_eq!(outcome.unwrap_err().code(), Code::Unsupported);
    }
}

async fn a_read_only_transaction_writes_nothing(db: Db) {
    accounts(&db, 1).await;
    let seen = db
        .tx()
        .read_only()
        .run(|tx| async move {
            let seen: i64 = tx.query("SELECT balance FROM accounts WHERE id = 0").scalar().await?;
            Ok(seen)
        })
        .await
        .unwrap();
    assert_eq!(seen, 1000);
    let error =
        db.tx()
            .read_only()
            .run(|tx| async move {
                tx.query("UPDATE accounts SET balance = 5").execute().await.map(drop)
            })
            .await
            .unwrap_err();
    assert_eq!(error.code(), Code::Denied, "{error:?}");
    assert_eq!(balance(&db).await, 1000);
}

async fn a_part_that_asks_for_another_isolation_is_refused(db: Db) {
    accounts(&db, 1).await;
    let level = Isolation::Serializable;
    for propagation in
        [Propagation::Required, Propagation::Supports, Propagation::Mandatory, Propagation::Nested]
    {
        // The same level is no difference, and none asked for neither.
        db.tx()
            .isolation(level)
            .run(|tx| async move {
                tx.tx().isolation(level).propagation(propagation).run(|_| async { Ok(()) }).await?;
                tx.tx().propagation(propagation).run(|_| async { Ok(()) }).await
            })
            .await
            .unwrap();
        let refused = |error: Error| {
            assert_eq!(error.code(), Code::TxMismatch, "{error:?}");
            assert!(error.report().contains("options.rs:"), "{error:?}");
        };
        let other: Result<()> = db
            .transaction(|tx| async move {
                tx.tx().isolation(level).propagation(propagation).run(|_| async { Ok(()) }).await
            })
            .await;
        refused(other.unwrap_err());
        let access: Result<()> = db
            .transaction(|tx| async move {
                tx.tx().read_only().propagation(propagation).run(|_| async { Ok(()) }).await
            })
            .await;
        refused(access.unwrap_err());
    }
    let bare = db.tx().isolation(level).propagation(Propagation::Supports);
    let bare: Result<()> = bare.run(|_| async { Ok(()) }).await;
    assert_eq!(bare.unwrap_err().code(), Code::TxMismatch);
}

async fn a_timeout_rolls_back_and_says_so(db: Db) {
    accounts(&db, 1).await;
    let limit = Duration::from_millis(150);
    let error = db
        .tx()
        .timeout(limit)
        .run(|tx| async move {
            tx.query("UPDATE accounts SET balance = 5").execute().await?;
            std::future::pending::<Result<()>>().await
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Deadline);
    assert!(error.report().contains("not over within 150ms"), "{error:?}");
    all_back(&db).await;
    assert_eq!(balance(&db).await, 1000);
    // Of a part that joins, the whole is given up with it.
    let swallowed = db
        .transaction(|tx| async move {
            let part = tx.tx().timeout(limit).run(|tx| async move {
                tx.query("UPDATE accounts SET balance = 5").execute().await?;
                std::future::pending::<Result<()>>().await
            });
            assert_eq!(part.await.unwrap_err().code(), Code::Deadline);
            Ok(())
        })
        .await;
    assert_eq!(swallowed.unwrap_err().code(), Code::TxRollbackOnly);
    assert_eq!(balance(&db).await, 1000);
}

/// The caller has gone by then: better to have done nothing, and to know it.
async fn a_deadline_that_passed_forbids_the_commit(db: Db) {
    accounts(&db, 1).await;
    let late = db.tx().timeout(Duration::from_millis(100)).run(|tx| async move {
        tx.query("UPDATE accounts SET balance = 5").execute().await?;
        #[expect(clippy::disallowed_methods, reason = "a program that computes for too long")]
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    });
    assert_eq!(late.await.unwrap_err().code(), Code::Deadline);
    let scope = Scope::new(Kind::Request, "POST /pay")
        .with_deadline(Clock::system().now() + Duration::from_millis(500));
    let late = scope.run(db.transaction(|tx| async move {
        tx.query("UPDATE accounts SET balance = 5").execute().await?;
        tokio::time::sleep(Duration::from_millis(600)).await;
        Ok(())
    }));
    let error = late.await.unwrap_err();
    assert_eq!(error.code(), Code::Deadline);
    assert!(error.report().contains("POST /pay"), "{error:?}");
    all_back(&db).await;
    assert_eq!(balance(&db).await, 1000);
}

#[derive(Clone, Default)]
struct Attempts(Arc<Mutex<Vec<(u32, bool, bool)>>>);

impl Subscriber for Attempts {
    fn transaction(&self, event: &Transaction<'_>) {
        let failed = matches!(event.outcome, Outcome::Failed(_));
        self.0.lock().unwrap().push((event.attempt, failed, event.retry_after.is_some()));
    }
}

fn conflict() -> Error {
    Error::new(Code::Serialization, "as a server would say")
}

async fn conflicts_are_retried_as_often_as_the_policy_says(db: Db) {
    let attempts = Attempts::default();
    db.observer().subscribe(attempts.clone());
    let policy =
        RetryPolicy::attempts(3).backoff(Duration::from_micros(10), Duration::from_millis(1));
    let outcome: Result<()> = db.tx().retry(policy).run(|_| async { Err(conflict()) }).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), Code::Serialization);
    assert!(error.report().contains("attempt 3"), "{error:?}");
    let seen = std::mem::take(&mut *attempts.0.lock().unwrap());
    assert_eq!(seen, [(1, true, true), (2, true, true), (3, true, false)], "each is observed");

    let outcome: Result<()> =
        db.tx().retry(RetryPolicy::none()).run(|_| async { Err(conflict()) }).await;
    assert_eq!(outcome.unwrap_err().code(), Code::Serialization);
    assert_eq!(attempts.0.lock().unwrap().len(), 1);

    // What the engine does not call a conflict is not run again.
    for code in [Code::Unique, Code::LockTimeout, Code::ConnectionLost, Code::TxAmbiguous] {
        attempts.0.lock().unwrap().clear();
        let outcome: Result<()> =
            db.transaction(|_| async move { Err(Error::new(code, "once")) }).await;
        assert_eq!(outcome.unwrap_err().code(), code);
        assert_eq!(attempts.0.lock().unwrap().len(), 1, "{code}");
    }
}

async fn attempts_end_with_the_deadline(db: Db) {
    let runs = AtomicU32::new(0);
    let policy =
        RetryPolicy::attempts(1000).backoff(Duration::from_millis(20), Duration::from_millis(20));
    let limit = Duration::from_millis(150);
    let begun = Clock::system().now();
    let outcome: Result<()> = db
        .tx()
        .retry(policy)
        .timeout(limit)
        .run(|_| {
            runs.fetch_add(1, SeqCst);
            async { Err(conflict()) }
        })
        .await;
    let code = outcome.unwrap_err().code();
    assert!(matches!(code, Code::Serialization | Code::Deadline), "{code}");
    let runs = runs.load(SeqCst);
    assert!((2..900).contains(&runs), "{runs} runs in {:?}", (Clock::system().now() - begun));
}

async fn an_error_may_commit_anyway(db: Db) {
    accounts(&db, 1).await;
    let declined = || Error::user("the card was declined").commit_anyway();
    let error = db
        .transaction(|tx| async move {
            tx.query("UPDATE accounts SET balance = 5").execute().await?;
            Err::<(), _>(declined())
        })
        .await
        .unwrap_err();
    assert_eq!(error.what(), "the card was declined");
    assert_eq!(balance(&db).await, 5, "what it did stays");

    // In a part too, whether it joins or nests.
    for propagation in [Propagation::Required, Propagation::Nested] {
        db.transaction(|tx| async move {
            let part: Result<()> = tx
                .tx()
                .propagation(propagation)
                .run(|tx| async move {
                    tx.query("UPDATE accounts SET balance = balance + 1").execute().await?;
                    Err(declined())
                })
                .await;
            assert_eq!(part.unwrap_err().what(), "the card was declined");
            Ok(())
        })
        .await
        .unwrap();
    }
    assert_eq!(balance(&db).await, 7);

    // What was given up can't be committed, whatever the error says.
    let error = db
        .transaction(|tx| async move {
            tx.query("UPDATE accounts SET balance = 1").execute().await?;
            let _: Result<()> = tx.transaction(|_| async { Err(Error::user("inner")) }).await;
            Err::<(), _>(declined())
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::TxRollbackOnly);
    assert!(error.report().contains("the card was declined"), "{error:?}");
    assert_eq!(balance(&db).await, 7);
}

async fn of_two(url: &str, max_size: u32) -> Db {
    let options =
        Options { max_size, acquire_timeout: Duration::from_secs(20), ..Options::default() };
    Db::builder(url).pool(options).connect().await.unwrap()
}

fn new_inside(db: &Db) -> impl Future<Output = Result<()>> + Send + use<> {
    let db = db.clone();
    let meet = Duration::from_millis(100);
    async move {
        db.transaction(|tx| async move {
            tx.query("SELECT COUNT(*) FROM accounts").execute().await?;
            tokio::time::sleep(meet).await;
            tx.tx()
                .propagation(Propagation::RequiresNew)
                .run(|inner| async move { inner.query("SELECT 1").execute().await.map(drop) })
                .await
        })
        .await
    }
}

/// Two that hold a connection of two, and both ask for another: the second to ask is refused, and so
/// the first goes on.
async fn requires_new_that_could_never_be_had_is_refused_at_once(_: Db, url: String) {
    let db = of_two(&url, 2).await;
    accounts(&db, 1).await;
    let begun = Clock::system().now();
    let both = futures_util::future::join(new_inside(&db), new_inside(&db)).await;
    assert!(
        (Clock::system().now() - begun) < Duration::from_secs(10),
        "nobody waited for a timeout"
    );
    let failed: Vec<Error> = [both.0, both.1].into_iter().filter_map(Result::err).collect();
    // SQLite has one writer, so no second transaction can ever write beside the first.
    let refused = if db.engine() == Engine::Sqlite { 2 } else { 1 };
    assert_eq!(failed.len(), refused, "{failed:?}");
    for error in failed {
        assert_eq!(error.code(), Code::PoolDeadlock, "{error:?}");
        assert!(error.report().contains("options.rs:"), "{error:?}");
    }
    db.close(Duration::from_secs(5)).await.unwrap();
    let db = of_two(&url, 1).await;
    let begun = Clock::system().now();
    let error = new_inside(&db).await.unwrap_err();
    assert!((Clock::system().now() - begun) < Duration::from_secs(10));
    assert_eq!(error.code(), Code::PoolDeadlock);
    assert!(error.report().contains("has one connection"), "{error:?}");
    db.close(Duration::from_secs(5)).await.unwrap();
}

/// One of the two connections is held by somebody who asks for no second: that is worth waiting for.
async fn requires_new_waits_where_somebody_will_give_back(_: Db, url: String) {
    let db = of_two(&url, 2).await;
    if db.engine() == Engine::Sqlite {
        db.close(Duration::from_secs(5)).await.unwrap();
        return;
    }
    accounts(&db, 1).await;
    let plain = db.transaction(|tx| async move {
        tx.query("SELECT COUNT(*) FROM accounts").execute().await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    });
    let both = futures_util::future::join(plain, new_inside(&db)).await;
    both.0.unwrap();
    both.1.unwrap();
    db.close(Duration::from_secs(5)).await.unwrap();
}

/// Two parts wait on behalf of one connection; the other is somebody's who will give it back.
async fn parts_of_one_transaction_count_its_connection_once(_: Db, url: String) {
    let db = of_two(&url, 2).await;
    if db.engine() == Engine::Sqlite {
        db.close(Duration::from_secs(5)).await.unwrap();
        return;
    }
    accounts(&db, 1).await;
    let plain = db.transaction(|tx| async move {
        tx.query("SELECT COUNT(*) FROM accounts").execute().await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    });
    let parts = db.transaction(|tx| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let new = || {
            let tx = tx.tx().propagation(Propagation::RequiresNew);
            tx.run(|inner| async move { inner.query("SELECT 1").execute().await.map(drop) })
        };
        futures_util::future::try_join(new(), new()).await.map(drop)
    });
    let both = futures_util::future::join(plain, parts).await;
    both.0.unwrap();
    both.1.unwrap();
    db.close(Duration::from_secs(5)).await.unwrap();
}

async fn a_part_that_is_still_running_forbids_the_commit(db: Db) {
    accounts(&db, 1).await;
    let go = Arc::new(tokio::sync::Notify::new());
    let error = db
        .transaction(|tx| {
            let go = Arc::clone(&go);
            async move {
                let begun = Arc::new(tokio::sync::Notify::new());
                let (tells, part) = (Arc::clone(&begun), tx.clone());
                tokio::spawn(async move {
                    part.transaction(|tx| {
                        let (go, tells) = (Arc::clone(&go), Arc::clone(&tells));
                        async move {
                            tx.query("UPDATE accounts SET balance = 5").execute().await?;
                            tells.notify_one();
                            go.notified().await;
                            tx.query("UPDATE accounts SET balance = 6").execute().await.map(drop)
                        }
                    })
                    .await
                });
                begun.notified().await;
                Ok(())
            }
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::TxBusy, "{error:?}");
    go.notify_one();
    all_back(&db).await;
    assert_eq!(balance(&db).await, 1000);
}

async fn a_conflict_inside_does_not_multiply_the_attempts(db: Db) {
    if db.engine() == Engine::Sqlite {
        return;
    }
    let runs = AtomicU32::new(0);
    let policy = RetryPolicy::attempts(3).backoff(Duration::ZERO, Duration::ZERO);
    let outcome: Result<()> = db
        .tx()
        .retry(policy)
        .run(|tx| {
            let runs = &runs;
            async move {
                tx.tx()
                    .propagation(Propagation::RequiresNew)
                    .retry(policy)
                    .run(|_| {
                        runs.fetch_add(1, SeqCst);
                        async { Err(conflict()) }
                    })
                    .await
            }
        })
        .await;
    assert_eq!(outcome.unwrap_err().code(), Code::Serialization);
    assert_eq!(runs.load(SeqCst), 3);
}

async fn what_would_end_the_transaction_unseen_is_refused(db: Db) {
    accounts(&db, 1).await;
    let texts: &[&str] = match db.engine() {
        Engine::Postgres => &["PREPARE TRANSACTION 'a'"],
        Engine::MySql => &["ANALYZE TABLE accounts", "OPTIMIZE TABLE accounts", "XA END 'a'"],
        Engine::Sqlite => &[],
    };
    for text in texts {
        let error = db
            .transaction(|tx| async move {
                tx.query("UPDATE accounts SET balance = 5").execute().await?;
                tx.query(*text).execute().await.map(drop)
            })
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::TxControl, "{text}: {error:?}");
        assert_eq!(balance(&db).await, 1000, "{text}");
    }
}
