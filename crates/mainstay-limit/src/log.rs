//! The sliding log: the times of a key's last units, as many as its limit has, in a ring of fixed size. Exact,
//! and dear: eight bytes a unit. Sets of eight keys, each behind a lock; a new key takes the place of the one
//! that was silent longest.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::decision::{By, Decision};

const PLACES: usize = 8;
/// All rings together, at most.
const BYTES_MAX: usize = 256 << 20;

/// The logs of many keys.
#[derive(Debug)]
pub(crate) struct Logs {
    limit: u32,
    window: u64,
    sets: Box<[Mutex<Set>]>,
}

#[derive(Debug)]
struct Set {
    tags: [u64; PLACES],
    /// How many of each ring are in use, and where its oldest is.
    rings: [(u32, u32); PLACES],
    times: Box<[u64]>,
}

impl Logs {
    /// For `keys` keys, or as many as fit 256 MiB.
    pub(crate) fn new(limit: u32, window: Duration, keys: usize) -> Self {
        let fit = BYTES_MAX / (8 * limit as usize);
        let sets = keys.min(fit).div_ceil(PLACES).max(1);
        let set = || {
            Mutex::new(Set {
                tags: [0; PLACES],
                rings: [(0, 0); PLACES],
                times: vec![0; PLACES * limit as usize].into(),
            })
        };
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        Self { limit, window, sets: (0..sets).map(|_| set()).collect() }
    }

    /// Bytes.
    pub(crate) fn size(&self) -> usize {
        self.sets.len() * (size_of::<Mutex<Set>>() + PLACES * 8 * self.limit as usize)
    }

    /// Keys with a unit in the window.
    pub(crate) fn live(&self, now: u64) -> usize {
        let in_set = |set: &Mutex<Set>| {
            let set = set.lock().unwrap_or_else(PoisonError::into_inner);
            let live = |place: &usize| {
                set.tags[*place] != 0
                    && set.latest(*place, self.limit).is_some_and(|time| time + self.window > now)
            };
            (0..PLACES).filter(live).count()
        };
        self.sets.iter().map(in_set).sum()
    }

    /// A call of `cost` units; `counts` is false to look only.
    pub(crate) fn call(&self, hash: u64, now: u64, cost: u32, counts: bool) -> Decision {
        let tag = hash.max(1);
        let mut set = self.set(tag);
        let place = match set.tags.iter().position(|known| *known == tag) {
            Some(place) => place,
            // What leaves nothing to remember puts nobody out.
            None if counts && (1..=self.limit).contains(&cost) => set.make_room(tag, self.limit),
            None => return self.decide(0, None, now, cost),
        };
        set.forget(place, self.limit, now.saturating_sub(self.window), now < self.window);
        let (count, _) = set.rings[place];
        // When as many have gone as stand in the way.
        let in_the_way = u64::from(count) + u64::from(cost);
        let nth = in_the_way.saturating_sub(u64::from(self.limit)).checked_sub(1);
        let free_at = nth
            .filter(|nth| *nth < u64::from(count))
            .map(|nth| set.time(place, nth as u32, self.limit) + self.window);
        let latest = set.latest(place, self.limit).map(|time| time + self.window);
        let mut decision = self.decide(count, free_at, now, cost);
        if decision.allowed && counts {
            for _ in 0..cost {
                set.push(place, self.limit, now);
            }
        }
        let reset_at = if decision.allowed && cost > 0 { Some(now + self.window) } else { latest };
        decision.reset = Duration::from_nanos(reset_at.map_or(0, |at| at.saturating_sub(now)));
        decision
    }

    /// Takes the last `cost` units back.
    pub(crate) fn undo(&self, hash: u64, cost: u32) {
        let tag = hash.max(1);
        let mut set = self.set(tag);
        if let Some(place) = set.tags.iter().position(|known| *known == tag) {
            let (count, _) = &mut set.rings[place];
            *count = count.saturating_sub(cost);
        }
    }

    fn set(&self, tag: u64) -> MutexGuard<'_, Set> {
        let at = ((u128::from(tag) * self.sets.len() as u128) >> 64) as usize;
        self.sets[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, count: u32, free_at: Option<u64>, now: u64, cost: u32) -> Decision {
        let allowed = u64::from(count) + u64::from(cost) <= u64::from(self.limit);
        let wait = || Duration::from_nanos(free_at.unwrap_or(now).saturating_sub(now));
        Decision {
            allowed,
            shadowed: false,
            limit: self.limit,
            remaining: if allowed { self.limit - count - cost } else { self.limit - count },
            reset: Duration::ZERO,
            retry_after: (!allowed && cost <= self.limit).then(wait),
            by: By::Store,
        }
    }
}

impl Set {
    fn time(&self, place: usize, nth: u32, limit: u32) -> u64 {
        let (_, first) = self.rings[place];
        self.times[place * limit as usize + ((first + nth) % limit) as usize]
    }

    fn latest(&self, place: usize, limit: u32) -> Option<u64> {
        let (count, _) = self.rings[place];
        count.checked_sub(1).map(|nth| self.time(place, nth, limit))
    }

    /// Drops what is at or before `until`; nothing is, before the first window is over.
    fn forget(&mut self, place: usize, limit: u32, until: u64, early: bool) {
        while !early && self.rings[place].0 > 0 && self.time(place, 0, limit) <= until {
            let (count, first) = &mut self.rings[place];
            (*count, *first) = (*count - 1, (*first + 1) % limit);
        }
    }

    fn push(&mut self, place: usize, limit: u32, now: u64) {
        let (count, first) = self.rings[place];
        self.times[place * limit as usize + ((first + count) % limit) as usize] = now;
        self.rings[place].0 = count + 1;
    }

    fn make_room(&mut self, tag: u64, limit: u32) -> usize {
        let silent = |place: &usize| self.latest(*place, limit).map_or(0, |time| time + 1);
        let place = (0..PLACES).min_by_key(silent).unwrap_or(0);
        (self.tags[place], self.rings[place]) = (tag, (0, 0));
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_puts_nobody_out() {
        let logs = Logs::new(2, Duration::from_secs(1), PLACES);
        for key in 1..=PLACES as u64 {
            assert!(logs.call(key, 0, 1, true).allowed);
        }
        assert!(logs.call(99, 0, 0, true).allowed && !logs.call(99, 0, 3, true).allowed);
        for key in 1..=PLACES as u64 {
            assert_eq!(logs.call(key, 0, 0, false).remaining, 1, "{key} was put out");
        }
    }
}
