//! Transactions over several databases: all of it, or nothing of it, whatever is killed at whichever step.
//!
//! Two-phase commit with presumed abort (Mohan, Lindsay and Obermarck, 1986): the parts are prepared, one row in the log's
//! database is the decision, and the parts are told. Who finds a part without a decision decides against it, by a row of
//! the same key: so exactly one of the two is ever there, and no clock is trusted.
//!
//! It costs two more exchanges than a transaction, and locks are kept in between. Where one part may follow the others a
//! moment later, events from the outbox are cheaper and fail for nobody's sake.

mod log;
mod recover;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use mainstay_core::rng::Rng;
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Participant, Prepared, PreparedId};

pub use recover::Recovered;

use log::{Decision, Log};

/// Databases that one transaction may span.
const PARTS_MAX: usize = 64;
/// A part that nobody decided on is rolled back after so long, unless [`TwoPhase::abandoned_after`] says otherwise.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// Coordinates transactions over several databases. Cheap to clone.
///
/// ```no_run
/// # async fn f(north: mainstay_db::Db, south: mainstay_db::Db) -> mainstay_core::Result<()> {
/// use mainstay_route::TwoPhase;
///
/// let both = TwoPhase::new(north.clone(), vec![("north", north), ("south", south)]).await?;
/// both.transaction(&["north", "south"], |parts| async move {
///     parts[0].query("UPDATE accounts SET cents = cents - 5 WHERE id = 1").execute().await?;
///     parts[1].query("UPDATE accounts SET cents = cents + 5 WHERE id = 2").execute().await?;
///     Ok(())
/// })
/// .await?;
/// // At the start of a service, and now and then: what a crash left behind.
/// both.recover().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct TwoPhase(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    databases: Vec<(Arc<str>, Db)>,
    abandoned_after: Duration,
}

impl TwoPhase {
    /// `log` is where decisions are kept: one of the databases, or another; always the same one for the same databases. The
    /// table `mainstay_two_phase` is made there.
    ///
    /// Errors: DB-016 where one is SQLite, ROUTE-007 (names), and those of making the table.
    pub async fn new<N: Into<Arc<str>>>(log: Db, databases: Vec<(N, Db)>) -> Result<Self> {
        let databases: Vec<(Arc<str>, Db)> =
            databases.into_iter().map(|(name, db)| (name.into(), db)).collect();
        for (at, (name, db)) in databases.iter().enumerate() {
            if databases[..at].iter().any(|(other, _)| other == name) {
                return Err(Error::new(
                    Code::RouteTopology,
                    format!("two databases are called `{name}`"),
                ));
            }
            if db.engine() == Engine::Sqlite {
                return Err(Error::new(
                    Code::Unsupported,
                    format!("`{name}` is SQLite, which can't prepare transactions"),
                ));
            }
        }
        let log = Log::open(log).await?;
        Ok(Self(Arc::new(Inner { log, databases, abandoned_after: ABANDONED_AFTER })))
    }

    /// After how long a prepared part without a decision is rolled back by [`recover`](Self::recover); default 60 s.
    /// A transaction that is still under way then fails, with ROUTE-042; it is never half done.
    #[must_use]
    pub fn abandoned_after(self, limit: Duration) -> Self {
        let inner = Inner {
            log: self.0.log.clone(),
            databases: self.0.databases.clone(),
            abandoned_after: limit,
        };
        Self(Arc::new(inner))
    }

