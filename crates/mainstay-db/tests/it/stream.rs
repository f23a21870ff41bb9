//! Results too large for memory.

use futures_util::TryStreamExt;
use mainstay_db::{Db, Engine};

use crate::support::on_every_engine;

on_every_engine!(a_million_rows_stream_in_constant_memory);

/// Resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Set for the process that measures.
const ALONE: &str = "MAINSTAY_TEST_ALONE";

/// In a process of its own: the other tests of this one use memory too.
async fn a_million_rows_stream_in_constant_memory(db: Db) {
    if mainstay_core::config::variable(ALONE).is_some() {
        return stream_a_million(db).await;
    }
    let thread = std::thread::current();
    let name = thread.name().expect("a test's thread has its name");
    let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", name, "--nocapture"]).env(ALONE, "1");
    let output = tokio::task::spawn_blocking(move || alone.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

async fn stream_a_million(db: Db) {
    const ROWS: i64 = 1_000_000;
    let sql = match db.engine() {
        Engine::Postgres => "SELECT n, repeat('x', 100) FROM generate_series(1::bigint, 1000000) n",
        Engine::MySql => "SELECT CAST(seq AS SIGNED), repeat('x', 100) FROM seq_1_to_1000000",
        Engine::Sqlite => {
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
             SELECT i, printf('%.100c', 'x') FROM n"
        }
    };
    let mut rows = std::pin::pin!(db.query(sql).stream::<(i64, String)>());
    let (mut count, mut sum, mut early, mut most) = (0, 0, 0, 0);
    while let Some((n, text)) = rows.try_next().await.unwrap() {
        assert_eq!(text.len(), 100);
        count += 1;
        sum += n;
        if count == 10_000 {
            early = resident();
        }
        if count % 10_000 == 0 {
            most = most.max(resident());
        }
    }
    assert_eq!((count, sum), (ROWS, ROWS * (ROWS + 1) / 2));
    // All rows at once would be over 100 MB.
    assert!(most < early + 16 * 1024 * 1024, "grew from {early} to {most} bytes");
}
