//! Transactions beside the bare driver, and what must never happen counted.

mod money;
mod never;
mod overhead;

use crate::report::Case;
use crate::servers::Engine;

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 3] = ["overhead", "money", "never"];

pub(crate) async fn run(part: Option<&str>) -> Vec<Case> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let mut cases = Vec::new();
    if wanted("overhead") {
        for engine in Engine::ALL {
            cases.extend(Box::pin(overhead::run(engine)).await);
        }
    }
    if wanted("money") {
        for engine in Engine::ALL {
            cases.extend(money::run(engine).await);
        }
    }
    if wanted("never") {
        cases.extend(never::run().await);
    }
    cases
}
