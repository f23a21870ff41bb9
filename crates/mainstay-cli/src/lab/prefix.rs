//! `mainstay lab index-left-prefix`: an index on (a, b, c), and which queries it serves: those that name its columns
//! from the left. The doctor is asked what the others lack, and that is built.

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::{Db, Engine};
use mainstay_doctor::Finding;
use mainstay_doctor::advice::{Query, advise};
use serde::Serialize;

use super::measure::{Access, Measured, measure, options};
use super::table::Table;

/// Rows of the table.
const ROWS: u32 = 100_000;
/// How a row's columns come of its number: neighbours have the same, so that few rows are on few pages. A quotient of
/// whole numbers is written in each engine's own way otherwise.
const COLUMNS: &str = "n, (n - n % 16) / 16, ((n - n % 8) / 8) % 2000, ((n - n % 4) / 4) % 2500, n";
/// What makes a row larger than its index's entry.
const NOTE: usize = 100;
/// The queries, by their conditions.
const CONDITIONS: &[&str] = &[
    "a = 1100",
    "a = 1100 AND b = 200",
    "a = 1100 AND b = 200 AND c = 1900",
    "a > 6000 AND b = 200",
    "b = 200",
    "c = 1900",
];

/// Which queries an index on several columns serves.
#[derive(Clone, Debug, Serialize)]
pub struct LeftPrefix {
    /// The index that is there.
    pub index: String,
    /// Its columns.
    pub columns: String,
    /// Rows of the table.
    pub rows: u32,
    /// Each query, with that index alone.
    pub before: Vec<Measured>,
    /// What the doctor says that they lack.
    pub advice: Vec<Finding>,
    /// What else it says of how that was found.
    pub notes: Vec<String>,
    /// What was built: what the doctor told.
    pub built: Vec<Built>,
    /// Each query again; none where nothing was advised.
    pub after: Vec<Measured>,
}

/// An index that was built since the doctor told it.
#[derive(Clone, Debug, Serialize)]
pub struct Built {
    /// Its name.
    pub name: String,
    /// Its key, as people write it, with what it holds beside it.
    pub key: String,
    /// The statement.
    pub ddl: String,
}

/// Runs it on `db`. `say` is told what is about to happen.
///
/// Errors: those of a statement, and of [`advise`]; what it made is dropped again.
pub async fn index_left_prefix(db: &Db, say: impl Fn(&str) + Sync) -> Result<LeftPrefix> {
    let columns = "id BIGINT PRIMARY KEY, a BIGINT NOT NULL, b BIGINT NOT NULL, \
        c BIGINT NOT NULL, value BIGINT NOT NULL, note VARCHAR(100) NOT NULL";
    let table = Table::make(db, "t", columns).await?;
    let report = show(db, &table, &say).await;
    let dropped = table.drop().await;
    let report = report?;
    dropped.map(|()| report)
}

async fn show(db: &Db, table: &Table<'_>, say: &(impl Fn(&str) + Sync)) -> Result<LeftPrefix> {
    say("a table of 100,000 rows is made, with an index on (a, b, c)");
    let values = format!("{COLUMNS}, '{}'", "x".repeat(NOTE));
    table.fill("id, a, b, c, value, note", &values, ROWS).await?;
    let index = format!("{}_a_b_c", table.name());
    table.run(&format!("CREATE INDEX {index} ON {{t}} (a, b, c)")).await?;
    table.analyze().await?;
    say("each query is explained and run");
    let before = all(db, table, &index).await?;
    say("the doctor is asked what is missing; it tries indexes on a copy");
    let asked: Vec<Query> = before.iter().map(|query| Query::new(query.sql.clone())).collect();
    let advice = advise(db, &asked, &options()).await?;
    let findings = advice.findings(&Clock::system());
    let mut built = Vec::new();
    for suggestion in &advice.suggestions {
        say("what it tells is built");
        // Sent as it is: on PostgreSQL it is in no transaction.
        table.run(&suggestion.ddl).await?;
        let name = suggestion.name.clone();
        let mut key = format!("({})", suggestion.key());
        if !suggestion.included.is_empty() {
            key += &format!(" INCLUDE ({})", suggestion.included.join(", "));
        }
        built.push(Built { name, key, ddl: suggestion.ddl.clone() });
    }
    let mut after = Vec::new();
    if !built.is_empty() {
        table.analyze().await?;
        say("each query again");
        after = all(db, table, &index).await?;
    }
    let (columns, notes) = ("a, b, c".to_owned(), advice.notes);
    Ok(LeftPrefix { index, columns, rows: ROWS, before, advice: findings, notes, built, after })
}

async fn all(db: &Db, table: &Table<'_>, index: &str) -> Result<Vec<Measured>> {
    let mut out = Vec::with_capacity(CONDITIONS.len());
    for condition in CONDITIONS {
        let sql = table.sql(&format!("SELECT value FROM {{t}} WHERE {condition}"));
        let mut measured = measure(db, condition, sql).await?;
        // PostgreSQL calls it an index scan as well if it goes through all of the index, since nothing says where to begin.
        let named = measured.condition.as_ref().is_none_or(|condition| condition.contains("(a "));
        if db.engine() == Engine::Postgres && measured.index.as_deref() == Some(index) && !named {
            measured.access = Access::FullIndex;
        }
        out.push(measured);
    }
    Ok(out)
}
