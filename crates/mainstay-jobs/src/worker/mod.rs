//! Workers: they claim jobs, run their handlers, and write down what became of them.
//!
//! ```text
//! ready --claim--> lease --slot--> handler --verdict--> completed | later | cancelled | dead
//!   ^  fetch.rs    gather.rs       slot.rs   verdict.rs  finish.rs
//!   |  relay.rs    pending.rs      watch.rs
//!   +--- lead/: due, scheduled, rescued
//! ```

pub(crate) mod builder;
pub(crate) mod call;
mod context;
mod fetch;
mod finish;
mod gather;
mod handler;
mod listen;
mod outcome;
mod pending;
pub(crate) mod queue;
mod relay;
mod slot;
mod start;
mod tend;
pub(crate) mod verdict;
mod watch;
pub(crate) mod work;

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::inspect::{Fact, Health, Inspect, Snapshot, Table};
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use tokio::task::{JoinHandle, JoinSet};

pub use builder::WorkerBuilder;
pub use context::Context;
pub use handler::{Batch, Info, Next};
pub use outcome::{IntoOutcome, Outcome};
pub use queue::Queue;
pub use verdict::Failure;

use crate::store::worker as store;
use crate::wake;
use work::Work;

/// The header of a message of somebody else's that has its id.
pub(crate) const MESSAGE_ID: &str = "mainstay-message-id";
/// How long the end of what ended is waited for to be written, when draining.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// A running worker. Dropped, it ends at once: what it ran is run again, by another worker or a later
/// one. [`drain`](Self::drain) ends it in order.
#[must_use = "dropped, it ends at once"]
pub struct Worker {
    work: Arc<Work>,
    /// Those that claim; they end by themselves once the worker stops.
    fetchers: JoinSet<()>,
    /// Those that a broker delivers to: they stay until what it delivered is settled.
    consumers: JoinSet<()>,
    slots: JoinSet<()>,
    finisher: Option<JoinHandle<()>>,
    ends: Option<tokio::sync::mpsc::Sender<finish::Ended>>,
    /// Leading, tending, listening.
    aside: JoinSet<()>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("id", &self.work.id()).finish_non_exhaustive()
    }
}

impl Worker {
    /// Begins to put a worker together. `state` is what its handlers are given, such as clients of other
    /// services.
    pub fn builder<S: Send + Sync + 'static>(db: &Db, state: S) -> WorkerBuilder<S> {
        WorkerBuilder::new(db, state)
    }

    /// Its number in the database, as `mainstay jobs stats` shows it.
    pub fn id(&self) -> i64 {
        self.work.id()
    }

    /// Jobs that run here at this moment.
    pub fn running(&self) -> usize {
        self.work.pending.counts().iter().map(|(_, running)| running).sum()
    }

    /// Waits until it was told to drain, by `mainstay jobs drain --worker`. Then call
    /// [`drain`](Self::drain).
    pub async fn told_to_drain(&self) {
        self.work.stopped().await;
    }

    /// Ends in order: begins nothing more, gives back what it has not begun, waits up to `limit` for what
    /// runs, and writes down its end. What still runs then is dropped and runs again elsewhere, without
    /// counting as an attempt.
    ///
    /// Cancel safe: dropped half-way, it ends as if the worker were dropped.
    ///
    /// Errors: JOB-013, naming what still ran.
    pub async fn drain(mut self, limit: Duration) -> Result<()> {
        let work = Arc::clone(&self.work);
        let ends = self.ends.take();
        work.stopping.send_replace(true);
        while self.fetchers.join_next().await.is_some() {}
        let rest = work.pending.close();
        if let Some(ends) = &ends {
            gather::give_back(ends, rest).await;
        }
        let finished = async { while self.slots.join_next().await.is_some() {} };
        let in_time = work.clock.timeout(limit, finished).await.is_some();
        let running = self.describe();
        self.slots.abort_all();
        while self.slots.join_next().await.is_some() {}
        drop(ends);
        if let Some(finisher) = &mut self.finisher {
            let _ = work.clock.timeout(WRITE_LIMIT, finisher).await;
        }
        self.consumers.abort_all();
        while self.consumers.join_next().await.is_some() {}
        self.aside.abort_all();
        while self.aside.join_next().await.is_some() {}
        let left = store::leave(&work.db, work.id()).await?;
        for queue in left.queues {
            wake::now(&work.db, &wake::Of::Queue(queue));
        }
        if in_time {
            return Ok(());
        }
        let what = format!("{} jobs still ran after {limit:?}, and were dropped", running.len());
        Err(Error::new(Code::JobDrain, what).why(running.join("\n")))
    }

    /// What runs, a line each.
    fn describe(&self) -> Vec<String> {
        let live = self.work.open_calls().into_iter();
        live.map(|call| format!("job {} (`{}`)", call.job.id, call.job.name)).take(20).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Drained, or never begun: nothing is left.
        if self.ends.is_none() && self.slots.is_empty() {
            return;
        }
        self.work.stopping.send_replace(true);
        self.work.pending.close();
        let (db, id) = (self.work.db.clone(), self.work.id());
        // Sooner than others would find it dead, and without taking what it had for what killed it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Ok(left) = store::leave(&db, id).await {
                    for queue in left.queues {
                        wake::now(&db, &wake::Of::Queue(queue));
                    }
                }
            });
        }
    }
}

impl Inspect for Worker {
    fn inspect(&self) -> Snapshot {
        let counts = self.work.pending.counts();
        let (waiting, running) =
            counts.iter().fold((0, 0), |(w, r), (waiting, running)| (w + waiting, r + running));
        let rows = self.work.queues.iter().zip(&counts).map(|(queue, (waiting, running))| {
            vec![queue.name.clone(), waiting.to_string(), running.to_string()]
        });
        let columns = vec!["queue", "claimed", "running"];
        let table = Table { title: "Queues", columns, rows: rows.collect() };
        let stopping = self.work.is_stopping();
        let health = if stopping { Health::Degraded } else { Health::Good };
        Snapshot::new("worker", self.work.id().to_string())
            .health(health)
            .fact(Fact::count("claimed", waiting))
            .fact(Fact::count("running", running))
            .fact(Fact::count("concurrency", self.work.concurrency))
            .table(table)
    }
}
