//! Statements that are the same but for their values, from one place in the program.

use std::collections::HashMap;
use std::sync::Arc;

use crate::trace::{Event, Sql};

/// They are in the order of time, and there is at least one.
#[derive(Debug)]
pub(super) struct Group<'e> {
    pub(super) events: Vec<&'e Event>,
}

impl Group<'_> {
    pub(super) fn sql(&self) -> &Arc<Sql> {
        &self.events[0].sql
    }
}

#[derive(Debug)]
pub(super) struct Groups<'e> {
    pub(super) all: Vec<Group<'e>>,
    /// Of each event, by its address in the trace.
    of: HashMap<*const Event, usize>,
}

/// Fewer from one place are no loop by themselves.
const LOOP_MIN: usize = 3;

impl<'e> Groups<'e> {
    /// Puts `events` together; with `gap`, only those that follow each other within it.
    pub(super) fn of(events: &[&'e Event], gap: Option<u64>) -> Self {
        let mut all: Vec<Group<'e>> = Vec::new();
        let mut open: HashMap<(u64, Option<&str>), (usize, u64)> = HashMap::new();
        for event in events {
            let key = (event.sql.fingerprint, event.site.as_deref());
            let known = open
                .get(&key)
                .copied()
                .filter(|(_, end)| gap.is_none_or(|gap| event.at_us <= end.saturating_add(gap)));
            let (n, end) = known.unwrap_or_else(|| {
                all.push(Group { events: Vec::new() });
                (all.len() - 1, 0)
            });
            all[n].events.push(event);
            open.insert(key, (n, end.max(event.end_us())));
        }
        let all = one_loop_of_near_lines(all);
        let of = all.iter().enumerate();
        let of = of.flat_map(|(n, g)| g.events.iter().map(move |e| (std::ptr::from_ref(*e), n)));
        Self { of: of.collect(), all }
    }

    pub(super) fn of_event(&self, event: &Event) -> Option<usize> {
        self.of.get(&std::ptr::from_ref(event)).copied()
    }
}

/// An unrolled loop asks the same from several lines of one file.
fn one_loop_of_near_lines(groups: Vec<Group<'_>>) -> Vec<Group<'_>> {
    let file = |g: &Group<'_>| {
        let site = g.events[0].site.as_deref()?;
        Some(site.split(':').next().unwrap_or(site).to_owned())
    };
    let mut alike: HashMap<(u64, String), Vec<usize>> = HashMap::new();
    for (n, group) in groups.iter().enumerate() {
        if let Some(file) = file(group) {
            alike.entry((group.sql().fingerprint, file)).or_default().push(n);
        }
    }
    let mut into: HashMap<usize, usize> = HashMap::new();
    for all in alike.values() {
        let size: usize = all.iter().map(|n| groups[*n].events.len()).sum();
        let small = all.iter().all(|n| groups[*n].events.len() < LOOP_MIN);
        if all.len() > 1 && small && size >= LOOP_MIN {
            into.extend(all[1..].iter().map(|n| (*n, all[0])));
        }
    }
    let mut out: Vec<Option<Group<'_>>> = groups.into_iter().map(Some).collect();
    for (from, to) in into {
        let moved = out[from].take().map(|g| g.events).unwrap_or_default();
        if let Some(group) = &mut out[to] {
            group.events.extend(moved);
            group.events.sort_by_key(|e| e.at_us);
        }
    }
    out.into_iter().flatten().collect()
}
