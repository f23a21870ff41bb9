//! N+1, proven: the values that a group of statements asked with are values that an earlier statement of
//! the same scope had returned, many of them from one result.
//!
//! What makes it a proof is where the values come from, not how often something is asked. So it says
//! nothing of a statement that is tried again or polled (the same value), of pages (what is asked with is a
//! bound, or the answer to itself), of batches (many keys at once), nor of values from outside.
//!
//! The rule, for statements of one fingerprint from one place, failures left out:
//! 1. a value that they must equal differs between them, at least [`ROWS_MIN`] times;
//! 2. that many of its values are in one column of one earlier result (or of results that are themselves
//!    of an N+1: the next level down);
//! 3. and it is no coincidence: the columns' names refer to each other, or the values are such as are
//!    never equal by chance, or nearly all of the column was asked for.

use std::collections::{HashMap, HashSet};

use mainstay_core::Code;

use super::affinity::{Affinity, affinity, is_small};
use super::fix;
use super::group::{Group, Groups};
use super::{pool_time, told};
use crate::finding::{Cost, Finding, Severity};
use crate::trace::{Bind, Event, Slot, Use, Weight};

/// Rows of one result that must have been asked for one by one. Two may be two fields of one thing; three
/// are a loop.
pub(super) const ROWS_MIN: usize = 3;
/// Results that one value is followed back to.
const ORIGINS_MAX: usize = 64;
/// After a result, statements without a scope are not taken for its own.
const FOLLOWS_US: u64 = 5_000_000;

/// What is known of a group.
#[derive(Debug)]
pub(super) struct Proof<'e> {
    pub(super) group: usize,
    /// The value that differs.
    pub(super) slot: usize,
    pub(super) parent: &'e Event,
    /// The column of the parent, where the values were followed there.
    pub(super) column: Option<String>,
    /// How many statements, and how many of them asked with a value of the parent's.
    pub(super) calls: usize,
    pub(super) matched: usize,
    pub(super) distinct: usize,
}

/// How often values of one column of one group's results were asked for.
#[derive(Default)]
struct Tally<'e> {
    matched: usize,
    heavy: usize,
    values: HashSet<u64>,
    /// Of each result.
    of: HashMap<*const Event, (Option<&'e Event>, HashSet<u64>)>,
}

/// A returned value: by whom, in which column.
type Origin<'e> = (&'e Event, usize);

pub(super) fn find<'e>(
    groups: &Groups<'e>,
    own: &[&'e Event],
    outside: &[&'e Event],
) -> Vec<Proof<'e>> {
    let candidates: Vec<usize> =
        (0..groups.all.len()).filter(|n| may_be_loop(&groups.all[*n])).collect();
    let origins = origins(groups, &candidates, own, outside);
    let mut out: Vec<Proof<'e>> = Vec::new();
    // A level more each time: what was found may be the parent of what was not.
    loop {
        let before = out.len();
        for n in &candidates {
            if out.iter().any(|p| p.group == *n) {
                continue;
            }
            let levels: HashSet<usize> = out.iter().map(|p| p.group).collect();
            out.extend(prove(groups, *n, &origins, &levels));
        }
        if out.len() == before {
            return out;
        }
    }
}

fn may_be_loop(group: &Group<'_>) -> bool {
    let answered = group.events.iter().filter(|e| e.error.is_none()).count();
    let ours = group.sql().table.as_deref().is_some_and(super::is_ours);
    answered >= ROWS_MIN && !group.sql().batch && !ours
}

/// Whether a value in such a place chooses the rows.
pub(super) fn chooses(role: Use) -> bool {
    matches!(role, Use::Equal | Use::In | Use::Call)
}

/// Where each value that candidates ask with was returned before.
fn origins<'e>(
    groups: &Groups<'e>,
    candidates: &[usize],
    own: &[&'e Event],
    outside: &[&'e Event],
) -> HashMap<u64, Vec<Origin<'e>>> {
    let mut out: HashMap<u64, Vec<Origin<'e>>> = HashMap::new();
    for n in candidates {
        let group = &groups.all[*n];
        for (at, slot) in group.sql().slots.iter().enumerate().filter(|(_, s)| chooses(s.role)) {
            let values = group.events.iter().filter_map(|e| slot_value(e, at, slot)?.hash());
            out.extend(values.map(|hash| (hash, Vec::new())));
        }
    }
    for event in own.iter().chain(outside) {
        for (column, returned) in event.returned.iter().enumerate() {
            let mut seen = HashSet::new();
            for hash in returned.values.iter().filter_map(|v| v.hash()) {
                if let Some(found) = out.get_mut(&hash)
                    && found.len() < ORIGINS_MAX
                    && seen.insert(hash)
                {
                    found.push((event, column));
                }
            }
        }
    }
    out
}

