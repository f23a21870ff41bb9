//! Room that holds nothing: an estimate from what the planner knows of the columns' widths. Measuring it would read all.

use mainstay_core::{Code, Result};
use mainstay_db::Row;

use super::super::ctx::{Answer, Ctx, real, text};
use super::super::words;
use super::USERS;
use crate::finding::Severity;

/// Below this the estimate's error is as large as what it finds.
const SHARE_MIN: f64 = 0.5;
const PAGE_HEADER: f64 = 24.0;
/// A pointer to a row in a page.
const POINTER: f64 = 4.0;
/// How full a tree's leaves are after a build.
const INDEX_FILL: f64 = 0.9;
/// What a tree's page keeps for itself beside the header.
const INDEX_SPECIAL: f64 = 16.0;

/// What the estimate begins from.
struct Measured {
    pages: f64,
    rows: f64,
    /// Of the columns' data in a row, on average.
    width: f64,
    has_nulls: bool,
    columns: f64,
    fill: f64,
    page: f64,
}

/// Rows begin at multiples of this.
fn aligned(bytes: f64) -> f64 {
    (bytes / 8.0).ceil() * 8.0
}

impl Measured {
    fn read(row: &Row, at: usize) -> Result<Self> {
        Ok(Self {
            pages: real(row, at)?,
            rows: real(row, at + 1)?,
            width: real(row, at + 2)?,
            has_nulls: row.at::<Option<bool>>(at + 3)?.unwrap_or_default(),
            columns: real(row, at + 4)?,
            fill: real(row, at + 5)? / 100.0,
            page: real(row, at + 6)?,
        })
    }

    /// Pages that the rows of a table need.
    fn table_pages(&self) -> f64 {
        let nulls = if self.has_nulls { (self.columns / 8.0).ceil() } else { 0.0 };
        let row = aligned(23.0 + nulls) + aligned(self.width) + POINTER;
        (self.rows / ((self.page - PAGE_HEADER) * self.fill / row).floor().max(1.0)).ceil()
    }

    /// Pages that the entries of a tree need; that equal keys share one entry is left aside, so this is too many rather
    /// than too few.
    fn tree_pages(&self) -> f64 {
        let entry = aligned(8.0 + if self.has_nulls { 8.0 } else { 0.0 } + self.width) + POINTER;
        let room = (self.page - PAGE_HEADER - INDEX_SPECIAL) * INDEX_FILL;
        // The inner pages are a few in a thousand; one is the tree's own.
        1.0 + (self.rows / (room / entry).floor().max(1.0)).ceil() * 1.01
    }

    /// Bytes that hold nothing, if they are worth a word.
    fn spare(&self, needed: f64, bytes_min: u64) -> Option<u64> {
        let spare = self.pages - needed;
        let bytes = (spare * self.page).max(0.0) as u64;
        (spare > self.pages * SHARE_MIN && bytes >= bytes_min).then_some(bytes)
    }
}

pub(super) async fn tables(ctx: &mut Ctx) -> Result<Answer> {
    let sql = format!(
        "SELECT format('%I.%I', c.nspname, c.relname), c.relpages::float8, c.reltuples::float8, w.width, w.nulls, \
         w.known::float8, c.fill, current_setting('block_size')::float8, \
         w.known = (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) \
         FROM (SELECT c.oid, n.nspname, c.relname, c.relpages, c.reltuples, \
           coalesce((SELECT option_value FROM pg_options_to_table(c.reloptions) \
             WHERE option_name = 'fillfactor')::float8, 100) AS fill \
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND {USERS} \
           AND c.relpages::bigint * current_setting('block_size')::bigint >= {} ORDER BY c.relpages DESC LIMIT {}) c \
         LEFT JOIN LATERAL (SELECT sum((1 - s.null_frac) * s.avg_width)::float8 AS width, bool_or(s.null_frac > 0) AS nulls, \
           count(*) AS known FROM pg_stats s WHERE s.schemaname = c.nspname AND s.tablename = c.relname \
           AND NOT s.inherited) w ON true",
        ctx.options.bytes_min,
        ctx.options.estimates_max()
    );
    let rows = ctx.rows(&sql).await?;
    let (mut found, mut unknown) = (Vec::new(), 0);
    for row in &rows {
        let measured = Measured::read(row, 1)?;
        if !row.at::<Option<bool>>(8)?.unwrap_or_default() || measured.rows < 0.0 {
            unknown += 1;
            continue;
        }
        let needed = measured.table_pages();
        let Some(spare) = measured.spare(needed, ctx.options.bytes_min) else { continue };
        let table = text(row, 0)?;
        let size = words::bytes((measured.pages * measured.page) as u64);
        let what = format!("{table} ({size}) has some {} that hold nothing", words::bytes(spare));
        let evidence = vec![format!(
            "an estimate: {} rows need some {} pages, and it has {}",
            words::number(measured.rows as u64),
            words::number(needed as u64),
            words::number(measured.pages as u64)
        )];
        let fix =
            format!("VACUUM FULL {table};  -- locks it; pg_repack does the same beside its users");
        found.push(ctx.finding((Code::DoctorTableBloated, Severity::Hint), what, evidence, fix));
    }
    Ok(judged(ctx, found, rows.len(), unknown, "table"))
}

