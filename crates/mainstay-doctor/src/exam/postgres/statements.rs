//! The statements that take the most time, as pg_stat_statements counts them.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::super::ctx::{Answer, Ctx, real, text, whole};
use super::super::ranking::ranked;
use super::super::report::Statement;

/// Statements that are read.
const TOP: usize = 100;
/// Longer texts are cut by the server.
const TEXT_MAX: usize = 20_000;

pub(super) async fn statements(ctx: &mut Ctx) -> Result<Answer> {
    let sql = "SELECT n.nspname::text, e.extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
         WHERE e.extname = 'pg_stat_statements'";
    let rows = ctx.rows(sql).await?;
    let Some(row) = rows.first() else {
        let why = "pg_stat_statements is not there: shared_preload_libraries = 'pg_stat_statements', a restart, and \
                   CREATE EXTENSION pg_stat_statements";
        return Ok(Answer::Unknown(why.to_owned()));
    };
    let schema = Engine::Postgres.quote(&text(row, 0)?);
    let version = text(row, 1)?;
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0);
    let (total, mean) = if minor >= 8 {
        ("total_exec_time", "mean_exec_time")
    } else {
        ("total_time", "mean_time")
    };
    let sql = format!(
        "SELECT left(s.query, {TEXT_MAX}), s.calls, s.{mean}, s.rows, s.{total}, sum(s.{total}) OVER () \
         FROM {schema}.pg_stat_statements s WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND s.query IS NOT NULL AND s.query <> '<insufficient privilege>' ORDER BY s.{total} DESC LIMIT {TOP}"
    );
    let rows = match ctx.rows(&sql).await {
        Err(error) if error.what().contains("shared_preload_libraries") => {
            return Ok(Answer::Unknown(error.what().to_owned()));
        }
        rows => rows?,
    };
    let mut all_ms = 0.0;
    let mut statements = Vec::new();
    for row in &rows {
        all_ms = real(row, 5)?;
        statements.push(Statement {
            text: text(row, 0)?,
            calls: whole(row, 1)?.max(0) as u64,
            mean_ms: real(row, 2)?,
            rows: whole(row, 3)?.max(0) as u64,
        });
    }
    Ok(ranked(ctx, statements, all_ms))
}
