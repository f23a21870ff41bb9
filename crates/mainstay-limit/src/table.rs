//! Keys and their words, in memory that is fixed when the table is made.
//!
//! A set-associative table, as a processor's cache is: a key may be in the four places of either of two lines
//! of 64 bytes, and is known by 64 bits of a seeded hash, whatever its type. A call of a known key is one
//! compare-and-swap. A new key takes an empty place, or one whose word means nothing any more, or, where all
//! eight are in use, that of the key which loses least: so nothing is ever swept, grown or moved.
//!
//! Two keys with the same 64 bits would share a limit: among ten million keys that is one chance in 370,000.
//! Placing by the better of two choices: Azar, Broder, Karlin, Upfal, "Balanced Allocations" (1994).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::rule::{Kernel, Step, WORD};

const PLACES: usize = 4;
/// Of keys that come in at the same time.
const ENTRANCES: usize = 256;
/// A place that is being given to another key.
const MOVING: u64 = u64::MAX;

#[derive(Debug, Default)]
struct Place {
    /// The key's hash; 0 where nobody is.
    tag: AtomicU64,
    /// 60 bits of the algorithm's, and 4 that tell one tenant of the place from the next.
    word: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([Place; PLACES]);

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    lines: Box<[Line]>,
    /// One key comes in once: whoever brings it looks again behind the door.
    entrances: Box<[Mutex<()>]>,
}

/// A place that a new key may have.
struct Candidate<'t> {
    place: &'t Place,
    word: u64,
    /// What its key would lose.
    worth: u64,
    /// Places of its line whose words mean nothing.
    free: u32,
}

/// No place could be had: all are of keys that must stay.
#[derive(Debug)]
pub(crate) struct Full;

impl Table {
    /// For `keys` keys, at 24 bytes each.
    pub(crate) fn new(keys: usize) -> Self {
        // Two thirds full, hardly any key finds both of its lines taken.
        let lines = (keys.max(PLACES) * 3).div_ceil(2 * PLACES);
        Self {
            lines: (0..lines).map(|_| Line::default()).collect(),
            entrances: (0..ENTRANCES).map(|_| Mutex::default()).collect(),
        }
    }

    /// Bytes.
    pub(crate) fn size(&self) -> usize {
        size_of_val(&*self.lines) + size_of_val(&*self.entrances)
    }

    /// Keys whose words still mean something, at `now`. Looks at every place.
    pub(crate) fn live(&self, kernel: &Kernel, now: u64) -> usize {
        let places = self.lines.iter().flat_map(|line| &line.0);
        places
            .filter(|place| {
                let word = place.word.load(Ordering::Relaxed);
                place.tag.load(Ordering::Relaxed) != 0
                    && word != MOVING
                    && kernel.worth(word & WORD, now) != Some(0)
            })
            .count()
    }

    /// A call of `cost` units.
    #[inline]
    pub(crate) fn call(
        &self,
        kernel: &Kernel,
        hash: u64,
        now: u64,
        cost: u32,
    ) -> Result<Step, Full> {
        let tag = hash.max(1);
        self.known(tag, |word| kernel.call(Some(word), now, cost), |step| step.next)
            .map_or_else(|| self.come_in(kernel, tag, now, cost), Ok)
    }

    /// What a call would be told, uncounted.
    pub(crate) fn look(&self, kernel: &Kernel, hash: u64, now: u64, cost: u32) -> Step {
        let tag = hash.max(1);
        self.known(tag, |word| kernel.call(Some(word), now, cost), |_| None)
            .unwrap_or_else(|| kernel.call(None, now, cost))
    }

    /// The key's word, counted by `from` until now, is counted by `to` from now on.
    pub(crate) fn adopt(&self, from: &Kernel, to: &Kernel, hash: u64, now: u64) {
        self.known(hash.max(1), |word| to.adopt(from, word, now), |word| Some(*word));
    }

    /// Takes `cost` units back that were counted at `then`. A key that is not here any more has none.
    pub(crate) fn undo(&self, kernel: &Kernel, hash: u64, then: u64, cost: u32) {
        self.known(hash.max(1), |word| kernel.undo(word, then, cost), |word| Some(*word));
    }

    /// Replaces the word of a key that is here.
    #[inline]
    fn known<T>(
        &self,
        tag: u64,
        step: impl Fn(u64) -> T,
        next: impl Fn(&T) -> Option<u64>,
    ) -> Option<T> {
        loop {
            let place = self.find(tag)?;
            let full = place.word.load(Ordering::Acquire);
            // Read after the word: a tenant that came later has brought another word.
            if full == MOVING || place.tag.load(Ordering::Acquire) != tag {
                std::thread::yield_now();
                continue;
            }
            let done = step(full & WORD);
            let Some(word) = next(&done) else { return Some(done) };
            let new = full & !WORD | word & WORD;
            let swapped =
                place.word.compare_exchange(full, new, Ordering::AcqRel, Ordering::Relaxed);
            if swapped.is_ok() {
                return Some(done);
            }
        }
    }

    #[inline]
    fn find(&self, tag: u64) -> Option<&Place> {
        let (first, second) = self.lines_of(tag);
        let (first, second) = (&self.lines[first].0, &self.lines[second].0);
        // Asked for before the other is looked at: if both are far, they are fetched at once.
        let ahead = second[0].tag.load(Ordering::Acquire);
        let is_here = |place: &&Place| place.tag.load(Ordering::Acquire) == tag;
        if let Some(place) = first.iter().find(is_here) {
            return Some(place);
        }
        if ahead == tag { Some(&second[0]) } else { second[1..].iter().find(is_here) }
    }

