//! Brownouts: a version is switched off for minutes, as announced, so that whoever still uses it
//! notices before its sunset. It ends by itself when the service's errors rise.
//!
//! Each process watches its own answers: what one of them aborts goes on in the others.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mainstay_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use super::when::Moment;

/// A share in thousandths.
const WHOLE: u64 = 1000;
/// Answers after which the past counts for half.
const MEMORY: u64 = 4096;

/// A time in which a version is switched off, or a share of its requests is: 503 with Retry-After.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brownout {
    /// Its first second.
    pub from: String,
    /// When it is over.
    pub until: String,
    /// Which share of requests is refused: above 0, at most 1, exact to a thousandth. Default 1.
    #[serde(default = "all")]
    pub share: f64,
}

fn all() -> f64 {
    1.0
}

impl Brownout {
    /// Of all requests.
    pub fn new(from: impl Into<String>, until: impl Into<String>) -> Self {
        Self { from: from.into(), until: until.into(), share: all() }
    }

    /// Of a share of them.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }
}

/// A brownout whose dates have been checked, and how it goes.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) from: Moment,
    pub(super) until: Moment,
    share: u64,
    aborted: AtomicBool,
    asked: AtomicU64,
    answers: Answers,
}

impl Window {
    pub(super) fn new(brownout: &Brownout) -> Result<Self> {
        let (from, until) = (Moment::parse(&brownout.from)?, Moment::parse(&brownout.until)?);
        let wrong = |what: String| Err(Error::new(Code::HttpOption, what));
        if until <= from {
            return wrong(format!("a brownout ends at {} before it begins", brownout.until));
        }
        let share = (brownout.share * WHOLE as f64).round();
        if !(1.0..=WHOLE as f64).contains(&share) {
            return wrong(format!(
                "a brownout of the share {} refuses none or too many",
                brownout.share
            ));
        }
        Ok(Self {
            from,
            until,
            share: share as u64,
            aborted: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            answers: Answers::default(),
        })
    }

    pub(super) fn is_on(&self, now: Moment) -> bool {
        (self.from..self.until).contains(&now) && !self.is_aborted()
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }

    /// Whether the next request is among those refused; they are spread evenly.
    pub(super) fn refuses(&self) -> bool {
        let before = self.asked.fetch_add(1, Ordering::Relaxed) * self.share;
        (before + self.share) / WHOLE > before / WHOLE
    }

    /// Whether it was on until now.
    pub(super) fn abort(&self) -> bool {
        !self.aborted.swap(true, Ordering::Relaxed)
    }
}

/// How many answers there were, and how many of them were errors.
#[derive(Debug, Default)]
struct Answers {
    total: AtomicU64,
    errors: AtomicU64,
}

impl Answers {
    fn add(&self, error: bool) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if error {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Two threads may both halve: the share stays.
    fn fade(&self) {
        if self.total.load(Ordering::Relaxed) > MEMORY {
            for count in [&self.total, &self.errors] {
                count.store(count.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
        }
    }

    fn share(&self, min: u64) -> Option<f64> {
        let total = self.total.load(Ordering::Relaxed);
        (total >= min).then(|| self.errors.load(Ordering::Relaxed) as f64 / total.max(1) as f64)
    }
}

/// When errors have risen so far that a brownout ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rise {
    /// By how much of all answers the share of errors is above what it was outside of brownouts: 0 to
    /// 1. Default 0.05.
    pub share: f64,
    /// Of how many answers within the brownout, at least. Default 20.
    pub answers: u64,
}

impl Default for Rise {
    fn default() -> Self {
        Self { share: 0.05, answers: 20 }
    }
}

/// Watches the answers of the whole service, of every version.
#[derive(Debug, Default)]
pub(super) struct Watch {
    rise: Rise,
    usual: Answers,
}

impl Watch {
    pub(super) fn new(rise: Rise) -> Result<Self> {
        if rise.share.is_finite() && (0.0..=1.0).contains(&rise.share) && rise.answers > 0 {
            return Ok(Self { rise, usual: Answers::default() });
        }
        let what = format!("errors can't rise by {} of {} answers", rise.share, rise.answers);
        Err(Error::new(Code::HttpOption, what))
    }

    /// Takes note of an answer. What it gives back, in per cent, is the share of errors before and now,
    /// where this answer ended the brownouts that are on.
    pub(super) fn note<'a>(
        &self,
        error: bool,
        on: impl Iterator<Item = &'a Window>,
    ) -> Option<(f64, f64)> {
        let (mut any, mut ended) = (false, None);
        for window in on {
            any = true;
            window.answers.add(error);
            let usual = self.usual.share(1).unwrap_or(0.0);
            if let Some(now) = window.answers.share(self.rise.answers)
                && now > usual + self.rise.share
                && window.abort()
            {
                ended = Some((usual * 100.0, now * 100.0));
            }
        }
        if !any {
            self.usual.add(error);
            self.usual.fade();
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(share: f64) -> Result<Window> {
        Window::new(&Brownout::new("2026-01-01", "2026-01-02").share(share))
    }

    #[test]
    fn a_share_is_spread_evenly() {
        for (share, refused) in [(1.0, 1000), (0.25, 250), (0.001, 1), (0.333, 333)] {
            let window = window(share).unwrap();
            assert_eq!((0..1000).filter(|_| window.refuses()).count(), refused);
        }
        let quarter = window(0.25).unwrap();
        let first: Vec<_> = (0..8).map(|_| quarter.refuses()).collect();
        assert_eq!(first, [false, false, false, true, false, false, false, true]);
    }

    #[test]
    fn shares_out_of_bounds_are_refused() {
        for share in [0.0, -1.0, 1.001, f64::NAN, f64::INFINITY, 0.0004] {
            assert!(window(share).is_err(), "{share}");
        }
    }

    #[test]
    fn what_counts_is_the_rise_over_what_is_usual() {
        let watch = Watch::new(Rise { share: 0.05, answers: 10 }).unwrap();
        for n in 0..10_000 {
            watch.note(n % 10 == 0, std::iter::empty());
        }
        let steady = window(1.0).unwrap();
        for n in 0..1000 {
            assert_eq!(watch.note(n % 10 == 9, std::iter::once(&steady)), None, "as ever");
        }
        assert!(!steady.is_aborted());
        let worse = window(1.0).unwrap();
        let ended: Vec<_> =
            (0..100).filter_map(|n| watch.note(n % 2 == 0, std::iter::once(&worse))).collect();
        assert_eq!(ended.len(), 1, "told once");
        assert!(ended[0].0 < 11.0 && ended[0].1 >= 50.0, "{ended:?}");
    }
}