pub(super) async fn indexes(ctx: &mut Ctx) -> Result<Answer> {
    let sql = format!(
        "SELECT format('%I.%I', c.nspname, c.relname), c.relpages::float8, c.reltuples::float8, w.width, w.nulls, \
         c.indnatts::float8, 90::float8, current_setting('block_size')::float8, w.known = c.indnatts, \
         format('%I.%I', c.nspname, c.tab) \
         FROM (SELECT n.nspname, c.relname, c.relpages, c.reltuples, i.indnatts, i.indrelid, i.indkey, t.relname AS tab \
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid \
           JOIN pg_class t ON t.oid = i.indrelid \
           JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree' WHERE c.relkind = 'i' AND i.indexprs IS NULL \
           AND i.indisvalid AND {USERS} AND c.relpages::bigint * current_setting('block_size')::bigint >= {} \
           ORDER BY c.relpages DESC LIMIT {}) c \
         LEFT JOIN LATERAL (SELECT sum((1 - s.null_frac) * s.avg_width)::float8 AS width, bool_or(s.null_frac > 0) AS nulls, \
           count(*) AS known FROM pg_attribute a JOIN pg_stats s ON s.attname = a.attname \
           WHERE a.attrelid = c.indrelid AND a.attnum = ANY (c.indkey::int2[]) AND s.schemaname = c.nspname \
           AND s.tablename = c.tab AND NOT s.inherited) w ON true",
        ctx.options.bytes_min,
        ctx.options.estimates_max()
    );
    let rows = ctx.rows(&sql).await?;
    let (mut found, mut unknown) = (Vec::new(), 0);
    for row in &rows {
        let measured = Measured::read(row, 1)?;
        if !row.at::<Option<bool>>(8)?.unwrap_or_default() || measured.rows < 0.0 {
            unknown += 1;
            continue;
        }
        let needed = measured.tree_pages();
        let Some(spare) = measured.spare(needed, ctx.options.bytes_min) else { continue };
        let (index, table) = (text(row, 0)?, text(row, 9)?);
        let size = words::bytes((measured.pages * measured.page) as u64);
        let what = format!(
            "{index} on {table} ({size}) has some {} that hold nothing",
            words::bytes(spare)
        );
        let evidence = vec![format!(
            "an estimate: {} entries need some {} pages, and it has {}",
            words::number(measured.rows as u64),
            words::number(needed as u64),
            words::number(measured.pages as u64)
        )];
        let fix = format!("REINDEX INDEX CONCURRENTLY {index};");
        found.push(ctx.finding((Code::DoctorIndexBloated, Severity::Warning), what, evidence, fix));
    }
    Ok(judged(ctx, found, rows.len(), unknown, "index"))
}

fn judged(ctx: &Ctx, found: Vec<crate::Finding>, all: usize, unknown: usize, one: &str) -> Answer {
    let many = if one == "index" { "indexes" } else { "tables" };
    let size = words::bytes(ctx.options.bytes_min);
    if found.is_empty() && all > 0 && unknown == all {
        return Answer::Unknown(format!(
            "no statistics that may be read of {}: ANALYZE, or no right",
            words::count(all, one, many)
        ));
    }
    let known = words::count(all - unknown, one, many);
    ctx.judged(found, format!("{known} of {size} or more, none is half empty (an estimate)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server had them: 1,000,000 rows of (bigint, integer) right after a build.
    #[test]
    fn the_estimate_of_a_fresh_table_is_what_it_has() {
        let measured = Measured {
            pages: 5406.0,
            rows: 1_000_000.0,
            width: 12.0,
            has_nulls: false,
            columns: 2.0,
            fill: 1.0,
            page: 8192.0,
        };
        let needed = measured.table_pages();
        assert!((needed - 5406.0).abs() / 5406.0 < 0.05, "{needed}");
        let tree = Measured { pages: 2745.0, width: 8.0, columns: 1.0, ..measured };
        let needed = tree.tree_pages();
        assert!((needed - 2745.0).abs() / 2745.0 < 0.05, "{needed}");
        assert_eq!(tree.spare(needed, 0), None);
    }
}
