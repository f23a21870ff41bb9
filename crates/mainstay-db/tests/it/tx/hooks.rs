//! Hooks: once after a commit, never after a rollback, and what becomes of their own failures.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::clock::Clock;
use mainstay_core::observe::{Finding, FindingKind, Subscriber};
use mainstay_core::scope::{Kind, Scope};
use mainstay_db::{Code, Db, Error, Propagation, Result};

use crate::support::{accounts, all_back, on_every_engine};

on_every_engine!(
    hooks_are_called_in_order_once_after_the_commit,
    nothing_is_called_after_a_rollback_but_its_own_hooks,
    a_nested_rollback_discards_its_hooks,
    a_hook_before_the_commit_can_refuse_it,
    a_hook_that_fails_afterwards_is_told_and_stops_no_other,
    hooks_run_though_the_caller_is_gone,
    hooks_of_an_attempt_that_is_run_again_are_its_own,
    without_a_transaction_a_hook_is_called_at_once,
    hooks_have_a_bound,
    a_hook_with_a_name_is_called_once,
    a_hook_of_a_savepoint_may_use_the_pool,
    a_timeout_covers_what_is_called_before_the_commit,
    hooks_have_the_scope_without_its_deadline,
    what_is_not_called_is_dropped,
);

/// What was called, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits until so many were called.
    async fn has(&self, count: usize) {
        for _ in 0..1000 {
            if self.all().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{count} were to be called, and were {:?}", self.all());
    }

    /// A hook that writes `what` down.
    fn notes(
        &self,
        what: &'static str,
    ) -> impl FnOnce(Db) -> futures_util::future::Ready<Result<()>> + Send + use<> {
        let log = self.clone();
        move |_| {
            log.add(what);
            futures_util::future::ready(Ok(()))
        }
    }
}

impl Subscriber for Log {
    fn finding(&self, event: &Finding<'_>) {
        if event.kind == FindingKind::HookFailed {
            self.add(event.report.report());
        }
    }
}

async fn all_three(tx: &Db, log: &Log) -> Result<()> {
    tx.after_rollback(log.notes("rolled back")).await?;
    tx.after_commit(log.notes("committed")).await?;
    tx.before_commit(log.notes("before")).await
}

async fn balance(db: &Db) -> i64 {
    db.query("SELECT balance FROM accounts WHERE id = 0").scalar().await.unwrap()
}

async fn hooks_are_called_in_order_once_after_the_commit(db: Db) {
    accounts(&db, 1).await;
    let log = Log::default();
    let (seen, pool) = (log.clone(), db.clone());
    let at_commit = log.clone();
    db.transaction(|tx| {
        let (log, seen) = (log.clone(), seen.clone());
        async move {
            tx.after_commit(|db| async move {
                assert!(!db.in_transaction());
                let balance: i64 =
                    db.query("SELECT balance FROM accounts WHERE id = 0").scalar().await?;
                seen.add(format!("first, balance {balance}"));
                Ok(())
            })
            .await?;
            tx.query("UPDATE accounts SET balance = 5").execute().await?;
            all_three(&tx, &log).await?;
            let late = log.clone();
            tx.before_commit(|tx| async move {
                assert!(tx.in_transaction());
                tx.query("UPDATE accounts SET balance = balance + 1").execute().await?;
                tx.before_commit(late.notes("before, asked for by another")).await
            })
            .await?;
            assert!(log.all().is_empty(), "nothing is called early");
            Ok(())
        }
    })
    .await
    .unwrap();
    assert_eq!(
        at_commit.all(),
        ["before", "before, asked for by another", "first, balance 6", "committed"]
    );
    assert_eq!(balance(&pool).await, 6);
}

