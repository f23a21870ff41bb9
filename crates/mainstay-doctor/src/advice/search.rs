//! Which indexes are worth having: of each statement the smallest set that does nearly as well as all candidates
//! together, and of the workload the fewest that serve all of them.
//!
//! That an index is used proves nothing: a wrong order is used too. What counts is that the cost is halved, and that it
//! is not without it.

use std::time::Instant;

use mainstay_core::Result;
use mainstay_core::clock::Clock;

use super::ground::{Asked, Ground, Seen, lost};
use super::index::{Index, Method};
use super::table::Table;

/// What an index must make of a statement's cost, at most.
pub(crate) const HALF: f64 = 0.5;
/// How much dearer a smaller index may be.
const NEARLY: f64 = 1.2;
/// And one of a part of the rows, which most writes have nothing to do with.
const PART: f64 = 2.5;
/// How much an index must save to hold more than its key.
const COVERING: f64 = 2.0;
/// The part of the cost that is no reason for more.
const ENOUGH: f64 = 0.1;
/// How much dearer a statement may be when it shares another's index.
const SHARED: f64 = 1.6;

/// What was found for one statement.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) asked: usize,
    pub(crate) before: f64,
    pub(crate) after: f64,
    pub(crate) sorts: usize,
    pub(crate) indexes: Vec<Index>,
}

/// Asks a ground, as long as there is time.
pub(crate) struct Search<'a> {
    pub(crate) ground: &'a mut Ground,
    pub(crate) tables: &'a [Table],
    pub(crate) clock: &'a Clock,
    pub(crate) until: Instant,
}

