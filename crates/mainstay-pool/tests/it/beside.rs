//! Second connections: had where they can be, refused at once where they never could, and told of as
//! mistakes only where nobody says that they are meant.

use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Place};

use crate::fake::{Fake, options, until};

/// Nobody who waits here is refused before this: so what is refused was refused at once.
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn one_who_completes_the_circle_is_refused_and_the_others_go_on() {
    let fake = Fake::default();
    let pool = fake.pool(options(3));
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    let third = pool.acquire().await.unwrap();
    let waits = |pool: &mainstay_pool::Pool<Fake>| {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire_beside(1, Place::here()).await.map(drop) })
    };
    let (first, second) = (waits(&pool), waits(&pool));
    until("both wait", || pool.status().waiting == 2).await;
    let begun = Clock::system().now();
    let error = pool.acquire_beside(1, Place::here()).await.unwrap_err();
    assert!((Clock::system().now() - begun) < PATIENCE);
    assert_eq!(error.code(), Code::PoolDeadlock);
    assert!(error.report().contains("all 3 are held by callers that wait"), "{error:?}");
    // The refused one lets go of what it held, and so the others are served.
    drop(third);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    drop(held);
    // Nothing is counted any more: there is room for a circle that is none.
    assert!(pool.acquire_beside(2, Place::here()).await.is_ok());
}

#[tokio::test]
async fn a_pool_of_one_has_no_second() {
    let pool = Fake::default().pool(options(1));
    let _held = pool.acquire().await.unwrap();
    let begun = Clock::system().now();
    let error = pool.acquire_beside(1, Place::here()).await.unwrap_err();
    assert!((Clock::system().now() - begun) < PATIENCE);
    assert!(error.report().contains("the pool has one connection"), "{error:?}");
    assert!(error.report().contains("beside.rs:"), "{error:?}");
}

#[tokio::test]
async fn a_wait_that_is_dropped_or_times_out_is_counted_no_more() {
    let options =
        mainstay_pool::Options { acquire_timeout: Duration::from_millis(50), ..options(2) };
    let pool = Fake::default().pool(options);
    let held = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    for _ in 0..3 {
        let waits = pool.acquire_beside(1, Place::here());
        assert!(tokio::time::timeout(Duration::from_millis(5), waits).await.is_err());
        let error = pool.acquire_beside(1, Place::here()).await.unwrap_err();
        assert_eq!(error.code(), Code::PoolTimeout, "it was worth waiting for");
    }
    drop(held);
}

/// Others have counted what it keeps: it waits like anybody else.
#[tokio::test]
async fn one_that_counts_nothing_is_never_refused() {
    let pool = Fake::default().pool(options(1));
    let held = pool.acquire().await.unwrap();
    let waits = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.acquire_beside(0, Place::here()).await.map(drop) })
    };
    until("it waits", || pool.status().waiting == 1).await;
    drop(held);
    waits.await.unwrap().unwrap();
}
