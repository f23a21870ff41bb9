//! Lifetimes, idle times and the minimum kept ready, under a clock that the test moves.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_pool::{Options, Pool};

use crate::fake::{Fake, options, until};

async fn fill(pool: &Pool<Fake>, n: usize) {
    let mut leases = Vec::new();
    for _ in 0..n {
        leases.push(pool.acquire().await.unwrap());
    }
}

#[tokio::test]
async fn idle_connections_go_but_for_the_minimum() {
    let fake = Fake::default();
    let (clock, hand) = Clock::manual();
    let limits = Options { min_idle: 2, idle_timeout: Some(Duration::from_secs(60)), ..options(5) };
    let pool = Pool::builder(fake.clone()).options(limits).clock(clock).build().unwrap();
    fill(&pool, 5).await;
    until("all are idle", || pool.status().idle == 5).await;
    hand.advance(Duration::from_secs(30));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(pool.status().idle, 5);
    hand.advance(Duration::from_secs(31));
    until("three are gone", || pool.status().idle == 2 && fake.0.open.load(SeqCst) == 2).await;
}

/// Table: max lifetime with jitter.
#[tokio::test]
async fn lifetimes_end_apart() {
    let fake = Fake::default();
    let (clock, hand) = Clock::manual();
    let limits = Options {
        max_lifetime: Some(Duration::from_secs(1000)),
        idle_timeout: None,
        max_connecting: 100,
        ..options(100)
    };
    let pool = Pool::builder(fake.clone())
        .options(limits)
        .clock(clock)
        .rng(Rng::seeded(3))
        .build()
        .unwrap();
    fill(&pool, 100).await;
    hand.advance(Duration::from_secs(749));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(pool.status().open, 100);
    let mut most_at_once = 0;
    let mut before = 100;
    for _ in 0..252 {
        hand.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(1)).await;
        most_at_once = most_at_once.max(before - pool.status().open);
        before = pool.status().open;
    }
    assert_eq!(before, 0, "all have ended");
    assert!(most_at_once <= 3, "{most_at_once} ended within one second");
}

/// Table: min idle kept warm.
#[tokio::test]
async fn the_minimum_is_opened_ahead_and_kept() {
    let fake = Fake::default();
    let pool = fake.pool(Options { min_idle: 3, ..options(5) });
    until("three are ready", || pool.status().idle == 3).await;
    let mut lease = pool.acquire().await.unwrap();
    lease.condition = mainstay_pool::Condition::Broken;
    drop(lease);
    until("it is replaced", || pool.status().idle == 3).await;
}

#[tokio::test]
async fn a_dropped_pool_leaves_nothing_open() {
    let fake = Fake::default();
    let pool = fake.pool(options(3));
    fill(&pool, 3).await;
    drop(pool);
    until("nothing is open", || fake.0.open.load(SeqCst) == 0).await;
}
