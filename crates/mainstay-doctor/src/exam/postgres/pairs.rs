//! Indexes that another one of the same table makes superfluous.

use mainstay_core::{Code, Result};
use mainstay_db::Row;

use super::super::ctx::{Answer, Ctx, text, whole};
use super::super::redundant::{Pair, Shape, pairs};
use super::super::words;
use super::USERS;
use crate::finding::{Finding, Severity};

/// Indexes that are looked at.
const INDEXES_MAX: usize = 50_000;

pub(super) async fn duplicates(ctx: &mut Ctx) -> Result<Answer> {
    // An expression is known by a hash of its tree, less the places in the text that it was read from.
    let tree = |column: &str| {
        format!(
            "coalesce(hashtextextended(regexp_replace(i.{column}::text, ':location -?\\d+', '', 'g'), 0)::text, '')"
        )
    };
    let sql = format!(
        "SELECT i.indrelid::text, format('%I.%I', n.nspname, c.relname), m.amname::text, i.indkey::text, \
         i.indnkeyatts::bigint, i.indclass::text, i.indcollation::text, i.indoption::text, {}, {}, i.indisunique, \
         i.indisprimary OR i.indisreplident OR i.indisexclusion \
           OR EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid), \
         c.relpages * current_setting('block_size')::bigint, format('%I.%I', n.nspname, t.relname) \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i' AND NOT c.relispartition \
         JOIN pg_class t ON t.oid = i.indrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am m ON m.oid = c.relam \
         WHERE i.indisvalid AND {USERS} ORDER BY i.indrelid, i.indexrelid LIMIT {INDEXES_MAX}",
        tree("indexprs"),
        tree("indpred")
    );
    let rows = ctx.rows(&sql).await?;
    let shapes = rows.iter().map(shape).collect::<Result<Vec<_>>>()?;
    let found = pairs(&shapes).into_iter().map(|pair| told(ctx, &rows, &shapes, pair));
    let found = found.collect::<Result<Vec<_>>>()?;
    let all = words::count(rows.len(), "index", "indexes");
    Ok(ctx.judged(found, format!("{all}, none makes another superfluous")))
}

fn shape(row: &Row) -> Result<Shape> {
    let (columns, classes, collations) = (text(row, 3)?, text(row, 5)?, text(row, 6)?);
    let (options, expressions) = (text(row, 7)?, text(row, 8)?);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let count = whole(row, 4)?.max(0) as usize;
    let (columns, classes) = (words(&columns), words(&classes));
    let (collations, options) = (words(&collations), words(&options));
    let at = |list: &[String], n: usize| list.get(n).cloned().unwrap_or_default();
    let keys = columns.iter().take(count).enumerate().map(|(n, column)| {
        // All expressions of an index are one tree: each counts as the whole.
        let column = if column == "0" { format!("({expressions})") } else { column.clone() };
        format!("{column} {} {} {}", at(&classes, n), at(&collations, n), at(&options, n))
    });
    Ok(Shape {
        table: text(row, 0)?,
        name: text(row, 1)?,
        method: text(row, 2)?,
        keys: keys.collect(),
        included: columns.iter().skip(count).cloned().collect(),
        condition: text(row, 9)?,
        unique: row.at(10)?,
        bound: row.at(11)?,
        bytes: whole(row, 12)?.max(0) as u64,
    })
}

fn told(ctx: &Ctx, rows: &[Row], shapes: &[Shape], pair: Pair) -> Result<Finding> {
    let (goes, stays) = (&shapes[pair.goes], &shapes[pair.stays]);
    let table = text(&rows[pair.goes], 13)?;
    let what = format!("{} on {table} ({}) is superfluous", goes.name, words::bytes(goes.bytes));
    let evidence = vec![if pair.same {
        format!("{} has the same columns in the same order", stays.name)
    } else {
        format!("{} begins with the same columns in the same order", stays.name)
    }];
    let severity = if pair.same { Severity::Warning } else { Severity::Hint };
    let fix = format!("DROP INDEX CONCURRENTLY {};", goes.name);
    Ok(ctx.finding((Code::DoctorIndexDuplicate, severity), what, evidence, fix))
}
