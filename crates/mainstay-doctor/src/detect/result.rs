//! Results that are too large.

use mainstay_core::Code;

use super::{Limits, finding, pool_time};
use crate::finding::{Cost, Finding, Severity};
use crate::trace::{Event, Verb};

/// Statements without a LIMIT that returned more than a request can use.
pub(super) fn unbounded(own: &[&Event], limits: &Limits) -> Vec<Finding> {
    let large = own.iter().filter(|e| {
        e.sql.verb == Verb::Select && !e.sql.limited && e.rows.is_some_and(|r| r > limits.rows_max)
    });
    large
        .map(|event| {
            let rows = event.rows.unwrap_or(0);
            let mut out = finding(Code::DoctorUnbounded, Severity::Warning, &[event]);
            out.what = format!("{rows} rows without a LIMIT: `{}`", event.sql.shown());
            out.evidence.push(format!("{rows} rows were received, and the table may grow"));
            out.cost = Cost { round_trips: 0, pool_time: pool_time(&[event]) };
            out
        })
        .collect()
}
