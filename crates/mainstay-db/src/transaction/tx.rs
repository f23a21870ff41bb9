//! A transaction as it is described: `db.tx()`.

use std::time::{Duration, Instant};

use mainstay_core::{Code, Error, Place, Result};

use super::durability::Durability;
use super::isolation::{Access, Isolation};
use super::prepared::PreparedId;
use super::propagation::Propagation;
use super::retry::RetryPolicy;
use super::scopes::Part;
use crate::db::Db;

/// No timeout is longer: a time that far off could not be computed with.
const TIMEOUT_MAX: Duration = Duration::from_hours(24 * 365);

/// What was asked of a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub(super) access: Access,
    pub(super) propagation: Propagation,
    pub(super) retry: RetryPolicy,
    pub(super) timeout: Option<Duration>,
}

/// When a transaction must be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    pub(super) at: Instant,
    pub(super) limit: Duration,
}

impl Until {
    pub(super) fn passed(self, place: Place) -> Error {
        let what = format!("the transaction was not over within {:?}", self.limit);
        Error::new(Code::Deadline, what)
            .why("it was rolled back")
            .fix("do less in the transaction, or give timeout() more")
            .at(place)
    }
}

/// A transaction that is being described; nothing happens until [`run`](Tx::run). Made by
/// [`Db::tx`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until run() is awaited"]
pub struct Tx<'d> {
    pub(super) db: &'d Db,
    pub(super) plan: Plan,
}

impl<'d> Tx<'d> {
    /// Its isolation; default the database's own. Refused where the engine lacks it (DB-016), and in
    /// a part that joins or nests where the transaction has another (TX-008).
    pub fn isolation(mut self, level: Isolation) -> Self {
        self.plan.access.isolation = Some(level);
        self
    }

    /// Nothing is written in it. On SQLite it runs beside the writer, on a snapshot.
    pub fn read_only(mut self) -> Self {
        self.plan.access.read_only = true;
        self
    }

    /// PostgreSQL's: waits at its beginning for a snapshot with which it can neither fail nor make
    /// others fail. With [`Isolation::Serializable`] and [`read_only`](Self::read_only) alone.
    pub fn deferrable(mut self) -> Self {
        self.plan.access.deferrable = true;
        self
    }

    /// What COMMIT waits for; default what the server is set to. Refused where the engine has no such choice
    /// (DB-016), and in a part that joins or nests where it is more than the transaction waits for (TX-008); less means
    /// nothing there.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.plan.access.durability = Some(durability);
        self
    }

    /// How long all of it may take, further attempts included, up to a year: then it is rolled back,
    /// with DB-035. Default no bound but that of the current
    /// [`Scope`](mainstay_core::scope::Scope). A COMMIT that was sent in time may take longer.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.plan.timeout = Some(limit.min(TIMEOUT_MAX));
        self
    }

    /// How often it is run again for a conflict. A part that joins or nests is not run again by
    /// itself: the whole is.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.plan.retry = policy;
        self
    }

    /// What it does with the transaction that the handle may be of; default
    /// [`Propagation::Required`].
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.plan.propagation = propagation;
        self
    }

    /// Runs `work` as described: commits if it returns `Ok`, rolls back if it returns an error,
    /// panics, or is dropped.
    ///
    /// `work` is given the transaction's own handle, and may be run again, so effects outside the
    /// database belong into [`after_commit`](Db::after_commit). Where the engine reports a
    /// serialization failure or a deadlock, the whole is rolled back and tried again as the
    /// [`RetryPolicy`] says, within the deadline.
    ///
    /// An error rolls back unless it says [`commit_anyway`](Error::commit_anyway). A part that joined
    /// and failed forbids the whole to commit, even if its error is swallowed (TX-002). A *statement*
    /// that failed does so on PostgreSQL alone: SQLite and MySQL undo the statement, and where its
    /// error is swallowed, the rest commits.
    ///
    /// An error made by [`Error::wrap`] is the program's own, and no conflict: wrap what is final,
    /// and let the database's errors through.
    ///
    /// Cancel safe: dropped, it is rolled back. If it was dropped, or the connection lost, while
    /// COMMIT was on its way, it may have been committed (TX-003): a lost COMMIT is never tried
    /// again.
    ///
    /// Errors: what `work` returns; TX-001 (the handle's transaction has ended), TX-002 (a joined part
    /// or a statement had failed and the error was swallowed), TX-003, TX-004 (a statement is still
    /// under way), TX-005 (a statement was dropped half-way), TX-007 (propagation), TX-008 (joins
    /// what is different), DB-016 (isolation, durability), DB-035 (time); those of
    /// [`acquire`](mainstay_pool::Pool::acquire), POOL-010 among them; those of COMMIT, where
    /// constraints are deferred.
    #[track_caller]
    pub fn run<T, F, Fut>(
        self,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<'d, T, F, Fut>
    where
        T: Send,
        F: Fn(Db) -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let place = Place::here();
        let Tx { db, plan } = self;
        async move { Part::new(db, plan, place)?.run(work).await }
    }
}

impl Plan {
    /// For what is prepared: it can't be run again by itself.
    pub(super) fn prepared(id: PreparedId) -> Self {
        let access = Access { prepared: Some(id), ..Access::default() };
        Self { access, retry: RetryPolicy::none(), ..Self::default() }
    }

    /// For what can't be run again.
    #[cfg(any(feature = "sqlite", feature = "mysql"))]
    pub(crate) fn once() -> Self {
        Self { retry: RetryPolicy::none(), ..Self::default() }
    }
}
