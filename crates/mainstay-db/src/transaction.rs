//! Transactions: a closure that commits with `Ok` and rolls back with anything else.
//!
//! However the closure ends (an error, a panic, its future dropped), the connection is either
//! settled here or handed to the pool with a note that a transaction is open on it, and the pool
//! rolls back before anybody else gets it.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::observe::{self, Outcome, next_id};
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Error, Place, Result, Retry};
use mainstay_pool::Lease;
use tokio::sync::{Mutex, MutexGuard};

use crate::connection::{Activity, Connection};
use crate::db::Db;
use crate::driver::Driver;
use crate::error::from_driver;

/// How often a transaction is run before its conflict reaches the caller.
const ATTEMPTS_MAX: u32 = 8;
/// The first wait between two attempts; it doubles, up to [`BACKOFF_MAX`], and is drawn at random.
const BACKOFF_MIN: Duration = Duration::from_millis(2);
const BACKOFF_MAX: Duration = Duration::from_millis(250);

/// An open transaction, shared by the handles inside its closure.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) id: u64,
    /// Empty once the transaction has ended.
    slot: Mutex<Option<Lease<Driver>>>,
    ended: AtomicBool,
    /// It ended without its connection having been settled: whoever has that gives it back.
    abandoned: AtomicBool,
    /// A statement of it changed the schema: what others prepared meanwhile is of the old one.
    schema: AtomicBool,
    streaming: AtomicBool,
    statements: AtomicU32,
    /// Where a joined part failed: the whole must not commit then.
    rollback_only: OnceLock<Place>,
}

/// A statement's turn on the transaction's connection.
pub(crate) struct Turn<'a> {
    /// Present until the drop.
    slot: Option<MutexGuard<'a, Option<Lease<Driver>>>>,
    open: &'a Open,
    streams: bool,
}

impl Db {
    /// Runs `work` in a transaction: commits if it returns `Ok`, rolls back if it returns an error,
    /// panics, or is dropped.
    ///
    /// `work` is given the transaction's own handle, and may be run again: where the engine reports
    /// a serialization failure or a deadlock, the whole is rolled back and tried up to 8 times, with
    /// growing random waits, but not past the scope's deadline. Effects outside the database must therefore wait until it is over.
    ///
    /// Inside another transaction's closure, on its handle, the work joins that transaction: it
    /// commits or rolls back with the whole, and if it fails the whole can't commit any more.
    ///
    /// Cancel safe: a dropped transaction is rolled back. If it was dropped, or the connection lost,
    /// while COMMIT was on its way, it may have been committed; a lost COMMIT is never tried again.
    ///
    /// Errors: what `work` returns; TX-002 (a joined part or a statement had failed and the error
    /// was swallowed), TX-003 (COMMIT's answer was lost), TX-005 (a statement was dropped half-way);
    /// those of [`acquire`](mainstay_pool::Pool::acquire); those of COMMIT, where constraints are
    /// deferred.
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
        let place = Place::here();
        async move {
            if let Some(outer) = &self.transaction {
                outer.check_open(place)?;
                let mut joined = Joined { outer, place, failed: true };
                let outcome = work(self.clone()).await;
                joined.failed = outcome.is_err();
                return outcome;
            }
            let mut attempt = 1;
            loop {
                let run = Run::begin(self, place, attempt).await?;
                let outcome = work(run.handle()).await;
                let error = match run.end(outcome).await {
                    Err(error) if error.retryability() == Retry::Transaction => error,
                    settled => return settled,
                };
                let backoff = self.backoff(attempt);
                let late = Scope::current().and_then(|s| s.deadline());
                let late = late.is_some_and(|at| self.shared.clock.now() + backoff >= at);
                if attempt == ATTEMPTS_MAX || late {
                    return Err(error);
                }
                self.shared.clock.sleep(backoff).await;
                attempt += 1;
            }
        }
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let longest = (BACKOFF_MIN * 2u32.saturating_pow(attempt)).min(BACKOFF_MAX);
        self.shared.rng.jittered(longest, 1.0)
    }
}

