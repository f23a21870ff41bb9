//! Acting on jobs: again, away, rest.

use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};

use super::list::{leased, options};
use super::{Acted, Admin, Filter, State};
use crate::job::JobId;
use crate::lead::clean::remove_ended;
use crate::options::{Options, check_queue, micros};
use crate::store::claim::short;
use crate::store::enqueue::named;
use crate::store::settle::{self, Ties};
use crate::store::{DELETE_SCHEDULED, Sql, json, now, worker};
use crate::wake;

/// How long a cancelled job is kept.
const CANCELLED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A job's row, for who is to act on it.
struct Target {
    queue: String,
    state: i16,
    options: Options,
}

async fn locked(tx: &Db, id: JobId) -> Result<Option<Target>> {
    let sql = match tx.engine() {
        Engine::Sqlite => "SELECT queue, state, options FROM mainstay_job WHERE id = $1",
        Engine::Postgres | Engine::MySql => {
            "SELECT queue, state, options FROM mainstay_job WHERE id = $1 FOR UPDATE"
        }
    };
    let found: Option<(String, i16, Option<String>)> =
        tx.query(sql).bind(id.0).optional().await.map_err(named)?;
    Ok(found.map(|(queue, state, text)| Target { queue, state, options: options(text.as_deref()) }))
}

fn acted(id: JobId, done: bool, what: &str) -> Acted {
    Acted { id, done, what: what.to_owned() }
}

/// Takes a live job away from where it waits; false where it does not wait.
async fn take_waiting(tx: &Db, id: JobId) -> Result<bool> {
    const READY: &str = "DELETE FROM mainstay_ready WHERE id = $1 AND queue = (SELECT queue FROM mainstay_job WHERE id = $1) \
         AND lane = (SELECT lane FROM mainstay_job WHERE id = $1) \
         AND priority = (SELECT priority FROM mainstay_job WHERE id = $1)";
    let mut taken = tx.query(READY).bind(id.0).execute().await?.rows_affected();
    taken += tx
        .query(DELETE_SCHEDULED.on(tx.engine()))
        .bind(json([id.0]))
        .execute()
        .await?
        .rows_affected();
    let parked = tx.query("DELETE FROM mainstay_parked WHERE id = $1").bind(id.0);
    taken += parked.execute().await?.rows_affected();
    Ok(taken > 0)
}

impl Admin {
    /// Makes them ready again: dead and cancelled ones with all their attempts, scheduled ones now. A
    /// unique key that ended with the job is not taken again. A saga that was being undone goes on with
    /// that. Tells of each what was done.
    ///
    /// Errors: JOB-001, and those of a statement; what was done before one stays.
    pub async fn retry(&self, ids: &[JobId]) -> Result<Vec<Acted>> {
        let mut out = Vec::new();
        for id in ids {
            let id = *id;
            let (one, queue) =
                short(&self.db).run(|tx| async move { self.retry_one(&tx, id).await }).await?;
            if let Some(queue) = queue {
                wake::now(&self.db, &wake::Of::Queue(queue));
            }
            out.push(one);
        }
        Ok(out)
    }

    async fn retry_one(&self, tx: &Db, id: JobId) -> Result<(Acted, Option<String>)> {
        let Some(target) = locked(tx, id).await? else {
            return Ok((acted(id, false, "there is no such job"), None));
        };
        match State::ended(target.state) {
            Some(State::Completed) => return Ok((acted(id, false, "was completed"), None)),
            Some(_) => {
                let finished = tx.query("DELETE FROM mainstay_finished WHERE id = $1").bind(id.0);
                finished.execute().await?;
                tx.query(
                    "UPDATE mainstay_job SET state = 0, attempt = 0, crashes = 0, finished_us = NULL, \
                     lane = $2 WHERE id = $1",
                )
                .bind(id.0)
                .bind(i16::from(target.options.is_keyed()))
                .execute()
                .await?;
            }
            None => {
                let removed = tx.query(DELETE_SCHEDULED.on(tx.engine())).bind(json([id.0]));
                if removed.execute().await?.rows_affected() == 0 {
                    return Ok((acted(id, false, "is ready, running or waits for a key"), None));
                }
            }
        }
        settle::ready(tx, id.0).await?;
        self.note(tx, "retry", &format!("job {id}"), None).await?;
        Ok((acted(id, true, "ready again"), Some(target.queue)))
    }

    /// Makes up to `max` dead ones ready again, of a queue or a name if given; tells how many.
    ///
    /// Errors: as [`retry`](Self::retry).
    pub async fn retry_dead(
        &self,
        queue: Option<&str>,
        name: Option<&str>,
        max: u32,
    ) -> Result<u64> {
        let mut filter = Filter {
            state: Some(State::Dead),
            queue: queue.map(str::to_owned),
            name: name.map(str::to_owned),
            before: None,
            limit: 1_000,
        };
        let mut count = 0;
        while count < u64::from(max) {
            let jobs = self.list(&filter).await?;
            let Some(last) = jobs.last() else { break };
            filter.before = Some(last.id);
            let left = usize::try_from(u64::from(max) - count).unwrap_or(usize::MAX);
            let ids: Vec<JobId> = jobs.iter().take(left).map(|job| job.id).collect();
            count += self.retry(&ids).await?.iter().filter(|one| one.done).count() as u64;
        }
        Ok(count)
    }

