//! When a job that failed is tried again, and what else may become of it.

use std::time::Duration;

use mainstay_core::rng::Rng;

/// What becomes of a job whose handler failed. Given by [`Job::failed`](crate::Job::failed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Again after this time.
    Retry(Duration),
    /// To the dead letters: trying again would not help.
    Dead,
    /// Ended as cancelled, and nobody need look at it.
    Cancel,
    /// Again after this time, without counting as an attempt: for what is no fault of the job's.
    Snooze(Duration),
}

/// How long to wait before the next attempt.
///
/// ```
/// use std::time::Duration;
/// use mainstay_core::rng::Rng;
/// use mainstay_jobs::Backoff;
///
/// let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(60)).jitter(0.0);
/// assert_eq!(backoff.after(1, &Rng::system()), Duration::from_secs(1));
/// assert_eq!(backoff.after(4, &Rng::system()), Duration::from_secs(8));
/// assert_eq!(backoff.after(99, &Rng::system()), Duration::from_secs(60));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    growth: Growth,
    max: Duration,
    jitter: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    Fixed(Duration),
    Exponential(Duration),
    /// The attempt to the fourth, in seconds.
    Polynomial,
}

impl Backoff {
    fn new(growth: Growth, max: Duration) -> Self {
        Self { growth, max, jitter: 0.1 }
    }

    /// Always the same time.
    pub fn fixed(time: Duration) -> Self {
        Self::new(Growth::Fixed(time), time)
    }

    /// `base`, then twice as long each time, at most `max`.
    pub fn exponential(base: Duration, max: Duration) -> Self {
        Self::new(Growth::Exponential(base), max)
    }

    /// The attempt to the fourth power, in seconds: 1 s, 16 s, 81 s, 4 min, ... at most a day. 25 attempts
    /// are some three weeks. The default, and Sidekiq's and River's shape.
    pub fn polynomial() -> Self {
        Self::new(Growth::Polynomial, Duration::from_secs(24 * 3600))
    }

    /// At most this long.
    pub fn max(mut self, time: Duration) -> Self {
        self.max = time;
        self
    }

    /// By which fraction it differs from the rule, up or down, so that what failed together does not come
    /// back together. Default 0.1; 0 to 1.
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.jitter = fraction.clamp(0.0, 1.0);
        self
    }

    /// After the `attempt`-th attempt, counted from 1, has failed.
    pub fn after(&self, attempt: u32, rng: &Rng) -> Duration {
        let attempt = attempt.max(1);
        let time = match self.growth {
            Growth::Fixed(time) => time,
            Growth::Exponential(base) => {
                base.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1).min(31)))
            }
            Growth::Polynomial => Duration::from_secs(u64::from(attempt).saturating_pow(4)),
        };
        let time = time.min(self.max);
        if self.jitter == 0.0 { time } else { rng.jittered(time, self.jitter).min(self.max) }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::polynomial()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, proptest};

    use super::*;

    #[test]
    fn it_grows_as_it_says() {
        let rng = Rng::system();
        let polynomial = Backoff::polynomial().jitter(0.0);
        let seconds = |attempt| polynomial.after(attempt, &rng).as_secs();
        assert_eq!([1, 2, 3, 4].map(seconds), [1, 16, 81, 256]);
        assert_eq!(seconds(0), 1);
        let fixed = Backoff::fixed(Duration::from_millis(5)).jitter(0.0);
        assert_eq!(fixed.after(9, &rng), Duration::from_millis(5));
    }

    proptest! {
        #[test]
        fn it_is_never_more_than_its_bound(attempt: u32, base in 0u64..10_000, max in 0u64..100_000) {
            let (base, max) = (Duration::from_millis(base), Duration::from_millis(max));
            let rng = Rng::seeded(1);
            prop_assert!(Backoff::exponential(base, max).after(attempt, &rng) <= max);
            prop_assert!(Backoff::polynomial().max(max).after(attempt, &rng) <= max);
        }
    }
}
