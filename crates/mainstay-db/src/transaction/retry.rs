//! How often a transaction is run again, and how long is waited before.

use std::time::Duration;

use mainstay_core::rng::Rng;

/// How often a transaction is run before its conflict reaches the caller, and the waits between.
///
/// Run again is the whole closure, and only for what the engine says was rolled back for the sake
/// of others: a serialization failure (PostgreSQL 40001, MariaDB 1020) or a deadlock (40P01, 1213).
/// Never after a COMMIT whose answer was lost (TX-003), and never past the deadline.
///
/// The wait before attempt `n + 1` is drawn from zero up to `backoff_min * 2^n`, at most
/// `backoff_max`: "full jitter" (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog,
/// 2015). Default: 8 attempts, 2 ms, 250 ms.
///
/// ```
/// use std::time::Duration;
/// use mainstay_db::RetryPolicy;
///
/// let patient = RetryPolicy::attempts(20).backoff(Duration::from_millis(1), Duration::from_secs(1));
/// let never = RetryPolicy::none();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    attempts_max: u32,
    backoff_min: Duration,
    backoff_max: Duration,
}

impl RetryPolicy {
    /// At most this many runs, the first included; 0 is taken for 1, and the bound is 1,000.
    pub fn attempts(attempts_max: u32) -> Self {
        Self { attempts_max: attempts_max.clamp(1, 1000), ..Self::default() }
    }

    /// One run: a conflict reaches the caller at once.
    pub fn none() -> Self {
        Self::attempts(1)
    }

    /// Half of the longest first wait, and the longest wait of all, up to a minute.
    #[must_use]
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff_max = max.min(Duration::from_secs(60));
        self.backoff_min = min.min(self.backoff_max);
        self
    }

    /// How long to wait after the failure of `attempt`; `None` if that was the last.
    pub(crate) fn after(&self, attempt: u32, rng: &Rng) -> Option<Duration> {
        (attempt < self.attempts_max).then(|| {
            let longest = self.backoff_min.saturating_mul(2u32.saturating_pow(attempt));
            rng.jittered(longest.min(self.backoff_max), 1.0)
        })
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            backoff_min: Duration::from_millis(2),
            backoff_max: Duration::from_millis(250),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_their_bound_and_end() {
        let rng = Rng::seeded(1);
        let policy =
            RetryPolicy::attempts(40).backoff(Duration::from_millis(2), Duration::from_millis(100));
        for attempt in 1..40 {
            let wait = policy.after(attempt, &rng).unwrap();
            let bound = 2u128.saturating_pow(attempt + 1).min(100);
            assert!(wait.as_millis() <= bound, "{attempt}: {wait:?}");
        }
        assert_eq!(policy.after(40, &rng), None);
        assert_eq!(RetryPolicy::none().after(1, &rng), None);
    }
}
