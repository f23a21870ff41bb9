//! apalis on PostgreSQL and SQLite, 100 at a time. It fetches in batches of the size that is asked for, and
//! looks every 5 ms: woken by nothing else, it may write its last completions half a minute later.

use std::time::Instant;

use apalis::prelude::*;
use apalis_postgres::{PgPool, PostgresStorage};
use apalis_sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteStorage};

use crate::{Counter, POLL};

const CONCURRENCY: usize = 100;

async fn handle(_: usize, counter: Data<Counter>) -> Result<(), BoxDynError> {
    counter.0.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Ok(())
}

async fn postgres_left(pool: &PgPool) -> i64 {
    let count = sqlx9::query_scalar("SELECT COUNT(*) FROM apalis.jobs WHERE status <> 'Done'");
    count.fetch_one(pool).await.expect("a count")
}

pub async fn postgres(url: &str, count: usize, batch: usize) -> f64 {
    let pool = PgPool::connect(url).await.expect("a pool");
    PostgresStorage::setup(&pool).await.expect("its tables");
    let config = apalis_postgres::Config::default().queue("noop").batch_size(batch);
    let mut storage = PostgresStorage::<usize>::new(&pool).with_config(config);
    let all: Vec<usize> = (0..count).collect();
    for chunk in all.chunks(1_000) {
        storage.push_bulk(chunk.to_vec()).await.expect("jobs");
    }
    let counter = Counter::default();
    let worker = WorkerBuilder::new("noop-1")
        .backend(storage.poll_with_interval(POLL))
        .data(counter.clone())
        .concurrency(CONCURRENCY)
        .parallelize(tokio::spawn)
        .build(handle);
    let begun = Instant::now();
    tokio::select! {
        ended = worker.run() => panic!("it ended: {:?}", ended.err().map(|e| e.to_string())),
        rate = counter.rate(begun, count, async || postgres_left(&pool).await) => rate,
    }
}

/// Its own setup turns syncing off on the connection that it uses, so that one is thrown away. Every other
/// has the rest of those settings, and syncs each commit.
async fn sqlite(url: &str) -> SqlitePool {
    let first = SqlitePoolOptions::new().max_connections(1).connect(url).await.expect("a pool");
    SqliteStorage::setup(&first).await.expect("its tables");
    first.close().await;
    let options: SqliteConnectOptions = url.parse().expect("a URL");
    let options = options
        .pragma("journal_mode", "WAL")
        .pragma("synchronous", "FULL")
        .pragma("temp_store", "MEMORY")
        .pragma("cache_size", "64000")
        .pragma("journal_size_limit", "67108864");
    let pool = SqlitePool::connect_with(options).await.expect("a pool");
    let full: i64 =
        sqlx9::query_scalar("PRAGMA synchronous").fetch_one(&pool).await.expect("a setting");
    assert_eq!(full, 2, "it does not sync");
    pool
}

async fn sqlite_left(pool: &SqlitePool) -> i64 {
    let count = sqlx9::query_scalar("SELECT COUNT(*) FROM Jobs WHERE status <> 'Done'");
    count.fetch_one(pool).await.expect("a count")
}

async fn sqlite_fill(storage: &mut SqliteStorage<usize>, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for chunk in all.chunks(100) {
        storage.push_bulk(chunk.to_vec()).await.expect("jobs");
    }
}

pub async fn sqlite_enqueue(url: &str, count: usize) -> f64 {
    let pool = sqlite(url).await;
    let mut storage = SqliteStorage::<usize>::new(&pool);
    let begun = Instant::now();
    sqlite_fill(&mut storage, count).await;
    count as f64 / begun.elapsed().as_secs_f64()
}

pub async fn sqlite_drain(url: &str, count: usize, batch: usize) -> f64 {
    let pool = sqlite(url).await;
    let config = apalis_sqlite::Config::default().queue("noop").batch_size(batch);
    let mut storage = SqliteStorage::<usize>::new(&pool).with_config(config);
    sqlite_fill(&mut storage, count).await;
    let counter = Counter::default();
    let worker = WorkerBuilder::new("noop-1")
        .backend(storage.poll_with_interval(POLL))
        .data(counter.clone())
        .concurrency(CONCURRENCY)
        .parallelize(tokio::spawn)
        .build(handle);
    let begun = Instant::now();
    tokio::select! {
        ended = worker.run() => panic!("it ended: {:?}", ended.err().map(|e| e.to_string())),
        rate = counter.rate(begun, count, async || sqlite_left(&pool).await) => rate,
    }
}
