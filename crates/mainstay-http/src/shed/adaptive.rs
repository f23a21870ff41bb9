//! How much at once is neither too little nor too much, learnt from how long the work takes: the
//! gradient of Netflix's concurrency-limits. It counts nothing that is under way itself.

use std::time::Duration;

/// How much the limit follows one sample.
const SMOOTHING: f64 = 0.2;
/// How much longer than usual the work may take before the limit falls.
const TOLERANCE: f64 = 1.5;
/// How many samples the usual time remembers.
const MEMORY: f64 = 600.0;
/// How much the time of now remembers.
const RECENT: f64 = 10.0;
/// What is left of the limit after a failure from too much load.
const BACKOFF: f64 = 0.9;

/// How a piece of work ended, as the limit sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sample {
    /// It was done, in this time.
    Took(Duration),
    /// It was refused or took too long: there was too much.
    Overload,
    /// It says nothing about load.
    Nothing,
}

#[derive(Clone, Debug)]
pub(crate) struct Adaptive {
    min: f64,
    max: f64,
    limit: f64,
    /// In seconds; zero before the first sample.
    usual: f64,
    now: f64,
}

impl Adaptive {
    /// From `min` (at least 1) to `max` (at least `min`), beginning at `start` within them.
    pub(crate) fn new(min: usize, max: usize, start: usize) -> Self {
        let min = min.max(1);
        let max = max.max(min);
        let limit = start.clamp(min, max) as f64;
        Self { min: min as f64, max: max as f64, limit, usual: 0.0, now: 0.0 }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// How long the work usually takes; zero while nothing is known.
    #[cfg(feature = "client")]
    pub(crate) fn usual(&self) -> Duration {
        Duration::from_secs_f64(self.usual)
    }

    pub(crate) fn max(&self) -> usize {
        self.max as usize
    }

    /// Learns from work that ended while `in_flight` were under way, itself among them.
    pub(crate) fn learn(&mut self, sample: Sample, in_flight: usize) {
        let limit = match sample {
            Sample::Nothing => return,
            Sample::Overload => self.limit * BACKOFF,
            Sample::Took(time) => {
                self.note(time.as_secs_f64().max(1e-6));
                // A limit that is not reached was not tried: nothing is known of it.
                if in_flight as f64 * 2.0 < self.limit {
                    return;
                }
                let gradient = (TOLERANCE * self.usual / self.now).clamp(0.5, 1.0);
                let room = self.limit.sqrt();
                self.limit * (1.0 - SMOOTHING) + (self.limit * gradient + room) * SMOOTHING
            }
        };
        self.limit = limit.clamp(self.min, self.max);
    }

    fn note(&mut self, time: f64) {
        if self.usual == 0.0 {
            (self.usual, self.now) = (time, time);
            return;
        }
        self.now += (time - self.now) / RECENT;
        self.usual += (time - self.usual) / MEMORY;
        // What was learnt under load is forgotten as soon as the load is gone.
        if self.usual > 2.0 * self.now {
            self.usual *= 0.95;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A server that does `capacity` at once in 10 ms each, and makes the rest wait.
    fn settled(limit: &mut Adaptive, capacity: usize, rounds: usize) -> usize {
        for _ in 0..rounds {
            let under_way = limit.limit();
            let time = 10 * MS * u32::try_from(under_way.div_ceil(capacity)).unwrap();
            limit.learn(Sample::Took(time), under_way);
        }
        limit.limit()
    }

    #[test]
    fn it_grows_while_the_work_stays_quick_and_falls_when_it_waits() {
        let mut limit = Adaptive::new(4, 1000, 20);
        let high = settled(&mut limit, 400, 200);
        assert!(high > 200, "{high}");
        let low = settled(&mut limit, 20, 100);
        assert!(low < high / 2, "{low} after {high}");
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let mut limit = Adaptive::new(4, 50, 20);
        assert_eq!(settled(&mut limit, 10_000, 500), 50);
        (0..100).for_each(|_| limit.learn(Sample::Overload, 50));
        assert_eq!(limit.limit(), 4);
        assert_eq!(Adaptive::new(0, 0, 9).limit(), 1);
    }

    #[test]
    fn what_was_not_tried_teaches_nothing() {
        let mut limit = Adaptive::new(4, 1000, 20);
        (0..100).for_each(|_| limit.learn(Sample::Took(MS), 1));
        limit.learn(Sample::Nothing, 20);
        assert_eq!(limit.limit(), 20);
    }
}
