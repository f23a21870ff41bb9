//! Schedules: the time of the next run is a row, which whoever leads moves on in the same transaction
//! that enqueues the job. So each run is enqueued once across the fleet, whoever leads when.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use mainstay_core::Result;
use mainstay_db::Db;

use crate::cron::Schedule;
use crate::store::claim::short;
use crate::store::enqueue::{self, New};
use crate::store::{Sql, now};

/// The header that tells for when a job was planned, RFC 3339.
pub(crate) const PLANNED_FOR: &str = "mainstay-planned-for";
/// At most this long between two looks, however far the next run is: another process may have changed it.
const LOOK_MAX: Duration = Duration::from_secs(30);

/// A schedule of a worker.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) schedule: Schedule,
    pub(crate) make: Arc<dyn Fn() -> Result<New> + Send + Sync>,
}

async fn now_of(db: &Db) -> Result<DateTime<Utc>> {
    const NOW: Sql = Sql {
        sqlite: concat!("SELECT ", now!(sqlite)),
        postgres: concat!("SELECT ", now!(postgres)),
        mysql: concat!("SELECT ", now!(mysql)),
    };
    let us: i64 = db.query(NOW.on(db.engine())).scalar().await?;
    Ok(DateTime::from_timestamp_micros(us).unwrap_or_default())
}

/// Makes the schedules known; one that was changed is planned anew.
pub(crate) async fn plan(db: &Db, schedules: &[Planned]) -> Result<()> {
    if schedules.is_empty() {
        return Ok(());
    }
    let now = now_of(db).await?;
    for planned in schedules {
        let Some(next) = planned.schedule.next_after(now) else { continue };
        let (name, spec, next_us) =
            (planned.name.as_str(), &planned.schedule.spec(), next.timestamp_micros());
        short(db)
            .run(|tx| async move {
                let known: Option<(String,)> = tx
                    .query("SELECT spec FROM mainstay_cron WHERE name = $1")
                    .bind(name)
                    .optional()
                    .await?;
                let sql = match known {
                    Some((known,)) if known == *spec => return Ok(()),
                    Some(_) => "UPDATE mainstay_cron SET spec = $2, next_us = $3 WHERE name = $1",
                    None => "INSERT INTO mainstay_cron (name, spec, next_us) VALUES ($1, $2, $3)",
                };
                tx.query(sql).bind(name).bind(spec.as_str()).bind(next_us).execute().await?;
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// Enqueues what is due; tells in how long the next one is.
pub(crate) async fn run(db: &Db, schedules: &[Planned]) -> Result<Duration> {
    if schedules.is_empty() {
        return Ok(LOOK_MAX);
    }
    let now = now_of(db).await?;
    let rows: Vec<(String, String, i64)> =
        db.query("SELECT name, spec, next_us FROM mainstay_cron").all().await?;
    let rows: HashMap<String, (String, i64)> =
        rows.into_iter().map(|(name, spec, next)| (name, (spec, next))).collect();
    let mut wait = LOOK_MAX;
    for planned in schedules {
        let Some((spec, next_us)) = rows.get(&planned.name) else { continue };
        // Another version of the worker may have another schedule of that name: the latest one to lead
        // has planned it.
        if *spec != planned.schedule.spec() {
            continue;
        }
        let next = DateTime::from_timestamp_micros(*next_us).unwrap_or_default();
        let next = if next <= now { run_one(db, planned, next, now).await? } else { next };
        wait = wait.min((next - now).to_std().unwrap_or_default());
    }
    Ok(wait)
}

async fn run_one(
    db: &Db,
    planned: &Planned,
    next: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>> {
    let due = planned.schedule.due(next, now);
    let mut jobs = Vec::with_capacity(due.runs.len());
    for time in &due.runs {
        let mut new = (planned.make)()?;
        new.options.headers.insert(PLANNED_FOR.to_owned(), time.to_rfc3339());
        jobs.push(new);
    }
    let (jobs, name, after) = (&jobs, planned.name.as_str(), due.next.timestamp_micros());
    short(db)
        .run(|tx| async move {
            let moved = tx
                .query("UPDATE mainstay_cron SET next_us = $3, last_us = $2 WHERE name = $1 AND next_us = $2")
                .bind(name)
                .bind(next.timestamp_micros())
                .bind(after);
            if moved.execute().await?.rows_affected() == 1 {
                enqueue::enqueue(&tx, jobs.clone()).await?;
            }
            Ok(())
        })
        .await?;
    Ok(due.next)
}
