//! From the end of a commit to the start of the handler, in an idle queue.

use std::time::{Duration, Instant};

use mainstay::clock::Clock;
use mainstay::jobs::{Context, Jobs, Worker};
use tokio::sync::mpsc;

use crate::report::{Better, Case};
use crate::servers::{Engine, fresh};

use super::peers;
use super::worker::{Noop, open};

const SAMPLES: usize = 500;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for engine in [Engine::Postgres, Engine::Sqlite, Engine::MariaDb] {
        let database = fresh(engine).await;
        let (p50, p99) = ours(&database.url).await;
        let name = |what: &str| format!("{what} from commit to start, {}", engine.name());
        let mut p50 = Case::new(name("p50"), "ms", Better::Lower, p50);
        let mut p99 = Case::new(name("p99"), "ms", Better::Lower, p99);
        if engine == Engine::Postgres {
            for (case, peer) in [("graphile-latency", "graphile_worker"), ("awa-latency", "awa")] {
                let database = fresh(engine).await;
                let Some(found) = peers::run(case, &database.url, SAMPLES).await else { continue };
                p50 = p50.peer(peer, found["p50"].as_f64().unwrap_or(f64::NAN));
                p99 = p99.peer(peer, found["p99"].as_f64().unwrap_or(f64::NAN));
            }
        }
        cases.extend([p50, p99]);
    }
    cases
}

async fn ours(url: &str) -> (f64, f64) {
    let db = open(url).await;
    let (started, mut seen) = mpsc::channel(1);
    let worker = Worker::builder(&db, started)
        .handle(|_: Noop, ctx: Context<mpsc::Sender<Instant>>| async move {
            let _ = ctx.state().send(Clock::system().now()).await;
            Ok(())
        })
        .start()
        .await
        .expect("a worker");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut all = Vec::with_capacity(SAMPLES);
    for id in 0..SAMPLES {
        db.transaction(|tx| async move { tx.enqueue(&Noop { id }).await }).await.expect("a job");
        let committed = Clock::system().now();
        let started = seen.recv().await.expect("it runs");
        all.push(started.saturating_duration_since(committed).as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.drain(Duration::from_secs(10)).await.expect("it ends");
    all.sort_by(f64::total_cmp);
    (all[SAMPLES / 2], all[SAMPLES * 99 / 100])
}
