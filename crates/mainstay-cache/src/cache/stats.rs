//! What a cache counts of itself, for its inspection and, with the feature `metrics`, for the exporter:
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `mainstay.cache.requests` | counter | `cache.name`, `result`: hit, stale or miss |
//! | `mainstay.cache.load.duration` | histogram, s | `cache.name`, `outcome`: done or failed |
//! | `mainstay.cache.refused` | counter | `cache.name`: loads that came too late to be kept |
//! | `mainstay.cache.invalidations` | counter | `cache.name` |
//! | `mainstay.cache.errors` | counter | `cache.name`, `reason`: CACHE-001 or CACHE-002 |

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_core::inspect::{Fact, Health, Snapshot};

/// One number, which is exported where there is an exporter.
struct Count {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    exported: metrics::Counter,
}

impl Count {
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "nobody exports it"))]
    fn new(metric: &'static str, cache: &str, label: Option<(&'static str, &'static str)>) -> Self {
        Self {
            value: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            exported: metrics::counter!(metric, labels(cache, label)),
        }
    }

    fn add(&self) {
        self.value.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.exported.increment(1);
    }

    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

#[cfg(feature = "metrics")]
fn labels(cache: &str, label: Option<(&'static str, &'static str)>) -> Vec<metrics::Label> {
    let mut all = vec![metrics::Label::new("cache.name", cache.to_owned())];
    all.extend(label.map(|(name, value)| metrics::Label::from_static_parts(name, value)));
    all
}

/// The counts of one cache.
pub(super) struct Stats {
    hits: Count,
    stale: Count,
    misses: Count,
    loads: AtomicU64,
    failed: AtomicU64,
    load_ns: AtomicU64,
    refused: Count,
    invalidated: Count,
    store_errors: Count,
    corrupt: Count,
    /// Whether the store failed when it was last heard of.
    is_away: std::sync::atomic::AtomicBool,
    #[cfg(feature = "metrics")]
    durations: [metrics::Histogram; 2],
}

impl Stats {
    pub(super) fn new(cache: &str) -> Self {
        let request =
            |result| Count::new("mainstay.cache.requests", cache, Some(("result", result)));
        let error = |reason| Count::new("mainstay.cache.errors", cache, Some(("reason", reason)));
        Self {
            hits: request("hit"),
            stale: request("stale"),
            misses: request("miss"),
            loads: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            load_ns: AtomicU64::new(0),
            refused: Count::new("mainstay.cache.refused", cache, None),
            invalidated: Count::new("mainstay.cache.invalidations", cache, None),
            store_errors: error("CACHE-001"),
            corrupt: error("CACHE-002"),
            is_away: false.into(),
            #[cfg(feature = "metrics")]
            durations: ["done", "failed"].map(|outcome| {
                let labels = labels(cache, Some(("outcome", outcome)));
                metrics::histogram!("mainstay.cache.load.duration", labels)
            }),
        }
    }

    pub(super) fn hit(&self, is_stale: bool) {
        if is_stale {
            self.stale.add();
        } else {
            self.hits.add();
        }
    }

    pub(super) fn miss(&self) {
        self.misses.add();
    }

    pub(super) fn loaded(&self, took: Duration, is_done: bool) {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.load_ns.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
        if !is_done {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        #[cfg(feature = "metrics")]
        self.durations[usize::from(!is_done)].record(took);
    }

    /// The store answered.
    pub(super) fn answered(&self) {
        if self.is_away.load(Ordering::Relaxed) {
            self.is_away.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn refused(&self, is_refused: bool) {
        if is_refused {
            self.refused.add();
        }
    }

    pub(super) fn invalidated(&self) {
        self.invalidated.add();
    }

    pub(super) fn store_error(&self, is_corrupt: bool) {
        if is_corrupt {
            self.corrupt.add();
        } else {
            self.is_away.store(true, Ordering::Relaxed);
            self.store_errors.add();
        }
    }

    pub(super) fn snapshot(
        &self,
        cache: &str,
        place: &str,
        size: Option<(u64, u64)>,
        flights: usize,
    ) -> Snapshot {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let fact = |name, value: u64| Fact::count(name, value as usize);
        let (loads, hits) = (load(&self.loads), self.hits.get() + self.stale.get());
        let asked = hits + self.misses.get();
        let mean = Duration::from_nanos(load(&self.load_ns) / loads.max(1));
        let ratio = hits as f64 / asked.max(1) as f64;
        let mut out = Snapshot::new("cache", cache)
            .fact(fact("hits", self.hits.get()))
            .fact(fact("stale", self.stale.get()))
            .fact(fact("misses", self.misses.get()))
            .fact(Fact { name: "hit ratio", value: ratio, unit: "1" })
            .fact(fact("loads", loads))
            .fact(fact("failed loads", load(&self.failed)))
            .fact(Fact::seconds("mean load", mean))
            .fact(fact("refused", self.refused.get()))
            .fact(fact("invalidations", self.invalidated.get()))
            .fact(fact("store errors", self.store_errors.get()))
            .fact(fact("unreadable entries", self.corrupt.get()))
            .fact(Fact::count("loading", flights))
            .note(format!("kept in {place}"));
        if let Some((entries, bytes)) = size {
            let bytes = Fact { name: "size", value: bytes as f64, unit: "By" };
            out = out.fact(fact("entries", entries)).fact(bytes);
        }
        if self.is_away.load(Ordering::Relaxed) {
            out = out.health(Health::Degraded).note("the store did not answer when last asked");
        }
        out
    }
}
