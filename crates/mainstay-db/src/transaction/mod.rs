//! Transactions: a closure that commits with `Ok` and rolls back with anything else.
//!
//! However the closure ends (an error, a panic, its future dropped), the connection is either
//! settled here or handed to the pool with a note that a transaction is open on it, and the pool
//! rolls back before anybody else gets it.

mod current;
mod hooks;
mod isolation;
mod nested;
mod open;
mod retry;
mod run;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use mainstay_core::{Code, Error, Place, Result, Retry};

pub use current::network_call;
pub(crate) use current::{Beside, look_past};
pub(crate) use isolation::Access;
pub use isolation::Isolation;
use nested::Nested;
pub(crate) use open::{Open, Turn, ended};
pub use retry::RetryPolicy;
pub(crate) use run::Run;

use crate::db::Db;

/// No timeout is longer: a time that far off could not be computed with.
const TIMEOUT_MAX: Duration = Duration::from_hours(24 * 365);

/// What a part does with the transaction that the handle may be of, and without one.
///
/// | | on the pool's handle | on a transaction's handle |
/// |---|---|---|
/// | `Required` | a new transaction | joins |
/// | `RequiresNew` | a new transaction | a new one, on a second connection |
/// | `Nested` | a new transaction | a savepoint |
/// | `Supports` | no transaction | joins |
/// | `NotSupported` | no transaction | no transaction: the pool's handle |
/// | `Mandatory` | refused, TX-007 | joins |
/// | `Never` | no transaction | refused, TX-007 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// Joins a transaction, or begins one.
    #[default]
    Required,
    /// Begins one of its own, that commits or rolls back independently of an outer one. It needs a
    /// second connection while the outer one keeps its own: where every connection of the pool is held
    /// by a transaction whose part waits for another one, or the pool has but one (as for writes on
    /// SQLite), it is refused at once (POOL-010). Circles through several pools are not seen, and end
    /// with `pool.acquire_timeout`. A conflict that outlasts its retries does not run the outer
    /// transaction again.
    RequiresNew,
    /// Sets a savepoint, to which it alone is rolled back; or begins a transaction. Dropped in the
    /// middle of a statement, as by a timeout of its own, it ends the whole (TX-005): nobody knows
    /// then whether the statement took effect.
    Nested,
    /// Joins a transaction, or goes without.
    Supports,
    /// Goes without, also inside a transaction: each statement on another connection, and for
    /// itself. POOL-010 as for `RequiresNew`.
    NotSupported,
    /// Joins a transaction.
    Mandatory,
    /// Goes without.
    Never,
}

impl Propagation {
    /// All of them.
    pub const ALL: [Propagation; 7] = [
        Propagation::Required,
        Propagation::RequiresNew,
        Propagation::Nested,
        Propagation::Supports,
        Propagation::NotSupported,
        Propagation::Mandatory,
        Propagation::Never,
    ];

    /// As SQL's and Spring's users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Propagation::Required => "REQUIRED",
            Propagation::RequiresNew => "REQUIRES_NEW",
            Propagation::Nested => "NESTED",
            Propagation::Supports => "SUPPORTS",
            Propagation::NotSupported => "NOT_SUPPORTED",
            Propagation::Mandatory => "MANDATORY",
            Propagation::Never => "NEVER",
        }
    }
}

/// What was asked of a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    access: Access,
    propagation: Propagation,
    retry: RetryPolicy,
    timeout: Option<Duration>,
}

/// When a transaction must be over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    at: Instant,
    limit: Duration,
}

impl Until {
    fn passed(self, place: Place) -> Error {
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
    db: &'d Db,
    plan: Plan,
}

impl Db {
    /// Begins to describe a transaction: its isolation, propagation, retries and bounds.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// # db.query("CREATE TABLE accounts (id INTEGER PRIMARY KEY, cents BIGINT)").execute().await?;
    /// use std::time::Duration;
    /// use mainstay_db::{Isolation, RetryPolicy};
    ///
    /// let total: i64 = db
    ///     .tx()
    ///     .isolation(Isolation::Serializable)
    ///     .timeout(Duration::from_secs(3))
    ///     .retry(RetryPolicy::attempts(20))
    ///     .run(|tx| async move {
    ///         tx.query("SELECT COALESCE(SUM(cents), 0) FROM accounts").scalar().await
    ///     })
    ///     .await?;
    /// # assert_eq!(total, 0);
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    pub fn tx(&self) -> Tx<'_> {
        Tx { db: self, plan: Plan::default() }
    }

