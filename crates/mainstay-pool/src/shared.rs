//! What is behind a pool's handle: its settings, its connections, and how one comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

use mainstay_core::clock::{Clock, Tick};
use mainstay_core::observe::{Change, Checkout, Connection, Observer, Outcome, Removal};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::activity::Activity;
use crate::core::{Hub, Put};
use crate::holder::{Holder, InUse};
use crate::lifetime::Lifetimes;
use crate::manage::{Condition, Manage};
use crate::nested::Askers;
use crate::options::Options;
use crate::pool::Status;
use crate::usage::Tallies;
use crate::{leak, tend};

pub(crate) struct Shared<M: Manage> {
    pub(crate) manage: M,
    pub(crate) options: Options,
    pub(crate) name: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) observer: Observer,
    /// Where the pool's own tasks run, so that a lease may be dropped on any thread.
    pub(crate) runtime: Handle,
    pub(crate) hub: Hub<Cell<M>>,
    /// Connections of an earlier generation are closed when they come back.
    pub(crate) generation: AtomicU32,
    pub(crate) askers: Askers,
    /// Connections whose holders wait for another one.
    pub(crate) blocked: AtomicUsize,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) tallies: Tallies,
    /// Told when a connection is gone, for [`Pool::close`](crate::Pool::close).
    pub(crate) gone: Notify,
}

/// An open connection with what the pool knows of it.
#[derive(Debug)]
pub(crate) struct Live<C> {
    pub(crate) connection: C,
    pub(crate) id: u64,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) opened: Tick,
    pub(crate) expires: Option<Tick>,
    /// When somebody last gave it back.
    pub(crate) used: Tick,
    /// When it last showed that it is alive.
    pub(crate) answered: Tick,
    /// Whether somebody asked for it and has it, and so is to be told of in an event.
    pub(crate) handed_out: bool,
}

/// What a slot has.
pub(crate) struct Cell<M: Manage> {
    /// The connection while nobody has it.
    pub(crate) live: Option<Box<Live<M::Connection>>>,
    /// Its number, also while somebody has it.
    pub(crate) id: u64,
    /// What is done with it.
    pub(crate) activity: Option<Activity>,
    /// Who has it.
    pub(crate) holder: Option<Holder>,
    /// The way from a lease to the pool: counted for each connection by itself, since a count that
    /// all threads share would be what they spend their time on.
    pub(crate) home: Option<Arc<Home<M>>>,
    /// How often and how long connections were held.
    pub(crate) uses: u64,
    pub(crate) held: std::time::Duration,
}

/// See [`Cell::home`].
pub(crate) struct Home<M: Manage>(pub(crate) Arc<Shared<M>>);

impl<M: Manage> Default for Cell<M> {
    fn default() -> Self {
        Self {
            live: None,
            id: 0,
            activity: None,
            holder: None,
            home: None,
            uses: 0,
            held: std::time::Duration::ZERO,
        }
    }
}

impl<M: Manage> Cell<M> {
    /// Its holder and what that does, if there is one.
    pub(crate) fn in_use(&self, now: Tick) -> Option<InUse> {
        let (holder, activity) = (self.holder.as_ref()?, self.activity.as_ref()?);
        Some(holder.in_use(self.id, activity, now))
    }

    /// Nobody has it any more. Returns whether there is something to tell of it.
    fn release(&mut self, now: Tick, heard: bool, askers: &Askers, slot: u32) -> Option<Holder> {
        let holder = self.holder.as_ref()?;
        self.uses += 1;
        self.held += now.since(holder.since);
        askers.leave(holder.asker, slot);
        if heard || holder.leak_told {
            return self.holder.take();
        }
        // In place: nobody wants to see it.
        self.holder = None;
        None
    }
}

impl<M: Manage> Shared<M> {
    /// The time: exact where somebody measures, cheap where nobody does.
    pub(crate) fn now(&self) -> Tick {
        if self.observer.is_active() { self.exact() } else { self.clock.coarse() }
    }

    /// The exact time, for where there was a wait.
    pub(crate) fn exact(&self) -> Tick {
        self.clock.now().into()
    }

    pub(crate) fn status(&self) -> Status {
        let core = self.hub.look();
        // Read once: it changes without the lock.
        let idle = self.hub.slots.idle().min(core.open);
        Status {
            max_size: core.max_size,
            open: core.open,
            idle,
            in_use: core.open - idle,
            connecting: core.connecting,
            waiting: core.waiters.len(),
            suspended: core.suspended,
            closed: core.closed,
        }
    }

    /// Every holder at this moment, the longest first.
    pub(crate) fn in_use(&self, now: Tick) -> Vec<InUse> {
        let last = self.hub.look().slots_used();
        let mut all: Vec<InUse> = (0..last)
            .filter_map(|slot| {
                let cell = self.hub.slots.lock(slot);
                cell.in_use(now)
            })
            .collect();
        all.sort_by_key(|held| std::cmp::Reverse(held.held));
        all
    }

