//! The generic cell rate algorithm (ITU-T I.371), and with it the token bucket. The word is the theoretical
//! arrival time: when a key that sends no more has all of its burst again.

use std::time::Duration;

use super::{Step, allowed, denied, nanos};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Gcra {
    /// Between two units at the steady rate: whole nanoseconds, so that a rate of over ten million a second
    /// is met only nearly.
    interval: u64,
    /// In which a whole burst comes back.
    whole: u64,
    burst: u32,
}

impl Gcra {
    pub(crate) fn new(limit: u32, per: Duration, burst: u32) -> Self {
        let (limit, per) = (u64::from(limit), nanos(per));
        let interval = ((per + limit / 2) / limit).max(1);
        Self { interval, whole: interval.saturating_mul(u64::from(burst)), burst }
    }

    #[inline]
    pub(crate) fn call(&self, word: Option<u64>, now: u64, cost: u32) -> Step {
        let full_at = word.unwrap_or(0).max(now);
        let next = full_at.saturating_add(self.interval.saturating_mul(u64::from(cost)));
        let last = now + self.whole;
        if next <= last {
            return allowed(next, self.burst, (last - next) / self.interval, next - now);
        }
        let left = (last - full_at.min(last)) / self.interval;
        let retry = (cost <= self.burst).then(|| next - last);
        denied(self.burst, left, full_at - now, retry)
    }

    pub(crate) fn undo(&self, word: u64, cost: u32) -> u64 {
        word.saturating_sub(self.interval * u64::from(cost))
    }

    /// The word with as many units used as it has by the numbers of `other`.
    pub(crate) fn adopt(&self, other: &Self, word: u64, now: u64) -> u64 {
        let used = word.saturating_sub(now).div_ceil(other.interval);
        now + used.saturating_mul(self.interval)
    }
}
