//! Indexes that are superfluous or unused, and the statements that take the most time.

use std::collections::HashSet;

use mainstay_core::{Code, Result};
use mainstay_db::Engine;

use super::super::ctx::{Answer, Ctx, real, text, whole};
use super::super::ranking::ranked;
use super::super::redundant::{Shape, pairs};
use super::super::report::Statement;
use super::super::words;
use super::{variables, word};
use crate::finding::Severity;

/// Columns of indexes that are read.
const COLUMNS_MAX: usize = 100_000;
/// Picoseconds in a millisecond: the server counts so.
const PICOS: f64 = 1e9;
const TOP: usize = 100;

/// The indexes of the database, by table.
async fn indexes(ctx: &mut Ctx) -> Result<Vec<Shape>> {
    let hidden = match (ctx.facts.mariadb, ctx.facts.number) {
        (true, number) if number >= 100_600 => "ignored = 'YES'",
        (false, number) if number >= 80_000 => "is_visible = 'NO'",
        _ => "FALSE",
    };
    let sql = format!(
        "SELECT CAST(table_name AS CHAR), CAST(index_name AS CHAR), CAST(index_type AS CHAR), non_unique = 0, \
         CAST(column_name AS CHAR), CAST(COALESCE(sub_part, 0) AS SIGNED), CAST(COALESCE(collation, '') AS CHAR) \
         FROM information_schema.statistics WHERE table_schema = DATABASE() AND NOT {hidden} \
         ORDER BY table_name, index_name = 'PRIMARY' DESC, index_name, seq_in_index LIMIT {COLUMNS_MAX}"
    );
    let mut shapes: Vec<Shape> = Vec::new();
    for row in ctx.rows(&sql).await? {
        let (table, name) = (text(&row, 0)?, text(&row, 1)?);
        if shapes.last().is_none_or(|last| last.table != table || last.name != name) {
            shapes.push(Shape {
                bound: name == "PRIMARY",
                method: text(&row, 2)?,
                unique: whole(&row, 3)? != 0,
                table,
                name: name.clone(),
                ..Shape::default()
            });
        }
        // An expression has no column: it counts as nobody else's.
        let column =
            row.at::<Option<String>>(4)?.unwrap_or_else(|| format!("(expression of {name})"));
        let key = format!("{column} {} {}", whole(&row, 5)?, text(&row, 6)?);
        if let Some(last) = shapes.last_mut() {
            last.keys.push(key);
        }
    }
    Ok(shapes)
}

fn dropping(table: &str, index: &str) -> String {
    let q = |name: &str| Engine::MySql.quote(name);
    format!("ALTER TABLE {} DROP INDEX {};", q(table), q(index))
}

pub(super) async fn duplicates(ctx: &mut Ctx) -> Result<Answer> {
    let shapes = indexes(ctx).await?;
    let found = pairs(&shapes).into_iter().map(|pair| {
        let (goes, stays) = (&shapes[pair.goes], &shapes[pair.stays]);
        let what = format!("{} on {} is superfluous", goes.name, goes.table);
        let (severity, why) = if pair.same {
            (Severity::Warning, "has the same columns in the same order")
        } else {
            (Severity::Hint, "begins with the same columns in the same order")
        };
        let evidence = vec![format!("{} {why}", stays.name)];
        ctx.finding(
            (Code::DoctorIndexDuplicate, severity),
            what,
            evidence,
            dropping(&goes.table, &goes.name),
        )
    });
    let found = found.collect();
    let all = words::count(shapes.len(), "index", "indexes");
    Ok(ctx.judged(found, format!("{all}, none makes another superfluous")))
}

pub(super) async fn unused(ctx: &mut Ctx) -> Result<Answer> {
    let min = ctx.options.observed_min;
    let observed = words::time(ctx.facts.observed_s);
    if ctx.facts.observed_s < min.as_secs_f64() {
        return Ok(Answer::Unknown(format!(
            "the server is up for {observed}; it tells after {}",
            words::duration(min)
        )));
    }
    let values = variables(ctx, &["userstat", "performance_schema"]).await?;
    let sql = if word(&values, "performance_schema") == "ON" {
        "SELECT CAST(object_name AS CHAR), CAST(index_name AS CHAR) \
         FROM performance_schema.table_io_waits_summary_by_index_usage \
         WHERE object_schema = DATABASE() AND index_name IS NOT NULL AND count_star > 0"
    } else if word(&values, "userstat") == "ON" {
        "SELECT CAST(table_name AS CHAR), CAST(index_name AS CHAR) FROM information_schema.index_statistics \
         WHERE table_schema = DATABASE() AND rows_read > 0"
    } else {
        let why = "neither performance_schema nor userstat is on: SET GLOBAL userstat = ON counts from now on";
        return Ok(Answer::Unknown(why.to_owned()));
    };
    let mut used = HashSet::new();
    for row in ctx.rows(sql).await? {
        used.insert((text(&row, 0)?, text(&row, 1)?));
    }
    let rows = rows_of_tables(ctx).await?;
    let shapes = indexes(ctx).await?;
    let idle = shapes.iter().filter(|shape| {
        !shape.unique
            && rows.contains(&shape.table)
            && !used.contains(&(shape.table.clone(), shape.name.clone()))
    });
    let found = idle.map(|shape| {
        let what = format!("{} on {} was never used in {observed}", shape.name, shape.table);
        let evidence = vec![
            "each server counts for itself: a replica may use it; a foreign key may need it"
                .to_owned(),
        ];
        let fix = dropping(&shape.table, &shape.name);
        ctx.finding((Code::DoctorIndexUnused, Severity::Warning), what, evidence, fix)
    });
    let found = found.collect();
    Ok(ctx.judged(found, format!("each of a large table was used in {observed}")))
}

/// The tables that are large enough for an unused index to matter.
async fn rows_of_tables(ctx: &mut Ctx) -> Result<HashSet<String>> {
    let sql = format!(
        "SELECT CAST(table_name AS CHAR) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_rows >= {}",
        ctx.options.rows_min
    );
    let rows = ctx.rows(&sql).await?;
    rows.iter().map(|row| text(row, 0)).collect()
}

pub(super) async fn statements(ctx: &mut Ctx) -> Result<Answer> {
    let values = variables(ctx, &["performance_schema"]).await?;
    if word(&values, "performance_schema") != "ON" {
        let why = "performance_schema is off: performance_schema = ON in the configuration, and a restart";
        return Ok(Answer::Unknown(why.to_owned()));
    }
    let sql = format!(
        "SELECT CAST(digest_text AS CHAR), CAST(count_star AS SIGNED), CAST(avg_timer_wait AS DOUBLE), \
         CAST(sum_rows_sent + sum_rows_affected AS SIGNED), \
         CAST((SELECT SUM(sum_timer_wait) FROM performance_schema.events_statements_summary_by_digest \
           WHERE schema_name = DATABASE()) AS DOUBLE) \
         FROM performance_schema.events_statements_summary_by_digest \
         WHERE schema_name = DATABASE() AND digest_text IS NOT NULL ORDER BY sum_timer_wait DESC LIMIT {TOP}"
    );
    let (mut statements, mut all_ms) = (Vec::new(), 0.0);
    for row in ctx.rows(&sql).await? {
        all_ms = real(&row, 4)? / PICOS;
        statements.push(Statement {
            text: text(&row, 0)?,
            calls: whole(&row, 1)?.max(0) as u64,
            mean_ms: real(&row, 2)? / PICOS,
            rows: whole(&row, 3)?.max(0) as u64,
        });
    }
    Ok(ranked(ctx, statements, all_ms))
}
