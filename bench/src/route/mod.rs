//! Replicas and shards: what is read stale, how long a failure lasts, what a decision and a lookup cost, and what kill -9
//! leaves behind; beside the rules and rings that others use.

mod classify;
mod failover;
mod lookup;
mod moves;
mod policy;
mod promotion;
mod scatter;
mod servers;
mod stale;
mod token;
mod two_phase;
mod victim;
mod wire;
mod workload;

// The tests' own: what is held to there is measured here.
#[path = "../../../crates/mainstay-route/tests/it/classify/labelled.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests'")]
mod labelled;
#[path = "../../../crates/mainstay-route/tests/it/shard_world.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests'")]
mod world;

pub(crate) use victim::run as victim;

use std::time::{Duration, Instant};

use mainstay::clock::Clock;

use crate::report::Case;

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 7] =
    ["stale", "failover", "classify", "lookup", "scatter", "two-phase", "move"];

pub(crate) async fn run(part: Option<&str>) -> Vec<Case> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let mut cases = Vec::new();
    if wanted("stale") {
        cases.extend(stale::run().await);
        cases.extend(token::run().await);
    }
    if wanted("failover") {
        cases.extend(failover::run().await);
        cases.extend(promotion::run().await);
    }
    if wanted("classify") {
        cases.extend(classify::run());
    }
    if wanted("lookup") {
        cases.extend(lookup::run().await);
    }
    if wanted("scatter") {
        cases.extend(scatter::run().await);
    }
    if wanted("two-phase") {
        cases.extend(two_phase::run().await);
    }
    if wanted("move") {
        cases.extend(moves::run().await);
    }
    cases
}

/// A number that the caller may choose, by the variable of that name.
fn chosen(variable: &str, default: u64) -> u64 {
    let text = mainstay_core::config::variable(variable);
    text.map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

/// 1234567 as 1,234,567.
fn shown(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn now() -> Instant {
    Clock::system().now()
}

fn since(begun: Instant) -> Duration {
    now().saturating_duration_since(begun)
}

fn millis(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// The value that `share` of all are at most.
fn quantile(all: &mut [f64], share: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    let at = (all.len() as f64 * share).ceil() as usize;
    all.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Nanoseconds of one call: the median of some rounds.
fn nanos(count: usize, mut work: impl FnMut()) -> f64 {
    let round = |work: &mut dyn FnMut()| {
        let begun = now();
        (0..count).for_each(|_| work());
        since(begun).as_nanos() as f64 / count as f64
    };
    crate::report::median((0..7).map(|_| round(&mut work)).collect())
}
