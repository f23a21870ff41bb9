//! Many threads at once: never too many units, and none that is lost for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_limit::{Limiter, Limits, Policy};

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

#[test]
fn a_stopped_clock_gives_exactly_the_limit_out() {
    for text in ["fixed 1000/h", "sliding 1000/h", "log 1000/h", "bucket 1000/h", "gcra 1000/h"] {
        let (clock, _hand) = Clock::manual();
        let limiter = Limiter::with_clock(policy(text), 100, clock);
        let allowed = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..400 {
                        let one = limiter.check("one").allowed;
                        allowed.fetch_add(u32::from(one), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(allowed.into_inner(), 1000, "{text}");
    }
}

#[test]
fn no_more_are_held_than_may_be() {
    let limiter = Limiter::new(policy("concurrency 3"));
    let (held, most) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    let Ok(permit) = limiter.acquire("one") else { continue };
                    most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    held.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            });
        }
    });
    assert!((1..=3).contains(&most.into_inner()));
    let all: Vec<_> = (0..3).map(|_| limiter.acquire("one").unwrap()).collect();
    assert!(limiter.acquire("one").is_err());
    drop(all);
    assert_eq!(limiter.peek("one", 0).remaining, 3, "all came back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stack_counts_in_all_or_in_none() {
    let (clock, _hand) = Clock::manual();
    let policies = vec![policy("100/h").named("user"), policy("150/h").named("all")];
    let limits = Limits::builder(policies).clock(clock).build().unwrap();
    let allowed = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = ["alice", "bob"]
        .into_iter()
        .flat_map(|user| std::iter::repeat_n(user, 4))
        .enumerate()
        .map(|(seed, user)| {
            let (limits, allowed) = (limits.clone(), Arc::clone(&allowed));
            tokio::spawn(async move {
                let rng = Rng::seeded(seed as u64);
                for _ in 0..100 {
                    if limits.decide(&[user, ""], 1).await.allowed() {
                        allowed.fetch_add(1, Ordering::Relaxed);
                    }
                    if rng.u64(0..4) == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let count = allowed.load(Ordering::Relaxed);
    assert!(count <= 150, "{count}");
    // What is left of either is not lost: the stack adds up.
    let left: Vec<u32> = ["alice", "bob"].into_iter().map(|user| left(&limits, user)).collect();
    assert_eq!(left[0] + left[1], 200 - count, "{left:?}");
    let mut more = 0;
    while limits.decide(&["alice", ""], 1).await.allowed()
        || limits.decide(&["bob", ""], 1).await.allowed()
    {
        more += 1;
    }
    assert_eq!(count + more, 150);
}

fn left(limits: &Limits, user: &str) -> u32 {
    let decided = futures_lite_block(limits.decide(&[user, ""], 0));
    decided.decisions()[0].remaining
}

/// In this process a decision never waits.
fn futures_lite_block<T>(decision: impl Future<Output = T>) -> T {
    let mut decision = std::pin::pin!(decision);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match decision.as_mut().poll(&mut context) {
        std::task::Poll::Ready(decided) => decided,
        std::task::Poll::Pending => panic!("it waits"),
    }
}
