//! The peers of `cargo xtask bench jobs`, each at the best settings that it documents:
//! `peers CASE URL COUNT` prints one line of JSON. It measures them, and nothing of ours.

mod apalis_case;
mod awa_case;
mod graphile_case;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A case that takes longer is given up, and its rate is of what was done by then.
const LIMIT: Duration = Duration::from_secs(300);

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Counter(pub Arc<AtomicUsize>);

impl Counter {
    /// Waits for `count`, and gives the rate: jobs a second from `begun`.
    pub async fn rate(&self, begun: Instant, count: usize) -> f64 {
        while self.0.load(Ordering::Relaxed) < count && begun.elapsed() < LIMIT {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.0.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
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
        "graphile-drain" => rate(graphile_case::drain(url, count).await),
        "graphile-latency" => percentiles(graphile_case::latency(url, count).await),
        "awa-drain" => rate(awa_case::drain(url, count).await),
        "awa-latency" => percentiles(awa_case::latency(url, count).await),
        "apalis-postgres-drain" => rate(apalis_case::postgres(url, count).await),
        "apalis-sqlite-enqueue" => rate(apalis_case::sqlite_enqueue(url, count).await),
        "apalis-sqlite-drain" => rate(apalis_case::sqlite_drain(url, count).await),
        other => panic!("there is no case {other}"),
    };
    println!("{result}");
    std::process::exit(0);
}

fn rate(rate: f64) -> serde_json::Value {
    serde_json::json!({ "rate": rate })
}
