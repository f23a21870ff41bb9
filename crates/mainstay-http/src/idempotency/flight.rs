//! Which keys this process is working on: a duplicate of one is told so without asking the database, be
//! there ten thousand of them. Those of other processes the database knows.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::request::Id;

/// The keys that are worked on; no more than there are requests.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashSet<Id>>);

/// A key that is worked on, until dropped.
pub(super) struct Flight {
    flights: Arc<Flights>,
    id: Id,
}

impl Flights {
    fn with<T>(&self, f: impl FnOnce(&mut HashSet<Id>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn has(&self, id: &Id) -> bool {
        self.with(|all| all.contains(id))
    }

    /// `None` where somebody works on it.
    pub(super) fn begin(self: &Arc<Self>, id: Id) -> Option<Flight> {
        self.with(|all| all.insert(id)).then(|| Flight { flights: Arc::clone(self), id })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.with(|all| all.remove(&self.id));
    }
}
