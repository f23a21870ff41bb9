//! The pool's handle, and what can be asked of it at run time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mainstay_core::observe::Removal;
use mainstay_core::{Code, Error, Place, Result};

use crate::advice::{Advice, Server};
use crate::builder::Builder;
use crate::holder::InUse;
use crate::lease::Lease;
use crate::manage::Manage;
use crate::options::{DURATION_MAX, Options};
use crate::shared::Shared;
use crate::tend::Tended;
use crate::usage::Usage;
use crate::{acquire, tend, upkeep};

/// A pool of connections. A handle: clones share the pool, which ends when the last clone and the
/// last [`Lease`] are gone. [`close`](Pool::close) says good-bye to the other side first.
pub struct Pool<M: Manage>(Arc<Handle<M>>);

/// What all clones share. Its end is the end of the pool: what is idle knows the way to the pool,
/// and so would keep it for ever.
pub(crate) struct Handle<M: Manage>(pub(crate) Arc<Shared<M>>);

/// How a pool stands at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The bound.
    pub max_size: usize,
    /// Open: idle and in use.
    pub open: usize,
    /// Ready to be handed out.
    pub idle: usize,
    /// Out, or being put right.
    pub in_use: usize,
    /// Being opened.
    pub connecting: usize,
    /// Callers that wait.
    pub waiting: usize,
    /// Whether callers wait for [`resume`](Pool::resume).
    pub suspended: bool,
    /// Whether it was closed.
    pub closed: bool,
}

impl<M: Manage> Pool<M> {
    /// Begins a pool of what `manage` opens.
    pub fn builder(manage: M) -> Builder<M> {
        Builder::new(manage)
    }

    pub(crate) fn new(shared: Arc<Shared<M>>) -> Self {
        Self(Arc::new(Handle(shared)))
    }

    fn shared(&self) -> &Arc<Shared<M>> {
        &self.0.0
    }

