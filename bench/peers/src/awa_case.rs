//! awa: 256 at a time, four claimers.

use std::time::{Duration, Instant};

use awa::{Client, InsertOpts, JobArgs, JobResult, QueueConfig};
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

fn queue() -> QueueConfig {
    QueueConfig { max_workers: 256, claimers: 4, ..QueueConfig::default() }
}

pub async fn drain(url: &str, count: usize) -> f64 {
    let pool = pool(url).await;
    let all: Vec<usize> = (0..count).collect();
    for chunk in all.chunks(5_000) {
        let jobs: Vec<_> = chunk
            .iter()
            .map(|id| awa::model::insert::params(&Noop { id: *id }).expect("plain"))
            .collect();
        awa::insert_many_copy_from_pool(&pool, &jobs).await.expect("jobs");
    }
    let counter = Counter::default();
    let counts = counter.clone();
    let client = Client::builder(pool)
        .queue("default", queue())
        .register::<Noop, _, _>(move |_, _| {
            let counts = counts.clone();
            async move {
                counts.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(JobResult::Completed)
            }
        })
        .build()
        .expect("a client");
    let begun = Instant::now();
    client.start().await.expect("it starts");
    let rate = counter.rate(begun, count).await;
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
