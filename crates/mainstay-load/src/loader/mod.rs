//! The loader: what is asked of it. How a batch comes about is in `state.rs` and `gather.rs`.

mod batch;
mod gather;
mod state;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join_all};
use mainstay_core::clock::Clock;
use mainstay_core::{Place, Result};
use tokio::sync::Semaphore;

use batch::Seat;
pub(crate) use batch::{Found, copy};
use state::{Join, State};

type Fetch<K, V> = Box<dyn Fn(Vec<K>, Place) -> BoxFuture<'static, Result<Found<V>>> + Send + Sync>;

/// Loads values by key, in batches: the keys that are asked for at the same time are fetched at once.
///
/// Make one for each request: it keeps what it loaded, and so answers for the time that it lives. It is
/// cheap to make and to clone; clones share all. The semantics are those of
/// [graphql/dataloader](https://github.com/graphql/dataloader), on tokio.
///
/// - **A batch** is fetched when the tasks that were ready have run, without any timer. Where several
///   tasks ask, it is when no key came for 40 us besides; and after 5 ms at the latest, or when there are
///   [`max_batch`](Builder::max_batch) keys.
/// - **A key is fetched once**: who asks while it is under way waits for the same fetch, and who asks
///   later has it from the cache, without waiting for anything.
/// - **Errors** of a key are that key's ([`with_errors`](Self::with_errors)); one of the batch is told to
///   all who wait for it. Neither is kept: the next load tries again. That a key has no value *is* kept.
/// - **Cancel safe**: who is dropped leaves the others served, and a batch that nobody waits for any more
///   is dropped with its statement. A panic in the batch function is LOAD-001 to its waiters, and the
///   loader works on. It never depends on a waiter that is alive but not polled.
/// - The batch function runs in the scope of the load that opened the batch, its deadline included.
///
/// ```
/// use std::collections::HashMap;
/// use mainstay_load::Loader;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let squares = Loader::new(|keys: Vec<u64>| async move {
///     println!("one batch: {keys:?}");
///     Ok(keys.into_iter().filter(|n| *n < 100).map(|n| (n, n * n)).collect::<HashMap<_, _>>())
/// });
/// let (three, four, none) =
///     tokio::try_join!(squares.load(3), squares.load(4), squares.load(100))?;
/// assert_eq!((three, four, none), (Some(9), Some(16), None));
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
pub struct Loader<K, V> {
    shared: Arc<Shared<K, V>>,
}

pub(crate) struct Shared<K, V> {
    batch: Fetch<K, V>,
    state: Mutex<State<K, V>>,
    permits: Semaphore,
    max_batch: usize,
    capacity: usize,
    timeout: Duration,
    clock: Clock,
}

/// How a loader works, where the defaults are not right.
///
/// ```
/// use std::collections::HashMap;
/// use std::time::Duration;
/// use mainstay_load::{Builder, Loader};
///
/// let lengths: Loader<String, usize> = Builder::default()
///     .max_batch(100)
///     .timeout(Duration::from_secs(2))
///     .build(|keys: Vec<String>| async move {
///         Ok(keys.into_iter().map(|k| (k.clone(), k.len())).collect::<HashMap<_, _>>())
///     });
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until build or the like is called"]
pub struct Builder {
    max_batch: usize,
    concurrency: usize,
    capacity: usize,
    timeout: Duration,
    clock: Clock,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            max_batch: 1000,
            concurrency: 4,
            capacity: 10_000,
            timeout: Duration::from_secs(30),
            clock: Clock::system(),
        }
    }
}

impl Builder {
    /// The most keys of a batch: 1000 by default, at least 1. More become several batches.
    pub fn max_batch(mut self, keys: usize) -> Self {
        self.max_batch = keys.max(1);
        self
    }

    /// The most batches that are fetched at the same time: 4 by default, at least 1. The others wait for
    /// their turn. A batch function that loads through its own loader needs a place for that too.
    pub fn concurrency(mut self, batches: usize) -> Self {
        self.concurrency = batches.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// The most keys that are kept, with their values: 10,000 by default. Beyond it the oldest batches
    /// go. With 0 nothing is kept, and only what is under way is shared.
    pub fn capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// How long the fetch of a batch may take: 30 s by default. A longer one is dropped: LOAD-002.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Another clock, for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// As [`Loader::new`].
    pub fn build<K, V, F, Fut>(self, batch: F) -> Loader<K, V>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<K, V>>> + Send + 'static,
    {
        self.fetching(move |keys, _| {
            let found = batch(keys.clone());
            Box::pin(async move {
                let mut found = found.await?;
                Ok(keys.iter().map(|key| Ok(found.remove(key))).collect())
            })
        })
    }

    /// As [`Loader::with_errors`].
    pub fn build_with_errors<K, V, F, Fut>(self, batch: F) -> Loader<K, V>
    where
        K: Clone + Eq + Hash + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<K, Result<V>>>> + Send + 'static,
    {
        self.fetching(move |keys, _| {
            let found = batch(keys.clone());
            Box::pin(async move {
                let mut found = found.await?;
                Ok(keys.iter().map(|key| found.remove(key).transpose()).collect())
            })
        })
    }

    /// With what is found in the order of the keys.
    pub(crate) fn fetching<K, V>(
        self,
        batch: impl Fn(Vec<K>, Place) -> BoxFuture<'static, Result<Found<V>>> + Send + Sync + 'static,
    ) -> Loader<K, V> {
        let shared = Shared {
            batch: Box::new(batch),
            state: Mutex::default(),
            permits: Semaphore::new(self.concurrency),
            max_batch: self.max_batch,
            capacity: self.capacity,
            timeout: self.timeout,
            clock: self.clock,
        };
        Loader { shared: Arc::new(shared) }
    }
}

impl<K, V> Shared<K, V> {
    /// Held for moments, and never across an await.
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seat that is waited on. Who leaves last takes the batch along.
struct Ticket<'a, K: Clone + Eq + Hash, V> {
    shared: &'a Shared<K, V>,
    seat: Seat<K, V>,
}

impl<K: Clone + Eq + Hash, V> Drop for Ticket<'_, K, V> {
    fn drop(&mut self) {
        let batch = &self.seat.batch;
        if batch.is_over() {
            return;
        }
        let mut state = self.shared.state();
        if batch.waiters.fetch_sub(1, Relaxed) == 1 && !batch.is_over() {
            state.forget(batch);
            drop(state);
            if let Some(task) = batch.task.get() {
                task.abort();
            }
        }
    }
}

