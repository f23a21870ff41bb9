//! One step: done once, remembered, and perhaps undone.

use std::future::IntoFuture;
use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::undo::Undo;
use super::{stopped, store};
use crate::options::micros;
use crate::worker::Context;
use crate::worker::call::Call;

type Work<'c, T> = Box<dyn FnOnce(&'c Call, usize, String) -> BoxFuture<'c, Result<T>> + Send + 'c>;
type UndoOf<T> = Box<dyn Fn(T, Db) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A step of a job: await it. Made by [`Context::step`] and [`Context::step_tx`].
///
/// Errors: those of its work; JOB-016 (two of one name, or another order than before), JOB-017 (the job is
/// being undone: pass it on with `?`), JOB-009 (done by somebody else meanwhile), JOB-003 (the result
/// can't be written or read), those of a statement.
#[must_use = "nothing is done until it is awaited"]
pub struct Step<'c, T> {
    call: &'c Call,
    name: String,
    work: Work<'c, T>,
    undo: Option<UndoOf<T>>,
}

impl<T> std::fmt::Debug for Step<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static> Context<S> {
    /// A step that is done once, and whose result is remembered: when the job runs again, after a failure,
    /// a timer or a kill, it is not done again. `name` tells it from the job's other steps and must stay
    /// the same across versions.
    ///
    /// A kill between its work and the note of it makes it run again: what it calls elsewhere should be
    /// idempotent, by a key such as the job's number and the step's name. What is in this database belongs
    /// into [`step_tx`](Self::step_tx), which is done exactly once.
    pub fn step<'c, T, F, Fut>(&'c self, name: impl Into<String>, work: F) -> Step<'c, T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: FnOnce() -> Fut + Send + 'c,
        Fut: Future<Output = Result<T>> + Send + 'c,
    {
        let work: Work<'c, T> = Box::new(move |call, seq, name| {
            Box::pin(async move {
                let done = work().await?;
                let text = to_text(&name, &done)?;
                store::insert(&call.primary, call.job.id, &name, seq, &text).await?;
                call.steps.remember(&name, seq, &text).await;
                Ok(done)
            })
        });
        Step { call: &self.call, name: name.into(), work, undo: None }
    }

    /// As [`step`](Self::step), in a transaction of this database that also notes it: both are committed or
    /// neither is, so it is done exactly once. Run again where a conflict was lost.
    pub fn step_tx<'c, T, F, Fut>(&'c self, name: impl Into<String>, work: F) -> Step<'c, T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(Db) -> Fut + Send + Sync + 'c,
        Fut: Future<Output = Result<T>> + Send + 'c,
    {
        let work: Work<'c, T> = Box::new(move |call, seq, name| {
            Box::pin(async move {
                let (work, name) = (&work, &name);
                let (done, text) = call
                    .primary
                    .transaction(|tx| async move {
                        let done = work(tx.clone()).await?;
                        let text = to_text(name, &done)?;
                        store::insert(&tx, call.job.id, name, seq, &text).await?;
                        Ok((done, text))
                    })
                    .await?;
                call.steps.remember(name, seq, &text).await;
                Ok(done)
            })
        });
        Step { call: &self.call, name: name.into(), work, undo: None }
    }

    /// Goes on after this time, counted from when this was first come to; the job's worker is free
    /// meanwhile, and may die.
    ///
    /// Errors: JOB-017 until then: pass it on with `?`.
    pub async fn sleep(&self, name: impl Into<String>, time: Duration) -> Result<()> {
        let (call, name) = (&*self.call, name.into());
        let seq = call.steps.next(&name)?;
        let until = until(call, &name, seq, micros(time)).await?;
        let left = until - store::now_us(&call.primary).await?;
        if left <= 0 {
            return Ok(());
        }
        let what = format!("job {} sleeps in its step `{name}`", call.job.id);
        let left = Duration::from_micros(left.unsigned_abs());
        Err(Error::new(Code::JobSuspended, what).with_detail(left))
    }
}

/// The time that a step waits for, written down when it is first come to.
pub(super) async fn until(call: &Call, name: &str, seq: usize, time_us: i64) -> Result<i64> {
    if let Some(found) = call.steps.find(call, name, seq).await? {
        return from_text(name, &found);
    }
    if let Some(error) = stopped(call) {
        return Err(error);
    }
    let until = store::now_us(&call.primary).await?.saturating_add(time_us);
    let text = until.to_string();
    store::insert(&call.primary, call.job.id, name, seq, &text).await?;
    call.steps.remember(name, seq, &text).await;
    Ok(until)
}

impl<T> Step<'_, T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    /// How it is undone, should the job fail for good or be cancelled later: given what the step returned
    /// and a transaction, which also notes that it is undone. The undone ones are those that were done, the
    /// last first. One that fails is tried again, with the job's backoff; then the job is dead with
    /// JOB-018, and `mainstay jobs retry` goes on undoing.
    pub fn undo<F, Fut>(mut self, undo: F) -> Self
    where
        F: Fn(T, Db) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.undo = Some(Box::new(move |done, tx| Box::pin(undo(done, tx))));
        self
    }

    async fn run(self) -> Result<T> {
        let Self { call, name, work, undo } = self;
        let steps = &call.steps;
        let seq = steps.next(&name)?;
        let done: T = match steps.find(call, &name, seq).await? {
            Some(text) => from_text(&name, &text)?,
            None => match stopped(call) {
                Some(error) => return Err(error),
                None => work(call, seq, name.clone()).await?,
            },
        };
        if let Some(undo) = undo {
            // The result is read anew for each try.
            let text = to_text(&name, &done)?;
            let of = name.clone();
            let work = Box::new(move |tx| -> BoxFuture<'static, Result<()>> {
                match from_text::<T>(&of, &text) {
                    Ok(done) => undo(done, tx),
                    Err(error) => Box::pin(async { Err(error) }),
                }
            });
            steps.run(|run| run.undos.push(Undo { name, work }));
        }
        Ok(done)
    }
}

impl<'c, T> IntoFuture for Step<'c, T>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    type Output = Result<T>;
    type IntoFuture = BoxFuture<'c, Result<T>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

pub(super) fn to_text<T: Serialize>(name: &str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| {
        Error::new(
            Code::JobPayload,
            format!("the result of the step `{name}` can't be written as JSON"),
        )
        .cause(e)
    })
}

pub(super) fn from_text<T: DeserializeOwned>(name: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| {
        let what = format!("the remembered result of the step `{name}` can't be read");
        Error::new(Code::JobPayload, what).why("its type has changed")
    })
}
