//! A transaction inside another, as a savepoint: NESTED.

use std::sync::Arc;

use mainstay_core::{Code, Error, Place, Result};
use mainstay_pool::Lease;

use super::current::Frame;
use super::hooks::When;
use super::open::{Open, ended, still_used};
use super::run::call_hooks;
use crate::connection::Activity;
use crate::db::Db;
use crate::driver::Driver;

/// A savepoint while its closure runs. Dropped before [`end`](Nested::end) is through, the
/// connection goes back to the parent with a note that it is to be rolled back to here.
pub(crate) struct Nested<'a> {
    db: &'a Db,
    open: Arc<Open>,
    place: Place,
    settled: bool,
}

impl<'a> Nested<'a> {
    pub(crate) async fn begin(db: &'a Db, parent: &Arc<Open>, place: Place) -> Result<Self> {
        let limit = db.shared.options.acquire_timeout;
        let mut turn = parent.turn(&db.shared.clock, limit, false, place).await?;
        db.make_ready(&mut turn).await.map_err(|e| e.at(place))?;
        let depth = parent.depth() + 1;
        db.in_time(db.deadline(), turn.save(depth)).await.map_err(|e| e.at(place))?;
        let open = Open::inside(turn, depth).ok_or_else(|| ended(place))?;
        Ok(Self { db, open: Arc::new(open), place, settled: false })
    }

    pub(crate) fn handle(&self) -> Db {
        Db { transaction: Some(Arc::clone(&self.open)), ..self.db.clone() }
    }

    pub(crate) fn frame(&self) -> Frame {
        Frame::of(&self.open)
    }

    pub(crate) async fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        let shared = &self.db.shared;
        let limit = shared.options.acquire_timeout;
        let keeps = outcome.as_ref().err().is_none_or(|e| !e.rolls_back());
        self.open.hooks.close();
        let Some(lease) = self.open.last_turn(&shared.clock, limit).await else {
            return if keeps { Err(still_used().at(self.place)) } else { outcome };
        };
        // From here on a drop finds the connection in this guard.
        let mut kept = Kept { open: &self.open, lease: Some(lease), settled: false };
        let released = if keeps {
            release(self.db, &mut kept).await.map_err(|e| e.at(self.place))
        } else {
            Ok(())
        };
        let outcome = released.and(outcome);
        if kept.settled {
            if let Some(savepoint) = &self.open.savepoint {
                self.open.hooks.move_to(&savepoint.parent.hooks);
            }
        } else {
            undo(self.db, &mut kept).await;
        }
        drop(kept);
        self.settle();
        outcome
    }

    /// It has ended, in whatever way. What is called after a rollback is not waited for: it may itself
    /// wait for the connection, or for what the outer transaction has locked.
    fn settle(&mut self) {
        if !std::mem::replace(&mut self.settled, true) {
            call_hooks(&self.open, When::AfterRollback);
            self.open.hooks.clear();
        }
    }
}

impl Drop for Nested<'_> {
    fn drop(&mut self) {
        self.open.abandon();
        self.settle();
    }
}

/// The connection on its way back to the parent. Unless it was settled, it goes with a note that it
/// is to be rolled back to the savepoint.
struct Kept<'a> {
    open: &'a Open,
    lease: Option<Lease<Driver>>,
    settled: bool,
}

impl Kept<'_> {
    fn lease(&mut self) -> &mut Lease<Driver> {
        self.lease.as_mut().expect("present until it goes back")
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if let Some(mut lease) = self.lease.take() {
            if !self.settled {
                lease.state.undoes(self.open.depth());
            }
            self.open.bring_home(lease);
        }
    }
}

/// Keeps what was done since the savepoint, as part of what it was set in.
async fn release(db: &Db, kept: &mut Kept<'_>) -> Result<()> {
    let what = "the nested transaction was rolled back, not kept";
    kept.open.check_parts(what)?;
    let depth = kept.open.depth();
    let lease = kept.lease();
    db.make_ready(lease).await?;
    let limit = db.shared.options.validation_timeout;
    if db.shared.clock.timeout(limit, lease.is_aborted()).await.unwrap_or(true) {
        return Err(Error::new(Code::TxRollbackOnly, what)
            .why("a statement in it failed, and its error was swallowed"));
    }
    db.in_time(db.deadline(), lease.release(depth)).await?;
    kept.settled = true;
    Ok(())
}

/// Rolls back to the savepoint at once where the connection is free for it; else the next to have a
/// turn on it does.
async fn undo(db: &Db, kept: &mut Kept<'_>) {
    let depth = kept.open.depth();
    let lease = kept.lease();
    lease.state.undoes(depth);
    let state = &lease.state;
    if !state.broken && !state.lost_transaction && state.activity == Activity::Idle {
        let limit = db.shared.options.recover_timeout;
        let undone = db.shared.clock.timeout(limit, lease.undo()).await;
        kept.settled = matches!(undone, Some(Ok(())));
    }
}
