//! A thousand tasks on fifty connections: how long each waits for its turn, and how evenly.

use std::time::Duration;

use hdrhistogram::Histogram;
use mainstay::clock::Clock;

use super::nothing::Pools;
use crate::report::{Better, Case, median};

const CONNECTIONS: u32 = 50;
const TASKS: usize = 1000;
const TURNS: usize = 60;
const ROUNDS: usize = 3;

/// p50, p99 and p99.99 of the wait, in nanoseconds.
struct Waits {
    p50: f64,
    p99: f64,
    p9999: f64,
}

macro_rules! waits {
    ($pool:expr, $get:ident) => {{
        let start = std::sync::Arc::new(tokio::sync::Barrier::new(TASKS));
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (pool, start) = ($pool.clone(), start.clone());
                tokio::spawn(async move {
                    let clock = Clock::system();
                    start.wait().await;
                    let mut waits = Vec::with_capacity(TURNS);
                    for _ in 0..TURNS {
                        let begun = clock.now();
                        let lease = pool.$get().await.expect("a connection");
                        waits.push(clock.now() - begun);
                        // As long as a quick statement takes.
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        drop(lease);
                    }
                    waits
                })
            })
            .collect();
        let mut all = Histogram::<u64>::new(4).expect("four digits");
        for task in tasks {
            // The first turns are those of a queue that fills.
            for wait in task.await.expect("no panic").into_iter().skip(TURNS / 10) {
                all.record(wait.as_nanos() as u64).expect("it grows");
            }
        }
        let at = |q| all.value_at_quantile(q) as f64;
        Waits { p50: at(0.5), p99: at(0.99), p9999: at(0.9999) }
    }};
}

pub(crate) async fn run() -> Vec<Case> {
    let pools = Pools::new(CONNECTIONS).await;
    let mut all: [Vec<Waits>; 4] = Default::default();
    for _ in 0..ROUNDS {
        all[0].push(waits!(pools.ours, acquire));
        all[1].push(waits!(pools.deadpool, get));
        all[2].push(waits!(pools.bb8, get));
        all[3].push(waits!(pools.mobc, get));
    }
    let ratio =
        |of: &[Waits], f: fn(&Waits) -> f64| median(of.iter().map(|w| f(w) / w.p50).collect());
    let case = |name: &str, f: fn(&Waits) -> f64| {
        Case::new(name, "ratio", Better::Lower, ratio(&all[0], f))
            .peer("deadpool", ratio(&all[1], f))
            .peer("bb8", ratio(&all[2], f))
            .peer("mobc", ratio(&all[3], f))
    };
    vec![
        case("wait of 1000 tasks on 50, p99 / p50", |w| w.p99),
        case("wait of 1000 tasks on 50, p99.99 / p50", |w| w.p9999),
    ]
}
