//! The connection that a statement runs on: one of the pool's for this statement alone, or that of
//! the open transaction.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use mainstay_core::{Code, Error, Place, Result};
use mainstay_pool::{Activity as Notes, Lease, Manage};

use crate::connection::{Activity, Connection};
use crate::db::Db;
use crate::deadline::scope_deadline;
use crate::driver::Driver;
use crate::engine::Engine;
use crate::statement::Sql;
use crate::text::Text;
use crate::trail::Step;
use crate::transaction::{Access, Beside, Turn, look_past};

/// How long a transaction waits for what an abandoned statement of its own left running.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

pub(crate) enum Hold {
    Pooled(Lease<Driver>),
    Transaction(Turn),
}

impl Hold {
    /// The connection's number.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Hold::Pooled(lease) => lease.id(),
            Hold::Transaction(turn) => turn.lease().id(),
        }
    }
}

/// A statement is being run. When it ends, in whatever way, its connection is noted as unused again,
/// and if it may have changed the schema, what is prepared as out of date. Dropped while the
/// connection is still held.
pub(crate) struct Ran<'a> {
    db: &'a Db,
    changes_schema: bool,
    activity: Option<Notes>,
    step: Option<Step>,
}

impl Ran<'_> {
    /// Its rows are with the program, which takes its time: nothing is under way meanwhile.
    pub(crate) fn pauses(&self) {
        if let Some(activity) = &self.activity {
            activity.ends();
        }
    }

    /// The server is waited for again.
    pub(crate) fn resumes(&self) {
        if let Some(activity) = &self.activity {
            activity.resumes();
        }
    }
}

impl Drop for Ran<'_> {
    fn drop(&mut self) {
        self.pauses();
        if let Some(step) = &self.step {
            step.end(self.db.shared.clock.now());
        }
        if self.changes_schema {
            self.db.shared.schema_epoch.fetch_add(1, Relaxed);
            if let Some(transaction) = &self.db.transaction {
                transaction.whole.schema.store(true, SeqCst);
            }
        }
    }
}

impl Hold {
    /// A statement of `text` is about to be sent.
    ///
    /// Errors: DB-036 where it needs a session of its own and there is none.
    pub(crate) fn begins<'d>(
        &mut self,
        db: &'d Db,
        text: &Text,
        sql: &Sql,
        place: Place,
    ) -> Result<Ran<'d>> {
        if let Some(what) = text.session {
            if self.is_pooled() {
                return Err(needs_session(what));
            }
            // It is closed when it comes back, so that nobody else finds it changed.
            self.state.spent |= db.engine() != Engine::Sqlite;
        }
        // Where the text may leave a transaction open on a connection of the pool, the pool is to
        // roll back: no driver tells whether it did.
        if text.may_control && matches!(self, Hold::Pooled(_)) {
            self.state.in_transaction = true;
        }
        let activity = self.activity.clone();
        if let Some(activity) = &activity {
            activity.begins(sql.to_what());
        }
        let transaction = db.transaction.as_ref().map(|t| (t.whole.id, t.whole.place));
        // A read by itself keeps no lock that anybody could wait for.
        let locks = transaction.is_some() || !text.only_reads;
        let step = self.trail.as_ref().filter(|_| locks).map(|trail| {
            let now = db.shared.clock.now();
            trail.begin(sql, place, transaction, now)
        });
        Ok(Ran { db, changes_schema: text.changes_schema, activity, step })
    }

    /// Behind a transaction pooler the driver's two exchanges of a statement could reach two servers:
    /// a transaction around them keeps them together, and tells the server how long it may take.
    /// Returns whether one was opened.
    pub(crate) async fn enclose(&mut self, db: &Db, prepared: bool) -> Result<bool> {
        let needed = prepared && self.is_pooled() && !self.state.in_transaction;
        if needed {
            let limit = db.server_limit(None).or(db.shared.statement_timeout);
            self.begin(Access::default(), limit).await?;
        }
        Ok(needed)
    }

    /// Ends what [`enclose`](Self::enclose) opened: commits if all went well. Where the statement is
    /// still under way, the pool rolls back.
    pub(crate) async fn conclude(&mut self, db: &Db, enclosed: bool, well: bool) -> Result<()> {
        if !enclosed || self.state.activity != Activity::Idle || self.state.broken {
            return Ok(());
        }
        if well {
            return db.commit_one(self).await;
        }
        let limit = db.shared.options.recover_timeout;
        db.shared.clock.timeout(limit, self.rollback()).await.unwrap_or(Ok(()))
    }

    /// Refuses a statement that is prepared by itself, to be used later. Errors: DB-036.
    pub(crate) fn check_session(&self) -> Result<()> {
        if self.is_pooled() { Err(needs_session("a prepared statement")) } else { Ok(()) }
    }

    /// Whether `text` goes without the driver's preparation: behind a transaction pooler what has no
    /// values need not be held together by a transaction, and some of it may not.
    pub(crate) fn goes_plain(&self, text: &Text, bounded: bool) -> bool {
        // In a transaction the server can be told how long it may take.
        let encloses = bounded && text.only_reads;
        self.is_pooled() && text.params == 0 && text.is_single && !encloses
    }
}

