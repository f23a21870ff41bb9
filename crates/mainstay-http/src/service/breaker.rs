//! The circuit breaker of one target: after too many failures it is not asked for a while, then by
//! one call at a time, and by all again once those succeed.

use std::time::{Duration, Instant};

/// When a target is not asked any more, and when again. One is kept for each target.
///
/// ```
/// use mainstay_http::service::Breaker;
/// use std::time::Duration;
///
/// let breaker = Breaker::new().failures(0.3).at_least(10).open_for(Duration::from_secs(2));
/// # let _ = breaker;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    share: f64,
    least: u32,
    within: Duration,
    pub(super) open_for: Duration,
    probes: u32,
}

impl Breaker {
    /// Opens for 5 s when half of at least 20 calls within 10 s failed; 2 successes in a row close it.
    pub fn new() -> Self {
        let (within, open_for) = (Duration::from_secs(10), Duration::from_secs(5));
        Self { share: 0.5, least: 20, within, open_for, probes: 2 }
    }

    /// The share of failures that opens it, over 0 and up to 1. Default 0.5.
    pub fn failures(mut self, share: f64) -> Self {
        self.share = share.clamp(f64::MIN_POSITIVE, 1.0);
        self
    }

    /// How many calls there must be for a share to mean anything. Default 20; at least 1.
    pub fn at_least(mut self, calls: u32) -> Self {
        self.least = calls.max(1);
        self
    }

    /// For how long a call counts. Default 10 s.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time.max(Duration::from_millis(10));
        self
    }

    /// For how long it stays open, less a random fifth. Default 5 s.
    pub fn open_for(mut self, time: Duration) -> Self {
        self.open_for = time;
        self
    }

    /// How many calls, one at a time, must succeed for it to close. Default 2; at least 1.
    pub fn probes(mut self, calls: u32) -> Self {
        self.probes = calls.max(1);
        self
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

const BUCKETS: usize = 10;

/// How a call ended, as the breaker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Bad,
    /// It was dropped: nobody knows.
    Unknown,
}

/// A call that was let through. Results from before the breaker last changed say nothing of now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    epoch: u64,
}

