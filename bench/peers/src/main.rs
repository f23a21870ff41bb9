//! The peers of `cargo xtask bench jobs`, each at the best settings that it documents:
//! `peers CASE URL COUNT` prints one line of JSON. It measures them, and nothing of ours.

mod apalis_case;
mod awa_case;
mod graphile_case;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A case that takes longer has no figure.
const LIMIT: Duration = Duration::from_secs(900);
/// Between two looks at what is done, and of peers at their queues.
pub const POLL: Duration = Duration::from_millis(5);

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Counter(pub Arc<AtomicUsize>);

impl Counter {
    /// Jobs a second from `begun` to when the last of `count` was written as done: nothing is `left` in the
    /// database. It is asked only when all have run, so as not to be in the way.
    pub async fn rate(&self, begun: Instant, count: usize, left: impl AsyncFn() -> i64) -> f64 {
        while self.0.load(Ordering::Relaxed) < count {
            assert!(begun.elapsed() < LIMIT, "given up: {self:?} of {count}");
            tokio::time::sleep(POLL).await;
        }
        loop {
            // What the question does not find was written before it was asked.
            let taken = begun.elapsed();
            let left = left().await;
            if left == 0 {
                return count as f64 / taken.as_secs_f64();
            }
            assert!(taken < LIMIT, "given up: {left} of {count} are left");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Milliseconds: the middle and the 99th of a hundred.
pub fn percentiles(mut all: Vec<f64>) -> serde_json::Value {
    all.sort_by(f64::total_cmp);
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize];
    serde_json::json!({ "p50": at(0.5), "p99": at(0.99) })
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, case, url, count] = &arguments[..] else {
        eprintln!("peers CASE URL COUNT");
        std::process::exit(2);
    };
    let count: usize = count.parse().expect("a count");
    let result = match case.as_str() {
        "graphile-drain" => {
            rate(graphile_case::drain(url, count, graphile_case::ITS_BENCHMARK).await)
        }
        "graphile-drain-2-queues" => {
            rate(graphile_case::drain(url, count, graphile_case::TWO_QUEUES).await)
        }
        "graphile-latency" => percentiles(graphile_case::latency(url, count).await),
        "awa-drain" => rate(awa_case::drain(url, count).await),
        "awa-latency" => percentiles(awa_case::latency(url, count).await),
        "apalis-postgres-drain-100" => rate(apalis_case::postgres(url, count, 100).await),
        "apalis-postgres-drain-1000" => rate(apalis_case::postgres(url, count, 1_000).await),
        "apalis-sqlite-enqueue" => rate(apalis_case::sqlite_enqueue(url, count).await),
        "apalis-sqlite-drain-100" => rate(apalis_case::sqlite_drain(url, count, 100).await),
        "apalis-sqlite-drain-1000" => rate(apalis_case::sqlite_drain(url, count, 1_000).await),
        other => panic!("there is no case {other}"),
    };
    println!("{result}");
    std::process::exit(0);
}

fn rate(rate: f64) -> serde_json::Value {
    serde_json::json!({ "rate": rate })
}
