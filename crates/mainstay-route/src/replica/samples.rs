//! Where the primary was, and when: from that a replica's lag is told by one clock alone, and a write whose position was not
//! told is given one that surely covers it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_core::token::Position;

/// Samples kept: at one each 100 ms some 7 minutes.
const SAMPLES_MAX: u32 = 4096;

pub(crate) struct Samples {
    /// Questions begun, of all servers.
    begun: AtomicU64,
    /// Between two samples that are kept.
    every: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When the primary was first seen beyond the position before, and how far it came in the moment after: at most
    /// [`SAMPLES_MAX`], however often it is asked.
    history: VecDeque<(Instant, Position)>,
    /// The last question whose answer is the primary's, and that answer.
    last: Option<(u64, Position)>,
}

impl Samples {
    /// Samples of which two that are kept are `every` apart, or so far that they reach back for twice `lag_max`.
    pub(crate) fn new(every: Duration, lag_max: Duration) -> Self {
        let every = every.max(lag_max.saturating_mul(2) / SAMPLES_MAX);
        Self { begun: AtomicU64::new(0), every, known: Mutex::default() }
    }

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
        match known.history.back_mut() {
            Some((_, last)) if *last == position => {}
            // Each write has it asked. What came so soon after is told with it: a replica may be taken for that much
            // later than it is, never for earlier.
            Some((first, last)) if at.saturating_duration_since(*first) < self.every => {
                *last = position;
            }
            _ => {
                if known.history.len() >= SAMPLES_MAX as usize {
                    known.history.pop_front();
                }
                known.history.push_back((at, position));
            }
        }
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
        let samples = Samples::new(Duration::from_millis(100), Duration::from_secs(60));
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
    fn however_often_it_is_asked_it_reaches_back_beyond_what_is_too_late() {
        let (clock, hand) = Clock::manual();
        let (lag_max, write) = (Duration::from_secs(60), Duration::from_millis(5));
        let samples = Samples::new(Duration::from_millis(100), lag_max);
        // 200 writes a second for ten minutes.
        for lsn in 1..=120_000 {
            samples.add(samples.start(), clock.now(), Position::Lsn(lsn));
            hand.advance(write);
        }
        assert!(samples.known().history.len() <= SAMPLES_MAX as usize);
        let lag = |lsn| samples.lag(&Position::Lsn(lsn), clock.now()).unwrap();
        assert!(lag(0) > lag_max * 2, "{:?}", lag(0));
        assert_eq!(lag(120_000), Duration::ZERO);
        for lsn in [119_999, 119_000, 110_000] {
            let behind = write * u32::try_from(120_000 - lsn).unwrap();
            let told = lag(lsn);
            let most = behind + Duration::from_millis(100);
            assert!(told >= behind && told <= most, "{lsn}: {told:?}, not {behind:?}");
        }
    }

    #[test]
    fn only_a_question_asked_later_covers_a_write() {
        let samples = Samples::new(Duration::from_millis(100), Duration::from_secs(60));
        let now = Clock::system().now();
        let early = samples.start();
        let wrote = samples.now();
        samples.add(early, now, Position::Lsn(5));
        assert_eq!(samples.since(wrote), None);
        samples.add(samples.start(), now, Position::Lsn(9));
        assert_eq!(samples.since(wrote), Some(Position::Lsn(9)));
    }
}