    #[inline]
    fn lines_of(&self, tag: u64) -> (usize, usize) {
        let count = self.lines.len() as u128;
        let line = |bits: u64| ((u128::from(bits) * count) >> 64) as usize;
        (line(tag), line(tag.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)))
    }

    #[cold]
    fn come_in(&self, kernel: &Kernel, tag: u64, now: u64, cost: u32) -> Result<Step, Full> {
        let entrance = &self.entrances[tag as usize % ENTRANCES];
        let _door = entrance.lock().unwrap_or_else(PoisonError::into_inner);
        let again = self.known(tag, |word| kernel.call(Some(word), now, cost), |step| step.next);
        if let Some(step) = again {
            return Ok(step);
        }
        let step = kernel.call(None, now, cost);
        // One that costs nothing, or more than its limit, leaves nothing to remember.
        let Some(word) = step.next else { return Ok(step) };
        let (place, old) = self.make_room(kernel, tag, now)?;
        place.tag.store(tag, Ordering::Release);
        let tenant = old.wrapping_add(WORD + 1) & !WORD;
        // All ones would mean that it is still being moved in.
        let tenant = if tenant | (word & WORD) == MOVING { 0 } else { tenant };
        place.word.store(tenant | word & WORD, Ordering::Release);
        Ok(step)
    }

    /// A place that is marked as being moved, and the word it had.
    fn make_room(&self, kernel: &Kernel, tag: u64, now: u64) -> Result<(&Place, u64), Full> {
        let (first, second) = self.lines_of(tag);
        loop {
            let (one, two) = (self.survey(kernel, first, now), self.survey(kernel, second, now));
            let best = match (one, two) {
                // The line with more room, so that both fill evenly; else who loses least.
                (Some(one), Some(two)) if (two.free, one.worth) > (one.free, two.worth) => {
                    Some(two)
                }
                (one, two) => one.or(two),
            };
            let Some(Candidate { place, word, .. }) = best else { return Err(Full) };
            let taken =
                place.word.compare_exchange(word, MOVING, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                return Ok((place, word));
            }
        }
    }
}

impl Table {
    /// The place of a line whose key loses least, and how many of its places mean nothing.
    fn survey(&self, kernel: &Kernel, line: usize, now: u64) -> Option<Candidate<'_>> {
        let mut best: Option<Candidate<'_>> = None;
        let mut free = 0;
        for place in &self.lines[line].0 {
            let word = place.word.load(Ordering::Acquire);
            if word == MOVING {
                continue;
            }
            let empty = place.tag.load(Ordering::Acquire) == 0;
            let worth = if empty { Some(0) } else { kernel.worth(word & WORD, now) };
            let Some(worth) = worth else { continue };
            free += u32::from(worth == 0);
            if best.as_ref().is_none_or(|best| worth < best.worth) {
                best = Some(Candidate { place, word, worth, free });
            }
        }
        best.map(|best| Candidate { free, ..best })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::Rule;

    fn fixed(limit: u32) -> Kernel {
        let rule = Rule::FixedWindow { limit, window: Duration::from_secs(1) };
        Kernel::of(rule, Duration::ZERO).unwrap()
    }

    fn spread(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ n.rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    #[test]
    fn hardly_a_key_is_lost_below_the_cap() {
        let (table, kernel) = (Table::new(100_000), fixed(1_000));
        for round in 1..=2 {
            for key in 0..100_000 {
                let step = table.call(&kernel, spread(key), 0, 1).unwrap();
                assert!(step.decision.allowed && step.decision.remaining >= 1_000 - round);
            }
        }
        let remembered = (0..100_000u64)
            .filter(|key| table.look(&kernel, spread(*key), 0, 0).decision.remaining == 998)
            .count();
        assert!(remembered > 99_900, "{remembered}");
        assert!(table.size() <= 24 * 100_000 + 64 * ENTRANCES, "{}", table.size());
    }

    #[test]
    fn whoever_counts_most_stays() {
        let (table, kernel) = (Table::new(1_000), fixed(100));
        for _ in 0..100 {
            assert!(table.call(&kernel, 7, 0, 1).unwrap().decision.allowed);
        }
        for key in 0..100_000 {
            table.call(&kernel, spread(key), 0, 1).unwrap();
        }
        assert!(!table.call(&kernel, 7, 0, 1).unwrap().decision.allowed, "it was forgotten");
    }

    #[test]
    fn who_must_stay_is_not_put_out() {
        let (table, kernel) =
            (Table::new(4), Kernel::of(Rule::Concurrency { max: 1 }, Duration::ZERO).unwrap());
        let held = (0..1_000).filter(|key| {
            table.call(&kernel, spread(*key), 0, 1).is_ok_and(|step| step.decision.allowed)
        });
        let held: Vec<u64> = held.collect();
        assert!(held.len() >= 4 && held.len() <= 8, "{}", held.len());
        for key in &held {
            assert!(!table.call(&kernel, spread(*key), 0, 1).unwrap().decision.allowed);
            table.undo(&kernel, spread(*key), 0, 1);
            assert!(table.call(&kernel, spread(*key), 0, 1).unwrap().decision.allowed);
        }
    }

    #[test]
    fn no_unit_is_given_twice_by_threads_that_come_in_together() {
        for round in 0..200 {
            let (table, kernel) = (Table::new(64), fixed(10));
            let allowed = AtomicU64::new(0);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..10 {
                            let step = table.call(&kernel, spread(round), 0, 1).unwrap();
                            allowed.fetch_add(u64::from(step.decision.allowed), Ordering::Relaxed);
                        }
                    });
                }
            });
            assert_eq!(allowed.into_inner(), 10);
        }
    }
}
