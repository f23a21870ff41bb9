//! Statements of many rows, for SQLite and MySQL; several go in a transaction, or in a savepoint of
//! the one that is open.

use mainstay_core::{Code, Error, Result};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::Target;
use crate::connection::Connection;
use crate::db::Db;
use crate::engine::Engine;
use crate::error::from_driver;
use crate::record::Record;
use crate::steps::Step;
use crate::transaction::Run;
use crate::value::{self, Arguments, Value};

/// Values in one statement: SQLite's own bound is 32,766, MySQL's 65,535, and larger statements
/// were measured to be no faster.
const VALUES_MAX: usize = 5_000;

pub(super) async fn insert(
    db: &Db,
    target: &Target,
    rows: impl Iterator<Item = Vec<Value>> + Send,
    record: &mut Record<'_>,
) -> Result<u64> {
    let mut chunks = Chunks { rows: rows.peekable(), target };
    let first = chunks.take()?;
    if db.in_transaction() {
        return in_savepoint(db, first, chunks, record).await;
    }
    if chunks.is_empty() {
        return all(db, first, chunks, record).await;
    }
    let run = Run::begin(db, target.place, 1).await?;
    let outcome = all(&run.handle(), first, chunks, record).await;
    run.end(outcome).await
}

async fn in_savepoint(
    tx: &Db,
    first: Vec<Value>,
    chunks: Chunks<'_, impl Iterator<Item = Vec<Value>> + Send>,
    record: &mut Record<'_>,
) -> Result<u64> {
    tx.query("SAVEPOINT mainstay_bulk_insert").execute().await?;
    match all(tx, first, chunks, record).await {
        Ok(count) => {
            tx.query("RELEASE SAVEPOINT mainstay_bulk_insert").execute().await?;
            Ok(count)
        }
        Err(error) => {
            // The first error is the one to be told; if this fails too, the transaction is lost.
            let _ = tx.query("ROLLBACK TO SAVEPOINT mainstay_bulk_insert").execute().await;
            Err(error)
        }
    }
}

async fn all(
    db: &Db,
    first: Vec<Value>,
    mut chunks: Chunks<'_, impl Iterator<Item = Vec<Value>> + Send>,
    record: &mut Record<'_>,
) -> Result<u64> {
    let mut hold = db.hold(false, false, chunks.target.place).await?;
    record.started(hold.id());
    let mut count = one(&mut hold, chunks.target, first).await?;
    while !chunks.is_empty() {
        count += one(&mut hold, chunks.target, chunks.take()?).await?;
    }
    Ok(count)
}

/// Rows taken so many at a time that their values fit one statement.
struct Chunks<'t, I: Iterator<Item = Vec<Value>>> {
    rows: std::iter::Peekable<I>,
    target: &'t Target,
}

impl<I: Iterator<Item = Vec<Value>>> Chunks<'_, I> {
    fn is_empty(&mut self) -> bool {
        self.rows.peek().is_none()
    }

    fn take(&mut self) -> Result<Vec<Value>> {
        let rows_max = (VALUES_MAX / self.target.columns.max(1)).max(1);
        let mut out = Vec::new();
        for values in self.rows.by_ref().take(rows_max) {
            self.target.check(&values)?;
            out.extend(values);
        }
        Ok(out)
    }
}

async fn one(connection: &mut Connection, target: &Target, values: Vec<Value>) -> Result<u64> {
    if values.is_empty() {
        return Ok(0);
    }
    let rows = values.len() / target.columns;
    let row = format!("({})", vec!["?"; target.columns].join(", "));
    let sql = format!("{}{}", target.sql, vec![row; rows].join(", "));
    let arguments = match connection.engine() {
        #[cfg(feature = "sqlite")]
        Engine::Sqlite => Arguments::Sqlite(value::sqlite(values)?),
        #[cfg(feature = "mysql")]
        Engine::MySql => Arguments::MySql(value::mysql(values)?),
        #[allow(unreachable_patterns, reason = "reached where an engine is left out")]
        other => {
            return Err(Error::new(Code::Unsupported, format!("{other} inserts in another way")));
        }
    };
    let mut reading = connection.send(AssertSqlSafe(sql).into_sql_str(), Some(arguments));
    let mut count = 0;
    while let Some(step) = reading.next().await.map_err(|e| from_driver(e, Some(&target.sql)))? {
        if let Step::Done { affected, .. } = step {
            count += affected;
        }
    }
    Ok(count)
}