pub(crate) fn needs_session(what: &str) -> Error {
    Error::new(Code::NeedsSession, format!("{what} needs a session of its own")).why(
        "the database is behind a transaction pooler, which gives the server's session to others after each transaction",
    )
}

impl Db {
    /// A connection for one statement. `reads` says that it surely writes nothing; `streams` that
    /// the program runs between its rows.
    pub(crate) async fn hold(&self, reads: bool, streams: bool, place: Place) -> Result<Hold> {
        let Some(transaction) = &self.transaction else {
            look_past(self, place);
            let mut lease = self.acquire(reads, place).await?;
            self.refresh(&mut lease).await?;
            return Ok(Hold::Pooled(lease));
        };
        let limit = self.shared.options.acquire_timeout;
        let turn = transaction.turn(&self.shared.clock, limit, streams, place);
        let mut turn = self.in_time(scope_deadline(), turn).await?;
        transaction.whole.statements.fetch_add(1, SeqCst);
        self.make_ready(&mut turn).await.map_err(|e| e.at(place))?;
        self.refresh(&mut turn).await?;
        Ok(Hold::Transaction(turn))
    }

    /// A connection of the pool that serves `reads`. What the task keeps meanwhile is counted.
    pub(crate) async fn acquire(&self, reads: bool, place: Place) -> Result<Lease<Driver>> {
        let pool = self.shared.pool(reads);
        let beside = Beside::new(self, reads);
        match beside.held {
            None => pool.acquire_at(place).await,
            Some(held) => pool.acquire_beside(held, place).await,
        }
    }

    /// Brings the connection of a transaction to where its next statement may begin.
    ///
    /// Errors: TX-002 (the server has rolled back), TX-005 (a statement was dropped half-way).
    pub(crate) async fn make_ready(&self, connection: &mut Connection) -> Result<()> {
        connection.probe().await?;
        if connection.state.lost_transaction {
            let what = "the server has rolled this transaction back";
            return Err(Error::new(Code::TxRollbackOnly, what)
                .why("an earlier statement failed so that it could not go on"));
        }
        if connection.state.activity != Activity::Idle {
            self.settle(connection).await?;
        }
        if connection.state.undo.is_some() {
            let limit = self.shared.options.recover_timeout;
            let silent = || Error::new(Code::ConnectionLost, "the database does not answer");
            let undone = self.shared.clock.timeout(limit, connection.undo()).await;
            undone.ok_or_else(silent)??;
        }
        Ok(())
    }

    /// After a change of the schema, each connection forgets once what it had prepared before: a
    /// remembered statement would read the columns that the table had then.
    async fn refresh(&self, connection: &mut Connection) -> Result<()> {
        let epoch = self.shared.schema_epoch.load(Relaxed);
        if connection.epoch != epoch {
            let limit = self.shared.options.validation_timeout;
            let forgets = self.shared.clock.timeout(limit, connection.forget_statements());
            let silent = || Err(Error::new(Code::ConnectionLost, "the database does not answer"));
            forgets.await.unwrap_or_else(silent)?;
            connection.epoch = epoch;
        }
        Ok(())
    }

    /// An earlier statement of this transaction was dropped before its end. What is left of a
    /// result is read and thrown away; a statement cut off half-way ends the transaction, since
    /// nobody knows whether it took effect.
    pub(crate) async fn settle(&self, connection: &mut Connection) -> Result<()> {
        let abandoned = || {
            Error::new(
                Code::TxAbandoned,
                "an earlier statement of this transaction was dropped half-way",
            )
        };
        if connection.state.activity == Activity::Waiting {
            return Err(abandoned());
        }
        let rest = self.shared.driver().check(connection);
        match self.shared.clock.timeout(SETTLE_LIMIT, rest).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(abandoned().cause(error)),
            None => Err(abandoned().why(format!("its result did not end within {SETTLE_LIMIT:?}"))),
        }
    }
}

impl Deref for Hold {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Hold::Pooled(lease) => lease,
            Hold::Transaction(turn) => turn,
        }
    }
}

impl DerefMut for Hold {
    fn deref_mut(&mut self) -> &mut Connection {
        match self {
            Hold::Pooled(lease) => lease,
            Hold::Transaction(turn) => turn,
        }
    }
}
