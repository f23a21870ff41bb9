//! Where the primary was, and when: from that a replica's lag is told by one clock alone, and a write whose position was not
//! told is given one that surely covers it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::token::Position;

/// Samples kept: at one each 100 ms some 100 s.
const SAMPLES_MAX: usize = 1000;

#[derive(Default)]
pub(crate) struct Samples {
    /// Questions begun, of all servers.
    begun: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    history: VecDeque<(Instant, Position)>,
    /// The last question whose answer is the primary's, and that answer.
    last: Option<(u64, Position)>,
}

impl Samples {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question is being asked. Its number is larger than that of all before it.
    pub(crate) fn start(&self) -> u64 {
        self.begun.fetch_add(1, SeqCst) + 1
    }

    /// Of what was written by now, each question with a larger number has an answer that covers it.
    pub(crate) fn now(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    /// The primary's answer to question `number`.
    pub(crate) fn add(&self, number: u64, at: Instant, position: Position) {
        let mut known = self.known();
        if known.last.as_ref().is_none_or(|(last, _)| *last < number) {
            known.last = Some((number, position.clone()));
        }
        if known.history.back().is_some_and(|(_, last)| *last == position) {
            return;
        }
        if known.history.len() >= SAMPLES_MAX {
            known.history.pop_front();
        }
        known.history.push_back((at, position));
    }

    /// A position that covers all that was written before question `after` ended, if there is one by now.
    pub(crate) fn since(&self, after: u64) -> Option<Position> {
        let known = self.known();
        known
            .last
            .as_ref()
            .filter(|(number, _)| *number > after)
            .map(|(_, position)| position.clone())
    }

    /// How long ago the primary was first seen ahead of `position`.
    pub(crate) fn lag(&self, position: &Position, now: Instant) -> Option<Duration> {
        let known = self.known();
        known.history.back()?;
        let ahead = known.history.partition_point(|(_, sample)| position.covers(sample));
        let ahead = known.history.get(ahead);
        Some(ahead.map_or(Duration::ZERO, |(at, _)| now.saturating_duration_since(*at)))
    }

    /// Another server is the primary now: what the old one said is of no use.
    pub(crate) fn forget(&self) {
        *self.known() = Known::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mainstay_core::clock::Clock;

    #[test]
    fn lag_is_how_long_the_primary_was_ahead() {
        let (clock, hand) = Clock::manual();
        let samples = Samples::default();
        let first = clock.now();
        assert_eq!(samples.lag(&Position::Lsn(1), first), None);
        for lsn in [10, 20, 20, 30] {
            samples.add(samples.start(), clock.now(), Position::Lsn(lsn));
            hand.advance(Duration::from_secs(1));
        }
        let lag = |lsn| samples.lag(&Position::Lsn(lsn), clock.now()).unwrap().as_secs();
        assert_eq!((lag(30), lag(25), lag(10), lag(5)), (0, 1, 3, 4));
    }

    #[test]
    fn only_a_question_asked_later_covers_a_write() {
        let samples = Samples::default();
        let now = Clock::system().now();
        let early = samples.start();
        let wrote = samples.now();
        samples.add(early, now, Position::Lsn(5));
        assert_eq!(samples.since(wrote), None);
        samples.add(samples.start(), now, Position::Lsn(9));
        assert_eq!(samples.since(wrote), Some(Position::Lsn(9)));
    }
}
