//! The pool beside deadpool, bb8, mobc and sqlx's own: its nine figures.

mod cancellations;
mod fairness;
mod network;
mod nothing;
mod overload;
mod slow;
mod spike;
mod turnover;
mod upkeep;

use crate::report::Case;

/// The parts, each of which can be run by itself.
pub(crate) const PARTS: [&str; 7] =
    ["turnover", "fairness", "spike", "overload", "upkeep", "network", "cancellations"];

pub(crate) async fn run(only: Option<&str>) -> Vec<Case> {
    let mut cases = Vec::new();
    for part in PARTS.into_iter().filter(|part| only.is_none_or(|o| o == *part)) {
        eprintln!("measuring {part}");
        cases.extend(match part {
            "turnover" => turnover::run().await,
            "fairness" => fairness::run().await,
            "spike" => spike::run().await,
            "overload" => overload::run().await,
            "upkeep" => upkeep::run().await,
            "network" => network::run().await,
            _ => cancellations::run().await,
        });
    }
    cases
}
