//! Acting on jobs: again, away. What is done about whole queues and workers is [`drain`](super::drain)'s.

use std::time::Duration;

use mainstay_core::Result;
use mainstay_db::{Db, Engine};

use super::list::options;
use super::{Acted, Admin, Filter, State};
use crate::job::JobId;
use crate::lead::clean::remove_ended;
use crate::options::{Options, micros};
use crate::schema::named;
use crate::store::claim::short;
use crate::store::settle::{self, Ties};
use crate::store::{DELETE_SCHEDULED, Sql, json, now};
use crate::wake;

/// How long a cancelled job is kept.
const CANCELLED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Jobs in one look for what is acted on.
const LOOK_MAX: u32 = 1_000;

/// What is done about jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// [`Admin::retry`]
    Retry,
    /// [`Admin::cancel`]
    Cancel,
    /// [`Admin::delete`]
    Delete,
}

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

/// Takes a live job away from where it waits; false where it does not wait. Looked for in the order in
/// which jobs move, so that one that moves at this moment is met.
async fn take_waiting(tx: &Db, id: JobId) -> Result<bool> {
    const READY: &str = "DELETE FROM mainstay_ready WHERE id = $1 AND queue = (SELECT queue FROM mainstay_job WHERE id = $1) \
         AND lane = (SELECT lane FROM mainstay_job WHERE id = $1) \
         AND priority = (SELECT priority FROM mainstay_job WHERE id = $1)";
    const PARKED: &str = "DELETE FROM mainstay_parked WHERE id = $1";
    let scheduled = tx.query(DELETE_SCHEDULED.on(tx.engine())).bind(json([id.0]));
    if scheduled.execute().await?.rows_affected() > 0 {
        return Ok(true);
    }
    for table in [PARKED, READY, PARKED] {
        if tx.query(table).bind(id.0).execute().await?.rows_affected() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks whoever runs it to end it.
async fn ask_to_end(tx: &Db, id: JobId) -> Result<()> {
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
    tx.query(ASK.on(tx.engine())).bind(id.0).execute().await.map(drop)
}

/// Forgets that somebody was asked to end it: the next run, which is wanted, would be ended by that.
async fn forget_asked(tx: &Db, id: JobId) -> Result<()> {
    let delete = tx.query("DELETE FROM mainstay_cancel WHERE id = $1").bind(id.0);
    delete.execute().await.map(drop)
}

/// Whether it has done steps. Its options do not say so yet where its worker died in its first run.
async fn has_steps(tx: &Db, id: JobId) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM (SELECT name FROM mainstay_step WHERE job = $1 LIMIT 1) AS one";
    Ok(tx.query(sql).bind(id.0).scalar::<i64>().await? > 0)
}

/// Whether that time has come, by the database's clock.
async fn is_past(tx: &Db, at_us: i64) -> Result<bool> {
    const NOW: Sql = Sql {
        sqlite: concat!("SELECT ", now!(sqlite)),
        postgres: concat!("SELECT ", now!(postgres)),
        mysql: concat!("SELECT ", now!(mysql)),
    };
    Ok(tx.query(NOW.on(tx.engine())).scalar::<i64>().await? >= at_us)
}

impl Admin {
    /// Retries, cancels or deletes them. Errors: those of each.
    pub async fn act(&self, act: Act, ids: &[JobId]) -> Result<Vec<Acted>> {
        match act {
            Act::Retry => self.retry(ids).await,
            Act::Cancel => self.cancel(ids).await,
            Act::Delete => self.delete(ids).await,
        }
    }

    /// Retries, cancels or deletes up to `max` jobs that a filter finds, the newest first; tells about how
    /// many it was done. [`count`](Self::count) tells it before.
    ///
    /// Errors: as [`act`](Self::act).
    pub async fn act_on_all(&self, act: Act, filter: &Filter, max: u32) -> Result<u64> {
        let mut filter = Filter { limit: LOOK_MAX, ..filter.clone() };
        let mut count = 0;
        while count < u64::from(max) {
            let jobs = self.list(&filter).await?;
            let Some(last) = jobs.last() else { break };
            filter.before = Some(last.id);
            let left = usize::try_from(u64::from(max) - count).unwrap_or(usize::MAX);
            let ids: Vec<JobId> = jobs.iter().take(left).map(|job| job.id).collect();
            count += self.act(act, &ids).await?.iter().filter(|one| one.done).count() as u64;
        }
        Ok(count)
    }

    /// Makes them ready again: dead and cancelled ones with all their attempts and without a deadline that
    /// has passed, scheduled ones now. A unique key that ended with the job is not taken again. A saga that
    /// was being undone goes on with that. Tells of each what was done.
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
        let what = match State::ended(target.state) {
            Some(State::Completed) => return Ok((acted(id, false, "was completed"), None)),
            Some(_) => revive(tx, id, target.options).await?,
            None => {
                let removed = tx.query(DELETE_SCHEDULED.on(tx.engine())).bind(json([id.0]));
                if removed.execute().await?.rows_affected() == 0 {
                    return Ok((acted(id, false, "is ready, running or waits for a key"), None));
                }
                "ready again"
            }
        };
        settle::ready(tx, id.0).await?;
        self.note(tx, "retry", &format!("job {id}"), None).await?;
        Ok((acted(id, true, what), Some(target.queue)))
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
        let (queue, name) = (queue.map(str::to_owned), name.map(str::to_owned));
        let dead = Filter { state: Some(State::Dead), queue, name, ..Filter::default() };
        self.act_on_all(Act::Retry, &dead, max).await
    }

    /// Cancels them: what waits ends at once; what runs is dropped by its worker within a second or so; what
    /// a broker has is passed over when it is delivered. A saga that has done steps is undone first; one
    /// that a broker has, once it is delivered. Tells of each what was done.
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
        let Some(target) = locked(tx, id).await? else {
            return Ok((acted(id, false, "there is no such job"), None));
        };
        if target.state != 0 {
            return Ok((acted(id, false, "has ended"), None));
        }
        self.note(tx, "cancel", &format!("job {id}"), None).await?;
        let saga = target.options.steps || has_steps(tx, id).await?;
        if take_waiting(tx, id).await? {
            forget_asked(tx, id).await?;
            if saga {
                self.undo(tx, id, target.options).await?;
                return Ok((acted(id, true, "what it did is being undone"), Some(target.queue)));
            }
            return end(tx, id, target).await;
        }
        ask_to_end(tx, id).await?;
        // What a broker has may run at this moment. One without steps can end at once: whoever runs it
        // finds that it has. A saga must not be undone while somebody still does more of it.
        if !saga {
            let handed = tx.query("DELETE FROM mainstay_handed WHERE id = $1").bind(id.0);
            if handed.execute().await?.rows_affected() > 0 {
                return end(tx, id, target).await;
            }
        }
        Ok((acted(id, true, "its worker was asked to end it"), None))
    }

    /// Makes a saga that waits ready, to be undone. Its deadline is one for doing.
    async fn undo(&self, tx: &Db, id: JobId, options: Options) -> Result<()> {
        let undoing = options.undoing.clone();
        let undoing = undoing.or_else(|| Some(format!("cancelled by {}", self.actor)));
        let options = Options { undoing, steps: true, deadline_us: None, ..options };
        let update = tx.query("UPDATE mainstay_job SET options = $2 WHERE id = $1");
        update.bind(id.0).bind(options.to_text()).execute().await?;
        settle::ready(tx, id.0).await
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
}

