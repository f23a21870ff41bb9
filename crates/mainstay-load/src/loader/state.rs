//! What a loader knows, under its lock: the keys it has or is about to have, the batch that is being
//! gathered, and the batches that are kept. It waits for nothing and runs no code of the program but
//! that of keys.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use foldhash::fast::RandomState;
use mainstay_core::Place;
use tokio::task::Id;

use super::batch::{Batch, Seat};

pub(super) struct State<K, V> {
    seats: HashMap<K, Seat<K, V>, RandomState>,
    open: Option<Open<K, V>>,
    /// What is over and kept, the oldest first, and how many keys that is.
    kept: VecDeque<Arc<Batch<K, V>>>,
    kept_keys: usize,
    /// Sealed, and not over.
    running: usize,
    /// Who last asked for something new.
    last: Option<Asker>,
}

/// A task, or code outside of tasks.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Asker(Option<Id>);

/// The batch that is being gathered.
struct Open<K, V> {
    batch: Arc<Batch<K, V>>,
    keys: Vec<K>,
    lead: Lead,
    /// Who opened it.
    opener: Asker,
    /// The opener was polled again, or is gone: whatever it had to ask in one go has been asked.
    is_back: bool,
    /// Others than the opener are about.
    several: bool,
}

/// How an open batch stands.
pub(super) struct Gathered {
    pub(super) keys: usize,
    pub(super) is_back: bool,
    pub(super) several: bool,
}

/// Who seals the open batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lead {
    /// The only one who waits for it, as part of its own future.
    Waiter,
    /// A task, which lives on when a waiter is dropped, or is not polled any more.
    Task,
}

/// What is to be done by who asked for a key.
pub(super) enum Join {
    /// It is there.
    Hit,
    /// Wait.
    Wait,
    /// Gather and fetch.
    Lead,
    /// Start the task that does, and wait.
    Spawn,
    /// As [`Spawn`](Self::Spawn), by who opened the batch.
    Open,
}

