//! Statements as they are, one by one, and what a plan of one costs. The benchmarks share it.

use mainstay_core::Result;
use mainstay_db::{Db, Json, Row};
use serde_json::Value;

pub async fn run(db: &Db, sql: &str) {
    // One by one: VACUUM is in no transaction.
    let mut session = db.session().await.unwrap();
    for statement in sql.split(";\n").filter(|s| !s.trim().is_empty()) {
        session.run(statement).await.unwrap_or_else(|e| panic!("{statement}: {}", e.report()));
    }
}

pub async fn rows(db: &Db, sql: &str) -> Result<Vec<Row>> {
    db.session().await.unwrap().rows(sql, Vec::new()).await
}

/// The plan's cost and, if it is run, the pages of what reads.
pub async fn cost_and_pages(db: &Db, sql: &str, analyze: bool) -> (f64, f64) {
    let how = if analyze { "ANALYZE, BUFFERS, FORMAT JSON" } else { "FORMAT JSON" };
    let mut session = db.session().await.unwrap();
    session.run("BEGIN").await.unwrap();
    let rows = session.rows(&format!("EXPLAIN ({how}) {sql}"), Vec::new()).await.unwrap();
    session.run("ROLLBACK").await.unwrap();
    let plan = rows[0].at::<Json<Value>>(0).unwrap().0[0]["Plan"].clone();
    let mut reads = &plan;
    while reads["Node Type"] == "ModifyTable" {
        reads = &reads["Plans"][0];
    }
    let pages = |key: &str| reads[key].as_f64().unwrap_or(0.0);
    (plan["Total Cost"].as_f64().unwrap(), pages("Shared Hit Blocks") + pages("Shared Read Blocks"))
}
