//! Concurrency: the word is how many units are held at the moment.

use super::{Step, allowed, denied};

#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    max: u32,
}

impl InFlight {
    pub(crate) fn new(max: u32) -> Self {
        Self { max }
    }

    #[inline]
    pub(crate) fn call(self, word: Option<u64>, cost: u32) -> Step {
        let (held, max) = (word.unwrap_or(0), u64::from(self.max));
        let sum = held + u64::from(cost);
        if sum <= max {
            allowed(sum, self.max, max - sum, 0)
        } else {
            // When somebody is done, nobody knows.
            denied(self.max, max.saturating_sub(held), 0, None)
        }
    }

    pub(crate) fn undo(word: u64, cost: u32) -> u64 {
        word.saturating_sub(u64::from(cost))
    }
}
