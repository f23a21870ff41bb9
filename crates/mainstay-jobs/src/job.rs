//! What a job is: a value that can be written down, with a name. Who runs it is a worker's business.

use std::fmt;
use std::time::Duration;

use mainstay_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::retry::{Action, Backoff};

/// A job's number, given by the database: unique within it, and growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job: its fields are what its handler is given, written as JSON until then. The constants are
/// defaults, which [`Enqueue`](crate::Enqueue) changes for a single one.
///
/// ```
/// use mainstay_jobs::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct WelcomeMail {
///     user: i64,
/// }
///
/// impl Job for WelcomeMail {
///     const NAME: &'static str = "welcome_mail";
///     const QUEUE: &'static str = "mail";
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name: what ties it to its handler, in every process and version. At most 100 characters.
    const NAME: &'static str;
    /// The version of its fields, for [`upcast`](Self::upcast). Fields that a version does not know
    /// are passed over by serde; new ones want `#[serde(default)]`.
    const VERSION: u32 = 1;
    /// The queue that it goes to.
    const QUEUE: &'static str = "default";
    /// The smaller runs first; within one priority, the older.
    const PRIORITY: i16 = 0;
    /// How often it is tried, until it goes to the dead letters. Default 25: some three weeks with the
    /// default backoff.
    const MAX_ATTEMPTS: u32 = 25;
    /// How long one attempt may take; its future is dropped then. Default 30 minutes.
    const TIMEOUT: Duration = Duration::from_secs(30 * 60);
    /// How long it is kept after it was completed, with what its handler returned. Default: not at all.
    const RETENTION: Option<Duration> = None;

    /// What becomes of it when `attempt` (from 1) failed with `error`. Not asked after the last
    /// attempt, which ends in the dead letters. Default: again, with [`Backoff::polynomial`].
    fn failed(&self, attempt: u32, error: &Error) -> Action {
        let _ = error;
        Action::Retry(Backoff::polynomial().after(attempt, &mainstay_core::rng::Rng::system()))
    }

    /// Brings a payload that an older version wrote into the form of this one. Default: as it is.
    ///
    /// Errors: whatever it says; the job fails with JOB-003 and that as its cause.
    fn upcast(version: u32, payload: serde_json::Value) -> Result<serde_json::Value> {
        let _ = version;
        Ok(payload)
    }
}
