//! apalis on PostgreSQL and SQLite: batches as large as it takes, 100 at a time.

use std::time::Instant;

use apalis::prelude::*;

use crate::Counter;

const BATCH: usize = 1_000;
const CONCURRENCY: usize = 100;

async fn handle(_: usize, counter: Data<Counter>) -> Result<(), BoxDynError> {
    counter.0.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}

pub async fn postgres(url: &str, count: usize) -> f64 {
    use apalis_postgres::{Config, PgPool, PostgresStorage};
    let pool = PgPool::connect(url).await.expect("a pool");
    PostgresStorage::setup(&pool).await.expect("its tables");
    let config = Config::default().queue("noop").batch_size(BATCH);
    let mut storage = PostgresStorage::<usize>::new(&pool).with_config(config);
    let all: Vec<usize> = (0..count).collect();
    for chunk in all.chunks(BATCH) {
        storage.push_bulk(chunk.to_vec()).await.expect("jobs");
    }
    let counter = Counter::default();
    let worker = WorkerBuilder::new("noop-1")
        .backend(storage)
        .data(counter.clone())
        .concurrency(CONCURRENCY)
        .parallelize(tokio::spawn)
        .build(handle);
    let begun = Instant::now();
    tokio::select! {
        ended = worker.run() => panic!("it ended: {:?}", ended.err().map(|e| e.to_string())),
        rate = counter.rate(begun, count) => rate,
    }
}

async fn sqlite(url: &str) -> apalis_sqlite::SqlitePool {
    use apalis_sqlite::SqliteStorage;
    let pool = apalis_sqlite::SqlitePool::connect(url).await.expect("a pool");
    SqliteStorage::setup(&pool).await.expect("its tables");
    pool
}

pub async fn sqlite_enqueue(url: &str, count: usize) -> f64 {
    let pool = sqlite(url).await;
    let mut storage = apalis_sqlite::SqliteStorage::<usize>::new(&pool);
    let all: Vec<usize> = (0..count).collect();
    let begun = Instant::now();
    for chunk in all.chunks(100) {
        storage.push_bulk(chunk.to_vec()).await.expect("jobs");
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

pub async fn sqlite_drain(url: &str, count: usize) -> f64 {
    let pool = sqlite(url).await;
    let config = apalis_sqlite::Config::default().queue("noop").batch_size(BATCH);
    let mut storage = apalis_sqlite::SqliteStorage::<usize>::new(&pool).with_config(config);
    let all: Vec<usize> = (0..count).collect();
    for chunk in all.chunks(100) {
        storage.push_bulk(chunk.to_vec()).await.expect("jobs");
    }
    let counter = Counter::default();
    let worker = WorkerBuilder::new("noop-1")
        .backend(storage)
        .data(counter.clone())
        .concurrency(CONCURRENCY)
        .parallelize(tokio::spawn)
        .build(handle);
    let begun = Instant::now();
    tokio::select! {
        ended = worker.run() => panic!("it ended: {:?}", ended.err().map(|e| e.to_string())),
        rate = counter.rate(begun, count) => rate,
    }
}
