//! Enqueueing: in the caller's transaction where there is one, so that a job is there exactly if the
//! transaction committed.

use std::future::IntoFuture;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_core::future::BoxFuture;
use mainstay_core::{Code, Error, Place, Result};
use mainstay_db::Db;

use crate::job::{Job, JobId};
use crate::options::{self, micros};
use crate::store::enqueue::{self as store, Due, New, Unique};

/// What became of a job that was enqueued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is in the queue.
    New(JobId),
    /// Nothing was enqueued: this one has the same unique key.
    Duplicate(JobId),
}

impl Enqueued {
    /// The job that is there now.
    pub fn id(self) -> JobId {
        match self {
            Enqueued::New(id) | Enqueued::Duplicate(id) => id,
        }
    }

    /// Whether it was enqueued by this call.
    pub fn is_new(self) -> bool {
        matches!(self, Enqueued::New(_))
    }
}

/// A job that is being enqueued: await it. Made by [`Jobs::enqueue`](crate::Jobs::enqueue).
///
/// Cancel safe: dropped, the job is there or not as with any statement; in a transaction it ends that
/// (TX-005).
///
/// Errors: JOB-010 (an option out of its bounds), JOB-003 (not writable as JSON), JOB-001 (no tables),
/// and those of a statement.
#[must_use = "nothing is enqueued until it is awaited"]
#[derive(Debug)]
pub struct Enqueue<'d> {
    db: &'d Db,
    new: New,
    wrong: Option<Error>,
    place: Place,
}

impl<'d> Enqueue<'d> {
    #[track_caller]
    pub(crate) fn new<J: Job>(db: &'d Db, job: &J) -> Self {
        let (new, wrong) = match record(job) {
            Ok(new) => (new, None),
            Err(error) => (New::default(), Some(error)),
        };
        Self { db, new, wrong, place: Place::here() }
    }

    fn check(mut self, outcome: Result<()>) -> Self {
        if let Err(error) = outcome {
            self.wrong.get_or_insert(error);
        }
        self
    }

    /// Another queue than the type's. 1 to 100 characters of `A-Z a-z 0-9 _ . : -`.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.new.queue = name.into();
        let checked = options::check_queue(&self.new.queue);
        self.check(checked)
    }

    /// Not before this much time has passed, by the database's clock. At most 100 years.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.new.due = Due::After(micros(delay.min(Duration::from_hours(24 * 36_500))));
        self
    }

    /// Not before this time, by the database's clock.
    pub fn at(mut self, time: DateTime<Utc>) -> Self {
        self.new.due = Due::At(time.timestamp_micros());
        self
    }

    /// The smaller runs first. Default: the type's.
    pub fn priority(mut self, priority: i16) -> Self {
        self.new.priority = priority;
        self
    }

    /// At most one job with this key, of whatever type and queue, that has not ended. At most 190
    /// characters. A transaction that enqueues the same key waits for one that did so before it.
    pub fn unique(self, key: impl Into<String>) -> Self {
        self.unique_with(key.into(), None)
    }

    /// At most one job with this key within `window` from now, whether or not it has ended.
    pub fn unique_for(self, key: impl Into<String>, window: Duration) -> Self {
        self.unique_with(key.into(), Some(micros(window)))
    }

    fn unique_with(mut self, key: String, window_us: Option<i64>) -> Self {
        let checked = options::check_key("unique key", &key);
        self.new.options.unique = Some(key);
        self.new.unique = Some(Unique { window_us });
        self.check(checked)
    }

    /// How long one attempt may take. At least a millisecond.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.new.options.timeout_ms = Some((timeout.as_millis() as u64).max(1));
        self
    }

    /// When it must be done: later it is not begun, and goes to the dead letters (JOB-006).
    pub fn deadline(mut self, time: DateTime<Utc>) -> Self {
        self.new.options.deadline_us = Some(time.timestamp_micros());
        self
    }

    /// How often it is tried. At least once.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.new.options.max_attempts = Some(attempts.max(1));
        self
    }

    /// Jobs of one queue with the same ordering key run one at a time, in the order in which they were
    /// enqueued within a priority, the better priority first; one that fails keeps the others waiting until
    /// it is done or dead.
    pub fn ordering_key(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        let checked = options::check_key("ordering key", &key);
        self.new.options.ordering_key = Some(key);
        self.check(checked)
    }

    /// What the queue's limits per key ([`Queue`](crate::Queue)) count by.
    pub fn limit_key(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        let checked = options::check_key("limit key", &key);
        self.new.options.limit_key = Some(key);
        self.check(checked)
    }

    /// What a handler of batches groups by; default: all of its type.
    pub fn batch_key(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        let checked = options::check_key("batch key", &key);
        self.new.options.batch_key = Some(key);
        self.check(checked)
    }

    /// How long it is kept after it was completed, with its result.
    pub fn retention(mut self, time: Duration) -> Self {
        self.new.options.retention_ms = Some(time.as_millis() as u64);
        self
    }

    /// Something beside the payload, such as a trace's id; 8 KiB together.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.new.options.headers.insert(name.into(), value.into());
        let all = &self.new.options.headers;
        let size: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
        let checked = if size > options::HEADERS_MAX {
            let what = format!("the headers of `{}` have {size} bytes", self.new.name);
            Err(Error::new(Code::JobOption, what)
                .why(format!("they may have {}", options::HEADERS_MAX)))
        } else {
            Ok(())
        };
        self.check(checked)
    }
}

/// A job as it is enqueued without any further wish. Errors: JOB-003, JOB-010.
pub(crate) fn record<J: Job>(job: &J) -> Result<New> {
    options::check_name(J::NAME)?;
    options::check_queue(J::QUEUE)?;
    Ok(New {
        queue: J::QUEUE.to_owned(),
        name: J::NAME.into(),
        version: J::VERSION,
        priority: J::PRIORITY,
        payload: options::payload(J::NAME, job)?,
        ..New::default()
    })
}

impl<'d> IntoFuture for Enqueue<'d> {
    type Output = Result<Enqueued>;
    type IntoFuture = BoxFuture<'d, Result<Enqueued>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { db, new, wrong, place } = self;
            if let Some(error) = wrong {
                return Err(error.at(place));
            }
            let mut all = store::enqueue(db, vec![new]).await.map_err(|e| e.at(place))?;
            Ok(all.pop().expect("one was enqueued"))
        })
    }
}
