//! Writes down what became of jobs: everything that ended while the last write was under way goes into
//! the next one, so that one commit serves many.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Error, Retry};
use mainstay_db::Db;
use tokio::sync::mpsc;

use super::pending::Slip;
use crate::store::settle::{End, Leases, Settled, settle};
use crate::wake;

/// Ends in one write.
const BATCH_MAX: usize = 2_000;
/// Between tries while the database is away.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// An end, with what is to be told to the broker once it is written.
pub(crate) struct Ended {
    pub(crate) settled: Settled,
    pub(crate) receipt: Option<Slip>,
}

/// The leases of a worker, with what is open of each.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<HashMap<i64, HashSet<i64>>>>);

impl Held {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<i64, HashSet<i64>>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add(&self, lease: i64, ids: impl IntoIterator<Item = i64>) {
        self.with(|all| all.entry(lease).or_default().extend(ids));
    }

    pub(crate) fn knows(&self, lease: i64) -> bool {
        self.with(|all| all.contains_key(&lease))
    }

    pub(crate) fn has_any(&self) -> bool {
        self.with(|all| !all.is_empty())
    }

    /// What would remain of the leases of these.
    fn without(&self, batch: &[Settled]) -> Leases {
        self.with(|all| {
            let mut touched = BTreeSet::new();
            for one in batch.iter().filter(|one| one.lease != 0) {
                if let Some(open) = all.get_mut(&one.lease) {
                    open.remove(&one.id);
                    touched.insert(one.lease);
                }
            }
            let left = |lease: &i64| all.get(lease).map(|open| open.iter().copied().collect());
            touched.iter().filter_map(|lease| Some((*lease, left(lease)?))).collect()
        })
    }

    fn forget(&self, leases: &Leases) {
        self.with(|all| {
            for (lease, left) in leases {
                if left.is_empty() {
                    all.remove(lease);
                }
            }
        });
    }
}

/// The one who writes; ends when all senders are gone and all is written.
pub(crate) struct Finisher {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) held: Held,
    pub(crate) ends: mpsc::Receiver<Ended>,
}

impl Finisher {
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.ends.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let (settled, receipts): (Vec<_>, Vec<_>) = std::mem::take(&mut batch)
                .into_iter()
                .map(|Ended { settled, receipt }| (settled, receipt))
                .unzip();
            let leases = self.held.without(&settled);
            self.write(&settled, &leases).await;
            // Together: each waits for the broker's word.
            let acks = receipts.into_iter().flatten().map(Slip::ack);
            for acked in futures_util::future::join_all(acks).await {
                if let Err(error) = acked {
                    tracing::debug!(code = %error.code(), "a delivery could not be acknowledged: {error}");
                }
            }
        }
    }

    /// Until it is written: a database that is away or full comes back, and until then nothing new is
    /// begun, since whoever ends a job waits here.
    async fn write(&self, settled: &[Settled], leases: &Leases) {
        let mut pause = RETRY_MIN;
        loop {
            match settle(&self.db, settled, leases).await {
                Ok(lost) => {
                    for id in lost {
                        tracing::warn!(
                            code = "JOB-009",
                            "job {id} was taken over while it ran here"
                        );
                    }
                    self.held.forget(leases);
                    self.wake(settled);
                    return;
                }
                Err(error) if settled.len() > 1 && !may_pass(&error) => {
                    // One of them can't be written: it must not keep the others back.
                    return Box::pin(self.one_by_one(settled, leases)).await;
                }
                Err(error) if !may_pass(&error) => {
                    let id = settled.first().map_or(0, |one| one.id);
                    tracing::error!(code = %error.code(), "the end of job {id} can't be written: {}", error.report());
                    return;
                }
                Err(error) => {
                    tracing::warn!(code = %error.code(), "the ends of {} jobs are not written yet: {error}", settled.len());
                    self.clock.sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Each leaves the others in their lease, so that whatever is not written stays somewhere.
    async fn one_by_one(&self, settled: &[Settled], leases: &Leases) {
        for (at, one) in settled.iter().enumerate() {
            let of = leases.iter().filter(|(lease, _)| *lease == one.lease);
            let later = settled[at + 1..].iter().filter(|other| other.lease == one.lease);
            let later: Vec<i64> = later.map(|other| other.id).collect();
            let left = of.map(|(lease, left)| (*lease, [&left[..], &later].concat())).collect();
            self.write(std::slice::from_ref(one), &left).await;
        }
    }

    /// What came free or is to be run again is looked for at once.
    fn wake(&self, settled: &[Settled]) {
        let queues: HashSet<&str> = settled
            .iter()
            .filter(|one| one.ties.keys || matches!(one.end, End::Back { .. }))
            .map(|one| one.queue.as_str())
            .collect();
        for queue in queues {
            wake::now(&self.db, &wake::Of::Queue(queue.to_owned()));
        }
        if settled.iter().any(|one| matches!(one.end, End::Later { .. })) {
            wake::now(&self.db, &wake::Of::Schedule);
        }
    }
}

/// Whether the same write may succeed later.
fn may_pass(error: &Error) -> bool {
    use mainstay_core::error::Kind;
    error.retryability() != Retry::Never || error.code().kind() == Kind::Operation
}
