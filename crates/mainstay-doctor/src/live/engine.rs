//! What happens off the hot path: what was put down is made statements of, sorted by what they ran for, and
//! looked through once that is quiet.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use mainstay_core::Place;

use super::costs::Costs;
use super::pools::Pools;
use super::record::Recorder;
use super::ring::{Buffer, End, Raw};
use super::storms::Storms;
use super::watch::{Hot, Rare};
use crate::detect::{Ledger, Limits, examine};
use crate::finding::Finding;
use crate::trace::{Bind, Event, Returned, ScopeOf, Texts};

/// Statements of one scope that are looked through together.
const SCOPE_MAX: usize = 4096;
/// Statements that wait for their scope to be quiet, of all scopes.
const PENDING_MAX: usize = 100_000;
/// Results of scopes that a task without one may have read.
const PARENTS_MAX: usize = 1024;
/// Fewer rows are nobody's loop.
const PARENT_ROWS_MIN: usize = 3;
/// Places that are kept as texts.
const PLACES_MAX: usize = 8192;

/// What one scope did, and is not looked through yet.
#[derive(Default)]
struct Pending {
    events: Vec<Event>,
    last_us: u64,
}

pub(super) struct Engine {
    quiet_us: u64,
    /// All is one scope's, whatever it says: strict mode.
    together: bool,
    pending: HashMap<Option<u64>, Pending>,
    count: usize,
    parents: VecDeque<Event>,
    pub(super) ledger: Ledger,
    pub(super) pools: Pools,
    storms: Storms,
    pub(super) recorder: Option<Recorder>,
    pub(super) statements: u64,
    /// Where advice is wanted.
    pub(super) costs: Option<Costs>,
    texts: Texts,
    places: HashMap<Place, Arc<str>>,
    names: HashMap<u64, Arc<str>>,
    spare: Buffer,
}

impl Engine {
    pub(super) fn new(
        quiet: Duration,
        pool_window: Duration,
        together: bool,
        advises: bool,
    ) -> Self {
        Self {
            quiet_us: u64::try_from(quiet.as_micros()).unwrap_or(u64::MAX),
            together,
            pending: HashMap::new(),
            count: 0,
            parents: VecDeque::new(),
            ledger: Ledger::default(),
            pools: Pools::new(pool_window),
            storms: Storms::default(),
            recorder: None,
            statements: 0,
            costs: advises.then(Costs::default),
            texts: Texts::default(),
            places: HashMap::new(),
            names: HashMap::new(),
            spare: Buffer::new(),
        }
    }

    /// Takes what was put down, and looks through what is quiet at `now`.
    pub(super) fn tick(&mut self, hot: &Hot, now: SystemTime) {
        self.drain(hot, now);
        let now_us = hot.micros(hot.clock.now());
        let quiet: Vec<Option<u64>> = self
            .pending
            .iter()
            .filter(|(_, p)| p.last_us.saturating_add(self.quiet_us) < now_us)
            .map(|(id, _)| *id)
            .collect();
        for id in quiet {
            self.look_through(id, &hot.limits);
        }
        while self.count > PENDING_MAX {
            let largest = self.pending.iter().max_by_key(|(_, p)| p.events.len());
            let Some(id) = largest.map(|(id, _)| *id) else { break };
            self.look_through(id, &hot.limits);
        }
    }

    fn drain(&mut self, hot: &Hot, now: SystemTime) {
        let mut spare = std::mem::replace(
            &mut self.spare,
            Buffer { events: Vec::new(), values: Vec::new(), held: Vec::new() },
        );
        let mut full = Vec::new();
        hot.ring.empty(&mut spare, |buffer| {
            for held in buffer.held.drain(..) {
                self.pools.held(&held);
            }
            let mut at = 0;
            let values: Vec<Bind> = buffer.values.iter().map(|v| Bind::hashed(*v)).collect();
            for raw in buffer.events.drain(..) {
                let (binds, returned) =
                    (usize::from(raw.binds.unwrap_or(0)), usize::from(raw.returned));
                let (from, mid) = (at, at + binds);
                at = mid + returned;
                if let Some(event) = self.event(hot, &raw, &values[from..mid], &values[mid..at]) {
                    self.keep(event, &mut full);
                }
            }
        });
        self.spare = spare;
        for id in full {
            self.look_through(id, &hot.limits);
        }
        let rare = std::mem::take(&mut *hot.rare.lock().unwrap_or_else(PoisonError::into_inner));
        for rare in rare {
            match rare {
                Rare::Found(finding) => self.ledger.add(finding),
                Rare::Conflict(conflict) => {
                    if let Some(storm) = self.storms.add(&conflict) {
                        self.ledger.add(storm);
                    }
                }
                Rare::Gauge(gauge) => {
                    if let Some(finding) = self.pools.gauge(&gauge, now) {
                        self.ledger.add(finding);
                    }
                }
            }
        }
    }

