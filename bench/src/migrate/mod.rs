//! Migrations beside refinery, sqlx and the real Liquibase; what must never happen counted.

mod apply;
mod backfill;
mod keys;
mod processes;
mod race;
mod split;
mod waits;

use crate::report::Case;
use crate::servers::Engine;

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 7] =
    ["apply", "backfill", "keys", "processes", "split", "race", "waits"];

pub(crate) async fn run(part: Option<&str>) -> Vec<Case> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let mut cases = Vec::new();
    if wanted("split") {
        cases.extend(split::run());
    }
    if wanted("apply") {
        for engine in Engine::ALL {
            cases.extend(apply::run(engine).await);
        }
    }
    if wanted("processes") {
        cases.extend(processes::run().await);
    }
    if wanted("waits") {
        cases.extend(waits::run().await);
    }
    if wanted("keys") {
        cases.extend(keys::run().await);
    }
    if wanted("backfill") {
        cases.extend(backfill::run().await);
    }
    if wanted("race") {
        cases.extend(race::run().await);
    }
    cases
}
