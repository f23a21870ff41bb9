//! Bringing queues and workers to rest, and queues back to work.

use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};

use super::Admin;
use super::list::{LEASES_MAX, leased_ids, live};
use crate::options::check_queue;
use crate::schema::named;
use crate::store::claim::short;
use crate::store::{json, worker};
use crate::wake;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks in a row that must find nothing.
const LOOKS: u32 = 2;

impl Admin {
    /// Begins nothing more of a queue, anywhere, from now on; what runs goes on.
    ///
    /// Errors: JOB-010 (no name of a queue), and those of a statement.
    pub async fn pause(&self, queue: &str) -> Result<()> {
        self.set_paused(queue, true).await
    }

    /// Begins jobs of a queue again.
    ///
    /// Errors: as [`pause`](Self::pause).
    pub async fn resume(&self, queue: &str) -> Result<()> {
        self.set_paused(queue, false).await?;
        wake::now(&self.db, &wake::Of::Queue(queue.to_owned()));
        Ok(())
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<()> {
        check_queue(queue)?;
        worker::know_queues(&self.db, &[queue.to_owned()]).await?;
        short(&self.db)
            .run(|tx| async move {
                let update = tx.query("UPDATE mainstay_queue SET paused = $2 WHERE name = $1");
                update.bind(queue).bind(i16::from(paused)).execute().await?;
                let action = if paused { "pause" } else { "resume" };
                self.note(&tx, action, &format!("queue {queue}"), None).await
            })
            .await
    }

    /// Pauses a queue and waits until nothing of it runs. It stays paused.
    ///
    /// Cancel safe: dropped half-way, the queue is paused.
    ///
    /// Errors: JOB-013 (not within `limit`), and as [`pause`](Self::pause).
    pub async fn drain(&self, queue: &str, limit: Duration) -> Result<()> {
        self.pause(queue).await?;
        let clock = Clock::system();
        let begun = clock.now();
        let mut quiet = 0;
        loop {
            let running = self.running(queue).await?;
            // A claim that began before the pause may be committed after a look: one look is not enough.
            quiet = if running == 0 { quiet + 1 } else { 0 };
            if quiet == LOOKS {
                return Ok(());
            }
            if running > 0 && clock.now().saturating_duration_since(begun) >= limit {
                let what = format!("{running} jobs of `{queue}` still run after {limit:?}");
                return Err(Error::new(Code::JobDrain, what)
                    .fix("wait longer, or cancel them; the queue stays paused"));
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    /// How many jobs of a queue workers and brokers have.
    async fn running(&self, queue: &str) -> Result<i64> {
        let leased = self.leased_of(queue).await?.len() as i64;
        let handed: i64 = self
            .db
            .query("SELECT COUNT(*) FROM mainstay_handed WHERE queue = $1")
            .bind(queue)
            .scalar()
            .await?;
        Ok(leased + handed)
    }

    /// The live jobs of a queue that workers have.
    pub(super) async fn leased_of(&self, queue: &str) -> Result<Vec<i64>> {
        let leases: Vec<(String,)> = self
            .db
            .query("SELECT ids FROM mainstay_lease WHERE queue = $1 ORDER BY id LIMIT $2")
            .bind(queue)
            .bind(LEASES_MAX)
            .all()
            .await?;
        live(&self.db, &json(leases.iter().flat_map(|(ids,)| leased_ids(ids)))).await
    }

    /// Tells a worker to drain: its process sees it by [`Worker::told_to_drain`](crate::Worker::told_to_drain).
    ///
    /// Errors: JOB-011, and those of a statement.
    pub async fn drain_worker(&self, id: i64) -> Result<()> {
        short(&self.db)
            .run(|tx| async move {
                let update = tx.query("UPDATE mainstay_worker SET draining = 1 WHERE id = $1");
                if update.bind(id).execute().await?.rows_affected() == 0 {
                    return Err(Error::new(Code::JobNotFound, format!("there is no worker {id}")));
                }
                self.note(&tx, "drain", &format!("worker {id}"), None).await
            })
            .await
            .map_err(named)
    }
}
