//! The bounds of a pool.

use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use crate::slots::SLOTS_MAX;

/// No bound is longer: a time that far off could not be computed with.
pub(crate) const DURATION_MAX: Duration = Duration::from_hours(365 * 24);

/// The bounds of a pool, and the `[pool]` table of the configuration. Durations are written as
/// `"500ms"`, `"5s"`, `"30m"`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Connections open at the same time, those being opened included. 1 to 4,096; default 10.
    pub max_size: u32,
    /// Idle connections kept ready. At most `max_size`; default 0.
    pub min_idle: u32,
    /// How long a caller waits for a connection before POOL-002. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub acquire_timeout: Duration,
    /// Callers that may wait at the same time; the next is refused with POOL-005. Default 10,000.
    pub max_waiting: u32,
    /// How long opening a connection may take. Default 5 s.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Connections being opened at the same time. At least 1; default 2.
    pub max_connecting: u32,
    /// A connection older than this is replaced when it is next idle, up to a quarter earlier so
    /// that those opened together do not end together. At least 1 s; `None` is never; default
    /// 30 min.
    #[serde(with = "humantime_serde")]
    pub max_lifetime: Option<Duration>,
    /// A connection idle for longer is closed, down to `min_idle`. At least 1 s; `None` is never;
    /// default 10 min.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Option<Duration>,
    /// A connection that has lain silent for longer is asked whether it lives, so that no firewall
    /// forgets it and none is found dead by a caller. At least 1 s; `None` is never; default 2 min.
    #[serde(with = "humantime_serde")]
    pub keepalive: Option<Duration>,
    /// A connection idle for longer is asked whether it still answers before it is handed out.
    /// Default 500 ms.
    #[serde(with = "humantime_serde")]
    pub validate_after: Duration,
    /// How long that answer may take. Default 2 s.
    #[serde(with = "humantime_serde")]
    pub validation_timeout: Duration,
    /// How long a connection that came back dirty may take to become clean before it is
    /// discarded. Default 2 s.
    #[serde(with = "humantime_serde")]
    pub recover_timeout: Duration,
    /// A connection that is held, and with which nothing has been done for this long, is reported
    /// as a leak (POOL-007), at most a second later. At least 100 ms; `None` is never; default 10 s.
    #[serde(with = "humantime_serde")]
    pub leak_after: Option<Duration>,
    /// A transaction that is open, and with which nothing has been done for this long, is reported
    /// (TX-011), at most a second later: its locks keep others waiting. At least 100 ms; `None` is
    /// never; default 2 s.
    #[serde(with = "humantime_serde")]
    pub transaction_idle_after: Option<Duration>,
    /// How long a caller may wait while there is more to do than the pool can carry: once the queue
    /// has not been empty for four times this long, whoever has waited for longer is refused with
    /// POOL-006. At least 1 ms; `None`, the default, refuses nobody before `acquire_timeout`.
    #[serde(with = "humantime_serde")]
    pub shed_target: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_size: 10,
            min_idle: 0,
            acquire_timeout: Duration::from_secs(5),
            max_waiting: 10_000,
            connect_timeout: Duration::from_secs(5),
            max_connecting: 2,
            max_lifetime: Some(Duration::from_mins(30)),
            idle_timeout: Some(Duration::from_mins(10)),
            keepalive: Some(Duration::from_mins(2)),
            validate_after: Duration::from_millis(500),
            validation_timeout: Duration::from_secs(2),
            recover_timeout: Duration::from_secs(2),
            leak_after: Some(Duration::from_secs(10)),
            transaction_idle_after: Some(Duration::from_secs(2)),
            shed_target: None,
        }
    }
}

impl Options {
    /// Checks the bounds against each other. Errors: CFG-003.
    pub fn validate(&self) -> Result<()> {
        let wrong =
            |key: &str, why: &str| Err(Error::new(Code::ConfigValue, format!("pool.{key} {why}")));
        if self.max_size == 0 {
            return wrong("max_size", "is 0: nothing could ever be acquired");
        }
        if self.max_size > SLOTS_MAX {
            return wrong("max_size", "is above 4096, more than any server carries");
        }
        if self.min_idle > self.max_size {
            return wrong("min_idle", "is above pool.max_size");
        }
        if self.max_connecting == 0 {
            return wrong("max_connecting", "is 0: nothing could ever be opened");
        }
        if self.max_waiting == 0 {
            return wrong("max_waiting", "is 0: nobody could ever wait");
        }
        for (key, value) in [
            ("acquire_timeout", self.acquire_timeout),
            ("connect_timeout", self.connect_timeout),
            ("validation_timeout", self.validation_timeout),
            ("recover_timeout", self.recover_timeout),
        ] {
            if value.is_zero() {
                return wrong(key, "is 0: it would always have passed");
            }
            if value > DURATION_MAX {
                return wrong(key, "is above 365 days");
            }
        }
        for (key, value, floor) in [
            ("max_lifetime", self.max_lifetime, Duration::from_secs(1)),
            ("idle_timeout", self.idle_timeout, Duration::from_secs(1)),
            ("keepalive", self.keepalive, Duration::from_secs(1)),
            ("leak_after", self.leak_after, Duration::from_millis(100)),
            ("transaction_idle_after", self.transaction_idle_after, Duration::from_millis(100)),
            ("shed_target", self.shed_target, Duration::from_millis(1)),
        ] {
            if value.is_some_and(|v| v < floor || v > DURATION_MAX) {
                return wrong(key, &format!("must be at least {floor:?} and at most 365 days"));
            }
        }
        if self.validate_after > DURATION_MAX {
            return wrong("validate_after", "is above 365 days");
        }
        Ok(())
    }
}
