//! What each statement has cost by now, so that those are planned that are worth it. It plans nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Statements that are kept: of more, those that cost least are forgotten.
const STATEMENTS_MAX: usize = 2048;
/// What takes less in all is nobody's trouble.
const TOTAL_MIN_US: u64 = 10_000;
/// A statement that was looked at is looked at again after so long: tables grow.
const AGAIN_US: u64 = 3_600_000_000;

/// One text on one handle.
#[derive(Clone, Debug)]
pub(super) struct Spent {
    pub(super) sql: Arc<str>,
    pub(super) count: u64,
    pub(super) total_us: u64,
    pub(super) worst_us: u64,
    /// Of the worst.
    pub(super) site: Option<Arc<str>>,
    pub(super) scope: Option<Arc<str>>,
    looked_us: Option<u64>,
}

impl Spent {
    pub(super) fn total(&self) -> Duration {
        Duration::from_micros(self.total_us)
    }
}

#[derive(Default)]
pub(super) struct Costs(HashMap<(usize, u64), Spent>);

impl Costs {
    /// One statement of the handle `pool`, that took `took_us`.
    pub(super) fn add(
        &mut self,
        key: (usize, u64),
        sql: &Arc<str>,
        took_us: u64,
        site: Option<&Arc<str>>,
        scope: Option<&Arc<str>>,
    ) {
        if self.0.len() >= STATEMENTS_MAX && !self.0.contains_key(&key) {
            self.forget();
        }
        let spent = self.0.entry(key).or_insert_with(|| Spent {
            sql: Arc::clone(sql),
            count: 0,
            total_us: 0,
            worst_us: 0,
            site: None,
            scope: None,
            looked_us: None,
        });
        spent.count += 1;
        spent.total_us = spent.total_us.saturating_add(took_us);
        if took_us >= spent.worst_us {
            spent.worst_us = took_us;
            (spent.site, spent.scope) = (site.cloned(), scope.cloned());
        }
    }

    /// The cheaper half.
    fn forget(&mut self) {
        let mut totals: Vec<u64> = self.0.values().map(|s| s.total_us).collect();
        totals.sort_unstable();
        let middle = totals[totals.len() / 2];
        self.0.retain(|_, spent| spent.total_us > middle);
    }

    /// The dearest of `pool` that were not looked at lately, at most `most`. They are taken for looked at.
    pub(super) fn dearest(&mut self, pool: usize, most: usize, now_us: u64) -> Vec<Spent> {
        let due =
            |looked: Option<u64>| looked.is_none_or(|at| at.saturating_add(AGAIN_US) < now_us);
        let mut all: Vec<&mut Spent> = self
            .0
            .iter_mut()
            .filter(|((of, _), s)| *of == pool && s.total_us >= TOTAL_MIN_US && due(s.looked_us))
            .map(|(_, spent)| spent)
            .collect();
        all.sort_by_key(|spent| std::cmp::Reverse(spent.total_us));
        all.truncate(most);
        all.into_iter()
            .map(|spent| {
                spent.looked_us = Some(now_us);
                spent.clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dearest_are_looked_at_once_an_hour() {
        let mut costs = Costs::default();
        let sql: Arc<str> = "SELECT 1".into();
        for (id, took) in [(1, 9_999), (2, 20_000), (3, 30_000)] {
            costs.add((0, id), &sql, took, None, None);
        }
        costs.add((1, 4), &sql, 90_000, None, None);
        let totals = |found: Vec<Spent>| found.iter().map(|s| s.total_us).collect::<Vec<_>>();
        assert_eq!(totals(costs.dearest(0, 1, 5)), [30_000]);
        assert_eq!(totals(costs.dearest(0, 9, 6)), [20_000]);
        assert_eq!(totals(costs.dearest(0, 9, 7)), [0; 0]);
        assert_eq!(totals(costs.dearest(0, 9, AGAIN_US + 7)), [30_000, 20_000]);
    }

    #[test]
    fn those_that_cost_least_make_room() {
        let mut costs = Costs::default();
        let sql: Arc<str> = "SELECT 1".into();
        for id in 0..10_000_u64 {
            costs.add((0, id), &sql, id + 20_000, None, None);
        }
        assert!(costs.0.len() <= STATEMENTS_MAX);
        assert_eq!(costs.dearest(0, 1, 0)[0].total_us, 29_999);
    }
}
