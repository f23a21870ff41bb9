//! A cache's options, with their defaults and bounds.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};

use super::flight::Flights;
use super::refresh::Refreshing;
use super::stats::Stats;
use super::{Cache, Inner, Value};
use crate::store::{Ask, Store};

const NAME_MAX: usize = 64;
/// No life is longer.
const LIFE_MAX: Duration = Duration::from_secs(365 * 86_400);
const LIFE_MIN: Duration = Duration::from_millis(10);

/// What a cache was built with.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) ttl: Duration,
    pub(super) jitter: f64,
    pub(super) stale: Duration,
    pub(super) negative: Duration,
    pub(super) load_timeout: Duration,
    pub(super) capacity_bytes: u64,
}

/// Puts a [`Cache`] together; every option has a default.
pub struct Builder<V> {
    name: String,
    store: Box<dyn Store>,
    options: Options,
    clock: Clock,
    rng: Rng,
    of: PhantomData<fn() -> V>,
}

impl<V> fmt::Debug for Builder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<V: Value> Builder<V> {
    pub(super) fn new(name: String, store: Box<dyn Store>) -> Self {
        let options = Options {
            ttl: Duration::from_secs(300),
            jitter: 0.1,
            stale: Duration::ZERO,
            negative: Duration::ZERO,
            load_timeout: Duration::from_secs(10),
            capacity_bytes: 64 << 20,
        };
        let (clock, rng) = (Clock::system(), Rng::system());
        Self { name, store, options, clock, rng, of: PhantomData }
    }

    /// How long a value is good. Default: 5 min; from 10 ms to 365 days.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.options.ttl = ttl;
        self
    }

    /// Each TTL is shorter by a random part of up to this, so that what was loaded together is not loaded
    /// together again. Default: 0.1; from 0 to 0.9.
    #[must_use]
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.options.jitter = fraction;
        self
    }

    /// For how long after its TTL a value is served once more while it is loaded anew. Default: not at all.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.options.stale = window;
        self
    }

    /// How long it is remembered that there is no value. Default: not at all.
    #[must_use]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.options.negative = ttl;
        self
    }

    /// How long a load may take; its future is dropped then. Default: 10 s; from 10 ms to 10 min.
    #[must_use]
    pub fn load_timeout(mut self, limit: Duration) -> Self {
        self.options.load_timeout = limit;
        self
    }

    /// What it may keep in this process: the JSON of its values and what belongs to them, which stands for
    /// the values themselves. Default: 64 MiB; from 4 KiB. Stores outside of the process do not count it.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.options.capacity_bytes = bytes;
        self
    }

    /// What tells the time in this process. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Where jitter comes from. Default: the machine's.
    #[must_use]
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Errors: CACHE-004, naming the option that is out of its bounds.
    pub fn build(self) -> Result<Cache<V>> {
        self.check()?;
        let Self { name, store, options, clock, rng, .. } = self;
        let region = store.region(&Ask {
            name: &name,
            capacity_bytes: options.capacity_bytes,
            clock: &clock,
            rng: &rng,
        })?;
        Ok(Cache(Arc::new(Inner {
            stats: Stats::new(&name),
            name: name.into(),
            options,
            region,
            flights: Flights::default(),
            refreshing: Refreshing::default(),
            clock,
            rng,
        })))
    }

    fn check(&self) -> Result<()> {
        let o = &self.options;
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let lives = LIFE_MIN..=LIFE_MAX;
        let wrong =
            if self.name.is_empty() || self.name.len() > NAME_MAX || !self.name.chars().all(fits) {
                "its name: it has 1 to 64 of the characters A-Z a-z 0-9 _ . -"
            } else if !lives.contains(&o.ttl) {
                "ttl: it is from 10 ms to 365 days"
            } else if !(0.0..=0.9).contains(&o.jitter) {
                "jitter: it is from 0 to 0.9"
            } else if o.stale > LIFE_MAX {
                "stale_while_revalidate: it is up to 365 days"
            } else if !o.negative.is_zero() && !lives.contains(&o.negative) {
                "negative_ttl: it is zero, or from 10 ms to 365 days"
            } else if !(LIFE_MIN..=Duration::from_secs(600)).contains(&o.load_timeout) {
                "load_timeout: it is from 10 ms to 10 min"
            } else if o.capacity_bytes < 4096 {
                "capacity_bytes: it is 4096 or more"
            } else {
                return Ok(());
            };
        let what = format!("the cache `{}` can't be built as it is", self.name.escape_debug());
        Err(Error::new(Code::CacheOption, what).why(wrong))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[test]
    fn every_bound_is_told_by_name() {
        type Set = fn(Builder<u32>) -> Builder<u32>;
        let cases: [(&str, Set); 6] = [
            ("ttl", |b| b.ttl(Duration::ZERO)),
            ("jitter", |b| b.jitter(f64::NAN)),
            ("stale_while_revalidate", |b| b.stale_while_revalidate(Duration::MAX)),
            ("negative_ttl", |b| b.negative_ttl(Duration::from_nanos(1))),
            ("load_timeout", |b| b.load_timeout(Duration::MAX)),
            ("capacity_bytes", |b| b.capacity_bytes(1)),
        ];
        for (option, set) in cases {
            let error = set(Cache::builder("a", Memory::new())).build().unwrap_err();
            assert_eq!(error.code(), Code::CacheOption);
            assert!(error.report().contains(&format!("why: {option}:")), "{error:?}");
        }
        assert!(Cache::<u32>::builder("a:b", Memory::new()).build().is_err());
    }
}
