//! Loops that are no N+1: writes row by row, the same question again, values from outside one by one.

use std::collections::{HashMap, HashSet};

use mainstay_core::Code;

use super::group::Group;
use super::nplus1::{chooses, slot_value};
use super::{Limits, finding, pool_time, told};
use crate::finding::{Cost, Finding, Severity};
use crate::trace::{Bind, Event, Verb};

/// Rows written one by one that are worth a word.
const WRITES_MIN: usize = 5;
/// Times that the same is asked.
const REPEATS_MIN: usize = 3;
/// Who asks again after a longer time wants to know whether it has changed.
const POLL_US: u64 = 20_000;

pub(super) fn find(group: &Group<'_>, own: &[&Event], limits: &Limits) -> Option<Finding> {
    let sql = group.sql();
    let ours = sql.table.as_deref().is_some_and(super::is_ours);
    let answered: Vec<&Event> =
        group.events.iter().filter(|e| e.error.is_none()).copied().collect();
    if ours || sql.batch || answered.is_empty() {
        return None;
    }
    match sql.verb {
        Verb::Select => repeats(&group.events, own).or_else(|| from_outside(&answered, limits)),
        Verb::Insert | Verb::Update | Verb::Delete => writes(&answered),
        Verb::Other => None,
    }
}

fn writes(events: &[&Event]) -> Option<Finding> {
    let different: HashSet<Vec<Bind>> = events.iter().filter_map(|e| e.question()).collect();
    if different.len() < WRITES_MIN || different.len() * 2 < events.len() {
        return None;
    }
    let calls = events.len();
    let sql = &events[0].sql;
    let mut out = finding(Code::DoctorWriteLoop, Severity::Hint, events);
    out.what = format!("{calls} writes in a loop, a row each: `{}`", sql.shown());
    out.evidence
        .push(format!("{} different sets of values in {calls} statements", different.len()));
    let table = sql.table.as_deref().unwrap_or("table");
    out.fix = match sql.verb {
        Verb::Insert => {
            format!("db.bulk_insert(\"{table}\", &[..], rows).await?, which is one statement")
        }
        _ => format!(
            "one statement on `{table}` for all keys: `.. WHERE id = ANY($1)`, or a JOIN on unnest($1, $2)"
        ),
    };
    out.cost = Cost { round_trips: calls as u64 - 1, pool_time: pool_time(events) };
    Some(out)
}

/// The same question, its answer unchanged by anything that the scope did.
fn repeats(events: &[&Event], own: &[&Event]) -> Option<Finding> {
    let mut by_question: HashMap<Vec<Bind>, Vec<&Event>> = HashMap::new();
    for event in events {
        by_question.entry(event.question()?).or_default().push(event);
    }
    let writes: Vec<u64> = own.iter().filter(|e| e.sql.verb.writes()).map(|e| e.at_us).collect();
    let longest =
        by_question.into_values().map(|asked| longest_run(&asked, &writes)).max_by_key(Vec::len)?;
    if longest.len() < REPEATS_MIN {
        return None;
    }
    let calls = longest.len();
    let mut out = finding(Code::DoctorRepeat, Severity::Hint, &longest);
    out.what = format!(
        "{calls} times the same question with the same values: `{}`",
        longest[0].sql.shown()
    );
    out.evidence
        .push("nothing was written in between that could have changed the answer".to_owned());
    out.cost = Cost { round_trips: calls as u64 - 1, pool_time: pool_time(&longest) };
    Some(out)
}

/// Those that follow each other without a failure, a wait or a write between them.
fn longest_run<'e>(asked: &[&'e Event], writes: &[u64]) -> Vec<&'e Event> {
    let (mut best, mut run): (Vec<&Event>, Vec<&Event>) = (Vec::new(), Vec::new());
    for event in asked {
        if let Some(last) = run.last() {
            let polled = event.at_us > last.end_us().saturating_add(POLL_US);
            let written = writes.iter().any(|w| (last.at_us..=event.at_us).contains(w));
            if polled || written || last.error.is_some() {
                run.clear();
            }
        }
        run.push(event);
        if run.len() > best.len() {
            best.clone_from(&run);
        }
    }
    best
}

/// As an N+1, but for where the values come from: a list of the client's, say.
fn from_outside(events: &[&Event], limits: &Limits) -> Option<Finding> {
    let slots = events[0].sql.slots.iter().enumerate().filter(|(_, s)| chooses(s.role));
    let distinct = slots
        .map(|(at, slot)| {
            let values = events.iter().filter_map(|e| slot_value(e, at, slot)?.hash());
            values.collect::<HashSet<_>>().len()
        })
        .max()?;
    // Of long-lived scopes: who comes back for the next one later waits for work.
    let gaps = events.windows(2).filter(|w| w[1].at_us > w[0].end_us().saturating_add(POLL_US));
    let waits = gaps.count() * 2 > events.len();
    if distinct < limits.loop_min || waits {
        return None;
    }
    let calls = events.len();
    let mut out = finding(Code::DoctorQueryLoop, Severity::Hint, events);
    out.what = format!("a loop of {calls} queries: `{}`", events[0].sql.shown());
    out.evidence.push(format!(
        "{distinct} different values, of no row that was read before: {}",
        told(events[0])
    ));
    out.cost = Cost { round_trips: calls as u64 - 1, pool_time: pool_time(events) };
    Some(out)
}