    /// A connection comes back, in whatever condition.
    pub(crate) fn take_back(self: &Arc<Self>, mut live: Box<Live<M::Connection>>) {
        let (id, slot, now) = (live.id, live.slot, self.now());
        let heard = std::mem::take(&mut live.handed_out) && self.observer.is_active();
        let condition = self.manage.condition(&live.connection);
        let over = self.is_over(&live, now);
        let keep = condition == Condition::Clean && over.is_none();
        if keep {
            (live.used, live.answered) = (now, now);
        }
        let mut left = Some(live);
        let holder = {
            let mut cell = self.hub.slots.lock(slot);
            if keep {
                cell.live = left.take();
            }
            cell.release(now, heard, &self.askers, slot)
        };
        match left {
            None => self.offer(slot, now),
            Some(live) => match (condition, over) {
                (Condition::Broken, _) => self.remove(live, Removal::Broken, now),
                (Condition::Spent, _) => self.remove(live, Removal::Spent, now),
                (_, Some(why)) => self.remove(live, why, now),
                (_, None) => tend::recover(self, live),
            },
        }
        // Told last: a subscriber that panics must not keep the connection.
        if let Some(holder) = holder {
            self.released(id, &holder, heard, now);
        }
    }

    /// Nobody has the connection of `slot` any more, and nobody is told.
    pub(crate) fn release(&self, slot: u32, now: Tick) {
        self.hub.slots.lock(slot).release(now, false, &self.askers, slot);
    }

    /// Why a connection is not to be used any more, though nothing is wrong with it.
    pub(crate) fn is_over(&self, live: &Live<M::Connection>, now: Tick) -> Option<Removal> {
        if live.generation != self.generation.load(Relaxed) {
            return Some(Removal::Cleared);
        }
        live.expires.is_some_and(|at| at <= now).then_some(Removal::Expired)
    }

    /// The clean connection that lies in `slot` becomes available.
    pub(crate) fn offer(self: &Arc<Self>, slot: u32, now: Tick) {
        if self.hub.slots.push(slot).is_ok() {
            return;
        }
        let mut core = self.hub.lock();
        let (put, woken) = core.put(slot, now);
        let closed = core.closed;
        drop(core);
        woken.wake();
        if put == Put::Surplus {
            let live = self.hub.slots.lock(slot).live.take();
            let why = if closed { Removal::Closed } else { Removal::Surplus };
            if let Some(live) = live {
                self.remove(live, why, now);
            }
        }
    }

    /// A connection is not the pool's any more: it is closed, and replaced if somebody waits.
    #[expect(clippy::boxed_local, reason = "so it comes from everywhere")]
    pub(crate) fn remove(
        self: &Arc<Self>,
        live: Box<Live<M::Connection>>,
        why: Removal,
        now: Tick,
    ) {
        let slot = live.slot;
        let home = {
            let mut cell = self.hub.slots.lock(slot);
            cell.holder = None;
            cell.home.take()
        };
        self.hub.lock().forget(slot);
        drop(home);
        let (id, age) = (live.id, now.since(live.opened));
        match why {
            Removal::Broken | Removal::NotRecovered | Removal::NoAnswer => {
                self.manage.discard(live.connection);
            }
            _ => tend::say_goodbye(self, live.connection),
        }
        self.gone.notify_waiters();
        tend::connect_as_needed(self, now);
        self.tell(Some(id), Change::Removed { why, age });
    }

    /// Closes the pool without a good-bye: where nobody has it any more, or its runtime is gone.
    pub(crate) fn end(&self) {
        let (idle, woken) = self.hub.lock().close();
        woken.wake();
        let now = self.exact();
        for slot in idle {
            let (live, home) = {
                let mut cell = self.hub.slots.lock(slot);
                (cell.live.take(), cell.home.take())
            };
            if let Some(live) = live {
                self.hub.lock().forget(slot);
                let (id, age) = (live.id, now.since(live.opened));
                drop(live);
                self.tell(Some(id), Change::Removed { why: Removal::Closed, age });
            }
            drop(home);
        }
    }

    pub(crate) fn tell(&self, connection: Option<u64>, change: Change<'_>) {
        if self.observer.is_active() {
            self.observer.connection(&Connection { pool: &self.name, connection, change });
        }
    }

    /// Tells of the end of a checkout, and of a leak that was none.
    fn released(&self, id: u64, holder: &Holder, heard: bool, now: Tick) {
        if holder.leak_told {
            leak::returned(self, id, holder, now);
        }
        if heard {
            self.observer.checkout(&Checkout {
                pool: &self.name,
                connection: Some(id),
                place: holder.place,
                scope: holder.scope.as_ref(),
                wait: holder.wait,
                held: now.since(holder.since),
                outcome: Outcome::Done,
            });
        }
    }
}