async fn nothing_is_called_after_a_rollback_but_its_own_hooks(db: Db) {
    accounts(&db, 1).await;
    for ending in ["error", "panic", "drop", "swallowed"] {
        let log = Log::default();
        let open = &tokio::sync::Notify::new();
        let work = db.transaction(|tx| {
            let log = log.clone();
            async move {
                all_three(&tx, &log).await?;
                open.notify_one();
                match ending {
                    "error" => Err(Error::user("no")),
                    "panic" => panic!("boom"),
                    "drop" => std::future::pending().await,
                    _ => {
                        let _: Result<()> =
                            tx.transaction(|_| async { Err(Error::user("inner")) }).await;
                        Ok(())
                    }
                }
            }
        });
        let work = std::panic::AssertUnwindSafe(work).catch_unwind();
        tokio::select! {
            biased;
            () = open.notified(), if ending == "drop" => {}
            _ = work => {}
        }
        log.has(1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let expected: &[&str] =
            if ending == "swallowed" { &["before", "rolled back"] } else { &["rolled back"] };
        assert_eq!(log.all(), expected, "{ending}");
    }
    all_back(&db).await;
}

async fn a_nested_rollback_discards_its_hooks(db: Db) {
    accounts(&db, 1).await;
    let log = Log::default();
    db.transaction(|tx| {
        let log = log.clone();
        async move {
            tx.after_commit(log.notes("outer")).await?;
            for fails in [true, false] {
                let log = log.clone();
                let nested = tx.tx().propagation(Propagation::Nested);
                let outcome = nested.run(|inner| {
                    let log = log.clone();
                    async move {
                        let name = if fails { "discarded" } else { "kept" };
                        inner.before_commit(log.notes(name)).await?;
                        inner.after_commit(log.notes(name)).await?;
                        inner.after_rollback(log.notes("savepoint")).await?;
                        if fails { Err(Error::user("no")) } else { Ok(()) }
                    }
                });
                assert_eq!(outcome.await.is_err(), fails);
            }
            log.has(1).await;
            assert_eq!(log.all(), ["savepoint"], "it does not wait for the whole");
            Ok(())
        }
    })
    .await
    .unwrap();
    assert_eq!(log.all(), ["savepoint", "kept", "outer", "kept"]);
}

async fn a_hook_before_the_commit_can_refuse_it(db: Db) {
    accounts(&db, 1).await;
    let log = Log::default();
    let error = db
        .transaction(|tx| {
            let log = log.clone();
            async move {
                tx.query("UPDATE accounts SET balance = 5").execute().await?;
                tx.before_commit(|_| async { Err(Error::user("the sum is wrong")) }).await?;
                all_three(&tx, &log).await
            }
        })
        .await
        .unwrap_err();
    assert_eq!(error.what(), "the sum is wrong");
    assert_eq!(log.all(), ["rolled back"]);
    assert_eq!(balance(&db).await, 1000);
}

async fn a_hook_that_fails_afterwards_is_told_and_stops_no_other(db: Db) {
    accounts(&db, 1).await;
    let log = Log::default();
    db.observer().subscribe(log.clone());
    db.transaction(|tx| {
        let log = log.clone();
        async move {
            tx.query("UPDATE accounts SET balance = 5").execute().await?;
            tx.after_commit(|_| async { Err(Error::user("the mail server is down")) }).await?;
            tx.after_commit(|_| async { panic!("boom") }).await?;
            tx.after_commit(log.notes("the last")).await
        }
    })
    .await
    .expect("the transaction is committed, whatever its hooks do");
    let all = log.all();
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].contains("TX-009") && all[0].contains("the mail server is down"), "{}", all[0]);
    assert!(all[0].contains("hooks.rs:"), "{}", all[0]);
    assert!(all[1].contains("panicked"), "{}", all[1]);
    assert_eq!(all[2], "the last");
    assert_eq!(balance(&db).await, 5);
}

/// What commits must be told, whether or not somebody waits for it still.
async fn hooks_run_though_the_caller_is_gone(db: Db) {
    accounts(&db, 1).await;
    let (log, gone) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let begun = Arc::new(tokio::sync::Notify::new());
    let hooks = log.clone();
    let work = db.transaction(|tx| {
        let log = hooks.clone();
        let (log, gone, begun) = (log.clone(), Arc::clone(&gone), Arc::clone(&begun));
        async move {
            tx.query("UPDATE accounts SET balance = 5").execute().await?;
            tx.after_commit(|_| async move {
                begun.notify_one();
                while !gone.load(SeqCst) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                log.add("after the caller had gone");
                Ok(())
            })
            .await
        }
    });
    tokio::select! {
        _ = work => panic!("it waits for its hook"),
        () = begun.notified() => {}
    }
    gone.store(true, SeqCst);
    log.has(1).await;
    assert_eq!(log.all(), ["after the caller had gone"]);
    assert_eq!(balance(&db).await, 5);
}

