//! An open transaction, or a part of one inside a savepoint: whose turn it is on the connection, and
//! how that comes back, however the transaction ends.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Place, Result};
use mainstay_pool::Lease;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::current::{self, Frame};
use super::hooks::Hooks;
use super::isolation::Access;
use crate::connection::Connection;
use crate::db::Shared;
use crate::driver::Driver;
use crate::lock::Named;
use crate::route::Route;

/// What a transaction and its savepoints share.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) id: u64,
    pub(crate) shared: Arc<Shared>,
    /// Of the handle that began it: what is called after it is of its kind.
    pub(crate) route: Option<Arc<dyn Route>>,
    pub(crate) place: Place,
    pub(crate) access: Access,
    pub(crate) begun: Instant,
    pub(crate) connection: u64,
    /// The transaction in whose closure it was begun, on whatever database.
    pub(crate) outer: Option<Frame>,
    /// A statement of it changed the schema: what others prepared meanwhile is of the old one.
    pub(crate) schema: AtomicBool,
    pub(crate) statements: AtomicU32,
    pub(crate) hooks_given: AtomicUsize,
    /// Callers that keep its connection while they wait for another one.
    pub(crate) waiting: AtomicUsize,
    /// The advisory locks that end with it, beside those that the server ends.
    pub(crate) locks: Named,
}

/// An open transaction, or an open savepoint, shared by the handles inside its closure.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) whole: Arc<Whole>,
    /// Empty once it has ended, and while a savepoint inside it has the connection.
    slot: Arc<Mutex<Option<Lease<Driver>>>>,
    pub(crate) ended: AtomicBool,
    /// It ended without its connection having been settled: whoever has that gives it back.
    abandoned: AtomicBool,
    streaming: AtomicBool,
    /// Where a joined part failed: the whole must not commit then.
    pub(crate) rollback_only: OnceLock<Place>,
    /// Parts that joined it and have not ended.
    pub(crate) joined: AtomicUsize,
    pub(crate) hooks: Hooks,
    pub(crate) savepoint: Option<Savepoint>,
}

/// What sets a savepoint apart from a whole transaction.
#[derive(Debug)]
pub(crate) struct Savepoint {
    /// The transaction or savepoint that it was set in.
    pub(crate) parent: Arc<Open>,
    pub(crate) depth: u32,
    /// The parent's turn, kept as long as the connection is here.
    home: std::sync::Mutex<Option<Turn>>,
}

/// A statement's turn on the transaction's connection.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Present until the drop.
    slot: Option<OwnedMutexGuard<Option<Lease<Driver>>>>,
    open: Arc<Open>,
    streams: bool,
}

impl Open {
    pub(crate) fn new(whole: Whole, lease: Lease<Driver>) -> Self {
        Self::on(Arc::new(whole), lease, None)
    }

    fn on(whole: Arc<Whole>, lease: Lease<Driver>, savepoint: Option<Savepoint>) -> Self {
        Self {
            whole,
            slot: Arc::new(Mutex::new(Some(lease))),
            ended: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            streaming: AtomicBool::new(false),
            rollback_only: OnceLock::new(),
            joined: AtomicUsize::new(0),
            hooks: Hooks::default(),
            savepoint,
        }
    }

    /// A savepoint of `depth` that was set in the turn of its parent.
    pub(crate) fn inside(mut turn: Turn, depth: u32) -> Option<Self> {
        let lease = turn.slot.as_mut()?.take()?;
        let parent = Arc::clone(&turn.open);
        let whole = Arc::clone(&parent.whole);
        let home = std::sync::Mutex::new(Some(turn));
        Some(Self::on(whole, lease, Some(Savepoint { parent, depth, home })))
    }

    /// How many savepoints it is inside of.
    pub(crate) fn depth(&self) -> u32 {
        self.savepoint.as_ref().map_or(0, |s| s.depth)
    }

    pub(crate) fn check_open(&self, place: Place) -> Result<()> {
        let mut part = Some(self);
        while let Some(open) = part {
            if open.ended.load(SeqCst) {
                return Err(ended(place));
            }
            part = open.savepoint.as_ref().map(|s| &*s.parent);
        }
        Ok(())
    }

