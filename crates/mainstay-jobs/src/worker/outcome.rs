//! How a handler may end, beside failing.

use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use serde::Serialize;

/// How a handler ended. `()` is [`Done`](Outcome::Done); an error is a failed attempt.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Done.
    Done,
    /// Done, with a result as JSON, kept for the job's retention.
    Result(serde_json::Value),
    /// Not yet: again after this time, without counting as an attempt.
    Snooze(Duration),
    /// Not to be done any more: it ends as cancelled, for this reason.
    Cancel(String),
    /// It can't be done, and trying again would not help: to the dead letters, for this reason.
    Dead(String),
}

impl Outcome {
    /// Done, with this result. Errors: JOB-003 where it can't be written as JSON.
    pub fn result<T: Serialize>(value: &T) -> Result<Self> {
        serde_json::to_value(value).map(Outcome::Result).map_err(|e| {
            Error::new(Code::JobPayload, "a job's result can't be written as JSON").cause(e)
        })
    }
}

/// What a handler may return in its `Ok`.
pub trait IntoOutcome {
    /// As an outcome.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::Done
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}
