//! Foreign keys without an index, tables without a key, statistics and deleted rows that nobody looks after.

use mainstay_core::{Code, Result};

use super::super::ctx::{Answer, Ctx, list, real, text, whole};
use super::super::words;
use super::USERS;
use crate::finding::Severity;

/// In a smaller table its absence costs next to nothing yet.
const ROWS_SMALL: i64 = 1_000;
/// From this many changes on statistics are old, if they are a fifth of the rows too.
const CHANGES_MIN: i64 = 10_000;

pub(super) async fn foreign_keys(ctx: &mut Ctx) -> Result<Answer> {
    // The leading columns may come in any order. A partial index serves if it leaves out NULLs alone.
    let sql = format!(
        "SELECT k.conname::text, format('%I.%I', n.nspname, t.relname), \
         (SELECT string_agg(quote_ident(a.attname), chr(31) ORDER BY p.n) FROM unnest(k.conkey) WITH ORDINALITY p(num, n) \
           JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.num), \
         format('%I.%I', fn.nspname, f.relname), t.reltuples::float8, t.relkind = 'p', k.confdeltype::text \
         FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
         JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace \
         WHERE k.contype = 'f' AND k.conparentid = 0 AND {USERS} AND NOT EXISTS ( \
           SELECT 1 FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indisvalid \
           AND i.indnkeyatts >= cardinality(k.conkey) \
           AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey \
           AND (i.indpred IS NULL OR i.indpred::text ~ '^\\{{NULLTEST [^{{]*\\{{VAR [^}}]*\\}} :nulltesttype 1')) \
         ORDER BY t.reltuples DESC LIMIT {}",
        ctx.options.findings_max + 1
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let (name, table, columns) = (text(row, 0)?, text(row, 1)?, list(row, 2)?.join(", "));
        let (other, count, partitioned): (_, _, bool) = (text(row, 3)?, real(row, 4)?, row.at(5)?);
        let what = format!("no index on {table} begins with {columns}, which refers to {other}");
        let size = if count < 0.0 { "a number that nobody has counted".to_owned() } else { words::number(count as u64) };
        let evidence = vec![format!(
            "{name}: each delete in {other}, and each change of its key, reads all of {table} ({size} rows)"
        )];
        let severity = if count >= ROWS_SMALL as f64 { Severity::Warning } else { Severity::Hint };
        let fix = if partitioned {
            format!("CREATE INDEX ON {table} ({columns});  -- first CONCURRENTLY on each partition, so that this only joins them")
        } else {
            format!("CREATE INDEX CONCURRENTLY ON {table} ({columns});")
        };
        Ok(ctx.finding((Code::DoctorForeignKeyUnindexed, severity), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, "each has an index"))
}

pub(super) async fn primary_keys(ctx: &mut Ctx) -> Result<Answer> {
    let sql = format!(
        "SELECT format('%I.%I', n.nspname, t.relname), t.reltuples::float8, \
         EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = t.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL) \
         FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace \
         WHERE t.relkind IN ('r', 'p') AND NOT t.relispartition AND t.relpersistence <> 't' AND {USERS} \
         AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary) \
         AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = t.oid AND d.classid = 'pg_class'::regclass \
           AND d.deptype = 'e') \
         ORDER BY t.reltuples DESC LIMIT {}",
        ctx.options.findings_max + 1
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let table = text(row, 0)?;
        let unique: bool = row.at(2)?;
        let (severity, why) = if unique {
            (Severity::Hint, "it has a unique index, which could become the key")
        } else {
            (Severity::Warning, "two rows that are the same can't be told apart, nor be replicated logically")
        };
        let fix = if unique {
            format!("ALTER TABLE {table} ADD PRIMARY KEY USING INDEX ...;  -- its columns must be NOT NULL")
        } else {
            format!("ALTER TABLE {table} ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;  -- rewrites it under a lock")
        };
        let what = format!("{table} has no primary key");
        Ok(ctx.finding((Code::DoctorKeyMissing, severity), what, vec![why.to_owned()], fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, "each table has one"))
}

pub(super) async fn statistics(ctx: &mut Ctx) -> Result<Answer> {
    if ctx.facts.replica {
        return Ok(Answer::Unknown(
            "a replica has its primary's statistics, and does not know their age".to_owned(),
        ));
    }
    let sql = format!(
        "SELECT format('%I.%I', s.schemaname, s.relname), s.n_live_tup::bigint, s.n_mod_since_analyze::bigint, \
         coalesce(s.last_analyze, s.last_autoanalyze) IS NULL AND c.reltuples <= 0, s.n_dead_tup::bigint, \
         extract(epoch FROM clock_timestamp() - greatest(s.last_analyze, s.last_autoanalyze))::float8 \
         FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid \
         WHERE (coalesce(s.last_analyze, s.last_autoanalyze) IS NULL AND c.reltuples <= 0 AND s.n_live_tup >= {ROWS_SMALL}) \
         OR s.n_mod_since_analyze > greatest({CHANGES_MIN}, s.n_live_tup / 5) \
         OR s.n_dead_tup > greatest({CHANGES_MIN}, s.n_live_tup / 5) \
         ORDER BY s.n_mod_since_analyze DESC LIMIT {}",
        ctx.options.findings_max + 1
    );
    let rows = ctx.rows(&sql).await?;
    let mut found = Vec::new();
    for row in &rows {
        let (table, live, changed) = (text(row, 0)?, whole(row, 1)?, whole(row, 2)?);
        let (never, dead): (bool, i64) = (row.at(3)?, whole(row, 4)?);
        let fix = format!("ANALYZE {table};");
        if never {
            let what = format!("{table} was never analyzed");
            let evidence =
                vec![format!("it has some {} rows, and the planner guesses", words::number(live))];
            found.push(ctx.finding(
                (Code::DoctorStatisticsMissing, Severity::Warning),
                what,
                evidence,
                fix,
            ));
        } else if changed > CHANGES_MIN.max(live / 5) {
            let what = format!("the statistics of {table} are old");
            let age = words::time(real(row, 5)?);
            let evidence = vec![format!(
                "{} changes of {} rows since they were made, {age} ago",
                words::number(changed),
                words::number(live)
            )];
            found.push(ctx.finding(
                (Code::DoctorStatisticsMissing, Severity::Hint),
                what,
                evidence,
                fix,
            ));
        }
        if dead > CHANGES_MIN.max(live / 5) {
            let what =
                format!("{} deleted rows of {table} were not cleared away", words::number(dead));
            let evidence =
                vec![format!("beside {} that live; each scan reads them too", words::number(live))];
            let fix = format!(
                "VACUUM (ANALYZE) {table};\nALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.05);"
            );
            found.push(ctx.finding(
                (Code::DoctorTableBloated, Severity::Hint),
                what,
                evidence,
                fix,
            ));
        }
    }
    Ok(ctx.judged(found, "each table of a size was analyzed"))
}
