//! Statements of many rows, for SQLite and MySQL; several go in a transaction, or in a savepoint of
//! the one that is open.

use std::pin::pin;
use std::sync::Arc;

use mainstay_core::{Code, Error, Result};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use super::Target;
use crate::connection::Connection;
use crate::db::Db;
use crate::engine::Engine;
use crate::error::from_driver;
use crate::record::Record;
use crate::statement::Sql;
use crate::steps::Step;
use crate::text::Text;
use crate::transaction::{Plan, Run};
use crate::value::{self, Arguments, Value};

/// Values in one statement: SQLite's own bound is 32,766, MySQL's 65,535, and larger statements
/// were measured to be no faster.
const VALUES_MAX: usize = 5_000;

pub(super) async fn insert(
    db: &Db,
    target: &Target,
    text: &Text,
    rows: impl Iterator<Item = Vec<Value>> + Send,
    record: &mut Record<'_>,
) -> Result<u64> {
    let sql = Sql::Dynamic(Arc::clone(&target.sql));
    let mut chunks = Chunks { rows: rows.peekable(), target };
    let first = chunks.take()?;
    if !db.in_transaction() && !chunks.is_empty() {
        let run = Run::begin(db, Plan::once(), target.place, 1, None).await?;
        let tx = run.handle();
        let outcome = match record.held(pin!(tx.hold(false, false, target.place))).await {
            Ok(mut hold) => {
                let _ran = hold.begins(&tx, text, &sql, target.place)?;
                let outcome = db.in_time(db.deadline(), all(&mut hold, first, chunks)).await;
                hold.explain(db, outcome).await
            }
            Err(error) => Err(error),
        };
        return run.end(outcome).await.0;
    }
    // One turn for the whole: no other statement of the transaction comes in between.
    let mut hold = record.held(pin!(db.hold(false, false, target.place))).await?;
    let _ran = hold.begins(db, text, &sql, target.place)?;
    let outcome = db.in_time(db.deadline(), async {
        if db.in_transaction() {
            in_savepoint(&mut hold, first, chunks).await
        } else {
            all(&mut hold, first, chunks).await
        }
    });
    let outcome = outcome.await;
    hold.explain(db, outcome).await
}

async fn in_savepoint(
    connection: &mut Connection,
    first: Vec<Value>,
    chunks: Chunks<'_, impl Iterator<Item = Vec<Value>> + Send>,
) -> Result<u64> {
    connection.run("SAVEPOINT mainstay_bulk_insert").await.map_err(|e| from_driver(e, None))?;
    let outcome = all(connection, first, chunks).await;
    if outcome.is_err() {
        if !connection.state.broken {
            // The first error is the one to be told; if this fails too, the transaction is lost.
            let undo = "ROLLBACK TO SAVEPOINT mainstay_bulk_insert; RELEASE SAVEPOINT mainstay_bulk_insert";
            connection.state.lost_transaction |= connection.run(undo).await.is_err();
        }
        return outcome;
    }
    connection
        .run("RELEASE SAVEPOINT mainstay_bulk_insert")
        .await
        .map_err(|e| from_driver(e, None))?;
    outcome
}

async fn all(
    connection: &mut Connection,
    first: Vec<Value>,
    mut chunks: Chunks<'_, impl Iterator<Item = Vec<Value>> + Send>,
) -> Result<u64> {
    let full = first.len();
    let sql = chunks.target.statement(full);
    let several = !chunks.is_empty();
    let mut count = one(connection, &sql, first, several).await?;
    while !chunks.is_empty() {
        let chunk = chunks.take()?;
        // Only the last one may be of another length; it is not worth being remembered.
        count += if chunk.len() == full {
            one(connection, &sql, chunk, true).await?
        } else {
            one(connection, &chunks.target.statement(chunk.len()), chunk, false).await?
        };
    }
    Ok(count)
}

impl Target {
    /// For so many values.
    fn statement(&self, values: usize) -> Arc<str> {
        let mut row = String::from("(");
        for n in 0..self.columns {
            row.push_str(if n == 0 { "?" } else { ", ?" });
        }
        row.push(')');
        let rows = values / self.columns.max(1);
        let mut sql = String::with_capacity(self.sql.len() + rows * (row.len() + 2));
        sql.push_str(&self.sql);
        for n in 0..rows {
            sql.push_str(if n == 0 { "" } else { ", " });
            sql.push_str(&row);
        }
        sql.into()
    }
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
        let mut out = Vec::with_capacity(rows_max.min(1024) * self.target.columns);
        for values in self.rows.by_ref().take(rows_max) {
            self.target.check(&values)?;
            out.extend(values);
        }
        Ok(out)
    }
}

async fn one(
    connection: &mut Connection,
    sql: &Arc<str>,
    values: Vec<Value>,
    keep: bool,
) -> Result<u64> {
    if values.is_empty() {
        return Ok(0);
    }
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
    let text = AssertSqlSafe(Arc::clone(sql)).into_sql_str();
    let mut reading = connection.send(text, Some(arguments), keep);
    let mut count = 0;
    while let Some(step) = reading.next().await.map_err(|e| from_driver(e, None))? {
        if let Step::Done { affected, .. } = step {
            count += affected;
        }
    }
    Ok(count)
}
