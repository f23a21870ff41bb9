//! What is being done with a connection: said by whoever uses it, read by reports. The pool knows no
//! statements; it only keeps their text.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_core::clock::{Clock, Tick};

use crate::leak::shortened;

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
    /// The beginning of `text` on one line, as reports show it: at most 120 characters.
    pub fn shortened(text: &str) -> String {
        shortened(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            What::Static(text) => text,
            What::Shared(text) => text,
        }
    }
}

/// Notes what is done with one connection. The pool gives it to
/// [`Manage::attach`](crate::Manage::attach); a clone costs no allocation, a note some nanoseconds.
#[derive(Clone, Debug)]
pub struct Activity(Arc<Notes>);

#[derive(Debug)]
struct Notes {
    clock: Clock,
    /// How many times something was begun: tells a holder's own doings from those before.
    begun: AtomicU32,
    busy: AtomicBool,
    begun_at: AtomicI64,
    /// When something began, went on or ended.
    changed: AtomicI64,
    transaction: AtomicI64,
    last: Mutex<Option<What>>,
}

/// No moment.
const NONE: i64 = i64::MIN;

impl Activity {
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Arc::new(Notes {
            clock,
            begun: AtomicU32::new(0),
            busy: AtomicBool::new(false),
            begun_at: AtomicI64::new(NONE),
            changed: AtomicI64::new(NONE),
            transaction: AtomicI64::new(NONE),
            last: Mutex::new(None),
        }))
    }

    /// `what` begins.
    pub fn begins(&self, what: What) {
        let notes = &*self.0;
        *notes.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
        notes.begun.fetch_add(1, Relaxed);
        let now = notes.clock.coarse().nanos();
        notes.begun_at.store(now, Relaxed);
        notes.changed.store(now, Relaxed);
        notes.busy.store(true, Relaxed);
    }

    /// What began is waited for again, or something else that has no name.
    pub fn resumes(&self) {
        self.0.begun.fetch_add(1, Relaxed);
        self.0.busy.store(true, Relaxed);
    }

    /// What began is over, or waits for its user: nothing is under way any more.
    pub fn ends(&self) {
        self.0.busy.store(false, Relaxed);
        self.0.changed.store(self.0.clock.coarse().nanos(), Relaxed);
    }

    /// A transaction is open from now on, or none is any more.
    pub fn in_transaction(&self, open: bool) {
        let since = if open { self.0.clock.coarse().nanos() } else { NONE };
        self.0.transaction.store(since, Relaxed);
    }

    pub(crate) fn begun(&self) -> u32 {
        self.0.begun.load(Relaxed)
    }

    /// Whether something is under way.
    pub fn is_busy(&self) -> bool {
        self.0.busy.load(Relaxed)
    }

    /// Since when a transaction is open.
    pub(crate) fn transaction(&self) -> Option<Tick> {
        moment(self.0.transaction.load(Relaxed))
    }

    /// When what was last begun began.
    pub fn begun_at(&self) -> Option<Tick> {
        moment(self.0.begun_at.load(Relaxed))
    }

    /// When something last began, went on or ended.
    pub fn changed(&self) -> Option<Tick> {
        moment(self.0.changed.load(Relaxed))
    }

    /// What was last begun.
    pub fn last(&self) -> Option<What> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn moment(nanos: i64) -> Option<Tick> {
    (nanos != NONE).then(|| Tick::from_nanos(nanos))
}
