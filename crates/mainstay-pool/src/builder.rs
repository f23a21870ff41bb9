//! Setting a pool up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_core::observe::Observer;
use mainstay_core::rng::Rng;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::core::Hub;
use crate::lifetime::Lifetimes;
use crate::manage::Manage;
use crate::nested::Askers;
use crate::options::Options;
use crate::pool::Pool;
use crate::shared::Shared;
use crate::upkeep;
use crate::usage::Tallies;

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
    pub(crate) fn new(manage: M) -> Self {
        Self {
            manage,
            first: None,
            options: Options::default(),
            name: "main".into(),
            clock: Clock::system(),
            rng: Rng::system(),
            observer: Observer::new(),
        }
    }

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
            hub: Hub::new(&self.options),
            generation: AtomicU32::new(0),
            askers: Askers::new(),
            blocked: AtomicUsize::new(0),
            lifetimes: Lifetimes::new(&self.rng),
            tallies: Tallies::new(self.clock.now().into()),
            runtime: Handle::current(),
            gone: Notify::new(),
            manage: self.manage,
            options: self.options,
            name: self.name,
            clock: self.clock,
            observer: self.observer,
        });
        let pool = Pool::new(Arc::clone(&shared));
        upkeep::start(&shared, self.first);
        Ok(pool)
    }
}
