//! Messages that were read for a consumer and not asked for yet, and the list of those that are
//! unsettled. It speaks to no server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::{Error, Result};
use tokio::sync::Notify;

use super::IDLE_MS;
use super::fault::copy;
use super::receipt::Hold;

/// Shared by a consumer, the task that reads for it, and the receipts.
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

/// An unsettled message.
#[derive(Clone)]
pub(super) struct Lease {
    pub(super) id: Arc<str>,
    pub(super) deliveries: u32,
    /// As far as is known here; the server knows for sure.
    ours: Arc<AtomicBool>,
    /// When the server last heard that it is ours.
    heard: Arc<Mutex<Instant>>,
}

impl Lease {
    pub(super) fn is_ours(&self) -> bool {
        self.ours.load(Ordering::Relaxed)
    }

    /// Whether nothing was said of it for so long that another has it, or we get it again.
    fn is_silent(&self) -> bool {
        let heard = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        Clock::system().now() - heard > Duration::from_millis(2 * IDLE_MS)
    }

    /// The server has heard of it after `since`.
    pub(super) fn heard(&self, since: Instant) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// It is ours no more; whether it was until now.
    pub(super) fn revoke(&self) -> bool {
        self.ours.swap(false, Ordering::Relaxed)
    }
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
                    Some(hold) if hold.is_ours() => return Ok(hold),
                    Some(stale) => Some(stale),
                    None => match &state.gone {
                        Some(error) => return Err(copy(error)),
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
                std::mem::take(&mut state.waiting).into_iter().partition(Hold::is_ours);
            state.waiting = ours;
            (stale, state.waiting.iter().map(Hold::lease).collect())
        };
        // Their slots lock the state.
        drop(stale);
        leases
    }

    /// The ids of all that is unsettled.
    pub(super) fn unsettled(&self) -> Vec<String> {
        let state = self.lock();
        state.unsettled.values().filter(|l| l.is_ours()).map(|l| l.id.to_string()).collect()
    }

    /// How many are unsettled: one that was silent for long is another's matter.
    pub(super) fn count(&self) -> usize {
        let state = self.lock();
        state.unsettled.values().filter(|lease| lease.is_ours() && !lease.is_silent()).count()
    }

    /// Nothing will come any more.
    pub(super) fn end(&self, why: Error) {
        self.lock().gone = Some(why);
        self.arrived.notify_one();
    }

    /// Nobody takes anything any more. What was handed out is nobody's from now on, and goes back with
    /// what waits: returns it.
    pub(super) fn close(&self) -> Vec<Lease> {
        let (waiting, leases) = {
            let mut state = self.lock();
            state.closed = true;
            let waiting = std::mem::take(&mut state.waiting);
            // They go back as not delivered, by their drop.
            let mine: Vec<u64> = waiting.iter().map(Hold::slot).collect();
            let handed = state.unsettled.iter().filter(|(slot, _)| !mine.contains(slot));
            let leases = handed.filter(|(_, l)| l.revoke()).map(|(_, l)| l.clone()).collect();
            (waiting, leases)
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

    /// Counts one more, until the slot is dropped. What else is held of the message is not ours any
    /// more: it was silent for so long that it was delivered again.
    pub(super) fn slot(self: &Arc<Self>, id: Arc<str>, deliveries: u32) -> (Slot, Lease) {
        let mut state = self.lock();
        for lease in state.unsettled.values().filter(|lease| lease.id == id) {
            lease.revoke();
        }
        state.slots += 1;
        let number = state.slots;
        let lease = Lease {
            id,
            deliveries,
            ours: Arc::new(AtomicBool::new(true)),
            heard: Arc::new(Mutex::new(Clock::system().now())),
        };
        state.unsettled.insert(number, lease.clone());
        (Slot { shelf: Arc::clone(self), number }, lease)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One unsettled message.
pub(super) struct Slot {
    shelf: Arc<Shelf>,
    pub(super) number: u64,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shelf.lock().unsettled.remove(&self.number);
        self.shelf.left.notify_one();
    }
}
