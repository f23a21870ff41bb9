//! Messages that were sent ahead to a consumer and not asked for yet, and the count of those that are
//! unsettled. It speaks to no server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_core::{Error, Result};
use tokio::sync::Notify;

use super::receipt::{Hold, Lease};

/// Shared by a consumer, the task that fetches for it, and the receipts.
#[derive(Default)]
pub(super) struct Shelf {
    state: Mutex<State>,
    /// Something arrived, or will never again.
    arrived: Notify,
    /// Something was settled, or the consumer was dropped.
    left: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Hold>,
    /// Those that wait and those that were handed out, by the numbers of their slots.
    unsettled: BTreeMap<u64, Lease>,
    slots: u64,
    closed: bool,
    /// Why nothing comes any more.
    gone: Option<Error>,
}

impl Shelf {
    /// Puts down a message, which counts as unsettled until its hold is dropped.
    pub(super) fn put(&self, hold: Hold) {
        let mut state = self.lock();
        if state.closed {
            // Its hold speaks to the shelf when it is dropped.
            drop(state);
            drop(hold);
            return;
        }
        state.waiting.push_back(hold);
        drop(state);
        self.arrived.notify_one();
    }

    /// The next message. Cancel safe.
    ///
    /// Errors: why there is none any more.
    pub(super) async fn take(&self) -> Result<Hold> {
        loop {
            let stale = {
                let mut state = self.lock();
                match state.waiting.pop_front() {
                    Some(hold) if hold.is_valid() => return Ok(hold),
                    Some(stale) => Some(stale),
                    None => match &state.gone {
                        Some(error) => return Err(same(error)),
                        None => None,
                    },
                }
            };
            if stale.is_none() {
                self.arrived.notified().await;
            }
        }
    }

    /// What waits to be taken, without what is another's by now.
    pub(super) fn waiting(&self) -> Vec<Lease> {
        let (stale, leases) = {
            let mut state = self.lock();
            let (ours, stale): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut state.waiting).into_iter().partition(Hold::is_valid);
            state.waiting = ours;
            (stale, state.waiting.iter().map(Hold::lease).collect())
        };
        // Their slots lock the state.
        drop(stale);
        leases
    }

    /// Nothing will come any more.
    pub(super) fn end(&self, why: Error) {
        self.lock().gone = Some(why);
        self.arrived.notify_one();
    }

    /// Nobody takes anything any more. What is unsettled is nobody's from now on, and goes back: returns
    /// it.
    pub(super) fn close(&self) -> Vec<Lease> {
        let (waiting, leases) = {
            let mut state = self.lock();
            state.closed = true;
            let leases = state.unsettled.values().filter_map(Lease::revoke).collect();
            (std::mem::take(&mut state.waiting), leases)
        };
        // Their slots lock the state.
        drop(waiting);
        self.left.notify_one();
        leases
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Returns when something was settled or the shelf was closed. Cancel safe; for one task.
    pub(super) async fn changed(&self) {
        self.left.notified().await;
    }

    /// How many are unsettled: one that was silent for long is another's matter.
    pub(super) fn unsettled(&self) -> usize {
        self.lock().unsettled.values().filter(|lease| lease.is_valid()).count()
    }

    /// Counts one more, until the slot is dropped.
    pub(super) fn slot(self: &Arc<Self>, lease: Lease) -> Slot {
        let mut state = self.lock();
        state.slots += 1;
        let number = state.slots;
        state.unsettled.insert(number, lease);
        Slot(Arc::clone(self), number)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One unsettled message.
pub(super) struct Slot(Arc<Shelf>, u64);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.lock().unsettled.remove(&self.1);
        self.0.left.notify_one();
    }
}

/// The same error once more.
fn same(error: &Error) -> Error {
    let same = Error::new(error.code(), error.what().to_owned()).fix(error.advice().to_owned());
    match error.reason() {
        Some(why) => same.why(why.to_owned()),
        None => same,
    }
}
