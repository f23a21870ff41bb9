//! The loader without a database: batches, the cache, and who is dropped, fails or panics.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::scope::{Kind, Scope};
use mainstay_core::{Code, Error};
use tokio::sync::Semaphore;

use super::{Builder, Loader};

/// Counts batches and keys; each batch waits for a permit where there is a gate.
#[derive(Clone)]
struct Source {
    batches: Arc<AtomicUsize>,
    keys: Arc<AtomicUsize>,
    gate: Option<Arc<Semaphore>>,
}

impl Source {
    fn new(gate: Option<Arc<Semaphore>>) -> Self {
        Self { batches: Arc::default(), keys: Arc::default(), gate }
    }

    fn shut() -> (Self, Arc<Semaphore>) {
        let gate = Arc::new(Semaphore::new(0));
        (Self::new(Some(Arc::clone(&gate))), gate)
    }

    fn counts(&self) -> (usize, usize) {
        (self.batches.load(SeqCst), self.keys.load(SeqCst))
    }

    fn loader(&self, builder: Builder) -> Loader<u64, u64> {
        let source = self.clone();
        builder.build(move |keys: Vec<u64>| {
            let source = source.clone();
            async move {
                source.batches.fetch_add(1, SeqCst);
                source.keys.fetch_add(keys.len(), SeqCst);
                if let Some(gate) = &source.gate {
                    gate.acquire().await.expect("never closed").forget();
                }
                Ok(keys.into_iter().filter(|k| *k < 1_000_000).map(|k| (k, k * 2)).collect())
            }
        })
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Waits until it is so, and fails after 20 s.
async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Clock::system().now();
    while !done() {
        assert!(Clock::system().now() - begun < Duration::from_secs(20), "not so: {what}");
        Clock::system().sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_is_asked_at_once_is_one_batch() {
    let source = Source::new(None);
    let loader = source.loader(Builder::default());
    let found = join_all((0..1000).map(|k| loader.load(k))).await;
    assert!((0..1000).all(|k| *found[k as usize].as_ref().unwrap() == Some(k * 2)));
    assert_eq!(source.counts(), (1, 1000));
    // All of them are kept, and so is that there is none.
    assert_eq!(
        loader.load_many([5, 5, 2_000_000, 7]).await.unwrap(),
        [Some(10), Some(10), None, Some(14)]
    );
    assert_eq!(loader.load(2_000_000).await.unwrap(), None);
    assert_eq!(source.counts(), (2, 1001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_has_at_most_max_batch_keys_and_few_run_at_once() {
    let (source, gate) = Source::shut();
    let loader = source.loader(Builder::default().max_batch(10).concurrency(2));
    let all = tokio::spawn(join_all((0..100).map(|k| loader.load(k)).collect::<Vec<_>>()));
    until("two batches are fetched", || source.counts().0 == 2).await;
    settle().await;
    assert_eq!(source.counts(), (2, 20), "more than two at once");
    gate.add_permits(100);
    assert!(all.await.unwrap().into_iter().all(|found| found.unwrap().is_some()));
    assert_eq!(source.counts(), (10, 100));
    let one = source.loader(Builder::default().max_batch(1));
    assert!(join_all((0..5).map(|k| one.load(k))).await.into_iter().all(|k| k.is_ok()));
    assert_eq!(source.counts(), (15, 105));
}

#[tokio::test]
async fn a_key_under_way_is_fetched_once_and_a_hit_does_not_wait() {
    let (source, gate) = Source::shut();
    let loader = source.loader(Builder::default());
    loader.prime(7, 70);
    let first = tokio::spawn(loader.load(1));
    settle().await;
    let more: Vec<_> = (0..10).map(|_| tokio::spawn(loader.load(1))).collect();
    settle().await;
    assert_eq!(source.counts(), (1, 1));
    assert_eq!(loader.load(7).await.unwrap(), Some(70), "a hit is there while a load is under way");
    gate.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap(), Some(2));
    for one in more {
        assert_eq!(one.await.unwrap().unwrap(), Some(2));
    }
    assert_eq!(source.counts(), (1, 1));
}

#[tokio::test]
async fn prime_and_clear() {
    let source = Source::new(None);
    let loader = source.loader(Builder::default());
    loader.load(1).await.unwrap();
    loader.prime(1, 100);
    assert_eq!(loader.load(1).await.unwrap(), Some(2), "what is known stays");
    loader.clear(&1);
    loader.prime(1, 100);
    assert_eq!(loader.load(1).await.unwrap(), Some(100));
    assert_eq!(source.counts().0, 1);
    loader.clear_all();
    assert_eq!(loader.load(1).await.unwrap(), Some(2));
    assert_eq!(source.counts().0, 2);
}

#[tokio::test]
async fn a_clear_leaves_waiters_served_and_what_is_gathered_alone() {
    let (source, gate) = Source::shut();
    let loader = source.loader(Builder::default());
    let gathered = {
        let mut load = Box::pin(loader.load(1));
        assert!(futures_util::poll!(&mut load).is_pending());
        loader.clear(&1);
        loader.clear_all();
        load
    };
    let both = tokio::spawn(futures_util::future::join(gathered, loader.load(1)));
    until("it is fetched", || source.counts().0 == 1).await;
    assert_eq!(source.counts(), (1, 1), "a key is twice in a batch");
    loader.clear(&1);
    let anew = tokio::spawn(loader.load(1));
    until("it is fetched anew", || source.counts().0 == 2).await;
    gate.add_permits(2);
    let (one, two) = both.await.unwrap();
    assert_eq!(
        (one.unwrap(), two.unwrap(), anew.await.unwrap().unwrap()),
        (Some(2), Some(2), Some(2))
    );
}

#[tokio::test]
async fn what_is_kept_has_a_bound() {
    let source = Source::new(None);
    let loader = source.loader(Builder::default().capacity(10));
    for key in 0..100 {
        loader.load(key).await.unwrap();
    }
    assert_eq!(loader.shared.state().sizes(), (10, 10));
    loader.load(99).await.unwrap();
    assert_eq!(source.counts().0, 100, "the newest stays");
    loader.load(0).await.unwrap();
    assert_eq!(source.counts().0, 101, "the oldest went");
    let off = source.loader(Builder::default().capacity(0));
    off.prime(1, 1);
    off.load(1).await.unwrap();
    off.load(1).await.unwrap();
    assert_eq!(source.counts().0, 103);
    assert_eq!(off.shared.state().sizes(), (0, 0));
}

#[tokio::test]
async fn errors_are_told_to_all_and_not_kept() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let loader = Loader::<u64, u64>::with_errors(move |keys: Vec<u64>| {
        let call = count.fetch_add(1, SeqCst);
        async move {
            match call {
                0 => panic!("on purpose"),
                1 => Err(Error::user("all of them")),
                _ => {
                    let one = |k| if k == 3 { Err(Error::user("this one")) } else { Ok(k) };
                    Ok(keys.into_iter().map(|k| (k, one(k))).collect::<HashMap<_, _>>())
                }
            }
        }
    });
    for expected in [Code::LoadFailed, Code::User] {
        for outcome in join_all((1..5).map(|k| loader.load(k))).await {
            assert_eq!(outcome.unwrap_err().code(), expected);
        }
    }
    let outcomes = join_all((1..5).map(|k| loader.load(k))).await;
    let failed: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, false, true, false]);
    assert_eq!(loader.load(1).await.unwrap(), Some(1));
    assert_eq!(calls.load(SeqCst), 3);
    loader.load(3).await.unwrap_err();
    assert_eq!(calls.load(SeqCst), 4, "an error was kept");
}

#[tokio::test]
async fn a_fetch_has_a_limit() {
    let (source, gate) = Source::shut();
    let loader = source.loader(Builder::default().timeout(Duration::from_millis(50)));
    let error = loader.load(1).await.unwrap_err();
    assert_eq!(error.code(), Code::LoadTimeout);
    assert!(error.place().unwrap().file().ends_with("tests.rs"), "not the place of the load");
    gate.add_permits(1);
    assert_eq!(loader.load(1).await.unwrap(), Some(2));
}

#[tokio::test]
async fn a_waiter_that_is_not_polled_keeps_nobody() {
    let source = Source::new(None);
    let loader = source.loader(Builder::default());
    let mut first = Box::pin(loader.load(1));
    assert!(futures_util::poll!(&mut first).is_pending(), "it gathers");
    assert_eq!(loader.load(2).await.unwrap(), Some(4));
    assert_eq!(loader.load(1).await.unwrap(), Some(2));
    assert_eq!(first.await.unwrap(), Some(2));
    assert_eq!(source.counts(), (1, 2));
}

#[tokio::test]
async fn who_is_dropped_leaves_the_others_served() {
    let (source, gate) = Source::shut();
    let loader = source.loader(Builder::default());
    let mut first = Box::pin(loader.load(1));
    assert!(futures_util::poll!(&mut first).is_pending());
    let second = tokio::spawn(loader.load(1));
    let third = tokio::spawn(loader.load(3));
    settle().await;
    drop(first);
    third.abort();
    until("it is fetched", || source.counts().0 == 1).await;
    gate.add_permits(1);
    assert_eq!(second.await.unwrap().unwrap(), Some(2));
}

#[tokio::test]
async fn what_nobody_waits_for_is_dropped() {
    let (source, gate) = Source::shut();
    let loader = source.loader(Builder::default().concurrency(1));
    for key in [1, 2] {
        let mut load = Box::pin(loader.load(key));
        assert!(futures_util::poll!(&mut load).is_pending());
        if key == 2 {
            // Beyond gathering: it is fetched.
            while source.counts().0 == 0 {
                assert!(futures_util::poll!(&mut load).is_pending());
                settle().await;
            }
        }
        drop(load);
        settle().await;
        assert_eq!(loader.shared.state().sizes(), (0, 0));
    }
    assert_eq!(source.counts(), (1, 1));
    gate.add_permits(1);
    // Its place among those that run is free, too.
    assert_eq!(loader.load(2).await.unwrap(), Some(4));
}

#[test]
fn without_its_runtime_a_batch_is_over() {
    let (source, _gate) = Source::shut();
    let loader = source.loader(Builder::default());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut load = Box::pin(loader.load(1));
    runtime.block_on(async {
        while source.counts().0 == 0 {
            assert!(futures_util::poll!(&mut load).is_pending());
            tokio::task::yield_now().await;
        }
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(other.block_on(load).unwrap_err().code(), Code::LoadFailed);
}

#[tokio::test]
async fn it_runs_in_the_scope_of_who_asked() {
    let loader = Loader::<u64, String>::new(|keys: Vec<u64>| async move {
        tokio::task::yield_now().await;
        let name = Scope::current().map_or("none".to_owned(), |s| s.name().to_owned());
        Ok(keys.into_iter().map(|k| (k, name.clone())).collect())
    });
    let scope = Scope::new(Kind::Request, "GET /orders");
    let all = scope.run(join_all((0..3).map(|k| loader.load(k)))).await;
    assert!(all.into_iter().all(|name| name.unwrap().as_deref() == Some("GET /orders")));
}

/// Tasks that ask for random keys and are dropped at random, while batches fail and panic at random:
/// whoever stays has an answer, the right one or an error, and nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_is_dropped_fails_or_panics_nobody_hangs() {
    for seed in 0..20 {
        let rng = Rng::seeded(seed);
        let dice = rng.clone();
        let batch = move |keys: Vec<u64>| {
            let (pause, end) = (dice.u64(0..4), dice.u64(0..10));
            async move {
                for _ in 0..pause {
                    tokio::task::yield_now().await;
                }
                if pause == 3 {
                    Clock::system().sleep(Duration::from_millis(1)).await;
                }
                assert!(end != 0, "on purpose");
                if end == 1 {
                    return Err(Error::user("on purpose"));
                }
                Ok(keys.into_iter().map(|k| (k, k * 2)).collect::<HashMap<_, _>>())
            }
        };
        let builder = Builder::default().max_batch(7).concurrency(2).capacity(20);
        let loader: Loader<u64, u64> = builder.build(batch);
        let mut tasks = Vec::new();
        for _ in 0..500 {
            let (loader, key, limit) = (loader.clone(), rng.u64(0..60), rng.u64(0..12));
            tasks.push(tokio::spawn(async move {
                let mut load = Box::pin(loader.load(key));
                for _ in 0..limit {
                    if let std::task::Poll::Ready(outcome) = futures_util::poll!(&mut load) {
                        return Some((key, outcome));
                    }
                    tokio::task::yield_now().await;
                }
                if limit % 2 == 0 {
                    return None;
                }
                if limit == 3 {
                    loader.clear(&key);
                }
                Some((key, load.await))
            }));
        }
        let all = Clock::system().timeout(Duration::from_secs(60), join_all(tasks)).await;
        for outcome in all.expect("somebody hangs") {
            match outcome.expect("no panic reaches a waiter") {
                Some((key, Ok(value))) => assert_eq!(value, Some(key * 2)),
                Some((_, Err(e))) => assert!([Code::User, Code::LoadFailed].contains(&e.code())),
                None => {}
            }
        }
        until("nothing runs", || loader.shared.state().is_idle()).await;
        let (seats, kept) = loader.shared.state().sizes();
        assert!(seats <= 20 && kept <= 20, "{seats} seats, {kept} kept, seed {seed}");
    }
}
