//! N+1 where a trace does not tell what statements returned, or what they were bound with: a loop that is
//! as long as an earlier result. Weaker, and told as such.

use std::collections::HashSet;

use super::group::{Group, Groups};
use super::nplus1::{Proof, ROWS_MIN, slot_value};
use crate::trace::{Event, Use, Verb, Weight};

/// As many statements as rows, unless the one directly follows the other, where fewer will do.
const CALLS_MIN: usize = 5;

/// Adds what is likely to what is proven.
pub(super) fn find<'e>(groups: &Groups<'e>, own: &[&'e Event], proven: &mut Vec<Proof<'e>>) {
    for (n, group) in groups.all.iter().enumerate() {
        if proven.iter().all(|p| p.group != n)
            && let Some(proof) = guess(n, group, own)
        {
            proven.push(proof);
        }
    }
}

fn guess<'e>(n: usize, group: &Group<'e>, own: &[&'e Event]) -> Option<Proof<'e>> {
    let sql = group.sql();
    let calls = group.events.iter().filter(|e| e.error.is_none()).count();
    let all_answered = calls == group.events.len();
    if sql.verb != Verb::Select || sql.batch || calls < ROWS_MIN || !all_answered {
        return None;
    }
    let unbound = sql.params > 0 && group.events.iter().all(|e| e.binds.is_none());
    let choosing =
        sql.slots.iter().enumerate().filter(|(_, s)| matches!(s.role, Use::Equal | Use::In));
    let (slot, distinct, hashed) = choosing
        .filter_map(|(at, slot)| {
            let values = group.events.iter().filter_map(|e| slot_value(e, at, slot));
            let weights: Vec<_> = values.clone().filter_map(|v| v.weight()).collect();
            let distinct = values.filter_map(|v| v.hash()).collect::<HashSet<_>>().len();
            let hashed = weights.iter().all(|w| *w == Weight::Hashed);
            (unbound || distinct * 2 > calls).then_some((at, distinct, hashed))
        })
        .max_by_key(|(_, distinct, _)| *distinct)?;
    let first = group.events[0];
    let before: Vec<&&Event> = own
        .iter()
        .filter(|e| e.at_us <= first.at_us && e.sql.fingerprint != sql.fingerprint)
        .collect();
    let parent = before.iter().enumerate().rev().find_map(|(i, e)| {
        let directly = i + 1 == before.len();
        let enough = if directly { ROWS_MIN } else { CALLS_MIN };
        let as_many = e.rows == Some(calls as u64) || e.rows == Some(distinct as u64);
        (as_many && calls >= enough && (unbound || !comparable(e, hashed))).then_some(**e)
    })?;
    let calls = group.events.len();
    Some(Proof { group: n, slot, parent, column: None, calls, matched: 0, distinct })
}

/// Whether what `event` returned could have been found among the values: then it was not there.
fn comparable(event: &Event, hashed: bool) -> bool {
    let mut weights = event.returned.iter().flat_map(|r| &r.values).filter_map(|v| v.weight());
    let Some(first) = weights.next() else { return false };
    (first == Weight::Hashed) == hashed
}
