//! The HTTP edge: what a version, a layer, an idempotency key and a call cost, and what they hold under
//! kills and dead backends; beside tower's and reqwest's.

mod backend;
mod calls;
mod change;
mod idempotency;
mod layers;
mod recovery;
mod versions;

pub(crate) use idempotency::serve as victim;

use std::time::Instant;

use mainstay::clock::Clock;

use crate::report::Case;

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 4] = ["versions", "layers", "idempotency", "calls"];

pub(crate) async fn run(part: Option<&str>) -> Vec<Case> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let mut cases = Vec::new();
    if wanted("versions") {
        cases.extend(versions::run());
        cases.extend(change::run());
    }
    if wanted("layers") {
        cases.extend(layers::run().await);
    }
    if wanted("idempotency") {
        cases.extend(idempotency::run().await);
    }
    if wanted("calls") {
        cases.extend(calls::run().await);
        cases.extend(recovery::run().await);
    }
    cases
}

/// Nanoseconds of each of `count`, since `begun`.
fn each(begun: Instant, count: usize) -> f64 {
    Clock::system().now().saturating_duration_since(begun).as_nanos() as f64 / count as f64
}

/// Nanoseconds of one call.
fn time(count: usize, mut work: impl FnMut()) -> f64 {
    let begun = Clock::system().now();
    (0..count).for_each(|_| work());
    each(begun, count)
}
