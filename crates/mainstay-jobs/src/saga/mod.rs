//! Durable steps: a job's handler runs from its beginning each time, and what its steps did is remembered,
//! so that it goes on where it was. A saga is a job whose steps say how they are undone: it completes, or
//! all that it did is undone, whatever is killed in between.
//!
//! The order of the steps must not depend on anything but the job and earlier steps' results: the time,
//! chance and other rows are read inside steps.

mod signal;
mod step;
mod store;
mod undo;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use mainstay_core::{Code, Error, Result};

pub use signal::Signal;
pub(crate) use signal::send;
pub use step::Step;
pub(crate) use undo::compensate;

use crate::options::check_key;
use crate::worker::call::Call;

/// Steps of one job: what it is remembered by is read at once.
const STEPS_MAX: usize = 1_000;

/// What is known of the steps of one run.
#[derive(Default)]
pub(crate) struct Steps {
    /// Remembered ones, read at the first step.
    remembered: tokio::sync::Mutex<Option<BTreeMap<String, store::Remembered>>>,
    run: Mutex<Run>,
    /// The job has some, of this run or an earlier one.
    any: AtomicBool,
}

#[derive(Default)]
struct Run {
    used: HashSet<String>,
    undos: Vec<undo::Undo>,
    /// Set once this run begins to undo.
    undoing: Option<String>,
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Steps").field("any", &self.any).finish_non_exhaustive()
    }
}

impl Steps {
    fn run<T>(&self, f: impl FnOnce(&mut Run) -> T) -> T {
        f(&mut self.run.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the job has steps that were written down.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// Why what it did is being undone.
    pub(crate) fn undoing_reason(&self) -> Option<String> {
        self.run(|run| run.undoing.clone())
    }

    /// The next step: its place among all of this run. Errors: JOB-016, JOB-010.
    fn next(&self, name: &str) -> Result<usize> {
        check_key("step's name", name)?;
        self.run(|run| {
            let seq = run.used.len();
            if seq >= STEPS_MAX {
                let what = format!("a job has {STEPS_MAX} steps at most");
                return Err(
                    Error::new(Code::JobSteps, what).fix("give parts of it to jobs of their own")
                );
            }
            if !run.used.insert(name.to_owned()) {
                let what = format!("the step `{name}` is there twice");
                return Err(Error::new(Code::JobSteps, what).fix("number it, as in `charge 2`"));
            }
            Ok(seq)
        })
    }

    /// What the step did before, if it did. Errors: JOB-016 where it was another one's turn then.
    async fn find(&self, call: &Call, name: &str, seq: usize) -> Result<Option<String>> {
        let mut remembered = self.remembered.lock().await;
        if remembered.is_none() {
            *remembered = Some(store::load(&call.primary, call.job.id).await?);
        }
        let Some(all) = remembered.as_ref() else { return Ok(None) };
        if !all.is_empty() {
            self.any.store(true, Relaxed);
        }
        match all.get(name) {
            Some(found) if found.seq == seq => Ok(Some(found.result.clone())),
            Some(found) => {
                let what = format!(
                    "the step `{name}` was number {} and is number {}",
                    found.seq + 1,
                    seq + 1
                );
                Err(Error::new(Code::JobSteps, what)
                    .why("the handler's steps have changed, or their order depends on chance"))
            }
            None => Ok(None),
        }
    }

    async fn remember(&self, name: &str, seq: usize, result: &str) {
        self.any.store(true, Relaxed);
        if let Some(all) = &mut *self.remembered.lock().await {
            let remembered = store::Remembered { seq, result: result.to_owned() };
            all.insert(name.to_owned(), remembered);
        }
    }
}

/// What ends a handler that has come to where nothing more may be done.
fn stopped(call: &Call) -> Option<Error> {
    let undoing = call.options().undoing.clone().or_else(|| call.steps.undoing_reason())?;
    let what = format!("job {} is being undone: no more steps are begun", call.job.id);
    Some(Error::new(Code::JobSuspended, what).why(undoing))
}

/// Whether a job has done steps, in this run or an earlier one. Errors: those of a statement.
pub(crate) async fn has_steps(call: &Call) -> Result<bool> {
    if call.options().steps || call.steps.any() {
        return Ok(true);
    }
    let count =
        "SELECT COUNT(*) FROM (SELECT seq FROM mainstay_step WHERE job = $1 LIMIT 1) AS one";
    let count: i64 = call.primary.query(count).bind(call.job.id).scalar().await?;
    Ok(count > 0)
}
