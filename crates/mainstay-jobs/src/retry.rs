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

/// No delay is longer: ten years. What a clock or a column would no longer hold is far beyond.
const DELAY_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long to wait before the next attempt: never more than ten years of 365 days, whatever is asked for.
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

    /// By up to which fraction it is shorter than the rule, by chance, so that what failed together does not
    /// come back together. Default 0.1; 0 to 1, and 0 if it is no number.
    pub fn jitter(mut self, fraction: f64) -> Self {
        // Not `clamp`, which would keep a NaN.
        self.jitter = if fraction > 0.0 { fraction.min(1.0) } else { 0.0 };
        self
    }

    /// After the `attempt`-th attempt, counted from 1, has failed.
    pub fn after(&self, attempt: u32, rng: &Rng) -> Duration {
        let attempt = attempt.max(1);
        let max = self.max.min(DELAY_MAX);
        let time = match self.growth {
            Growth::Fixed(time) => time.min(max),
            Growth::Exponential(base) => doubled(base, attempt - 1, max),
            Growth::Polynomial => {
                Duration::from_secs(u64::from(attempt).saturating_pow(4)).min(max)
            }
        };
        if self.jitter == 0.0 { time } else { rng.jittered(time, self.jitter).min(max) }
    }
}

/// `base`, doubled so many times, at most `max`, which is at most [`DELAY_MAX`].
fn doubled(base: Duration, times: u32, max: Duration) -> Duration {
    // The bound has less than 63 bits of nanoseconds, so that nothing is shifted out of 128.
    let grown = base.min(max).as_nanos() << times.min(63);
    Duration::from_nanos(grown.min(max.as_nanos()) as u64)
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

    #[test]
    fn jitter_that_is_no_number_is_none() {
        let backoff = Backoff::fixed(Duration::from_secs(7));
        assert_eq!(backoff.jitter(f64::NAN), backoff.jitter(0.0));
        assert_eq!(backoff.jitter(f64::NAN).after(1, &Rng::seeded(1)), Duration::from_secs(7));
    }

    #[test]
    fn no_delay_is_too_long_for_a_clock() {
        let rng = Rng::seeded(1);
        for backoff in [
            Backoff::fixed(Duration::MAX),
            Backoff::exponential(Duration::MAX, Duration::MAX),
            Backoff::exponential(Duration::from_nanos(1), Duration::MAX),
            Backoff::polynomial().max(Duration::MAX),
        ] {
            let longest = backoff.jitter(0.0).after(u32::MAX, &rng);
            assert_eq!(longest, DELAY_MAX, "{backoff:?}");
            assert!(backoff.jitter(0.5).after(u32::MAX, &rng) <= DELAY_MAX, "{backoff:?}");
        }
    }

    #[test]
    fn exponential_grows_until_its_bound() {
        let rng = Rng::seeded(1);
        let (base, max) = (Duration::from_micros(1), Duration::from_secs(100_000));
        let backoff = Backoff::exponential(base, max).jitter(0.0);
        assert_eq!(backoff.after(36, &rng), Duration::from_micros(1 << 35));
        assert_eq!(backoff.after(99, &rng), max);
        assert_eq!(Backoff::exponential(Duration::ZERO, max).after(99, &rng), Duration::ZERO);
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
