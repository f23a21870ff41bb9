//! What becomes of jobs that may have to wait, decided over plain data. It asks no database.

use std::collections::{BTreeMap, BTreeSet};

use crate::options::{Options, micros};
use crate::worker::queue::{Limits, Rate};

/// The key of a queue as a whole.
pub(super) const WHOLE: &str = "q";
/// Jobs that are given one key at once.
pub(super) const ROOM_MAX: usize = 1_000;

/// A job that is ready and may have to wait.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) id: i64,
    pub(super) lane: i16,
    pub(super) priority: i16,
    /// Whether it is to be run at all; if not, its row was left over.
    pub(super) live: bool,
    pub(super) crashes: i32,
    pub(super) options: Options,
}

/// What a job needs in order to run.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// With how many may have each; its turn by ordering key is the first.
    pub(super) held: Vec<(String, u32)>,
    /// With the time between two starts, in microseconds.
    pub(super) key_rate: Option<(String, i64)>,
    pub(super) rate: Option<i64>,
}

impl Keys {
    /// The names of those with a rate.
    pub(super) fn rated(&self) -> impl Iterator<Item = String> + use<> {
        let key = self.key_rate.as_ref().map(|(key, _)| key.clone());
        key.into_iter().chain(self.rate.map(|_| WHOLE.to_owned()))
    }
}

impl Candidate {
    pub(super) fn keys(&self, limits: &Limits) -> Keys {
        let mut keys = Keys::default();
        if let Some(key) = &self.options.ordering_key {
            keys.held.push((format!("o:{key}"), 1));
        }
        if let Some(key) = &self.options.limit_key {
            let key = format!("l:{key}");
            if let Some(most) = limits.key_concurrency {
                keys.held.push((key.clone(), most));
            }
            keys.key_rate = limits.key_rate.map(|rate| (key, interval_us(rate)));
        }
        if let Some(most) = limits.global_concurrency {
            keys.held.push((WHOLE.to_owned(), most));
        }
        keys.rate = limits.rate.map(interval_us);
        keys
    }
}

/// A rate as the time between two starts.
fn interval_us(rate: Rate) -> i64 {
    (micros(rate.per) / i64::from(rate.count)).max(1)
}

/// Whether a key is a turn in an order.
pub(super) fn is_order(key: &str) -> bool {
    key.starts_with("o:")
}

/// How many more may have a key that so many have.
pub(super) fn room(limits: &Limits, key: &str, holders: usize) -> usize {
    let most = match key {
        WHOLE => limits.global_concurrency,
        _ if is_order(key) => Some(1),
        _ => limits.key_concurrency,
    };
    // One that is not limited any more lets all through.
    most.map_or(ROOM_MAX, |most| (most as usize).saturating_sub(holders).min(ROOM_MAX))
}

/// Who has a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders {
    pub(super) ids: BTreeSet<i64>,
    /// The oldest job that waits for it.
    pub(super) parked: Option<i64>,
}

/// What is known of the keys, and is kept up while one job after the other is decided about.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pub(super) held: BTreeMap<String, Holders>,
    /// When the next start may be, in microseconds since 1970.
    pub(super) rates: BTreeMap<String, i64>,
    /// By the database's clock; only read where there is a rate.
    pub(super) now_us: i64,
}

/// A later place in a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) at_us: i64,
    /// Whether it may start then, or has yet to ask for its place in the queue's rate.
    pub(super) paid_all: bool,
}

/// What becomes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Run,
    /// A suspect that may not run yet stays where it is.
    Leave,
    /// So does one that waits for room in the queue: with what it waits for, nobody else can run either.
    Wait,
    /// It waits for this key.
    Park(String),
    Later(Slot),
    /// It has ended: nothing is to be done but to take it away.
    Drop,
}

/// A job, what becomes of it, and the keys that are its from now on.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) one: Candidate,
    pub(super) decision: Decision,
    pub(super) keys: Vec<String>,
}

