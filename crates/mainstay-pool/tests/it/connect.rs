//! Opening connections: off the caller's task, a few at a time, and what happens while it fails.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mainstay_core::Code;
use mainstay_pool::Options;

use crate::fake::{Fake, options, until};

/// Table: connects off the caller's task, capped.
#[tokio::test]
async fn at_most_two_are_opened_at_a_time() {
    let fake = Fake::default();
    *fake.0.connect_time.lock().unwrap() = Duration::from_millis(5);
    let pool = fake.pool(options(20));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let _lease = pool.acquire().await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(fake.0.most_connecting.load(SeqCst), 2);
}

/// HikariCP's spike: a burst of short work must not fill the pool.
#[tokio::test]
async fn a_returned_connection_overtakes_one_being_opened() {
    let fake = Fake::default();
    let pool = fake.pool(Options { min_idle: 5, ..options(50) });
    until("five are ready", || pool.status().idle == 5).await;
    *fake.0.connect_time.lock().unwrap() = Duration::from_millis(150);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let _lease = pool.acquire().await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    until("what was begun is done", || pool.status().connecting == 0).await;
    assert!(pool.status().open <= 6, "{:?}", pool.status());
}

#[tokio::test]
async fn a_cancelled_caller_does_not_cancel_the_connect() {
    let fake = Fake::default();
    *fake.0.connect_time.lock().unwrap() = Duration::from_millis(20);
    let pool = fake.pool(options(1));
    let _ = tokio::time::timeout(Duration::from_millis(5), pool.acquire()).await;
    until("it is open", || pool.status().idle == 1).await;
    assert_eq!(fake.0.connects.load(SeqCst), 1);
}

/// Table: fails fast while the database is down, with the cause.
#[tokio::test]
async fn while_the_database_is_down_callers_fail_at_once_with_the_cause() {
    let fake = Fake::default();
    fake.0.down.store(true, SeqCst);
    let pool = fake.pool(options(4));
    let clock = mainstay_core::clock::Clock::system();
    let begun = clock.now();
    for _ in 0..100 {
        let error = pool.acquire().await.unwrap_err();
        assert_eq!(error.code(), Code::PoolDown);
        assert!(
            error.report().contains("by: DB-022: connection refused by 127.0.0.1:5432"),
            "{error:?}"
        );
    }
    assert!(clock.now() - begun < Duration::from_secs(3), "none waited for the acquire timeout");
    assert!(fake.0.connects.load(SeqCst) < 100, "the database is not stormed");
    fake.0.down.store(false, SeqCst);
    tokio::time::sleep(Duration::from_millis(600)).await;
    pool.acquire().await.unwrap();
}

#[tokio::test]
async fn while_connections_are_out_callers_wait_for_them_in_spite_of_failing_connects() {
    let fake = Fake::default();
    let pool = fake.pool(options(2));
    let held = pool.acquire().await.unwrap();
    fake.0.down.store(true, SeqCst);
    let waiting = pool.clone();
    let task = tokio::spawn(async move { waiting.acquire().await.map(drop) });
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert!(!task.is_finished());
    drop(held);
    task.await.unwrap().unwrap();
}

/// A server without room for more, while what is open works on: connects back off all the same.
#[tokio::test]
async fn returned_connections_do_not_undo_the_backoff() {
    let fake = Fake::default();
    let pool = fake.pool(options(4));
    let first = pool.acquire().await.unwrap();
    fake.0.down.store(true, SeqCst);
    drop(first);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let _lease = pool.acquire().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    // Some two seconds, with waits of 25, 50, 100, 200, 400 and 500 ms between.
    let tried = fake.0.connects.load(SeqCst) - 1;
    assert!((2..=20).contains(&tried), "{tried} connects");
}

/// Table: cause and holders in the timeout error (the cause).
#[tokio::test]
async fn a_timeout_while_connects_fail_names_cause_and_holders() {
    let fake = Fake::default();
    let limits = Options { acquire_timeout: Duration::from_millis(100), ..options(2) };
    let pool = fake.pool(limits);
    let _held = pool.acquire().await.unwrap();
    fake.0.down.store(true, SeqCst);
    let asked = pool.clone();
    let error = tokio::spawn(async move { asked.acquire().await.unwrap_err() }).await.unwrap();
    assert_eq!(error.code(), Code::PoolTimeout);
    let report = error.report();
    assert!(report.contains("by: DB-022: connection refused by 127.0.0.1:5432"), "{report}");
    assert!(report.contains("1 is held for over "), "{report}");
}
