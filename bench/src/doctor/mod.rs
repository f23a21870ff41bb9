//! The doctor: what watching costs a statement, and how well it tells an N+1, a missing index and a bad plan
//! from what is none. The traces, the workload and the plans are those of the doctor's own tests.

mod indexes;
mod observe;
mod path;
mod plans;
mod traces;

use crate::report::{Better, Case};

/// The doctor's own, labelled.
#[path = "../../../crates/mainstay-doctor/tests/it/advice"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the doctor's tests', which are held to more than is measured"
)]
mod advice {
    pub(crate) mod judged;
    pub(crate) mod labelled;
    pub(crate) mod statements;
}

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 4] = ["observe", "traces", "indexes", "plans"];

pub(crate) async fn run(part: Option<&str>) -> Vec<Case> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let mut cases = Vec::new();
    if wanted("observe") {
        // On a worker of the runtime, as a service runs it.
        cases.extend(tokio::spawn(observe::run()).await.expect("no panic"));
    }
    if wanted("traces") {
        cases.extend(traces::run());
    }
    if wanted("indexes") {
        cases.extend(indexes::run().await);
    }
    if wanted("plans") {
        cases.extend(plans::run().await);
    }
    cases
}

/// A share, in percent.
fn share(name: impl Into<String>, value: f64) -> Case {
    Case::new(name, "%", Better::Higher, 100.0 * value)
}
