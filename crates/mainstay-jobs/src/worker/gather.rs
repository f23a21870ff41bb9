//! Between a fetch and the slots: jobs whose handler takes several at once wait here until there are
//! enough of them, or the first has waited for long enough. The others pass.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::finish::Ended;
use super::handler::{Batch, Kind};
use super::pending::{Item, Unit};
use super::verdict::{self, Verdict};
use super::work::Work;
use crate::store::settle::End;

/// What is gathered for one line.
pub(crate) struct Gather {
    work: Arc<Work>,
    line: usize,
    ends: mpsc::Sender<Ended>,
    /// By name and batch key.
    groups: HashMap<(String, Option<String>), Group>,
}

struct Group {
    items: Vec<Item>,
    due: Instant,
}

impl Gather {
    pub(crate) fn new(work: &Arc<Work>, line: usize, ends: mpsc::Sender<Ended>) -> Self {
        Self { work: Arc::clone(work), line, ends, groups: HashMap::new() }
    }

    /// Jobs that wait here.
    pub(crate) fn len(&self) -> usize {
        self.groups.values().map(|group| group.items.len()).sum()
    }

    fn batch(&self, item: &Item) -> Option<Batch> {
        match &self.work.handlers.find(&item.call.queue, &item.call.job.name)?.kind {
            Kind::Batch(_, batch) => Some(*batch),
            Kind::One(_) => None,
        }
    }

    /// Passes them on, or keeps them until their batch is full.
    pub(crate) async fn take(&mut self, items: Vec<Item>) {
        let now = self.work.clock.now();
        let mut units = Vec::with_capacity(items.len());
        for item in items {
            let Some(batch) = self.batch(&item) else {
                units.push(Unit::one(item));
                continue;
            };
            let key = (item.call.job.name.clone(), item.call.options().batch_key.clone());
            let due = now + batch.wait_max;
            let group =
                self.groups.entry(key.clone()).or_insert_with(|| Group { items: Vec::new(), due });
            group.items.push(item);
            if group.items.len() >= batch.size_max.max(1)
                && let Some(full) = self.groups.remove(&key)
            {
                units.push(Unit { calls: full.items });
            }
        }
        self.push(units).await;
    }

    /// When the next batch has waited for long enough; never without one.
    pub(crate) async fn due(&self) {
        match self.groups.values().map(|group| group.due).min() {
            Some(due) => self.work.clock.sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Passes on what has waited for long enough.
    pub(crate) async fn flush(&mut self) {
        let now = self.work.clock.now();
        let due = self.groups.extract_if(|_, group| group.due <= now);
        let units: Vec<_> = due.map(|(_, group)| Unit { calls: group.items }).collect();
        self.push(units).await;
    }

    /// Gives back what waits.
    pub(crate) async fn close(&mut self) {
        let rest: Vec<_> =
            self.groups.drain().map(|(_, group)| Unit { calls: group.items }).collect();
        give_back(&self.ends, rest).await;
    }

    async fn push(&self, units: Vec<Unit>) {
        let late = self.work.pending.push(self.line, units);
        give_back(&self.ends, late).await;
    }
}

/// What was not begun goes back to where it came from.
pub(crate) async fn give_back(ends: &mpsc::Sender<Ended>, units: Vec<Unit>) {
    for item in units.into_iter().flat_map(|unit| unit.calls) {
        // A broker delivers again what was not acknowledged.
        if item.receipt.is_none() {
            verdict::deliver(ends, item, Verdict::End(End::Back { options: None })).await;
        }
    }
}