    /// Runs `work` in a transaction: commits if it returns `Ok`, rolls back if it returns an error,
    /// panics, or is dropped. The same as [`tx`](Self::tx)`().run(work)`: see [`Tx::run`].
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # use mainstay_db::{Db, Error, Result};
    /// # let db = Db::connect("sqlite::memory:").await?;
    /// # db.query("CREATE TABLE a (id INTEGER PRIMARY KEY, cents BIGINT NOT NULL)").execute().await?;
    /// let outcome: Result<()> = db.transaction(|tx| async move {
    ///     tx.query("INSERT INTO a (cents) VALUES ($1)").bind(5).execute().await?;
    ///     Err(Error::user("changed my mind"))
    /// }).await;
    /// assert!(outcome.is_err());
    /// let rows: i64 = db.query("SELECT COUNT(*) FROM a").scalar().await?;
    /// assert_eq!(rows, 0);
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn transaction<T, F, Fut>(&self, work: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Send,
        F: Fn(Db) -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        self.tx().run(work)
    }
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
    /// what is different), DB-016 (isolation), DB-035 (time); those of
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
        async move {
            let Tx { db, plan } = self;
            plan.access.check(db.engine()).map_err(|e| e.at(place))?;
            let until =
                plan.timeout.map(|limit| Until { at: db.shared.clock.now() + limit, limit });
            match (plan.propagation, &db.transaction) {
                (Propagation::Mandatory, None) => {
                    Err(refused("MANDATORY", "there is no transaction", place))
                }
                (Propagation::Never, Some(open)) => {
                    let why = format!("the transaction begun at {} is open", open.whole.place);
                    Err(refused("NEVER", &why, place))
                }
                (Propagation::Supports | Propagation::NotSupported | Propagation::Never, None)
                | (Propagation::NotSupported, Some(_)) => {
                    plan.check_bare().map_err(|e| e.at(place))?;
                    db.within(until, place, without(db, work)).await
                }
                (
                    Propagation::Required | Propagation::Supports | Propagation::Mandatory,
                    Some(outer),
                ) => {
                    plan.access.check_within(outer.whole.access).map_err(|e| e.at(place))?;
                    outer.check_open(place)?;
                    let mut joined = Joined::new(outer, place);
                    let outcome = db.within(until, place, Box::pin(work(db.clone()))).await;
                    joined.failed = outcome.as_ref().err().is_some_and(Error::rolls_back);
                    outcome
                }
                (Propagation::Nested, Some(outer)) => {
                    plan.access.check_within(outer.whole.access).map_err(|e| e.at(place))?;
                    let nested = db.within(until, place, Nested::begin(db, outer, place)).await?;
                    let inside = nested.frame().run(Box::pin(work(nested.handle())));
                    let outcome = db.within(until, place, inside).await;
                    nested.end(outcome).await
                }
                (Propagation::Required | Propagation::Nested, None)
                | (Propagation::RequiresNew, _) => {
                    if let Some(outer) = &db.transaction {
                        outer.check_open(place)?;
                    }
                    whole(db, plan, until, place, work).await
                }
            }
        }
    }
}

/// A transaction of its own, as often as it takes.
async fn whole<T, F, Fut>(
    db: &Db,
    plan: Plan,
    until: Option<Until>,
    place: Place,
    work: F,
) -> Result<T>
where
    F: Fn(Db) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut attempt = 1;
    let mut conflict = None;
    loop {
        let begins = Run::begin(db, plan, place, attempt, until);
        let run = match (db.within(until, place, begins).await, conflict.take()) {
            (Ok(run), _) => run,
            (Err(error), None) => return Err(error),
            (Err(error), Some(before)) => {
                return Err(error.note(format!("this was attempt {attempt}")).cause(before));
            }
        };
        let is_inside = run.is_inside();
        // Boxed, so that the future of a transaction inside another does not hold it several times.
        let inside = run.frame().run(Box::pin(work(run.handle())));
        let outcome = db.within(until, place, inside).await;
        match run.end(outcome).await {
            (outcome, Some(wait)) => {
                conflict = outcome.err();
                db.shared.clock.sleep(wait).await;
            }
            (Err(error), None) if attempt > 1 => {
                let error = error.note(format!("this was attempt {attempt}"));
                // A conflict of this one is none of the transaction around it, which would multiply
                // the attempts.
                let is_over = is_inside && error.retryability() == Retry::Transaction;
                return Err(if is_over { error.retry(Retry::Later) } else { error });
            }
            (outcome, None) => return outcome,
        }
        attempt += 1;
    }
}

/// Runs `work` on the pool's handle, outside the transaction that may be open.
async fn without<T, F, Fut>(db: &Db, work: F) -> Result<T>
where
    F: Fn(Db) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let pool = Db { shared: Arc::clone(&db.shared), transaction: None };
    let work = Box::pin(work(pool));
    match current::frame(db) {
        Some(frame) => frame.past(&db.shared).run(work).await,
        None => work.await,
    }
}

fn refused(propagation: &str, why: &str, place: Place) -> Error {
    let what = format!("{propagation} does not allow this: {why}");
    Error::new(Code::TxPropagation, what).at(place)
}

impl Plan {
    /// For what can't be run again.
    pub(crate) fn once() -> Self {
        Self { retry: RetryPolicy::none(), ..Self::default() }
    }

    /// Without a transaction there is nothing that could be isolated or read only.
    fn check_bare(&self) -> Result<()> {
        if self.access == Access::default() {
            return Ok(());
        }
        let what = format!(
            "isolation and access are a transaction's, and {} has none here",
            self.propagation.as_str()
        );
        Err(Error::new(Code::TxMismatch, what))
    }
}

impl Db {
    /// Runs `work` until then; what is left of it is dropped.
    async fn within<T>(
        &self,
        until: Option<Until>,
        place: Place,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match until {
            None => work.await,
            Some(until) => {
                let done = self.shared.clock.timeout_at(until.at, work).await;
                done.unwrap_or_else(|| Err(until.passed(place)))
            }
        }
    }
}

/// A part that joined an outer transaction: unless it succeeds, the whole may not.
struct Joined<'a> {
    outer: &'a Open,
    place: Place,
    failed: bool,
}

impl<'a> Joined<'a> {
    fn new(outer: &'a Open, place: Place) -> Self {
        outer.joined.fetch_add(1, SeqCst);
        Self { outer, place, failed: true }
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        if self.failed {
            let _ = self.outer.rollback_only.set(self.place);
        }
        self.outer.joined.fetch_sub(1, SeqCst);
    }
}
