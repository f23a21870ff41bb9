//! A fixed window: the word is which window, in 30 bits, and the units counted in it, in 30 more. A key that
//! was silent for exactly a billion windows finds its old count: at windows of a second, after 34 years.

use std::time::Duration;

use super::{Step, allowed, denied, nanos};

const MASK: u64 = (1 << 30) - 1;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fixed {
    limit: u32,
    window: u64,
    /// From the last turn of a window to the limiter's zero.
    offset: u64,
}

impl Fixed {
    pub(crate) fn new(limit: u32, window: Duration, wall: Duration) -> Self {
        let window = nanos(window);
        Self { limit, window, offset: nanos(wall) % window }
    }

    /// The number of the window, and how much of it is left.
    fn at(&self, now: u64) -> (u64, u64) {
        let time = now + self.offset;
        ((time / self.window) & MASK, self.window - time % self.window)
    }

    #[inline]
    pub(crate) fn call(&self, word: Option<u64>, now: u64, cost: u32) -> Step {
        let (window, left) = self.at(now);
        let count = word.filter(|word| word >> 30 == window).map_or(0, |word| word & MASK);
        let (limit, cost) = (u64::from(self.limit), u64::from(cost));
        let sum = count + cost;
        if sum <= limit {
            let reset = if sum == 0 { 0 } else { left };
            return allowed((window << 30) | sum, self.limit, limit - sum, reset);
        }
        let reset = if count == 0 { 0 } else { left };
        denied(self.limit, limit.saturating_sub(count), reset, (cost <= limit).then_some(left))
    }

    pub(crate) fn undo(&self, word: u64, then: u64, cost: u32) -> u64 {
        let (window, _) = self.at(then);
        if word >> 30 != window {
            return word;
        }
        (word & !MASK) | (word & MASK).saturating_sub(u64::from(cost))
    }

    pub(crate) fn worth(&self, word: u64, now: u64) -> u64 {
        let (window, _) = self.at(now);
        if word >> 30 == window { word & MASK } else { 0 }
    }
}
