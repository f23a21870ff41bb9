//! Who has a connection, since when, and what they do with it: what reports are made of.

use std::time::Duration;

use mainstay_core::Place;
use mainstay_core::clock::Tick;
use mainstay_core::scope::Scope;

use crate::activity::{Activity, What};
use crate::nested::Asker;

/// Who has a connection.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) place: Place,
    pub(crate) scope: Option<Scope>,
    pub(crate) asker: Asker,
    pub(crate) since: Tick,
    pub(crate) wait: Duration,
    /// How much had been done with the connection before.
    pub(crate) before: u32,
    /// A leak was reported, so its return is reported too.
    pub(crate) leak_told: bool,
    /// A transaction that lies idle was reported.
    pub(crate) idle_told: bool,
}

/// A connection in somebody's hands, as [`Pool::in_use`](crate::Pool::in_use) lists it.
#[derive(Clone, Debug)]
pub struct InUse {
    /// The connection's number, unique within the process.
    pub connection: u64,
    /// Where the program asked for it.
    pub place: Place,
    /// The request or job it was for.
    pub scope: Option<Scope>,
    /// For how long it has been held.
    pub held: Duration,
    /// For how long nothing has been done with it; `None` while something is under way.
    pub idle: Option<Duration>,
    /// For how long a transaction has been open on it.
    pub transaction: Option<Duration>,
    /// What was last done with it.
    pub last: Option<What>,
}

impl Holder {
    /// Since when nothing has been done with the connection; `None` while something is.
    pub(crate) fn idle_since(&self, activity: &Activity) -> Option<Tick> {
        if activity.begun() == self.before {
            return Some(self.since);
        }
        let changed = activity.changed().map_or(self.since, |at| at.max(self.since));
        (!activity.is_busy()).then_some(changed)
    }

    pub(crate) fn in_use(&self, connection: u64, activity: &Activity, now: Tick) -> InUse {
        let used = activity.begun() != self.before;
        let held = now.since(self.since);
        InUse {
            connection,
            place: self.place,
            scope: self.scope.clone(),
            held,
            idle: self.idle_since(activity).map(|at| now.since(at)),
            // By another clock, which may be some milliseconds behind.
            transaction: activity.transaction().map(|at| now.since(at).min(held)),
            last: used.then(|| activity.last()).flatten(),
        }
    }
}

impl InUse {
    /// `POST /orders (src/orders.rs:88)`, or the place alone.
    pub fn who(&self) -> String {
        who(self.scope.as_ref(), self.place)
    }

    /// `idle in a transaction`, `running a statement` and the like.
    pub fn state(&self) -> &'static str {
        match (self.idle, self.transaction) {
            (None, Some(_)) => "running a statement in a transaction",
            (None, None) => "running a statement",
            (Some(_), Some(_)) => "idle in a transaction",
            (Some(_), None) => "idle",
        }
    }
}

pub(crate) fn who(scope: Option<&Scope>, place: Place) -> String {
    match scope {
        Some(scope) => format!("{} ({place})", scope.name()),
        None => place.to_string(),
    }
}
