//! Ours: a job that does nothing, its queue filled and drained, and a worker as a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

/// Jobs a second, from the start of the worker.
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
    let rate = rate(db, begun, &done, count).await;
    worker.drain(Duration::from_secs(60)).await.expect("it ends");
    rate
}

/// Jobs a second from `begun` to when the last of `count` was written as done, measured as the peers are:
/// the database is asked only when all have run.
pub(crate) async fn rate(db: &Db, begun: Instant, done: &AtomicUsize, count: usize) -> f64 {
    const POLL: Duration = Duration::from_millis(5);

    while done.load(Ordering::Relaxed) < count {
        tokio::time::sleep(POLL).await;
    }
    loop {
        // What the question does not find was written before it was asked.
        let taken = Clock::system().now().saturating_duration_since(begun);
        let left: i64 =
            db.query("SELECT COUNT(*) FROM mainstay_job").scalar().await.expect("a count");
        if left == 0 {
            return count as f64 / taken.as_secs_f64();
        }
        assert!(taken < Duration::from_secs(900), "{left} jobs of {count} are left");
        tokio::time::sleep(POLL).await;
    }
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
