//! Sequences near their end, or near the end of the column that they fill.
//!
//! Reading a sequence's value locks it until the transaction's end, so a few are read at a time: a table of locks that
//! is full would fail others' statements.

use mainstay_core::{Code, Result};
use mainstay_db::Row;

use super::super::ctx::{Answer, Ctx, text, whole};
use super::super::words;
use super::USERS;
use crate::finding::{Finding, Severity};

/// Sequences that are read in one transaction.
const BATCH: usize = 100;
const NEAR: f64 = 0.75;
const AT_THE_END: f64 = 0.9;

/// A sequence, and the narrowest column that it fills.
struct Sequence {
    oid: i64,
    name: String,
    start: i64,
    end: i64,
    column: Option<Column>,
}

struct Column {
    table: String,
    name: String,
    kind: String,
}

pub(super) async fn sequences(ctx: &mut Ctx) -> Result<Answer> {
    // Owned (`a`, `i`) by a column, or used in its default.
    let max = ctx.options.sequences_max();
    let sql = format!(
        "WITH u AS MATERIALIZED (SELECT d.objid AS seq, d.refobjid AS rel, d.refobjsubid AS num FROM pg_depend d \
           JOIN pg_sequence s ON s.seqrelid = d.objid WHERE d.classid = 'pg_class'::regclass \
           AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_class'::regclass \
           UNION ALL SELECT d.refobjid, f.adrelid, f.adnum FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid \
           JOIN pg_sequence s ON s.seqrelid = d.refobjid \
           WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass), \
         o AS MATERIALIZED (SELECT DISTINCT ON (u.seq) u.seq, u.rel, quote_ident(a.attname) AS col, \
           format_type(a.atttypid, NULL) AS typ FROM u JOIN pg_attribute a ON a.attrelid = u.rel AND a.attnum = u.num \
           WHERE a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) ORDER BY u.seq, a.attlen) \
         SELECT s.seqrelid::bigint, format('%I.%I', n.nspname, c.relname), s.seqmin, s.seqmax, s.seqincrement, \
         CASE WHEN t.oid IS NOT NULL THEN format('%I.%I', tn.nspname, t.relname) END, o.col, o.typ, has_sequence_privilege(s.seqrelid, 'SELECT, USAGE') \
         FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN o ON o.seq = s.seqrelid LEFT JOIN pg_class t ON t.oid = o.rel \
         LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace \
         WHERE NOT s.seqcycle AND c.relpersistence <> 't' AND {USERS} \
         AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery()) \
         ORDER BY least(s.seqmax, CASE o.typ WHEN 'smallint' THEN 32767 WHEN 'integer' THEN 2147483647 ELSE s.seqmax END), \
         s.seqrelid LIMIT {max}"
    );
    let rows = ctx.rows(&sql).await?;
    let mut sequences = Vec::new();
    let mut hidden = 0;
    for row in &rows {
        if row.at(8)? {
            sequences.push(sequence(row)?);
        } else {
            hidden += 1;
        }
    }
    let mut found = Vec::new();
    for batch in sequences.chunks(BATCH) {
        if ctx.clock.now() >= ctx.until {
            break;
        }
        ctx.begins_anew().await?;
        found.extend(near_their_end(ctx, batch).await?);
    }
    if hidden > 0 && found.is_empty() {
        let what = words::count(hidden, "sequence", "sequences");
        return Ok(Answer::Unknown(format!(
            "no right to read {what}; the others are far from their end"
        )));
    }
    let all = words::count(sequences.len(), "sequence", "sequences");
    Ok(ctx.judged(found, format!("{all}, none is near its end")))
}

fn sequence(row: &Row) -> Result<Sequence> {
    let kind = text(row, 7)?;
    let widest = match kind.as_str() {
        "smallint" => i64::from(i16::MAX),
        "integer" => i64::from(i32::MAX),
        _ => i64::MAX,
    };
    let (min, max) = (whole(row, 2)?, whole(row, 3)?);
    let down = whole(row, 4)? < 0;
    let (start, end) = if down { (max, min.max(-widest)) } else { (min, max.min(widest)) };
    let column = (!kind.is_empty())
        .then(|| -> Result<_> { Ok(Column { table: text(row, 5)?, name: text(row, 6)?, kind }) });
    Ok(Sequence {
        oid: whole(row, 0)?,
        name: text(row, 1)?,
        start,
        end,
        column: column.transpose()?,
    })
}

async fn near_their_end(ctx: &mut Ctx, batch: &[Sequence]) -> Result<Vec<Finding>> {
    let oids: Vec<_> = batch.iter().map(|sequence| sequence.oid.to_string()).collect();
    // One that was dropped meanwhile is not in the catalogue any more.
    let sql = format!(
        "SELECT c.oid::bigint, pg_sequence_last_value(c.oid) FROM pg_class c WHERE c.relkind = 'S' AND c.oid IN ({})",
        oids.join(", ")
    );
    let mut found = Vec::new();
    for row in ctx.rows(&sql).await? {
        let oid = whole(&row, 0)?;
        let Some(last) = row.at::<Option<i64>>(1)? else { continue };
        let Some(sequence) = batch.iter().find(|sequence| sequence.oid == oid) else { continue };
        let used = used(sequence.start, sequence.end, last);
        if used >= NEAR {
            found.push(told(ctx, sequence, last, used));
        }
    }
    Ok(found)
}

/// The share of the way from `start` to `end` that `last` has gone.
fn used(start: i64, end: i64, last: i64) -> f64 {
    let whole = (i128::from(end) - i128::from(start)) as f64;
    let gone = (i128::from(last) - i128::from(start)) as f64;
    if whole == 0.0 { 1.0 } else { gone / whole }
}

fn told(ctx: &Ctx, sequence: &Sequence, last: i64, used: f64) -> Finding {
    let name = &sequence.name;
    let left = (i128::from(sequence.end) - i128::from(last)).unsigned_abs();
    let what = format!(
        "{name} has used {}: {} numbers are left",
        words::percent(used.min(1.0)),
        words::number(left)
    );
    let severity = if used >= AT_THE_END { Severity::Error } else { Severity::Warning };
    let (evidence, fix) = match &sequence.column {
        Some(Column { table, name: column, kind }) if kind != "bigint" => (
            vec![format!(
                "it fills {table}.{column}, which is {kind} and ends at {}",
                words::number(sequence.end.unsigned_abs())
            )],
            format!(
                "ALTER SEQUENCE {name} AS bigint; ALTER TABLE {table} ALTER COLUMN {column} TYPE bigint;\n\
                 -- rewrites the table under a lock: mainstay migrate expand does it in phases"
            ),
        ),
        _ => (
            vec![format!("its last value is {last}, and it ends at {}", sequence.end)],
            format!("ALTER SEQUENCE {name} AS bigint MAXVALUE {};", i64::MAX),
        ),
    };
    ctx.finding((Code::DoctorSequenceEnding, severity), what, evidence, fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_the_whole_way() {
        assert!((used(1, 101, 76) - 0.75).abs() < 1e-9);
        assert!(used(i64::MIN, i64::MAX, 0) < 0.51);
        assert!((used(-1, -101, -91) - 0.9).abs() < 1e-9);
    }
}
