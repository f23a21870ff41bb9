//! What a query takes: its plan, what it reads as far as the engine tells, and its time.

use std::time::Duration;

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::{AssertSqlSafe, Db, Engine};
use mainstay_doctor::Finding;
use mainstay_doctor::advice::{Options, Query};
use mainstay_doctor::plan::{Explained, Kind, Node, explain};
use serde::Serialize;

use super::watch::micros;

/// Runs of which the middle one's time is told.
const RUNS: usize = 5;
/// All that advice may take here.
const BUDGET: Duration = Duration::from_secs(30);

/// How a query gets at its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// The whole table is read.
    Scan,
    /// A whole index is read.
    FullIndex,
    /// A part of an index is read, and the rows that it names.
    Index,
    /// A part of an index is read, and nothing else.
    IndexOnly,
    /// Something else.
    Other,
}

/// What a query took.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Its condition, as people call it.
    pub what: String,
    /// Its text.
    pub sql: String,
    /// How it gets at its rows.
    pub access: Access,
    /// The index that it uses.
    pub index: Option<String>,
    /// What is asked of the index, where the engine tells.
    pub condition: Option<String>,
    /// Rows that were read, those thrown away among them; of an index's entries, where the engine tells them.
    pub rows_read: Option<u64>,
    /// Pages that were read, from the cache or the disk.
    pub pages: Option<u64>,
    /// Rows of an index-only scan that had to be looked up in the table.
    pub heap_fetches: Option<u64>,
    /// The middle one of five runs.
    pub time_us: u64,
    /// The plan as a tree.
    pub plan: String,
    /// What the doctor says of the plan.
    pub findings: Vec<Finding>,
}

/// How the doctor is asked here.
pub(super) fn options() -> Options {
    Options { budget: BUDGET, ..Options::default() }
}

/// Errors: those of planning and running it.
pub(super) async fn measure(db: &Db, what: &str, sql: String) -> Result<Measured> {
    let clock = Clock::system();
    let explained = explain(db, &Query::new(sql.clone()), true, &options()).await?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let began = clock.now();
        db.query(AssertSqlSafe(sql.clone())).execute().await?;
        times.push(micros(clock.now() - began));
    }
    times.sort_unstable();
    let pages = pages(db, &explained, &sql).await?;
    let nodes = explained.plan.root.all();
    Ok(Measured {
        what: what.to_owned(),
        access: access(&nodes),
        index: explained.plan.indexes().next().map(str::to_owned),
        condition: nodes
            .iter()
            .filter(|node| node.index.is_some())
            .find_map(|node| node.condition.clone()),
        rows_read: rows_read(db, &nodes),
        pages,
        heap_fetches: nodes.iter().find_map(|node| node.heap_fetches).map(whole),
        time_us: times[RUNS / 2],
        plan: explained.drawn(),
        findings: explained.findings.iter().map(|found| found.finding(&clock)).collect(),
        sql,
    })
}

fn access(nodes: &[&Node]) -> Access {
    let kinds = nodes.iter().map(|node| match node.kind {
        Kind::Scan => Access::Scan,
        Kind::FullIndex => Access::FullIndex,
        Kind::Index => Access::Index,
        Kind::IndexOnly => Access::IndexOnly,
        _ => Access::Other,
    });
    kinds.into_iter().find(|access| *access != Access::Other).unwrap_or(Access::Other)
}

/// SQLite tells none. PostgreSQL tells of an index what it gave, not how much of it was gone through.
fn rows_read(db: &Db, nodes: &[&Node]) -> Option<u64> {
    let tells = |node: &&&Node| node.kind == Kind::Scan || db.engine() != Engine::Postgres;
    let all = nodes.iter().filter(tells).filter(|node| node.relation.is_some());
    let read = |node: &&Node| {
        let rows = node.actual_rows? + node.removed.unwrap_or(0.0);
        Some(rows * node.loops.unwrap_or(1.0))
    };
    all.filter_map(read).reduce(f64::max).map(whole)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
fn whole(count: f64) -> u64 {
    count.round().max(0.0) as u64
}

/// MariaDB tells them since 10.11.5, outside of what plans have in common.
async fn pages(db: &Db, explained: &Explained, sql: &str) -> Result<Option<u64>> {
    if !db.is_mariadb() {
        return Ok(explained.plan.read_buffers());
    }
    let text = format!("ANALYZE FORMAT=JSON {sql}");
    let rows = db.session().await?.rows(&text, Vec::new()).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let plan: serde_json::Value = serde_json::from_str(&row.at::<String>(0)?).unwrap_or_default();
    let mut total = None;
    accessed(&plan, &mut total);
    Ok(total)
}

fn accessed(value: &serde_json::Value, total: &mut Option<u64>) {
    match value {
        serde_json::Value::Object(map) => {
            let pages = map.get("pages_accessed").and_then(serde_json::Value::as_u64);
            if let Some(pages) = pages {
                *total = Some(total.unwrap_or(0) + pages);
            }
            map.values().for_each(|inner| accessed(inner, total));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|inner| accessed(inner, total)),
        _ => {}
    }
}
