//! Rate limits beside governor, ratelimit, leaky-bucket and limitador, and on Redis beside redis-cell's
//! algorithm as a script.

mod layer;
mod local;
mod memory;
mod redis;

pub(crate) use local::order;

pub(crate) use memory::resident_of;

use crate::report::Case;

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 4] = ["local", "memory", "layer", "redis"];

pub(crate) async fn run(part: Option<&str>) -> Vec<Case> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let mut cases = Vec::new();
    if wanted("local") {
        cases.extend(local::run());
    }
    if wanted("memory") {
        cases.extend(memory::run());
    }
    if wanted("layer") {
        cases.extend(layer::run().await);
    }
    if wanted("redis") {
        cases.extend(redis::run().await);
    }
    cases
}
