//! What may be set about a change without downtime.

use std::time::Duration;

use mainstay_core::{Code, Error, Result};

/// How a change is made.
#[derive(Clone, Debug, PartialEq)]
pub struct OnlineOptions {
    /// How long a statement may wait for a lock before it lets go, so that others are not held up
    /// behind it, and tries again. 100 ms to 10 minutes; MySQL counts in whole seconds. Default 2 s.
    pub lock_timeout: Duration,
    /// How often a step or a batch is tried again after that, with a growing pause. At most 1000;
    /// default 20.
    pub lock_retries: u32,
    /// How long one batch of the backfill should take: its size follows that. 1 ms to 10 s; default
    /// 50 ms.
    pub batch_target: Duration,
    /// At most this part of the time is spent on batches, the rest is left to others. More than 0,
    /// at most 1; default 0.5.
    pub duty: f64,
    /// On PostgreSQL, the backfill waits while a replica is further behind than this. Default none.
    pub lag_max: Option<Duration>,
}

impl Default for OnlineOptions {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(2),
            lock_retries: 20,
            batch_target: Duration::from_millis(50),
            duty: 0.5,
            lag_max: None,
        }
    }
}

impl OnlineOptions {
    /// Errors: CFG-003.
    pub fn validate(&self) -> Result<()> {
        let wrong = |what: &'static str| Err(Error::new(Code::ConfigValue, what));
        let locks = Duration::from_millis(100)..=Duration::from_mins(10);
        if !locks.contains(&self.lock_timeout) {
            return wrong("lock_timeout must be 100 ms to 10 minutes");
        }
        if self.lock_retries > 1000 {
            return wrong("lock_retries must be at most 1000");
        }
        let batches = Duration::from_millis(1)..=Duration::from_secs(10);
        if !batches.contains(&self.batch_target) {
            return wrong("batch_target must be 1 ms to 10 s");
        }
        // A number that is none is in no range either.
        if !(0.001..=1.0).contains(&self.duty) {
            return wrong("duty must be 0.001 to 1");
        }
        Ok(())
    }
}
