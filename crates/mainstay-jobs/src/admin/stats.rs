//! How everything stands, in counts that stay cheap: each stops at 100,000.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use mainstay_core::Result;
use serde::Serialize;

use super::{Admin, time};
use crate::schema::named;
use crate::store::{Sql, now};

/// Where counting stops.
pub(super) const COUNT_MAX: i64 = 100_000;

/// What is dead of a queue.
pub(super) const DEAD: &str = "SELECT COUNT(*) FROM (SELECT id FROM mainstay_finished WHERE queue = $1 AND state = 3 LIMIT $2) AS r";

/// How everything stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// The queues, by name; those of groups are called `group:NAME`.
    pub queues: Vec<QueueStats>,
    /// The workers that are there.
    pub workers: Vec<WorkerStats>,
    /// Published events that were not given to their groups yet.
    pub outbox: u64,
    /// The position of the last event that was.
    pub head: i64,
}

/// How a queue stands. Counts stop at 100,000.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct QueueStats {
    /// Its name.
    pub name: String,
    /// Nothing of it is begun.
    pub paused: bool,
    /// May run now.
    pub ready: u64,
    /// Run later, those that are tried again among them.
    pub scheduled: u64,
    /// Of the first 100,000 of these, those that have failed before.
    pub retrying: u64,
    /// Wait for a key.
    pub parked: u64,
    /// Claimed by workers.
    pub running: u64,
    /// Given to a broker.
    pub handed: u64,
    /// Failed for good.
    pub dead: u64,
    /// When the oldest that may run now was enqueued.
    pub oldest_ready_at: Option<DateTime<Utc>>,
}

/// How a worker stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerStats {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its queues.
    pub queues: Vec<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Jobs that it has.
    pub running: u64,
    /// It was told to drain.
    pub draining: bool,
}

impl Admin {
    /// How everything stands.
    ///
    /// Errors: JOB-001, and those of a statement.
    pub async fn stats(&self) -> Result<Stats> {
        const NOW: Sql = Sql {
            sqlite: concat!("SELECT ", now!(sqlite)),
            postgres: concat!("SELECT ", now!(postgres)),
            mysql: concat!("SELECT ", now!(mysql)),
        };
        let now_us: i64 = self.db.query(NOW.on(self.db.engine())).scalar().await?;
        let leases: Vec<(i64, String, String)> = self
            .db
            .query("SELECT worker, queue, ids FROM mainstay_lease ORDER BY id LIMIT 10000")
            .all()
            .await
            .map_err(named)?;
        let mut by_queue: HashMap<String, u64> = HashMap::new();
        let mut by_worker: HashMap<i64, u64> = HashMap::new();
        for (worker, queue, ids) in leases {
            let count = serde_json::from_str::<Vec<i64>>(&ids).unwrap_or_default().len() as u64;
            *by_queue.entry(queue).or_default() += count;
            *by_worker.entry(worker).or_default() += count;
        }
        let mut queues = Vec::new();
        for (name, paused) in self.names(&by_queue).await? {
            let running = by_queue.get(&name).copied().unwrap_or_default();
            queues.push(self.queue(name, paused, running).await?);
        }
        let outbox: i64 = self
            .db
            .query("SELECT COUNT(*) FROM (SELECT id FROM mainstay_outbox LIMIT 100000) AS o")
            .scalar()
            .await?;
        let head: Option<i64> =
            self.db.query("SELECT MAX(position) FROM mainstay_log").scalar().await?;
        Ok(Stats {
            at: time(now_us),
            queues,
            workers: self.workers(&by_worker).await?,
            outbox: outbox.unsigned_abs(),
            head: head.unwrap_or_default(),
        })
    }

    /// Every queue that is known, or has something.
    async fn names(&self, leased: &HashMap<String, u64>) -> Result<BTreeMap<String, bool>> {
        let known: Vec<(String, i16)> =
            self.db.query("SELECT name, paused FROM mainstay_queue").all().await?;
        let mut out: BTreeMap<String, bool> =
            known.into_iter().map(|(name, paused)| (name, paused != 0)).collect();
        let mut found: BTreeSet<String> = leased.keys().cloned().collect();
        // One look in the index a queue, however much is in it.
        let mut after = String::new();
        while let Some((name,)) = self
            .db
            .query("SELECT queue FROM mainstay_ready WHERE queue > $1 ORDER BY queue LIMIT 1")
            .bind(after.as_str())
            .optional::<(String,)>()
            .await?
        {
            after.clone_from(&name);
            found.insert(name);
        }
        let later: Vec<(String,)> = self
            .db
            .query("SELECT DISTINCT queue FROM (SELECT queue FROM mainstay_scheduled LIMIT 100000) AS s")
            .all()
            .await?;
        found.extend(later.into_iter().map(|(name,)| name));
        for name in found {
            out.entry(name).or_default();
        }
        Ok(out)
    }

    async fn queue(&self, name: String, paused: bool, running: u64) -> Result<QueueStats> {
        const SCHEDULED: &str = "SELECT COUNT(*) FROM (SELECT id FROM mainstay_scheduled WHERE queue = $1 LIMIT $2) AS r";
        const RETRYING: &str = "SELECT COUNT(*) FROM (SELECT id FROM mainstay_scheduled WHERE queue = $1 LIMIT $2) AS r \
             JOIN mainstay_job AS j ON j.id = r.id WHERE j.attempt > 0";
        let count = async |sql: &'static str| self.count_in(&name, sql).await;
        let oldest: Option<i64> = self
            .db
            .query(
                "SELECT MIN(j.created_us) FROM (SELECT id FROM mainstay_ready WHERE queue = $1 \
                 ORDER BY lane, priority, id LIMIT 1000) AS r JOIN mainstay_job AS j ON j.id = r.id",
            )
            .bind(name.as_str())
            .scalar()
            .await?;
        Ok(QueueStats {
            paused,
            ready: count("SELECT COUNT(*) FROM (SELECT id FROM mainstay_ready WHERE queue = $1 LIMIT $2) AS r").await?,
            scheduled: count(SCHEDULED).await?,
            retrying: count(RETRYING).await?,
            parked: count("SELECT COUNT(*) FROM (SELECT id FROM mainstay_parked WHERE queue = $1 LIMIT $2) AS r").await?,
            running,
            handed: count("SELECT COUNT(*) FROM (SELECT id FROM mainstay_handed WHERE queue = $1 LIMIT $2) AS r").await?,
            dead: count(DEAD).await?,
            oldest_ready_at: oldest.map(time),
            name,
        })
    }

    /// What a statement counts of a queue, up to 100,000.
    pub(super) async fn count_in(&self, queue: &str, sql: &'static str) -> Result<u64> {
        let count: i64 = self.db.query(sql).bind(queue).bind(COUNT_MAX).scalar().await?;
        Ok(count.unsigned_abs())
    }

    async fn workers(&self, running: &HashMap<i64, u64>) -> Result<Vec<WorkerStats>> {
        type Row = (i64, String, String, i64, i16);
        let rows: Vec<Row> = self
            .db
            .query("SELECT id, name, queues, started_us, draining FROM mainstay_worker ORDER BY id")
            .all()
            .await?;
        let read = |(id, name, queues, started_us, draining): Row| WorkerStats {
            id,
            name,
            queues: serde_json::from_str(&queues).unwrap_or_default(),
            started_at: time(started_us),
            running: running.get(&id).copied().unwrap_or_default(),
            draining: draining != 0,
        };
        Ok(rows.into_iter().map(read).collect())
    }
}
