//! When a service that died is started again: at once at first, then later and later, and not for ever.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// Who lived that long died of something new.
const STEADY: Duration = Duration::from_secs(10);
/// So many deaths within `WITHIN` are the last.
pub(super) const DEATHS_MAX: usize = 10;
pub(super) const WITHIN: Duration = Duration::from_secs(60);

/// The deaths of one service.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    deaths: VecDeque<Instant>,
    pause: Duration,
}

impl Restarts {
    /// It lived from `born` until `now`: how long to wait before it is started again; `None` where that has
    /// no point any more.
    pub(super) fn died(&mut self, born: Instant, now: Instant) -> Option<Duration> {
        self.deaths.retain(|death| now.saturating_duration_since(*death) < WITHIN);
        self.deaths.push_back(now);
        if self.deaths.len() >= DEATHS_MAX {
            return None;
        }
        let lived = now.saturating_duration_since(born);
        self.pause = match self.pause {
            Duration::ZERO => FIRST,
            _ if lived >= STEADY => FIRST,
            pause => (pause * 2).min(LONGEST),
        };
        Some(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_dies_at_once_is_given_up_and_waits_longer_each_time() {
        let mut now = mainstay::clock::Clock::system().now();
        let begun = now;
        let mut restarts = Restarts::default();
        let mut pauses = Vec::new();
        while let Some(pause) = restarts.died(now, now) {
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert!(now - begun < WITHIN);
    }

    #[test]
    fn who_lives_for_a_while_is_started_at_once_for_ever() {
        let mut now = mainstay::clock::Clock::system().now();
        let mut restarts = Restarts::default();
        for _ in 0..100 {
            let born = now;
            now += SECOND * 11;
            assert_eq!(restarts.died(born, now), Some(FIRST));
        }
    }
}