impl Search<'_> {
    pub(crate) fn is_over(&self) -> bool {
        self.clock.now() >= self.until
    }

    async fn with(&mut self, indexes: &[Index], asked: &Asked) -> Result<Seen> {
        self.ground.set(indexes, self.tables).await?;
        self.ground.cost(asked).await
    }

    /// The cost with no index of ours. Errors: what the planner says against it.
    pub(crate) async fn before(&mut self, asked: &Asked) -> Result<Seen> {
        self.with(&[], asked).await
    }

    /// The smallest set of `candidates` that does nearly as well as all of them.
    ///
    /// Errors: those of the connection; a statement that can't be planned is one without advice.
    pub(crate) async fn best(
        &mut self,
        asked: &Asked,
        candidates: &[Index],
    ) -> Result<Option<Found>> {
        let before = match self.before(asked).await {
            Ok(seen) => seen.cost,
            Err(error) if lost(&error) => return Err(error),
            Err(_) => return Ok(None),
        };
        if before < self.ground.cost_min() || candidates.is_empty() {
            return Ok(None);
        }
        let refused = self.ground.set(candidates, self.tables).await?;
        let able: Vec<Index> = candidates
            .iter()
            .enumerate()
            .filter(|(at, _)| !refused.contains(at))
            .map(|(_, index)| index.clone())
            .collect();
        let seen = self.ground.cost(asked).await?;
        if seen.cost > before * HALF {
            return Ok(None);
        }
        let mut chosen: Vec<Index> = seen.used.iter().map(|at| able[*at].clone()).collect();
        let mut best = self.with(&chosen, asked).await?;
        self.drop_idle(asked, &mut chosen, &mut best).await?;
        self.hold_less(asked, before, &mut chosen, &mut best).await?;
        self.replace(asked, &able, &mut chosen, &mut best).await?;
        self.drop_idle(asked, &mut chosen, &mut best).await?;
        let good = best.cost <= before * HALF && !chosen.is_empty();
        let (after, sorts) = (best.cost, best.sorts);
        Ok(good.then_some(Found { asked: asked.at, before, after, sorts, indexes: chosen }))
    }

    /// Leaves out what does not halve the cost of the rest.
    async fn drop_idle(
        &mut self,
        asked: &Asked,
        chosen: &mut Vec<Index>,
        best: &mut Seen,
    ) -> Result<()> {
        let mut at = 0;
        while chosen.len() > 1 && at < chosen.len() && !self.is_over() {
            let mut rest = chosen.clone();
            rest.remove(at);
            let seen = self.with(&rest, asked).await?;
            if seen.cost * HALF < best.cost {
                (*chosen, *best) = (rest, seen);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// An index holds more than its key only where that saves much, and the key alone does not save nearly all.
    async fn hold_less(
        &mut self,
        asked: &Asked,
        before: f64,
        chosen: &mut [Index],
        best: &mut Seen,
    ) -> Result<()> {
        for at in 0..chosen.len() {
            if chosen[at].include.is_empty() {
                continue;
            }
            let mut changed = chosen.to_vec();
            changed[at].include.clear();
            let seen = self.with(&changed, asked).await?;
            let enough = (best.cost * COVERING).max(before * ENOUGH);
            if seen.cost <= enough && seen.sorts <= best.sorts {
                chosen[at].include.clear();
                *best = seen;
            }
        }
        Ok(())
    }

    /// Puts a smaller index in the place of each, where that is nearly as good.
    async fn replace(
        &mut self,
        asked: &Asked,
        able: &[Index],
        chosen: &mut [Index],
        best: &mut Seen,
    ) -> Result<()> {
        for at in 0..chosen.len() {
            let old = chosen[at].clone();
            let mut smaller: Vec<&Index> = able
                .iter()
                .filter(|new| new.table == old.table && new.weight() < old.weight())
                .collect();
            smaller.sort_by_key(|index| index.weight());
            for new in smaller {
                if self.is_over() {
                    return Ok(());
                }
                let mut changed = chosen.to_vec();
                changed[at] = new.clone();
                let seen = self.with(&changed, asked).await?;
                let fewer_rows = new.predicate.is_some() && old.predicate.is_none();
                let bound = if fewer_rows { PART } else { NEARLY };
                if seen.cost <= best.cost * bound && seen.sorts <= best.sorts {
                    chosen[at] = new.clone();
                    *best = seen;
                    break;
                }
            }
        }
        Ok(())
    }

    /// The fewest indexes that serve all that was found, and each statement's cost with them.
    pub(crate) async fn fewest(
        &mut self,
        found: &[Found],
        asked: &[Asked],
        each_max: usize,
    ) -> Result<Vec<Index>> {
        let mut all: Vec<Index> = Vec::new();
        for index in found.iter().flat_map(|found| &found.indexes) {
            if !all.iter().any(|known| known.same(index)) {
                all.push(index.clone());
            }
        }
        share_prefixes(&mut all);
        let gain = |index: &Index| -> f64 {
            let serves = |f: &&Found| f.indexes.iter().any(|i| i.same(index));
            found.iter().filter(serves).map(|f| f.before - f.after).sum()
        };
        // The narrow ones first: what a wider one does as well is not needed.
        all.sort_by(|a, b| a.weight().cmp(&b.weight()).then_with(|| gain(a).total_cmp(&gain(b))));
        let mut at = 0;
        while at < all.len() && !self.is_over() {
            let index = all[at].clone();
            let mut rest = all.clone();
            rest.remove(at);
            let related = rest.iter().any(|other| other.table == index.table);
            if related && self.is_spare(&index, &rest, found, asked).await? {
                all = rest;
            } else {
                at += 1;
            }
        }
        all.sort_by(|a, b| gain(b).total_cmp(&gain(a)));
        let mut counts = vec![0_usize; self.tables.len()];
        all.retain(|index| {
            counts[index.table] += 1;
            counts[index.table] <= each_max
        });
        Ok(all)
    }

    /// Whether all statements on the index's table do nearly as well without it.
    async fn is_spare(
        &mut self,
        index: &Index,
        rest: &[Index],
        found: &[Found],
        asked: &[Asked],
    ) -> Result<bool> {
        if index.method == Method::Gin {
            return Ok(false);
        }
        self.ground.set(rest, self.tables).await?;
        for found in found.iter().filter(|f| f.indexes.iter().any(|i| i.table == index.table)) {
            // Those were found on the copy alone.
            if found.indexes.iter().any(|i| i.method == Method::Gin) {
                continue;
            }
            let Some(asked) = asked.iter().find(|a| a.at == found.asked) else { continue };
            let seen = self.ground.cost(asked).await?;
            let dearer = seen.cost > found.before * HALF || seen.cost > found.after * SHARED;
            if dearer || seen.sorts > found.sorts {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Where the order of what is compared by = is free, it is chosen so that one index begins as another does, which is
/// then not needed.
fn share_prefixes(all: &mut [Index]) {
    for short in 0..all.len() {
        for long in 0..all.len() {
            let (a, b) = (&all[short], &all[long]);
            let plain = |index: &Index| index.method == Method::Btree && index.predicate.is_none();
            let inner = a.table == b.table && plain(a) && plain(b);
            if short == long || !inner || a.keys.len() >= b.keys.len() || a.keys.len() > b.equal {
                continue;
            }
            let free = &b.keys[..b.equal];
            if !a.keys.iter().all(|key| free.iter().any(|f| f.term == key.term)) {
                continue;
            }
            let first: Vec<_> = a.keys.iter().map(|key| key.term.clone()).collect();
            let (mut begin, rest): (Vec<_>, Vec<_>) =
                all[long].keys.iter().cloned().partition(|key| first.contains(&key.term));
            begin.sort_by_key(|key| first.iter().position(|term| *term == key.term));
            all[long].keys = begin.into_iter().chain(rest).collect();
        }
    }
}
