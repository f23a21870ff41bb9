//! Twice the load that the pool can carry, for some seconds: who is served in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use hdrhistogram::Histogram;
use mainstay::clock::Clock;
use mainstay::pool::{Options, Pool};

use super::nothing::Nothing;
use crate::report::{Better, Case};

const CONNECTIONS: u32 = 10;
const WORK: Duration = Duration::from_millis(5);
const TARGET: Duration = Duration::from_millis(50);
/// Whoever is served later has gone away: nothing good came of it.
const USEFUL: Duration = Duration::from_millis(100);
const SECONDS: u64 = 8;
/// Whoever is not served by then gives up.
const PATIENCE: Duration = Duration::from_secs(2);

struct Outcome {
    /// Served in time, a second.
    good: f64,
    p99_ms: f64,
}

/// `per_second` callers come, evenly, whatever becomes of those before.
macro_rules! offered {
    ($pool:expr, $get:ident, $per_second:expr) => {{
        let clock = Clock::system();
        let waits =
            Arc::new(std::sync::Mutex::new(Histogram::<u64>::new(3).expect("three digits")));
        let good = Arc::new(AtomicUsize::new(0));
        let begun = clock.now();
        let mut callers = tokio::task::JoinSet::new();
        let total = $per_second * SECONDS;
        for n in 0..total {
            let due = begun + Duration::from_secs_f64(n as f64 / $per_second as f64);
            if due > clock.now() {
                clock.sleep_until(due).await;
            }
            let (pool, waits, good, clock) =
                ($pool.clone(), waits.clone(), good.clone(), clock.clone());
            callers.spawn(async move {
                let asked = clock.now();
                let Some(Ok(lease)) = clock.timeout(PATIENCE, pool.$get()).await else { return };
                let wait = clock.now() - asked;
                tokio::time::sleep(WORK).await;
                drop(lease);
                let micros = wait.as_micros() as u64;
                waits.lock().expect("no panic").record(micros).expect("it grows");
                if wait <= USEFUL {
                    good.fetch_add(1, SeqCst);
                }
            });
        }
        while callers.join_next().await.is_some() {}
        let p99 = waits.lock().expect("no panic").value_at_quantile(0.99);
        Outcome { good: good.load(SeqCst) as f64 / SECONDS as f64, p99_ms: p99 as f64 / 1e3 }
    }};
}

pub(crate) async fn run() -> Vec<Case> {
    let options = |shed_target| Options {
        max_size: CONNECTIONS,
        shed_target,
        acquire_timeout: Duration::from_secs(60),
        ..Options::default()
    };
    let ours = Pool::builder(Nothing).options(options(Some(TARGET))).build().expect("a pool");
    let unshed = Pool::builder(Nothing).options(options(None)).build().expect("a pool");
    let deadpool: deadpool::managed::Pool<Nothing> = deadpool::managed::Pool::builder(Nothing)
        .max_size(CONNECTIONS as usize)
        .build()
        .expect("a pool");
    let bb8 = bb8::Pool::builder().max_size(CONNECTIONS).build(Nothing).await.expect("a pool");
    // What it carries: everybody is served as fast as the work allows.
    let peak = peak(&unshed).await;
    let twice = (2.0 * peak) as u64;
    let mine = offered!(ours, acquire, twice);
    let without = offered!(unshed, acquire, twice);
    let deadpool = offered!(deadpool, get, twice);
    let bb8 = offered!(bb8, get, twice);
    vec![
        Case::new(
            "twice the load: served within 100 ms / peak",
            "ratio",
            Better::Higher,
            mine.good / peak,
        )
        .peer("deadpool", deadpool.good / peak)
        .peer("bb8", bb8.good / peak)
        .peer("ours without shedding", without.good / peak),
        Case::new(
            "twice the load: p99 wait of the served / target of 50 ms",
            "ratio",
            Better::Lower,
            mine.p99_ms / (TARGET.as_secs_f64() * 1e3),
        )
        .peer("deadpool", deadpool.p99_ms / (TARGET.as_secs_f64() * 1e3))
        .peer("bb8", bb8.p99_ms / (TARGET.as_secs_f64() * 1e3))
        .peer("ours without shedding", without.p99_ms / (TARGET.as_secs_f64() * 1e3)),
    ]
}

/// How many a second ten connections carry.
async fn peak(pool: &Pool<Nothing>) -> f64 {
    let clock = Clock::system();
    let (begun, done) = (clock.now(), Arc::new(AtomicUsize::new(0)));
    let until = begun + Duration::from_secs(3);
    let workers: Vec<_> = (0..30)
        .map(|_| {
            let (pool, done, clock) = (pool.clone(), done.clone(), clock.clone());
            tokio::spawn(async move {
                while clock.now() < until {
                    let _lease = pool.acquire().await.expect("a connection");
                    tokio::time::sleep(WORK).await;
                    done.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic");
    }
    done.load(SeqCst) as f64 / (clock.now() - begun).as_secs_f64()
}
