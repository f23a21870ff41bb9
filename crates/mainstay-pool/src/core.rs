//! The state of a pool and its transitions: what is open, what is idle, who waits, who holds.
//!
//! Plain data under one lock. It awaits nothing, spawns nothing and wakes nobody itself: a
//! transition returns what its caller must do when the lock has been let go.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mainstay_core::scope::Scope;
use mainstay_core::{Error, Place};

use crate::options::Options;
use crate::waiters::{Key, Waiters};

/// The first wait after a failed connect; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(25);
/// Short enough that a pool is back within a second of its database.
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// An open connection with what the pool knows of it.
#[derive(Debug)]
pub(crate) struct Live<C> {
    pub(crate) connection: C,
    pub(crate) id: u64,
    /// Its place in [`Core::holders`].
    slot: usize,
    pub(crate) expires: Option<Instant>,
    /// When it last came back.
    pub(crate) idle_since: Instant,
}

/// Who has a connection.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) place: Place,
    pub(crate) scope: Option<Scope>,
    pub(crate) since: Instant,
}

/// The last failure to connect.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: Arc<Error>,
    /// No connect is tried before.
    pub(crate) until: Instant,
    backoff: Duration,
}

/// What a waiter gets.
#[derive(Debug)]
pub(crate) enum Given<C> {
    Connection(Live<C>),
    Down(Arc<Error>),
    Closed,
}

/// What an acquire gets at once.
pub(crate) enum Got<C> {
    Now(Live<C>),
    Wait(Key),
    Down(Arc<Error>),
    Full,
    Closed,
}

#[derive(Debug)]
pub(crate) struct Core<C> {
    pub(crate) idle: Vec<Live<C>>,
    pub(crate) waiters: Waiters<Given<C>>,
    holders: Vec<Option<Holder>>,
    free_slots: Vec<usize>,
    /// Idle, held and recovering; not those being opened.
    pub(crate) open: usize,
    pub(crate) connecting: usize,
    pub(crate) closed: bool,
    pub(crate) failure: Option<Failure>,
}

impl<C> Core<C> {
    pub(crate) fn new() -> Self {
        Self {
            idle: Vec::new(),
            waiters: Waiters::new(),
            holders: Vec::new(),
            free_slots: Vec::new(),
            open: 0,
            connecting: 0,
            closed: false,
            failure: None,
        }
    }

    /// The most recently used idle connection, or a place in the queue. `again` is set by one that
    /// had a connection which turned out dead: it waits at the front.
    pub(crate) fn acquire(&mut self, options: &Options, now: Instant, again: bool) -> Got<C> {
        if self.closed {
            return Got::Closed;
        }
        // Nobody is overtaken: while anybody waits, nothing is idle.
        if let Some(live) = self.idle.pop() {
            return Got::Now(live);
        }
        // Until it is known to be back, one connect at a time asks, and nobody waits for its answer
        // but the one who began it.
        if self.open == 0
            && let Some(failure) = self.failure.as_ref()
            && (now < failure.until || self.connecting > 0)
        {
            return Got::Down(Arc::clone(&failure.error));
        }
        if self.waiters.len() >= options.max_waiting as usize {
            return Got::Full;
        }
        Got::Wait(self.waiters.join(again))
    }

    pub(crate) fn hold(&mut self, live: &Live<C>, holder: Holder) {
        self.holders[live.slot] = Some(holder);
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.holders.iter().flatten()
    }

    /// Takes back a clean connection: to the first waiter, or among the idle.
    pub(crate) fn put(&mut self, live: Live<C>) -> Option<Waker> {
        self.holders[live.slot] = None;
        // Somebody has just used the database: an old failure to reach it says nothing any more.
        self.failure = None;
        match self.waiters.give(Given::Connection(live)) {
            Ok(waker) => waker,
            Err(Given::Connection(live)) => {
                self.idle.push(live);
                None
            }
            Err(Given::Down(_) | Given::Closed) => None,
        }
    }

    /// A connection is gone; the connection itself is what remains to be dropped or closed.
    pub(crate) fn forget(&mut self, live: Live<C>) -> C {
        self.holders[live.slot] = None;
        self.free_slots.push(live.slot);
        self.open -= 1;
        live.connection
    }

    /// How many connects to start now; they are counted as begun.
    pub(crate) fn begin_connects(&mut self, options: &Options, now: Instant) -> usize {
        if self.closed || self.failure.as_ref().is_some_and(|f| now < f.until) {
            return 0;
        }
        // While the database is down, one connect at a time asks whether it is back.
        let at_once = if self.failure.is_some() { 1 } else { options.max_connecting as usize };
        let room = (options.max_size as usize).saturating_sub(self.open + self.connecting);
        let wanted = self
            .waiters
            .len()
            .max((options.min_idle as usize).saturating_sub(self.idle.len()))
            .saturating_sub(self.connecting);
        let begun = wanted.min(room).min(at_once.saturating_sub(self.connecting));
        self.connecting += begun;
        begun
    }

    pub(crate) fn connected(
        &mut self,
        connection: C,
        id: u64,
        expires: Option<Instant>,
        now: Instant,
    ) -> Live<C> {
        self.connecting -= 1;
        self.open += 1;
        self.failure = None;
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.holders.push(None);
            self.holders.len() - 1
        });
        Live { connection, id, slot, expires, idle_since: now }
    }

    /// A connect failed. Where no open connection is left to wait for, all waiters are told.
    pub(crate) fn connect_failed(&mut self, error: &Arc<Error>, now: Instant) -> Vec<Waker> {
        self.connecting -= 1;
        let backoff = self.failure.take().map_or(BACKOFF_MIN, |f| (f.backoff * 2).min(BACKOFF_MAX));
        self.failure = Some(Failure { error: Arc::clone(error), until: now + backoff, backoff });
        if self.open == 0 && self.connecting == 0 {
            self.tell_all(|| Given::Down(Arc::clone(error)))
        } else {
            Vec::new()
        }
    }

    /// Nobody gets a connection any more.
    pub(crate) fn close(&mut self) -> (Vec<C>, Vec<Waker>) {
        self.closed = true;
        let idle = std::mem::take(&mut self.idle);
        let idle = idle.into_iter().map(|live| self.forget(live)).collect();
        (idle, self.tell_all(|| Given::Closed))
    }

    /// Idle connections past their lifetime, and those idle for too long above `min_idle`.
    pub(crate) fn reap(&mut self, options: &Options, now: Instant) -> Vec<C> {
        let mut spare = self.idle.len().saturating_sub(options.min_idle as usize);
        let (mut kept, mut gone) = (Vec::with_capacity(self.idle.len()), Vec::new());
        // The least recently used are first.
        for live in std::mem::take(&mut self.idle) {
            let expired = live.expires.is_some_and(|at| at <= now);
            let idle = options.idle_timeout.is_some_and(|limit| live.idle_since + limit <= now);
            if expired || (idle && spare > 0) {
                spare = spare.saturating_sub(1);
                gone.push(live);
            } else {
                kept.push(live);
            }
        }
        self.idle = kept;
        gone.into_iter().map(|live| self.forget(live)).collect()
    }

    fn tell_all(&mut self, what: impl Fn() -> Given<C>) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Ok(waker) = self.waiters.give(what()) {
            wakers.extend(waker);
        }
        wakers
    }
}