async fn hooks_of_an_attempt_that_is_run_again_are_its_own(db: Db) {
    accounts(&db, 1).await;
    let (log, first) = (Log::default(), AtomicBool::new(true));
    db.transaction(|tx| {
        let (log, fails) = (log.clone(), first.swap(false, SeqCst));
        async move {
            all_three(&tx, &log).await?;
            if fails {
                Err(Error::new(Code::Serialization, "as a server would say"))
            } else {
                Ok(())
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(log.all(), ["rolled back", "before", "committed"]);
}

async fn without_a_transaction_a_hook_is_called_at_once(db: Db) {
    let log = Log::default();
    all_three(&db, &log).await.unwrap();
    assert_eq!(log.all(), ["committed", "before"]);
    let error = db.after_commit(|_| async { Err(Error::user("no")) }).await.unwrap_err();
    assert_eq!(error.what(), "no");
}

async fn hooks_have_a_bound(db: Db) {
    let error = db
        .transaction(|tx| async move {
            for _ in 0..1024 {
                tx.after_rollback(|_| async { Ok(()) }).await?;
            }
            tx.after_commit(|_| async { Ok(()) }).await
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::TxHook);
}

/// It wants the writer, or the last connection, that the outer transaction keeps: so nobody waits for it.
async fn a_hook_of_a_savepoint_may_use_the_pool(db: Db) {
    accounts(&db, 1).await;
    let log = Log::default();
    db.transaction(|tx| {
        let log = log.clone();
        async move {
            tx.query("UPDATE accounts SET balance = balance + 1").execute().await?;
            let nested = tx.tx().propagation(Propagation::Nested);
            let outcome: Result<()> = nested
                .run(|inner| {
                    let log = log.clone();
                    async move {
                        inner
                            .after_rollback(|db| async move {
                                let sql = "UPDATE accounts SET balance = balance + 10";
                                db.query(sql).execute().await?;
                                log.add("written down");
                                Ok(())
                            })
                            .await?;
                        Err(Error::user("no"))
                    }
                })
                .await;
            assert!(outcome.is_err());
            tx.query("UPDATE accounts SET balance = balance + 1").execute().await.map(drop)
        }
    })
    .await
    .unwrap();
    log.has(1).await;
    assert_eq!(balance(&db).await, 1012);
}

/// A hook that asks for itself again, for ever.
fn again(tx: Db) -> futures_util::future::BoxFuture<'static, Result<()>> {
    Box::pin(async move { tx.before_commit(again).await })
}

async fn a_timeout_covers_what_is_called_before_the_commit(db: Db) {
    accounts(&db, 1).await;
    let hangs = db.tx().timeout(Duration::from_millis(150)).run(|tx| async move {
        tx.query("UPDATE accounts SET balance = 5").execute().await?;
        tx.before_commit(|_| std::future::pending()).await
    });
    assert_eq!(hangs.await.unwrap_err().code(), Code::Deadline);
    let endless: Result<()> =
        db.transaction(|tx| async move { tx.before_commit(again).await }).await;
    assert_eq!(endless.unwrap_err().code(), Code::TxHook);
    all_back(&db).await;
    assert_eq!(balance(&db).await, 1000);
}

async fn hooks_have_the_scope_without_its_deadline(db: Db) {
    accounts(&db, 1).await;
    let log = Log::default();
    let until = Clock::system().now() + Duration::from_millis(500);
    let scope = Scope::new(Kind::Request, "POST /pay").with_deadline(until);
    let hooks = log.clone();
    let late = scope.run(db.transaction(|tx| {
        let log = hooks.clone();
        async move {
            tx.after_rollback(|db| async move {
                db.query("SELECT COUNT(*) FROM accounts").execute().await?;
                log.add(Scope::current().map(|s| s.name().to_owned()).unwrap_or_default());
                Ok(())
            })
            .await?;
            tokio::time::sleep(Duration::from_millis(600)).await;
            Ok(())
        }
    }));
    assert_eq!(late.await.unwrap_err().code(), Code::Deadline);
    log.has(1).await;
    assert_eq!(log.all(), ["POST /pay"]);
}

/// A hook may hold its own transaction's handle: that must not keep either for ever.
async fn what_is_not_called_is_dropped(db: Db) {
    accounts(&db, 1).await;
    let kept = Arc::new(());
    for commits in [true, false] {
        let outcome: Result<()> = db
            .transaction(|tx| {
                let kept = Arc::clone(&kept);
                async move {
                    let (a, b) = ((tx.clone(), Arc::clone(&kept)), (tx.clone(), kept));
                    let called = |_: (Db, Arc<()>)| futures_util::future::ready(Ok(()));
                    tx.after_commit(move |_| called(a)).await?;
                    tx.after_rollback(move |_| called(b)).await?;
                    if commits { Ok(()) } else { Err(Error::user("no")) }
                }
            })
            .await;
        assert_eq!(outcome.is_ok(), commits);
    }
    assert_eq!(Arc::strong_count(&kept), 1);
}

async fn a_hook_with_a_name_is_called_once(db: Db) {
    let log = Log::default();
    db.transaction(|tx| {
        let log = log.clone();
        async move {
            // More often than hooks may be asked for.
            for _ in 0..2_000 {
                tx.after_commit_once("wake", log.notes("once")).await?;
            }
            tx.after_commit_once("other", log.notes("other")).await
        }
    })
    .await
    .unwrap();
    assert_eq!(log.all(), ["once", "other"]);
    all_back(&db).await;
}
