//! A transaction elsewhere that stays open keeps deleted rows in the way of everybody. Jobs of 1 ms, as many
//! as are there, without it and with it, in parts of a minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mainstay::jobs::{Context, Worker};

use crate::report::{Better, Case};
use crate::servers::{Engine, fresh};

use super::worker::{Noop, fill, open};

const PART: Duration = Duration::from_secs(60);
const PINNED_PARTS: usize = 4;
/// Jobs that wait at any time: enough for the worker never to be idle.
const WAITING: usize = 5_000;

pub(crate) async fn run() -> Vec<Case> {
    let database = fresh(Engine::Postgres).await;
    let db = open(&database.url).await;
    let done = Arc::new(AtomicUsize::new(0));
    let enqueued = Arc::new(AtomicUsize::new(0));
    let worker = Worker::builder(&db, Arc::clone(&done))
        .concurrency(10)
        .handle(|_: Noop, ctx: Context<Arc<AtomicUsize>>| async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            ctx.state().fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .start()
        .await
        .expect("a worker");
    let feeder = {
        let (db, done, enqueued) = (db.clone(), Arc::clone(&done), Arc::clone(&enqueued));
        tokio::spawn(async move {
            loop {
                let waits = enqueued.load(Ordering::Relaxed) - done.load(Ordering::Relaxed);
                if waits < WAITING {
                    fill(&db, 1_000, 500).await;
                    enqueued.fetch_add(1_000, Ordering::Relaxed);
                } else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        })
    };
    let part = async || {
        let before = done.load(Ordering::Relaxed);
        tokio::time::sleep(PART).await;
        (done.load(Ordering::Relaxed) - before) as f64 / PART.as_secs_f64()
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let baseline = part().await;
    // It has written, so it holds both the horizon of vacuum and that of commits.
    let mut session = db.session().await.expect("a session");
    session.run("CREATE TABLE pin (id INT)").await.expect("a table");
    session
        .run("BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO pin VALUES (1)")
        .await
        .expect("pinned");
    let mut last = 0.0;
    for _ in 0..PINNED_PARTS {
        last = part().await;
    }
    session.run("ROLLBACK").await.expect("unpinned");
    drop(session);
    feeder.abort();
    worker.drain(Duration::from_secs(30)).await.expect("it ends");
    vec![
        Case::new("jobs of 1 ms, the 4th minute of a pinned xmin", "jobs/s", Better::Higher, last)
            .peer("not pinned", baseline),
    ]
}
