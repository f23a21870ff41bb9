//! Jobs that wait for others: order by key, limits of the fleet, rates.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::Error;
use mainstay_core::clock::Clock;
use mainstay_jobs::{Context, Jobs, Queue, Worker};

use crate::support::{Here, Note, Seen, drain, note, on_every_backend, until, until_seen};

on_every_backend!(
    jobs_of_one_key_run_one_at_a_time_in_order,
    a_limit_by_key_holds_across_workers,
    a_limit_of_the_queue_holds_across_workers,
    a_rate_spreads_the_starts,
    a_raised_limit_strands_nobody,
);

async fn jobs_of_one_key_run_one_at_a_time_in_order(here: Here) {
    for n in 0..60 {
        let key = format!("k{}", n % 4);
        here.db.enqueue(&note(format!("{key} {n}"))).ordering_key(key).await.unwrap();
    }
    let start = || async {
        here.worker()
            .concurrency(8)
            .handle(|note: Note, ctx: Context<Seen>| async move {
                // Every fifth fails at first: the others of its key wait for it.
                let n: usize = note.text.split(' ').nth(1).unwrap().parse().unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
                if n.is_multiple_of(5) && ctx.attempt() == 1 {
                    return Err(Error::user("at first"));
                }
                ctx.state().add(note.text);
                Ok(())
            })
            .start()
            .await
            .unwrap()
    };
    let workers = [start().await, start().await, start().await];
    until_seen(&here.seen, 60).await;
    for worker in workers {
        drain(worker).await.unwrap();
    }
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for text in here.seen.all() {
        let (key, n) = text.split_once(' ').unwrap();
        by_key.entry(key.to_owned()).or_default().push(n.parse().unwrap());
    }
    for (key, all) in by_key {
        assert!(all.is_sorted() && all.len() == 15, "{key}: {all:?}");
    }
    for table in ["mainstay_job", "mainstay_parked", "mainstay_holding", "mainstay_lease"] {
        assert_eq!(here.count(table).await, 0, "{table}");
    }
}

/// How many run at a time, and the most of it.
#[derive(Clone, Default)]
struct Gauge(Arc<Mutex<BTreeMap<String, (usize, usize)>>>);

impl Gauge {
    fn change(&self, key: &str, up: bool) {
        let mut all = self.0.lock().unwrap();
        let (now, most) = all.entry(key.to_owned()).or_default();
        *now = if up { *now + 1 } else { *now - 1 };
        *most = (*most).max(*now);
    }

    fn most(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap().iter().map(|(key, (_, most))| (key.clone(), *most)).collect()
    }
}

async fn gauged(here: &Here, queue: Queue, gauge: &Gauge, done: &Arc<AtomicUsize>) -> Worker {
    let (gauge, done) = (gauge.clone(), Arc::clone(done));
    here.worker_on(queue)
        .concurrency(10)
        .handle(move |note: Note, _: Context<Seen>| {
            let (gauge, done) = (gauge.clone(), Arc::clone(&done));
            async move {
                gauge.change(&note.text, true);
                tokio::time::sleep(Duration::from_millis(15)).await;
                gauge.change(&note.text, false);
                done.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .start()
        .await
        .unwrap()
}

async fn a_limit_by_key_holds_across_workers(here: Here) {
    for n in 0..40 {
        let key = format!("k{}", n % 2);
        here.db.enqueue(&note(key.as_str())).limit_key(key).await.unwrap();
    }
    let (gauge, done) = (Gauge::default(), Arc::new(AtomicUsize::new(0)));
    let queue = || here.queue("default").key_concurrency(3);
    let one = gauged(&here, queue(), &gauge, &done).await;
    let other = gauged(&here, queue(), &gauge, &done).await;
    until("all are done", || async { done.load(Ordering::SeqCst) == 40 }).await;
    drain(one).await.unwrap();
    drain(other).await.unwrap();
    assert!(gauge.most().values().all(|most| *most <= 3), "{:?}", gauge.most());
}

async fn a_limit_of_the_queue_holds_across_workers(here: Here) {
    for _ in 0..30 {
        here.db.enqueue(&note("x")).await.unwrap();
    }
    let (gauge, done) = (Gauge::default(), Arc::new(AtomicUsize::new(0)));
    let queue = || here.queue("default").global_concurrency(4);
    let one = gauged(&here, queue(), &gauge, &done).await;
    let other = gauged(&here, queue(), &gauge, &done).await;
    until("all are done", || async { done.load(Ordering::SeqCst) == 30 }).await;
    drain(one).await.unwrap();
    drain(other).await.unwrap();
    assert!(gauge.most()["x"] <= 4, "{:?}", gauge.most());
    assert_eq!(here.count("mainstay_holding").await, 0);
}

async fn a_rate_spreads_the_starts(here: Here) {
    for _ in 0..8 {
        here.db.enqueue(&note("x")).await.unwrap();
    }
    let clock = Clock::system();
    let begun = clock.now();
    let worker = here
        .worker_on(here.queue("default").rate(20, Duration::from_secs(1)))
        .handle(|note: Note, ctx: Context<Seen>| async move {
            ctx.state().add(note.text);
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 8).await;
    // Seven intervals of 50 ms lie between eight starts.
    assert!(clock.now().saturating_duration_since(begun) >= Duration::from_millis(340));
    drain(worker).await.unwrap();
    assert_eq!(here.count("mainstay_job").await, 0);
}

async fn a_raised_limit_strands_nobody(here: Here) {
    for _ in 0..6 {
        here.db.enqueue(&note("x")).limit_key("k").await.unwrap();
    }
    let (gauge, done) = (Gauge::default(), Arc::new(AtomicUsize::new(0)));
    let strict = gauged(&here, here.queue("default").key_concurrency(1), &gauge, &done).await;
    until("some wait", || async { here.count("mainstay_parked").await > 0 }).await;
    drain(strict).await.unwrap();
    let free = gauged(&here, here.queue("default"), &gauge, &done).await;
    until("all are done", || async { done.load(Ordering::SeqCst) == 6 }).await;
    drain(free).await.unwrap();
}
