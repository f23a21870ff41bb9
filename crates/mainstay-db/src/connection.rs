//! A driver's connection, with what must be known of it so that it is never handed out dirty.
//!
//! The invariant: from the moment a statement is sent until its result has been read to the end,
//! `activity` is not `Idle`; and from BEGIN to the end of a transaction `in_transaction` is set. A
//! future dropped at any await leaves them as they are, and the pool acts on that.

use futures_util::StreamExt;
use mainstay_core::Result;
use mainstay_pool::Condition;
use sqlx::{Executor, SqlSafeStr, SqlStr};

use crate::engine::Engine;
use crate::error::{from_driver, leaves_connection_usable};
use crate::steps::{Step, Steps};
use crate::value::Arguments;

/// A pooled connection.
pub(crate) struct Connection {
    pub(crate) raw: Raw,
    pub(crate) state: State,
}

/// A driver's connection.
pub(crate) enum Raw {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqliteConnection, crate::driver::sqlite::Interrupt),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgConnection, crate::driver::postgres::Backend),
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlConnection),
}

/// Where a connection stands with its server.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) activity: Activity,
    pub(crate) in_transaction: bool,
    /// A statement failed in the open transaction: PostgreSQL refuses all further ones.
    pub(crate) failed_in_transaction: bool,
    pub(crate) broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Nothing is under way.
    Idle,
    /// An answer is awaited: a drop here leaves the exchange half-way.
    Waiting,
    /// Between two rows of a result.
    Rows,
}

/// The result of a statement, to be read to its end or dropped.
pub(crate) struct Reading<'c> {
    steps: Steps<'c>,
    state: &'c mut State,
}

impl Connection {
    pub(crate) fn new(raw: Raw) -> Self {
        let activity = Activity::Idle;
        let state =
            State { activity, in_transaction: false, failed_in_transaction: false, broken: false };
        Self { raw, state }
    }

    pub(crate) fn engine(&self) -> Engine {
        match &self.raw {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(..) => Engine::Sqlite,
            #[cfg(feature = "postgres")]
            Raw::Postgres(..) => Engine::Postgres,
            #[cfg(feature = "mysql")]
            Raw::MySql(_) => Engine::MySql,
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        match (self.state.broken, self.state.activity) {
            (true, _) => Condition::Broken,
            // The driver loses its place in MySQL's protocol when a future is dropped half-way.
            (_, Activity::Waiting) if self.engine() == Engine::MySql => Condition::Broken,
            (_, Activity::Waiting | Activity::Rows) => Condition::Dirty,
            (_, Activity::Idle) if self.state.in_transaction => Condition::Dirty,
            (_, Activity::Idle) => Condition::Clean,
        }
    }

    /// Sends a statement. Without arguments it goes unprepared, and may be several.
    pub(crate) fn send(&mut self, sql: SqlStr, arguments: Option<Arguments>) -> Reading<'_> {
        macro_rules! fetch {
            ($connection:expr, $engine:ident) => {{
                let arguments = match arguments {
                    Some(Arguments::$engine(arguments)) => Some(arguments),
                    None => None,
                    #[allow(unreachable_patterns, reason = "reached only with several engines")]
                    Some(_) => unreachable!("arguments are made for the handle's own engine"),
                };
                Steps::$engine($connection.fetch_many((sql, arguments)))
            }};
        }
        self.state.activity = Activity::Waiting;
        let steps = match &mut self.raw {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection, _) => fetch!(connection, Sqlite),
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection, _) => fetch!(connection, Postgres),
            #[cfg(feature = "mysql")]
            Raw::MySql(connection) => fetch!(connection, MySql),
        };
        Reading { steps, state: &mut self.state }
    }

    /// Runs `sql`, unprepared, to its end: BEGIN, COMMIT, scripts. Returns the rows changed.
    pub(crate) async fn run(&mut self, sql: impl SqlSafeStr) -> Result<u64, sqlx::Error> {
        let mut changed = 0;
        let mut reading = self.send(sql.into_sql_str(), None);
        while let Some(step) = reading.next().await? {
            if let Step::Done { affected, .. } = step {
                changed += affected;
            }
        }
        Ok(changed)
    }

    /// Opens a transaction. SQLite takes its write lock at once, so that waiting for it is bounded
    /// by the busy timeout and no later statement can fail for it.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        let sql = if self.engine() == Engine::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.state.in_transaction = true;
        self.state.failed_in_transaction = false;
        let outcome = self.run(sql).await;
        if outcome.is_err() && !self.state.broken {
            self.state.in_transaction = false;
        }
        outcome.map(drop).map_err(|e| from_driver(e, Some(sql)))
    }

    /// Where this fails, the transaction may still be open (SQLite): a rollback settles it.
    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.run("COMMIT").await?;
        self.state.in_transaction = false;
        Ok(())
    }

    pub(crate) async fn rollback(&mut self) -> Result<()> {
        self.run("ROLLBACK").await.map_err(|e| from_driver(e, Some("ROLLBACK")))?;
        self.state.in_transaction = false;
        Ok(())
    }

    /// Whether PostgreSQL has given the open transaction up: COMMIT would quietly roll it back.
    pub(crate) async fn is_aborted(&mut self) -> bool {
        self.engine() == Engine::Postgres
            && self.state.failed_in_transaction
            && self.run("SELECT 1").await.is_err()
    }
}

impl Reading<'_> {
    /// The next step; `None` at the end. Not to be called again after the end or an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Step>, sqlx::Error> {
        self.state.activity = Activity::Waiting;
        let step = self.steps.next().await.transpose();
        self.state.note(step.as_ref().map(Option::is_some));
        step
    }
}

impl State {
    /// Notes how a wait for the server ended: with an item, at the end, or in an error.
    pub(crate) fn note(&mut self, item: Result<bool, &sqlx::Error>) {
        match item {
            Ok(true) => self.activity = Activity::Rows,
            Ok(false) => self.activity = Activity::Idle,
            Err(error) => {
                self.failed_in_transaction |= self.in_transaction;
                if leaves_connection_usable(error) {
                    self.activity = Activity::Idle;
                } else {
                    self.broken = true;
                }
            }
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("engine", &self.engine())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