/// Suspects that run together: those that one worker died with. Of what died once more, in such a group, one
/// runs at a time. So one that kills its workers is found among thousands by its third death, and the
/// others are soon done.
pub(super) const GROUP: usize = 50;

/// Decides about each in turn, until so many run.
pub(super) fn decide_all(
    candidates: Vec<Candidate>,
    limits: &Limits,
    book: &mut Book,
    max: usize,
    suspects: bool,
) -> Vec<Decided> {
    let mut room = if suspects { GROUP } else { 0 };
    let mut count = 0;
    let mut decided = Vec::with_capacity(candidates.len());
    for one in candidates {
        if count == max {
            break;
        }
        let fits = if one.crashes <= 1 { room > 0 } else { room == GROUP };
        let decision = judge(&one, limits, book, fits);
        let mut keys = holds(&one, &decision, limits);
        keys.retain(|key| book.held.entry(key.clone()).or_default().ids.insert(one.id));
        if decision == Decision::Run {
            count += 1;
            room = match one.crashes {
                0 => room,
                1 => room - 1,
                _ => 0,
            };
        }
        decided.push(Decided { one, decision, keys });
    }
    decided
}

/// The keys that a job has after a decision: all of them when it runs; its turn in an order as well while it
/// waits for something else, or a younger one would pass it.
fn holds(one: &Candidate, decision: &Decision, limits: &Limits) -> Vec<String> {
    let all = || one.keys(limits).held.into_iter().map(|(key, _)| key);
    match decision {
        Decision::Run => all().collect(),
        Decision::Later(_) | Decision::Wait => all().filter(|key| is_order(key)).collect(),
        Decision::Park(key) if !is_order(key) => all().filter(|key| is_order(key)).collect(),
        Decision::Park(_) | Decision::Leave | Decision::Drop => Vec::new(),
    }
}

fn judge(one: &Candidate, limits: &Limits, book: &mut Book, may_suspect: bool) -> Decision {
    if !one.live {
        return Decision::Drop;
    }
    if one.crashes > 0 && !may_suspect {
        return Decision::Leave;
    }
    let keys = one.keys(limits);
    for (key, _) in &keys.held {
        let holders = book.held.entry(key.clone()).or_default();
        if holders.ids.contains(&one.id) {
            continue;
        }
        let passes = is_order(key) && holders.parked.is_some_and(|id| id < one.id);
        if room(limits, key, holders.ids.len()) > 0 && !passes {
            continue;
        }
        if key == WHOLE {
            return Decision::Wait;
        }
        holders.parked = Some(holders.parked.map_or(one.id, |id| id.min(one.id)));
        return Decision::Park(key.clone());
    }
    book.pay(&keys, &one.options).map_or(Decision::Run, Decision::Later)
}

impl Book {
    /// Takes a job's places in the rates, that of its key first: a key with a low rate must not take places
    /// in the queue's rate for times that are far off, behind which all other keys would wait.
    fn pay(&mut self, keys: &Keys, options: &Options) -> Option<Slot> {
        if options.rate_paid {
            return None;
        }
        if let Some((key, interval)) = &keys.key_rate
            && !options.key_rate_paid
        {
            let at_us = self.place(key, *interval);
            if at_us > self.now_us {
                return Some(Slot { at_us, paid_all: keys.rate.is_none() });
            }
        }
        let at_us = self.place(WHOLE, keys.rate?);
        (at_us > self.now_us).then_some(Slot { at_us, paid_all: true })
    }

    /// The generic cell rate algorithm (ITU-T I.371) without a burst: each start moves the earliest time of
    /// the next one on by an interval.
    fn place(&mut self, key: &str, interval_us: i64) -> i64 {
        let at_us = self.rates.get(key).copied().unwrap_or(self.now_us).max(self.now_us);
        self.rates.insert(key.to_owned(), at_us.saturating_add(interval_us));
        at_us
    }
}

#[cfg(test)]
mod tests;
