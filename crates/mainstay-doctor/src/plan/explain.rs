//! Asks an engine for the plan of one statement, and judges it.
//!
//! A statement is run only if that is asked for and it surely only reads.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Json, Session};
use serde::Serialize;
use serde_json::Value;

use super::{Judged, Plan, draw, judge, mariadb_plan, postgres_plan, sqlite_plan};
use crate::advice::{self, Options, Query};
use crate::guard::{inline, literal, parameters, session};

/// A statement's plan and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// The plan.
    pub plan: Plan,
    /// What is wrong, in the order of its steps.
    pub findings: Vec<Judged>,
    /// What else is to be known of how it was asked for.
    pub notes: Vec<String>,
}

impl Explained {
    /// The plan as a tree; see [`draw`].
    pub fn drawn(&self) -> String {
        draw(&self.plan, &self.findings)
    }
}

/// The plan of `query` at `db`, judged. With `run`, a statement that only reads is run within `options`' statement
/// timeout, so that the plan has rows and times; one that writes is only planned. SQLite tells no rows.
///
/// Cancel safe: dropped, its session is closed.
///
/// Errors: DB-012 where the sample values are too few, those of the server against the statement, DB-033 where running it
/// took too long, and those of the connection.
pub async fn explain(db: &Db, query: &Query, run: bool, options: &Options) -> Result<Explained> {
    let engine = db.engine();
    let needed = parameters(&query.sql, engine);
    if let Some(why) = query.wrong.clone().or_else(|| {
        let wrong = !query.binds.is_empty() && query.binds.len() != needed;
        wrong.then(|| format!("{} sample values for {needed} placeholders", query.binds.len()))
    }) {
        return Err(Error::new(Code::BindCount, why));
    }
    // What only plans must not become two statements.
    if let Err(why) = advice::is_one(&query.sql, engine) {
        return Err(Error::new(Code::Syntax, why));
    }
    let mut notes = Vec::new();
    let has_values = needed == 0 || !query.binds.is_empty();
    let runs = run && has_values && advice::only_reads(&query.sql, engine);
    if run && !runs && engine != Engine::Sqlite {
        let why =
            if has_values { "it does not only read" } else { "its placeholders have no values" };
        notes.push(format!("{why}, so it was planned and not run"));
    }
    let limits =
        crate::guard::Limits { statement: options.statement_timeout, lock: options.lock_timeout };
    let mut session = session(db, limits).await?;
    let plan = match engine {
        Engine::Postgres => on_postgres(&mut session, query, needed, runs).await,
        Engine::MySql => on_mysql(db, &mut session, query, runs).await,
        Engine::Sqlite => on_sqlite(&mut session, query).await,
    }?;
    drop(session);
    let sizes = advice::sizes(db, &query.sql, options).await?;
    let findings = judge(&plan, &sizes);
    Ok(Explained { plan, findings, notes })
}

async fn on_postgres(
    session: &mut Session,
    query: &Query,
    needed: usize,
    runs: bool,
) -> Result<Plan> {
    let how = if runs { "ANALYZE, BUFFERS, FORMAT JSON" } else { "FORMAT JSON" };
    let sql = &query.sql;
    let text = if needed == 0 {
        format!("EXPLAIN ({how}) {sql}")
    } else {
        let generic = query.binds.is_empty();
        let mode = if generic { "force_generic_plan" } else { "force_custom_plan" };
        let values: Vec<String> = if generic {
            vec!["NULL".to_owned(); needed]
        } else {
            query.binds.iter().map(|value| literal(Engine::Postgres, value)).collect()
        };
        format!(
            "SET plan_cache_mode = {mode}; PREPARE mainstay_asked AS {sql}; \
             EXPLAIN ({how}) EXECUTE mainstay_asked({})",
            values.join(", ")
        )
    };
    let rows = session.rows(&text, Vec::new()).await?;
    let row = rows.first().ok_or_else(nothing)?;
    postgres_plan(&row.at::<Json<Value>>(0)?.0)
}

async fn on_mysql(db: &Db, session: &mut Session, query: &Query, runs: bool) -> Result<Plan> {
    let sql = inline(&query.sql, Engine::MySql, |n| {
        Some(query.binds.get(n - 1).map_or("NULL".to_owned(), |v| literal(Engine::MySql, v)))
    });
    // MySQL's ANALYZE answers in another form.
    let how = if runs && db.is_mariadb() { "ANALYZE" } else { "EXPLAIN" };
    let rows = session.rows(&format!("{how} FORMAT=JSON {sql}"), Vec::new()).await?;
    mariadb_plan(&rows.first().ok_or_else(nothing)?.at::<String>(0)?)
}

async fn on_sqlite(session: &mut Session, query: &Query) -> Result<Plan> {
    let sql = inline(&query.sql, Engine::Sqlite, |n| {
        query.binds.get(n - 1).map(|value| literal(Engine::Sqlite, value))
    });
    let rows = session.rows(&format!("EXPLAIN QUERY PLAN {sql}"), Vec::new()).await?;
    let mut steps = Vec::new();
    for row in &rows {
        steps.push((row.at::<i64>(0)?, row.at::<i64>(1)?, row.at::<String>(3)?));
    }
    Ok(sqlite_plan(steps.into_iter()))
}

fn nothing() -> Error {
    Error::new(Code::Decode, "the server answered EXPLAIN with nothing")
}
