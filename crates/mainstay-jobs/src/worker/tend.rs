//! What keeps a worker in order: that others see it live, that it notices what is asked of it, and that
//! nothing it has in the database is unknown to it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mainstay_core::{Code, Result};
use mainstay_db::AdvisoryLock;

use super::work::Work;
use crate::store::careful;
use crate::store::claim::short;
use crate::store::json;
use crate::store::worker as store;
use crate::wake;

/// Between two looks at what is asked of it.
const EVERY: Duration = Duration::from_secs(1);
/// Looks between two comparisons of its leases.
const COMPARE_EVERY: u32 = 5;
/// Looks between two sweeps of its queues' keys.
const SWEEP_EVERY: u32 = 10;

/// How others see that a worker lives.
pub(crate) enum Life {
    /// A lock on the server, which ends with us whatever we die of.
    Lock(AdvisoryLock),
    /// Behind a pooler: a number that moves.
    Beat,
}

/// Registers the worker and takes its lock.
pub(crate) async fn enter(work: &Work, name: &str) -> Result<Life> {
    let queues: Vec<String> = work.queues.iter().map(|queue| queue.name.clone()).collect();
    store::know_queues(&work.db, &queues).await?;
    let id = store::register(&work.db, name, &queues, true).await?;
    work.id.store(id, Relaxed);
    match work.db.advisory_lock(store::lock_name(id)).acquire().await {
        Ok(lock) => Ok(Life::Lock(lock)),
        Err(error) if error.code() == Code::NeedsSession => {
            let update = work.db.query("UPDATE mainstay_worker SET locked = 0 WHERE id = $1");
            update.bind(id).execute().await?;
            Ok(Life::Beat)
        }
        Err(error) => Err(error),
    }
}

/// Tends the worker until it is dropped.
pub(crate) async fn tend(work: Arc<Work>, name: String, mut life: Life) {
    let cancel = wake::subscribe(&work.db, &wake::Of::Cancel);
    let mut strangers = HashSet::new();
    let mut looks = 0u32;
    loop {
        tokio::select! {
            () = work.clock.sleep(EVERY) => {}
            () = cancel.notified() => {}
        }
        looks = looks.wrapping_add(1);
        let compare = looks.is_multiple_of(COMPARE_EVERY);
        if let Err(error) = once(&work, &name, &mut life, &mut strangers, compare).await {
            tracing::debug!(code = %error.code(), "the worker could not look after itself: {error}");
        }
        if looks.is_multiple_of(SWEEP_EVERY)
            && let Err(error) = sweep(&work).await
        {
            tracing::debug!(code = %error.code(), "keys could not be swept: {error}");
        }
    }
}

async fn once(
    work: &Work,
    name: &str,
    life: &mut Life,
    strangers: &mut HashSet<i64>,
    compare: bool,
) -> Result<()> {
    let lives = match life {
        Life::Lock(lock) => lock.check().await.is_ok(),
        Life::Beat => true,
    };
    let beats = matches!(life, Life::Beat);
    match store::beat(&work.db, work.id(), beats).await? {
        Some(draining) => {
            if !lives {
                // The server was away, and the lock with it; nobody has taken us for dead.
                let lock = work.db.advisory_lock(store::lock_name(work.id()));
                if let Some(lock) = lock.try_acquire().await? {
                    *life = Life::Lock(lock);
                }
            }
            if draining {
                work.stopping.send_replace(true);
            }
        }
        None => {
            tracing::warn!("this worker was taken for dead; what it runs may run elsewhere too");
            *life = enter(work, name).await?;
        }
    }
    cancel(work).await?;
    if compare && work.held.has_any() || !strangers.is_empty() {
        compare_leases(work, strangers).await?;
    }
    Ok(())
}

/// Whoever waits for a key that has room is ready again: where a limit was raised, nobody would tell.
async fn sweep(work: &Work) -> Result<()> {
    for queue in &work.queues {
        if careful::unpark(&work.db, &queue.name, &queue.limits).await? > 0 {
            wake::now(&work.db, &wake::Of::Queue(queue.name.clone()));
        }
    }
    Ok(())
}

/// Ends what runs here and is to be cancelled.
async fn cancel(work: &Work) -> Result<()> {
    let asked: Vec<(i64,)> = work.db.query("SELECT id FROM mainstay_cancel").all().await?;
    let mut found = Vec::new();
    for (id,) in asked {
        if let Some(call) = work.call(id) {
            call.ask_to_end();
            found.push(id);
        }
    }
    for id in found {
        let delete = work.db.query("DELETE FROM mainstay_cancel WHERE id = $1").bind(id);
        delete.execute().await?;
    }
    Ok(())
}

/// A claim whose answer was lost has left a lease that nobody knows: what is unknown twice is given back.
async fn compare_leases(work: &Work, strangers: &mut HashSet<i64>) -> Result<()> {
    let unknown: HashSet<i64> = store::leases(&work.db, work.id())
        .await?
        .into_iter()
        .filter(|lease| !work.held.knows(*lease))
        .collect();
    let lost: Vec<i64> = unknown.intersection(strangers).copied().collect();
    *strangers = unknown;
    if lost.is_empty() {
        return Ok(());
    }
    let lost = &lost;
    let rescued = short(&work.db)
        .run(|tx| async move { store::rescue(&tx, lost.clone(), false).await })
        .await?;
    tracing::warn!("leases {} were not known here, and are given back", json(lost.iter().copied()));
    for queue in rescued.queues {
        wake::now(&work.db, &wake::Of::Queue(queue));
    }
    Ok(())
}