impl<K, V> Default for State<K, V> {
    fn default() -> Self {
        Self {
            seats: HashMap::default(),
            open: None,
            kept: VecDeque::new(),
            kept_keys: 0,
            running: 0,
            last: None,
        }
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
    /// A seat for `key`, counted as a waiter's unless it is a hit.
    pub(super) fn join(&mut self, key: K, place: Place, max_batch: usize) -> (Seat<K, V>, Join) {
        if let Some(seat) = self.seats.get(&key) {
            if seat.batch.has(seat.at) {
                return (seat.clone(), Join::Hit);
            }
            if !seat.batch.is_over() {
                let seat = seat.clone();
                seat.batch.waiters.fetch_add(1, Relaxed);
                let join = self.second(&seat.batch);
                return (seat, join);
            }
        }
        let me = Asker(tokio::task::try_id());
        let others = self.running > 0 || self.last.is_some_and(|last| last != me);
        self.last = Some(me);
        let (open, join) = match &mut self.open {
            Some(open) => {
                let join = open.second(me);
                (open, join)
            }
            none => {
                let lead = if others { Lead::Task } else { Lead::Waiter };
                let batch = Arc::new(Batch::new(place));
                let join = if others { Join::Open } else { Join::Lead };
                let keys = Vec::new();
                let (opener, is_back, several) = (me, false, others);
                (none.insert(Open { batch, keys, lead, opener, is_back, several }), join)
            }
        };
        let seat = Seat { batch: Arc::clone(&open.batch), at: open.keys.len() };
        seat.batch.waiters.fetch_add(1, Relaxed);
        open.keys.push(key.clone());
        let full = open.keys.len() >= max_batch;
        self.seats.insert(key, seat.clone());
        if !full {
            return (seat, join);
        }
        self.seal();
        // What is sealed must not depend on one waiter: others come for its keys.
        (seat, if matches!(join, Join::Lead) { Join::Spawn } else { join })
    }

    /// Somebody else waits for `batch`.
    fn second(&mut self, batch: &Arc<Batch<K, V>>) -> Join {
        match &mut self.open {
            Some(open) if Arc::ptr_eq(&open.batch, batch) => {
                open.second(Asker(tokio::task::try_id()))
            }
            _ => Join::Wait,
        }
    }

    fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            let _ = open.batch.keys.set(open.keys);
            self.running += 1;
        }
    }

    /// How `batch` stands, if it is still being gathered by `lead`.
    pub(super) fn gathered(&self, batch: &Arc<Batch<K, V>>, lead: Lead) -> Option<Gathered> {
        let open = self.open.as_ref()?;
        let Open { is_back, several, ref keys, .. } = *open;
        let is_it = Arc::ptr_eq(&open.batch, batch) && open.lead == lead;
        is_it.then_some(Gathered { keys: keys.len(), is_back, several })
    }

    /// The opener of `batch` was polled again, or is gone.
    pub(super) fn is_back(&mut self, batch: &Arc<Batch<K, V>>) {
        if let Some(open) = self.open.as_mut().filter(|open| Arc::ptr_eq(&open.batch, batch)) {
            open.is_back = true;
        }
    }

    /// No more keys for `batch`, if it is still being gathered.
    pub(super) fn seal_that(&mut self, batch: &Arc<Batch<K, V>>) {
        if self.open.as_ref().is_some_and(|open| Arc::ptr_eq(&open.batch, batch)) {
            self.seal();
        }
    }

    /// Nobody waits for `batch` any more, or nobody will ever fetch it: its keys are free again.
    pub(super) fn forget(&mut self, batch: &Arc<Batch<K, V>>) {
        match self.open.take_if(|open| Arc::ptr_eq(&open.batch, batch)) {
            Some(open) => open.keys.iter().for_each(|key| self.leave(key, batch)),
            None => batch.keys.get().into_iter().flatten().for_each(|key| self.leave(key, batch)),
        }
    }

    /// `batch` is over. What must be dropped without the lock is returned.
    pub(super) fn settle(
        &mut self,
        batch: Arc<Batch<K, V>>,
        capacity: usize,
    ) -> Vec<Arc<Batch<K, V>>> {
        let Some(keys) = batch.keys.get() else {
            self.forget(&batch);
            return Vec::new();
        };
        self.running = self.running.saturating_sub(1);
        if batch.has_failed() {
            self.forget(&batch);
            return Vec::new();
        }
        let keys = keys.len();
        self.keep(batch, keys, capacity)
    }

    /// Keeps `value`, unless the key is there or under way.
    pub(super) fn prime(
        &mut self,
        key: K,
        value: V,
        place: Place,
        capacity: usize,
    ) -> Vec<Arc<Batch<K, V>>> {
        if self.seats.get(&key).is_some_and(|s| s.batch.has(s.at) || !s.batch.is_over()) {
            return Vec::new();
        }
        let batch = Arc::new(Batch::primed(key.clone(), value, place));
        self.seats.insert(key, Seat { batch: Arc::clone(&batch), at: 0 });
        self.keep(batch, 1, capacity)
    }

    /// Keeps what is over, and gives up the oldest of it where that is too much.
    fn keep(
        &mut self,
        batch: Arc<Batch<K, V>>,
        keys: usize,
        capacity: usize,
    ) -> Vec<Arc<Batch<K, V>>> {
        self.kept.push_back(batch);
        self.kept_keys += keys;
        let mut gone = Vec::new();
        while self.kept_keys > capacity
            && let Some(oldest) = self.kept.pop_front()
        {
            self.kept_keys -= oldest.keys.get().map_or(0, Vec::len);
            self.forget(&oldest);
            gone.push(oldest);
        }
        gone
    }

    fn leave(&mut self, key: &K, batch: &Arc<Batch<K, V>>) {
        if self.seats.get(key).is_some_and(|seat| Arc::ptr_eq(&seat.batch, batch)) {
            self.seats.remove(key);
        }
    }

    /// What is had or fetched of `key` is not for who comes from now on. A batch that is still being
    /// gathered has read nothing yet: it stays.
    pub(super) fn clear(&mut self, key: &K) {
        let open = self.open.as_ref().map(|open| &open.batch);
        if self.seats.get(key).is_some_and(|s| open.is_none_or(|open| !Arc::ptr_eq(open, &s.batch)))
        {
            self.seats.remove(key);
        }
    }

    /// As [`clear`](Self::clear), of all keys.
    pub(super) fn clear_all(&mut self) -> VecDeque<Arc<Batch<K, V>>> {
        let open = self.open.as_ref().map(|open| Arc::clone(&open.batch));
        self.seats.retain(|_, s| open.as_ref().is_some_and(|open| Arc::ptr_eq(open, &s.batch)));
        self.kept_keys = 0;
        std::mem::take(&mut self.kept)
    }
}

impl<K, V> Open<K, V> {
    /// Several wait: from now on it depends on none of them.
    fn second(&mut self, asker: Asker) -> Join {
        self.several |= asker != self.opener;
        match std::mem::replace(&mut self.lead, Lead::Task) {
            Lead::Waiter => Join::Spawn,
            Lead::Task => Join::Wait,
        }
    }
}

#[cfg(test)]
impl<K, V> State<K, V> {
    /// The keys that are known or under way, and those that are counted as kept.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.seats.len(), self.kept_keys)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.open.is_none() && self.running == 0
    }
}
