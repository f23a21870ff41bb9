//! HikariCP's spike: fifty callers at once, five connections open, 150 ms to open another, 2 ms of
//! work each. The ideal opens none and is done when five have done ten each, which is measured in the
//! same run without any pool: a timer's 2 ms are nearer to 3.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::pool::{Options, Pool};

use super::slow::Slow;
use crate::report::{Better, Case, median};

const CALLERS: usize = 50;
const READY: usize = 5;
const OPEN_MS: usize = 150;
const WORK: Duration = Duration::from_millis(2);
const ROUNDS: usize = 7;

/// How long all took in ms, and how many connections there were in the end.
struct Spike {
    took: f64,
    connections: f64,
}

macro_rules! spike {
    ($make:expr, $get:ident) => {{
        let slow = Slow::default();
        let pool = $make(slow.clone()).await;
        {
            let mut ready = Vec::new();
            for _ in 0..READY {
                ready.push(pool.$get().await.expect("a connection"));
            }
        }
        slow.0.millis.store(OPEN_MS, SeqCst);
        let clock = Clock::system();
        let begun = clock.now();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let lease = pool.$get().await.expect("a connection");
                    tokio::time::sleep(WORK).await;
                    drop(lease);
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("no panic");
        }
        let took = (clock.now() - begun).as_secs_f64() * 1e3;
        // What is still being opened counts too.
        clock.sleep(Duration::from_millis(2 * OPEN_MS as u64)).await;
        Spike { took, connections: slow.0.opened.load(SeqCst) as f64 }
    }};
}

/// Five that work through the fifty, in ms.
async fn ideal() -> f64 {
    let clock = Clock::system();
    let begun = clock.now();
    let five: Vec<_> = (0..READY)
        .map(|_| {
            tokio::spawn(async {
                for _ in 0..CALLERS / READY {
                    tokio::time::sleep(WORK).await;
                }
            })
        })
        .collect();
    for one in five {
        one.await.expect("no panic");
    }
    (clock.now() - begun).as_secs_f64() * 1e3
}

pub(crate) async fn run() -> Vec<Case> {
    let mut ideals = Vec::new();
    let mut all: [Vec<Spike>; 4] = Default::default();
    for _ in 0..ROUNDS {
        ideals.push(ideal().await);
        let ours = async |slow: Slow| {
            let options = Options { max_size: 50, ..Options::default() };
            Pool::builder(slow).options(options).build().expect("a pool")
        };
        let deadpool = async |slow: Slow| -> deadpool::managed::Pool<Slow> {
            deadpool::managed::Pool::builder(slow).max_size(50).build().expect("a pool")
        };
        let bb8 =
            async |slow: Slow| bb8::Pool::builder().max_size(50).build(slow).await.expect("a pool");
        let mobc = async |slow: Slow| mobc::Pool::builder().max_open(50).max_idle(50).build(slow);
        all[0].push(spike!(ours, acquire));
        all[1].push(spike!(deadpool, get));
        all[2].push(spike!(bb8, get));
        all[3].push(spike!(mobc, get));
    }
    let of = |spikes: &[Spike], f: fn(&Spike) -> f64| median(spikes.iter().map(f).collect());
    let ideal = median(ideals);
    let case = |name: &str, unit, f: fn(&Spike) -> f64, by: f64| {
        Case::new(name, unit, Better::Lower, of(&all[0], f) / by)
            .peer("deadpool", of(&all[1], f) / by)
            .peer("bb8", of(&all[2], f) / by)
            .peer("mobc", of(&all[3], f) / by)
    };
    vec![
        case("spike of 50 on 5, connections in the end", "count", |s| s.connections, 1.0),
        case("spike of 50 on 5, time / ideal", "ratio", |s| s.took, ideal),
    ]
}
