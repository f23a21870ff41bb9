//! Notices handlers that keep a thread of the runtime to themselves: a poll that takes long means a call
//! that blocks, and nothing else runs on that thread meanwhile. It can be told of, not ended.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use mainstay_core::clock::{Clock, Tick};
use mainstay_core::{Code, Error};

use super::call::Call;

/// A poll of this length is told of.
const BLOCKS_AFTER: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A slot, as it is watched: since when its run is being polled, or 0.
#[derive(Default)]
pub(crate) struct Spot {
    call: Mutex<Option<Arc<Call>>>,
    polled_since: AtomicI64,
    told: AtomicBool,
}

/// Looks after the slots of a worker, from a thread of its own: the runtime's may all be blocked.
pub(crate) struct Watch {
    spots: Vec<Arc<Spot>>,
    clock: Clock,
}

impl Watch {
    /// For so many slots. Ends when the worker does.
    pub(crate) fn start(slots: usize, clock: Clock) -> Arc<Self> {
        let spots = (0..slots).map(|_| Arc::default()).collect();
        let watch = Arc::new(Self { spots, clock });
        let weak: Weak<Self> = Arc::downgrade(&watch);
        let looks = move || {
            while let Some(watch) = weak.upgrade() {
                watch.look();
                drop(watch);
                std::thread::park_timeout(LOOK_EVERY);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("mainstay-watch".into()).spawn(looks) {
            tracing::warn!("handlers that block will not be noticed: {error}");
        }
        watch
    }

    pub(crate) fn spot(&self, slot: usize) -> Arc<Spot> {
        Arc::clone(&self.spots[slot])
    }

    fn look(&self) {
        let now = self.clock.coarse();
        for spot in &self.spots {
            let since = spot.polled_since.load(Relaxed);
            if since == 0 || now.since(Tick::from_nanos(since)) < BLOCKS_AFTER {
                continue;
            }
            if spot.told.swap(true, Relaxed) {
                continue;
            }
            let call = spot.call.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(call) = call else { continue };
            let what = format!(
                "the handler of `{}` (job {}) has kept a thread of the runtime for over {BLOCKS_AFTER:?}",
                call.job.name, call.job.id
            );
            let error = Error::new(Code::JobBlocks, what).why("it blocks inside a poll");
            tracing::error!(code = "JOB-007", "{}", error.report());
        }
    }
}

pin_project_lite::pin_project! {
    /// A run that is watched over. It costs a load of the coarse clock a poll.
    pub(crate) struct Watched<F> {
        #[pin]
        inner: F,
        spot: Arc<Spot>,
        clock: Clock,
    }
}

impl<F: Future> Watched<F> {
    pub(crate) fn new(inner: F, spot: &Arc<Spot>, clock: &Clock, call: &Arc<Call>) -> Self {
        *spot.call.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(call));
        spot.told.store(false, Relaxed);
        Self { inner, spot: Arc::clone(spot), clock: clock.clone() }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.spot.polled_since.store(this.clock.coarse().nanos(), Relaxed);
        let polled = this.inner.poll(cx);
        this.spot.polled_since.store(0, Relaxed);
        polled
    }
}