    /// A connection: an idle one at once, or the next that comes free, in the order of asking.
    ///
    /// The wait is bounded by `acquire_timeout` and by the deadline of the current
    /// [`Scope`](mainstay_core::scope::Scope), whose priority says who is refused first under load.
    ///
    /// Cancel safe: a dropped wait leaves the queue, and a connection that was already given to it
    /// goes to the next.
    ///
    /// Errors: POOL-001 (closed), POOL-002 (none in time), POOL-003 (the database is down and
    /// nothing is open), POOL-005 (too many wait), POOL-006 (overload).
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Lease<M>>> + Send + '_ {
        self.acquire_at(Place::here())
    }

    /// As [`acquire`](Self::acquire), on behalf of `place`.
    pub fn acquire_at(&self, place: Place) -> impl Future<Output = Result<Lease<M>>> + Send + '_ {
        acquire::acquire(self.shared(), place, None)
    }

    /// As [`acquire_at`](Self::acquire_at), for a caller that keeps `held` connections of this pool
    /// while it waits, and knows it: it is not told of as a mistake (POOL-009), and where the wait
    /// could never end, since everybody who holds a connection waits so, it is refused at once. Of
    /// several that wait on behalf of the same connections, one counts them and the others say 0.
    ///
    /// Cancel safe, as [`acquire`](Self::acquire).
    ///
    /// Errors: POOL-010, and those of [`acquire`](Self::acquire).
    pub fn acquire_beside(
        &self,
        held: usize,
        place: Place,
    ) -> impl Future<Output = Result<Lease<M>>> + Send + '_ {
        acquire::acquire(self.shared(), place, Some(held))
    }

    /// What opens its connections.
    pub fn manager(&self) -> &M {
        &self.shared().manage
    }

    /// What events and messages call it.
    pub fn name(&self) -> &str {
        &self.shared().name
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.shared().status()
    }

    /// Why the last connect failed, until one succeeds or a connection comes back.
    pub fn failure(&self) -> Option<Arc<Error>> {
        self.shared().hub.look().failure.as_ref().map(|f| Arc::clone(&f.error))
    }

    /// The bounds it was made with; of its size, [`status`](Self::status) tells the present one.
    pub fn options(&self) -> &Options {
        &self.shared().options
    }

    /// Every connection that somebody has at this moment, the one held for longest first: where it
    /// was asked for, for which request, since when, and what was last done with it. Linear in the
    /// pool's size.
    pub fn in_use(&self) -> Vec<InUse> {
        self.shared().in_use(self.shared().exact())
    }

    /// What happened in the last five to ten minutes.
    pub fn usage(&self) -> Usage {
        self.shared().usage()
    }

    /// Advice on its size from [`usage`](Self::usage), and from what is known of the server.
    pub fn advice(&self, server: &Server) -> Advice {
        Advice::new(&self.usage(), &self.status(), server)
    }

    /// Gives it another bound, at once. Below what is in use, nothing is cut off: what is idle is
    /// closed now, and each connection that comes back is closed while there are too many.
    ///
    /// Errors: CFG-003 (0, below `min_idle`, above 4,096), and the size stays.
    pub fn resize(&self, max_size: u32) -> Result<()> {
        let shared = self.shared();
        Options { max_size, ..shared.options.clone() }.validate()?;
        shared.hub.lock().resize(max_size as usize);
        let now = shared.exact();
        upkeep::sweep(shared, now);
        tend::connect_as_needed(shared, now);
        Ok(())
    }

    /// Hands nothing out until [`resume`](Self::resume): callers wait, for as long as they would for
    /// a busy pool, and no connection is opened. What is out stays out and comes back as ever. For a
    /// failover or a restart of the database: suspend, [`clear`](Self::clear), resume.
    pub fn suspend(&self) {
        self.shared().hub.lock().suspended = true;
    }

    /// Ends a suspension: those who waited are served in the order of asking.
    pub fn resume(&self) {
        let shared = self.shared();
        let now = shared.exact();
        let (surplus, woken) = shared.hub.lock().resume(now);
        woken.wake();
        for slot in surplus {
            let live = shared.hub.slots.lock(slot).live.take();
            if let Some(live) = live {
                shared.remove(live, Removal::Surplus, now);
            }
        }
        tend::connect_as_needed(shared, now);
    }

    /// Begins a new generation: every connection opened before is closed, the idle now and the
    /// others when they come back, as after a failover they lead to the wrong server.
    pub fn clear(&self) {
        let shared = self.shared();
        shared.generation.fetch_add(1, Relaxed);
        let now = shared.exact();
        upkeep::sweep(shared, now);
        tend::connect_as_needed(shared, now);
    }

    /// Refuses further acquires, tells waiters so, closes what is idle, and waits up to `limit`
    /// for the connections that are out. Closing twice is fine: the second waits for the same.
    ///
    /// Cancel safe: dropped, the pool stays closed and only the wait ends.
    ///
    /// Errors: POOL-004, naming who still holds connections; they are closed when they come back.
    pub async fn close(&self, limit: Duration) -> Result<()> {
        let shared = self.shared();
        // Some bound, should the caller's be for ever.
        let deadline = shared.clock.now() + limit.min(DURATION_MAX);
        let (idle, woken) = shared.hub.lock().close();
        woken.wake();
        // Taken out at once, so that a drop at the await below leaves none behind.
        let take = |slot| shared.hub.slots.lock(slot).live.take();
        let idle: Vec<_> = idle
            .into_iter()
            .filter_map(take)
            .map(|live| Tended::new(shared, live, Removal::Closed))
            .collect();
        drop(idle);
        let all_gone = async {
            loop {
                let mut gone = std::pin::pin!(shared.gone.notified());
                gone.as_mut().enable();
                let status = self.status();
                if status.open == 0 && status.connecting == 0 {
                    return;
                }
                gone.await;
            }
        };
        if let Some(()) = shared.clock.timeout_at(deadline, all_gone).await {
            return Ok(());
        }
        let (status, holders) = (self.status(), shared.holders());
        let what = format!(
            "pool `{}` closed with {} still out and {} being opened after {limit:?}",
            shared.name, status.in_use, status.connecting
        );
        Err(Error::new(Code::PoolStillOut, what).why(holders))
    }
}

impl<M: Manage> Drop for Handle<M> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl<M: Manage> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Manage> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name()).field("status", &self.status()).finish()
    }
}
