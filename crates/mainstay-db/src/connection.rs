//! A driver's connection, with what must be known of it so that it is never handed out dirty.
//!
//! The invariant: from the moment a statement is sent until its result has been read to the end,
//! `activity` is not `Idle`; and from BEGIN to the end of a transaction `in_transaction` is set. A
//! future dropped at any await leaves them as they are, and the pool acts on that.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use mainstay_core::Result;
use mainstay_pool::{Activity as Notes, Condition};
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr, SqlStr};

use crate::engine::Engine;
use crate::error::{ends_transaction, from_driver, is_lock_timeout, leaves_connection_usable};
use crate::route;
use crate::row::Row;
use crate::steps::{Step, Steps};
use crate::text::Text;
use crate::trail::Trail;
use crate::transaction::{Access, Durability, PreparedId};
use crate::value::Arguments;

/// What our savepoints' names begin with.
const SAVEPOINT: &str = "mainstay_";

/// A pooled connection.
pub(crate) struct Connection {
    pub(crate) raw: Raw,
    pub(crate) state: State,
    /// The schema's epoch that its prepared statements are of: see `Db::hold`.
    pub(crate) epoch: u64,
    /// Where what is done with it is noted, for reports; given by the pool.
    pub(crate) activity: Option<Notes>,
    /// Its last statements, where a server's word of a deadlock can be matched with them.
    pub(crate) trail: Option<Arc<Trail>>,
}

/// A driver's connection.
pub(crate) enum Raw {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqliteConnection, crate::driver::sqlite::Interrupt),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgConnection, crate::driver::postgres::Backend),
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlConnection, crate::driver::mysql::Session),
}

/// How a transaction ends well.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Commit {
    Plain,
    /// And says where the server is then.
    Position,
    /// Prepared, and committed by who coordinates it.
    Prepare(PreparedId),
}

/// Where a connection stands with its server.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) activity: Activity,
    pub(crate) in_transaction: bool,
    /// A statement failed in the open transaction: PostgreSQL refuses all further ones.
    pub(crate) failed_in_transaction: bool,
    /// The server has rolled the open transaction back: what is sent now would commit by itself.
    pub(crate) lost_transaction: bool,
    /// The server rolls all back, not the statement alone, where a lock is not had in time.
    pub(crate) timeout_ends: bool,
    /// It is being asked whether it lives: what that may leave half-way does not run on.
    pub(crate) checked: bool,
    /// Its session was changed: nobody else may have it.
    pub(crate) spent: bool,
    /// Its session has advisory locks that must be let go of.
    pub(crate) locks: bool,
    /// Its commits do not wait for the disk (SQLite): so until the open transaction has ended.
    pub(crate) asynchronous: bool,
    /// The savepoint that the open transaction is to be rolled back to before it goes on.
    pub(crate) undo: Option<u32>,
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
    /// SQLite says of a prepared statement that it is done before its result ends.
    owes_done: bool,
    /// Its text is one statement, of SQLite's: when that is done, so is the result. To wait until the
    /// driver's thread says so too would cost one more change of threads.
    single: bool,
    over: bool,
}

impl Connection {
    pub(crate) fn new(raw: Raw, trail: Option<Arc<Trail>>) -> Self {
        let mut state = State::new();
        state.timeout_ends = match &raw {
            #[cfg(feature = "mysql")]
            Raw::MySql(_, session) => session.timeout_ends,
            #[allow(unreachable_patterns, reason = "reached only with several engines")]
            _ => false,
        };
        Self { raw, state, epoch: 0, activity: None, trail }
    }

    pub(crate) fn engine(&self) -> Engine {
        match &self.raw {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(..) => Engine::Sqlite,
            #[cfg(feature = "postgres")]
            Raw::Postgres(..) => Engine::Postgres,
            #[cfg(feature = "mysql")]
            Raw::MySql(..) => Engine::MySql,
        }
    }

    pub(crate) fn condition(&self) -> Condition {
        match (self.state.broken, self.state.activity) {
            (true, _) => Condition::Broken,
            // The driver loses its place in MySQL's protocol when a future is dropped half-way. Of
            // one behind a pooler nobody knows which process to have give up.
            (_, Activity::Waiting) if self.engine() == Engine::MySql => Condition::Broken,
            (_, Activity::Waiting | Activity::Rows) if self.is_pooled() => Condition::Broken,
            (_, Activity::Waiting | Activity::Rows) => Condition::Dirty,
            // What was set on the session is the next one's surprise.
            (_, Activity::Idle) if self.state.spent => Condition::Spent,
            (_, Activity::Idle)
                if self.state.in_transaction || self.state.locks || self.state.asynchronous =>
            {
                Condition::Dirty
            }
            (_, Activity::Idle) => Condition::Clean,
        }
    }

