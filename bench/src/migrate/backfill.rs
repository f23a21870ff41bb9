//! A NOT NULL column added to a large table while writers write: how long their writes take meanwhile,
//! beside what they take by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use mainstay::Db;
use mainstay::clock::Clock;
use mainstay_migrate::online::{Change, Online, Told};
use sqlx::AssertSqlSafe;

use crate::report::{Better, Case};
use crate::servers::{Engine, connect, fresh};

/// Writers, and what each waits between two writes.
const WRITERS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(15);
/// The writers by themselves.
const BASELINE: Duration = Duration::from_secs(30);

const CHANGE: &str = r#"
name = "orders-size"
table = "orders"
[add_column]
column = "size"
type = "varchar(10)"
fill = "CASE WHEN total > 500 THEN 'large' ELSE 'small' END"
"#;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for (engine, rows) in
        [(Engine::Postgres, 10_000_000), (Engine::MariaDb, 1_000_000), (Engine::Sqlite, 1_000_000)]
    {
        cases.extend(on(engine, rows).await);
    }
    cases
}

async fn on(engine: Engine, rows: u64) -> Vec<Case> {
    let database = fresh(engine).await;
    let db = connect(&database).await;
    fill(&db, engine, rows).await;
    let (alone, none) =
        under_load(&db, rows, async { Clock::system().sleep(BASELINE).await }).await;
    let clock = Clock::system();
    let begun = clock.now();
    let work = db.clone();
    let (during, failed) = under_load(&db, rows, async move {
        let change = Change::parse("orders-size.toml", CHANGE).expect("a change");
        let online = Online::new(&work).on(|told| {
            if let Told::Again { title, why, .. } = told {
                eprintln!("{title}: {why}");
            }
        });
        online.start(&change).await.expect("expanded");
        online.backfill("orders-size").await.expect("filled");
        online.contract("orders-size", true).await.expect("contracted");
    })
    .await;
    let seconds = (clock.now() - begun).as_secs_f64();
    let name = engine.name();
    let case = |what: &str, unit, better, n: f64| {
        Case::new(format!("{what}, {} M rows, {name}", rows / 1_000_000), unit, better, n)
    };
    let ms = |all: &Histogram<u64>, q| all.value_at_quantile(q) as f64 / 1e3;
    vec![
        case("p50 of a write during the change", "ms", Better::Lower, ms(&during, 0.5))
            .peer("no change", ms(&alone, 0.5)),
        case("p99 of a write during the change", "ms", Better::Lower, ms(&during, 0.99))
            .peer("no change", ms(&alone, 0.99)),
        case("longest write during the change", "ms", Better::Lower, during.max() as f64 / 1e3)
            .peer("no change", alone.max() as f64 / 1e3),
        case("writes that failed", "count", Better::Lower, (failed + none) as f64),
        case("rows a second, pauses included", "rows/s", Better::Higher, rows as f64 / seconds),
    ]
}

async fn fill(db: &Db, engine: Engine, rows: u64) {
    let key = if engine == Engine::Sqlite { "INTEGER" } else { "BIGINT" };
    let create = format!(
        "CREATE TABLE orders (id {key} PRIMARY KEY, total BIGINT NOT NULL, note VARCHAR(60))"
    );
    db.query(AssertSqlSafe(create)).execute().await.expect("a table");
    for begin in (0..rows).step_by(10_000) {
        let batch = (begin..begin + 10_000)
            .map(|n| (n as i64, (n % 1000) as i64, "what an order has beside"));
        db.bulk_insert("orders", &["id", "total", "note"], batch).await.expect("inserted");
    }
    if engine == Engine::Postgres {
        db.query("ANALYZE orders").execute().await.expect("analyzed");
    }
}

/// How long the writes took while `work` ran, in microseconds, and how many failed.
async fn under_load(db: &Db, rows: u64, work: impl Future<Output = ()>) -> (Histogram<u64>, u64) {
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..WRITERS).map(|n| tokio::spawn(write(db.clone(), n, rows, Arc::clone(&over)))).collect();
    work.await;
    over.store(true, Ordering::SeqCst);
    let mut all = Histogram::new(3).expect("a histogram");
    let mut failed = 0;
    for writer in writers {
        let (own, failures) = writer.await.expect("a writer");
        all.add(own).expect("of the same kind");
        failed += failures;
    }
    (all, failed)
}

/// Writes single rows all over the table, each in a transaction of its own.
async fn write(db: Db, writer: u64, rows: u64, over: Arc<AtomicBool>) -> (Histogram<u64>, u64) {
    let clock = Clock::system();
    let mut took = Histogram::new(3).expect("a histogram");
    let (mut failed, mut at) = (0, writer);
    while !over.load(Ordering::SeqCst) {
        // A walk that meets all rows in no order.
        at = (at + 7_919 * (writer + 1) * 104_729) % rows;
        let begun = clock.now();
        let query = db.query("UPDATE orders SET total = total + 1 WHERE id = $1").bind(at as i64);
        failed += u64::from(query.execute().await.is_err());
        let micros = (clock.now() - begun).as_micros();
        took.record(u64::try_from(micros).unwrap_or(u64::MAX)).expect("within its range");
        clock.sleep(PAUSE).await;
    }
    (took, failed)
}
