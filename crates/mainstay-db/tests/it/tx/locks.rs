//! Locks of rows, by version, and by name.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_db::{AdvisoryLock, Code, Conflict, Db, Engine, Isolation, Result};

use crate::support::{accounts, all_back, behind_pooler, on_every_engine};

on_every_engine!(
    a_locked_row_is_refused_or_left_out,
    rows_are_locked_in_a_transaction_alone,
    a_changed_version_is_a_conflict,
    a_row_that_is_gone_is_a_conflict,
    of_many_edits_of_one_version_one_wins,
    a_transactions_lock_ends_with_it,
    a_sessions_lock_keeps_others_out_until_it_is_let_go,
    a_wait_for_a_lock_has_an_end,
    locks_are_handed_over_under_contention,
);
mod urls {
    use super::*;
    on_every_engine!(url:
        a_lock_ends_with_its_holders_process,
        a_lost_lock_is_told,
        those_who_wait_for_a_lock_leave_the_pool_to_others,
    );
}

async fn a_locked_row_is_refused_or_left_out(db: Db) {
    accounts(&db, 3).await;
    let other = db.clone();
    db.transaction(|tx| {
        let other = other.clone();
        async move {
            let balance: i64 = tx
                .query("SELECT balance FROM accounts WHERE id = $1 -- the first;\n;")
                .bind(0)
                .for_update()
                .scalar()
                .await?;
            assert_eq!(balance, 1000);
            if tx.engine() == Engine::Sqlite {
                // Nothing to be refused: nobody else writes while this is open.
                let all: Vec<(i64,)> =
                    tx.query("SELECT id FROM accounts").for_update().skip_locked().all().await?;
                assert_eq!(all.len(), 3);
                return Ok(());
            }
            let beside = tokio::spawn(async move {
                let left: Vec<(i64,)> = other
                    .transaction(|tx| async move {
                        let free = tx.query("SELECT id FROM accounts ORDER BY id");
                        free.for_update().skip_locked().all().await
                    })
                    .await?;
                assert_eq!(left, [(1,), (2,)]);
                let refused = other.transaction(|tx| async move {
                    let first = tx.query("SELECT id FROM accounts WHERE id = 0");
                    first.for_share().no_wait().one::<(i64,)>().await
                });
                let error = refused.await.unwrap_err();
                assert_eq!(error.code(), Code::LockTimeout, "{error:?}");
                Ok::<(), mainstay_db::Error>(())
            });
            beside.await.unwrap()
        }
    })
    .await
    .unwrap();
}

async fn rows_are_locked_in_a_transaction_alone(db: Db) {
    accounts(&db, 1).await;
    let outside = db.query("SELECT id FROM accounts").for_update().all::<(i64,)>().await;
    let error = outside.unwrap_err();
    assert_eq!(error.code(), Code::LockOutside);
    assert!(error.report().contains("locks.rs:"), "{error:?}");
    let read_only = db.tx().read_only().run(|tx| async move {
        tx.query("SELECT id FROM accounts").for_update().all::<(i64,)>().await
    });
    assert_eq!(read_only.await.unwrap_err().code(), Code::Denied);
    if db.engine() != Engine::Sqlite {
        let update: Result<()> = db
            .transaction(|tx| async move {
                tx.query("UPDATE accounts SET balance = 1").for_update().execute().await.map(drop)
            })
            .await;
        assert_eq!(update.unwrap_err().code(), Code::Unsupported);
    }
}

async fn versions(db: &Db) {
    db.script("CREATE TABLE notes (id BIGINT PRIMARY KEY, body VARCHAR(20) NOT NULL, version BIGINT NOT NULL)")
        .await
        .unwrap();
    db.query("INSERT INTO notes (id, body, version) VALUES (7, 'a', 3)").execute().await.unwrap();
}

async fn a_changed_version_is_a_conflict(db: Db) {
    versions(&db).await;
    let change =
        |body: &'static str, expected| db.versioned("notes", "id", 7, expected).set("body", body);
    assert_eq!(change("mine", 3).update().await.unwrap(), 4);
    for error in [
        change("theirs", 3).update().await.unwrap_err(),
        change("x", 3).delete().await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::Conflict);
        let found = error.detail::<Conflict>().unwrap();
        assert_eq!((found.table, found.expected, found.found), ("notes", 3, Some(4)));
        assert!(error.report().contains("locks.rs:"), "{error:?}");
    }
    let body: String = db.query("SELECT body FROM notes").scalar().await.unwrap();
    assert_eq!(body, "mine");
    // A snapshot that is older than the change does not hide what is found.
    if db.engine() == Engine::MySql {
        let other = db.clone();
        let error = db
            .tx()
            .isolation(Isolation::RepeatableRead)
            .run(|tx| {
                let other = other.clone();
                async move {
                    tx.query("SELECT body FROM notes").scalar::<String>().await?;
                    let beside = other.versioned("notes", "id", 7, 4).update();
                    beside.await?;
                    tx.versioned("notes", "id", 7, 4).set("body", "late").update().await
                }
            })
            .await
            .unwrap_err();
        assert_eq!(error.detail::<Conflict>().unwrap().found, Some(5), "{error:?}");
    }
}

