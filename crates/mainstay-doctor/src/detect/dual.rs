//! Dual writes: rows are written and a message is published, and not in one transaction. A crash between
//! the two leaves the one without the other.
//!
//! A publication is known by the tables of `mainstay-jobs`.

use std::collections::HashSet;

use mainstay_core::Code;

use super::{finding, told};
use crate::finding::{Finding, Severity};
use crate::trace::{Event, Verb};

/// Where jobs and events are put.
const PUBLISHED: &[&str] = &["mainstay_event", "mainstay_outbox", "mainstay_job"];

pub(super) fn find(own: &[&Event]) -> Option<Finding> {
    let done = || own.iter().filter(|e| e.error.is_none() && e.sql.verb.writes());
    let table = |e: &Event| e.sql.table.clone().unwrap_or_default();
    let is_ours = |e: &Event| super::is_ours(&table(e));
    let written: Vec<&&Event> = done().filter(|e| !is_ours(e) && !table(e).is_empty()).collect();
    let together: HashSet<u64> = written.iter().filter_map(|e| e.tx).collect();
    let published = done().find(|e| {
        e.sql.verb == Verb::Insert
            && PUBLISHED.contains(&table(e).as_str())
            && e.tx.is_none_or(|tx| !together.contains(&tx))
    })?;
    // What only ran after it may be a reaction to it, and what ran in another transaction long before is
    // still lost with it.
    let write = written.iter().rev().find(|e| e.at_us <= published.at_us).or(written.first())?;
    let mut out = finding(Code::DoctorDualWrite, Severity::Error, &[write]);
    out.what =
        format!("a dual write: `{}` and a message, not in one transaction", write.sql.shown());
    out.evidence.push(format!("the message was published by {}", told(published)));
    out.evidence.push("a crash between the two leaves the one without the other".to_owned());
    Some(out)
}
