//! Cleaning by the way: the more keys come, the more are removed, and never many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};

use mainstay_core::clock::Clock;
use mainstay_db::Db;

use super::table;

/// Keys that are stored between two cleanings, each of which removes up to 500.
const KEYS: u32 = 100;
/// Between two cleanings where fewer come.
const EVERY_NS: i64 = 60_000_000_000;

/// When this process cleans next.
pub(super) struct Sweep {
    keys: AtomicU32,
    due_ns: AtomicI64,
    running: AtomicBool,
}

impl Sweep {
    pub(super) fn new(clock: &Clock) -> Self {
        let due_ns = clock.coarse().nanos().saturating_add(EVERY_NS);
        Self { keys: AtomicU32::new(0), due_ns: due_ns.into(), running: AtomicBool::new(false) }
    }

    /// A key was stored.
    pub(super) fn by_the_way(self: &Arc<Self>, db: &Db, clock: &Clock) {
        let now = clock.coarse().nanos();
        let enough = self.keys.fetch_add(1, Relaxed) + 1 >= KEYS;
        if (!enough && now < self.due_ns.load(Relaxed)) || self.running.swap(true, Relaxed) {
            return;
        }
        self.keys.store(0, Relaxed);
        self.due_ns.store(now.saturating_add(EVERY_NS), Relaxed);
        let running = Running(Arc::clone(self));
        let db = db.clone();
        // Nobody waits for it, and no request's deadline ends it.
        tokio::spawn(async move {
            if let Err(error) = table::clean(&db).await {
                tracing::debug!(code = %error.code(), "idempotency keys were not cleaned: {error}");
            }
            drop(running);
        });
    }
}

/// Until dropped, however it ends.
struct Running(Arc<Sweep>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, Relaxed);
    }
}
