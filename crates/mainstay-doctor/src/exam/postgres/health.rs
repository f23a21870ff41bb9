//! Whether transaction numbers are frozen in time, pages are whole, and the cache answers.

use mainstay_core::{Code, Result};

use super::super::ctx::{Answer, Ctx, text, whole};
use super::super::words;
use super::USERS;
use crate::finding::Severity;

/// The server refuses writes some three million before 2^31.
const END: i64 = 1 << 31;
/// Of all reads, what the cache answers at least in a service that is well.
const HITS_GOOD: f64 = 0.95;
const HITS_BAD: f64 = 0.8;

pub(super) async fn wraparound(ctx: &mut Ctx) -> Result<Answer> {
    let sql = "SELECT age(datfrozenxid)::bigint, mxid_age(datminmxid)::bigint, \
         current_setting('autovacuum_freeze_max_age')::bigint, \
         current_setting('autovacuum_multixact_freeze_max_age')::bigint \
         FROM pg_database WHERE datname = current_database()";
    let rows = ctx.rows(sql).await?;
    let Some(row) = rows.first() else { return Ok(Answer::Unknown("no answer".to_owned())) };
    let (xids, mxids) = (whole(row, 0)?, whole(row, 1)?);
    let mut found = Vec::new();
    for (age, max, what) in
        [(xids, whole(row, 2)?, "transaction"), (mxids, whole(row, 3)?, "multixact")]
    {
        let Some(severity) = severity(age, max) else { continue };
        let mut evidence = vec![format!(
            "autovacuum should have frozen them at {}; writes end at {}",
            words::number(max),
            words::number(END)
        )];
        evidence.extend(oldest(ctx).await?);
        let what = format!("{} {what} numbers are in use, the oldest unfrozen", words::number(age));
        let fix = "VACUUM (FREEZE, VERBOSE);  -- of the tables above, after what keeps old rows has ended".to_owned();
        found.push(ctx.finding((Code::DoctorWraparound, severity), what, evidence, fix));
    }
    let used = words::percent(words::share(xids.max(mxids), END));
    Ok(ctx.judged(found, format!("{used} of the numbers are in use")))
}

/// Twice what autovacuum begins at is a vacuum that does not come through.
fn severity(age: i64, freeze_max: i64) -> Option<Severity> {
    if age >= END / 4 * 3 {
        return Some(Severity::Error);
    }
    (age >= freeze_max.saturating_mul(2).min(END / 2)).then_some(Severity::Warning)
}

async fn oldest(ctx: &mut Ctx) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, c.relname), age(c.relfrozenxid)::bigint FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm', 't') \
         AND (n.nspname = 'pg_catalog' OR {USERS}) ORDER BY 2 DESC LIMIT 3"
    );
    let rows = ctx.rows(&sql).await?;
    let lines = rows
        .iter()
        .map(|row| Ok(format!("{} is {} old", text(row, 0)?, words::number(whole(row, 1)?))));
    lines.collect()
}

pub(super) async fn checksums(ctx: &mut Ctx) -> Result<Answer> {
    let sql = "SELECT current_setting('data_checksums'), \
         (SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database())::bigint";
    let rows = ctx.rows(sql).await?;
    let Some(row) = rows.first() else { return Ok(Answer::Unknown("no answer".to_owned())) };
    if text(row, 0)? == "off" {
        return Ok(Answer::Unknown(
            "data checksums are off: pg_checksums --enable, while the server is stopped".to_owned(),
        ));
    }
    let failures = whole(row, 1)?;
    if failures == 0 {
        return Ok(Answer::Good("no page was damaged".to_owned()));
    }
    let what = format!("{} damaged pages were read", words::number(failures));
    let evidence = vec!["pg_stat_database.checksum_failures".to_owned()];
    let fix = Code::DoctorDataDamaged.fix().to_owned();
    let found = ctx.finding((Code::DoctorDataDamaged, Severity::Error), what, evidence, fix);
    Ok(ctx.judged(vec![found], ""))
}

pub(super) async fn cache(ctx: &mut Ctx) -> Result<Answer> {
    let sql = "SELECT blks_hit::bigint, blks_read::bigint, current_setting('shared_buffers') \
         FROM pg_stat_database WHERE datname = current_database()";
    let rows = ctx.rows(sql).await?;
    let Some(row) = rows.first() else { return Ok(Answer::Unknown("no answer".to_owned())) };
    let (hits, reads, buffers) = (whole(row, 0)?, whole(row, 1)?, text(row, 2)?);
    let share = words::share(hits, hits + reads);
    let seen = format!(
        "{} of {} reads were answered by it",
        words::percent(share),
        words::number(hits + reads)
    );
    if (hits + reads) < ctx.options.cache_reads_min as i64 {
        return Ok(Answer::Unknown(format!("too few reads yet: {}", words::number(hits + reads))));
    }
    if share >= HITS_GOOD {
        return Ok(Answer::Good(seen));
    }
    let sql = "SELECT format('%I.%I', schemaname, relname), \
         (coalesce(heap_blks_read, 0) + coalesce(idx_blks_read, 0))::bigint FROM pg_statio_user_tables \
         ORDER BY 2 DESC LIMIT 3";
    let mut evidence = vec![format!(
        "shared_buffers is {buffers}; what the system's own cache answers counts as read"
    )];
    for row in ctx.rows(sql).await? {
        evidence.push(format!(
            "{} blocks of {} were read",
            words::number(whole(&row, 1)?),
            text(&row, 0)?
        ));
    }
    let severity = if share < HITS_BAD { Severity::Warning } else { Severity::Hint };
    let what = format!("only {seen}").replace(" by it", " by the cache");
    let fix = "ALTER SYSTEM SET shared_buffers = '...';  -- a quarter of the memory is usual; needs a restart".to_owned();
    let found = ctx.finding((Code::DoctorCacheMisses, severity), what, evidence, fix);
    Ok(ctx.judged(vec![found], ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_frozen_are_told_before_the_end() {
        assert_eq!(severity(200_000_000, 200_000_000), None);
        assert_eq!(severity(400_000_000, 200_000_000), Some(Severity::Warning));
        assert_eq!(severity(1_700_000_000, 2_000_000_000), Some(Severity::Error));
        assert_eq!(severity(1_200_000_000, 2_000_000_000), Some(Severity::Warning));
    }
}