fn prove<'e>(
    groups: &Groups<'e>,
    n: usize,
    origins: &HashMap<u64, Vec<Origin<'e>>>,
    levels: &HashSet<usize>,
) -> Option<Proof<'e>> {
    let group = &groups.all[n];
    let answered: Vec<&Event> =
        group.events.iter().filter(|e| e.error.is_none()).copied().collect();
    let mut best: Option<((Affinity, usize), Proof<'e>)> = None;
    for (at, slot) in group.sql().slots.iter().enumerate().filter(|(_, s)| chooses(s.role)) {
        let asked: Vec<(&Event, Bind)> =
            answered.iter().filter_map(|e| Some((*e, slot_value(e, at, slot)?))).collect();
        let distinct: HashSet<u64> = asked.iter().filter_map(|(_, v)| v.hash()).collect();
        if distinct.len() < 2 {
            continue;
        }
        for ((of, column), tally) in tallies(groups, &asked, origins) {
            let judged = judge(n, slot, of, &column, &tally, &asked, levels, group);
            let Some((score, parent)) = judged else { continue };
            let proof = Proof {
                group: n,
                slot: at,
                parent,
                column: Some(column),
                calls: group.events.len(),
                matched: tally.matched,
                distinct: distinct.len(),
            };
            if best.as_ref().is_none_or(|(before, _)| *before < (score, tally.values.len())) {
                best = Some(((score, tally.values.len()), proof));
            }
        }
    }
    best.map(|(_, proof)| proof)
}

/// A group's texts may differ in their literals: each has its own slots.
pub(super) fn slot_value(event: &Event, at: usize, like: &Slot) -> Option<Bind> {
    let slot = event.sql.slots.get(at).filter(|s| s.role == like.role).unwrap_or(like);
    event.value(slot)
}

/// By the group of the results, if it is one of the scope's own, and the column's name. Those of other
/// scopes are each by themselves.
type Tallies<'e> = HashMap<(Result<usize, *const Event>, String), Tally<'e>>;

fn tallies<'e>(
    groups: &Groups<'e>,
    asked: &[(&'e Event, Bind)],
    origins: &HashMap<u64, Vec<Origin<'e>>>,
) -> Tallies<'e> {
    let mut out: Tallies<'e> = HashMap::new();
    for (event, value) in asked {
        let Some(hash) = value.hash() else { continue };
        let mut counted = HashSet::new();
        for (source, column) in origins.get(&hash).into_iter().flatten() {
            let itself = std::ptr::eq(*source, *event);
            let stray = event.scope.is_none() && event.at_us > source.end_us() + FOLLOWS_US;
            if itself || source.at_us > event.at_us || stray {
                continue;
            }
            let of = groups.of_event(source).ok_or(std::ptr::from_ref(*source));
            let name = source.returned[*column].column.to_string();
            let tally = out.entry((of, name.clone())).or_default();
            if counted.insert((of, name)) {
                tally.matched += 1;
                tally.heavy += usize::from(value.weight() == Some(Weight::Heavy));
            }
            tally.values.insert(hash);
            let result = tally.of.entry(std::ptr::from_ref(*source)).or_default();
            result.0 = Some(source);
            result.1.insert(hash);
        }
    }
    out
}

