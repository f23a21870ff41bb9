//! Who is connected, for how long transactions are open, and who waits for whom.

use mainstay_core::{Code, Result};
use mainstay_db::{Engine, Row};

use super::super::ctx::{Answer, Ctx, real, text, whole};
use super::super::words;
use crate::finding::{Finding, Severity};
use crate::guard;

/// From this share of connections on it is worth a word.
const NEARLY_FULL: f64 = 0.8;
const FULL: f64 = 0.9;
/// Waiting sessions that are looked at.
const WAITING_MAX: i64 = 50;
const NO_RIGHT: &str = "no right to see others' sessions: GRANT pg_monitor TO the doctor's role";

pub(super) async fn connections(ctx: &mut Ctx) -> Result<Answer> {
    let sql = "SELECT coalesce(usename::text, '?'), coalesce(nullif(application_name, ''), '?'), coalesce(state, '?'), \
         count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
         GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT 5";
    let mut evidence = Vec::new();
    for row in ctx.rows(sql).await? {
        let (user, application, state) = (text(&row, 0)?, text(&row, 1)?, text(&row, 2)?);
        evidence.push(format!("{} of {user} ({application}), {state}", whole(&row, 3)?));
    }
    let (used, max) = (ctx.facts.connections, ctx.facts.connections_max);
    let share = words::share(used, max);
    let seen = format!("{used} of {max} in use");
    if share < NEARLY_FULL {
        return Ok(Answer::Good(seen));
    }
    let severity = if share < FULL { Severity::Warning } else { Severity::Error };
    let what = format!("{used} of {max} connections are in use");
    let fix = Code::DoctorConnectionsFull.fix().to_owned();
    let found = ctx.finding((Code::DoctorConnectionsFull, severity), what, evidence, fix);
    Ok(Answer::Found(seen, vec![found]))
}

pub(super) async fn transactions(ctx: &mut Ctx) -> Result<Answer> {
    if !ctx.facts.sees_sessions {
        return Ok(Answer::Unknown(NO_RIGHT.to_owned()));
    }
    let sql = format!(
        "SELECT pid::bigint, coalesce(usename::text, '?'), coalesce(nullif(application_name, ''), '?'), \
         coalesce(state, '?'), extract(epoch FROM clock_timestamp() - xact_start)::float8, \
         extract(epoch FROM clock_timestamp() - state_change)::float8, left(query, 1000), \
         backend_xmin IS NOT NULL OR backend_xid IS NOT NULL, wait_event_type = 'Lock' \
         FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
         AND backend_type = 'client backend' \
         AND xact_start < clock_timestamp() - make_interval(secs => {}) ORDER BY xact_start LIMIT {}",
        ctx.options.transaction_max.as_secs_f64(),
        ctx.options.findings_max
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| open(ctx, row)).collect::<Result<Vec<_>>>()?;
    let max = words::duration(ctx.options.transaction_max);
    Ok(ctx.judged(found, format!("none is open for more than {max}")))
}

fn open(ctx: &Ctx, row: &Row) -> Result<Finding> {
    let (pid, user, application) = (whole(row, 0)?, text(row, 1)?, text(row, 2)?);
    let (state, age, since) =
        (text(row, 3)?, words::time(real(row, 4)?), words::time(real(row, 5)?));
    let idle = state.starts_with("idle in transaction");
    let what = if idle {
        format!("a transaction of {user} ({application}) is open for {age}, idle for {since}")
    } else {
        let does = if row.at::<Option<bool>>(8)?.unwrap_or_default() {
            "waits for a lock"
        } else {
            "works"
        };
        format!("a transaction of {user} ({application}) is open for {age}, and {does}")
    };
    let mut evidence = vec![
        format!("process {pid}, {state}"),
        format!("its last statement: {}", words::statement(&text(row, 6)?, Engine::Postgres)),
    ];
    if row.at::<Option<bool>>(7)?.unwrap_or_default() {
        evidence.push("no row that was deleted since can be cleared away".to_owned());
    }
    let mut fix = format!("SELECT pg_terminate_backend({pid});");
    if idle {
        let role = Engine::Postgres.quote(&user);
        fix += &format!("\nALTER ROLE {role} SET idle_in_transaction_session_timeout = '60s';");
    }
    Ok(ctx.finding((Code::DoctorTransactionLong, Severity::Warning), what, evidence, fix))
}