impl<K, V> Loader<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// A loader on a batch function, which is given distinct keys and returns what it finds of them. A
    /// key that it leaves out has no value. Its defaults are [`Builder`]'s.
    pub fn new<F, Fut>(batch: F) -> Self
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<K, V>>> + Send + 'static,
    {
        Builder::default().build(batch)
    }

    /// As [`new`](Self::new), for a batch function that can fail for some keys and not for others.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use mainstay_core::Error;
    /// use mainstay_load::Loader;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let halves = Loader::<u64, u64>::with_errors(|keys: Vec<u64>| async move {
    ///     let half = |n| if n % 2 == 0 { Ok(n / 2) } else { Err(Error::user("an odd number")) };
    ///     Ok(keys.into_iter().map(|n| (n, half(n))).collect::<HashMap<_, _>>())
    /// });
    /// let (four, five) = tokio::join!(halves.load(4), halves.load(5));
    /// assert_eq!(four.unwrap(), Some(2));
    /// assert_eq!(five.unwrap_err().what(), "an odd number");
    /// # });
    /// ```
    pub fn with_errors<F, Fut>(batch: F) -> Self
    where
        F: Fn(Vec<K>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HashMap<K, Result<V>>>> + Send + 'static,
    {
        Builder::default().build_with_errors(batch)
    }

    /// The value of `key`, or `None` if it has none. The key is asked for when the future is first
    /// polled. Where the batch function waits for anything, it needs a tokio runtime with time enabled.
    ///
    /// Cancel safe: dropped, it leaves the others served.
    ///
    /// Errors: those of the batch function, copied to each who waits, without cause and detail;
    /// LOAD-001 (it panicked, or the runtime ended), LOAD-002 (it took too long).
    #[track_caller]
    pub fn load(
        &self,
        key: K,
    ) -> impl Future<Output = Result<Option<V>>> + Send + 'static + use<K, V> {
        let (shared, place) = (Arc::clone(&self.shared), Place::here());
        async move {
            let (seat, join) = shared.state().join(key, place, shared.max_batch);
            if matches!(join, Join::Hit) {
                return seat.batch.get(seat.at);
            }
            let ticket = Ticket { shared: &shared, seat };
            let batch = &ticket.seat.batch;
            match join {
                Join::Lead => shared.lead(batch).await,
                Join::Spawn => shared.spawn_gather(batch),
                Join::Open => {
                    shared.spawn_gather(batch);
                    shared.yields(batch).await;
                }
                Join::Hit | Join::Wait => {}
            }
            batch.over().await;
            batch.get(ticket.seat.at)
        }
    }

    /// The values of `keys`, in their order. Cancel safety and errors: as [`load`](Self::load); the
    /// first error is the result.
    #[track_caller]
    pub fn load_many(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> impl Future<Output = Result<Vec<Option<V>>>> + Send + 'static {
        let mut all = Vec::new();
        for key in keys {
            all.push(self.load(key));
        }
        try_join_all(all)
    }

    /// Gives it a value that is at hand, so that nobody has to fetch it. Where the key is known or under
    /// way nothing changes: [`clear`](Self::clear) it first, as after an update.
    #[track_caller]
    pub fn prime(&self, key: K, value: V) {
        let place = Place::here();
        let gone = self.shared.state().prime(key, value, place, self.shared.capacity);
        drop(gone);
    }

    /// Forgets `key`: the next load fetches it. Who waits for a fetch that is under way is still given
    /// what that brings.
    pub fn clear(&self, key: &K) {
        self.shared.state().clear(key);
    }

    /// As [`clear`](Self::clear), of all keys.
    pub fn clear_all(&self) {
        let gone = self.shared.state().clear_all();
        drop(gone);
    }
}

impl<K, V> Clone for Loader<K, V> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, V> fmt::Debug for Loader<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("max_batch", &self.shared.max_batch)
            .field("capacity", &self.shared.capacity)
            .finish_non_exhaustive()
    }
}
