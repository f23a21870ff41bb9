//! One run of one job: what its handler, the slot that runs it and the one who writes its end share.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use mainstay_core::token::Marks;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::options::Options;
use crate::saga::Steps;
use crate::store::claim::Claimed;
use crate::store::settle::Ties;

/// One run of one job.
#[derive(Debug)]
pub(crate) struct Call {
    /// Of a cluster the primary alone: the queue's state is never read from a replica.
    pub(crate) primary: Db,
    /// As the worker was given it.
    pub(crate) given: Db,
    /// What it sees from replicas at least.
    pub(crate) marks: Marks,
    pub(crate) queue: std::sync::Arc<str>,
    pub(crate) job: Claimed,
    pub(crate) max_attempts: u32,
    pub(crate) keep: Option<Duration>,
    /// It has a record in the database; a message of somebody else's has none.
    pub(crate) recorded: bool,
    /// Its handler has completed it in a transaction.
    pub(crate) completed: AtomicBool,
    pub(crate) has_progress: AtomicBool,
    /// The run is over, whoever still looks at it.
    pub(crate) ended: AtomicBool,
    /// Somebody wants it cancelled.
    pub(crate) cancelled: AtomicBool,
    pub(crate) cancel: Notify,
    pub(crate) steps: Steps,
}

static NONE: Options = Options {
    max_attempts: None,
    timeout_ms: None,
    deadline_us: None,
    retention_ms: None,
    unique: None,
    ordering_key: None,
    limit_key: None,
    batch_key: None,
    event: None,
    headers: std::collections::BTreeMap::new(),
    steps: false,
    undoing: None,
    rate_paid: false,
    key_rate_paid: false,
};

impl Call {
    pub(crate) fn options(&self) -> &Options {
        self.job.options.as_deref().unwrap_or(&NONE)
    }

    /// What its end touches beside its row.
    pub(crate) fn ties(&self) -> Ties {
        let options = self.options();
        Ties {
            keys: self.job.careful,
            unique: options.unique.is_some(),
            steps: options.steps || self.steps.any(),
            progress: self.has_progress.load(Relaxed),
        }
    }

    pub(crate) fn keep_us(&self) -> Option<i64> {
        self.keep.map(crate::options::micros)
    }

    /// Asks the run to end.
    pub(crate) fn ask_to_end(&self) {
        self.cancelled.store(true, Relaxed);
        self.cancel.notify_waiters();
        self.cancel.notify_one();
    }

    /// Its payload as `T`, brought up to `version` by `upcast`. Errors: JOB-003.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        version: u32,
        upcast: fn(u32, serde_json::Value) -> Result<serde_json::Value>,
    ) -> Result<T> {
        let job = &self.job;
        let wrong = |why: String| {
            let what =
                format!("the payload of `{}` (version {}) can't be read", job.name, job.version);
            Error::new(Code::JobPayload, what).why(why)
        };
        if job.version == version {
            return serde_json::from_str(&job.payload).map_err(|e| wrong(without_values(&e)));
        }
        let value = serde_json::from_str(&job.payload).map_err(|e| wrong(without_values(&e)))?;
        let value = upcast(job.version, value).map_err(|e| wrong(e.to_string()).cause(e))?;
        serde_json::from_value(value).map_err(|e| wrong(without_values(&e)))
    }
}

/// serde quotes what it found; a payload may be private. Its kind and place are enough.
fn without_values(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let known =
        ["missing field", "unknown variant", "unknown field", "duplicate field", "EOF while"];
    if known.iter().any(|start| text.starts_with(start)) && !text.starts_with("unknown variant") {
        return text;
    }
    let place = format!("at line {} column {}", error.line(), error.column());
    match text.split_once(", expected ") {
        Some((_, expected)) => {
            let expected = expected.split(" at line").next().unwrap_or_default();
            format!("{expected} was expected {place}")
        }
        None => format!("it is no JSON of that shape {place}"),
    }
}
