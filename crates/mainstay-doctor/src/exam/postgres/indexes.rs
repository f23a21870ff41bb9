//! Indexes that were left unfinished, that nobody uses, and that seem to be missing.

use mainstay_core::{Code, Result};

use super::super::ctx::{Answer, Ctx, real, text, whole};
use super::super::words;
use super::USERS;
use crate::finding::Severity;

/// A table that is read so often from end to end is.
const SCANS_MIN: i64 = 100;
/// Smaller unused ones cost next to nothing.
const UNUSED_BYTES_MIN: u64 = 1 << 20;

pub(super) async fn invalid(ctx: &mut Ctx) -> Result<Answer> {
    // One that is being built is not valid yet either.
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', tn.nspname, t.relname), c.relname::text, \
         c.relpages * current_setting('block_size')::bigint, i.indisready \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i' \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace \
         WHERE NOT i.indisvalid AND {USERS} \
         AND NOT EXISTS (SELECT 1 FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid) \
         ORDER BY c.relpages DESC LIMIT {}",
        ctx.options.findings_max + 1
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let (index, table, bare) = (text(row, 0)?, text(row, 1)?, text(row, 2)?);
        let what = format!("{index} on {table} is invalid");
        let written = if row.at(4)? { "each write to the table pays for it" } else { "it is not even written to" };
        let size = words::bytes(whole(row, 3)?.max(0) as u64);
        let evidence = vec![
            format!("left by a CREATE INDEX or REINDEX CONCURRENTLY that failed; no statement uses it; {written}"),
            format!("{size} in the catalogue"),
        ];
        // What a REINDEX was building, or was replacing: the index itself has another name.
        let rest = bare.trim_end_matches(|c: char| c.is_ascii_digit());
        let fix = if rest.ends_with("_ccnew") || rest.ends_with("_ccold") {
            format!("DROP INDEX CONCURRENTLY {index};")
        } else {
            format!("REINDEX INDEX CONCURRENTLY {index};  -- or DROP INDEX CONCURRENTLY {index};")
        };
        Ok(ctx.finding((Code::DoctorIndexInvalid, Severity::Warning), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, "all are valid"))
}

/// Whether the counters are young, and say nothing of what is never used.
fn too_young(ctx: &Ctx) -> Option<Answer> {
    let min = ctx.options.observed_min;
    (ctx.facts.observed_s < min.as_secs_f64()).then(|| {
        let observed = words::time(ctx.facts.observed_s);
        Answer::Unknown(format!(
            "the counters are {observed} old; they tell after {}",
            words::duration(min)
        ))
    })
}

pub(super) async fn unused(ctx: &mut Ctx) -> Result<Answer> {
    if let Some(young) = too_young(ctx) {
        return Ok(young);
    }
    let bytes_min = UNUSED_BYTES_MIN.min(ctx.options.bytes_min);
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', s.schemaname, s.relname), \
         c.relpages * current_setting('block_size')::bigint, \
         (t.n_tup_ins + t.n_tup_upd + t.n_tup_del)::bigint \
         FROM pg_stat_user_indexes s JOIN pg_index i ON i.indexrelid = s.indexrelid \
         JOIN pg_class c ON c.oid = s.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_stat_user_tables t ON t.relid = s.relid \
         WHERE s.idx_scan = 0 AND i.indisvalid AND NOT i.indisunique AND NOT i.indisexclusion \
         AND NOT i.indisreplident AND c.relpages * current_setting('block_size')::bigint >= {bytes_min} \
         AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid) \
         ORDER BY c.relpages DESC LIMIT {}",
        ctx.options.findings_max + 1
    );
    let observed = words::time(ctx.facts.observed_s);
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let (index, table) = (text(row, 0)?, text(row, 1)?);
        let size = words::bytes(whole(row, 2)?.max(0) as u64);
        let what = format!("{index} on {table} ({size}) was never used in {observed}");
        let writes = words::number(whole(row, 3)?);
        let evidence = vec![
            format!("{writes} rows of the table were written meanwhile"),
            "each server counts for itself: a replica may use it".to_owned(),
        ];
        let fix = format!("DROP INDEX CONCURRENTLY {index};");
        Ok(ctx.finding((Code::DoctorIndexUnused, Severity::Warning), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, format!("each of a size was used in {observed}")))
}

pub(super) async fn missing(ctx: &mut Ctx) -> Result<Answer> {
    let rows_min = ctx.options.rows_min;
    let sql = format!(
        "SELECT format('%I.%I', schemaname, relname), seq_scan::bigint, \
         (seq_tup_read / greatest(seq_scan, 1))::bigint, coalesce(idx_scan, 0)::bigint, n_live_tup::bigint, \
         (seq_tup_read)::float8 \
         FROM pg_stat_user_tables WHERE seq_scan >= {SCANS_MIN} AND n_live_tup >= {rows_min} \
         AND seq_tup_read / greatest(seq_scan, 1) >= {rows_min} AND seq_scan > coalesce(idx_scan, 0) / 10 \
         ORDER BY seq_tup_read DESC LIMIT {}",
        ctx.options.findings_max + 1
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let table = text(row, 0)?;
        let (scans, each) = (words::number(whole(row, 1)?), words::number(whole(row, 2)?));
        let what = format!("{table} was read from end to end {scans} times, {each} rows each");
        let evidence = vec![
            format!("it was read by an index {} times", words::number(whole(row, 3)?)),
            format!("it has {} rows; {} were read so", words::number(whole(row, 4)?), words::number(real(row, 5)? as u64)),
        ];
        let fix = "find the statement (pg_stat_statements, or the service's own doctor), then: mainstay explain SQL".to_owned();
        Ok(ctx.finding((Code::DoctorIndexMissing, Severity::Hint), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(
        found,
        format!("no table of {} rows is read from end to end often", words::number(rows_min)),
    ))
}
