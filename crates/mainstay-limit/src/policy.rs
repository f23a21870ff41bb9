//! A policy: what is allowed to one key, by which algorithm, and what becomes of a decision when the store
//! is down. It is data: read from text, compared, printed. It counts nothing itself.

use std::borrow::Cow;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};

/// Units in a limit, at most.
pub(crate) const UNITS_MAX: u32 = 1_000_000_000;
/// Units of a sliding counter, which keeps two counts in 44 bits, never all of them set.
pub(crate) const COUNTER_MAX: u32 = 4_000_000;
/// Units of a sliding log, which keeps the time of each.
pub(crate) const LOG_MAX: u32 = 10_000;
/// No window is shorter or longer.
pub(crate) const WINDOW_MIN: Duration = Duration::from_millis(1);
pub(crate) const WINDOW_MAX: Duration = Duration::from_hours(24 * 366);

/// How it is counted.
///
/// | | memory a key | what it allows |
/// |---|---|---|
/// | fixed window | 16 bytes | up to twice the limit around the turn of a window |
/// | sliding log | 8 bytes a unit | exactly the limit in any window |
/// | sliding counter | 16 bytes | the limit, taking the last window's units as evenly spread |
/// | token bucket, GCRA | 16 bytes | a burst at once, then the rate |
/// | concurrency | 16 bytes | so many at the same time |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// So many in each window; windows begin at the multiples of their length since 1970.
    FixedWindow {
        /// Units.
        limit: u32,
        /// Its length.
        window: Duration,
    },
    /// So many in any window that ends now: the time of each unit is kept.
    SlidingLog {
        /// Units; at most 10,000.
        limit: u32,
        /// Its length.
        window: Duration,
    },
    /// As a sliding log, where the units of the last fixed window count by how much of it is still in the
    /// sliding one. Cloudflare's algorithm.
    SlidingCounter {
        /// Units; at most 4,000,000.
        limit: u32,
        /// Its length.
        window: Duration,
    },
    /// A bucket of tokens that fills steadily; a unit takes one.
    TokenBucket {
        /// Tokens in a full one.
        capacity: u32,
        /// Tokens that come in each `per`.
        refill: u32,
        /// See `refill`.
        per: Duration,
    },
    /// The generic cell rate algorithm: `limit` in each `per`, evenly spaced, and up to `burst` at once.
    Gcra {
        /// Units in each `per`.
        limit: u32,
        /// See `limit`.
        per: Duration,
        /// Units at once.
        burst: u32,
    },
    /// So many at the same time, however long each takes.
    Concurrency {
        /// Units.
        max: u32,
    },
}

/// What is decided where the store doesn't answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Allowed: the service matters more than the limit.
    Open,
    /// Denied: the limit matters more than the service.
    Closed,
    /// By this process alone, with the whole limit: a fleet of n allows up to n times as much.
    #[default]
    Local,
}

/// A limit of one key. Made [from text](std::str::FromStr), or by a constructor.
///
/// ```
/// use mainstay_limit::Policy;
///
/// let policy: Policy = "100/min burst 20".parse()?;
/// assert_eq!(policy.to_string(), "gcra 100/min burst 20");
/// assert_eq!("sliding 5/s".parse::<Policy>()?.to_string(), "sliding 5/s");
/// let error = "100/fortnight".parse::<Policy>().unwrap_err();
/// assert_eq!(error.code().as_str(), "LIMIT-001");
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub(crate) name: Cow<'static, str>,
    pub(crate) rule: Rule,
    pub(crate) on_failure: OnFailure,
    pub(crate) shadow: bool,
    pub(crate) lease: u32,
}

impl Policy {
    /// By a rule. Errors: LIMIT-001 where a number is out of its bounds.
    pub fn new(rule: Rule) -> Result<Self> {
        check(rule)?;
        let on_failure = OnFailure::default();
        Ok(Self { name: Cow::Borrowed("default"), rule, on_failure, shadow: false, lease: 0 })
    }

    /// `n` in each second, evenly spaced, and `n` at once (GCRA). Panics on 0 and on more than a billion.
    pub fn per_second(n: u32) -> Self {
        Self::per(n, Duration::from_secs(1))
    }

    /// `n` in each minute, as [`per_second`](Self::per_second).
    pub fn per_minute(n: u32) -> Self {
        Self::per(n, Duration::from_secs(60))
    }

    /// `n` in each hour, as [`per_second`](Self::per_second).
    pub fn per_hour(n: u32) -> Self {
        Self::per(n, Duration::from_secs(3600))
    }

    fn per(n: u32, per: Duration) -> Self {
        Self::new(Rule::Gcra { limit: n, per, burst: n }).unwrap_or_else(|e| panic!("{e}"))
    }

