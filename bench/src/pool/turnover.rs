//! Acquire and release with no I/O in between, by 1 to 1000 tasks over ten connections.

use mainstay::clock::Clock;

use super::nothing::Pools;
use crate::report::{Better, Case, median};

const CONNECTIONS: u32 = 10;
const ROUNDS: usize = 11;
/// Of all tasks together, in a round.
const OPERATIONS: usize = 400_000;
/// Where each holds its connection while others run.
const YIELDING: usize = 100_000;

pub(crate) async fn run() -> Vec<Case> {
    let pools = Pools::new(CONNECTIONS).await;
    let mut cases = Vec::new();
    for yields in [false, true] {
        for tasks in [1, 4, 100, 1000] {
            cases.push(case(&pools, tasks, yields).await);
        }
    }
    cases
}

/// Nanoseconds for each of `n` operations by `tasks` tasks.
macro_rules! measure {
    ($pool:expr, $get:ident, $tasks:expr, $n:expr, $yields:expr) => {{
        let begun = Clock::system().now();
        let tasks: Vec<_> = (0..$tasks)
            .map(|_| {
                let pool = $pool.clone();
                tokio::spawn(async move {
                    for _ in 0..$n / $tasks {
                        let lease = pool.$get().await.expect("a connection");
                        if $yields {
                            tokio::task::yield_now().await;
                        }
                        std::hint::black_box(&*lease);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        (Clock::system().now() - begun).as_secs_f64() * 1e9 / $n as f64
    }};
}

async fn case(pools: &Pools, tasks: usize, yields: bool) -> Case {
    let n = if yields { YIELDING } else { OPERATIONS };
    let (mut ours, mut deadpool, mut bb8, mut mobc) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        ours.push(measure!(pools.ours, acquire, tasks, n, yields));
        deadpool.push(measure!(pools.deadpool, get, tasks, n, yields));
        bb8.push(measure!(pools.bb8, get, tasks, n, yields));
        mobc.push(measure!(pools.mobc, get, tasks, n, yields));
    }
    let what = if yields { "acquire, yield, release" } else { "acquire and release" };
    Case::new(format!("{what}, {tasks} tasks on {CONNECTIONS}"), "ns", Better::Lower, median(ours))
        .peer("deadpool", median(deadpool))
        .peer("bb8", median(bb8))
        .peer("mobc", median(mobc))
}
