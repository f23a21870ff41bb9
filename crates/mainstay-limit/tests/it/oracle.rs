//! Each algorithm beside a slow one that is plainly right: the same calls at the same times, the same answers.

use std::collections::HashMap;
use std::time::Duration;

use mainstay_core::clock::{Clock, Hand};
use mainstay_core::rng::Rng;
use mainstay_limit::{Limiter, Policy, Rule};
use proptest::prelude::*;

/// Nanoseconds.
const SECOND: u128 = 1_000_000_000;

/// What was counted of one key.
#[derive(Default)]
struct Key {
    /// The time and the units of each call that was allowed.
    calls: Vec<(u128, u128)>,
    /// Of a bucket: nanoseconds of refill that are missing, as of the time beside it.
    missing: (u128, u128),
}

/// Decides by going through all that was.
struct Oracle {
    rule: Rule,
    keys: HashMap<u64, Key>,
}

impl Oracle {
    fn new(rule: Rule) -> Self {
        Self { rule, keys: HashMap::new() }
    }

    fn allows(&mut self, key: u64, now: u128, cost: u32) -> bool {
        let (rule, cost) = (self.rule, u128::from(cost));
        let key = self.keys.entry(key).or_default();
        let counted = |from: u128, to: u128| -> u128 {
            key.calls.iter().filter(|(at, _)| *at >= from && *at < to).map(|(_, units)| units).sum()
        };
        let allowed = match rule {
            Rule::FixedWindow { limit, window } => {
                let begin = now - now % window.as_nanos();
                counted(begin, u128::MAX) + cost <= u128::from(limit)
            }
            Rule::SlidingLog { limit, window } => {
                let from = (now + 1).saturating_sub(window.as_nanos());
                counted(from, u128::MAX) + cost <= u128::from(limit)
            }
            Rule::SlidingCounter { limit, window } => {
                let (limit, window) = (u128::from(limit), window.as_nanos());
                let begin = now - now % window;
                let before = counted(begin.saturating_sub(window), begin);
                let current = counted(begin, u128::MAX) + cost;
                before * (window - now % window) + current * window <= limit * window
            }
            Rule::Gcra { limit, per, burst }
            | Rule::TokenBucket { refill: limit, per, capacity: burst } => {
                let limit = u128::from(limit);
                let interval = ((per.as_nanos() + limit / 2) / limit).max(1);
                let missing = key.missing.0.saturating_sub(now - key.missing.1);
                let then = missing + cost * interval;
                let allowed = then <= u128::from(burst) * interval;
                key.missing = (if allowed { then } else { missing }, now);
                allowed
            }
            Rule::Concurrency { max } => counted(0, u128::MAX) + cost <= u128::from(max),
        };
        if allowed && cost > 0 {
            key.calls.push((now, cost));
            // Two windows back nothing counts any more.
            if key.calls.len() > 4_096 {
                key.calls.drain(..1_024);
            }
        }
        allowed
    }
}

struct Pair {
    limiter: Limiter,
    oracle: Oracle,
    hand: Hand,
    now: u128,
}

impl Pair {
    fn new(rule: Rule) -> Self {
        let (clock, hand) = Clock::manual();
        let limiter = Limiter::with_clock(Policy::new(rule).unwrap(), 1_000, clock);
        Self { limiter, oracle: Oracle::new(rule), hand, now: 0 }
    }

    fn wait(&mut self, ns: u64) {
        self.hand.advance(Duration::from_nanos(ns));
        self.now += u128::from(ns);
    }

    /// The same of both; and after as long as was said, it is allowed, and not before.
    fn call(&mut self, key: u64, cost: u32) {
        let peeked = self.limiter.peek(&key, cost);
        let said = self.limiter.check_n(&key, cost);
        let truth = self.oracle.allows(key, self.now, cost);
        assert_eq!(said.allowed, truth, "{} at {}: {said:?}", self.limiter.policy(), self.now);
        assert_eq!((peeked.allowed, peeked.retry_after), (said.allowed, said.retry_after));
        assert_eq!(said.retry_after.is_none(), said.allowed || cost > said.limit);
        let left = self.limiter.peek(&key, said.remaining);
        assert!(left.allowed, "{} are left: {left:?}", said.remaining);
        let more = self.limiter.peek(&key, said.remaining + 1);
        assert!(!more.allowed, "{} are left, and more: {more:?}", said.remaining);
    }