pub(super) async fn prepared(ctx: &mut Ctx) -> Result<Answer> {
    let sql = format!(
        "SELECT gid, owner::text, extract(epoch FROM clock_timestamp() - prepared)::float8 FROM pg_prepared_xacts \
         WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => {}) \
         ORDER BY prepared LIMIT {}",
        ctx.options.transaction_max.as_secs_f64(),
        ctx.options.findings_max
    );
    let rows = ctx.rows(&sql).await?;
    let found = rows.iter().map(|row| {
        let gid = text(row, 0)?;
        let what = format!(
            "{} of {} is prepared for {}",
            guard::quote(Engine::Postgres, &gid),
            text(row, 1)?,
            words::time(real(row, 2)?)
        );
        let evidence =
            vec!["it keeps its locks, and keeps deleted rows from being cleared away".to_owned()];
        let fix = format!(
            "ROLLBACK PREPARED {};  -- or COMMIT PREPARED",
            guard::quote(Engine::Postgres, &gid)
        );
        Ok(ctx.finding((Code::DoctorTransactionPrepared, Severity::Warning), what, evidence, fix))
    });
    let found = found.collect::<Result<Vec<_>>>()?;
    Ok(ctx.judged(found, "none was left"))
}

pub(super) async fn locks(ctx: &mut Ctx) -> Result<Answer> {
    if !ctx.facts.sees_sessions {
        return Ok(Answer::Unknown(NO_RIGHT.to_owned()));
    }
    // Who waits is told by the view; whom for is asked of those alone, as it stops the lock manager for a moment.
    let sql = format!(
        "WITH w AS MATERIALIZED (SELECT pid, query, extract(epoch FROM clock_timestamp() - query_start)::float8 AS s \
         FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
         AND query_start < clock_timestamp() - make_interval(secs => {}) ORDER BY query_start LIMIT {WAITING_MAX}) \
         SELECT b.pid::bigint, coalesce(b.usename::text, '?'), coalesce(nullif(b.application_name, ''), '?'), \
         coalesce(b.state, '?'), left(b.query, 1000), w.pid::bigint, left(w.query, 1000), w.s, \
         b.wait_event_type = 'Lock' \
         FROM w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS by(pid) \
         JOIN pg_stat_activity b ON b.pid = by.pid ORDER BY b.pid, w.s DESC",
        ctx.options.lock_wait_max.as_secs_f64()
    );
    let mut found: Vec<(i64, usize, Finding)> = Vec::new();
    for row in ctx.rows(&sql).await? {
        let pid = whole(&row, 0)?;
        // Who waits itself is not the cause; a deadlock is the server's to end.
        if row.at::<Option<bool>>(8)?.unwrap_or_default() {
            continue;
        }
        let waits = format!(
            "process {} waits for {}: {}",
            whole(&row, 5)?,
            words::time(real(&row, 7)?),
            words::statement(&text(&row, 6)?, Engine::Postgres)
        );
        match found.iter_mut().find(|(other, ..)| *other == pid) {
            Some((_, waiting, finding)) => {
                *waiting += 1;
                finding.evidence.push(waits);
            }
            None => found.push((pid, 1, blocker(ctx, &row, waits)?)),
        }
    }
    let found = found.into_iter().map(|(_, waiting, mut finding)| {
        finding.what += &words::count(waiting, "session", "sessions");
        finding
    });
    let found = found.collect();
    let max = words::duration(ctx.options.lock_wait_max);
    Ok(ctx.judged(found, format!("nobody waits for more than {max}")))
}

fn blocker(ctx: &Ctx, row: &Row, waits: String) -> Result<Finding> {
    let (pid, user, application) = (whole(row, 0)?, text(row, 1)?, text(row, 2)?);
    let what = format!("process {pid} of {user} ({application}) keeps a lock from ");
    let last = words::statement(&text(row, 4)?, Engine::Postgres);
    let evidence = vec![format!("process {pid}, {}: {last}", text(row, 3)?), waits];
    let fix = format!("SELECT pg_terminate_backend({pid});");
    Ok(ctx.finding((Code::DoctorLockBlocking, Severity::Error), what, evidence, fix))
}
