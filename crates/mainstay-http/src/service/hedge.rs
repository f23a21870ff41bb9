//! When a call is slow enough to ask a second time: after a fixed time, or later than most calls took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many calls are remembered.
const MEMORY: usize = 256;
/// How many there must be before anything is said of them.
const LEAST: usize = 32;
/// After how many more it is said anew.
const EVERY: usize = 16;
/// A hedge before this would be noise.
const SOONEST: Duration = Duration::from_millis(1);

/// How long a call waits for its answer before a second target is asked as well.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Hedge {
    /// For this time.
    After(Duration),
    /// For as long as this share of the last 256 calls took; not before 32 were made.
    Percentile(f64),
}

impl Hedge {
    /// Later than 95 of 100 calls.
    pub const P95: Hedge = Hedge::Percentile(0.95);
}

impl From<Duration> for Hedge {
    fn from(time: Duration) -> Self {
        Hedge::After(time)
    }
}

#[derive(Debug)]
pub(super) struct Hedging {
    when: Hedge,
    ring: Mutex<Ring>,
    /// In microseconds; zero while nothing is known.
    found: AtomicU64,
}

#[derive(Debug, Default)]
struct Ring {
    took: Vec<u32>,
    next: usize,
}

impl Hedging {
    pub(super) fn new(when: Hedge) -> Self {
        Self { when, ring: Mutex::default(), found: AtomicU64::new(0) }
    }

    /// How long to wait, if that is known.
    pub(super) fn delay(&self) -> Option<Duration> {
        match self.when {
            Hedge::After(time) => Some(time),
            Hedge::Percentile(_) => match self.found.load(Ordering::Relaxed) {
                0 => None,
                micros => Some(Duration::from_micros(micros).max(SOONEST)),
            },
        }
    }

    /// Notes how long an answer took.
    pub(super) fn took(&self, time: Duration) {
        let Hedge::Percentile(share) = self.when else { return };
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1);
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let at = ring.next % MEMORY;
        match ring.took.get_mut(at) {
            Some(slot) => *slot = micros,
            None => ring.took.push(micros),
        }
        ring.next = ring.next.wrapping_add(1);
        if ring.took.len() >= LEAST && ring.next.is_multiple_of(EVERY) {
            let mut sorted = ring.took.clone();
            let at = (share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64) as usize;
            let (_, found, _) = sorted.select_nth_unstable(at);
            self.found.store(u64::from(*found), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_known_after_enough_calls_and_follows_them() {
        let hedging = Hedging::new(Hedge::P95);
        for ms in 1..=31 {
            hedging.took(Duration::from_millis(ms));
        }
        assert_eq!(hedging.delay(), None);
        for ms in 32..=96 {
            hedging.took(Duration::from_millis(ms));
        }
        assert_eq!(hedging.delay(), Some(Duration::from_millis(91)));
        (0..512).for_each(|_| hedging.took(Duration::from_millis(7)));
        assert_eq!(hedging.delay(), Some(Duration::from_millis(7)));
    }
}
