//! When each connection is to end: early by a part of its lifetime that differs from all others'.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mainstay_core::clock::Tick;
use mainstay_core::rng::Rng;

/// Up to this part of a lifetime is cut off.
const JITTER: f64 = 0.25;
/// The golden ratio's fraction, by which each is moved on from the one before.
const STEP: f64 = 0.618_033_988_749_894_9;

/// Spreads the ends of connections that were opened together evenly, where independent draws would
/// bunch: multiples of the golden ratio leave gaps of at most three lengths (Steinhaus's conjecture;
/// Knuth, TAOCP 6.4). The start is random, so that processes differ.
#[derive(Debug)]
pub(crate) struct Lifetimes {
    phase: f64,
    drawn: AtomicU64,
}

impl Lifetimes {
    pub(crate) fn new(rng: &Rng) -> Self {
        Self { phase: rng.f64(), drawn: AtomicU64::new(0) }
    }

    /// The end of a connection that is opened now.
    pub(crate) fn end(&self, now: Tick, lifetime: Duration) -> Tick {
        let nth = self.drawn.fetch_add(1, Relaxed) as f64;
        let part = (self.phase + nth * STEP).fract();
        now + lifetime.mul_f64(1.0 - part * JITTER)
    }
}

#[cfg(test)]
mod tests {
    use mainstay_core::clock::Clock;

    use super::*;

    #[test]
    fn no_second_sees_the_end_of_more_than_three_of_a_hundred() {
        for seed in 0..100 {
            let lifetimes = Lifetimes::new(&Rng::seeded(seed));
            let now = Tick::from(Clock::manual().0.now());
            let lifetime = Duration::from_secs(600);
            let mut ends: Vec<_> =
                (0..100).map(|_| lifetimes.end(now, lifetime).since(now)).collect();
            ends.sort_unstable();
            assert!(ends[0] >= Duration::from_secs(450) && ends[99] <= lifetime);
            assert!(ends.windows(4).all(|w| w[3] > w[0] + Duration::from_secs(1)), "{ends:?}");
        }
    }
}
