//! Who is dead, and what they had. A worker's lock on the server ends with its process, so a lock that
//! can be had is a death; where there is no such lock, a number that no longer moves is.
//!
//! The time that counts is this process's own, steadily moving one: a clock that jumps buries nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::Result;
use mainstay_db::{Db, Engine};

use crate::store::worker::{self as store, Registered};
use crate::wake;
use crate::worker::work::Work;

/// Between two looks.
pub(crate) const EVERY: Duration = Duration::from_millis(1_000);
/// Looks in a row that must find a lock free: its owner may be taking it anew after a cut connection.
const FREE_LOOKS: u32 = 2;
/// A number that has not moved for so long, over at least so many looks, is a death.
const SILENT_FOR: Duration = Duration::from_secs(10);
const SILENT_LOOKS: u32 = 5;
/// After a start of the server all locks are free, and their owners on their way.
const SERVER_GRACE_S: f64 = 6.0;

/// What was seen of the others so far.
#[derive(Default)]
pub(crate) struct Observed(HashMap<i64, Seen>);

struct Seen {
    beat: i64,
    since: Instant,
    looks: u32,
    free: u32,
}

impl Observed {
    /// Takes in one look; tells whether the worker is dead.
    fn look(&mut self, worker: Registered, free: bool, now: Instant) -> bool {
        let new = Seen { beat: worker.beat, since: now, looks: 0, free: 0 };
        let seen = self.0.entry(worker.id).or_insert(new);
        if worker.locked {
            seen.free = if free { seen.free + 1 } else { 0 };
            return seen.free >= FREE_LOOKS;
        }
        if seen.beat != worker.beat {
            (seen.beat, seen.since, seen.looks) = (worker.beat, now, 0);
            return false;
        }
        seen.looks += 1;
        seen.looks >= SILENT_LOOKS && now.saturating_duration_since(seen.since) >= SILENT_FOR
    }
}

/// Looks at every other worker, and takes what the dead had.
pub(crate) async fn rescue(work: &Arc<Work>, observed: &mut Observed) -> Result<()> {
    let db = &work.db;
    let own = work.id();
    let mut others = store::all(db).await?;
    others.retain(|worker| worker.id != own);
    observed.0.retain(|id, _| others.iter().any(|other| other.id == *id));
    if others.is_empty() || uptime(db).await? < SERVER_GRACE_S {
        return Ok(());
    }
    let free = free_locks(db, &others).await?;
    let now = work.clock.now();
    for other in others {
        if !observed.look(other, free.contains(&other.id), now) {
            continue;
        }
        let rescued = store::bury(db, other.id).await?;
        observed.0.remove(&other.id);
        tracing::warn!(
            "worker {} is dead; {} jobs that it had are ready again, {} went to the dead letters",
            other.id,
            rescued.jobs - rescued.dead,
            rescued.dead
        );
        for queue in rescued.queues {
            wake::now(db, &wake::Of::Queue(queue));
        }
    }
    Ok(())
}

/// Whose lock can be had.
async fn free_locks(db: &Db, others: &[Registered]) -> Result<Vec<i64>> {
    let locked = others.iter().filter(|other| other.locked).map(|other| other.id);
    let locked: &Vec<i64> = &locked.collect();
    if locked.is_empty() {
        return Ok(Vec::new());
    }
    // A transaction's locks need no connection each; SQLite's need none at all.
    if db.engine() == Engine::Sqlite {
        return had(db, locked).await;
    }
    db.transaction(|tx| async move { had(&tx, locked).await }).await
}

async fn had(db: &Db, ids: &[i64]) -> Result<Vec<i64>> {
    let mut free = Vec::new();
    for id in ids {
        if db.advisory_lock(store::lock_name(*id)).try_acquire().await?.is_some() {
            free.push(*id);
        }
    }
    Ok(free)
}

/// For how many seconds the server has been up.
async fn uptime(db: &Db) -> Result<f64> {
    match db.engine() {
        Engine::Sqlite => Ok(f64::INFINITY),
        Engine::Postgres => {
            db.query("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp() - pg_postmaster_start_time()) AS DOUBLE PRECISION)")
                .scalar()
                .await
        }
        Engine::MySql => {
            let row = db.query("SHOW GLOBAL STATUS LIKE 'Uptime'").rows().await?;
            let seconds: Option<String> = row.first().and_then(|row| row.at(1).ok());
            Ok(seconds.and_then(|text| text.parse().ok()).unwrap_or(f64::INFINITY))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(locked: bool, beat: i64) -> Registered {
        Registered { id: 7, locked, beat, draining: false }
    }

    #[test]
    fn a_lock_must_be_free_twice() {
        let now = mainstay_core::clock::Clock::system().now();
        let mut seen = Observed::default();
        assert!(!seen.look(worker(true, 0), true, now));
        assert!(!seen.look(worker(true, 0), false, now));
        assert!(!seen.look(worker(true, 0), true, now));
        assert!(seen.look(worker(true, 0), true, now));
    }

    #[test]
    fn a_beat_must_be_missing_for_long_and_be_looked_at_often() {
        let now = mainstay_core::clock::Clock::system().now();
        let mut seen = Observed::default();
        let later = now + Duration::from_secs(60);
        assert!(!seen.look(worker(false, 1), false, now));
        assert!(!seen.look(worker(false, 1), false, later), "we may have slept ourselves");
        for _ in 0..2 {
            assert!(!seen.look(worker(false, 1), false, later));
        }
        assert!(seen.look(worker(false, 1), false, later));
        assert!(!seen.look(worker(false, 2), false, later), "it moves again");
    }
}
