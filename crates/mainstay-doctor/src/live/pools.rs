//! Whether a pool is too small or too large, by Little's law: what is in use on average is how many come in
//! a second, times how long each stays. What would be in use if nobody had to wait is the same with the
//! wait added.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use mainstay_core::observe::SqlId;
use mainstay_core::{Code, Place};

use super::ring::Held;
use crate::finding::{Cost, Finding, Severity};

/// Of so many gauges of a window, half with somebody waiting make it too small.
const GAUGES_MIN: usize = 2;
/// Windows in which a pool was never used by more than a quarter, for it to be too large.
const QUIET_WINDOWS: usize = 30;
/// A smaller one costs nothing to speak of.
const LARGE_MIN: usize = 8;

/// How a pool stood at a moment.
pub(super) struct Gauge {
    pub(super) pool: usize,
    pub(super) name: String,
    pub(super) max_size: usize,
    pub(super) in_use: usize,
    pub(super) waiting: usize,
}

/// A window of one pool.
#[derive(Default)]
struct Window {
    began: Option<SystemTime>,
    gauges: usize,
    crowded: usize,
    peak: usize,
    max_size: usize,
    count: u64,
    held: Duration,
    wait: Duration,
    /// How long each place had connections.
    by_place: HashMap<Place, (u64, Duration)>,
    /// Windows before it in which little was used, and the most that was.
    quiet: usize,
    quiet_peak: usize,
}

/// By handle and name: SQLite's readers and writer are two of one handle.
pub(super) struct Pools {
    length: Duration,
    windows: HashMap<(usize, SqlId), Window>,
    /// Checkouts since the last gauge of their pool.
    waiting: HashMap<(usize, SqlId), Vec<Stay>>,
}

/// Where a checkout was asked for, how long it waited and how long it stayed.
type Stay = (Place, Duration, Duration);

/// Checkouts of a window that are kept one by one.
const CHECKOUTS_MAX: usize = 100_000;

impl Pools {
    pub(super) fn new(length: Duration) -> Self {
        Self { length, windows: HashMap::new(), waiting: HashMap::new() }
    }

    pub(super) fn held(&mut self, held: &Held) {
        let all = self.waiting.entry((held.pool, held.name)).or_default();
        if all.len() < CHECKOUTS_MAX {
            let stayed = if held.had { held.time } else { Duration::ZERO };
            all.push((held.place, held.wait, stayed));
        }
    }

    /// One more gauge; a finding at the end of a window.
    pub(super) fn gauge(&mut self, gauge: &Gauge, now: SystemTime) -> Option<Finding> {
        let key = (gauge.pool, SqlId::of(&gauge.name));
        let checkouts = self.waiting.remove(&key).unwrap_or_default();
        let window = self.windows.entry(key).or_default();
        let Some(began) = window.began else {
            // How long the checkouts before the first gauge took to come is not known.
            window.began = Some(now);
            return None;
        };
        window.gauges += 1;
        window.crowded += usize::from(gauge.waiting > 0);
        window.peak = window.peak.max(gauge.in_use);
        window.max_size = gauge.max_size;
        for (place, wait, held) in checkouts {
            window.count += 1;
            window.wait += wait;
            window.held += held;
            let by = window.by_place.entry(place).or_default();
            *by = (by.0 + 1, by.1 + held);
        }
        let length = now.duration_since(began).unwrap_or_default();
        if length < self.length {
            return None;
        }
        let done = std::mem::take(window);
        // The next one has all that comes from here on, up to its own end: or the rate would be too high.
        window.began = Some(now);
        let calm = done.crowded == 0 && done.peak * 4 <= done.max_size && done.count > 0;
        if calm {
            window.quiet = done.quiet + 1;
            window.quiet_peak = done.quiet_peak.max(done.peak);
        }
        let mut out = if done.gauges >= GAUGES_MIN && done.crowded * 2 >= done.gauges {
            too_small(&gauge.name, &done, length)?
        } else if calm && done.max_size >= LARGE_MIN && window.quiet >= QUIET_WINDOWS {
            too_large(&gauge.name, &done, window)
        } else {
            return None;
        };
        (out.first_seen, out.last_seen) = (began, now);
        Some(out)
    }
}

fn finding(code: Code, severity: Severity) -> Finding {
    Finding {
        code,
        severity,
        what: String::new(),
        scope: None,
        place: None,
        evidence: Vec::new(),
        fix: String::new(),
        cost: Cost::default(),
        first_seen: SystemTime::UNIX_EPOCH,
        last_seen: SystemTime::UNIX_EPOCH,
        count: 1,
    }
}

