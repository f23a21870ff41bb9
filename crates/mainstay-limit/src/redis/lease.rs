//! Leases: a key that is asked for often takes several units of Redis at once, and they are given out here.
//! Only of limits that are asked alone, unit by unit.
//!
//! # How far over the limit
//!
//! A unit is given out only after Redis has counted it. So of what is given out in a window, whatever Redis
//! did not count in that window was counted before it, and was on lease when the window began. A store has at
//! most one lease a key: a new one replaces what is left of the last, and what was taken is given out within
//! the shorter of the window and a second, or is lost. One unit of it goes to the call that took it. With a
//! lease of n, p stores (one a process) had at most p x (n - 1) units on lease when the window began: that is
//! the most by which they are over.
//!
//! What is lost is lost to the key: it may be denied up to that number of units early.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mainstay_core::clock::Tick;

use crate::{Ask, By, Decision, Rule};

/// Keys that are watched at the same time.
const PLACES: usize = 4096;
/// Decisions in a [`COUNTED`] from which on a key is busy.
const BUSY: u32 = 10;
const COUNTED: Duration = Duration::from_millis(100);
/// A lease is given out within this.
const LIFE: Duration = Duration::from_secs(1);
/// A key that was silent for this long gives its place up.
const SILENT: Duration = Duration::from_secs(1);
/// How long no lease is tried where one was denied.
const LEAN: Duration = Duration::from_millis(100);

/// What is to be done.
pub(super) enum Step {
    /// A unit on lease.
    Given(Decision),
    /// So many units are to be asked for, and what comes is to be told.
    Take(u32),
    /// As if there were no leases.
    Ask,
}

/// The keys that are watched.
pub(super) struct Leases {
    places: Box<[Mutex<Place>]>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    tag: u64,
    seen: i64,
    /// Since when `calls` are counted, and whether there were many before.
    since: i64,
    calls: u32,
    busy: bool,
    /// While nobody else is to take a lease.
    taking: i64,
    units: u32,
    expires: i64,
    /// What Redis said when they were taken.
    remaining: u32,
    reset: i64,
}

impl Default for Leases {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| Mutex::default()).collect() }
    }
}

/// Whether units of what is asked can be on lease.
pub(super) fn may(ask: &Ask<'_>) -> bool {
    let counted = !matches!(ask.policy.rule(), Rule::Concurrency { .. });
    ask.policy.leased() > 1 && ask.cost == 1 && counted && !ask.policy.is_shadow()
}

impl Leases {
    /// What is to be done with a call of one unit; a lease that is to be taken is there until `deadline`.
    pub(super) fn step(&self, tag: u64, ask: &Ask<'_>, now: Tick, deadline: Tick) -> Step {
        let mut place = self.place(tag);
        let nanos = now.nanos();
        if place.tag != tag {
            if place.tag != 0 && now.since(Tick::from_nanos(place.seen)) < SILENT {
                return Step::Ask;
            }
            *place = Place { tag, since: nanos, ..Place::default() };
        }
        place.seen = nanos;
        place.counted(now);
        if place.units > 0 && nanos < place.expires {
            place.units -= 1;
            let decision = Decision::uncounted(ask.policy.limit(), By::Lease);
            return Step::Given(Decision {
                remaining: place.remaining.saturating_add(place.units),
                reset: Tick::from_nanos(place.reset).since(now),
                ..decision
            });
        }
        if !place.busy || nanos < place.taking {
            return Step::Ask;
        }
        place.taking = deadline.nanos();
        Step::Take(ask.policy.leased())
    }

    /// `units` were asked for at `sent`, and this is what came. Gives the first of them out.
    pub(super) fn came(
        &self,
        tag: u64,
        ask: &Ask<'_>,
        units: u32,
        decision: &Decision,
        sent: Tick,
    ) -> Option<Decision> {
        let mut place = self.place(tag);
        let mine = place.tag == tag;
        if !decision.allowed {
            if mine {
                place.taking = (sent + LEAN).nanos();
            }
            return None;
        }
        let left = units.saturating_sub(1);
        if mine {
            let window = ask.policy.quota().map_or(LIFE, |(_, window)| window);
            place.taking = 0;
            // In place of what is left of another.
            place.units = left;
            place.expires = (sent + window.min(LIFE)).nanos();
            place.remaining = decision.remaining;
            place.reset = (sent + decision.reset).nanos();
        }
        Some(Decision { remaining: decision.remaining.saturating_add(left), ..*decision })
    }

    fn place(&self, tag: u64) -> MutexGuard<'_, Place> {
        let place = &self.places[tag as usize % PLACES];
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn counted(&mut self, now: Tick) {
        let time = now.since(Tick::from_nanos(self.since));
        if time >= COUNTED {
            self.busy = self.calls >= BUSY && time < 2 * COUNTED;
            (self.since, self.calls) = (now.nanos(), 0);
        }
        self.calls += 1;
        self.busy |= self.calls >= BUSY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    const MS: Duration = Duration::from_millis(1);

    /// Calls a ms apart; the units given, and those taken.
    fn run(leases: &Leases, calls: u32, apart: Duration) -> (u32, u32) {
        let policy = Policy::per_second(1000).lease(20);
        let ask = Ask { policy: &policy, key: "", cost: 1 };
        let (mut given, mut taken) = (0, 0);
        for call in 0..calls {
            let now = Tick::from_nanos(1) + apart * call;
            match leases.step(7, &ask, now, now + 5 * MS) {
                Step::Given(decision) => {
                    assert_eq!(decision.by, By::Lease);
                    given += 1;
                }
                Step::Take(units) => {
                    let allowed = Decision::uncounted(1000, By::Store);
                    assert!(leases.came(7, &ask, units, &allowed, now).is_some());
                    (given, taken) = (given + 1, taken + units);
                }
                Step::Ask => {}
            }
        }
        (given, taken)
    }

    #[test]
    fn a_busy_key_takes_several_at_once_and_a_quiet_one_does_not() {
        let (given, taken) = run(&Leases::default(), 1009, MS);
        assert_eq!((given, taken), (1000, 1000));
        assert_eq!(run(&Leases::default(), 100, 20 * MS), (0, 0));
    }

    #[test]
    fn what_is_left_is_lost_with_its_time_and_one_alone_takes() {
        let policy = "fixed 1000/s".parse::<Policy>().unwrap().lease(20);
        let ask = Ask { policy: &policy, key: "", cost: 1 };
        let leases = Leases::default();
        let start = Tick::from_nanos(1);
        let step = |at: Duration| leases.step(7, &ask, start + at, start + at + 5 * MS);
        let busy = (0..9).all(|_| matches!(step(MS), Step::Ask));
        assert!(busy && matches!(step(MS), Step::Take(20)));
        assert!(matches!(step(2 * MS), Step::Ask), "another takes");
        let allowed = Decision::uncounted(1000, By::Store);
        assert!(leases.came(7, &ask, 20, &allowed, start + MS).is_some());
        assert!(matches!(step(3 * MS), Step::Given(_)));
        assert!(!matches!(step(1002 * MS), Step::Given(_)), "a second is over");
    }
}