    /// Sends a statement. Without arguments it goes unprepared, and may be several. With `keep`
    /// the driver remembers it prepared.
    pub(crate) fn send(
        &mut self,
        sql: SqlStr,
        arguments: Option<Arguments>,
        keep: bool,
    ) -> Reading<'_> {
        // PostgreSQL says so little of an empty statement.
        let owes_done = arguments.is_some() && self.engine() == Engine::Sqlite;
        macro_rules! fetch {
            ($connection:expr, $engine:ident) => {
                Steps::$engine(match arguments {
                    None => $connection.fetch_many(sql),
                    Some(Arguments::$engine(arguments)) => {
                        $connection.fetch_many(sqlx::query_with(sql, arguments).persistent(keep))
                    }
                    #[allow(unreachable_patterns, reason = "reached only with several engines")]
                    Some(_) => unreachable!("arguments are made for the handle's own engine"),
                })
            };
        }
        self.state.activity = Activity::Waiting;
        let steps = match &mut self.raw {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection, _) => fetch!(connection, Sqlite),
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection, _) => fetch!(connection, Postgres),
            #[cfg(feature = "mysql")]
            Raw::MySql(connection, _) => fetch!(connection, MySql),
        };
        Reading { steps, state: &mut self.state, owes_done, single: false, over: false }
    }

    /// Runs `sql`, unprepared, to its end. Returns the rows changed.
    pub(crate) async fn run(&mut self, sql: impl SqlSafeStr) -> Result<u64, sqlx::Error> {
        self.run_as(sql.into_sql_str(), false).await
    }

    /// As [`run`](Self::run), of a text that is one statement: BEGIN, COMMIT and the like.
    async fn command(&mut self, sql: impl SqlSafeStr) -> Result<u64, sqlx::Error> {
        let single = self.engine() == Engine::Sqlite;
        self.run_as(sql.into_sql_str(), single).await
    }

    async fn run_as(&mut self, sql: SqlStr, single: bool) -> Result<u64, sqlx::Error> {
        let busy = Busy::new(self.activity.as_ref());
        let mut changed = 0;
        let mut reading = self.send(sql, None, false);
        reading.single = single;
        while let Some(step) = reading.next().await? {
            if let Step::Done { affected, .. } = step {
                changed += affected;
            }
        }
        drop(busy);
        Ok(changed)
    }

    /// Has the driver forget its prepared statements: they may be of tables that were changed.
    pub(crate) async fn forget_statements(&mut self) -> Result<()> {
        use sqlx::Connection as _;
        let _busy = Busy::new(self.activity.as_ref());
        self.state.activity = Activity::Waiting;
        let done = match &mut self.raw {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite(connection, _) => connection.clear_cached_statements().await,
            #[cfg(feature = "postgres")]
            Raw::Postgres(connection, _) => connection.clear_cached_statements().await,
            #[cfg(feature = "mysql")]
            Raw::MySql(connection, _) => connection.clear_cached_statements().await,
        };
        self.state.note(done.as_ref().map(|()| false));
        done.map_err(|e| from_driver(e, None))?;
        if self.engine() == Engine::Sqlite {
            // SQLite notices a change of the schema when it runs a statement, not when it prepares
            // one: this is the statement, so that the next is prepared for the tables as they are.
            self.run("SELECT 1 FROM sqlite_schema LIMIT 1")
                .await
                .map_err(|e| from_driver(e, None))?;
        }
        Ok(())
    }

    /// Opens a transaction: see [`Access::begin`].
    pub(crate) async fn begin(&mut self, access: Access, limit: Option<Duration>) -> Result<()> {
        if access.durability == Some(Durability::Async) && self.engine() == Engine::Sqlite {
            // Not to be changed inside a transaction.
            self.state.asynchronous = true;
            let set = self.command("PRAGMA synchronous = NORMAL").await;
            set.map_err(|e| from_driver(e, Some("BEGIN")))?;
        }
        let sql = access.begin(self.engine(), limit);
        self.open_transaction(true);
        self.state.failed_in_transaction = false;
        self.state.lost_transaction = false;
        self.state.undo = None;
        let outcome = match sql {
            Cow::Borrowed(sql) => self.command(sql).await,
            Cow::Owned(sql) => self.run(AssertSqlSafe(sql)).await,
        };
        // PostgreSQL may have begun before what came with it failed: then the pool makes sure.
        if outcome.is_err() && !self.state.broken && self.engine() != Engine::Postgres {
            self.open_transaction(false);
            // The level may have been set for a transaction that did not begin.
            self.state.spent |= access.isolation.is_some() && self.engine() == Engine::MySql;
        }
        outcome.map(drop).map_err(|e| from_driver(e, Some("BEGIN")))
    }

    /// Sets the savepoint of `depth`.
    pub(crate) async fn save(&mut self, depth: u32) -> Result<()> {
        let sql = format!("SAVEPOINT {SAVEPOINT}{depth}");
        let done = self.command(AssertSqlSafe(sql)).await;
        done.map(drop).map_err(|e| from_driver(e, Some("SAVEPOINT")))
    }

    /// Keeps what was done since the savepoint of `depth`.
    pub(crate) async fn release(&mut self, depth: u32) -> Result<()> {
        let sql = format!("RELEASE SAVEPOINT {SAVEPOINT}{depth}");
        self.command(AssertSqlSafe(sql)).await.map(drop).map_err(|e| from_driver(e, None))
    }

    /// Rolls back to the savepoint that is due, if any, and forgets it.
    pub(crate) async fn undo(&mut self) -> Result<()> {
        let Some(depth) = self.state.undo else { return Ok(()) };
        let name = format!("{SAVEPOINT}{depth}");
        let sql = format!("ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}");
        self.run(AssertSqlSafe(sql)).await.map_err(|e| from_driver(e, None))?;
        self.state.undo = None;
        self.state.failed_in_transaction = false;
        Ok(())
    }

    /// Lets go of the session's advisory locks, if it may have any.
    pub(crate) async fn unlock(&mut self) -> Result<()> {
        if self.state.locks {
            let sql = match self.engine() {
                Engine::Postgres => "SELECT pg_advisory_unlock_all()",
                Engine::MySql | Engine::Sqlite => "SELECT RELEASE_ALL_LOCKS()",
            };
            self.run(sql).await.map_err(|e| from_driver(e, None))?;
            self.state.locks = false;
        }
        Ok(())
    }

    fn open_transaction(&mut self, open: bool) {
        self.state.in_transaction = open;
        if let Some(activity) = &self.activity {
            activity.in_transaction(open);
        }
    }

    /// Whether the server's side of it is shared with others between transactions.
    pub(crate) fn is_pooled(&self) -> bool {
        match &self.raw {
            #[cfg(feature = "postgres")]
            Raw::Postgres(_, backend) => backend.pooled,
            #[allow(unreachable_patterns, reason = "reached only with several engines")]
            _ => false,
        }
    }

    /// Where this fails, the transaction may still be open (SQLite): a rollback settles it.
    /// Commits, as is said. Once COMMIT itself was answered, what fails after it fails nothing: the position is unknown
    /// then.
    pub(crate) async fn commit(&mut self, how: Commit) -> Result<Option<String>, sqlx::Error> {
        let engine = self.engine();
        match how {
            Commit::Position if engine != Engine::Sqlite => self.commit_and_tell().await,
            Commit::Prepare(id) => {
                self.run(AssertSqlSafe(id.prepares(engine))).await?;
                self.open_transaction(false);
                // MariaDB's stays with the session until that ends.
                self.state.spent |= engine == Engine::MySql;
                Ok(None)
            }
            _ => {
                self.command("COMMIT").await?;
                self.open_transaction(false);
                Ok(None)
            }
        }
    }

    async fn commit_and_tell(&mut self) -> Result<Option<String>, sqlx::Error> {
        let busy = Busy::new(self.activity.as_ref());
        let (mut committed, mut told) = (false, None);
        {
            let sql = route::commit(self.engine()).into_sql_str();
            let mut reading = self.send(sql, None, false);
            loop {
                match reading.next().await {
                    Ok(Some(Step::Done { .. })) => committed = true,
                    Ok(Some(Step::Row(row))) => told = row.at::<Option<String>>(0).unwrap_or(None),
                    Err(error) if !committed => return Err(error),
                    Ok(None) | Err(_) => break,
                }
            }
        }
        drop(busy);
        self.open_transaction(false);
        Ok(told)
    }

    /// Has the next commits wait for the disk again. Outside a transaction.
    pub(crate) async fn synchronize(&mut self) -> Result<()> {
        if self.state.asynchronous {
            let done = self.command("PRAGMA synchronous = FULL").await;
            done.map_err(|e| from_driver(e, None))?;
            self.state.asynchronous = false;
        }
        Ok(())
    }

    pub(crate) async fn rollback(&mut self) -> Result<()> {
        match self.command("ROLLBACK").await {
            Err(error) if !is_no_transaction(&error) => Err(from_driver(error, Some("ROLLBACK"))),
            _ => {
                self.open_transaction(false);
                Ok(())
            }
        }
    }

    /// After an error in a transaction of SQLite: whether it is still open. An `ON CONFLICT ROLLBACK`
    /// or `RAISE(ROLLBACK)` ends it, and only a BEGIN that is not refused tells.
    pub(crate) async fn probe(&mut self) -> Result<()> {
        let asks = self.engine() == Engine::Sqlite
            && self.state.failed_in_transaction
            && !self.state.lost_transaction
            && self.state.activity == Activity::Idle;
        if asks {
            if self.run("BEGIN").await.is_ok() {
                self.state.lost_transaction = true;
                self.rollback().await?;
            }
            self.state.failed_in_transaction = false;
        }
        Ok(())
    }

    /// The first row of the answer to `sql`, which is sent unprepared.
    pub(crate) async fn ask(&mut self, sql: String) -> Result<Option<Row>, sqlx::Error> {
        let _busy = Busy::new(self.activity.as_ref());
        let mut first = None;
        let mut reading = self.send(AssertSqlSafe(sql).into_sql_str(), None, false);
        while let Some(step) = reading.next().await? {
            if let Step::Row(row) = step {
                first.get_or_insert(row);
            }
        }
        Ok(first)
    }

    /// Whether the open transaction can't be committed any more: COMMIT would quietly do nothing.
    pub(crate) async fn is_aborted(&mut self) -> bool {
        if self.probe().await.is_err() || self.state.lost_transaction || self.state.broken {
            return true;
        }
        self.engine() == Engine::Postgres
            && self.state.failed_in_transaction
            && self.run("SELECT 1").await.is_err()
    }
}