    /// So many at once. Of a GCRA or a token bucket; the others have no burst and stay as they are.
    /// Panics on 0 and on more than a billion.
    pub fn burst(mut self, at_once: u32) -> Self {
        match &mut self.rule {
            Rule::Gcra { burst, .. } => *burst = at_once,
            Rule::TokenBucket { capacity, .. } => *capacity = at_once,
            _ => {}
        }
        check(self.rule).unwrap_or_else(|e| panic!("{e}"));
        self
    }

    /// Its name, in headers and metrics. Default `default`.
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// What is decided where the store doesn't answer. Default [`OnFailure::Local`].
    pub fn on_failure(mut self, decided: OnFailure) -> Self {
        self.on_failure = decided;
        self
    }

    /// It is counted and told, and never denies: to see what a limit would do.
    pub fn shadow(mut self, shadow: bool) -> Self {
        self.shadow = shadow;
        self
    }

    /// On Redis, takes up to so many units of a busy key at once and gives them out in this process; 0,
    /// the default, asks for each. At most a tenth of the burst or limit. The overshoot of n processes in
    /// any window is at most n times this.
    pub fn lease(mut self, units: u32) -> Self {
        self.lease = units.min(self.limit() / 10);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is counted.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What is decided where the store doesn't answer.
    pub fn fails(&self) -> OnFailure {
        self.on_failure
    }

    /// Whether it never denies.
    pub fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// Units taken from Redis at once; 0 for none.
    pub fn leased(&self) -> u32 {
        self.lease
    }

    /// The units that may be had at once by a key that had none: what `limit` means in a
    /// [`Decision`](crate::Decision).
    pub fn limit(&self) -> u32 {
        match self.rule {
            Rule::FixedWindow { limit, .. }
            | Rule::SlidingLog { limit, .. }
            | Rule::SlidingCounter { limit, .. } => limit,
            Rule::TokenBucket { capacity, .. } => capacity,
            Rule::Gcra { burst, .. } => burst,
            Rule::Concurrency { max } => max,
        }
    }

    /// The quota that headers tell: so many units in this time. A concurrency limit has none.
    pub fn quota(&self) -> Option<(u32, Duration)> {
        match self.rule {
            Rule::FixedWindow { limit, window }
            | Rule::SlidingLog { limit, window }
            | Rule::SlidingCounter { limit, window } => Some((limit, window)),
            Rule::TokenBucket { refill, per, .. } => Some((refill, per)),
            Rule::Gcra { limit, per, .. } => Some((limit, per)),
            Rule::Concurrency { .. } => None,
        }
    }
}

fn check(rule: Rule) -> Result<()> {
    let refused =
        |what: String, fix: &'static str| Err(Error::new(Code::LimitPolicy, what).fix(fix));
    let (units, units_max, per) = match rule {
        Rule::FixedWindow { limit, window } => (vec![limit], UNITS_MAX, Some(window)),
        Rule::SlidingLog { limit, window } => (vec![limit], LOG_MAX, Some(window)),
        Rule::SlidingCounter { limit, window } => (vec![limit], COUNTER_MAX, Some(window)),
        Rule::TokenBucket { capacity, refill, per } => {
            (vec![capacity, refill], UNITS_MAX, Some(per))
        }
        Rule::Gcra { limit, per, burst } => (vec![limit, burst], UNITS_MAX, Some(per)),
        Rule::Concurrency { max } => (vec![max], UNITS_MAX, None),
    };
    for units in units {
        if units == 0 {
            return refused(
                "a limit of 0 units allows nothing".into(),
                "give 1 or more; to close a route, remove it",
            );
        }
        if units > units_max {
            let what =
                format!("{units} units are more than the {units_max} that this algorithm counts");
            return refused(what, "give less, or choose gcra, which counts up to a billion");
        }
    }
    if let Some(per) = per.filter(|per| !(WINDOW_MIN..=WINDOW_MAX).contains(per)) {
        let what = format!("a window of {per:?} is not between a millisecond and 366 days");
        return refused(what, "give a window such as 1s, 5min or 1h");
    }
    // The time in which a whole burst comes back must be one that can be computed with.
    if let Rule::Gcra { limit, per, burst }
    | Rule::TokenBucket { capacity: burst, refill: limit, per } = rule
        && per.as_nanos() * u128::from(burst) / u128::from(limit) > WINDOW_MAX.as_nanos() * 10
    {
        let what =
            format!("a burst of {burst} at {limit} in {per:?} takes over ten years to come back");
        return refused(what, "give a smaller burst or a higher rate");
    }
    Ok(())
}
