//! `mainstay lab covering-index`: a query that finds its rows by an index and still reads each of them for one column
//! more; then an index that has that column too, and what it costs who writes.

use std::time::Duration;

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::{Db, Engine};
use mainstay_doctor::Finding;
use mainstay_doctor::advice::{Query, advise};
use serde::Serialize;

use super::measure::{Measured, measure, options};
use super::table::{Table, numbers};
use super::watch::micros;

/// Rows of the table, and how many customers they are of, in turn: each customer's rows are all over it.
const ROWS: u32 = 60_000;
const CUSTOMERS: u32 = 40;
/// Rows that are inserted at once to measure writing, and how often.
const WRITTEN: u32 = 4000;
const WRITES: usize = 7;
/// Above all other rows' numbers.
const FIRST_NEW: u32 = 1_000_000;
/// How often a VACUUM is run that could not tell that all rows are seen by everybody, and the time between two.
const VACUUMS_MAX: usize = 10;
const BETWEEN: Duration = Duration::from_millis(500);
/// What makes a row large beside its index's entry.
const NOTE: usize = 300;

/// A query by an index, and by one that covers it.
#[derive(Clone, Debug, Serialize)]
pub struct Covering {
    /// Rows of the table.
    pub rows: u32,
    /// The query, with an index on what it is asked by.
    pub before: Measured,
    /// What the doctor advised then.
    pub advice: Vec<Finding>,
    /// The index that covers the query.
    pub ddl: String,
    /// The query with it.
    pub after: Measured,
    /// PostgreSQL: the query after its rows were updated, before a VACUUM.
    pub updated: Option<Measured>,
    /// PostgreSQL: and after one.
    pub vacuumed: Option<Measured>,
    /// Rows that can be inserted a second, with the first index alone.
    pub inserts_before: u64,
    /// And with the covering one in its place.
    pub inserts_after: u64,
}

/// Runs it on `db`. `say` is told what is about to happen.
///
/// Errors: those of a statement, and of [`advise`]; what it made is dropped again.
pub async fn covering_index(db: &Db, say: impl Fn(&str) + Sync) -> Result<Covering> {
    let columns = "id BIGINT PRIMARY KEY, customer BIGINT NOT NULL, total BIGINT NOT NULL, \
        note VARCHAR(400) NOT NULL";
    let table = Table::make(db, "orders", columns).await?;
    let report = show(db, &table, &say).await;
    let dropped = table.drop().await;
    let report = report?;
    dropped.map(|()| report)
}

async fn show(db: &Db, table: &Table<'_>, say: &(impl Fn(&str) + Sync)) -> Result<Covering> {
    say("a table of 60,000 orders is made, with an index on (customer)");
    let values = format!("n, n % {CUSTOMERS}, n % 100, '{}'", "x".repeat(NOTE));
    table.fill("id, customer, total, note", &values, ROWS).await?;
    let plain = format!("{}_customer", table.name());
    table.run(&format!("CREATE INDEX {plain} ON {{t}} (customer)")).await?;
    table.analyze().await?;
    let sql = table.sql("SELECT SUM(total) FROM {t} WHERE customer = 7");
    let what = "customer = 7";
    say("the query, and writing, with that index");
    let before = measure(db, what, sql.clone()).await?;
    let advice = advise(db, &[Query::new(sql.clone())], &options()).await?;
    let inserts_before = inserts(db, table).await?;

    say("the covering index is built in its place");
    let covering = format!("{}_customer_total", table.name());
    let key = match db.engine() {
        Engine::Postgres => "(customer) INCLUDE (total)",
        Engine::MySql | Engine::Sqlite => "(customer, total)",
    };
    let ddl = format!("CREATE INDEX {covering} ON {} {key}", table.name());
    table.run(&ddl).await?;
    let on = if db.engine() == Engine::MySql { " ON {t}" } else { "" };
    table.run(&format!("DROP INDEX {plain}{on}")).await?;
    say("the query, and writing, with that one");
    let inserts_after = inserts(db, table).await?;
    let after = settled(db, table, what, &sql).await?;
    let (mut updated, mut vacuumed) = (None, None);
    if db.engine() == Engine::Postgres {
        say("the rows are updated: the index alone no longer tells whether they are visible");
        table.run("UPDATE {t} SET note = 'changed' WHERE customer = 7").await?;
        updated = Some(measure(db, what, sql.clone()).await?);
        vacuumed = Some(settled(db, table, what, &sql).await?);
    }
    Ok(Covering {
        rows: ROWS,
        before,
        advice: advice.findings(&Clock::system()),
        ddl,
        after,
        updated,
        vacuumed,
        inserts_before,
        inserts_after,
    })
}

/// The query after a VACUUM that could tell of all rows that everybody sees them: a snapshot that somebody else has
/// open in the database keeps it from that, such as ANALYZE's of a table of the system.
async fn settled(db: &Db, table: &Table<'_>, what: &str, sql: &str) -> Result<Measured> {
    for _ in 0..VACUUMS_MAX {
        table.analyze().await?;
        let measured = measure(db, what, sql.to_owned()).await?;
        if db.engine() != Engine::Postgres || measured.heap_fetches == Some(0) {
            return Ok(measured);
        }
        Clock::system().sleep(BETWEEN).await;
    }
    table.analyze().await?;
    measure(db, what, sql.to_owned()).await
}

/// Rows inserted a second, the best of several measurements, since others' work on the machine only takes; each is rolled
/// back. The first one, which makes room, does not count.
async fn inserts(db: &Db, table: &Table<'_>) -> Result<u64> {
    let clock = Clock::system();
    let note = "x".repeat(NOTE);
    let insert = table.sql(&format!(
        "INSERT INTO {{t}} (id, customer, total, note) \
         SELECT {FIRST_NEW} + n, n % {CUSTOMERS}, n % 100, '{note}' FROM {}",
        numbers(WRITTEN)
    ));
    let mut session = db.session().await?;
    let mut times = Vec::with_capacity(WRITES + 1);
    for _ in 0..=WRITES {
        session.run("BEGIN").await?;
        let began = clock.now();
        session.run(&insert).await?;
        times.push(micros(clock.now() - began));
        session.run("ROLLBACK").await?;
    }
    let best = times[1..].iter().min().copied().unwrap_or(1);
    Ok(u64::from(WRITTEN) * 1_000_000 / best.max(1))
}
