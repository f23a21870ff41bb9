//! What random keys cost: a table filled by UUIDs of version 7, which grow with time, and of version
//! 4, which don't.

use mainstay::Db;
use mainstay::clock::Clock;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::report::{Better, Case};
use crate::servers::{Engine, connect, fresh};

const ROWS: usize = 1_000_000;
const BATCH: usize = 1000;
const NOTE: &str = "some seventy characters of what a row of an ordinary table has beside its key";

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for engine in Engine::ALL {
        let (seconds_v7, bytes_v7) = filled(engine, Uuid::now_v7).await;
        let (seconds_v4, bytes_v4) = filled(engine, Uuid::new_v4).await;
        let name = engine.name();
        let rate = |seconds: f64| ROWS as f64 / seconds;
        cases.push(
            Case::new(
                format!("1 M rows by UUIDv7, {name}"),
                "rows/s",
                Better::Higher,
                rate(seconds_v7),
            )
            .peer("UUIDv4", rate(seconds_v4)),
        );
        cases.push(
            Case::new(format!("the table afterwards, {name}"), "MB", Better::Lower, bytes_v7 / 1e6)
                .peer("UUIDv4", bytes_v4 / 1e6),
        );
    }
    cases
}

/// How long it took, and how large the table became.
async fn filled(engine: Engine, key: impl Fn() -> Uuid) -> (f64, f64) {
    let database = fresh(engine).await;
    let db = connect(&database).await;
    let kind = match engine {
        Engine::Sqlite => "BLOB",
        Engine::Postgres => "UUID",
        Engine::MariaDb => "BINARY(16)",
    };
    let more = if engine == Engine::Sqlite { " WITHOUT ROWID" } else { "" };
    let sql = format!(
        "CREATE TABLE t (id {kind} NOT NULL PRIMARY KEY, note VARCHAR(100) NOT NULL){more}"
    );
    db.query(AssertSqlSafe(sql)).execute().await.expect("a table");
    let clock = Clock::system();
    let begun = clock.now();
    for _ in 0..ROWS / BATCH {
        let rows: Vec<_> = (0..BATCH).map(|_| (key(), NOTE)).collect();
        db.bulk_insert("t", &["id", "note"], rows).await.expect("inserted");
    }
    let seconds = (clock.now() - begun).as_secs_f64();
    (seconds, size(&db, engine, &database.url).await)
}

async fn size(db: &Db, engine: Engine, url: &str) -> f64 {
    let sql = match engine {
        Engine::Postgres => "SELECT pg_total_relation_size('t')::float8",
        Engine::MariaDb => {
            db.query("ANALYZE TABLE t").rows().await.expect("analyzed");
            "SELECT CAST(data_length + index_length AS DOUBLE) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = 't'"
        }
        Engine::Sqlite => {
            db.query("PRAGMA wal_checkpoint(TRUNCATE)").rows().await.expect("checkpointed");
            let file = std::fs::metadata(url.trim_start_matches("sqlite:")).expect("a file");
            return file.len() as f64;
        }
    };
    db.query(sql).scalar().await.expect("a size")
}
