//! Ours: a job that does nothing, its queue filled and drained, and a worker as a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay::Db;
use mainstay::clock::Clock;
use mainstay::jobs::{Context, Job, Jobs, Worker, install};
use serde::{Deserialize, Serialize};

/// Nothing, or a wait.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Noop {
    pub(crate) id: usize,
}

impl Job for Noop {
    const NAME: &'static str = "noop";
}

/// A handle with the tables.
pub(crate) async fn open(url: &str) -> Db {
    let db = Db::connect(url).await.expect("the database");
    install(&db).await.expect("the tables");
    db
}

pub(crate) async fn fill(db: &Db, count: usize, chunk: usize) {
    let all: Vec<usize> = (0..count).collect();
    for part in all.chunks(chunk) {
        let jobs: Vec<Noop> = part.iter().map(|id| Noop { id: *id }).collect();
        db.enqueue_all(&jobs).await.expect("jobs");
    }
}

/// Jobs a second, from the start of the worker to the last run.
pub(crate) async fn drain(db: &Db, count: usize, takes: Option<Duration>) -> f64 {
    let done = Arc::new(AtomicUsize::new(0));
    let begun = Clock::system().now();
    let worker = Worker::builder(db, Arc::clone(&done))
        .concurrency(50)
        .handle(move |_: Noop, ctx: Context<Arc<AtomicUsize>>| async move {
            if let Some(time) = takes {
                tokio::time::sleep(time).await;
            }
            ctx.state().fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .start()
        .await
        .expect("a worker");
    while done.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Its ends are written down, too.
    worker.drain(Duration::from_secs(60)).await.expect("it ends");
    let rate = count as f64 / Clock::system().now().saturating_duration_since(begun).as_secs_f64();
    let left: i64 = db.query("SELECT COUNT(*) FROM mainstay_job").scalar().await.expect("a count");
    assert_eq!(left, 0, "jobs are left");
    rate
}

/// A worker as a process of its own, to be killed: `bench victim URL KIND`. A job of kind `effects` writes
/// its number in the transaction that completes it, and tells beside it that it ran; of kind `tell`
/// it writes the time.
pub(crate) async fn victim(url: &str, kind: &str) {
    let db = Db::connect(url).await.expect("the database");
    let tells = kind == "tell";
    let _worker = Worker::builder(&db, ())
        .concurrency(20)
        .handle(move |job: Noop, ctx: Context<()>| async move {
            let id = job.id as i64;
            if tells {
                if job.id == 0 {
                    // Runs until its process is killed.
                    tokio::time::sleep(Duration::from_secs(3_600)).await;
                }
                return Ok(());
            }
            ctx.transaction(|tx| async move {
                tx.query("INSERT INTO effects (id) VALUES ($1)").bind(id).execute().await.map(drop)
            })
            .await
        })
        .start()
        .await
        .expect("a worker");
    tokio::time::sleep(Duration::from_secs(3_600)).await;
}