    fn event(&mut self, hot: &Hot, raw: &Raw, binds: &[Bind], returned: &[Bind]) -> Option<Event> {
        let text = hot.texts.get(raw.sql)?;
        let sql = self.texts.get(&text);
        let width = raw.columns.as_ref().map_or(0, |c| c.0.len());
        let column = |(n, name): (usize, &str)| Returned {
            column: name.into(),
            values: returned.iter().skip(n).step_by(width).copied().collect(),
        };
        let columns = raw.columns.iter().flat_map(|c| c.0.iter().map(|name| &**name).enumerate());
        let returned: Vec<Returned> = columns.map(column).collect();
        if self.places.len() >= PLACES_MAX {
            self.places.clear();
        }
        let place = self.places.entry(raw.place);
        let site = Arc::clone(place.or_insert_with(|| raw.place.to_string().into()));
        let name = raw.scope.as_ref().map(|s| self.name(s.name()));
        if let (Some(costs), End::Done) = (&mut self.costs, &raw.end) {
            costs.add(
                (usize::from(raw.pool), raw.sql),
                &text,
                raw.duration_us,
                Some(&site),
                name.as_ref(),
            );
        }
        Some(Event {
            at_us: hot.micros(raw.ended).saturating_sub(raw.duration_us),
            dur_us: raw.duration_us,
            scope: raw.scope.as_ref().map(|s| ScopeOf { id: s.id(), name }),
            task: raw.task.map(NonZeroU64::get),
            tx: raw.tx.map(NonZeroU64::get),
            conn: raw.conn.map(NonZeroU64::get),
            site: Some(site),
            sql,
            binds: raw.binds.map(|_| binds.to_vec()),
            rows: Some(u64::from(raw.rows)),
            returned,
            error: match raw.end {
                End::Done => None,
                End::Failed(code) => Some(code.as_str().into()),
                End::Cancelled => Some("cancelled".into()),
            },
        })
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        let key = mainstay_core::observe::SqlId::of(name).get();
        if self.names.len() >= PLACES_MAX {
            self.names.clear();
        }
        Arc::clone(self.names.entry(key).or_insert_with(|| name.into()))
    }

    /// Puts it with what its scope did, and notes the scope in `full` where that is much already.
    fn keep(&mut self, event: Event, full: &mut Vec<Option<u64>>) {
        self.statements += 1;
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&event);
        }
        let scope = event.scope.as_ref().map(|s| s.id);
        let rows = event.returned.iter().map(|r| r.values.len()).max().unwrap_or(0);
        if scope.is_some() && !self.together && rows >= PARENT_ROWS_MIN {
            if self.parents.len() >= PARENTS_MAX {
                self.parents.pop_front();
            }
            self.parents.push_back(event.clone());
        }
        let id = if self.together { Some(0) } else { scope };
        let pending = self.pending.entry(id).or_default();
        pending.last_us = pending.last_us.max(event.end_us());
        pending.events.push(event);
        self.count += 1;
        if pending.events.len() >= SCOPE_MAX && !full.contains(&id) {
            full.push(id);
        }
    }

    fn look_through(&mut self, id: Option<u64>, limits: &Limits) {
        let Some(pending) = self.pending.remove(&id) else { return };
        self.count -= pending.events.len();
        for finding in found(&pending.events, id, &self.parents, limits) {
            self.ledger.add(finding);
        }
    }

    /// All that is known by now, of scopes that are not over as well.
    pub(super) fn findings(&self, limits: &Limits) -> Vec<Finding> {
        let mut ledger = self.ledger.clone();
        for (id, pending) in &self.pending {
            for finding in found(&pending.events, *id, &self.parents, limits) {
                ledger.add(finding);
            }
        }
        ledger.into_findings()
    }
}

fn found(
    events: &[Event],
    id: Option<u64>,
    parents: &VecDeque<Event>,
    limits: &Limits,
) -> Vec<Finding> {
    let mut own: Vec<&Event> = events.iter().collect();
    own.sort_by_key(|e| e.at_us);
    let outside: Vec<&Event> = if id.is_none() { parents.iter().collect() } else { Vec::new() };
    examine(&own, &outside, limits)
}
