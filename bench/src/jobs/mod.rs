//! Jobs beside graphile_worker, awa, apalis, BullMQ and bare lapin; what must never happen counted.

mod carry;
mod drain;
mod latency;
mod ledger;
mod peers;
mod pinned;
mod rescue;
mod sqlite;
mod worker;

pub(crate) use worker::victim;

use crate::report::Case;

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 7] =
    ["drain", "latency", "sqlite", "rabbitmq", "rescue", "pinned", "ledger"];

pub(crate) async fn run(part: Option<&str>) -> Vec<Case> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let mut cases = Vec::new();
    if wanted("drain") {
        cases.extend(drain::run().await);
    }
    if wanted("latency") {
        cases.extend(latency::run().await);
    }
    if wanted("sqlite") {
        cases.extend(sqlite::run().await);
    }
    if wanted("rabbitmq") {
        cases.extend(carry::run().await);
    }
    if wanted("rescue") {
        cases.extend(rescue::run().await);
    }
    if wanted("pinned") {
        cases.extend(pinned::run().await);
    }
    if wanted("ledger") {
        cases.extend(ledger::run().await);
    }
    cases
}