#[derive(Debug)]
pub(super) struct Circuit {
    options: Breaker,
    state: State,
    epoch: u64,
    origin: Instant,
    /// The newest bucket's number, counted from the origin.
    newest: u64,
    good: [u32; BUCKETS],
    bad: [u32; BUCKETS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { asking: bool, succeeded: u32 },
}

impl Circuit {
    pub(super) fn new(options: Breaker, now: Instant) -> Self {
        let (good, bad) = ([0; BUCKETS], [0; BUCKETS]);
        Self { options, state: State::Closed, epoch: 0, origin: now, newest: 0, good, bad }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Whether a call may be made now.
    pub(super) fn enter(&mut self, now: Instant) -> Option<Pass> {
        if let State::Open { until } = self.state
            && until <= now
        {
            self.change(State::HalfOpen { asking: false, succeeded: 0 });
        }
        match &mut self.state {
            State::Closed => {}
            State::Open { .. } | State::HalfOpen { asking: true, .. } => return None,
            State::HalfOpen { asking, .. } => *asking = true,
        }
        Some(Pass { epoch: self.epoch })
    }

    /// Learns how a call ended; `open_for` is for how long to open if it is to open.
    pub(super) fn learn(&mut self, pass: Pass, verdict: Verdict, now: Instant, open_for: Duration) {
        if pass.epoch != self.epoch {
            return;
        }
        match (&mut self.state, verdict) {
            (State::Closed, Verdict::Unknown) | (State::Open { .. }, _) => {}
            (State::Closed, verdict) => {
                self.count(verdict, now);
                if self.has_failed() {
                    self.change(State::Open { until: now + open_for });
                }
            }
            (State::HalfOpen { asking, .. }, Verdict::Unknown) => *asking = false,
            (State::HalfOpen { .. }, Verdict::Bad) => {
                self.change(State::Open { until: now + open_for });
            }
            (State::HalfOpen { asking, succeeded }, Verdict::Good) => {
                *asking = false;
                *succeeded += 1;
                if *succeeded >= self.options.probes {
                    self.change(State::Closed);
                }
            }
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
        (self.good, self.bad) = ([0; BUCKETS], [0; BUCKETS]);
    }

    fn count(&mut self, verdict: Verdict, now: Instant) {
        let width = (self.options.within / BUCKETS as u32).as_nanos().max(1);
        let number = (now.saturating_duration_since(self.origin).as_nanos() / width) as u64;
        let passed = number.saturating_sub(self.newest).min(BUCKETS as u64);
        self.newest = self.newest.max(number);
        for back in 0..passed {
            let old = ((self.newest - back) % BUCKETS as u64) as usize;
            (self.good[old], self.bad[old]) = (0, 0);
        }
        let slot = (self.newest % BUCKETS as u64) as usize;
        match verdict {
            Verdict::Good => self.good[slot] += 1,
            Verdict::Bad => self.bad[slot] += 1,
            Verdict::Unknown => {}
        }
    }

    fn has_failed(&self) -> bool {
        let (good, bad): (u32, u32) = (self.good.iter().sum(), self.bad.iter().sum());
        let all = good + bad;
        all >= self.options.least && f64::from(bad) >= self.options.share * f64::from(all)
    }
}

#[cfg(test)]
mod tests {
    use mainstay_core::clock::{Clock, Hand};

    use super::Verdict::{Bad, Good, Unknown};
    use super::*;

    const SEC: Duration = Duration::from_secs(1);

    fn circuit() -> (Circuit, Clock, Hand) {
        let (clock, hand) = Clock::manual();
        let options = Breaker::new().at_least(4).open_for(5 * SEC);
        (Circuit::new(options, clock.now()), clock, hand)
    }

    fn pass(circuit: &mut Circuit, clock: &Clock, verdict: Verdict) -> bool {
        let Some(pass) = circuit.enter(clock.now()) else { return false };
        circuit.learn(pass, verdict, clock.now(), 5 * SEC);
        true
    }

    #[test]
    fn half_of_enough_failures_open_it_and_old_ones_do_not_count() {
        let (mut circuit, clock, hand) = circuit();
        for _ in 0..3 {
            assert!(pass(&mut circuit, &clock, Bad));
        }
        hand.advance(11 * SEC);
        for verdict in [Good, Good, Bad, Unknown] {
            assert!(pass(&mut circuit, &clock, verdict));
        }
        assert_eq!(circuit.state(), State::Closed);
        assert!(pass(&mut circuit, &clock, Bad));
        assert!(!pass(&mut circuit, &clock, Good));
    }

    #[test]
    fn half_open_asks_one_at_a_time_and_closes_after_enough_successes() {
        let (mut circuit, clock, hand) = circuit();
        (0..4).for_each(|_| assert!(pass(&mut circuit, &clock, Bad)));
        hand.advance(5 * SEC);
        let probe = circuit.enter(clock.now()).unwrap();
        assert!(circuit.enter(clock.now()).is_none());
        // The probe was dropped: its place is free, and nothing is known.
        circuit.learn(probe, Unknown, clock.now(), SEC);
        assert!(pass(&mut circuit, &clock, Good));
        assert_ne!(circuit.state(), State::Closed);
        assert!(pass(&mut circuit, &clock, Good));
        assert_eq!(circuit.state(), State::Closed);
    }

    #[test]
    fn a_failed_probe_opens_it_again_and_late_results_say_nothing() {
        let (mut circuit, clock, hand) = circuit();
        let late = circuit.enter(clock.now()).unwrap();
        (0..4).for_each(|_| assert!(pass(&mut circuit, &clock, Bad)));
        hand.advance(5 * SEC);
        assert!(pass(&mut circuit, &clock, Bad));
        circuit.learn(late, Good, clock.now(), SEC);
        assert!(!pass(&mut circuit, &clock, Good));
        hand.advance(5 * SEC);
        assert!(pass(&mut circuit, &clock, Good));
    }
}
