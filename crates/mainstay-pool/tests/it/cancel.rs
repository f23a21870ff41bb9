//! Futures dropped at any await: no connection is lost, none is handed out dirty.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay_pool::{Condition, Options};

use crate::fake::{Fake, options, until};

/// Many tasks acquire, soil, return and are dropped at seeded random points.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_cancellations_lose_and_leak_nothing() {
    const TASKS: u64 = 64;
    const ROUNDS: u64 = 400;
    let fake = Fake::default();
    *fake.0.connect_time.lock().unwrap() = Duration::from_micros(200);
    *fake.0.recover_time.lock().unwrap() = Duration::from_micros(100);
    let pool = fake.pool(options(4));
    let served = Arc::new(AtomicUsize::new(0));
    let tasks = (0..TASKS).map(|seed| {
        let (pool, served) = (pool.clone(), Arc::clone(&served));
        tokio::spawn(async move {
            let mut rng = fastrand::Rng::with_seed(seed);
            for _ in 0..ROUNDS {
                let condition = match rng.u8(0..10) {
                    0 => Condition::Broken,
                    1 | 2 => Condition::Dirty,
                    _ => Condition::Clean,
                };
                let work = async {
                    let mut lease = pool.acquire().await.unwrap();
                    assert_eq!(lease.condition, Condition::Clean, "handed out dirty");
                    lease.condition = condition;
                    served.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                };
                let limit = Duration::from_micros(rng.u64(0..1500));
                if rng.bool() {
                    let _ = tokio::time::timeout(limit, work).await;
                } else {
                    work.await;
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(served.load(SeqCst) as u64 > TASKS * ROUNDS / 2);
    until("all are back", || pool.status().in_use == 0 && pool.status().connecting == 0).await;
    let status = pool.status();
    assert_eq!((status.open, status.waiting), (status.idle, 0));
    assert!(status.open <= 4, "{status:?}");
    assert_eq!(fake.0.open.load(SeqCst), status.open, "what is open is in the pool");
    // And the whole capacity can still be had at once.
    let leases =
        [pool.acquire().await, pool.acquire().await, pool.acquire().await, pool.acquire().await];
    assert!(leases.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_wait_dropped_after_it_was_served_passes_the_connection_on() {
    let pool = Fake::default().pool(options(1));
    let held = pool.acquire().await.unwrap();
    let mut first = Box::pin(pool.acquire());
    assert!(futures_poll(&mut first).is_none());
    let mut second = Box::pin(pool.acquire());
    assert!(futures_poll(&mut second).is_none());
    drop(held);
    drop(first);
    assert!(futures_poll(&mut second).is_some());
}

#[tokio::test]
async fn a_dirty_connection_that_does_not_recover_is_replaced_within_the_bound() {
    let fake = Fake::default();
    *fake.0.recover_time.lock().unwrap() = Duration::from_secs(3600);
    let pool = fake.pool(Options { recover_timeout: Duration::from_millis(50), ..options(1) });
    let mut lease = pool.acquire().await.unwrap();
    let id = lease.id;
    lease.condition = Condition::Dirty;
    drop(lease);
    assert_eq!(pool.status().in_use, 1, "it counts until it is settled");
    assert_ne!(pool.acquire().await.unwrap().id, id);
}

#[tokio::test]
async fn a_silent_connection_is_found_out_before_it_is_handed_out() {
    let fake = Fake::default();
    let pool = fake.pool(Options {
        validate_after: Duration::from_millis(20),
        validation_timeout: Duration::from_millis(20),
        ..options(1)
    });
    let id = pool.acquire().await.unwrap().id;
    tokio::time::sleep(Duration::from_millis(40)).await;
    fake.0.silent.store(true, SeqCst);
    assert_ne!(pool.acquire().await.unwrap().id, id);
}

/// Table: unvalidated while fresh.
#[tokio::test]
async fn a_fresh_connection_is_handed_out_unasked() {
    let fake = Fake::default();
    let pool = fake.pool(options(1));
    for _ in 0..10 {
        pool.acquire().await.unwrap();
    }
    assert_eq!(fake.0.checks.load(SeqCst), 0);
}

#[test]
fn a_lease_may_be_dropped_on_a_thread_without_a_runtime() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fake = Fake::default();
    let pool = runtime.block_on(async { fake.pool(options(1)) });
    let mut lease = runtime.block_on(pool.acquire()).unwrap();
    lease.condition = Condition::Dirty;
    std::thread::spawn(move || drop(lease)).join().unwrap();
    runtime.block_on(async { pool.acquire().await.map(drop) }).unwrap();
    let lease = runtime.block_on(pool.acquire()).unwrap();
    drop(runtime);
    drop(lease);
}

fn futures_poll<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(out) => Some(out),
        std::task::Poll::Pending => None,
    }
}
