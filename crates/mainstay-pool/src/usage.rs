//! What is counted about a pool's use, for advice and for people: totals over the last five to ten
//! minutes, in fixed memory. Nothing here is touched when a connection is had without a wait.

use mainstay_core::clock::Tick;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::manage::Manage;
use crate::shared::Shared;
use mainstay_core::once::Pairs;

/// A window is as long as this, and as the one before it.
const WINDOW: Duration = Duration::from_mins(5);
/// Longer waits are counted as this long.
const WAIT_MAX_US: u64 = 600_000_000;

/// What happened to a pool since a moment five to ten minutes ago, or since it was made.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// How long ago that was.
    pub window: Duration,
    /// Connections handed out and come back, or still out.
    pub uses: u64,
    /// The time for which they were held, all together.
    pub held: Duration,
    /// How many of them had to be waited for.
    pub waited: u64,
    /// Half of those waited for less.
    pub wait_p50: Duration,
    /// Of a hundred, 99 waited for less.
    pub wait_p99: Duration,
    /// The longest wait.
    pub wait_max: Duration,
    /// Callers that got POOL-002.
    pub timeouts: u64,
    /// Callers that got POOL-005 or POOL-006.
    pub shed: u64,
    /// Connections opened.
    pub opened: u64,
    /// How long the slowest took.
    pub open_max: Duration,
    /// The most that were open at the same time, since the pool was made.
    pub peak: usize,
}

impl Usage {
    /// How many connections were in use on average: throughput times the time each is held
    /// (Little's law, Operations Research 9(3), 1961).
    pub fn busy(&self) -> f64 {
        if self.window.is_zero() {
            return 0.0;
        }
        // The time is counted in the kernel's ticks: of a short window it may seem more than it was.
        (self.held.as_secs_f64() / self.window.as_secs_f64()).min(self.peak as f64)
    }

    /// Connections handed out a second.
    pub fn rate(&self) -> f64 {
        if self.window.is_zero() {
            return 0.0;
        }
        self.uses as f64 / self.window.as_secs_f64()
    }

    /// For how long one is held on average.
    pub fn mean_held(&self) -> Duration {
        self.held.checked_div(u32::try_from(self.uses).unwrap_or(u32::MAX)).unwrap_or_default()
    }
}

/// What only ever grows; a window is the difference of two.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    uses: u64,
    held: Duration,
    timeouts: u64,
    shed: u64,
    opened: u64,
}

/// The counters of a pool.
#[derive(Debug)]
pub(crate) struct Tallies {
    timeouts: AtomicU64,
    shed: AtomicU64,
    opened: AtomicU64,
    open_max_us: AtomicU64,
    peak: AtomicU64,
    windows: Mutex<Windows>,
    pub(crate) nested_told: Pairs,
}

#[derive(Debug)]
struct Windows {
    /// Where the window that is told of began, and the one after it.
    base: (Tick, Counted),
    next: (Tick, Counted),
    /// The waits in microseconds, of the window before this one and of this one.
    before: Histogram<u64>,
    now: Histogram<u64>,
}

impl Tallies {
    pub(crate) fn new(now: Tick) -> Self {
        let histogram = || Histogram::new_with_bounds(1, WAIT_MAX_US, 2).expect("sound bounds");
        Self {
            timeouts: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            open_max_us: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            windows: Mutex::new(Windows {
                base: (now, Counted::default()),
                next: (now, Counted::default()),
                before: histogram(),
                now: histogram(),
            }),
            nested_told: Pairs::default(),
        }
    }

    pub(crate) fn waited(&self, wait: Duration) {
        self.windows().now.saturating_record(micros(wait));
    }

    pub(crate) fn timed_out(&self) {
        self.timeouts.fetch_add(1, Relaxed);
    }

    pub(crate) fn shed(&self) {
        self.shed.fetch_add(1, Relaxed);
    }

    /// A connection was opened in `took`, and `open` are then.
    pub(crate) fn opened(&self, took: Duration, open: usize) {
        self.opened.fetch_add(1, Relaxed);
        self.open_max_us.fetch_max(micros(took), Relaxed);
        self.peak.fetch_max(open as u64, Relaxed);
    }

    /// Begins a new window if it is time.
    pub(crate) fn turn(&self, now: Tick, counted: impl FnOnce() -> Counted) {
        let mut windows = self.windows();
        if now.since(windows.next.0) < WINDOW {
            return;
        }
        windows.base = std::mem::replace(&mut windows.next, (now, counted()));
        let Windows { before, now, .. } = &mut *windows;
        std::mem::swap(before, now);
        now.reset();
        self.open_max_us.store(0, Relaxed);
    }

    fn windows(&self) -> std::sync::MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Manage> Shared<M> {
    /// The totals since the pool was made.
    pub(crate) fn counted(&self, now: Tick) -> Counted {
        let tallies = &self.tallies;
        let mut counted = Counted {
            timeouts: tallies.timeouts.load(Relaxed),
            shed: tallies.shed.load(Relaxed),
            opened: tallies.opened.load(Relaxed),
            ..Counted::default()
        };
        let used = self.hub.look().slots_used();
        for slot in 0..used {
            let cell = self.hub.slots.lock(slot);
            counted.uses += cell.uses;
            counted.held += cell.held;
            if let Some(holder) = &cell.holder {
                counted.uses += 1;
                counted.held += now.since(holder.since);
            }
        }
        counted
    }

    pub(crate) fn usage(&self) -> Usage {
        let now = self.exact();
        let counted = self.counted(now);
        let windows = self.tallies.windows();
        let (since, base) = windows.base;
        let mut waits = windows.before.clone();
        let _ = waits.add(&windows.now);
        drop(windows);
        let at = |quantile| Duration::from_micros(waits.value_at_quantile(quantile));
        Usage {
            window: now.since(since),
            uses: counted.uses.saturating_sub(base.uses),
            held: counted.held.saturating_sub(base.held),
            waited: waits.len(),
            wait_p50: at(0.5),
            wait_p99: at(0.99),
            wait_max: Duration::from_micros(if waits.is_empty() { 0 } else { waits.max() }),
            timeouts: counted.timeouts - base.timeouts,
            shed: counted.shed - base.shed,
            opened: counted.opened - base.opened,
            open_max: Duration::from_micros(self.tallies.open_max_us.load(Relaxed)),
            peak: self.tallies.peak.load(Relaxed) as usize,
        }
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}
