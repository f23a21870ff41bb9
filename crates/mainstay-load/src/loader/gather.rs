//! How a batch is gathered and fetched, by the one who waits for it or by a task of its own. It does not
//! decide which key goes into which batch.
//!
//! A batch is sealed when whoever could ask has been heard. The load that opened it yields once, so that
//! the tasks which are ready run; when it is polled again, its own task has asked for all that it had to
//! ask in one go. With other tasks about, no key must have come for [`QUIET`] as well. No timer is involved.

use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error};
use tokio::runtime::Handle;
use tokio::task::yield_now;

use super::Shared;
use super::batch::{Batch, Found, abandoned};
use super::state::Lead;

/// Where several tasks ask, a batch is complete when no key came for so long: longer than a task takes
/// to be spawned and to run on another thread, and short beside a round trip to a database.
const QUIET: Duration = Duration::from_micros(40);
/// However many keys keep coming, nobody is kept from the fetch for longer.
const GATHER_MAX: Duration = Duration::from_millis(5);

/// The fetch of a batch, which is over when this is dropped, in whatever way.
struct Delivery<K: Clone + Eq + Hash, V> {
    shared: Arc<Shared<K, V>>,
    batch: Arc<Batch<K, V>>,
    outcome: Option<Result<Found<V>, Error>>,
}

/// The opener of a batch, while it yields.
struct Back<'a, K: Clone + Eq + Hash, V>(&'a Shared<K, V>, &'a Arc<Batch<K, V>>);

impl<K: Clone + Eq + Hash, V> Drop for Back<'_, K, V> {
    fn drop(&mut self) {
        self.0.state().is_back(self.1);
    }
}

impl<K: Clone + Eq + Hash, V> Delivery<K, V> {
    fn done(mut self, outcome: Result<Found<V>, Error>) {
        self.outcome = Some(outcome);
    }
}

impl<K: Clone + Eq + Hash, V> Drop for Delivery<K, V> {
    fn drop(&mut self) {
        let given_up = || Err(abandoned("nobody waited for it any more, or its runtime has ended"));
        self.batch.end(self.outcome.take().unwrap_or_else(given_up));
        let gone = self.shared.state().settle(Arc::clone(&self.batch), self.shared.capacity);
        drop(gone);
    }
}

impl<K, V> Shared<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Gathers and fetches as part of a waiter's own future, until there is something to wait for.
    ///
    /// Dropped while it gathers: the waiter was alone, and takes its batch along.
    pub(super) async fn lead(self: &Arc<Self>, batch: &Arc<Batch<K, V>>) {
        self.yields(batch).await;
        {
            let mut state = self.state();
            if state.gathered(batch, Lead::Waiter).is_none() {
                // Somebody else came, and a task has it since.
                return;
            }
            state.seal_that(batch);
        }
        let mut fetch = Box::pin(Arc::clone(self).fetch(Arc::clone(batch)));
        if ready(fetch.as_mut()).await.is_none() {
            spawn(batch, fetch);
        }
    }

    /// What the opener of `batch` does first: dropped meanwhile, it is waited for no longer.
    pub(super) async fn yields(&self, batch: &Arc<Batch<K, V>>) {
        let _back = Back(self, batch);
        yield_now().await;
    }

    /// Has a task gather and fetch.
    pub(super) fn spawn_gather(self: &Arc<Self>, batch: &Arc<Batch<K, V>>) {
        let (shared, own) = (Arc::clone(self), Arc::clone(batch));
        let fetch = Arc::clone(self).fetch(Arc::clone(batch));
        spawn(batch, async move {
            // Made first, so that it is dropped with the task: then the batch is over.
            let fetch = fetch;
            shared.gather(&own).await;
            fetch.await;
        });
    }

    async fn gather(&self, batch: &Arc<Batch<K, V>>) {
        // How threads are scheduled, whatever time a test makes it.
        let clock = Clock::system();
        let begun = clock.now();
        let (mut seen, mut changed) = (0, begun);
        loop {
            yield_now().await;
            let now = clock.now();
            let mut state = self.state();
            let Some(gathered) = state.gathered(batch, Lead::Task) else { return };
            if gathered.keys != seen {
                (seen, changed) = (gathered.keys, now);
            }
            let is_quiet = !gathered.several || now.saturating_duration_since(changed) >= QUIET;
            let is_long = now.saturating_duration_since(begun) >= GATHER_MAX;
            if (gathered.is_back && is_quiet) || is_long {
                state.seal_that(batch);
                return;
            }
            drop(state);
            if gathered.several {
                // Who is about to ask may be waiting for this processor: without this, a crowd on a
                // busy machine comes to dozens of batches.
                std::thread::yield_now();
            }
        }
    }

    /// The future is the delivery's, from before it is first polled.
    fn fetch(
        self: Arc<Self>,
        batch: Arc<Batch<K, V>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let delivery = Delivery { shared: self, batch, outcome: None };
        async move {
            let outcome = delivery.shared.ask(&delivery.batch).await;
            delivery.done(outcome);
        }
    }

    async fn ask(&self, batch: &Batch<K, V>) -> Result<Found<V>, Error> {
        let place = batch.place;
        let Some(keys) = batch.keys.get().cloned() else {
            return Err(abandoned("nobody waited for it any more"));
        };
        // Never closed.
        let _permit = self.permits.acquire().await;
        let work = async { (self.batch)(keys, place).await };
        let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
        let ended = match ready(work.as_mut()).await {
            Some(ended) => Some(ended),
            None => self.clock.timeout(self.timeout, work).await,
        };
        match ended {
            Some(Ok(outcome)) => outcome.map_err(|e| e.at(place)),
            Some(Err(_)) => Err(Error::new(Code::LoadFailed, "a batch function panicked")
                .why("its panic is in the log")
                .fix("correct the batch function")
                .at(place)),
            None => {
                let why = format!("it had {:?}", self.timeout);
                Err(Error::new(Code::LoadTimeout, "a batch took too long").why(why).at(place))
            }
        }
    }
}

/// In the scope of the load that opened the batch; without a runtime it is given up.
fn spawn<K, V>(batch: &Batch<K, V>, work: impl Future<Output = ()> + Send + 'static) {
    let Ok(runtime) = Handle::try_current() else { return };
    let task = match batch.scope.clone() {
        Some(scope) => runtime.spawn(scope.run(work)),
        None => runtime.spawn(work),
    };
    let _ = batch.task.set(task.abort_handle());
}

/// What `work` comes to when it is polled once.
async fn ready<F: Future>(mut work: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(out) => Poll::Ready(Some(out)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
