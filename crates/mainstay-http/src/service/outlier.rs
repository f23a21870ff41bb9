//! Ejection of the one target that fails while its siblings do not.

use std::time::{Duration, Instant};

/// When a target is left out for a while, as long as there are others.
///
/// A breaker asks whether a target fails often; this asks whether it fails in a row, and is quicker.
#[derive(Clone, Copy, Debug)]
pub struct Outliers {
    pub(super) in_a_row: u32,
    pub(super) base: Duration,
    pub(super) most: f64,
}

impl Outliers {
    /// Five failures in a row leave a target out for 10 s, the next time for 20 s and so on up to ten
    /// times as long; never more than half of the targets at once.
    pub fn new() -> Self {
        Self { in_a_row: 5, base: Duration::from_secs(10), most: 0.5 }
    }

    /// How many failures in a row. Default 5; at least 1. A target that was too slow to win against its
    /// hedge has failed here.
    pub fn in_a_row(mut self, failures: u32) -> Self {
        self.in_a_row = failures.max(1);
        self
    }

    /// For how long the first time. Default 10 s.
    pub fn eject_for(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// The share of targets that may be left out at once, 0 to 1. Default 0.5.
    pub fn at_most(mut self, share: f64) -> Self {
        self.most = share.clamp(0.0, 1.0);
        self
    }
}

impl Default for Outliers {
    fn default() -> Self {
        Self::new()
    }
}

/// How long an ejection may become, in times of the first.
const LONGEST: u32 = 10;

#[derive(Debug, Default)]
pub(super) struct Record {
    in_a_row: u32,
    times: u32,
    until: Option<Instant>,
}

impl Record {
    pub(super) fn is_out(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// One that was under way when the target was left out does not bring it back.
    pub(super) fn good(&mut self, now: Instant) {
        self.in_a_row = 0;
        if !self.is_out(now) && self.until.take().is_some() {
            self.times = self.times.saturating_sub(1);
        }
    }

    pub(super) fn bad(&mut self, options: &Outliers, now: Instant) {
        self.in_a_row += 1;
        if self.in_a_row >= options.in_a_row && !self.is_out(now) {
            self.in_a_row = 0;
            self.times = (self.times + 1).min(LONGEST);
            self.until = Some(now + options.base * self.times);
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_core::clock::Clock;

    use super::*;

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time() {
        let (clock, hand) = Clock::manual();
        let (options, mut record) = (Outliers::new().in_a_row(2), Record::default());
        record.bad(&options, clock.now());
        record.good(clock.now());
        record.bad(&options, clock.now());
        assert!(!record.is_out(clock.now()));
        record.bad(&options, clock.now());
        assert!(record.is_out(clock.now()));
        hand.advance(Duration::from_secs(10));
        assert!(!record.is_out(clock.now()));
        (0..2).for_each(|_| record.bad(&options, clock.now()));
        hand.advance(Duration::from_secs(19));
        assert!(record.is_out(clock.now()));
    }
}
