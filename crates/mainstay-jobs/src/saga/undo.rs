//! Compensation (Garcia-Molina and Salem, Sagas, 1987): what the steps did is undone, the last first, each
//! once, whatever is killed in between.

use std::time::Duration;

use futures_core::future::BoxFuture;
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use super::store;
use crate::options::Options;
use crate::worker::call::Call;

/// What comes before the name of a step in the note that it is undone.
const UNDONE: &str = "undone: ";

/// How a step is undone.
pub(super) struct Undo {
    pub(super) name: String,
    pub(super) work: Box<dyn Fn(Db) -> BoxFuture<'static, Result<()>> + Send + Sync>,
}

/// Undoes what the steps of this run and earlier ones did. True if that was needed and is done; false if
/// there was nothing to undo.
///
/// Errors: JOB-018, with what the undo of which step said; the rest is yet to be undone.
pub(crate) async fn compensate(call: &Call, reason: &str, limit: Duration) -> Result<bool> {
    let undos = call.steps.run(|run| std::mem::take(&mut run.undos));
    if undos.is_empty() {
        return Ok(false);
    }
    if call.options().undoing.is_none() {
        let reason = reason.to_owned();
        let options =
            Options { undoing: Some(reason.clone()), steps: true, ..call.options().clone() };
        // Before anything is undone: a killed process must not go on with the next step.
        store::set_options(&call.primary, call.job.id, options.to_text()).await?;
        call.steps.run(|run| run.undoing = Some(reason));
    }
    let done = store::load(&call.primary, call.job.id).await?;
    for undo in undos.iter().rev() {
        let mark = format!("{UNDONE}{}", undo.name);
        if done.contains_key(&mark) {
            continue;
        }
        one(call, undo, &mark, limit).await.map_err(|error| {
            let what =
                format!("the step `{}` of job {} could not be undone", undo.name, call.job.id);
            Error::new(Code::JobCompensation, what).why(error.to_string()).cause(error)
        })?;
    }
    Ok(true)
}

async fn one(call: &Call, undo: &Undo, mark: &str, limit: Duration) -> Result<()> {
    let id = call.job.id;
    let work = call.primary.transaction(|tx| async move {
        (undo.work)(tx.clone()).await?;
        // The numbers of steps are for those that are done.
        store::insert(&tx, id, mark, usize::from(u16::MAX), "null").await
    });
    let limited = Clock::system().timeout(limit, work).await;
    limited.unwrap_or_else(|| {
        Err(Error::new(Code::JobTimeout, format!("it took longer than {limit:?}")))
    })
}
