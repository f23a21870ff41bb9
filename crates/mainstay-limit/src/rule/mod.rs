//! The algorithms, each on one word of 60 bits a key: what becomes of the word when a call comes, and what is
//! said of the call. They know neither keys nor clocks; times are nanoseconds since the limiter was made.

mod counter;
mod fixed;
mod gcra;
mod inflight;

use std::time::Duration;

use crate::decision::{By, Decision};
use crate::policy::Rule;

pub(crate) use counter::Counter;
pub(crate) use fixed::Fixed;
pub(crate) use gcra::Gcra;
pub(crate) use inflight::InFlight;

/// The bits of a word that an algorithm may use.
pub(crate) const WORD: u64 = (1 << 60) - 1;

/// What becomes of a key's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The word from now on; none where it stays.
    pub(crate) next: Option<u64>,
    pub(crate) decision: Decision,
}

/// An algorithm with its numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel {
    Gcra(Gcra),
    Fixed(Fixed),
    Counter(Counter),
    InFlight(InFlight),
}

impl Kernel {
    /// `wall` is the time of day at the limiter's zero. None for a log, which is no word.
    pub(crate) fn of(rule: Rule, wall: Duration) -> Option<Self> {
        Some(match rule {
            Rule::Gcra { limit, per, burst } => Kernel::Gcra(Gcra::new(limit, per, burst)),
            // The same arithmetic: the time at which the bucket is full tells how full it is.
            Rule::TokenBucket { capacity, refill, per } => {
                Kernel::Gcra(Gcra::new(refill, per, capacity))
            }
            Rule::FixedWindow { limit, window } => Kernel::Fixed(Fixed::new(limit, window, wall)),
            Rule::SlidingCounter { limit, window } => {
                Kernel::Counter(Counter::new(limit, window, wall))
            }
            Rule::Concurrency { max } => Kernel::InFlight(InFlight::new(max)),
            Rule::SlidingLog { .. } => return None,
        })
    }

    /// A call of `cost` units at `now`, of a key with this word; none for a key that is not known.
    #[inline]
    pub(crate) fn call(&self, word: Option<u64>, now: u64, cost: u32) -> Step {
        let step = match self {
            Kernel::Gcra(gcra) => gcra.call(word, now, cost),
            Kernel::Fixed(fixed) => fixed.call(word, now, cost),
            Kernel::Counter(counter) => counter.call(word, now, cost),
            Kernel::InFlight(inflight) => inflight.call(word, cost),
        };
        if cost > 0 {
            return step;
        }
        // Also of a key that has used more than it may, since an override is lower.
        Step {
            next: None,
            decision: Decision { allowed: true, retry_after: None, ..step.decision },
        }
    }

    /// The word without `cost` units that were counted at `then`. Those of a window that is over are no
    /// part of the one that followed.
    pub(crate) fn undo(&self, word: u64, then: u64, cost: u32) -> u64 {
        match self {
            Kernel::Gcra(gcra) => gcra.undo(word, cost),
            Kernel::Fixed(fixed) => fixed.undo(word, then, cost),
            Kernel::Counter(counter) => counter.undo(word, then, cost),
            Kernel::InFlight(_) => InFlight::undo(word, cost),
        }
    }

    /// A word of `other`'s numbers as one of these, which count in the same way.
    pub(crate) fn adopt(&self, other: &Self, word: u64, now: u64) -> u64 {
        match (self, other) {
            (Kernel::Gcra(gcra), Kernel::Gcra(other)) => gcra.adopt(other, word, now),
            _ => word,
        }
    }

    /// What would be lost with the word: nothing at 0, more the larger it is. None where it must stay.
    #[inline]
    pub(crate) fn worth(&self, word: u64, now: u64) -> Option<u64> {
        match self {
            Kernel::Gcra(_) => Some(word.saturating_sub(now)),
            Kernel::Fixed(fixed) => Some(fixed.worth(word, now)),
            Kernel::Counter(counter) => Some(counter.worth(word, now)),
            Kernel::InFlight(_) => (word == 0).then_some(0),
        }
    }
}

/// A step that counts, if there is anything to count.
fn allowed(next: u64, limit: u32, remaining: u64, reset_ns: u64) -> Step {
    Step { next: Some(next), decision: decision(true, limit, remaining, reset_ns, None) }
}

/// A step that leaves the word as it is. `retry_ns` of none says that waiting does not help.
fn denied(limit: u32, remaining: u64, reset_ns: u64, retry_ns: Option<u64>) -> Step {
    Step { next: None, decision: decision(false, limit, remaining, reset_ns, retry_ns) }
}

fn decision(
    allowed: bool,
    limit: u32,
    remaining: u64,
    reset_ns: u64,
    retry_ns: Option<u64>,
) -> Decision {
    Decision {
        allowed,
        shadowed: false,
        limit,
        remaining: remaining.min(u64::from(limit)) as u32,
        reset: Duration::from_nanos(reset_ns),
        retry_after: retry_ns.map(Duration::from_nanos),
        by: By::Store,
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn of(policy: &str) -> Kernel {
        Kernel::of(policy.parse::<crate::Policy>().unwrap().rule(), Duration::ZERO).unwrap()
    }

    #[test]
    fn an_undo_leaves_the_next_window_alone() {
        for policy in ["fixed 10/s", "sliding 10/s"] {
            let kernel = of(policy);
            let first = kernel.call(None, SECOND - 1, 4).next.unwrap();
            let second = kernel.call(Some(first), SECOND, 5).next.unwrap();
            let undone = kernel.undo(second, SECOND - 1, 4);
            let left = kernel.call(Some(undone), SECOND, 0).decision.remaining;
            assert_eq!(left, 5, "{policy}");
            let undone = kernel.undo(undone, SECOND, 5);
            assert_eq!(kernel.call(Some(undone), SECOND, 0).decision.remaining, 10, "{policy}");
        }
    }

    #[test]
    fn who_has_used_more_than_a_lower_limit_has_nothing_left() {
        for (high, low) in
            [("fixed 10/s", "fixed 2/s"), ("sliding 10/s", "sliding 2/s"), ("10/s", "10/s burst 2")]
        {
            let (high, low) = (of(high), of(low));
            let word = low.adopt(&high, high.call(None, 0, 10).next.unwrap(), 0);
            let denied = low.call(Some(word), 0, 1).decision;
            assert_eq!((denied.allowed, denied.remaining), (false, 0));
            let free = low.call(Some(word), 0, 0);
            assert!(free.decision.allowed && free.decision.remaining == 0 && free.next.is_none());
        }
    }
}
