//! What people do with jobs: look, try again, cancel, pause, drain. What `mainstay jobs` and a console
//! show is from here. Every action is written down with who did it, in the transaction that does it.
//!
//! ```text
//!            delay, retry, snooze, timer
//!          +----------------------------+
//!          v                            |
//!     scheduled --due--> ready --claim--> running --> completed   (gone, or kept for its retention)
//!                        ^   |           |    |
//!                        |   +-> parked  |    +-----> cancelled   (kept 7 days)
//!                        |   (for a key) |    |
//!                        |    |          |    +-----> dead        (kept 90 days)
//!                        +----+          +--> handed (to a broker) --> running
//! ```

mod act;
mod audit;
mod drain;
mod group;
mod list;
mod stats;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use mainstay_core::{Code, Error};
use mainstay_db::Db;
use serde::Serialize;

pub use act::Act;
pub use audit::Audit;
pub use group::GroupStats;
pub use list::{Filter, JobDetail, JobInfo, Progress, StepInfo};
pub use stats::{QueueStats, Stats, WorkerStats};

use crate::job::JobId;

/// Looks at jobs and acts on them, on behalf of somebody.
///
/// ```
/// # async fn f(db: mainstay_db::Db) -> mainstay_core::Result<()> {
/// use mainstay_jobs::admin::{Admin, Filter, State};
///
/// let admin = Admin::new(&db, "ada@ops");
/// let dead = Filter { state: Some(State::Dead), ..Filter::default() };
/// for job in admin.list(&dead).await? {
///     println!("{} {}", job.id, job.name);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Admin {
    db: Db,
    actor: String,
}

impl Admin {
    /// `actor` is who is written down for what is done; at most 200 characters of it.
    pub fn new(db: &Db, actor: impl Into<String>) -> Self {
        let actor = actor.into().chars().take(200).collect();
        Self { db: db.clone(), actor }
    }
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may be run now.
    Ready,
    /// It runs later: a delay, a retry, a timer, or a rate.
    Scheduled,
    /// It waits for a key that others have.
    Parked,
    /// A worker has it.
    Running,
    /// A broker has it.
    Handed,
    /// It was done, and is kept for its retention.
    Completed,
    /// It ended without being done, and nobody need look at it.
    Cancelled,
    /// It failed for good: somebody should look at it.
    Dead,
}

impl State {
    const ALL: [State; 8] = [
        State::Ready,
        State::Scheduled,
        State::Parked,
        State::Running,
        State::Handed,
        State::Completed,
        State::Cancelled,
        State::Dead,
    ];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Scheduled => "scheduled",
            State::Parked => "parked",
            State::Running => "running",
            State::Handed => "handed",
            State::Completed => "completed",
            State::Cancelled => "cancelled",
            State::Dead => "dead",
        }
    }

    /// As the tables have it, for one that has ended.
    fn ended(number: i16) -> Option<Self> {
        match number {
            1 => Some(State::Completed),
            2 => Some(State::Cancelled),
            3 => Some(State::Dead),
            _ => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let all = Self::ALL.map(State::as_str).join(", ");
            Error::new(Code::JobOption, format!("`{text}` is no state of a job"))
                .fix(format!("one of {all}"))
        })
    }
}

/// What was done about one job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Acted {
    /// The job.
    pub id: JobId,
    /// Whether it was done.
    pub done: bool,
    /// What, or why not.
    pub what: String,
}

fn time(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).unwrap_or_default()
}
