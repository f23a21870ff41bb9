//! What attackers and accidents bring: rotating and huge keys, clocks that jump, numbers at their ends.

use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_limit::{Limiter, Limits, Policy, Rule};

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

#[test]
fn rotating_keys_cost_no_memory_and_free_nobody_who_is_denied() {
    let (clock, _hand) = Clock::manual();
    let limiter = Limiter::with_clock(policy("10/h"), 1_000, clock);
    let size = limiter.size();
    for _ in 0..10 {
        assert!(limiter.check("culprit").allowed);
    }
    for key in 0..300_000u64 {
        assert!(limiter.check(&key).allowed);
    }
    assert_eq!(limiter.size(), size);
    assert!(!limiter.check("culprit").allowed, "rotating keys have washed the culprit out");
}

#[test]
fn a_key_of_a_megabyte_is_a_key() {
    let limiter = Limiter::new(policy("1/h"));
    let mut key = "x".repeat(1 << 20);
    assert!(limiter.check(&key).allowed);
    assert!(!limiter.check(&key).allowed);
    key.push('y');
    assert!(limiter.check(&key).allowed);
}

#[test]
fn numbers_at_their_ends_do_not_overflow() {
    let year = Duration::from_hours(24 * 366);
    for rule in [
        Rule::Gcra { limit: 1_000_000_000, per: Duration::from_millis(1), burst: 1_000_000_000 },
        Rule::Gcra { limit: 1, per: year, burst: 9 },
        Rule::FixedWindow { limit: 1_000_000_000, window: year },
        Rule::SlidingCounter { limit: 4_000_000, window: year },
        Rule::SlidingLog { limit: 10_000, window: year },
        Rule::Concurrency { max: 1_000_000_000 },
    ] {
        let (clock, hand) = Clock::manual();
        let limiter = Limiter::with_clock(Policy::new(rule).unwrap(), 8, clock);
        let limit = limiter.policy().limit();
        assert!(!limiter.check_n("k", u32::MAX).allowed, "{rule:?}");
        assert_eq!(limiter.check_n("k", u32::MAX).retry_after, None, "it never will be");
        let all = limiter.check_n("k", limit);
        assert!(all.allowed && all.remaining == 0, "{rule:?}: {all:?}");
        assert!(!limiter.check_n("k", limit).allowed, "{rule:?}");
        // A clock that jumps a century ahead.
        hand.advance(year * 100);
        if !matches!(rule, Rule::Concurrency { .. }) {
            assert!(limiter.check_n("k", limit).allowed, "{rule:?}");
        }
    }
    for rule in [
        Rule::Gcra { limit: 0, per: year, burst: 1 },
        Rule::Gcra { limit: 1, per: year, burst: 1_000_000 },
        Rule::FixedWindow { limit: 1, window: Duration::ZERO },
        Rule::FixedWindow { limit: 2_000_000_000, window: year },
        Rule::SlidingLog { limit: 10_001, window: year },
        Rule::Concurrency { max: 0 },
    ] {
        assert_eq!(Policy::new(rule).unwrap_err().code().as_str(), "LIMIT-001", "{rule:?}");
    }
}

#[test]
fn per_second_means_so_many_in_a_second() {
    let (clock, hand) = Clock::manual();
    let limiter = Limiter::with_clock(Policy::per_second(50), 8, clock);
    for second in 0..5 {
        let allowed = (0..200).filter(|_| limiter.check("k").allowed).count();
        assert_eq!(allowed, 50, "in second {second}");
        hand.advance(Duration::from_secs(1));
    }
}

#[test]
fn an_override_counts_from_the_next_call_on() {
    let (clock, _hand) = Clock::manual();
    let limiter = Limiter::with_clock(policy("2/h"), 8, clock);
    for _ in 0..3 {
        limiter.check("tenant");
    }
    assert!(!limiter.check("tenant").allowed);
    limiter.set_override("tenant", Some(policy("5/h"))).unwrap();
    assert!(limiter.check("tenant").allowed);
    assert_eq!(limiter.check("tenant").limit, 5);
    limiter.set_override("tenant", None).unwrap();
    assert!(!limiter.check("tenant").allowed);
    let other = limiter.set_override("tenant", Some(policy("fixed 5/h"))).unwrap_err();
    assert_eq!(other.code().as_str(), "LIMIT-003");
}

#[test]
fn in_shadow_nothing_is_denied_and_all_is_told() {
    let (clock, _hand) = Clock::manual();
    let limiter = Limiter::with_clock(policy("2/h shadow"), 8, clock);
    let told: Vec<_> =
        (0..3).map(|_| limiter.check("k")).map(|d| (d.allowed, d.shadowed)).collect();
    assert_eq!(told, [(true, false), (true, false), (true, true)]);
}

#[tokio::test]
async fn stacks_are_checked_when_they_are_made() {
    let named = |name: &'static str| policy("1/s").named(name);
    for policies in [
        vec![],
        vec![named("a"), named("a")],
        (0..9).map(|n| named(["a", "b", "c", "d", "e", "f", "g", "h", "i"][n])).collect(),
    ] {
        assert_eq!(Limits::local(policies).unwrap_err().code().as_str(), "LIMIT-003");
    }
    let limits =
        Limits::local(vec![policy("concurrency 1").named("held"), policy("5/h").named("user")])
            .unwrap();
    let first = limits.decide(&["", "u"], 1).await;
    assert!(first.allowed());
    let second = limits.decide(&["", "u"], 1).await;
    assert!(!second.allowed());
    assert_eq!(second.decisions()[1].remaining, 4, "the other one has not counted it");
    assert_eq!(second.binding(), Some(0));
    drop((first, second));
    assert!(limits.decide(&["", "u"], 1).await.allowed(), "it was given back");
}
