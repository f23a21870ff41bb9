//! Settings with a clear better value. What depends on the machine or the load is not judged.

use std::collections::HashMap;

use mainstay_core::{Code, Result};

use super::super::ctx::{Answer, Ctx, text, whole};
use super::super::words;
use crate::finding::{Finding, Severity};

use Severity::{Error, Hint};

/// A setting, the value that is told of, how bad, why, and what to set.
const RULES: &[(&str, &str, Severity, &str, &str)] = &[
    ("fsync", "off", Error, "a crash of the machine may destroy the whole database", "on"),
    (
        "full_page_writes",
        "off",
        Error,
        "a crash of the machine may leave pages half written, for good",
        "on",
    ),
    (
        "synchronous_commit",
        "off",
        Hint,
        "a crash may lose what was committed in the last moments",
        "on",
    ),
    ("autovacuum", "off", Error, "nothing clears deleted rows away or freezes old ones", "on"),
    ("track_counts", "off", Error, "autovacuum does not know where to work", "on"),
    ("zero_damaged_pages", "on", Error, "damaged pages are emptied in silence", "off"),
    (
        "idle_in_transaction_session_timeout",
        "0",
        Hint,
        "a transaction that was forgotten keeps its locks for ever",
        "'60s'",
    ),
    ("statement_timeout", "0", Hint, "a statement may run for ever", "'30s'"),
    ("log_lock_waits", "off", Hint, "who waits for a lock leaves no trace in the log", "on"),
    (
        "track_io_timing",
        "off",
        Hint,
        "EXPLAIN (BUFFERS) and pg_stat_statements can't tell what the disk took",
        "on",
    ),
    (
        "random_page_cost",
        "4",
        Hint,
        "that is for turning disks: on SSDs the planner shuns indexes",
        "1.1",
    ),
];

/// The default, in blocks of 8 kB.
const BUFFERS_DEFAULT: i64 = 16_384;
const CONNECTIONS_MANY: i64 = 500;
/// Temporary files are worth a word from this much on.
const SPILLED: i64 = 1 << 30;

pub(super) async fn settings(ctx: &mut Ctx) -> Result<Answer> {
    // reset_val: what holds for sessions that set nothing, as ours does.
    let sql = "SELECT name, coalesce(reset_val, '') FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', \
         'synchronous_commit', 'autovacuum', 'track_counts', 'zero_damaged_pages', 'statement_timeout', \
         'idle_in_transaction_session_timeout', 'log_lock_waits', 'track_io_timing', 'random_page_cost', \
         'shared_buffers', 'max_connections', 'work_mem')";
    let mut values = HashMap::new();
    for row in ctx.rows(sql).await? {
        values.insert(text(&row, 0)?, text(&row, 1)?);
    }
    let mut found = Vec::new();
    for (name, value, severity, why, better) in RULES {
        if values.get(*name).is_some_and(|now| now == value) {
            found.push(told(ctx, name, value, *severity, why, better));
        }
    }
    found.extend(sized(ctx, &values).await?);
    Ok(ctx.judged(found, "nothing has a clear better value"))
}

fn told(
    ctx: &Ctx,
    name: &str,
    value: &str,
    severity: Severity,
    why: &str,
    better: &str,
) -> Finding {
    let code = if matches!(
        name,
        "fsync" | "full_page_writes" | "synchronous_commit" | "zero_damaged_pages"
    ) {
        Code::DoctorSettingUnsafe
    } else {
        Code::DoctorSettingPoor
    };
    let fix = format!("ALTER SYSTEM SET {name} = {better}; SELECT pg_reload_conf();");
    ctx.finding((code, severity), format!("{name} is {value}"), vec![why.to_owned()], fix)
}

/// What is judged by what the database has and does.
async fn sized(ctx: &mut Ctx, values: &HashMap<String, String>) -> Result<Vec<Finding>> {
    let sql = "SELECT (SELECT sum(relpages)::bigint FROM pg_class), temp_files::bigint, temp_bytes::bigint \
         FROM pg_stat_database WHERE datname = current_database()";
    let rows = ctx.rows(sql).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let (pages, files, spilled) = (whole(row, 0)?, whole(row, 1)?, whole(row, 2)?);
    let of = |name: &str| values.get(name).and_then(|value| value.parse::<i64>().ok()).unwrap_or(0);
    let poor = |severity, what, why: String, fix: &str| {
        ctx.finding((Code::DoctorSettingPoor, severity), what, vec![why], fix.to_owned())
    };
    let mut found = Vec::new();
    if of("shared_buffers") == BUFFERS_DEFAULT && pages > BUFFERS_DEFAULT {
        let size = words::bytes(pages.max(0) as u64 * 8192);
        found.push(poor(
            Hint,
            "shared_buffers is 128 MB, as it comes".to_owned(),
            format!("the database has {size}"),
            "ALTER SYSTEM SET shared_buffers = '...';  -- a quarter of the memory is usual; needs a restart",
        ));
    }
    if of("max_connections") > CONNECTIONS_MANY {
        found.push(poor(
            Hint,
            format!("max_connections is {}", of("max_connections")),
            "each is a process, and each snapshot looks at all of them".to_owned(),
            "put PgBouncer before the server, or give each process a smaller pool",
        ));
    }
    if spilled > SPILLED {
        found.push(poor(
            Hint,
            format!("work_mem is {} kB, and {} were sorted on disk", of("work_mem"), words::bytes(spilled as u64)),
            format!("{} temporary files since the counters began", words::number(files)),
            "ALTER ROLE ... SET work_mem = '64MB';  -- of the role that sorts; it is for each sort of each session",
        ));
    }
    Ok(found)
}
