//! Replication slots that retain WAL, and replicas that are behind.

use mainstay_core::{Code, Result};
use mainstay_db::Engine;

use super::super::ctx::{Answer, Ctx, real, text, whole};
use super::super::words;
use crate::finding::Severity;
use crate::guard;

/// From this on a disk may be full within hours.
const RETAINED_ERROR: i64 = 10 << 30;
/// Four segments: less is retained by any slot.
const RETAINED_WARNING: i64 = 64 << 20;
/// A replica that is behind by more has not caught up within a moment.
const BEHIND: i64 = 256 << 20;
const HERE: &str =
    "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END";

pub(super) async fn slots(ctx: &mut Ctx) -> Result<Answer> {
    let status = if ctx.facts.number >= 130_000 { "coalesce(wal_status, '')" } else { "''" };
    let sql = format!(
        "SELECT slot_name::text, slot_type, active, {status}, \
         coalesce(pg_wal_lsn_diff({HERE}, restart_lsn), 0)::bigint, count(*) OVER () \
         FROM pg_replication_slots ORDER BY 5 DESC LIMIT {}",
        ctx.options.findings_max
    );
    let mut found = Vec::new();
    let mut all = 0;
    for row in ctx.rows(&sql).await? {
        let (name, kind, status) = (text(&row, 0)?, text(&row, 1)?, text(&row, 3)?);
        let (active, bytes): (bool, i64) = (row.at(2)?, whole(&row, 4)?);
        all = whole(&row, 5)?;
        let lost = status == "lost";
        if !lost && (bytes < RETAINED_WARNING || active && bytes < RETAINED_ERROR) {
            continue;
        }
        let retained = words::bytes(bytes.max(0) as u64);
        let reads = if active { "is read slowly" } else { "nobody reads" };
        let (severity, what) = if lost {
            (Severity::Error, format!("the slot {name} has lost WAL that its reader needs"))
        } else {
            let severity =
                if bytes >= RETAINED_ERROR { Severity::Error } else { Severity::Warning };
            (severity, format!("the slot {name} retains {retained} of WAL, and {reads} it"))
        };
        let what = what.replace("is read slowly it", "is read slowly");
        let mut evidence = vec![format!("{kind}, wal_status {status}")];
        if !active {
            evidence.push("a logical slot also keeps deleted rows of the catalogue".to_owned());
            evidence.retain(|line| kind == "logical" || !line.starts_with("a logical"));
        }
        let fix = format!(
            "SELECT pg_drop_replication_slot({});  -- unless its reader comes back\n\
             ALTER SYSTEM SET max_slot_wal_keep_size = '10GB';",
            guard::quote(Engine::Postgres, &name)
        );
        found.push(ctx.finding((Code::DoctorSlotRetains, severity), what, evidence, fix));
    }
    let good =
        if all == 0 { "there is none".to_owned() } else { format!("{all}, none retains much") };
    Ok(ctx.judged(found, good))
}

pub(super) async fn lag(ctx: &mut Ctx) -> Result<Answer> {
    if ctx.facts.replica {
        return own(ctx).await;
    }
    if !ctx.facts.sees_sessions {
        return Ok(Answer::Unknown("no right to see replicas: GRANT pg_monitor".to_owned()));
    }
    let sql = format!(
        "SELECT coalesce(nullif(application_name, ''), client_addr::text, '?'), coalesce(state, '?'), \
         extract(epoch FROM coalesce(replay_lag, flush_lag))::float8, \
         pg_wal_lsn_diff({HERE}, coalesce(replay_lsn, flush_lsn, sent_lsn))::bigint, count(*) OVER () \
         FROM pg_stat_replication ORDER BY 4 DESC LIMIT {}",
        ctx.options.findings_max
    );
    let mut found = Vec::new();
    let mut all = 0;
    for row in ctx.rows(&sql).await? {
        let (name, state, seconds) = (text(&row, 0)?, text(&row, 1)?, real(&row, 2)?);
        let bytes = whole(&row, 3)?;
        all = whole(&row, 4)?;
        if seconds < ctx.options.replica_lag_max.as_secs_f64() && bytes < BEHIND {
            continue;
        }
        let behind = words::bytes(bytes.max(0) as u64);
        let what = format!("the replica {name} is behind by {behind} of WAL");
        let evidence = vec![format!("{state}; its last answer took {}", words::time(seconds))];
        let fix = Code::DoctorReplicaLags.fix().to_owned();
        found.push(ctx.finding((Code::DoctorReplicaLags, Severity::Warning), what, evidence, fix));
    }
    let good =
        if all == 0 { "there is no replica".to_owned() } else { format!("{all} follow closely") };
    Ok(ctx.judged(found, good))
}

/// Of the replica that is examined: how old what it shows is, unless it has replayed all that came.
async fn own(ctx: &mut Ctx) -> Result<Answer> {
    let sql = "SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
         ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END::float8, \
         coalesce(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)::bigint";
    let rows = ctx.rows(sql).await?;
    let Some(row) = rows.first() else { return Ok(Answer::Unknown("no answer".to_owned())) };
    let (seconds, bytes) = (real(row, 0)?, whole(row, 1)?);
    if seconds < ctx.options.replica_lag_max.as_secs_f64() && bytes < BEHIND {
        return Ok(Answer::Good(format!("this replica is behind by {}", words::time(seconds))));
    }
    let what = format!("this replica is behind by {}", words::time(seconds));
    let evidence = vec![format!("{} have come and are not replayed", words::bytes(bytes as u64))];
    let fix = Code::DoctorReplicaLags.fix().to_owned();
    let found = ctx.finding((Code::DoctorReplicaLags, Severity::Warning), what, evidence, fix);
    Ok(ctx.judged(vec![found], ""))
}
