//! The pool itself: its handle, its builder, and what is behind the handle.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::observe::Observer;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Place, Result};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::core::{Core, Live};
use crate::lease::Lease;
use crate::manage::{Condition, Manage};
use crate::options::Options;
use crate::{acquire, tend};

/// A pool of connections. A handle: clones share the pool, which ends when the last clone and the
/// last [`Lease`] are gone. [`close`](Pool::close) says good-bye to the other side first.
pub struct Pool<M: Manage>(Arc<Shared<M>>);

pub(crate) struct Shared<M: Manage> {
    pub(crate) manage: M,
    pub(crate) options: Options,
    pub(crate) name: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) observer: Observer,
    /// Where the pool's own tasks run, so that a lease may be dropped on any thread.
    pub(crate) runtime: Handle,
    core: Mutex<Core<M::Connection>>,
    /// Told when a connection is gone, for [`Pool::close`].
    pub(crate) gone: Notify,
}

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
}

/// Sets a pool up; made by [`Pool::builder`].
pub struct Builder<M: Manage> {
    manage: M,
    first: Option<M::Connection>,
    options: Options,
    name: Arc<str>,
    clock: Clock,
    rng: Rng,
    observer: Observer,
}

impl<M: Manage> Builder<M> {
    /// The bounds; default [`Options::default`].
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// What events and messages call the pool; default `main`.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Where events go; default nowhere.
    #[must_use]
    pub fn observer(mut self, observer: Observer) -> Self {
        self.observer = observer;
        self
    }

    /// The clock; default the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The source of jitter; default the machine's.
    #[must_use]
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// A connection that is open already, to be the pool's first.
    #[must_use]
    pub fn first(mut self, connection: M::Connection) -> Self {
        self.first = Some(connection);
        self
    }

    /// Makes the pool and starts its upkeep on the current tokio runtime. Opens nothing itself
    /// save `min_idle` connections, in the background. Panics outside a runtime.
    ///
    /// Errors: CFG-003.
    pub fn build(self) -> Result<Pool<M>> {
        self.options.validate()?;
        let shared = Arc::new(Shared {
            manage: self.manage,
            options: self.options,
            name: self.name,
            clock: self.clock,
            rng: self.rng,
            observer: self.observer,
            runtime: Handle::current(),
            core: Mutex::new(Core::new()),
            gone: Notify::new(),
        });
        tend::start(&shared, self.first);
        Ok(Pool(shared))
    }
}

impl<M: Manage> Pool<M> {
    /// Begins a pool of what `manage` opens.
    pub fn builder(manage: M) -> Builder<M> {
        Builder {
            manage,
            first: None,
            options: Options::default(),
            name: "main".into(),
            clock: Clock::system(),
            rng: Rng::system(),
            observer: Observer::new(),
        }
    }

    /// A connection: an idle one at once, or the next that comes free, in the order of asking.
    ///
    /// Cancel safe: a dropped wait leaves the queue, and a connection that was already given to it
    /// goes to the next.
    ///
    /// Errors: POOL-001 (closed), POOL-002 (none in time), POOL-003 (the database is down and
    /// nothing is open), POOL-005 (too many wait).
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Lease<M>>> + Send + '_ {
        self.acquire_at(Place::here())
    }

    /// As [`acquire`](Self::acquire), on behalf of `place`.
    pub fn acquire_at(&self, place: Place) -> impl Future<Output = Result<Lease<M>>> + Send + '_ {
        acquire::acquire(&self.0, place)
    }

    /// What opens its connections.
    pub fn manager(&self) -> &M {
        &self.0.manage
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.0.status(&self.0.lock())
    }

    /// The bounds it was made with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Refuses further acquires, tells waiters so, closes what is idle, and waits up to `limit`
    /// for the connections that are out. Closing twice is fine.
    ///
    /// Cancel safe: dropped, the pool stays closed and only the wait ends.
    ///
    /// Errors: POOL-004, naming who still holds connections.
    pub async fn close(&self, limit: Duration) -> Result<()> {
        let deadline = self.0.clock.now() + limit;
        let (idle, wakers) = self.0.lock().close();
        wakers.into_iter().for_each(std::task::Waker::wake);
        for connection in idle {
            self.0.clock.timeout_at(deadline, self.0.manage.close(connection)).await;
        }
        let all_gone = async {
            loop {
                let gone = self.0.gone.notified();
                let status = self.status();
                if status.open == 0 && status.connecting == 0 {
                    return;
                }
                gone.await;
            }
        };
        match self.0.clock.timeout_at(deadline, all_gone).await {
            Some(()) => Ok(()),
            None => {
                let (status, holders) = (self.status(), self.0.holders());
                let what = format!(
                    "pool `{}` closed with {} still out after {limit:?}",
                    self.0.name, status.in_use
                );
                Err(Error::new(Code::PoolStillOut, what).why(holders))
            }
        }
    }
}

impl<M: Manage> Shared<M> {
    /// No code that can panic runs under this lock, so a poisoned one is as good as new.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core<M::Connection>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn status(&self, core: &Core<M::Connection>) -> Status {
        Status {
            max_size: self.options.max_size as usize,
            open: core.open,
            idle: core.idle.len(),
            in_use: core.open - core.idle.len(),
            connecting: core.connecting,
            waiting: core.waiters.len(),
        }
    }

    /// A connection comes back, in whatever condition.
    pub(crate) fn take_back(self: &Arc<Self>, mut live: Live<M::Connection>, now: Instant) {
        match self.manage.condition(&live.connection) {
            Condition::Clean => {
                live.idle_since = now;
                self.put(live, now);
            }
            Condition::Dirty => tend::recover(self, live),
            Condition::Broken => self.discard(live, now),
        }
    }

    /// A clean connection becomes available, unless its time or the pool's has come.
    pub(crate) fn put(self: &Arc<Self>, live: Live<M::Connection>, now: Instant) {
        let mut core = self.lock();
        if core.closed || live.expires.is_some_and(|at| at <= now) {
            drop(core);
            self.retire(live, now);
            return;
        }
        let waker = core.put(live);
        drop(core);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A connection that is of no use is dropped, and replaced if somebody waits.
    pub(crate) fn discard(self: &Arc<Self>, live: Live<M::Connection>, now: Instant) {
        let connection = self.lock().forget(live);
        drop(connection);
        self.after_loss(now);
    }

    /// A good connection is not wanted any more.
    pub(crate) fn retire(self: &Arc<Self>, live: Live<M::Connection>, now: Instant) {
        let connection = self.lock().forget(live);
        tend::say_goodbye(self, connection);
        self.after_loss(now);
    }

    fn after_loss(self: &Arc<Self>, now: Instant) {
        self.gone.notify_waiters();
        tend::connect_as_needed(self, now);
    }
}

impl<M: Manage> Clone for Pool<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Manage> fmt::Debug for Pool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.0.name).field("status", &self.status()).finish()
    }
}
