//! What a pool does by itself: connections that end apart, leaks that are told, and what looking for
//! them costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::observe::{Change, Connection, Hold, HoldKind, Observer, Removal, Subscriber};
use mainstay::pool::{Options, Pool};

use super::nothing::Nothing;
use crate::report::{Better, Case, median};

const THRESHOLD: Duration = Duration::from_secs(2);
const OPERATIONS: usize = 400_000;
const ROUNDS: usize = 21;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = vec![lifetimes().await];
    cases.extend(leaks().await);
    cases.push(overhead().await);
    cases
}

#[derive(Clone, Default)]
struct Counts {
    expired: Arc<AtomicUsize>,
    leaks: Arc<AtomicUsize>,
}

impl Subscriber for Counts {
    fn connection(&self, event: &Connection<'_>) {
        if matches!(event.change, Change::Removed { why: Removal::Expired, .. }) {
            self.expired.fetch_add(1, SeqCst);
        }
    }

    fn hold(&self, event: &Hold<'_>) {
        if event.kind == HoldKind::Leak {
            self.leaks.fetch_add(1, SeqCst);
        }
    }
}

/// A hundred opened at once, half an hour by a clock of our own.
async fn lifetimes() -> Case {
    let (clock, hand) = Clock::manual();
    let (counts, observer) = (Counts::default(), Observer::new());
    observer.subscribe(counts.clone());
    let options = Options {
        max_size: 100,
        max_connecting: 100,
        idle_timeout: None,
        keepalive: None,
        ..Options::default()
    };
    let pool = Pool::builder(Nothing).options(options).clock(clock).observer(observer);
    let pool = pool.build().expect("a pool");
    let mut all = Vec::new();
    for _ in 0..100 {
        all.push(pool.acquire().await.expect("a connection"));
    }
    drop(all);
    let (mut most, mut before) = (0, 0);
    for _ in 0..1802 {
        hand.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_micros(1500)).await;
        let now = counts.expired.load(SeqCst);
        most = most.max(now - before);
        before = now;
    }
    assert_eq!(before, 100, "all have ended");
    Case::new(
        "100 opened at once: most that expire in one second",
        "count",
        Better::Lower,
        most as f64,
    )
}

/// How long after its threshold a leak is told, and whether any is told that is none.
async fn leaks() -> Vec<Case> {
    let (counts, observer) = (Counts::default(), Observer::new());
    observer.subscribe(counts.clone());
    let options = Options { leak_after: Some(THRESHOLD), ..Options::default() };
    let pool = Pool::builder(Nothing).options(options).observer(observer).build().expect("a pool");
    let clock = Clock::system();
    let busy: Vec<_> = (0..100)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..2000 {
                    let _lease = pool.acquire().await.expect("a connection");
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            })
        })
        .collect();
    for task in busy {
        task.await.expect("no panic");
    }
    let falsely = counts.leaks.load(SeqCst);
    let mut late = Vec::new();
    for _ in 0..5 {
        let before = counts.leaks.load(SeqCst);
        let begun = clock.now();
        let lease = pool.acquire().await.expect("a connection");
        while counts.leaks.load(SeqCst) == before {
            clock.sleep(Duration::from_millis(5)).await;
        }
        late.push((clock.now() - begun).saturating_sub(THRESHOLD).as_secs_f64() * 1e3);
        drop(lease);
    }
    vec![
        Case::new("leak told, after its threshold", "ms", Better::Lower, median(late)),
        Case::new("leaks told that were none", "count", Better::Lower, falsely as f64),
    ]
}

/// Acquire and release with the look-out for leaks and without.
async fn overhead() -> Case {
    let pool = |leak_after| {
        let options = Options { leak_after, ..Options::default() };
        Pool::builder(Nothing).options(options).build().expect("a pool")
    };
    let (on, off) = (pool(Some(Duration::from_secs(10))), pool(None));
    let turn = async |pool: &Pool<Nothing>| {
        let clock = Clock::system();
        let begun = clock.now();
        for _ in 0..OPERATIONS {
            std::hint::black_box(&*pool.acquire().await.expect("a connection"));
        }
        (clock.now() - begun).as_secs_f64() * 1e9 / OPERATIONS as f64
    };
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        // In turn first, so that neither is always the one after the other's caches.
        let (with, without) = if round % 2 == 0 {
            let with = turn(&on).await;
            (with, turn(&off).await)
        } else {
            let without = turn(&off).await;
            (turn(&on).await, without)
        };
        ratios.push(with / without);
    }
    Case::new(
        "acquire and release, looking for leaks / not",
        "ratio",
        Better::Lower,
        median(ratios),
    )
}
