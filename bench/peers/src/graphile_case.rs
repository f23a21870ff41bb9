//! graphile_worker in two ways, completions in batches of 5 ms in both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use graphile_worker::{
    Database, IntoTaskHandlerResult, JobSpec, LocalQueueConfig, RawJobSpec, TaskHandler,
    WorkerContext, WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx9::postgres::{PgPool, PgPoolOptions};

use crate::{Counter, POLL};

/// What it is run with.
pub struct Settings {
    concurrency: usize,
    queues: usize,
    /// Of each queue.
    size: usize,
}

/// Those of its own benchmark.
pub const ITS_BENCHMARK: Settings = Settings { concurrency: 500, queues: 1, size: 5_000 };
/// Two batches fetched beside each other.
pub const TWO_QUEUES: Settings = Settings { concurrency: 96, queues: 2, size: 2_000 };

#[derive(Serialize, Deserialize)]
struct Noop {
    id: usize,
}

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(counter) = ctx.get_ext::<Counter>() {
            counter.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Ok::<(), String>(())
    }
}

#[derive(Clone, Debug)]
struct Started(tokio::sync::mpsc::Sender<Instant>);

#[derive(Serialize, Deserialize)]
struct Tell {
    id: usize,
}

impl TaskHandler for Tell {
    const IDENTIFIER: &'static str = "tell";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(started) = ctx.get_ext::<Started>() {
            let _ = started.0.send(Instant::now()).await;
        }
        Ok::<(), String>(())
    }
}

async fn database(url: &str) -> (PgPool, Database, WorkerUtils) {
    // As many as in its own benchmark.
    let pool = PgPoolOptions::new().max_connections(100).connect(url).await.expect("a pool");
    let database = Database::from(pool.clone());
    let utils = WorkerUtils::new(database.clone(), "graphile_worker");
    utils.migrate().await.expect("its tables");
    (pool, database, utils)
}

/// What is done is deleted.
async fn left(pool: &PgPool) -> i64 {
    let count = sqlx9::query_scalar("SELECT COUNT(*) FROM graphile_worker._private_jobs");
    count.fetch_one(pool).await.expect("a count")
}

pub async fn drain(url: &str, count: usize, settings: Settings) -> f64 {
    let (pool, database, utils) = database(url).await;
    let all: Vec<usize> = (0..count).collect();
    for chunk in all.chunks(10_000) {
        let jobs: Vec<RawJobSpec> = chunk
            .iter()
            .map(|id| RawJobSpec {
                identifier: "noop".into(),
                payload: serde_json::json!({ "id": id }),
                spec: JobSpec::default(),
            })
            .collect();
        utils.add_raw_jobs(&jobs).await.expect("jobs");
    }
    let counter = Counter::default();
    let local = LocalQueueConfig::default().with_size(settings.size);
    let worker = WorkerOptions::default()
        .database(database)
        .schema("graphile_worker")
        .concurrency(settings.concurrency)
        .poll_interval(POLL)
        .complete_job_batch_delay(Duration::from_millis(5))
        .local_queue(local.with_queue_count(settings.queues))
        .add_extension(counter.clone())
        .define_job::<Noop>()
        .init()
        .await
        .expect("a worker");
    let worker = Arc::new(worker);
    let begun = Instant::now();
    let runs = Arc::clone(&worker);
    tokio::spawn(async move { runs.run().await });
    let rate = counter.rate(begun, count, async || left(&pool).await).await;
    worker.request_shutdown();
    rate
}

pub async fn latency(url: &str, count: usize) -> Vec<f64> {
    let (_, database, utils) = database(url).await;
    let (started, mut seen) = tokio::sync::mpsc::channel(1);
    let worker = WorkerOptions::default()
        .database(database)
        .schema("graphile_worker")
        .concurrency(10)
        .add_extension(Started(started))
        .define_job::<Tell>()
        .init()
        .await
        .expect("a worker");
    tokio::spawn(async move { worker.run().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut all = Vec::new();
    for id in 0..count {
        utils.add_job(Tell { id }, JobSpec::default()).await.expect("a job");
        let committed = Instant::now();
        let started: Instant = seen.recv().await.expect("it runs");
        all.push(started.saturating_duration_since(committed).as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all
}
