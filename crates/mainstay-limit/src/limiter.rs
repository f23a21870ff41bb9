//! One policy in this process.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use mainstay_core::clock::{Clock, Tick};
use mainstay_core::inspect::{Fact, Inspect, Snapshot};
use mainstay_core::{Code, Error, Result};

use crate::decision::{By, Decision};
use crate::log::Logs;
use crate::overrides::Overrides;
use crate::policy::{Policy, Rule};
use crate::rule::{Kernel, Step};
use crate::table::Table;

/// Keys that are remembered, unless another number is given.
pub(crate) const KEYS_MAX: usize = 100_000;
/// A policy whose whole limit takes longer to come back is timed by the kernel's coarse clock.
const COARSE_FROM: Duration = Duration::from_secs(1);

/// One policy in this process, for keys of any type that can be hashed: a decision is some nanoseconds of
/// arithmetic and one compare-and-swap, allocates nothing and never waits. Cheap to clone; clones share.
///
/// Its memory is fixed when it is made: 24 bytes for each of [`keys_max`](Self::with_keys_max) keys, whatever
/// their type. Beyond that number, a new key takes the place of the one that loses least by being forgotten;
/// up to it, hardly one does. A sliding log has eight bytes a unit, 256 MiB at most, and forgets up to one key
/// in seven where it is full: give it twice as many.
///
/// A policy whose whole limit takes a second or more to come back is timed by the kernel's coarse clock, which
/// is up to one of its ticks (1 to 10 ms) late: a call counts as having come that much earlier.
/// [`precise`](Self::precise) asks the exact one, at some 20 ns a decision. A wall clock that jumps changes
/// nothing: time is the monotonic clock's.
///
/// ```
/// use mainstay_limit::{Limiter, Policy};
///
/// let limiter = Limiter::new("3/min".parse::<Policy>()?);
/// assert!(limiter.check("alice").allowed);
/// assert_eq!(limiter.check_n("alice", 2).remaining, 0);
/// let denied = limiter.check("alice");
/// assert!(!denied.allowed && denied.retry_after.unwrap().as_secs() <= 20);
/// assert!(limiter.check("bob").allowed);
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    policy: Policy,
    way: Way,
    hasher: RandomState,
    overrides: Overrides<Arc<Own>>,
    clock: Clock,
    coarse: bool,
    /// The limiter's zero, by the monotonic clock and by that on the wall.
    zero: Tick,
    wall: Duration,
}

/// A policy of one key alone.
type Own = (Policy, Kernel);

#[derive(Debug)]
enum Way {
    Words(Kernel, Table),
    Logs(Logs),
}

/// Units of a concurrency limit, given back when it is dropped.
#[derive(Debug)]
#[must_use = "it is given back when it is dropped"]
pub struct Permit {
    limiter: Arc<Inner>,
    hash: u64,
    units: u32,
}

impl Limiter {
    /// For up to 100,000 keys.
    pub fn new(policy: Policy) -> Self {
        Self::with_keys_max(policy, KEYS_MAX)
    }

    /// For up to `keys_max` keys.
    pub fn with_keys_max(policy: Policy, keys_max: usize) -> Self {
        Self::with_clock(policy, keys_max, Clock::system())
    }

    /// As [`with_keys_max`](Self::with_keys_max), on a clock that a test may move.
    pub fn with_clock(policy: Policy, keys_max: usize, clock: Clock) -> Self {
        let zero = clock.now().into();
        let wall = clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let way = match (policy.rule(), Kernel::of(policy.rule(), wall)) {
            (_, Some(kernel)) => Way::Words(kernel, Table::new(keys_max)),
            (rule, None) => {
                let (limit, window) = match rule {
                    Rule::SlidingLog { limit, window } => (limit, window),
                    _ => (policy.limit(), COARSE_FROM),
                };
                Way::Logs(Logs::new(limit, window, keys_max))
            }
        };
        let coarse = is_slow(&policy);
        let (hasher, overrides) = (RandomState::default(), Overrides::default());
        Self(Arc::new(Inner { policy, way, hasher, overrides, clock, coarse, zero, wall }))
    }

