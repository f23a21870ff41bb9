//! The state of a pool and its transitions: how much is open, what is idle, who waits.
//!
//! What is idle can be taken and given back without the lock; all else is decided under it, with
//! the gate of the idle ones shut. It awaits nothing, spawns nothing and wakes nobody itself: a
//! transition returns what its caller must do when the lock has been let go.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;

use mainstay_core::Error;
use mainstay_core::clock::Tick;

use crate::options::Options;
use crate::shed::Shedding;
use crate::slots::{SLOTS_MAX, Slots};
use crate::sync::{Mutex, MutexGuard};
use crate::waiters::{Key, Ticket, Waiters};

/// The first wait after a failed connect; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(25);
/// Short enough that a pool is back within a second of its database.
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// While connections come back, a second one is not opened beside the first before somebody has
/// waited for this long: most bursts are over by then.
const PATIENCE: Duration = Duration::from_millis(50);

/// The last failure to connect.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: Arc<Error>,
    /// No connect is tried before.
    pub(crate) until: Tick,
    backoff: Duration,
    /// Somebody has asked since, so that it is worth trying again.
    pub(crate) asked: bool,
    /// A task of the pool tries again by itself: nobody else need.
    pub(crate) retrying: bool,
}

/// What a waiter gets.
#[derive(Debug)]
pub(crate) enum Given {
    /// A clean connection, by its slot.
    Slot(u32),
    Down(Arc<Error>),
    Shed,
    Closed,
}

/// What an acquire gets at once.
#[derive(Debug)]
pub(crate) enum Got {
    Slot(u32),
    Wait(Key),
    Down(Arc<Error>),
    Full,
    Shed,
    Closed,
}

/// Where a connection that came back went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Kept,
    /// There are too many: close it.
    Surplus,
}

/// Those to wake when the lock has been let go.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    /// Mostly it is one, which costs no allocation.
    first: Option<Waker>,
    rest: Vec<Waker>,
}

impl Woken {
    fn add(&mut self, waker: Option<Waker>) {
        match (&self.first, waker) {
            (None, waker) => self.first = waker,
            (Some(_), waker) => self.rest.extend(waker),
        }
    }

    pub(crate) fn wake(self) {
        self.first.into_iter().chain(self.rest).for_each(Waker::wake);
    }
}

/// The slots, with a `T` each, and the state that is changed under the lock.
pub(crate) struct Hub<T> {
    pub(crate) slots: Slots<T>,
    core: Mutex<Core>,
}

/// All but the idle ones.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) waiters: Waiters<Given>,
    /// Slots that had a connection before.
    free: Vec<u32>,
    /// The first slot that never had one.
    fresh: u32,
    /// Idle, held and being put right; not those being opened.
    pub(crate) open: usize,
    pub(crate) connecting: usize,
    /// Idle ones that are being asked whether they live.
    pub(crate) asked: usize,
    pub(crate) closed: bool,
    pub(crate) suspended: bool,
    pub(crate) failure: Option<Failure>,
    pub(crate) max_size: usize,
    min_idle: usize,
    max_connecting: usize,
    max_waiting: usize,
    shedding: Shedding,
}

/// The lock, with the gate shut. Letting it go opens the gate again if nothing speaks against it.
pub(crate) struct Locked<'a, T: Default> {
    slots: &'a Slots<T>,
    core: MutexGuard<'a, Core>,
}

impl<T: Default> Hub<T> {
    pub(crate) fn new(options: &Options) -> Self {
        let core = Core {
            waiters: Waiters::new(),
            free: Vec::new(),
            fresh: 0,
            open: 0,
            connecting: 0,
            asked: 0,
            closed: false,
            suspended: false,
            failure: None,
            max_size: options.max_size as usize,
            min_idle: options.min_idle as usize,
            max_connecting: options.max_connecting as usize,
            max_waiting: options.max_waiting as usize,
            shedding: Shedding::new(options.shed_target),
        };
        Self { slots: Slots::new(), core: Mutex::new(core) }
    }

