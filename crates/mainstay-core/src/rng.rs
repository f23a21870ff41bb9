//! The one seam for randomness: jitter, backoff and choices come from here, and a test seeds it.
//!
//! Not for secrets: the generator is fast and predictable.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A source of random numbers, cheap to clone; the clones of a seeded one share its sequence.
///
/// ```
/// use mainstay_core::rng::Rng;
/// assert_eq!(Rng::seeded(7).u64(0..100), Rng::seeded(7).u64(0..100));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rng(Option<Arc<Mutex<fastrand::Rng>>>);

impl Rng {
    /// Seeded by the machine; each thread has a sequence of its own.
    pub fn system() -> Self {
        Self(None)
    }

    /// The same numbers at every run.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed)))))
    }

    /// A number of the range. Panics if it is empty.
    pub fn u64(&self, range: std::ops::Range<u64>) -> u64 {
        match &self.0 {
            None => fastrand::u64(range),
            Some(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).u64(range),
        }
    }

    /// A number in `[0, 1)`.
    pub fn f64(&self) -> f64 {
        match &self.0 {
            None => fastrand::f64(),
            Some(rng) => rng.lock().unwrap_or_else(PoisonError::into_inner).f64(),
        }
    }

    /// `base` less a random part of up to `fraction` of it (0 to 1), so that what began together
    /// does not end together.
    pub fn jittered(&self, base: Duration, fraction: f64) -> Duration {
        base.mul_f64(1.0 - self.f64() * fraction.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_fraction() {
        let rng = Rng::seeded(1);
        let base = Duration::from_secs(100);
        let drawn: Vec<_> = (0..1000).map(|_| rng.jittered(base, 0.25)).collect();
        assert!(drawn.iter().all(|d| (Duration::from_secs(75)..=base).contains(d)));
        assert!(drawn.iter().any(|d| *d < Duration::from_secs(80)));
    }
}