/// A part that joined an outer transaction: unless it succeeds, the whole may not.
struct Joined<'a> {
    outer: &'a Open,
    place: Place,
    failed: bool,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        if self.failed {
            let _ = self.outer.rollback_only.set(self.place);
        }
    }
}

impl Open {
    fn check_open(&self, place: Place) -> Result<()> {
        if self.ended.load(SeqCst) {
            return Err(Error::new(Code::TxEnded, "this transaction has ended already").at(place));
        }
        Ok(())
    }

    /// The connection, when those before are done with it, for at most `limit`.
    pub(crate) async fn turn(
        &self,
        clock: &Clock,
        limit: Duration,
        streams: bool,
        place: Place,
    ) -> Result<Turn<'_>> {
        self.check_open(place)?;
        let busy = || {
            Error::new(Code::TxBusy, "the transaction's connection is busy with another statement")
                .at(place)
        };
        // A turn that comes to a waiter which is dropped or refused must not be lost.
        let _passes_on = PassesOn(self);
        let slot = match self.slot.try_lock() {
            Ok(slot) => slot,
            // Its reader may be waiting for us: this would never end.
            Err(_) if self.streaming.load(SeqCst) => {
                return Err(busy().why("a stream of its rows is still being read"));
            }
            Err(_) => clock.timeout(limit, self.slot.lock()).await.ok_or_else(busy)?,
        };
        self.check_open(place)?;
        if slot.is_none() {
            return Err(Error::new(Code::TxEnded, "this transaction has ended already").at(place));
        }
        self.statements.fetch_add(1, SeqCst);
        self.streaming.store(streams, SeqCst);
        Ok(Turn { slot: Some(slot), open: self, streams })
    }

    pub(crate) fn changed_schema(&self) {
        self.schema.store(true, SeqCst);
    }

    /// Gives the connection back to the pool, which rolls back, unless a statement has it: then
    /// that statement's end does.
    fn abandon(&self) {
        self.ended.store(true, SeqCst);
        self.abandoned.store(true, SeqCst);
        self.give_back();
    }

    fn give_back(&self) {
        if self.abandoned.load(SeqCst)
            && let Ok(mut slot) = self.slot.try_lock()
        {
            drop(slot.take());
        }
    }
}

/// When dropped, after the lock that was waited for: gives an abandoned connection back.
struct PassesOn<'a>(&'a Open);

impl Drop for PassesOn<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

impl Turn<'_> {
    pub(crate) fn lease(&self) -> &Lease<Driver> {
        let slot = self.slot.as_ref().expect("present until the drop");
        slot.as_ref().expect("looked at when the turn began")
    }
}

impl Deref for Turn<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.lease()
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        let slot = self.slot.as_mut().expect("present until the drop");
        slot.as_mut().expect("looked at when the turn began")
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.streams {
            self.open.streaming.store(false, SeqCst);
        }
        drop(self.slot.take());
        // The transaction may have been abandoned meanwhile, and could not take the connection.
        self.open.give_back();
    }
}

/// One attempt at a transaction. Dropped before [`end`](Run::end) is through, it rolls back.
pub(crate) struct Run<'a> {
    db: &'a Db,
    open: Arc<Open>,
    place: Place,
    attempt: u32,
    connection: u64,
    begun: Instant,
    told: bool,
}

impl<'a> Run<'a> {
    pub(crate) async fn begin(db: &'a Db, place: Place, attempt: u32) -> Result<Self> {
        let mut lease = db.shared.pool(false).acquire_at(place).await?;
        let begun = db.shared.clock.now();
        let limit = db.server_limit();
        db.in_time(db.deadline(), lease.begin(limit)).await.map_err(|e| e.at(place))?;
        let connection = lease.id();
        let open = Arc::new(Open {
            id: next_id(),
            slot: Mutex::new(Some(lease)),
            ended: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            schema: AtomicBool::new(false),
            streaming: AtomicBool::new(false),
            statements: AtomicU32::new(0),
            rollback_only: OnceLock::new(),
        });
        Ok(Self { db, open, place, attempt, connection, begun, told: false })
    }

