//! Signals: what a job waits for and somebody else sends, such as a payment's confirmation.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::step::{from_text, to_text, until};
use super::{stopped, store};
use crate::job::JobId;
use crate::options::{check_key, micros};
use crate::schema::named;
use crate::store::{DELETE_SCHEDULED, Sql, json, now, settle};
use crate::wake;
use crate::worker::Context;
use crate::worker::call::Call;

/// Without a timeout it is looked for again after this, whatever was sent.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

/// A signal that is waited for: await it. Made by [`Context::signal`].
#[must_use = "nothing is waited for until it is awaited"]
pub struct Signal<'c, T> {
    call: &'c Call,
    name: String,
    timeout: Option<Duration>,
    of: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Signal<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signal").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static> Context<S> {
    /// Waits for the signal of that name, which [`Jobs::signal`](crate::Jobs::signal) sends; one that was sent
    /// before is taken at once. The job's worker is free meanwhile, and may die. What was received is
    /// remembered as a step. Gives `None` when the [timeout](Signal::timeout) is over.
    ///
    /// Errors: JOB-017 until it is there: pass it on with `?`; JOB-003 where it is of another type.
    pub fn signal<T: DeserializeOwned + Send + 'static>(
        &self,
        name: impl Into<String>,
    ) -> Signal<'_, T> {
        Signal { call: &self.call, name: name.into(), timeout: None, of: PhantomData }
    }
}

impl<T: DeserializeOwned + Send + 'static> Signal<'_, T> {
    /// How long it is waited for, from when it was first. Default: without end.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    async fn run(self) -> Result<Option<T>> {
        let Self { call, name, timeout, .. } = self;
        let (id, steps) = (call.job.id, &call.steps);
        let seq = steps.next(&name)?;
        if let Some(text) = steps.find(call, &name, seq).await? {
            return from_text(&name, &text);
        }
        if let Some(error) = stopped(call) {
            return Err(error);
        }
        let by = match timeout {
            None => None,
            Some(time) => {
                let name = format!("{name} (until)");
                let seq = steps.next(&name)?;
                Some(until(call, &name, seq, micros(time)).await?)
            }
        };
        let received = receive(call, &name, seq).await?;
        let text = match (received, by) {
            (Some(text), _) => text,
            (None, by) => {
                let left = match by {
                    Some(by) => by - store::now_us(&call.primary).await?,
                    None => micros(LOOK_AGAIN),
                };
                if left > 0 {
                    let what = format!("job {id} waits for the signal `{name}`");
                    let left = Duration::from_micros(left.unsigned_abs());
                    return Err(Error::new(Code::JobSuspended, what).with_detail(left));
                }
                store::insert(&call.primary, id, &name, seq, "null").await?;
                "null".to_owned()
            }
        };
        steps.remember(&name, seq, &text).await;
        from_text(&name, &text)
    }
}

/// Takes the oldest of that name, and remembers it as the step.
async fn receive(call: &Call, name: &str, seq: usize) -> Result<Option<String>> {
    let id = call.job.id;
    call.primary
        .transaction(|tx| async move {
            let found: Option<(i64, String)> = tx
                .query("SELECT id, payload FROM mainstay_signal WHERE job = $1 AND name = $2 ORDER BY id LIMIT 1")
                .bind(id)
                .bind(name)
                .optional()
                .await?;
            let Some((signal, payload)) = found else { return Ok(None) };
            tx.query("DELETE FROM mainstay_signal WHERE id = $1").bind(signal).execute().await?;
            store::insert(&tx, id, name, seq, &payload).await?;
            Ok(Some(payload))
        })
        .await
}

impl<'c, T: DeserializeOwned + Send + 'static> IntoFuture for Signal<'c, T> {
    type Output = Result<Option<T>>;
    type IntoFuture = BoxFuture<'c, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Sends a signal to a live job, in the open transaction if there is one; the job goes on once that is
/// committed. Errors: JOB-011.
pub(crate) async fn send<T: Serialize>(db: &Db, job: JobId, name: &str, value: &T) -> Result<()> {
    check_key("signal's name", name)?;
    let payload = &to_text(name, value)?;
    let queue = db
        .transaction(|tx| async move { insert(&tx, job.0, name, payload).await })
        .await
        .map_err(named)?;
    if let Some(queue) = queue {
        wake::after_commit(db, wake::Of::Queue(queue)).await?;
    }
    Ok(())
}

async fn insert(tx: &Db, job: i64, name: &str, payload: &str) -> Result<Option<String>> {
    const INSERT: Sql = Sql {
        sqlite: concat!(
            "INSERT INTO mainstay_signal (job, name, payload, at_us) VALUES ($1, $2, $3, ",
            now!(sqlite),
            ")"
        ),
        postgres: concat!(
            "INSERT INTO mainstay_signal (job, name, payload, at_us) VALUES ($1, $2, $3, ",
            now!(postgres),
            ")"
        ),
        mysql: concat!(
            "INSERT INTO mainstay_signal (job, name, payload, at_us) VALUES ($1, $2, $3, ",
            now!(mysql),
            ")"
        ),
    };
    // The row is locked by whoever puts the job to sleep too: one of the two sees the other.
    let sql = match tx.engine() {
        Engine::Sqlite => "SELECT queue FROM mainstay_job WHERE id = $1 AND state = 0",
        Engine::Postgres | Engine::MySql => {
            "SELECT queue FROM mainstay_job WHERE id = $1 AND state = 0 FOR UPDATE"
        }
    };
    let live: Option<(String,)> = tx.query(sql).bind(job).optional().await?;
    let Some((queue,)) = live else {
        return Err(Error::new(Code::JobNotFound, format!("job {job} is not there any more")));
    };
    let insert = tx.query(INSERT.on(tx.engine())).bind(job).bind(name).bind(payload);
    insert.execute().await?;
    let woken = tx.query(DELETE_SCHEDULED.on(tx.engine())).bind(json([job])).execute().await?;
    if woken.rows_affected() == 0 {
        return Ok(None);
    }
    settle::ready(tx, job).await?;
    Ok(Some(queue))
}
