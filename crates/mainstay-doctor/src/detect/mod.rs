//! Detectors: what is wrong in a stream of statements. The same ones run over what is observed live and
//! over a trace that was recorded elsewhere.
//!
//! They look at one request or job at a time, and know nothing of time but what the statements say.

mod affinity;
mod dual;
mod fix;
mod group;
mod guess;
mod ledger;
mod loops;
mod nplus1;
mod result;
mod transaction;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) use ledger::Ledger;
use mainstay_core::Code;

use crate::finding::{Cost, Finding, Severity};
use crate::trace::Event;
use group::Groups;

/// From where on something is worth a word.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Rows of one statement without a LIMIT. Default: 10,000.
    pub rows_max: u64,
    /// A transaction that is open for longer is told. Default: 5 s.
    pub transaction: Duration,
    /// A transaction in which nothing is done for longer is told, of traces; live it is the pool's
    /// `transaction_idle_after`. Default: 2 s.
    pub idle: Duration,
    /// A connection that is held for longer is told. Default: 5 s.
    pub hold: Duration,
    /// The same statement with so many values from outside is a loop. Default: 10.
    pub loop_min: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows_max: 10_000,
            transaction: Duration::from_secs(5),
            idle: Duration::from_secs(2),
            hold: Duration::from_secs(5),
            loop_min: 10,
        }
    }
}

/// How far apart statements without a scope may be, and still be of one piece of work.
const BURST_US: u64 = 1_000_000;

/// Runs all detectors over a trace: each scope by itself, and statements without one together, as far as
/// they are close in time. The worst findings come first.
///
/// ```
/// let trace = r#"
/// {"at_us":1,"scope":{"id":1,"name":"GET /posts"},"site":"posts.rs:9","sql":"SELECT id FROM posts","rows":3,"returned":{"id":[1,2,3]}}
/// {"at_us":2,"scope":{"id":1},"site":"posts.rs:12","sql":"SELECT * FROM comments WHERE post_id = $1","binds":[1]}
/// {"at_us":3,"scope":{"id":1},"site":"posts.rs:12","sql":"SELECT * FROM comments WHERE post_id = $1","binds":[2]}
/// {"at_us":4,"scope":{"id":1},"site":"posts.rs:12","sql":"SELECT * FROM comments WHERE post_id = $1","binds":[3]}
/// "#;
/// let findings = mainstay_doctor::replay(&mainstay_doctor::trace::read(trace.as_bytes())?);
/// assert_eq!(findings[0].code.as_str(), "DOC-001");
/// assert_eq!(findings[0].place.as_deref(), Some("posts.rs:12"));
/// # Ok::<(), mainstay_core::Error>(())
/// ```
pub fn replay(events: &[Event]) -> Vec<Finding> {
    replay_with(events, &Limits::default())
}

/// As [`replay`], with other limits.
pub fn replay_with(events: &[Event], limits: &Limits) -> Vec<Finding> {
    let mut scopes: BTreeMap<Option<u64>, Vec<&Event>> = BTreeMap::new();
    for event in events {
        scopes.entry(event.scope.as_ref().map(|s| s.id)).or_default().push(event);
    }
    let mut ledger = Ledger::default();
    for (id, mut own) in scopes.clone() {
        own.sort_by_key(|e| e.at_us);
        // A task that was spawned without its scope reads rows of one.
        let outside: Vec<&Event> = match id {
            None => {
                scopes.iter().filter(|(id, _)| id.is_some()).flat_map(|(_, e)| e).copied().collect()
            }
            Some(_) => Vec::new(),
        };
        for finding in examine(&own, &outside, limits) {
            ledger.add(finding);
        }
        for finding in transaction::find(&own, limits) {
            ledger.add(finding);
        }
    }
    ledger.into_findings()
}

/// What is wrong in the statements of one scope, which are in the order of time; `outside` may have
/// supplied their values as well. Of transactions more is known live than their statements tell.
pub(crate) fn examine(own: &[&Event], outside: &[&Event], limits: &Limits) -> Vec<Finding> {
    let scoped = own.first().is_some_and(|e| e.scope.is_some());
    let groups = Groups::of(own, (!scoped).then_some(BURST_US));
    let mut proven = nplus1::find(&groups, own, outside);
    guess::find(&groups, own, &mut proven);
    let known: HashSet<usize> = proven.iter().map(|p| p.group).collect();
    let mut out: Vec<Finding> = proven.iter().map(|p| nplus1::finding(&groups, p)).collect();
    for (_, group) in groups.all.iter().enumerate().filter(|(n, _)| !known.contains(n)) {
        out.extend(loops::find(group, own, limits));
    }
    out.extend(result::unbounded(own, limits));
    out.extend(dual::find(own));
    out
}

/// A finding of `events`, which are the statements that it is about.
pub(crate) fn finding(code: Code, severity: Severity, events: &[&Event]) -> Finding {
    let name = events.iter().find_map(|e| e.scope.as_ref()?.name.clone());
    let at = |us: u64| SystemTime::UNIX_EPOCH + Duration::from_micros(us);
    Finding {
        code,
        severity,
        what: String::new(),
        scope: name.map(|n| n.to_string()),
        place: events.first().and_then(|e| e.site.as_deref()).map(str::to_owned),
        evidence: Vec::new(),
        fix: code.fix().to_owned(),
        cost: Cost::default(),
        first_seen: at(events.iter().map(|e| e.at_us).min().unwrap_or(0)),
        last_seen: at(events.iter().map(|e| e.end_us()).max().unwrap_or(0)),
        count: 1,
    }
}

/// Whether Mainstay keeps the table for itself: what it does there is no habit of the program. The tables of `mainstay
/// lab` are there to be told of.
fn is_ours(table: &str) -> bool {
    table.starts_with("mainstay_") && !table.starts_with("mainstay_lab_")
}

/// The time that connections were held for `events`.
pub(crate) fn pool_time(events: &[&Event]) -> Duration {
    Duration::from_micros(events.iter().map(|e| e.dur_us).sum())
}

/// As evidence names it: the text and its place.
pub(crate) fn told(event: &Event) -> String {
    let site = event.site.as_ref().map(|s: &Arc<str>| format!(" at {s}")).unwrap_or_default();
    format!("`{}`{site}", event.sql.shown())
}