    pub(crate) fn handle(&self) -> Db {
        Db { shared: Arc::clone(&self.db.shared), transaction: Some(Arc::clone(&self.open)) }
    }

    pub(crate) async fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        self.open.ended.store(true, SeqCst);
        // A statement in a task that was spawned from the closure may still have its turn.
        let limit = self.db.shared.options.acquire_timeout;
        let slot = self.db.shared.clock.timeout(limit, self.open.slot.lock()).await;
        let lease = slot.and_then(|mut slot| slot.take());
        let outcome = match (outcome, lease) {
            (Ok(value), Some(lease)) => {
                self.commit(lease).await.map(|()| value).map_err(|e| e.at(self.place))
            }
            (Err(error), Some(lease)) => {
                self.rollback(lease).await;
                Err(error)
            }
            (Ok(_), None) => {
                Err(Error::new(Code::TxBusy, "a statement of the transaction has not ended")
                    .why("a task that the closure spawned still uses it")
                    .at(self.place))
            }
            (Err(error), None) => Err(error),
        };
        // Where a statement still has the connection, its end gives it back.
        self.open.abandon();
        match &outcome {
            Ok(_) => self.tell(true, Outcome::Done),
            Err(error) => self.tell(false, Outcome::Failed(error)),
        }
        outcome
    }

    async fn commit(&self, mut lease: Lease<Driver>) -> Result<()> {
        if let Some(place) = self.open.rollback_only.get() {
            self.rollback(lease).await;
            return Err(Error::new(
                Code::TxRollbackOnly,
                "the transaction was rolled back, not committed",
            )
            .why(format!(
                "the part that joined it at {place} failed, and its error was swallowed"
            )));
        }
        if lease.state.activity != Activity::Idle
            && let Err(error) = self.db.settle(&mut lease).await
        {
            self.rollback(lease).await;
            return Err(error);
        }
        let limit = self.db.shared.options.validation_timeout;
        if self.db.shared.clock.timeout(limit, lease.is_aborted()).await.unwrap_or(true) {
            self.rollback(lease).await;
            return Err(Error::new(Code::TxRollbackOnly, "the transaction was rolled back, not committed")
                .why("a statement in it failed so that the whole was given up, and its error was swallowed"));
        }
        let Err(error) = self.db.commit_in_time(&mut lease).await? else { return Ok(()) };
        if lease.state.broken {
            let error = from_driver(error, None);
            return Err(Error::new(Code::TxAmbiguous, "the answer to COMMIT was lost").cause(error));
        }
        // Most servers have rolled back themselves; one more ROLLBACK makes sure of all.
        self.rollback(lease).await;
        Err(from_driver(error, Some("COMMIT")))
    }

    /// Rolls back at once where the connection is free for it and answers; else the pool sees to it.
    /// Either way within the pool's bound for that.
    async fn rollback(&self, mut lease: Lease<Driver>) {
        if !lease.state.broken && lease.state.activity == Activity::Idle {
            let shared = &self.db.shared;
            // If it fails, the connection comes back as one with an open transaction.
            shared.clock.timeout(shared.options.recover_timeout, lease.rollback()).await;
        }
    }

    fn tell(&mut self, committed: bool, outcome: Outcome<'_>) {
        self.told = true;
        let shared = &self.db.shared;
        if self.open.schema.load(SeqCst) {
            shared.schema_epoch.fetch_add(1, SeqCst);
        }
        if shared.observer.is_active() {
            shared.observer.transaction(&observe::Transaction {
                pool: &shared.name,
                id: self.open.id,
                place: self.place,
                scope: Scope::current().as_ref(),
                connection: self.connection,
                attempt: self.attempt,
                statements: self.open.statements.load(SeqCst),
                duration: shared.clock.now().saturating_duration_since(self.begun),
                committed,
                outcome,
            });
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.open.abandon();
            self.tell(false, Outcome::Cancelled);
        }
    }
}