    /// Runs `work` with a transaction on each of the databases `on`, in their order. `Ok` commits all of them, anything else
    /// rolls all back.
    ///
    /// Over clusters with replicas, what is read afterwards in the same scope sees all of it.
    ///
    /// Cancel safe: dropped while `work` runs, all is rolled back; later, it goes on without the caller, to its end.
    ///
    /// Errors: what `work` returns; ROUTE-042, it was rolled back and may be run again; ROUTE-041, it is committed and a
    /// database has not heard so yet, which recovery does; ROUTE-040; TX-003 where the decision's own commit was not
    /// answered: recovery finds out.
    pub async fn transaction<T, F, Fut>(&self, on: &[&str], work: F) -> Result<T>
    where
        F: FnOnce(Vec<Db>) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let parts = self.begin(on).await?;
        let done = work(parts.iter().map(Participant::handle).collect()).await?;
        let inner = Arc::clone(&self.0);
        let finish = async move { inner.finish(parts).await };
        // From here on it must not depend on who waits for it, nor for how long. What it wrote is the caller's.
        let finish = match Scope::current() {
            Some(scope) => tokio::spawn(scope.without_deadline().run(finish)),
            None => tokio::spawn(finish),
        };
        finish.await.unwrap_or_else(|e| {
            Err(Error::new(Code::TxAmbiguous, "the runtime ended in the middle of it").cause(e))
        })?;
        Ok(done)
    }

    /// What the names of its parts begin with: the number of its log, drawn when that was made.
    pub fn number(&self) -> u64 {
        self.0.log.number
    }

    async fn begin(&self, on: &[&str]) -> Result<Vec<Participant>> {
        if on.is_empty() || on.len() > PARTS_MAX {
            let what = format!("a transaction spans 1 to {PARTS_MAX} databases, not {}", on.len());
            return Err(Error::new(Code::Argument, what));
        }
        let own = u128::from(Rng::system().u64(0..u64::MAX));
        let whole = u128::from(self.number()) << 64 | own;
        let mut parts = Vec::new();
        // In the caller's order. No server sees a deadlock over several of them: its lock timeout ends one.
        for (at, name) in (0_u16..).zip(on) {
            let db = self.0.database(name)?;
            parts.push(db.participate(PreparedId { whole, part: at }).await?);
        }
        Ok(parts)
    }

    /// Goes on with [`recover`](Self::recover) every so often, until the last clone is dropped.
    pub fn tend(&self, every: Duration) {
        let weak = Arc::downgrade(&self.0);
        let clock = mainstay_core::clock::Clock::system();
        tokio::spawn(async move {
            loop {
                clock.sleep(every).await;
                let Some(inner) = weak.upgrade() else { return };
                if let Err(error) = TwoPhase(inner).recover().await {
                    tracing::warn!(%error, "prepared transactions could not all be looked through");
                }
            }
        });
    }
}

impl Inner {
    fn database(&self, name: &str) -> Result<&Db> {
        let found = self.databases.iter().find(|(known, _)| **known == *name);
        found.map(|(_, db)| db).ok_or_else(|| {
            let names: Vec<&str> = self.databases.iter().map(|(name, _)| &**name).collect();
            Error::new(
                Code::Argument,
                format!("no database is called `{name}`; there are {}", names.join(", ")),
            )
        })
    }

    async fn finish(&self, parts: Vec<Participant>) -> Result<()> {
        let outcomes = join_all(parts.into_iter().map(Participant::prepare)).await;
        let (mut prepared, mut failed) = (Vec::new(), None);
        for outcome in outcomes {
            match outcome {
                Ok(part) => prepared.push(part),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        let Some(whole) = prepared.first().map(|part| part.id().whole) else {
            return failed.map_or(Ok(()), Err);
        };
        if let Some(error) = failed {
            // One that may have been prepared unheard is found by recovery: nothing is decided for it.
            settle(&prepared, false).await.ok();
            return Err(error);
        }
        let decided = self.log.decide(whole, Decision::Commit).await.map_err(|e| {
            Error::new(Code::TxAmbiguous, "whether it was decided to commit is not known").cause(e)
        });
        match decided? {
            Decision::Commit => {}
            Decision::Abort => {
                settle(&prepared, false).await.ok();
                return Err(Error::new(
                    Code::TwoPhaseAborted,
                    "it took so long that recovery decided against it",
                ));
            }
        }
        if let Err(error) = settle(&prepared, true).await {
            let what = "it is committed, and not all databases know by now";
            return Err(Error::new(Code::TwoPhaseInDoubt, what).cause(error));
        }
        // What is left of it is of no use to anybody; where this fails, recovery does it.
        let _ = self.log.forget(whole).await;
        Ok(())
    }
}

async fn settle(prepared: &[Prepared], commit: bool) -> Result<()> {
    // Each, whatever becomes of the others.
    join_all(prepared.iter().map(|part| part.settle(commit))).await.into_iter().collect()
}
