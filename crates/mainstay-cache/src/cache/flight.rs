//! Loads that are under way in this process, by key: who comes while one is, waits for it. It runs none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use mainstay_core::{Error, Result};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How a load ended, for all who waited for it.
pub(super) type Outcome<V> = Result<Option<Arc<V>>, Arc<Error>>;

/// The loads under way.
pub(super) struct Flights<V>(Mutex<HashMap<Arc<str>, Arc<Flight<V>>>>);

struct Flight<V> {
    /// Its one permit has who loads; it is closed when there is an outcome.
    turn: Semaphore,
    outcome: OnceLock<Outcome<V>>,
    /// Tickets; changed while the map is locked.
    tickets: AtomicUsize,
}

impl<V> Flight<V> {
    fn new() -> Self {
        let tickets = AtomicUsize::new(0);
        Self { turn: Semaphore::new(1), outcome: OnceLock::new(), tickets }
    }
}

impl<V> Default for Flights<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

type All<V> = HashMap<Arc<str>, Arc<Flight<V>>>;

impl<V> Flights<V> {
    fn all(&self) -> MutexGuard<'_, All<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes part in the load of `key`.
    pub(super) fn join(&self, key: &Arc<str>) -> Ticket<'_, V> {
        let mut all = self.all();
        let flight = all.entry(Arc::clone(key)).or_insert_with(|| Arc::new(Flight::new()));
        flight.tickets.fetch_add(1, Ordering::Relaxed);
        Ticket { flights: self, key: Arc::clone(key), flight: Arc::clone(flight) }
    }

    /// Who comes from now on does not wait for the load of `key` that is under way.
    pub(super) fn forget(&self, key: &str) {
        self.all().remove(key);
    }

    /// As [`forget`](Self::forget), of all keys.
    pub(super) fn forget_all(&self) {
        self.all().clear();
    }

    pub(super) fn len(&self) -> usize {
        self.all().len()
    }
}

/// A place in a load. Dropped, it leaves the load to the others.
pub(super) struct Ticket<'a, V> {
    flights: &'a Flights<V>,
    key: Arc<str>,
    flight: Arc<Flight<V>>,
}

impl<V> Ticket<'_, V> {
    /// Waits for the turn to load, which lasts as long as the permit, or for the outcome.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Outcome<V>> {
        match self.flight.turn.acquire().await {
            Ok(permit) => Ok(permit),
            // Closed after the outcome was set.
            Err(_) => Err(self.flight.outcome.get().cloned().unwrap_or(Ok(None))),
        }
    }

    /// Tells all who wait. The load is over: who comes now begins another.
    pub(super) fn finish(&self, outcome: Outcome<V>) {
        let _ = self.flight.outcome.set(outcome);
        self.remove(&mut self.flights.all());
        self.flight.turn.close();
    }

    fn remove(&self, all: &mut All<V>) {
        if all.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            all.remove(&self.key);
        }
    }
}

impl<V> Drop for Ticket<'_, V> {
    fn drop(&mut self) {
        let mut all = self.flights.all();
        // The last of them: nobody is left who would end it.
        if self.flight.tickets.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.remove(&mut all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_turn_goes_on_and_the_outcome_to_all() {
        let (flights, key) = (Flights::<u32>::default(), Arc::<str>::from("k"));
        let (first, second) = (flights.join(&key), flights.join(&key));
        drop(first.turn().await.unwrap());
        drop(first);
        let turn = second.turn().await.unwrap();
        let third = flights.join(&key);
        second.finish(Ok(Some(Arc::new(7))));
        drop(turn);
        assert_eq!(third.turn().await.unwrap_err().unwrap().as_deref(), Some(&7));
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_gone() {
        let (flights, key) = (Flights::<u32>::default(), Arc::<str>::from("k"));
        let tickets = (flights.join(&key), flights.join(&key));
        assert_eq!(flights.len(), 1);
        drop(tickets);
        assert_eq!(flights.len(), 0);
        let old = flights.join(&key);
        flights.forget(&key);
        let new = flights.join(&key);
        old.finish(Ok(None));
        assert_eq!(flights.len(), 1, "the new one was ended by the old");
        drop(new);
        assert_eq!(flights.len(), 0);
    }
}
