//! Groups of subscribers: how far behind they are, and giving them again what was.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use mainstay_core::Result;
use mainstay_db::AssertSqlSafe;
use serde::Serialize;

use super::stats::{COUNT_MAX, DEAD};
use super::{Admin, time};
use crate::event::{self, From, Replay, queue_of};
use crate::schema::named;
use crate::store::claim::short;

/// How a group of subscribers stands. Counts stop at 100,000.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GroupStats {
    /// Its name. Its queue, to pause it or to look into it, is called `group:NAME`.
    pub name: String,
    /// The events that it wants.
    pub events: Vec<String>,
    /// Nothing of it is begun.
    pub paused: bool,
    /// A replay of it is under way; what that has still to give is not in its lag.
    pub replaying: bool,
    /// Events that it wants and has not ended with, in the outbox or given to it already.
    pub lag: u64,
    /// When the oldest of these was published; one that was given to it already, when it was given.
    pub oldest_at: Option<DateTime<Utc>>,
    /// Deliveries that failed for good.
    pub dead: u64,
}

impl Admin {
    /// The groups of subscribers, by name.
    ///
    /// Errors: JOB-001, and those of a statement.
    pub async fn groups(&self) -> Result<Vec<GroupStats>> {
        const OUTBOX: &str = "SELECT e.name, COUNT(*), MIN(e.created_us) \
             FROM (SELECT id FROM mainstay_outbox ORDER BY id LIMIT 100000) AS o \
             JOIN mainstay_event AS e ON e.id = o.id GROUP BY e.name";
        let groups: Vec<(String, String, Option<i64>)> = self
            .db
            .query("SELECT name, events, replay_from FROM mainstay_group ORDER BY name")
            .all()
            .await
            .map_err(named)?;
        let paused: Vec<(String,)> =
            self.db.query("SELECT name FROM mainstay_queue WHERE paused = 1").all().await?;
        let paused: BTreeSet<String> = paused.into_iter().map(|(name,)| name).collect();
        let outbox: Vec<(String, i64, i64)> = self.db.query(OUTBOX).all().await?;
        let mut out = Vec::with_capacity(groups.len());
        for (name, events, replay_from) in groups {
            let events: Vec<String> = serde_json::from_str(&events).unwrap_or_default();
            let queue = queue_of(&name);
            let (mut lag, given_us) = self.given(&queue).await?;
            let mut oldest_us = given_us;
            for (_, count, published_us) in outbox.iter().filter(|(e, ..)| events.contains(e)) {
                lag += count.unsigned_abs();
                oldest_us = Some(oldest_us.map_or(*published_us, |us| us.min(*published_us)));
            }
            out.push(GroupStats {
                paused: paused.contains(&queue),
                replaying: replay_from.is_some(),
                lag,
                oldest_at: oldest_us.map(time),
                dead: self.count_in(&queue, DEAD).await?,
                name,
                events,
            });
        }
        Ok(out)
    }

    /// How many deliveries of a queue have not ended, and when the oldest was enqueued: numbers only grow.
    /// Looked for in the order in which jobs move, so that one that moves at this moment is met.
    async fn given(&self, queue: &str) -> Result<(u64, Option<i64>)> {
        const TABLES: [&str; 4] =
            ["mainstay_scheduled", "mainstay_parked", "mainstay_ready", "mainstay_handed"];
        let (mut count, mut oldest) = (0_u64, None::<i64>);
        for table in TABLES {
            let sql = format!(
                "SELECT COUNT(*), MIN(id) FROM (SELECT id FROM {table} WHERE queue = $1 LIMIT $2) AS r"
            );
            let query = self.db.query(AssertSqlSafe(sql)).bind(queue).bind(COUNT_MAX);
            let (found, first): (i64, Option<i64>) = query.one().await?;
            count += found.unsigned_abs();
            oldest = oldest.into_iter().chain(first).min();
        }
        let running = self.leased_of(queue).await?;
        count += running.len() as u64;
        let oldest = oldest.into_iter().chain(running).min();
        let Some(id) = oldest else { return Ok((count, None)) };
        let created: Option<(i64,)> = self
            .db
            .query("SELECT created_us FROM mainstay_job WHERE id = $1")
            .bind(id)
            .optional()
            .await?;
        Ok((count, created.map(|(us,)| us)))
    }

    /// Gives a group again what was, as [`event::replay`] does.
    ///
    /// Errors: as there.
    pub async fn replay(&self, group: &str, from: From) -> Result<Replay> {
        let (target, detail) = (&format!("group {group}"), &format!("{from:?}"));
        // Before it begins: once it has, a worker finishes it whatever becomes of this call.
        short(&self.db)
            .run(|tx| async move {
                let sql = "SELECT COUNT(*) FROM mainstay_group \
                     WHERE name = $1 AND replay_from IS NULL";
                let can_begin: i64 = tx.query(sql).bind(group).scalar().await.map_err(named)?;
                if can_begin == 0 {
                    return Ok(());
                }
                self.note(&tx, "replay", target, Some(detail.as_str())).await
            })
            .await?;
        event::replay(&self.db, group, from).await
    }
}
