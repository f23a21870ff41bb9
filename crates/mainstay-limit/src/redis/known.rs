//! Denials that are known: until the time that Redis has told, the same key is denied without asking it. A
//! fixed number of places; a denial may push another one out, which costs a round trip.
//!
//! Nothing is denied longer than by Redis: the time is counted from before it was asked, and until then other
//! calls can only make the wait longer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::clock::Tick;

use crate::{By, Decision};

/// Places of all shards together.
const PLACES: usize = 65_536;
const SHARDS: usize = 64;

/// The table.
pub(super) struct Known {
    shards: Box<[Mutex<Box<[Place]>>]>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    tag: u64,
    /// In a tick's nanoseconds.
    until: i64,
    reset: i64,
    cost: u32,
    remaining: u32,
}

impl Default for Known {
    fn default() -> Self {
        let shard = || Mutex::new(vec![Place::default(); PLACES / SHARDS].into());
        Self { shards: (0..SHARDS).map(|_| shard()).collect() }
    }
}

impl Known {
    /// The denial of `cost` units of the key with this tag, if it is known. It knows no limit's number, and
    /// is given it.
    pub(super) fn get(&self, tag: u64, cost: u32, limit: u32, now: Tick) -> Option<Decision> {
        let place = self.with(tag, |place| *place);
        if place.tag != tag || cost < place.cost || place.until <= now.nanos() {
            return None;
        }
        Some(Decision {
            allowed: false,
            shadowed: false,
            limit,
            remaining: place.remaining,
            reset: Tick::from_nanos(place.reset).since(now),
            // What is dearer than what was denied waits at least as long; beyond the limit, for ever.
            retry_after: (cost <= limit).then(|| Tick::from_nanos(place.until).since(now)),
            by: By::Known,
        })
    }

    /// Keeps a denial that was asked for at `sent`.
    pub(super) fn put(&self, tag: u64, cost: u32, decision: &Decision, sent: Tick) {
        let Some(retry_after) = decision.retry_after.filter(|time| *time > Duration::ZERO) else {
            return;
        };
        self.with(tag, |place| {
            *place = Place {
                tag,
                until: (sent + retry_after).nanos(),
                reset: (sent + decision.reset).nanos(),
                cost,
                remaining: decision.remaining,
            };
        });
    }

    fn with<T>(&self, tag: u64, f: impl FnOnce(&mut Place) -> T) -> T {
        let shard = &self.shards[tag as usize % SHARDS];
        let mut places = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (tag >> 32) as usize % places.len();
        f(&mut places[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(retry_after: Option<Duration>) -> Decision {
        let decision = Decision::uncounted(10, By::Store);
        Decision { allowed: false, remaining: 2, retry_after, ..decision }
    }

    #[test]
    fn a_denial_is_known_until_its_time_and_for_what_costs_as_much() {
        let (known, sent) = (Known::default(), Tick::from_nanos(1_000));
        known.put(7, 3, &denied(Some(Duration::from_secs(1))), sent);
        let half = sent + Duration::from_millis(400);
        let decision = known.get(7, 3, 10, half).unwrap();
        assert_eq!(decision.retry_after, Some(Duration::from_millis(600)));
        assert_eq!((decision.by, decision.remaining), (By::Known, 2));
        assert!(known.get(7, 4, 10, half).is_some(), "dearer");
        assert!(known.get(7, 2, 10, half).is_none(), "cheaper");
        assert!(known.get(8, 3, 10, half).is_none(), "another");
        assert!(known.get(7, 3, 10, sent + Duration::from_secs(1)).is_none(), "over");
    }

    #[test]
    fn a_denial_without_a_time_is_not_kept_and_any_number_fits() {
        let (known, now) = (Known::default(), Tick::from_nanos(0));
        known.put(1, 1, &denied(None), now);
        assert!(known.get(1, 1, 10, now).is_none());
        for tag in 0..1_000_000_u64 {
            let tag = tag.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            known.put(tag, 1, &denied(Some(Duration::from_secs(1))), now);
            assert!(known.get(tag, 1, 10, now).is_some());
        }
    }
}
