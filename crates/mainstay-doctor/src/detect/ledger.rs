//! Findings put together: the same one at the same place, in the same route, is one, counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use mainstay_core::Code;

use crate::finding::Finding;

/// Findings that are kept; a program has fewer places where something is wrong.
pub(crate) const FINDINGS_MAX: usize = 1000;

type Key = (Code, Option<String>, Option<String>);

/// By code, place and route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    findings: HashMap<Key, Finding>,
    /// Not kept for want of room.
    pub(crate) refused: u64,
}

impl Ledger {
    pub(crate) fn add(&mut self, finding: Finding) {
        let key = (finding.code, finding.place.clone(), finding.scope.clone());
        let full = self.findings.len() >= FINDINGS_MAX;
        match self.findings.entry(key) {
            Entry::Vacant(_) if full => self.refused += 1,
            Entry::Vacant(entry) => {
                entry.insert(finding);
            }
            Entry::Occupied(mut entry) => merged(entry.get_mut(), finding),
        }
    }

    /// The worst first, and what costs most before what costs less.
    pub(crate) fn into_findings(self) -> Vec<Finding> {
        let mut all: Vec<Finding> = self.findings.into_values().collect();
        all.sort_by(|a, b| {
            let worse = b.severity.cmp(&a.severity);
            let dearer = b.cost.round_trips.cmp(&a.cost.round_trips);
            worse.then(dearer).then(a.code.cmp(&b.code)).then_with(|| a.place.cmp(&b.place))
        });
        all
    }
}

fn merged(known: &mut Finding, new: Finding) {
    let (first_seen, last_seen) =
        (known.first_seen.min(new.first_seen), known.last_seen.max(new.last_seen));
    let mut cost = known.cost;
    cost.round_trips += new.cost.round_trips;
    cost.pool_time += new.cost.pool_time;
    let count = known.count + new.count;
    // The latest case is shown, unless it is a weaker one.
    if new.severity >= known.severity {
        *known = new;
    }
    *known = Finding { cost, first_seen, last_seen, count, ..known.clone() };
}