    /// Waits as long as a denied call was told to.
    fn heed(&mut self, key: u64, cost: u32) {
        let Some(wait) = self.limiter.peek(&key, cost).retry_after else { return };
        let wait = wait.as_nanos() as u64;
        let slack = if matches!(self.limiter.policy().rule(), Rule::SlidingCounter { .. }) {
            // Counted in parts of a window, some nanoseconds each.
            1 + wait / 1_000_000
        } else {
            1
        };
        if wait > slack {
            self.wait(wait - slack);
            assert!(!self.limiter.peek(&key, cost).allowed, "it was told to wait too long");
            self.wait(slack);
        } else {
            self.wait(wait);
        }
        let then = self.limiter.peek(&key, cost);
        assert!(then.allowed, "it waited {wait} ns as told: {then:?}");
    }
}

fn rules() -> impl Strategy<Value = Rule> {
    let period = prop_oneof![Just(1), Just(10), Just(1_000), Just(60_000), 1u64..100_000]
        .prop_map(Duration::from_millis);
    (0usize..5, 1u32..40, 1u32..40, period).prop_map(|(which, limit, burst, window)| match which {
        0 => Rule::FixedWindow { limit, window },
        1 => Rule::SlidingLog { limit, window },
        2 => Rule::SlidingCounter { limit, window },
        3 => Rule::TokenBucket { capacity: burst, refill: limit, per: window },
        _ => Rule::Gcra { limit, per: window, burst },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn each_algorithm_is_its_oracle(
        rule in rules(),
        calls in prop::collection::vec((0u64..3, 0u32..6, 0u64..1_000, prop::bool::weighted(0.05)), 1..200),
    ) {
        let mut pair = Pair::new(rule);
        let (units, per) = pair.limiter.policy().quota().unwrap();
        let step = per.as_nanos() as u64 / u64::from(units) / 300 + 1;
        for (key, cost, wait, heeds) in calls {
            pair.wait(wait * step);
            pair.call(key, cost);
            if heeds {
                pair.heed(key, cost);
            }
        }
    }
}

/// So many calls of random keys at random times, of each algorithm.
fn soak(calls: u64, seed: u64) {
    let rng = Rng::seeded(seed);
    let window = Duration::from_secs(1);
    for rule in [
        Rule::FixedWindow { limit: 50, window },
        Rule::SlidingLog { limit: 50, window },
        Rule::SlidingCounter { limit: 50, window },
        Rule::TokenBucket { capacity: 20, refill: 50, per: window },
        Rule::Gcra { limit: 50, per: window, burst: 5 },
    ] {
        let mut pair = Pair::new(rule);
        for _ in 0..calls / 5 {
            pair.wait(rng.u64(0..10_000_000));
            let (key, cost) = (rng.u64(0..4), rng.u64(1..4) as u32);
            let said = pair.limiter.check_n(&key, cost);
            let truth = pair.oracle.allows(key, pair.now, cost);
            assert_eq!(
                said.allowed,
                truth,
                "{} at {} of seed {seed}",
                pair.limiter.policy(),
                pair.now
            );
        }
        assert!(pair.now > 10 * SECOND || calls < 1_000);
    }
}

#[test]
fn a_hundred_thousand_calls_are_as_the_oracles_say() {
    soak(100_000, 7);
}

/// `cargo xtask soak limit`: 10^8 calls, some minutes.
#[test]
#[ignore = "a soak: run by `cargo xtask soak limit`"]
fn a_hundred_million_calls_are_as_the_oracles_say() {
    soak(100_000_000, 11);
}