    /// Asks the exact clock for each decision. To be called before it is cloned; has no effect afterwards.
    pub fn precise(mut self) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.coarse = false;
        }
        self
    }

    /// Its policy.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// A call of one unit.
    #[inline]
    pub fn check<K: Hash + ?Sized>(&self, key: &K) -> Decision {
        self.check_n(key, 1)
    }

    /// A call of `cost` units, all or none of which are counted. Of none, nothing is counted and it is
    /// allowed.
    #[inline]
    pub fn check_n<K: Hash + ?Sized>(&self, key: &K, cost: u32) -> Decision {
        self.0.call(self.0.hash(key), self.0.now(), cost)
    }

    /// As [`check_n`](Self::check_n) at a time that was read before: for many decisions at one time.
    #[inline]
    pub fn check_at<K: Hash + ?Sized>(&self, key: &K, cost: u32, now: Instant) -> Decision {
        self.0.call(self.0.hash(key), self.0.since_zero(now.into()), cost)
    }

    /// What a call of `cost` units would be told; nothing is counted.
    pub fn peek<K: Hash + ?Sized>(&self, key: &K, cost: u32) -> Decision {
        self.0.look(self.0.hash(key), self.0.now(), cost)
    }

    /// Holds one unit of a concurrency limit until the permit is dropped. Of the other algorithms it is a
    /// call like any other, and dropping the permit gives nothing back.
    pub fn acquire<K: Hash + ?Sized>(&self, key: &K) -> Result<Permit, Decision> {
        let hash = self.0.hash(key);
        let decision = self.0.call(hash, self.0.now(), 1);
        if decision.allowed {
            let units = u32::from(self.0.is_held() && !decision.shadowed);
            Ok(Permit { limiter: Arc::clone(&self.0), hash, units })
        } else {
            Err(decision)
        }
    }

    /// Another policy for one key, from the next call on; `None` takes it away. Of the same algorithm, since
    /// the key's memory is. What the key has used stays counted.
    ///
    /// Errors: LIMIT-003 (another algorithm; more than 100,000 keys).
    pub fn set_override<K: Hash + ?Sized>(&self, key: &K, policy: Option<Policy>) -> Result<()> {
        self.0.set_override(self.0.hash(key), policy)
    }

    /// Bytes of its memory for keys.
    pub fn size(&self) -> usize {
        match &self.0.way {
            Way::Words(_, table) => table.size(),
            Way::Logs(logs) => logs.size(),
        }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl Inner {
    #[inline]
    pub(crate) fn hash<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Nanoseconds since its zero.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        let now = if self.coarse { self.clock.coarse() } else { self.clock.now().into() };
        self.since_zero(now)
    }

    fn since_zero(&self, now: Tick) -> u64 {
        now.since(self.zero).as_nanos() as u64
    }

    #[inline]
    pub(crate) fn call(&self, hash: u64, now: u64, cost: u32) -> Decision {
        let own = self.overrides.get(hash);
        let shadow = own.as_ref().map_or(self.policy.shadow, |own| own.0.shadow);
        let decision = match &self.way {
            Way::Words(kernel, table) => {
                let kernel = own.as_ref().map_or(kernel, |own| &own.1);
                match table.call(kernel, hash, now, cost) {
                    Ok(Step { decision, .. }) => decision,
                    Err(_) => self.full(),
                }
            }
            Way::Logs(logs) => logs.call(hash, now, cost, true),
        };
        decision.in_shadow(shadow)
    }

    pub(crate) fn look(&self, hash: u64, now: u64, cost: u32) -> Decision {
        let own = self.overrides.get(hash);
        let shadow = own.as_ref().map_or(self.policy.shadow, |own| own.0.shadow);
        let decision = match &self.way {
            Way::Words(kernel, table) => {
                let kernel = own.as_ref().map_or(kernel, |own| &own.1);
                table.look(kernel, hash, now, cost).decision
            }
            Way::Logs(logs) => logs.call(hash, now, cost, false),
        };
        decision.in_shadow(shadow)
    }

    /// Takes units back that a call has counted at `then`.
    pub(crate) fn undo(&self, hash: u64, then: u64, cost: u32) {
        match &self.way {
            Way::Words(kernel, table) => match self.overrides.get(hash) {
                Some(own) => table.undo(&own.1, hash, then, cost),
                None => table.undo(kernel, hash, then, cost),
            },
            Way::Logs(logs) => logs.undo(hash, cost),
        }
    }

    /// Whether its units are held, not spent.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.policy.rule, Rule::Concurrency { .. })
    }

    /// The policy of the key alone.
    #[cfg(feature = "redis")]
    pub(crate) fn own(&self, hash: u64) -> Option<Policy> {
        self.overrides.get(hash).map(|own| own.0.clone())
    }

    pub(crate) fn set_override(&self, hash: u64, policy: Option<Policy>) -> Result<()> {
        let Some(policy) = policy else {
            self.change(hash, None)?;
            return Ok(());
        };
        let kernel = Kernel::of(policy.rule, self.wall);
        let fits =
            std::mem::discriminant(&policy.rule) == std::mem::discriminant(&self.policy.rule);
        match kernel.filter(|_| fits && self.keeps_its_words(&policy)) {
            Some(kernel) => self.change(hash, Some((policy, kernel))),
            None => {
                let what = format!("`{policy}` can't stand in for `{}` of one key", self.policy);
                Err(Error::new(Code::LimitUse, what)
                    .why("what the key has used is kept in the form of the algorithm and its window")
                    .fix("give the same algorithm, and of windows the same length; a log has no overrides"))
            }
        }
    }

    fn change(&self, hash: u64, own: Option<Own>) -> Result<()> {
        let before = self.overrides.get(hash);
        let own = own.map(Arc::new);
        self.overrides.set(hash, own.clone())?;
        if let Way::Words(usual, table) = &self.way {
            let kernel = |own: &Option<Arc<Own>>| own.as_ref().map_or(*usual, |own| own.1);
            table.adopt(&kernel(&before), &kernel(&own), hash, self.now());
        }
        Ok(())
    }

    /// A count of another window would be read as one of this.
    fn keeps_its_words(&self, policy: &Policy) -> bool {
        match (policy.rule, self.policy.rule) {
            (Rule::FixedWindow { window: a, .. }, Rule::FixedWindow { window: b, .. })
            | (Rule::SlidingCounter { window: a, .. }, Rule::SlidingCounter { window: b, .. }) => {
                a == b
            }
            _ => true,
        }
    }

    /// Every place is of a key that holds something: a new one has to wait.
    fn full(&self) -> Decision {
        let limit = self.policy.limit();
        Decision { allowed: false, remaining: 0, ..Decision::uncounted(limit, By::Store) }
    }
}