    /// The connection, when those before are done with it, for at most `limit`.
    pub(crate) async fn turn(
        self: &Arc<Self>,
        clock: &Clock,
        limit: Duration,
        streams: bool,
        place: Place,
    ) -> Result<Turn> {
        self.check_open(place)?;
        let busy = || {
            Error::new(Code::TxBusy, "the transaction's connection is busy with another statement")
                .at(place)
        };
        // A turn that comes to a waiter which is dropped or refused must not be lost.
        let _passes_on = PassesOn(self);
        let slot = match Arc::clone(&self.slot).try_lock_owned() {
            Ok(slot) => slot,
            // Its reader may be waiting for us: this would never end.
            Err(_) if self.streaming.load(SeqCst) => {
                return Err(busy().why("a stream of its rows is still being read"));
            }
            Err(_) if current::is_inside(self) => {
                return Err(Error::new(Code::TxBusy, "a nested transaction is open on this one")
                    .fix("use the handle that the nested closure was given")
                    .at(place));
            }
            Err(_) => {
                let slot = Arc::clone(&self.slot).lock_owned();
                clock.timeout(limit, slot).await.ok_or_else(busy)?
            }
        };
        self.check_open(place)?;
        if slot.is_none() {
            return Err(ended(place));
        }
        self.streaming.store(streams, SeqCst);
        Ok(Turn { slot: Some(slot), open: Arc::clone(self), streams })
    }

    /// Whether what was done in it may stay, as far as its parts go.
    pub(crate) fn check_parts(&self, what: &'static str) -> Result<()> {
        if let Some(place) = self.rollback_only.get() {
            return Err(Error::new(Code::TxRollbackOnly, what).why(format!(
                "the part that joined it at {place} failed, and its error was swallowed"
            )));
        }
        if self.joined.load(SeqCst) > 0 { Err(still_used()) } else { Ok(()) }
    }

    /// The connection for the end, when the last statement is done with it. From here on nobody else
    /// gets a turn.
    pub(crate) async fn last_turn(&self, clock: &Clock, limit: Duration) -> Option<Lease<Driver>> {
        self.ended.store(true, SeqCst);
        clock.timeout(limit, self.slot.lock()).await.and_then(|mut slot| slot.take())
    }

    /// Gives the connection back to where it came from, unless a statement has it: then that
    /// statement's end does. The pool rolls back; a parent rolls back to the savepoint.
    pub(crate) fn abandon(&self) {
        self.ended.store(true, SeqCst);
        self.abandoned.store(true, SeqCst);
        self.give_back();
    }

    fn give_back(&self) {
        if !self.abandoned.load(SeqCst) {
            return;
        }
        let lease = self.slot.try_lock().ok().and_then(|mut slot| slot.take());
        if let Some(mut lease) = lease {
            lease.state.undoes(self.depth());
            self.bring_home(lease);
        }
    }

    /// Ends the loan of a savepoint's connection, or of the pool's.
    pub(crate) fn bring_home(&self, lease: Lease<Driver>) {
        let home = self.savepoint.as_ref().and_then(|s| {
            let mut home = s.home.lock().unwrap_or_else(PoisonError::into_inner);
            home.take()
        });
        match home {
            Some(mut turn) => {
                if let Some(slot) = turn.slot.as_mut() {
                    **slot = Some(lease);
                }
            }
            None => drop(lease),
        }
    }
}

pub(crate) fn ended(place: Place) -> Error {
    Error::new(Code::TxEnded, "this transaction has ended already").at(place)
}

/// Of one that is to end while a task that its closure spawned still uses it.
pub(crate) fn still_used() -> Error {
    Error::new(Code::TxBusy, "a part or a statement of the transaction has not ended")
        .why("a task that the closure spawned still uses it")
}

/// When dropped, after the lock that was waited for: gives an abandoned connection back.
struct PassesOn<'a>(&'a Open);

impl Drop for PassesOn<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Turn {
    pub(crate) fn lease(&self) -> &Lease<Driver> {
        let slot = self.slot.as_ref().expect("present until the drop");
        slot.as_ref().expect("looked at when the turn began")
    }
}

impl Deref for Turn {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.lease()
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Connection {
        let slot = self.slot.as_mut().expect("present until the drop");
        slot.as_mut().expect("looked at when the turn began")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.streams {
            self.open.streaming.store(false, SeqCst);
        }
        drop(self.slot.take());
        // The transaction may have been abandoned meanwhile, and could not take the connection.
        self.open.give_back();
    }
}
