//! awa: 256 at a time, four claimers, no deadlines, as in its own benchmark.

use std::time::{Duration, Instant};

use awa::{Client, InsertOpts, JobArgs, JobResult, QueueConfig, QueueStorage, QueueStorageConfig};
use serde::{Deserialize, Serialize};
use sqlx8::postgres::{PgPool, PgPoolOptions};

use crate::Counter;

#[derive(Serialize, Deserialize, JobArgs)]
struct Noop {
    id: usize,
}

async fn pool(url: &str) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(20).connect(url).await.expect("a pool");
    awa::migrations::run(&pool).await.expect("its tables");
    pool
}

/// Jobs that were written as done, wherever its storage keeps them by then. Its own exact count reads
/// every job.
const DONE: &str = "SELECT (
    COALESCE((SELECT SUM(live_terminal_count) FROM awa.queue_terminal_live_counts), 0)
    + COALESCE((SELECT SUM(terminal_delta) FROM awa.queue_terminal_count_deltas), 0)
    + COALESCE((SELECT SUM(completed_count) FROM awa.receipt_completion_batches), 0)
    + COALESCE((SELECT SUM(pruned_completed_count) FROM awa.queue_terminal_rollups), 0)
)::bigint";

async fn left(pool: &PgPool, count: usize) -> i64 {
    let done: i64 = sqlx8::query_scalar(DONE).fetch_one(pool).await.expect("a count");
    count as i64 - done
}

fn client(pool: &PgPool, counter: &Counter) -> Client {
    let counts = counter.clone();
    let queue = QueueConfig {
        max_workers: 256,
        claimers: 4,
        poll_interval: Duration::from_millis(50),
        deadline_duration: Duration::ZERO,
        ..QueueConfig::default()
    };
    Client::builder(pool.clone())
        .queue("default", queue)
        .register::<Noop, _, _>(move |_, _| {
            let counts = counts.clone();
            async move {
                counts.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(JobResult::Completed)
            }
        })
        .build()
        .expect("a client")
}

/// Its first start in an empty database makes it use its new storage. With jobs there already, it would
/// keep to the old one.
async fn start_once(pool: &PgPool, counter: &Counter) {
    let client = client(pool, counter);
    client.start().await.expect("it starts");
    client.shutdown(Duration::from_secs(10)).await;
    let status = awa::storage::status(pool).await.expect("its storage");
    assert_eq!(status.active_engine, "queue_storage");
}

async fn fill(pool: &PgPool, count: usize) {
    let storage = QueueStorage::new(QueueStorageConfig::default()).expect("its storage");
    let all: Vec<usize> = (0..count).collect();
    for chunk in all.chunks(5_000) {
        let jobs: Vec<_> = chunk
            .iter()
            .map(|id| awa::model::insert::params(&Noop { id: *id }).expect("plain"))
            .collect();
        storage.enqueue_params_copy(pool, &jobs).await.expect("jobs");
    }
}

pub async fn drain(url: &str, count: usize) -> f64 {
    let pool = pool(url).await;
    let counter = Counter::default();
    start_once(&pool, &counter).await;
    fill(&pool, count).await;
    let client = client(&pool, &counter);
    let begun = Instant::now();
    client.start().await.expect("it starts");
    let rate = counter.rate(begun, count, async || left(&pool, count).await).await;
    client.shutdown(Duration::from_secs(10)).await;
    rate
}

pub async fn latency(url: &str, count: usize) -> Vec<f64> {
    let pool = pool(url).await;
    let (started, mut seen) = tokio::sync::mpsc::channel(1);
    let client = Client::builder(pool.clone())
        .queue("default", QueueConfig::default())
        .register::<Noop, _, _>(move |_, _| {
            let started = started.clone();
            async move {
                let _ = started.send(Instant::now()).await;
                Ok(JobResult::Completed)
            }
        })
        .build()
        .expect("a client");
    client.start().await.expect("it starts");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut all = Vec::new();
    for id in 0..count {
        awa::insert_with(&pool, &Noop { id }, InsertOpts::default()).await.expect("a job");
        let committed = Instant::now();
        let started: Instant = seen.recv().await.expect("it runs");
        all.push(started.saturating_duration_since(committed).as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    all
}
