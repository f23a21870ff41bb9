//! The connection that a statement runs on: one of the pool's for this statement alone, or that of
//! the open transaction.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use mainstay_core::{Code, Error, Place, Result};
use mainstay_pool::{Lease, Manage};

use crate::connection::{Activity, Connection};
use crate::db::Db;
use crate::driver::Driver;
use crate::text::Text;
use crate::transaction::Turn;

/// How long a transaction waits for what an abandoned statement of its own left running.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

pub(crate) enum Hold<'a> {
    Pooled(Lease<Driver>),
    Transaction(Turn<'a>),
}

impl Hold<'_> {
    /// The connection's number.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Hold::Pooled(lease) => lease.id(),
            Hold::Transaction(turn) => turn.lease().id(),
        }
    }
}

/// A statement that may change the schema is being run: when it ends, in whatever way, what is
/// prepared may be out of date. Dropped while the connection is still held.
pub(crate) struct Ran<'a> {
    db: &'a Db,
    changes_schema: bool,
}

impl<'a> Ran<'a> {
    pub(crate) fn new(db: &'a Db, text: &Text) -> Self {
        Self { db, changes_schema: text.changes_schema }
    }
}

impl Drop for Ran<'_> {
    fn drop(&mut self) {
        if self.changes_schema {
            self.db.shared.schema_epoch.fetch_add(1, Relaxed);
            if let Some(transaction) = &self.db.transaction {
                transaction.changed_schema();
            }
        }
    }
}

impl Hold<'_> {
    /// Where `text` may leave a transaction open on a connection of the pool, the pool is to roll
    /// back: no driver tells whether it did.
    pub(crate) fn mark(&mut self, text: &Text) {
        if text.may_control && matches!(self, Hold::Pooled(_)) {
            self.state.in_transaction = true;
        }
    }
}

impl Db {
    /// A connection for one statement. `reads` says that it surely writes nothing; `streams` that
    /// the program runs between its rows.
    pub(crate) async fn hold(&self, reads: bool, streams: bool, place: Place) -> Result<Hold<'_>> {
        let Some(transaction) = &self.transaction else {
            let pool = self.shared.pool(reads);
            let mut lease = pool.acquire_at(place).await?;
            self.refresh(&mut lease).await?;
            return Ok(Hold::Pooled(lease));
        };
        let limit = self.shared.options.acquire_timeout;
        let mut turn = transaction.turn(&self.shared.clock, limit, streams, place).await?;
        turn.probe().await.map_err(|e| e.at(place))?;
        if turn.state.lost_transaction {
            let what = "the server has rolled this transaction back";
            return Err(Error::new(Code::TxRollbackOnly, what)
                .why("an earlier statement failed so that it could not go on")
                .at(place));
        }
        if turn.state.activity != Activity::Idle {
            self.settle(&mut turn).await.map_err(|e| e.at(place))?;
        }
        self.refresh(&mut turn).await?;
        Ok(Hold::Transaction(turn))
    }

    /// After a change of the schema, each connection forgets once what it had prepared before: a
    /// remembered statement would read the columns that the table had then.
    async fn refresh(&self, connection: &mut Connection) -> Result<()> {
        let epoch = self.shared.schema_epoch.load(Relaxed);
        if connection.epoch != epoch {
            connection.forget_statements().await?;
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

impl Deref for Hold<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Hold::Pooled(lease) => lease,
            Hold::Transaction(turn) => turn,
        }
    }
}

impl DerefMut for Hold<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        match self {
            Hold::Pooled(lease) => lease,
            Hold::Transaction(turn) => turn,
        }
    }
}
