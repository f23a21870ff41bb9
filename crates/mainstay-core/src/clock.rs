//! The one seam for time: what is asked here is answered by the machine, or by a test.
//!
//! It holds no timers of its own: waiting is tokio's, save under a manual clock.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

/// Tells the time and waits for it. Cheap to clone.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use mainstay_core::clock::Clock;
/// use std::time::Duration;
///
/// let (clock, hand) = Clock::manual();
/// let start = clock.now();
/// hand.advance(Duration::from_secs(60));
/// assert_eq!(clock.now() - start, Duration::from_secs(60));
/// # });
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<Manual>),
}

#[derive(Debug)]
struct Manual {
    base: Instant,
    wall_base: SystemTime,
    elapsed: Mutex<Duration>,
    moved: Notify,
}

/// Moves a [manual clock](Clock::manual).
#[derive(Clone, Debug)]
pub struct Hand(Arc<Manual>);

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until its [`Hand`] moves it.
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn manual() -> (Self, Hand) {
        let manual = Arc::new(Manual {
            base: Instant::now(),
            wall_base: SystemTime::UNIX_EPOCH,
            elapsed: Mutex::default(),
            moved: Notify::new(),
        });
        (Self(Source::Manual(Arc::clone(&manual))), Hand(manual))
    }

    /// A monotonic reading.
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::System => Instant::now(),
            Source::Manual(m) => m.base + m.elapsed(),
        }
    }

    /// A monotonic reading at a fraction of the cost of [`now`](Self::now), on Linux up to 10 ms
    /// behind it: for what is measured in seconds and happens millions of times in one.
    #[inline]
    pub fn coarse(&self) -> Tick {
        match &self.0 {
            Source::System => coarse(),
            Source::Manual(_) => self.now().into(),
        }
    }

    /// The time of day. A manual clock starts at the Unix epoch.
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Manual(m) => m.wall_base + m.elapsed(),
        }
    }

    /// Waits until `deadline`. Cancel safe: dropping it leaves nothing behind.
    pub async fn sleep_until(&self, deadline: Instant) {
        match &self.0 {
            Source::System => tokio::time::sleep_until(deadline.into()).await,
            Source::Manual(m) => loop {
                // Registered before the reading, so that a move between the two is not missed.
                let moved = m.moved.notified();
                if self.now() >= deadline {
                    return;
                }
                moved.await;
            },
        }
    }

    /// Waits for `duration`. Cancel safe.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Runs `work` until `deadline`; `None` if the deadline came first, and `work` is dropped then.
    pub async fn timeout_at<F: Future>(&self, deadline: Instant, work: F) -> Option<F::Output> {
        match &self.0 {
            Source::System => tokio::time::timeout_at(deadline.into(), work).await.ok(),
            Source::Manual(_) => {
                tokio::select! {
                    biased;
                    out = work => Some(out),
                    () = self.sleep_until(deadline) => None,
                }
            }
        }
    }

    /// As [`timeout_at`](Self::timeout_at), counted from now.
    pub async fn timeout<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        self.timeout_at(self.now() + limit, work).await
    }
}

/// A moment in nanoseconds from a fixed one: an [`Instant`] that is cheap to keep and compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(i64);

/// What ticks are counted from: an `Instant` can't be made of the kernel's numbers, only moved on.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
static ORIGIN: LazyLock<(Instant, i64)> = LazyLock::new(|| (Instant::now(), kernel_ns()));

impl Tick {
    /// The time from `earlier` to this; zero if it is not earlier.
    #[inline]
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The nanoseconds themselves.
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// From what [`nanos`](Self::nanos) gave.
    pub fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// As an instant.
    pub fn instant(self) -> Instant {
        let (origin, _) = *ORIGIN;
        let distance = Duration::from_nanos(self.0.unsigned_abs());
        let moved =
            if self.0 >= 0 { origin.checked_add(distance) } else { origin.checked_sub(distance) };
        // Only one from before the machine was started could be missing.
        moved.unwrap_or(origin)
    }
}

impl From<Instant> for Tick {
    fn from(instant: Instant) -> Self {
        let (origin, _) = *ORIGIN;
        let ns = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        match instant.checked_duration_since(origin) {
            Some(after) => Self(ns(after)),
            None => Self(-ns(origin.saturating_duration_since(instant))),
        }
    }
}

impl std::ops::Add<Duration> for Tick {
    type Output = Tick;

    fn add(self, d: Duration) -> Tick {
        Self(self.0.saturating_add(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// The kernel's clock, exactly.
#[cfg(target_os = "linux")]
fn kernel_ns() -> i64 {
    ns_of(rustix::time::ClockId::Monotonic)
}

#[cfg(target_os = "linux")]
#[inline]
fn ns_of(id: rustix::time::ClockId) -> i64 {
    let time = rustix::time::clock_gettime(id);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The kernel's own note of the time, taken at its last tick.
#[cfg(target_os = "linux")]
#[inline]
fn coarse() -> Tick {
    let (_, origin) = *ORIGIN;
    Tick(ns_of(rustix::time::ClockId::MonotonicCoarse) - origin)
}

#[cfg(not(target_os = "linux"))]
fn kernel_ns() -> i64 {
    0
}

#[cfg(not(target_os = "linux"))]
fn coarse() -> Tick {
    Clock::system().now().into()
}

impl Manual {
    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hand {
    /// Moves the clock forward and wakes whoever waited for less.
    pub fn advance(&self, by: Duration) {
        *self.0.elapsed.lock().unwrap_or_else(PoisonError::into_inner) += by;
        self.0.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_reading_is_never_far_behind() {
        let clock = Clock::system();
        for _ in 0..50 {
            let (before, coarse, after) = (clock.now(), clock.coarse(), clock.now());
            assert!(coarse.instant() <= after + Duration::from_micros(50), "it runs ahead");
            assert!(coarse.instant() + Duration::from_millis(50) > before, "it lags");
            std::thread::yield_now();
        }
        let earlier = clock.now().checked_sub(Duration::from_secs(3600)).unwrap();
        assert_eq!(Tick::from(earlier).instant(), earlier);
        assert_eq!(Tick::from(earlier + Duration::from_secs(2)).since(earlier.into()).as_secs(), 2);
    }

    #[tokio::test]
    async fn a_manual_sleep_ends_when_the_hand_passes_it() {
        let (clock, hand) = Clock::manual();
        let sleeper = clock.clone();
        let task = tokio::spawn(async move { sleeper.sleep(Duration::from_secs(5)).await });
        tokio::task::yield_now().await;
        hand.advance(Duration::from_secs(4));
        tokio::task::yield_now().await;
        assert!(!task.is_finished());
        hand.advance(Duration::from_secs(1));
        task.await.unwrap();
    }

    #[tokio::test]
    async fn a_manual_timeout_gives_up_at_its_deadline() {
        let (clock, hand) = Clock::manual();
        let waiting = clock.clone();
        let task = tokio::spawn(async move {
            waiting.timeout(Duration::from_secs(1), std::future::pending::<()>()).await
        });
        tokio::task::yield_now().await;
        hand.advance(Duration::from_secs(1));
        assert_eq!(task.await.unwrap(), None);
    }
}
