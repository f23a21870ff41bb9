//! What a pool must know of the connections it pools. Nothing here says how they are kept.

use mainstay_core::Result;

use crate::activity::Activity;

/// In what condition a connection came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Ready for anybody.
    Clean,
    /// Something of its last user is left on it, which [`Manage::recover`] may put right.
    Dirty,
    /// Nothing is wrong with it, but it must not go to anybody else: it is closed.
    Spent,
    /// Of no use any more.
    Broken,
}

/// Opens, judges and closes connections for a [`Pool`](crate::Pool).
///
/// Every future here is run by the pool under a bound of its own and may be dropped at any await;
/// the connection it was given is then discarded.
pub trait Manage: Send + Sync + 'static {
    /// What is pooled. Dropping one must release all it holds, without blocking.
    type Connection: Send + 'static;

    /// Opens a connection. Bounded by `connect_timeout`; at most `max_connecting` at a time.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Takes the place to note what is done with a connection that was just opened, so that reports
    /// of leaks and of an exhausted pool can say it. The default says nothing: what is held counts
    /// as unused then.
    fn attach(&self, _connection: &mut Self::Connection, _activity: Activity) {}

    /// Asks whether a connection that lay idle still answers. Bounded by `validation_timeout`.
    fn check(&self, connection: &mut Self::Connection) -> impl Future<Output = Result<()>> + Send;

    /// Judges a connection that comes back, without I/O: it is called in a `Drop`.
    fn condition(&self, connection: &Self::Connection) -> Condition;

    /// Makes a dirty connection clean, or fails. Bounded by `recover_timeout`.
    fn recover(&self, connection: &mut Self::Connection)
    -> impl Future<Output = Result<()>> + Send;

    /// Gets rid of a broken connection, without blocking: it may be called in a `Drop`. The default
    /// drops it.
    fn discard(&self, connection: Self::Connection) {
        drop(connection);
    }

    /// Says good-bye to the other side. Bounded by one second.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send;
}
