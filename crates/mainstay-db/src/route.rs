//! Which of several servers the work of a handle goes to, where somebody has a say in that: a cluster of a primary and
//! replicas. Without one, nothing here costs more than a look at an `Option`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use mainstay_core::{Code, Error, Place, Result, Retry};

use crate::db::Db;
use crate::engine::Engine;

/// What is about to run, or has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work<'a> {
    /// One statement, outside transactions.
    Statement(&'a str),
    /// A transaction that only reads.
    ReadOnly,
    /// A transaction, a session, a script: whatever may write.
    Write,
}

/// Where it is to run.
pub enum Choice<'a> {
    /// On the handle's own server.
    Here,
    /// On this one's.
    There(Db),
    /// That takes a while to tell.
    Later(Pin<Box<dyn Future<Output = Result<Option<Db>>> + Send + 'a>>),
}

/// Chooses servers; see [`Db::routed`].
pub trait Route: Send + Sync + fmt::Debug {
    /// Where `work` is to run. A handle that it names is used as it is: its own route is not asked.
    fn choose<'a>(&'a self, work: Work<'a>) -> Choice<'a>;

    /// Whether it wants to know the position of what was committed, which then comes with COMMIT's answer.
    fn wants_positions(&self) -> bool;

    /// A statement or a transaction is through. `position` is what the server said with COMMIT: PostgreSQL's WAL insert
    /// position, MariaDB's GTID; `None` of a statement by itself, and where it was not told.
    fn done(&self, work: Work<'_>, position: Option<&str>);

    /// `work` was sent, and whether it took effect is not known: its caller was dropped, the answer was lost or came too
    /// late. It may even take effect later.
    fn unsure(&self, work: Work<'_>) {
        let _ = work;
    }

    /// The number of the cluster that its servers are, by which its [tokens](mainstay_core::token::Token) are known.
    fn cluster(&self) -> Option<u64> {
        None
    }

    /// The same, whose reads see all that was committed.
    fn fresh(&self) -> Option<Arc<dyn Route>> {
        None
    }

    /// Whether a statement that failed on the server of `on`, before any of its rows was handed on, is to be run again
    /// where [`choose`](Self::choose) then says. Twice at most.
    fn again(&self, work: Work<'_>, on: &Db, error: &Error) -> bool {
        let _ = (work, on, error);
        false
    }

    /// Ends when there is no use in waiting for `work` at the server of `on` any longer. Most often it never does.
    fn lost<'a>(
        &'a self,
        work: Work<'a>,
        on: &'a Db,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        let _ = (work, on);
        Box::pin(std::future::pending())
    }
}

/// A statement is run again so often.
pub(crate) const AGAIN_MAX: u32 = 2;

impl Db {
    /// The same handle, whose work goes where `route` says: statements and transactions, bulk inserts, scripts and sessions.
    /// What is inside a transaction stays on its server. [`Listener`](crate::Listener)s and advisory locks go where writes
    /// go, and stay there.
    ///
    /// `mainstay-route` makes such handles.
    #[must_use]
    pub fn routed(&self, route: Arc<dyn Route>) -> Db {
        Db { route: Some(route), ..self.clone() }
    }

    /// The same handle, whose reads see all that was committed, whatever the handle allows otherwise: of a cluster with
    /// replicas they go to the primary. For what keeps its state in the database, such as a queue.
    #[must_use]
    pub fn fresh(&self) -> Db {
        let route =
            self.route.as_ref().map(|route| route.fresh().unwrap_or_else(|| Arc::clone(route)));
        Db { route, ..self.clone() }
    }

    /// The number of the cluster that the handle is of, by which its [tokens](mainstay_core::token::Token) are known;
    /// none of a single server.
    pub fn cluster(&self) -> Option<u64> {
        self.route.as_ref()?.cluster()
    }

    /// Reads of the current scope see from now on all that was committed by now. It asks nobody: of a cluster with replicas
    /// the primary's next position is waited for, or read from; of a single server there is nothing to do.
    pub fn observe_now(&self) {
        self.ran(Work::Write);
    }

    /// The handle that `work` is to run on, if that is another. Errors: the route's.
    pub(crate) async fn chosen(&self, work: Work<'_>, place: Place) -> Result<Option<Db>> {
        let Some(route) = self.route.as_ref().filter(|_| self.transaction.is_none()) else {
            return Ok(None);
        };
        match route.choose(work) {
            Choice::Here => Ok(None),
            Choice::There(db) => Ok(Some(db)),
            Choice::Later(choice) => choice.await.map_err(|e| e.at(place)),
        }
    }

    /// Whether both are handles of the same pool.
    pub fn is_same(&self, other: &Db) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Tells the route that `work`, outside a transaction, is through.
    pub(crate) fn ran(&self, work: Work<'_>) {
        if let Some(route) = self.route.as_ref().filter(|_| self.transaction.is_none()) {
            route.done(work, None);
        }
    }
}

/// Work that is being sent. Dropped before it is [settled](Doubt::settled), its route is told that nobody knows.
pub(crate) struct Doubt<'a> {
    route: Option<&'a dyn Route>,
    work: Work<'a>,
}

impl<'a> Doubt<'a> {
    pub(crate) fn new(route: Option<&'a dyn Route>, work: Work<'a>) -> Self {
        Self { route, work }
    }

    /// It took effect, or surely did not.
    pub(crate) fn settled(&mut self) {
        self.route = None;
    }

    /// It took effect.
    pub(crate) fn done(&mut self) {
        if let Some(route) = self.route.take() {
            route.done(self.work, None);
        }
    }

    /// It ended with `error`, after the server had done some or all of it.
    pub(crate) fn done_unless_lost(&mut self, error: &Error) {
        if error.retryability() != Retry::Unknown {
            self.done();
        }
    }

    /// It failed with `error`, which is the server's, or one of before it was sent.
    pub(crate) fn failed(&mut self, error: &Error) {
        // A server that was never reached has done nothing, and one that refused has said so.
        if error.retryability() != Retry::Unknown {
            self.settled();
        }
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(route) = self.route {
            route.unsure(self.work);
        }
    }
}

impl Db {
    /// What is sent from here on, outside transactions, is in doubt until it is settled.
    pub(crate) fn doubt<'a>(&'a self, work: Work<'a>) -> Doubt<'a> {
        Doubt::new(self.route.as_deref().filter(|_| self.transaction.is_none()), work)
    }
}

/// COMMIT, and the position of what it committed: one exchange. MySQL proper has no such variable, which is an error after
/// COMMIT was answered, and its position stays unknown.
pub(crate) fn commit(engine: Engine) -> &'static str {
    match engine {
        // Where WAL is written to by now: at or after this COMMIT's own record.
        Engine::Postgres => "COMMIT; SELECT pg_current_wal_insert_lsn()::text",
        Engine::MySql => "COMMIT; SELECT @@last_gtid",
        Engine::Sqlite => "COMMIT",
    }
}

/// What a statement is told whose server went away while it ran.
pub(crate) fn lost(on: &Db) -> Error {
    Error::new(Code::Unreachable, format!("{} stopped answering while a statement ran", on.place()))
}
