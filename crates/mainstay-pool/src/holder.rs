//! Who has a connection, since when, and what they do with it: what reports are made of.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::Place;
use mainstay_core::clock::Tick;
use mainstay_core::scope::Scope;

use crate::nested::Asker;

/// Who has a connection.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) place: Place,
    pub(crate) scope: Option<Scope>,
    pub(crate) asker: Asker,
    pub(crate) since: Tick,
    pub(crate) wait: Duration,
    pub(crate) doing: Doing,
    /// A leak was reported, so its return is reported too.
    pub(crate) leak_told: bool,
}

/// What a holder does with it, as far as it says so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doing {
    pub(crate) last: Option<What>,
    /// Whether `last` is under way.
    pub(crate) busy: bool,
    /// When `last` began or, if it is over, ended.
    pub(crate) changed: Option<Tick>,
    /// Since when a transaction is open.
    pub(crate) transaction: Option<Tick>,
}

/// What is done with a connection, in the words of whoever does it: a statement's text, without its
/// values. A clone costs no allocation.
#[derive(Clone, Debug)]
pub enum What {
    /// A literal of the program.
    Static(&'static str),
    /// Made at run time.
    Shared(Arc<str>),
}

impl What {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            What::Static(text) => text,
            What::Shared(text) => text,
        }
    }
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
    pub(crate) fn idle_since(&self) -> Option<Tick> {
        let idle = self.doing.changed.map_or(self.since, |at| at.max(self.since));
        (!self.doing.busy).then_some(idle)
    }

    pub(crate) fn in_use(&self, connection: u64, now: Tick) -> InUse {
        let ago = |at: Tick| now.since(at);
        InUse {
            connection,
            place: self.place,
            scope: self.scope.clone(),
            held: ago(self.since),
            idle: self.idle_since().map(ago),
            transaction: self.doing.transaction.map(ago),
            last: self.doing.last.clone(),
        }
    }
}

impl InUse {
    /// `POST /orders (src/orders.rs:88)`, or the place alone.
    pub fn who(&self) -> String {
        match &self.scope {
            Some(scope) => format!("{} ({})", scope.name(), self.place),
            None => self.place.to_string(),
        }
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
