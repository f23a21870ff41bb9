//! What a handler is given beside its job.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use chrono::{DateTime, Utc};
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use serde::Serialize;

use super::call::Call;
use crate::event::Delivered;
use crate::event::inbox;
use crate::job::JobId;
use crate::options::check_key;
use crate::store::{Sql, now, settle};

/// What a handler is given beside its job: the worker's state, the database, and the run itself. Cheap to
/// clone.
pub struct Context<S> {
    pub(crate) call: Arc<Call>,
    pub(crate) state: Arc<S>,
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self { call: Arc::clone(&self.call), state: Arc::clone(&self.state) }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.call.job.id)
            .field("name", &self.call.job.name)
            .finish_non_exhaustive()
    }
}

impl<S> Context<S> {
    /// The state that the worker was built with.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The database as the worker was given it, outside any transaction. Where that is a cluster with replicas, what is read
    /// here was committed when the job was claimed or later: so also what its enqueuer committed with it.
    pub fn db(&self) -> &Db {
        &self.call.given
    }

    /// The job's number; 0 for a message of somebody else's.
    pub fn id(&self) -> JobId {
        JobId(self.call.job.id)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.call.job.name
    }

    /// The queue that it came from.
    pub fn queue(&self) -> &str {
        &self.call.queue
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.call.job.attempt.saturating_add(1)
    }

    /// How many there are.
    pub fn max_attempts(&self) -> u32 {
        self.call.max_attempts
    }

    /// When it was enqueued, by the database's clock.
    pub fn enqueued_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.call.job.created_us).unwrap_or_default()
    }

    /// The time that it was enqueued for, if it was to run later.
    pub fn scheduled_for(&self) -> Option<DateTime<Utc>> {
        self.call.job.run_us.and_then(DateTime::from_timestamp_micros)
    }

    /// Its headers.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.call.options().headers
    }

    /// The event that it delivers, for a subscriber.
    pub fn event(&self) -> Option<Delivered> {
        Delivered::of(&self.call)
    }

    /// Whether somebody wants this run to end. Its future is dropped at its next await anyway; a loop
    /// without one can ask.
    pub fn is_cancelled(&self) -> bool {
        self.call.cancelled.load(Relaxed)
    }

    /// Runs `work` in a transaction that also completes the job: both are committed or neither is. So an
    /// effect in this database happens exactly once, whatever dies when. What the handler does after it,
    /// and what it returns, changes nothing about that; an error is logged.
    ///
    /// A message of somebody else's is remembered in the inbox instead, by its id, for 7 days: a second
    /// delivery of it is acknowledged, and `work` is not run.
    ///
    /// Run again where a conflict was lost, as [`Db::transaction`] does. Cancel safe: dropped half-way it
    /// is rolled back, and the job runs again.
    ///
    /// Errors: JOB-009 (it was cancelled or taken over meanwhile: rolled back), JOB-012 (completed before in
    /// this run), those of a transaction and of `work`.
    pub async fn transaction<T, F, Fut>(&self, work: F) -> Result<T>
    where
        F: Fn(Db) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T>> + Send,
        T: Send,
    {
        let call = &self.call;
        if call.completed.load(Relaxed) {
            let what = format!("job {} was completed before in this run", call.job.id);
            return Err(Error::new(Code::JobState, what)
                .fix("complete it once, at the end; use ctx.db().transaction() before that"));
        }
        let call = &**call;
        let message = if call.recorded { String::new() } else { message_id(call)? };
        let (work, message) = (&work, message.as_str());
        let done = call
            .primary
            .transaction(|tx| async move {
                if !call.recorded && !inbox::first(&tx, &call.queue, message).await? {
                    let seen = Error::new(Code::JobLost, "this message was processed before");
                    return Err(seen.why("its first delivery was committed"));
                }
                let out = work(tx.clone()).await?;
                if call.recorded {
                    let ties = call.ties();
                    let (id, keep) = (call.job.id, call.keep_us());
                    settle::complete_within(&tx, id, &call.queue, None, keep, ties).await?;
                }
                Ok(out)
            })
            .await?;
        call.completed.store(true, Relaxed);
        Ok(done)
    }

    /// Writes down how far it is: `done` from 0 to 1, and a note for people. Shown by `mainstay jobs show`.
    /// A write to the database, so once a second is plenty.
    ///
    /// Errors: those of a statement.
    pub async fn progress(&self, done: f64, note: impl Into<String>) -> Result<()> {
        const WRITE: Sql = Sql {
            sqlite: concat!(
                "INSERT INTO mainstay_progress (id, at_us, done, note) VALUES ($1, ",
                now!(sqlite),
                ", $2, $3) \
                 ON CONFLICT (id) DO UPDATE SET at_us = excluded.at_us, done = excluded.done, note = excluded.note"
            ),
            postgres: concat!(
                "INSERT INTO mainstay_progress (id, at_us, done, note) VALUES ($1, ",
                now!(postgres),
                ", $2, $3) \
                 ON CONFLICT (id) DO UPDATE SET at_us = excluded.at_us, done = excluded.done, note = excluded.note"
            ),
            mysql: concat!(
                "INSERT INTO mainstay_progress (id, at_us, done, note) VALUES ($1, ",
                now!(mysql),
                ", $2, $3) \
                 ON DUPLICATE KEY UPDATE at_us = VALUES(at_us), done = VALUES(done), note = VALUES(note)"
            ),
        };
        self.call.has_progress.store(true, Relaxed);
        let db = &self.call.primary;
        let write = db.query(WRITE.on(db.engine())).bind(self.call.job.id);
        write.bind(done.clamp(0.0, 1.0)).bind(note.into()).execute().await?;
        Ok(())
    }

    /// A result, to be returned: `Ok(ctx.result(&value)?)`. Kept for the job's retention.
    ///
    /// Errors: JOB-003.
    pub fn result<T: Serialize>(&self, value: &T) -> Result<super::Outcome> {
        super::Outcome::result(value)
    }
}

/// Of somebody else's message: what tells it from others. Errors: JOB-010 where it has none.
fn message_id(call: &Call) -> Result<String> {
    let headers = &call.options().headers;
    let id = headers.get(crate::worker::MESSAGE_ID).cloned().unwrap_or_default();
    check_key("message id", &id).map_err(|e| {
        e.note("a message without an id can't be told from its own second delivery")
    })?;
    Ok(id)
}