    /// Cancels them: what waits ends at once; what runs is dropped by its worker within a second or so; what
    /// a broker has is passed over when it is delivered. A saga that has done steps is undone first.
    /// Tells of each what was done.
    ///
    /// Errors: JOB-001, and those of a statement; what was done before one stays.
    pub async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Acted>> {
        let mut out = Vec::new();
        for id in ids {
            let id = *id;
            let (one, queue) =
                short(&self.db).run(|tx| async move { self.cancel_one(&tx, id).await }).await?;
            if let Some(queue) = queue {
                wake::now(&self.db, &wake::Of::Queue(queue));
            }
            if one.done {
                wake::now(&self.db, &wake::Of::Cancel);
            }
            out.push(one);
        }
        Ok(out)
    }

    async fn cancel_one(&self, tx: &Db, id: JobId) -> Result<(Acted, Option<String>)> {
        const ASK: Sql = Sql {
            sqlite: concat!(
                "INSERT INTO mainstay_cancel (id, at_us) VALUES ($1, ",
                now!(sqlite),
                ") ON CONFLICT DO NOTHING"
            ),
            postgres: concat!(
                "INSERT INTO mainstay_cancel (id, at_us) VALUES ($1, ",
                now!(postgres),
                ") ON CONFLICT DO NOTHING"
            ),
            mysql: concat!(
                "INSERT IGNORE INTO mainstay_cancel (id, at_us) VALUES ($1, ",
                now!(mysql),
                ")"
            ),
        };
        let Some(target) = locked(tx, id).await? else {
            return Ok((acted(id, false, "there is no such job"), None));
        };
        if target.state != 0 {
            return Ok((acted(id, false, "has ended"), None));
        }
        self.note(tx, "cancel", &format!("job {id}"), None).await?;
        let mut waited = take_waiting(tx, id).await?;
        let handed = tx.query("DELETE FROM mainstay_handed WHERE id = $1").bind(id.0);
        let handed = handed.execute().await?.rows_affected() > 0;
        waited |= handed;
        if handed || !waited {
            // Whoever runs it drops it.
            tx.query(ASK.on(tx.engine())).bind(id.0).execute().await?;
        }
        if !waited {
            return Ok((acted(id, true, "its worker was asked to end it"), None));
        }
        if target.options.steps {
            let reason = format!("cancelled by {}", self.actor);
            let options = Options { undoing: Some(reason), ..target.options };
            let update = tx.query("UPDATE mainstay_job SET options = $2 WHERE id = $1");
            update.bind(id.0).bind(options.to_text()).execute().await?;
            settle::ready(tx, id.0).await?;
            return Ok((acted(id, true, "what it did is being undone"), Some(target.queue)));
        }
        settle::finish(tx, id.0, &target.queue, 2, None, micros(CANCELLED_KEPT)).await?;
        let unique = target.options.unique.is_some();
        let ties = Ties { keys: true, unique, steps: true, progress: true };
        settle::untie(tx, id.0, ties, false).await?;
        // Whoever waited for its key may have it.
        Ok((acted(id, true, "cancelled"), Some(target.queue)))
    }

    /// Removes ended ones, with all that is kept of them. Tells of each what was done.
    ///
    /// Errors: JOB-001, and those of a statement; what was done before one stays.
    pub async fn delete(&self, ids: &[JobId]) -> Result<Vec<Acted>> {
        let mut out = Vec::new();
        for id in ids {
            let id = *id;
            let one = short(&self.db).run(|tx| async move {
                match locked(&tx, id).await? {
                    None => Ok(acted(id, false, "there is no such job")),
                    Some(target) if target.state == 0 => {
                        Ok(acted(id, false, "has not ended: cancel it first"))
                    }
                    Some(_) => {
                        remove_ended(&tx, &json([id.0])).await?;
                        self.note(&tx, "delete", &format!("job {id}"), None).await?;
                        Ok(acted(id, true, "deleted"))
                    }
                }
            });
            out.push(one.await?);
        }
        Ok(out)
    }

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
    /// Errors: JOB-013 (not within `limit`), and as [`pause`](Self::pause).
    pub async fn drain(&self, queue: &str, limit: Duration) -> Result<()> {
        self.pause(queue).await?;
        let clock = Clock::system();
        let begun = clock.now();
        loop {
            let running = self.running(queue).await?;
            if running == 0 {
                return Ok(());
            }
            if clock.now().saturating_duration_since(begun) >= limit {
                let what = format!("{running} jobs of `{queue}` still run after {limit:?}");
                return Err(Error::new(Code::JobDrain, what)
                    .fix("wait longer, or cancel them; the queue stays paused"));
            }
            clock.sleep(LOOK_EVERY).await;
        }
    }

    async fn running(&self, queue: &str) -> Result<u64> {
        let all = leased(&self.db).await?;
        let mut count = 0;
        for id in all {
            let live: i64 = self
                .db
                .query(
                    "SELECT COUNT(*) FROM mainstay_job WHERE id = $1 AND queue = $2 AND state = 0",
                )
                .bind(id)
                .bind(queue)
                .scalar()
                .await?;
            count += u64::from(live > 0);
        }
        let handed: i64 = self
            .db
            .query("SELECT COUNT(*) FROM mainstay_handed WHERE queue = $1")
            .bind(queue)
            .scalar()
            .await?;
        Ok(count + handed.unsigned_abs())
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
