//! Fifty processes that start at once, each with an index to be built concurrently: how often is a
//! script run twice, does a process fail, or does nothing move any more.

use std::process::{Command, Stdio};
use std::time::Duration;

use mainstay::Db;
use mainstay::clock::Clock;

use crate::report::{Better, Case};
use crate::servers::{Engine, fresh};

use super::processes::mainstay;

const PROCESSES: usize = 50;
const RUNS: usize = 100;
/// Longer than any run: a process that is still there then waits for something that never comes.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) async fn run() -> Vec<Case> {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let scripts = [
        (
            "V1__t.sql",
            "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT);\nINSERT INTO t SELECT g, g FROM generate_series(1, 5000) g;\nCREATE TABLE log (n INT);",
        ),
        ("V2__index.sql", "CREATE INDEX CONCURRENTLY t_n ON t (n);\nINSERT INTO log VALUES (2);"),
        ("V3__rows.sql", "INSERT INTO log VALUES (3);"),
    ];
    for (name, sql) in scripts {
        std::fs::write(folder.path().join(name), sql).expect("a migration");
    }
    let (mut twice, mut failed, mut stuck) = (0, 0, 0);
    let clock = Clock::system();
    for _ in 0..RUNS {
        let database = fresh(Engine::Postgres).await;
        let mut children: Vec<_> = (0..PROCESSES)
            .map(|_| {
                Command::new(mainstay())
                    .args(["migrate", "--json", "--url", &database.url, "--dir"])
                    .arg(folder.path())
                    .arg("up")
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("it starts")
            })
            .collect();
        let until = clock.now() + LIMIT;
        for child in &mut children {
            loop {
                match child.try_wait().expect("a child of ours") {
                    Some(status) => {
                        failed += usize::from(!status.success());
                        break;
                    }
                    None if clock.now() > until => {
                        stuck += 1;
                        child.kill().expect("a child of ours");
                    }
                    None => clock.sleep(Duration::from_millis(5)).await,
                }
            }
        }
        let db = Db::connect(&database.url).await.expect("connected");
        let logged: i64 = db.query("SELECT COUNT(*) FROM log").scalar().await.expect("counted");
        let rows: i64 =
            db.query("SELECT COUNT(*) FROM flyway_schema_history").scalar().await.expect("counted");
        twice += usize::from(logged != 2 || rows != 3);
    }
    let count = |what: &str, n: usize| {
        let case = format!("{RUNS} runs of {PROCESSES} processes at once: {what}, PostgreSQL");
        Case::new(case, "count", Better::Lower, n as f64)
    };
    vec![
        count("not applied exactly once", twice),
        count("processes that failed", failed),
        count("processes that never ended", stuck),
    ]
}