/// Whether a millisecond means little to it.
fn is_slow(policy: &Policy) -> bool {
    match policy.rule {
        Rule::Gcra { limit, per, burst }
        | Rule::TokenBucket { refill: limit, per, capacity: burst } => {
            per.as_nanos() * u128::from(burst) / u128::from(limit) >= COARSE_FROM.as_nanos()
        }
        Rule::FixedWindow { window, .. }
        | Rule::SlidingCounter { window, .. }
        | Rule::SlidingLog { window, .. } => window >= COARSE_FROM,
        Rule::Concurrency { .. } => true,
    }
}

impl Permit {
    pub(crate) fn of(limiter: &Arc<Inner>, hash: u64, units: u32) -> Self {
        Self { limiter: Arc::clone(limiter), hash, units }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.units > 0 {
            // What is held is of no time.
            self.limiter.undo(self.hash, 0, self.units);
        }
    }
}

impl Inspect for Limiter {
    /// Looks at every key: milliseconds for a million.
    fn inspect(&self) -> Snapshot {
        let now = self.0.now();
        let live = match &self.0.way {
            Way::Words(kernel, table) => table.live(kernel, now),
            Way::Logs(logs) => logs.live(now),
        };
        Snapshot::new("limit", self.0.policy.name().to_owned())
            .fact(Fact::count("keys", live))
            .fact(Fact::count("bytes", self.size()))
            .note(self.0.policy.to_string())
    }
}
