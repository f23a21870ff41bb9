//! How much retries and hedges may add: a share of the calls of the last seconds, or a few a second
//! where calls are rare. tower's design of tokens that expire, on our clock, and with the greater of
//! the two in place of their sum, so that the share is a bound on what a dead target costs.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// In seconds: what was not used by then is forgotten.
const WINDOW: usize = 10;

#[derive(Debug)]
pub(super) struct Budget {
    ratio: f64,
    per_second: f64,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    origin: Instant,
    /// The second that the newest slot is for, counted from the origin.
    second: u64,
    calls: [u64; WINDOW],
    extra: [u64; WINDOW],
}

impl Budget {
    /// `ratio` of the calls, and at least `per_second`.
    pub(super) fn new(ratio: f64, per_second: f64, now: Instant) -> Self {
        let window = Window { origin: now, second: 0, calls: [0; WINDOW], extra: [0; WINDOW] };
        Self { ratio, per_second, window: Mutex::new(window) }
    }

    /// Notes a call.
    pub(super) fn called(&self, now: Instant) {
        self.at(now, |window, slot| window.calls[slot] += 1);
    }

    /// Takes what one more attempt costs, if it is there.
    pub(super) fn take(&self, now: Instant) -> bool {
        self.at(now, |window, slot| {
            let calls: u64 = window.calls.iter().sum();
            let extra: u64 = window.extra.iter().sum();
            let most = (self.ratio * calls as f64).max(self.per_second * WINDOW as f64);
            let fits = (extra + 1) as f64 <= most;
            window.extra[slot] += u64::from(fits);
            fits
        })
    }

    /// Gives back what was taken and not used.
    pub(super) fn give_back(&self, now: Instant) {
        self.at(now, |window, slot| window.extra[slot] = window.extra[slot].saturating_sub(1));
    }

    fn at<T>(&self, now: Instant, act: impl FnOnce(&mut Window, usize) -> T) -> T {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.saturating_duration_since(window.origin).as_secs();
        let passed = second.saturating_sub(window.second).min(WINDOW as u64);
        for ahead in 1..=passed {
            let slot = ((window.second + ahead) % WINDOW as u64) as usize;
            (window.calls[slot], window.extra[slot]) = (0, 0);
        }
        if passed == WINDOW as u64 {
            (window.calls, window.extra) = ([0; WINDOW], [0; WINDOW]);
        }
        window.second = window.second.max(second);
        let slot = (window.second % WINDOW as u64) as usize;
        act(&mut window, slot)
    }
}

/// How long before the next attempt: twice as long each time, less a random part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) base: Duration,
    pub(super) max: Duration,
}

impl Backoff {
    /// Before attempt `next`, from 2.
    pub(super) fn before(self, next: u32, rng: &mainstay_core::rng::Rng) -> Duration {
        let doubled = self.base.saturating_mul(1 << next.saturating_sub(2).min(16));
        rng.jittered(doubled.min(self.max), 0.5)
    }
}

#[cfg(test)]
mod tests {
    use mainstay_core::clock::Clock;

    use super::*;

    #[test]
    fn extra_attempts_are_a_share_of_the_calls_however_long_it_goes_on() {
        let (clock, hand) = Clock::manual();
        let budget = Budget::new(0.1, 1.0, clock.now());
        let mut extra = 0;
        for _ in 0..100_000 {
            budget.called(clock.now());
            // Everything fails, and is tried for as long as it may.
            while budget.take(clock.now()) {
                extra += 1;
            }
            hand.advance(Duration::from_millis(3));
        }
        assert!((9_000..=10_000).contains(&extra), "{extra}");
    }

    #[test]
    fn where_calls_are_rare_there_are_a_few_a_second() {
        let (clock, hand) = Clock::manual();
        let budget = Budget::new(0.1, 1.0, clock.now());
        budget.called(clock.now());
        assert_eq!((0..50).filter(|_| budget.take(clock.now())).count(), 10);
        hand.advance(Duration::from_secs(9));
        assert!(!budget.take(clock.now()));
        hand.advance(Duration::from_secs(1));
        assert!(budget.take(clock.now()));
        let none = Budget::new(0.0, 0.0, clock.now());
        none.called(clock.now());
        assert!(!none.take(clock.now()));
    }

    #[test]
    fn what_was_given_back_is_there_again() {
        let (clock, _) = Clock::manual();
        let budget = Budget::new(0.0, 0.1, clock.now());
        assert!(budget.take(clock.now()) && !budget.take(clock.now()));
        budget.give_back(clock.now());
        assert!(budget.take(clock.now()));
    }
}