async fn a_row_that_is_gone_is_a_conflict(db: Db) {
    versions(&db).await;
    db.versioned("notes", "id", 7, 3).delete().await.unwrap();
    let error = db.versioned("notes", "id", 7, 3).set("body", "b").update().await.unwrap_err();
    assert_eq!(error.detail::<Conflict>().unwrap().found, None);
    db.script("CREATE TABLE drafts (id BIGINT PRIMARY KEY, lock_version BIGINT NOT NULL)")
        .await
        .unwrap();
    db.query("INSERT INTO drafts (id, lock_version) VALUES (1, 0)").execute().await.unwrap();
    let version = db.versioned("drafts", "id", 1, 0).version_column("lock_version").update().await;
    assert_eq!(version.unwrap(), 1);
}

async fn of_many_edits_of_one_version_one_wins(db: Db) {
    versions(&db).await;
    let edits = (0..20).map(|_| {
        let db = db.clone();
        tokio::spawn(
            async move { db.versioned("notes", "id", 7, 3).set("body", "b").update().await },
        )
    });
    let outcomes = futures_util::future::join_all(edits).await;
    let (won, lost): (Vec<_>, Vec<_>) =
        outcomes.into_iter().map(|o| o.unwrap()).partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 19));
    assert!(lost.into_iter().all(|o| o.unwrap_err().code() == Code::Conflict));
}

async fn taken(db: &Db, name: &str) -> bool {
    let db = db.clone();
    let name = name.to_owned();
    // In a transaction, so that it works behind a pooler too.
    db.tx()
        .read_only()
        .run(|tx| {
            let name = name.clone();
            async move { Ok(tx.advisory_lock(name).try_acquire().await?.is_none()) }
        })
        .await
        .unwrap()
}

