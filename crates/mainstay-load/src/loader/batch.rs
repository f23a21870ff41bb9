//! One batch, from its first key to its outcome, which all who wait for it read. It fetches nothing.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Place, Result};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// What was found for each key, in the order of the keys.
pub(crate) type Found<V> = Vec<Result<Option<V>>>;

/// A batch is gathered, then sealed, then over.
pub(super) struct Batch<K, V> {
    /// Of the load that opened it.
    pub(super) place: Place,
    pub(super) scope: Option<Scope>,
    /// Set when it is sealed.
    pub(super) keys: OnceLock<Vec<K>>,
    outcome: OnceLock<Result<Found<V>>>,
    /// It has no permits, and is closed when there is an outcome.
    over: Semaphore,
    /// Changed while the loader is locked.
    pub(super) waiters: AtomicUsize,
    /// The task that gathers or fetches, where it has one.
    pub(super) task: OnceLock<AbortHandle>,
}

impl<K, V> Batch<K, V> {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            scope: Scope::current(),
            keys: OnceLock::new(),
            outcome: OnceLock::new(),
            over: Semaphore::new(0),
            waiters: AtomicUsize::new(0),
            task: OnceLock::new(),
        }
    }

    /// A value that nobody had to fetch.
    pub(super) fn primed(key: K, value: V, place: Place) -> Self {
        let batch = Self::new(place);
        let _ = batch.keys.set(vec![key]);
        batch.end(Ok(vec![Ok(Some(value))]));
        batch
    }

    pub(super) fn is_over(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// The first outcome stays.
    pub(super) fn end(&self, outcome: Result<Found<V>>) {
        let _ = self.outcome.set(outcome);
        self.over.close();
    }

    /// Whether it failed as a whole.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.outcome.get(), Some(Err(_)))
    }

    /// Whether there is something to be had for the key at `at`, and not an error.
    pub(super) fn has(&self, at: usize) -> bool {
        matches!(self.outcome.get(), Some(Ok(found)) if matches!(found.get(at), Some(Ok(_))))
    }

    pub(super) async fn over(&self) {
        // It is closed, which is all it is there for.
        let _ = self.over.acquire().await;
    }
}

impl<K, V: Clone> Batch<K, V> {
    /// What came of the key at `at`, once it is over.
    pub(super) fn get(&self, at: usize) -> Result<Option<V>> {
        match self.outcome.get() {
            Some(Ok(found)) => match found.get(at) {
                Some(Ok(value)) => Ok(value.clone()),
                Some(Err(error)) => Err(copy(error)),
                None => {
                    Err(abandoned("the batch function answered for fewer keys than it was given"))
                }
            },
            Some(Err(error)) => Err(copy(error)),
            None => Err(abandoned("it was never fetched")),
        }
    }
}

/// A batch that nobody fetches any more.
pub(super) fn abandoned(why: &'static str) -> Error {
    Error::new(Code::LoadFailed, "a batch was given up").why(why)
}

/// The same error for another caller. What was attached to it stays with the first.
pub(crate) fn copy(error: &Error) -> Error {
    let mut copy = Error::new(error.code(), error.what().to_owned())
        .fix(error.advice().to_owned())
        .retry(error.retryability());
    if let Some(why) = error.reason() {
        copy = copy.why(why.to_owned());
    }
    if let Some(place) = error.place() {
        copy = copy.at(place);
    }
    if error.rolls_back() { copy } else { copy.commit_anyway() }
}

/// A waiter's hold on a batch.
pub(super) struct Seat<K, V> {
    pub(super) batch: Arc<Batch<K, V>>,
    pub(super) at: usize,
}

impl<K, V> Clone for Seat<K, V> {
    fn clone(&self) -> Self {
        Self { batch: Arc::clone(&self.batch), at: self.at }
    }
}