/// Brings an ended job back to life, with all its attempts; tells what that means.
async fn revive(tx: &Db, id: JobId, options: Options) -> Result<&'static str> {
    let finished = tx.query("DELETE FROM mainstay_finished WHERE id = $1");
    finished.bind(id.0).execute().await?;
    forget_asked(tx, id).await?;
    let lane = i16::from(options.is_keyed());
    tx.query(
        "UPDATE mainstay_job SET state = 0, attempt = 0, crashes = 0, finished_us = NULL, \
         lane = $2 WHERE id = $1",
    )
    .bind(id.0)
    .bind(lane)
    .execute()
    .await?;
    match options.deadline_us {
        Some(at_us) if is_past(tx, at_us).await? => {
            let options = Options { deadline_us: None, ..options };
            let update = tx.query("UPDATE mainstay_job SET options = $2 WHERE id = $1");
            update.bind(id.0).bind(options.to_text()).execute().await?;
            Ok("ready again, without its deadline, which has passed")
        }
        _ => Ok("ready again"),
    }
}

/// Ends a live job that nobody runs, or whose run comes to nothing.
async fn end(tx: &Db, id: JobId, target: Target) -> Result<(Acted, Option<String>)> {
    settle::finish(tx, id.0, &target.queue, 2, None, micros(CANCELLED_KEPT)).await?;
    let unique = target.options.unique.is_some();
    let ties = Ties { keys: true, unique, steps: true, progress: true };
    settle::untie(tx, id.0, ties, false).await?;
    // Whoever waited for its key may have it.
    Ok((acted(id, true, "cancelled"), Some(target.queue)))
}