    /// To decide something. No code that can panic runs under this lock, so a poisoned one is as
    /// good as new.
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        self.slots.set_gate(true);
        Locked { slots: &self.slots, core }
    }

    /// To look at it only.
    pub(crate) fn look(&self) -> impl Deref<Target = Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Default> Locked<'_, T> {
    /// The most recently used idle connection, or a place in the queue. `again` is set by one that
    /// had a connection which turned out dead: it waits at the front.
    pub(crate) fn acquire(&mut self, ticket: Ticket, now: Tick, again: bool, waker: &Waker) -> Got {
        if self.closed {
            return Got::Closed;
        }
        // Nobody is overtaken: while anybody waits, nothing is idle.
        if !self.suspended
            && let Some(slot) = self.slots.pop_gated()
        {
            return Got::Slot(slot);
        }
        // While the database is down nobody waits for a connect, save the first to ask after a
        // silence.
        let (open, connecting) = (self.open, self.connecting);
        let unserved = open == 0 && !self.suspended;
        if let Some(failure) = self.failure.as_mut().filter(|_| unserved) {
            failure.asked = true;
            if failure.retrying || connecting > 0 || now < failure.until {
                return Got::Down(Arc::clone(&failure.error));
            }
        }
        if self.shedding.refuses(&ticket, now) {
            return Got::Shed;
        }
        if self.waiters.len() >= self.max_waiting {
            return Got::Full;
        }
        if !self.suspended {
            self.shedding.joined(now);
        }
        Got::Wait(self.waiters.join(ticket, again, Some(waker.clone())))
    }

    /// Takes a clean connection: for the first waiter that is still worth serving, or among the
    /// idle.
    pub(crate) fn put(&mut self, slot: u32, now: Tick) -> (Put, Woken) {
        let mut woken = Woken::default();
        if self.closed || self.open > self.max_size {
            return (Put::Surplus, woken);
        }
        if self.suspended {
            self.slots.push_gated(slot);
            return (Put::Kept, woken);
        }
        let core = &mut *self.core;
        while core.waiters.first().is_some_and(|t| core.shedding.refuses(t, now)) {
            woken.add(core.waiters.give(Given::Shed).unwrap_or(None));
        }
        match core.waiters.give(Given::Slot(slot)) {
            Ok(waker) => woken.add(waker),
            Err(_) => self.slots.push_gated(slot),
        }
        (Put::Kept, woken)
    }

    /// Those who waited for the end of the suspension are served from what is idle. Returns what is
    /// too many, to be closed.
    pub(crate) fn resume(&mut self, now: Tick) -> (Vec<u32>, Woken) {
        self.suspended = false;
        // Waiting for this was no sign of overload.
        self.shedding.begins_anew(now);
        let (mut surplus, mut woken) = (Vec::new(), Woken::default());
        while self.waiters.len() > 0
            && let Some(slot) = self.slots.pop_gated()
        {
            let (put, some) = self.put(slot, now);
            some.first.into_iter().chain(some.rest).for_each(|w| woken.add(Some(w)));
            if put == Put::Surplus {
                surplus.push(slot);
            }
        }
        (surplus, woken)
    }

    /// Nobody gets a connection any more. Returns the slots that were idle.
    pub(crate) fn close(&mut self) -> (Vec<u32>, Woken) {
        self.closed = true;
        (self.take_idle(), self.tell_all(|| Given::Closed))
    }

    /// All that is idle, the most recently used first.
    pub(crate) fn take_idle(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.slots.pop_gated()).collect()
    }

    /// Puts back what [`take_idle`](Self::take_idle) gave, the least recently used first.
    pub(crate) fn push_idle(&mut self, slot: u32) {
        self.slots.push_gated(slot);
    }

    /// How many connects to start now; they are counted as begun.
    pub(crate) fn begin_connects(&mut self, now: Tick) -> usize {
        if self.closed || self.suspended || self.failure.as_ref().is_some_and(|f| now < f.until) {
            return 0;
        }
        // Those that are only being asked whether they live are as good as idle.
        let idle = self.slots.idle() + self.asked;
        let waited = self.waiters.first().map(|t| now.since(t.asked));
        let at_once = if self.failure.is_some() {
            // While the database is down, one connect at a time asks whether it is back.
            1
        } else if self.open > 0 && waited.is_some_and(|w| w < PATIENCE) {
            1
        } else {
            self.max_connecting
        };
        let room = self.max_size.saturating_sub(self.open + self.connecting);
        let wanted = self
            .waiters
            .len()
            .max(self.min_idle.saturating_sub(idle))
            .saturating_sub(self.connecting);
        let begun = wanted.min(room).min(at_once.saturating_sub(self.connecting));
        self.connecting += begun;
        begun
    }

    /// A connect succeeded: the slot for its connection.
    pub(crate) fn connected(&mut self, now: Tick) -> u32 {
        self.connecting -= 1;
        self.open += 1;
        self.failure = None;
        if self.open == 1 {
            // What was waited for is that it opens.
            self.shedding.begins_anew(now);
        }
        self.free.pop().unwrap_or_else(|| {
            self.fresh += 1;
            debug_assert!(self.fresh <= SLOTS_MAX, "max_size is bounded");
            self.fresh - 1
        })
    }

    /// A connect failed. Where no open connection is left to wait for, all waiters are told.
    pub(crate) fn connect_failed(&mut self, error: &Arc<Error>, now: Tick) -> Woken {
        self.connecting -= 1;
        let before = self.failure.take();
        let backoff = before.as_ref().map_or(BACKOFF_MIN, |f| (f.backoff * 2).min(BACKOFF_MAX));
        let waiting = self.waiters.len() > 0;
        self.failure = Some(Failure {
            error: Arc::clone(error),
            until: now + backoff,
            backoff,
            asked: waiting || before.as_ref().is_some_and(|f| f.asked),
            retrying: before.is_some_and(|f| f.retrying),
        });
        if self.open == 0 && self.connecting == 0 && !self.suspended {
            self.tell_all(|| Given::Down(Arc::clone(error)))
        } else {
            Woken::default()
        }
    }

    /// When the caller is to try again, if nobody else does and it is worth it: somebody has asked
    /// since the last try, or some are to be kept ready. It then has to.
    pub(crate) fn retry_at(&mut self) -> Option<Tick> {
        let wanted = self.min_idle > 0 || self.waiters.len() > 0;
        let idle = self.closed || self.suspended || self.connecting > 0;
        let failure = self.failure.as_mut().filter(|f| !idle && !f.retrying)?;
        failure.retrying = std::mem::take(&mut failure.asked) || wanted;
        failure.retrying.then_some(failure.until)
    }

    /// Whether the task that tries again is to connect now; counted as begun then.
    pub(crate) fn begin_retry(&mut self) -> bool {
        self.no_retry();
        let begun = self.failure.is_some()
            && !self.closed
            && !self.suspended
            && self.connecting == 0
            && self.open < self.max_size;
        self.connecting += usize::from(begun);
        begun
    }

    /// The task that was to try again is gone.
    pub(crate) fn no_retry(&mut self) {
        if let Some(failure) = self.failure.as_mut() {
            failure.retrying = false;
        }
    }

    /// The connection of `slot` is gone.
    pub(crate) fn forget(&mut self, slot: u32) {
        self.free.push(slot);
        self.open -= 1;
    }

    pub(crate) fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
    }

    fn tell_all(&mut self, what: impl Fn() -> Given) -> Woken {
        let mut woken = Woken::default();
        while let Ok(waker) = self.waiters.give(what()) {
            woken.add(waker);
        }
        woken
    }
}

impl Core {
    /// The slots that ever had a connection are those below.
    pub(crate) fn slots_used(&self) -> u32 {
        self.fresh
    }

    pub(crate) fn min_idle(&self) -> usize {
        self.min_idle
    }

    /// Whether taking and giving back is to be decided under the lock.
    fn needs_lock(&self) -> bool {
        self.closed || self.suspended || self.waiters.len() > 0 || self.open > self.max_size
    }
}

impl<T: Default> Deref for Locked<'_, T> {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl<T: Default> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl<T: Default> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        if self.core.waiters.len() == 0 {
            self.core.shedding.emptied();
        }
        self.slots.set_gate(self.core.needs_lock());
    }
}
