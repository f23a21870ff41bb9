//! Events: what has happened, told to whoever wants to know, in the same transaction in which it happened
//! (the outbox pattern). Each group of subscribers gets each event once; its members share them.
//!
//! A group's delivery of an event *is* a job, in a queue called `group:NAME`: retries, dead letters, order
//! per key and exactly-once effects are the job's.
//!
//! Identity columns commit out of order, so whoever reads "everything after the last one I saw" loses
//! what committed late. Here nobody does: a published event leaves a row in the outbox, whoever leads
//! takes the rows that are committed, and gives each its position then. So no reader of positions can miss
//! one, and an event that was published after another one's commit has the higher position. Of two
//! transactions that ran at the same time either may come first.

mod dispatch;
mod group;
pub(crate) mod inbox;
mod publish;
mod replay;

use std::time::Duration;

use chrono::{DateTime, Utc};
use mainstay_core::rng::Rng;
use mainstay_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use dispatch::{DISPATCH_MAX, clean, dispatch};
pub use group::unsubscribe;
pub(crate) use group::{group_of, queue_of, register};
pub use publish::Publish;
pub(crate) use publish::publish_all;
pub(crate) use replay::resume_replays;
pub use replay::{From, Replay, replay};

use crate::retry::{Action, Backoff};
use crate::worker::call::Call;

/// How long events are kept for replays after they were given to the groups.
pub(crate) const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// An event's number, given by the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub i64);

/// Something that has happened. Fields that a subscriber does not know are passed over; new ones want
/// `#[serde(default)]` in the subscriber's type.
///
/// ```
/// use mainstay_jobs::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct OrderCreated {
///     order: i64,
///     #[serde(default)]
///     coupon: Option<String>,
/// }
///
/// impl Event for OrderCreated {
///     const NAME: &'static str = "order.created";
///
///     fn key(&self) -> Option<String> {
///         Some(self.order.to_string())
///     }
/// }
/// ```
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its name, which subscribers go by. At most 100 characters.
    const NAME: &'static str;
    /// The version of its fields, for [`upcast`](Self::upcast).
    const VERSION: u32 = 1;
    /// How often a delivery is tried, until it goes to the group's dead letters.
    const MAX_ATTEMPTS: u32 = 25;
    /// How long one attempt may take.
    const TIMEOUT: Duration = Duration::from_secs(30 * 60);

    /// Events with the same key come to each group one at a time, in the order of their positions. Default:
    /// none, and no order. At most 190 characters.
    fn key(&self) -> Option<String> {
        None
    }

    /// What becomes of a delivery whose attempt failed; as [`Job::failed`](crate::Job::failed).
    fn failed(&self, attempt: u32, error: &Error) -> Action {
        let _ = error;
        Action::Retry(Backoff::polynomial().after(attempt, &Rng::system()))
    }

    /// Brings a payload that an older version wrote into the form of this one. Default: as it is.
    ///
    /// Errors: whatever it says; the delivery fails with JOB-003 and that as its cause.
    fn upcast(version: u32, payload: serde_json::Value) -> Result<serde_json::Value> {
        let _ = version;
        Ok(payload)
    }
}

/// What a subscriber is told of the event beside its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The event's number.
    pub id: EventId,
    /// Its name.
    pub name: String,
    /// Its place among all events: higher than that of each one that was committed before this one was
    /// published.
    pub position: i64,
    /// Its key.
    pub key: Option<String>,
    /// When it was published, by the database's clock.
    pub published_at: DateTime<Utc>,
    /// The version that it was written as.
    pub version: u32,
}

impl Delivered {
    pub(crate) fn of(call: &Call) -> Option<Self> {
        let event = call.options().event.as_ref()?;
        Some(Self {
            id: EventId(event.id),
            name: call.job.name.clone(),
            position: event.position,
            key: event.key.clone(),
            published_at: DateTime::from_timestamp_micros(event.created_us).unwrap_or_default(),
            version: call.job.version,
        })
    }
}
