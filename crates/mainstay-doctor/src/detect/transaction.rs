//! Transactions, as far as their statements tell: open for long, idle for long, and statements of the same
//! task beside them. Live, more is known and told at once; this is for traces.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_core::Code;

use super::{Limits, finding, told};
use crate::finding::{Cost, Finding, Severity};
use crate::trace::Event;

pub(super) fn find(own: &[&Event], limits: &Limits) -> Vec<Finding> {
    let mut by: BTreeMap<u64, Vec<&Event>> = BTreeMap::new();
    for event in own {
        if let Some(tx) = event.tx {
            by.entry(tx).or_default().push(event);
        }
    }
    let mut out = Vec::new();
    for statements in by.values() {
        out.extend(long(statements, limits));
        out.extend(escaped(statements, own));
    }
    out
}

fn long(statements: &[&Event], limits: &Limits) -> Option<Finding> {
    let (first, last) = (statements.first()?, statements.last()?);
    let open = Duration::from_micros(last.end_us().saturating_sub(first.at_us));
    let gaps = statements.windows(2).map(|w| (w[1].at_us.saturating_sub(w[0].end_us()), w));
    let (idle, around) = gaps.max_by_key(|(gap, _)| *gap)?;
    let idle = Duration::from_micros(idle);
    let mut out = if idle > limits.idle {
        let mut out = finding(Code::DoctorIdleTransaction, Severity::Warning, around);
        out.what = format!("a transaction was idle for {idle:.1?}");
        out.evidence.push(format!("between {} and {}", told(around[0]), told(around[1])));
        out
    } else if open > limits.transaction {
        let mut out = finding(Code::DoctorLongTransaction, Severity::Warning, statements);
        out.what = format!("a transaction was open for {open:.1?}");
        out.evidence.push(format!("{} statements, the last one {}", statements.len(), told(last)));
        out
    } else {
        return None;
    };
    out.cost = Cost { round_trips: 0, pool_time: open };
    Some(out)
}

/// A statement of the task that has the transaction, on another connection, while it is open.
fn escaped(statements: &[&Event], own: &[&Event]) -> Option<Finding> {
    let (first, last) = (statements.first()?, statements.last()?);
    let task = first.task?;
    let conn = first.conn?;
    let stray = own.iter().find(|e| {
        e.tx.is_none()
            && e.task == Some(task)
            && e.conn.is_some_and(|c| c != conn)
            && e.at_us > first.end_us()
            && e.end_us() < last.at_us
    })?;
    let mut out = finding(Code::DoctorEscaped, Severity::Error, &[stray]);
    out.what = format!("a statement ran beside the open transaction: `{}`", stray.sql.shown());
    out.evidence.push(format!("the transaction was open from {} to {}", told(first), told(last)));
    Some(out)
}