async fn becomes_free(db: &Db, name: &str) {
    for _ in 0..500 {
        if !taken(db, name).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the lock was never let go of");
}

async fn a_transactions_lock_ends_with_it(db: Db) {
    accounts(&db, 1).await;
    let other = db.clone();
    for commits in [true, false] {
        let outcome = db
            .transaction(|tx| {
                let other = other.clone();
                async move {
                    let lock = tx.advisory_lock("report").acquire().await?;
                    assert_eq!(lock.name(), "report");
                    // Letting go of the guard lets go of nothing.
                    lock.release().await?;
                    drop(tx.advisory_lock("report").acquire().await?);
                    assert!(taken(&other, "report").await);
                    assert!(!taken(&other, "another").await);
                    if commits { Ok(()) } else { Err(mainstay_db::Error::user("no")) }
                }
            })
            .await;
        assert_eq!(outcome.is_ok(), commits, "{outcome:?}");
        assert!(!taken(&db, "report").await, "it ends before the transaction is told as over");
    }
    // Dropped half-way, it ends as well.
    let work = db.transaction(|tx| async move {
        let _lock = tx.advisory_lock("report").acquire().await?;
        std::future::pending::<Result<()>>().await
    });
    assert!(tokio::time::timeout(Duration::from_millis(200), work).await.is_err());
    becomes_free(&db, "report").await;
    all_back(&db).await;
}

async fn a_sessions_lock_keeps_others_out_until_it_is_let_go(db: Db) {
    if behind_pooler(&db).await {
        let error = db.advisory_lock("leader").acquire().await.unwrap_err();
        assert_eq!(error.code(), Code::NeedsSession, "{error:?}");
        return;
    }
    let mut lock = db.advisory_lock("leader").acquire().await.unwrap();
    lock.check().await.unwrap();
    assert!(db.advisory_lock("leader").try_acquire().await.unwrap().is_none());
    assert!(taken(&db, "leader").await);
    assert!(!taken(&db, "leader ").await);
    lock.release().await.unwrap();
    assert!(!taken(&db, "leader").await, "at once");
    // A drop does so later, and costs no connection.
    let before = db.status().open;
    drop(db.advisory_lock("leader").acquire().await.unwrap());
    becomes_free(&db, "leader").await;
    all_back(&db).await;
    assert!(db.status().open <= before.max(2));
    // A wait that is dropped leaves nothing behind.
    let held = db.advisory_lock("leader").acquire().await.unwrap();
    let waits = db.advisory_lock("leader").acquire();
    assert!(tokio::time::timeout(Duration::from_millis(100), waits).await.is_err());
    held.release().await.unwrap();
    becomes_free(&db, "leader").await;
}

async fn a_wait_for_a_lock_has_an_end(db: Db) {
    if behind_pooler(&db).await {
        return;
    }
    let _held = db.advisory_lock("leader").acquire().await.unwrap();
    let begun = Clock::system().now();
    let request = db.advisory_lock("leader").timeout(Duration::from_millis(200));
    let error = request.acquire().await.unwrap_err();
    assert_eq!(error.code(), Code::LockBusy);
    assert!(
        error.report().contains("`leader`") && error.report().contains("locks.rs:"),
        "{error:?}"
    );
    assert!((Clock::system().now() - begun) >= Duration::from_millis(190));
    let error = db
        .transaction(|tx| async move {
            let request = tx.advisory_lock("leader").timeout(Duration::from_millis(200));
            request.acquire().await.map(drop)
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::LockBusy);
}

/// Each adds one to what it has read, which only the lock makes right.
async fn locks_are_handed_over_under_contention(db: Db) {
    if behind_pooler(&db).await {
        return;
    }
    let counter = std::sync::Arc::new(std::sync::Mutex::new((0, false)));
    let tasks = (0..8).map(|_| {
        let (db, counter) = (db.clone(), counter.clone());
        tokio::spawn(async move {
            for _ in 0..5 {
                let request = db.advisory_lock("counter").timeout(Duration::from_secs(30));
                let lock = request.acquire().await.unwrap();
                let before = {
                    let mut counter = counter.lock().unwrap();
                    assert!(!std::mem::replace(&mut counter.1, true), "two have it");
                    counter.0
                };
                tokio::task::yield_now().await;
                *counter.lock().unwrap() = (before + 1, false);
                lock.release().await.unwrap();
            }
        })
    });
    for task in futures_util::future::join_all(tasks).await {
        task.unwrap();
    }
    assert_eq!(counter.lock().unwrap().0, 40);
}

/// Another process has the lock and is killed with -9.
async fn a_lock_ends_with_its_holders_process(db: Db, url: String) {
    if behind_pooler(&db).await {
        return;
    }
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tx::locks::holds_a_lock_until_it_is_killed", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(holder.stdin.as_mut().unwrap(), "{url}").unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let has_it = lines.map_while(std::io::Result::ok).any(|line| line.contains("it has the lock"));
    assert!(has_it, "the other process has ended before");
    assert!(taken(&db, "leader").await);
    // SIGKILL, on this platform.
    holder.kill().unwrap();
    holder.wait().unwrap();
    becomes_free(&db, "leader").await;
}

/// The other process: it reads the URL, takes the lock, and never lets go.
#[tokio::test]
#[ignore = "started by another test"]
async fn holds_a_lock_until_it_is_killed() {
    let mut url = String::new();
    std::io::stdin().read_line(&mut url).unwrap();
    let db = Db::connect(url.trim()).await.unwrap();
    let _lock: AdvisoryLock = db.advisory_lock("leader").acquire().await.unwrap();
    println!("it has the lock");
    std::future::pending::<()>().await;
}

async fn a_lost_lock_is_told(db: Db, _url: String) {
    if db.engine() == Engine::Sqlite || behind_pooler(&db).await {
        return;
    }
    let mut lock = db.advisory_lock("leader").acquire().await.unwrap();
    match db.engine() {
        Engine::Postgres => {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
            db.query(end).execute().await.unwrap();
        }
        _ => {
            let who = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
            for (id,) in db.query(who).all::<(i64,)>().await.unwrap() {
                let kill = format!("KILL {id}");
                let _ = db.query(mainstay_db::AssertSqlSafe(kill)).execute().await;
            }
        }
    }
    let error = lock.check().await.unwrap_err();
    assert_eq!(error.code(), Code::LockLost, "{error:?}");
    assert_eq!(lock.release().await.unwrap_err().code(), Code::LockLost);
    becomes_free(&db, "leader").await;
}

async fn those_who_wait_for_a_lock_leave_the_pool_to_others(db: Db, url: String) {
    if behind_pooler(&db).await {
        return;
    }
    let options = mainstay_pool::Options { max_size: 3, ..Default::default() };
    let db = Db::builder(&url).pool(options).connect().await.unwrap();
    let lock = db.advisory_lock("leader").acquire().await.unwrap();
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                let request = db.advisory_lock("leader").timeout(Duration::from_secs(30));
                request.acquire().await.unwrap().release().await.unwrap();
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Clock::system().now();
    db.query("SELECT 1").execute().await.unwrap();
    assert!(
        (Clock::system().now() - begun) < Duration::from_secs(4),
        "it got a connection at once"
    );
    lock.release().await.unwrap();
    for task in waiting {
        task.await.unwrap();
    }
    db.close(Duration::from_secs(5)).await.unwrap();
}