#[expect(clippy::too_many_arguments, reason = "it weighs all that is known")]
fn judge<'e>(
    n: usize,
    slot: &Slot,
    of: Result<usize, *const Event>,
    column: &str,
    tally: &Tally<'e>,
    asked: &[(&Event, Bind)],
    levels: &HashSet<usize>,
    group: &Group<'_>,
) -> Option<(Affinity, &'e Event)> {
    // The result that supplied the most; of equal ones the latest.
    let (parent, supplied) = tally
        .of
        .values()
        .filter_map(|(event, values)| Some(((*event)?, values.len())))
        .max_by_key(|(event, supplied)| (*supplied, event.at_us))?;
    let returned = parent.returned.iter().find(|r| &*r.column == column)?;
    let values: HashSet<u64> = returned.values.iter().filter_map(|v| v.hash()).collect();
    let next_level = of.is_ok_and(|g| g != n && levels.contains(&g));
    // Each row asked for, though its values repeat.
    let each_row = supplied == 2
        && values.len() == 2
        && asked.len() >= ROWS_MIN
        && returned.values.iter().filter(|v| v.hash().is_some()).count() == asked.len();
    let looped = supplied >= ROWS_MIN || each_row;
    let deeper = next_level && tally.values.len() >= ROWS_MIN;
    if !(looped || deeper) {
        return None;
    }
    let named = affinity(
        column,
        parent.sql.table.as_deref(),
        slot.column.as_deref(),
        group.sql().table.as_deref(),
    );
    let share = tally.matched as f64 / asked.len() as f64;
    let coverage = if looped {
        supplied as f64 / values.len().max(1) as f64
    } else {
        tally.values.len() as f64 / all_values(tally, column).max(1) as f64
    };
    let heavy = tally.heavy * 2 > tally.matched;
    // Of many rows, only the first ones' values are known.
    let cut = parent.rows.is_some_and(|rows| rows as usize > returned.values.len());
    let some = named > Affinity::None || heavy;
    let enough = if some && cut {
        0.2
    } else if some {
        0.5
    } else {
        0.8
    };
    let small = slot.column.as_deref().is_some_and(is_small);
    let no_chance = heavy
        || named == Affinity::Likely
        || (named == Affinity::Possible && (coverage >= 0.3 || share >= 0.95))
        || (coverage >= 0.6 && !small);
    (share >= enough && no_chance).then_some((named, parent))
}

/// How many different values all of the results have in the column.
fn all_values(tally: &Tally<'_>, column: &str) -> usize {
    let events = tally.of.values().filter_map(|(event, _)| *event);
    let columns = events.flat_map(|e| e.returned.iter().filter(|r| &*r.column == column));
    columns.flat_map(|r| r.values.iter().filter_map(|v| v.hash())).collect::<HashSet<_>>().len()
}

/// As it is told.
pub(super) fn finding(groups: &Groups<'_>, proof: &Proof<'_>) -> Finding {
    let group = &groups.all[proof.group];
    let writes = group.sql().verb.writes();
    let code = if writes { Code::DoctorWriteLoop } else { Code::DoctorNPlusOne };
    let proven = proof.column.is_some();
    let severity = if proven { Severity::Warning } else { Severity::Hint };
    let mut out = super::finding(code, severity, &group.events);
    let (calls, rows) = (proof.calls, proof.parent.rows_known());
    let sql = group.sql().shown();
    out.what = match (writes, proven) {
        (true, _) => format!("{calls} writes in a loop over rows that were just read: `{sql}`"),
        (false, true) => {
            format!("N+1: {calls} times `{sql}`, once for each row of another statement")
        }
        (false, false) => {
            format!("probably N+1: {calls} times `{sql}` after a statement of as many rows")
        }
    };
    let slot = &group.sql().slots.get(proof.slot);
    let asked =
        slot.and_then(|s| s.column.as_deref()).map(|c| format!(" of `{c}`")).unwrap_or_default();
    let rows = rows.map(|r| format!(" ({r} rows)")).unwrap_or_default();
    out.evidence.push(match &proof.column {
        Some(column) => format!(
            "{} of {calls} values{asked} are of column `{column}` of {}{rows}",
            proof.matched,
            told(proof.parent)
        ),
        None => format!(
            "it follows {}{rows}; what that returned is not in the trace",
            told(proof.parent)
        ),
    });
    out.evidence.push(format!("{} different values in {calls} statements", proof.distinct));
    let tasks: HashSet<_> = group.events.iter().filter_map(|e| e.task).collect();
    if tasks.len() > 1 {
        out.evidence.push(format!("they ran on {} tasks", tasks.len()));
    }
    out.fix = fix::of(group.sql(), proof);
    out.cost = Cost { round_trips: calls as u64 - 1, pool_time: pool_time(&group.events) };
    out
}
