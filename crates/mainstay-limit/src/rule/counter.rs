//! A sliding counter: the units of this fixed window, and those of the one before by the share of it that the
//! sliding window still covers. The word is which window, in 16 bits, and both counts, in 22 each. A key that
//! was silent for exactly 65,536 windows finds its old counts, and waits for a window longer than it must.
//!
//! The algorithm is Cloudflare's (2017, "How we built rate limiting capable of scaling to millions of domains").

use std::time::Duration;

use super::{Step, allowed, denied, nanos};

const COUNT: u64 = (1 << 22) - 1;
const WINDOW: u64 = (1 << 16) - 1;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter {
    limit: u32,
    window: u64,
    offset: u64,
    /// Bits that a window's length is too long by, for a product with a count to fit 64 bits.
    shift: u32,
}

/// The two counts, in the moment of a call.
struct Counts {
    window: u64,
    before: u64,
    current: u64,
    /// Of this window.
    left: u64,
}

impl Counter {
    pub(crate) fn new(limit: u32, window: Duration, wall: Duration) -> Self {
        let window = nanos(window);
        let shift = (64 - window.leading_zeros()).saturating_sub(41);
        Self { limit, window, offset: nanos(wall) % window, shift }
    }

    fn counts(&self, word: Option<u64>, now: u64) -> Counts {
        let time = now + self.offset;
        let (window, left) = ((time / self.window) & WINDOW, self.window - time % self.window);
        let (of, before, current) = match word {
            Some(word) => (word >> 44, (word >> 22) & COUNT, word & COUNT),
            None => (window, 0, 0),
        };
        match window.wrapping_sub(of) & WINDOW {
            0 => Counts { window, before, current, left },
            1 => Counts { window, before: current, current: 0, left },
            _ => Counts { window, before: 0, current: 0, left },
        }
    }

    /// The length of a window, and of what is left of one, in a unit that keeps products in 64 bits.
    fn scaled(&self, left: u64) -> (u64, u64) {
        (self.window >> self.shift, (left >> self.shift).min(self.window >> self.shift))
    }

    #[inline]
    pub(crate) fn call(&self, word: Option<u64>, now: u64, cost: u32) -> Step {
        let counts = self.counts(word, now);
        let (limit, cost) = (u64::from(self.limit), u64::from(cost));
        let (window, left) = self.scaled(counts.left);
        // How many the last window still counts for, in parts of a window.
        let past = counts.before * left;
        let sum = counts.current.saturating_add(cost);
        if sum <= limit && past + sum * window <= limit * window {
            let next = (counts.window << 44) | (counts.before << 22) | sum;
            let remaining = limit - sum - past.div_ceil(window);
            return allowed(next, self.limit, remaining, self.reset(&counts, sum));
        }
        let remaining = limit.saturating_sub(counts.current + past.div_ceil(window));
        let retry = (cost <= limit).then(|| self.retry(&counts, cost));
        denied(self.limit, remaining, self.reset(&counts, counts.current), retry)
    }

    fn reset(&self, counts: &Counts, current: u64) -> u64 {
        match (current, counts.before) {
            (0, 0) => 0,
            (0, _) => counts.left,
            _ => counts.left + self.window,
        }
    }

    /// Until the share of what was before has shrunk enough: within this window, or the next one.
    fn retry(&self, counts: &Counts, cost: u64) -> u64 {
        let limit = u64::from(self.limit);
        let shrunk = |count: u64, room: u64| {
            // Rounded down: then it is enough, to the nanosecond.
            (u128::from(room) * u128::from(self.window) / u128::from(count.max(1))) as u64
        };
        if let Some(room) = limit.checked_sub(counts.current + cost) {
            return counts.left - shrunk(counts.before, room).min(counts.left) + self.grain();
        }
        let share = shrunk(counts.current, limit - cost).min(self.window);
        counts.left + self.window - share + self.grain()
    }

    /// What the scaling may round away.
    fn grain(&self) -> u64 {
        (1 << self.shift) - 1
    }

    pub(crate) fn undo(&self, word: u64, then: u64, cost: u32) -> u64 {
        let window = ((then + self.offset) / self.window) & WINDOW;
        let shift = match (word >> 44).wrapping_sub(window) & WINDOW {
            0 => 0,
            1 => 22,
            _ => return word,
        };
        let count = (word >> shift) & COUNT;
        word - (count.min(u64::from(cost)) << shift)
    }

    pub(crate) fn worth(&self, word: u64, now: u64) -> u64 {
        let counts = self.counts(Some(word), now);
        counts.before + counts.current
    }
}