fn too_small(pool: &str, window: &Window, length: Duration) -> Option<Finding> {
    let n = u32::try_from(window.count).ok().filter(|n| *n > 0)?;
    let rate = f64::from(n) / length.as_secs_f64();
    let (held, wait) = (window.held / n, window.wait / n);
    let needed = (rate * (held + wait).as_secs_f64()).ceil() as usize;
    let mut out = finding(Code::DoctorPoolSmall, Severity::Warning);
    out.what = format!("pool `{pool}` of {} is too small for what is asked of it", window.max_size);
    out.evidence.push(format!(
        "{rate:.1} checkouts a second, each held for {held:.1?} after a wait of {wait:.1?}"
    ));
    out.evidence.push(format!(
        "Little's law: {rate:.1}/s x ({held:.1?} + {wait:.1?}) = {needed} connections, {} there",
        window.max_size
    ));
    let most = window.by_place.iter().max_by_key(|(_, (_, held))| *held);
    if let Some((place, (count, held))) = most {
        out.place = Some(place.to_string());
        let share = held.as_secs_f64() * 100.0 / window.held.as_secs_f64().max(f64::EPSILON);
        out.evidence
            .push(format!("{share:.0} % of the time they were held at {place}, {count} times"));
    }
    let size = needed.max(window.max_size + 1);
    out.fix = format!(
        "hold connections for less time at the place named, or set pool.max_size = {size}, as far as the server allows"
    );
    out.cost = Cost { round_trips: 0, pool_time: window.wait };
    Some(out)
}

fn too_large(pool: &str, done: &Window, window: &Window) -> Finding {
    let peak = window.quiet_peak.max(1);
    let mut out = finding(Code::DoctorPoolLarge, Severity::Hint);
    out.what = format!("pool `{pool}` of {} was never used by more than {peak}", done.max_size);
    out.evidence.push(format!("in {} windows, without anybody waiting", window.quiet));
    out.fix = format!("set pool.max_size = {}: twice what was used", (peak * 2).max(2));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(max_size: usize, in_use: usize, waiting: usize, seconds: u64) -> Option<Finding> {
        let mut pools = Pools::new(Duration::from_secs(10));
        let mut out = None;
        for second in 0..=seconds {
            for _ in 0..20 {
                let (wait, held) = (
                    Duration::from_millis(if waiting > 0 { 400 } else { 0 }),
                    Duration::from_millis(100),
                );
                let (name, place) = (SqlId::of("main"), Place::here());
                pools.held(&Held { pool: 0, name, place, wait, time: held, had: true });
            }
            let gauge = Gauge { pool: 0, name: "main".into(), max_size, in_use, waiting };
            out = pools.gauge(&gauge, SystemTime::UNIX_EPOCH + Duration::from_secs(second)).or(out);
        }
        out
    }

    #[test]
    fn a_pool_where_many_wait_is_too_small_by_what_little_says() {
        let found = run(2, 2, 8, 10).unwrap();
        assert_eq!(found.code, Code::DoctorPoolSmall);
        // 20 a second, half a second each.
        assert!(found.evidence[0].starts_with("20.0 checkouts a second"), "{found}");
        assert!(found.fix.contains("max_size = 10"), "{found}");
        assert!(found.place.as_deref().is_some_and(|p| p.contains("pools.rs:")), "{found}");
    }

    /// SQLite's readers and its writer are two pools of one handle.
    #[test]
    fn a_checkout_counts_for_its_own_pool() {
        let mut pools = Pools::new(Duration::from_secs(2));
        let mut told = Vec::new();
        for second in 0..=4 {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            let (name, place) = (SqlId::of("main"), Place::here());
            let (wait, time) = (Duration::from_millis(400), Duration::from_millis(100));
            pools.held(&Held { pool: 0, name, place, wait, time, had: true });
            for name in ["main.writer", "main"] {
                let gauge =
                    Gauge { pool: 0, name: name.into(), max_size: 1, in_use: 1, waiting: 1 };
                told.extend(pools.gauge(&gauge, now));
            }
        }
        let said: Vec<&str> = told.iter().map(|f| f.what.as_str()).collect();
        assert!(
            !said.is_empty() && said.iter().all(|s| s.starts_with("pool `main` of 1")),
            "{said:?}"
        );
    }

    #[test]
    fn a_pool_that_is_hardly_used_is_too_large_after_a_while() {
        assert!(run(40, 3, 0, 60).is_none());
        let found = run(40, 3, 0, 330).unwrap();
        assert_eq!(found.code, Code::DoctorPoolLarge);
        assert!(found.fix.contains("max_size = 6"), "{found}");
        assert!(run(40, 15, 0, 330).is_none() && run(4, 1, 0, 330).is_none());
    }
}
