//! A deadlock's report names both sides.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::observe::{Outcome, Statement, Subscriber};
use mainstay_db::{Code, Db, Deadlock, Engine, Error, Result, RetryPolicy};
use tokio::sync::Barrier;

use crate::support::{accounts, behind_pooler, on_every_engine};

on_every_engine!(a_deadlock_names_both_sides, a_deadlock_that_is_retried_is_told_too);

/// Both lock one row, meet, and want the other's: the result of each.
async fn deadlock(db: &Db, retry: RetryPolicy) -> (Result<()>, Result<()>) {
    let meet = Arc::new(Barrier::new(2));
    let first = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let side = |from: i64, to: i64| {
        let (db, meet, first) = (db.clone(), Arc::clone(&meet), Arc::clone(&first));
        async move {
            db.tx()
                .retry(retry)
                .run(|tx| {
                    let (meet, first) = (Arc::clone(&meet), Arc::clone(&first));
                    async move {
                        let sql = "UPDATE accounts SET balance = balance - 1 WHERE id = $1";
                        tx.query(sql).bind(from).execute().await?;
                        if first.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
                            meet.wait().await;
                        }
                        let sql = "UPDATE accounts SET balance = balance + 1 WHERE id = $1";
                        tx.query(sql).bind(to).execute().await.map(drop)
                    }
                })
                .await
        }
    };
    futures_util::future::join(side(0, 1), side(1, 0)).await
}

fn check(engine: Engine, pooled: bool, error: &Error) {
    assert_eq!(error.code(), Code::Deadlock);
    let report = error.report();
    if pooled {
        return;
    }
    let found = error.detail::<Deadlock>().expect("a deadlock says what it was");
    assert_eq!(found.sides.len(), 2, "{report}");
    for side in &found.sides {
        assert!(side.transaction.is_some(), "{report}");
        assert!(side.waited.sql.contains("balance + 1"), "{report}");
        assert_eq!(side.before.len(), 1, "{report}");
        assert!(side.before[0].sql.contains("balance - 1"), "{report}");
    }
    // Two transactions with a place each, two statements each.
    assert!(report.matches("deadlocks.rs:").count() >= 6, "{report}");
    let word =
        if engine == Engine::Postgres { "blocked by process" } else { "waited for index PRIMARY" };
    assert!(found.server.contains(word), "{report}");
}

async fn a_deadlock_names_both_sides(db: Db) {
    // SQLite has one writer: there is none to deadlock with.
    if db.engine() == Engine::Sqlite {
        return;
    }
    accounts(&db, 2).await;
    let pooled = behind_pooler(&db).await;
    for left in (0..TRIES).rev() {
        let (a, b) = deadlock(&db, RetryPolicy::none()).await;
        let failed: Vec<Error> = [a, b].into_iter().filter_map(Result::err).collect();
        assert_eq!(failed.len(), 1, "one is the victim");
        let sides = failed[0].detail::<Deadlock>().map_or(0, |found| found.sides.len());
        if sides == 2 || left == 0 || pooled {
            return check(db.engine(), pooled, &failed[0]);
        }
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

/// InnoDB tells of the server's latest deadlock alone, which may be another test's by then; and it is
/// asked once a second at most.
const TRIES: u32 = 8;

#[derive(Clone, Default)]
struct Failures(Arc<Mutex<Vec<String>>>);

impl Subscriber for Failures {
    fn statement(&self, event: &Statement<'_>) {
        if let Outcome::Failed(error) = event.outcome {
            self.0.lock().unwrap().push(error.report());
        }
    }
}

/// Nobody but the subscribers sees one that the retry hides.
async fn a_deadlock_that_is_retried_is_told_too(db: Db) {
    if db.engine() == Engine::Sqlite || behind_pooler(&db).await {
        return;
    }
    accounts(&db, 2).await;
    let failures = Failures::default();
    db.observer().subscribe(failures.clone());
    let mut all = Vec::new();
    for _ in 0..TRIES {
        let (a, b) = deadlock(&db, RetryPolicy::default()).await;
        a.unwrap();
        b.unwrap();
        all = std::mem::take(&mut *failures.0.lock().unwrap());
        assert_eq!(all.len(), 1, "{all:?}");
        if all[0].contains("the other, a transaction") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert!(
        all[0].contains("DB-031") && all[0].contains("the other, a transaction begun at"),
        "{}",
        all[0]
    );
}
