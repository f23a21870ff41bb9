//! A worker's process is killed with -9: how long until what it ran begins again elsewhere.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay::clock::Clock;
use mainstay::jobs::{Context, Jobs, Worker};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::report::{Better, Case};
use crate::servers::{Engine, fresh};

use super::worker::{Noop, open};

const ROUNDS: usize = 20;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for engine in Engine::ALL {
        let mut all = Vec::new();
        for _ in 0..ROUNDS {
            all.push(once(engine).await);
        }
        all.sort_by(f64::total_cmp);
        let name = |what| format!("{what} from kill -9 to the job's next start, {}", engine.name());
        cases.push(Case::new(name("p50"), "ms", Better::Lower, all[ROUNDS / 2]));
        cases.push(Case::new(name("longest"), "ms", Better::Lower, all[ROUNDS - 1]));
    }
    cases
}

async fn once(engine: Engine) -> f64 {
    let database = fresh(engine).await;
    let db = open(&database.url).await;
    let mut victim = Command::new(std::env::current_exe().expect("this program"))
        .args(["victim", &database.url, "tell"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a victim");
    db.enqueue(&Noop { id: 0 }).await.expect("a job");
    // The victim has it.
    while count(&db, "SELECT COUNT(*) FROM mainstay_lease").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (started, mut seen) = mpsc::channel(1);
    let worker = Worker::builder(&db, Arc::new(started))
        .handle(|_: Noop, ctx: Context<Arc<mpsc::Sender<Instant>>>| async move {
            let _ = ctx.state().send(Clock::system().now()).await;
            Ok(())
        })
        .start()
        .await
        .expect("a worker");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let killed = Clock::system().now();
    victim.kill().await.expect("it is killed");
    let started = tokio::time::timeout(Duration::from_secs(60), seen.recv()).await;
    let started = started.ok().flatten().expect("it starts again within a minute");
    let _ = worker.drain(Duration::from_secs(10)).await;
    let _ = db.close(Duration::from_secs(5)).await;
    started.saturating_duration_since(killed).as_secs_f64() * 1e3
}

async fn count(db: &mainstay::Db, sql: &'static str) -> i64 {
    db.query(sql).scalar().await.expect("a count")
}
