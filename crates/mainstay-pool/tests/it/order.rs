//! Who is served, in which order, and what those read who are not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::scope::{Kind, Scope};
use mainstay_core::{Code, Retry};
use mainstay_pool::Options;

use crate::fake::{Fake, options, until};

/// Table: FIFO waiters.
#[tokio::test]
async fn waiters_are_served_in_the_order_of_asking() {
    let pool = Fake::default().pool(options(1));
    let held = pool.acquire().await.unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for n in 0..50 {
        let (waiting, order) = (pool.clone(), Arc::clone(&served));
        tasks.push(tokio::spawn(async move {
            let _lease = waiting.acquire().await.unwrap();
            order.lock().unwrap().push(n);
            tokio::task::yield_now().await;
        }));
        until("the task waits", || pool.status().waiting == n + 1).await;
    }
    drop(held);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*served.lock().unwrap(), (0..50).collect::<Vec<_>>());
}

/// Table: LIFO idle, so that a pool shrinks.
#[tokio::test]
async fn the_last_returned_is_the_first_handed_out() {
    let pool = Fake::default().pool(options(2));
    let (a, b) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let (first, second) = (a.id, b.id);
    drop(a);
    drop(b);
    assert_eq!(pool.acquire().await.unwrap().id, second);
    assert_ne!(first, second);
    assert_eq!(pool.acquire().await.unwrap().id, second);
}

/// Table: cause and holders in the timeout error (the holders; the cause: in connect.rs).
#[tokio::test]
async fn the_bound_holds_and_the_refused_are_told_who_holds() {
    let fake = Fake::default();
    let pool = fake.pool(Options { acquire_timeout: Duration::from_millis(30), ..options(2) });
    let scope = Scope::new(Kind::Request, "POST /orders");
    let hold = || async { pool.acquire().await.unwrap() };
    let (_a, _b) = scope.run(async { (hold().await, hold().await) }).await;
    let error = pool.acquire().await.unwrap_err();
    assert_eq!(error.code(), Code::PoolTimeout);
    assert_eq!(error.retryability(), Retry::Later);
    assert!(error.place().unwrap().file().ends_with("order.rs"), "{error:?}");
    let report = error.report();
    assert!(report.contains("(max 2: 2 in use, 0 idle, 0 waiting)"), "{report}");
    assert!(
        report.contains("ms by POST /orders (crates/mainstay-pool/tests/it/order.rs:"),
        "{report}"
    );
    assert!(report.contains("this task holds one itself"), "{report}");
    assert_eq!(pool.status().waiting, 0);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let pool = Fake::default().pool(Options { max_waiting: 1, ..options(1) });
    let _held = pool.acquire().await.unwrap();
    let waiting = pool.clone();
    let task = tokio::spawn(async move { waiting.acquire().await.map(drop) });
    until("the task waits", || pool.status().waiting == 1).await;
    assert_eq!(pool.acquire().await.unwrap_err().code(), Code::PoolQueueFull);
    task.abort();
}

/// Table: caller's deadline bounds acquire (the statement: in mainstay-db, pooling.rs).
#[tokio::test]
async fn a_scopes_deadline_bounds_the_wait() {
    let pool = Fake::default().pool(options(1));
    let _held = pool.acquire().await.unwrap();
    let clock = mainstay_core::clock::Clock::system();
    let deadline = clock.now() + Duration::from_millis(20);
    let scope = Scope::new(Kind::Request, "GET /").with_deadline(deadline);
    let error = scope.run(async { pool.acquire().await.unwrap_err() }).await;
    assert_eq!(error.code(), Code::PoolTimeout);
    assert!(clock.now() < deadline + Duration::from_secs(2), "the pool's own timeout is 5 s");
}

#[tokio::test]
async fn bounds_that_make_no_sense_are_refused() {
    for wrong in [
        Options { max_size: 0, ..Options::default() },
        Options { min_idle: 11, ..Options::default() },
        Options { max_connecting: 0, ..Options::default() },
        Options { max_waiting: 0, ..Options::default() },
        Options { acquire_timeout: Duration::ZERO, ..Options::default() },
    ] {
        let error =
            mainstay_pool::Pool::builder(Fake::default()).options(wrong).build().unwrap_err();
        assert_eq!(error.code(), Code::ConfigValue);
    }
}