/// SQLite's answer to a ROLLBACK where a failure has rolled back already.
fn is_no_transaction(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.message().contains("no transaction is active"))
}

/// The server is waited for, for something that is no statement of the program's.
struct Busy(Option<Notes>);

impl Busy {
    fn new(activity: Option<&Notes>) -> Self {
        // What the program itself has under way goes on being under way.
        let idle = activity.filter(|a| !a.is_busy());
        Self(idle.inspect(|a| a.resumes()).cloned())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(activity) = &self.0 {
            activity.ends();
        }
    }
}

impl Reading<'_> {
    /// Says that `text` is what was sent.
    pub(crate) fn of(mut self, text: &Text, engine: Engine) -> Self {
        self.single = text.is_single && engine == Engine::Sqlite;
        self
    }

    /// The next step; `None` at the end. Not to be called again after the end or an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Step>, sqlx::Error> {
        if self.over {
            self.state.note(Ok(false));
            return Ok(None);
        }
        self.state.activity = Activity::Waiting;
        let mut step = self.steps.next().await.transpose();
        match &step {
            Ok(Some(Step::Done { .. })) => {
                self.owes_done = false;
                self.over = self.single;
            }
            // The driver's thread is gone: it panics on a table that was changed under it.
            Ok(None) if self.owes_done => step = Err(sqlx::Error::WorkerCrashed),
            _ => {}
        }
        self.state.note(step.as_ref().map(Option::is_some));
        step
    }
}

impl State {
    /// The open transaction is to be rolled back to the savepoint of `depth`, if it is one.
    pub(crate) fn undoes(&mut self, depth: u32) {
        if depth > 0 {
            self.undo = Some(self.undo.map_or(depth, |due| due.min(depth)));
        }
    }

    fn new() -> Self {
        Self {
            activity: Activity::Idle,
            in_transaction: false,
            failed_in_transaction: false,
            lost_transaction: false,
            timeout_ends: false,
            checked: false,
            spent: false,
            locks: false,
            asynchronous: false,
            undo: None,
            broken: false,
        }
    }

    /// Notes how a wait for the server ended: with an item, at the end, or in an error.
    pub(crate) fn note(&mut self, item: Result<bool, &sqlx::Error>) {
        match item {
            Ok(true) => self.activity = Activity::Rows,
            Ok(false) => self.activity = Activity::Idle,
            Err(error) => {
                self.failed_in_transaction |= self.in_transaction;
                let ends = ends_transaction(error) || (self.timeout_ends && is_lock_timeout(error));
                self.lost_transaction |= self.in_transaction && ends;
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
