//! Transactions: a closure that commits with `Ok` and rolls back with anything else.
//!
//! However the closure ends (an error, a panic, its future dropped), the connection is either
//! settled here or handed to the pool with a note that a transaction is open on it, and the pool
//! rolls back before anybody else gets it.

mod current;
mod durability;
mod hooks;
mod isolation;
mod nested;
mod open;
mod prepared;
mod propagation;
mod retry;
mod run;
mod scopes;
mod tx;

use mainstay_core::Result;

pub use current::network_call;
pub(crate) use current::{Beside, look_past};
pub use durability::Durability;
pub(crate) use isolation::Access;
pub use isolation::Isolation;
pub(crate) use open::{Open, Turn, ended};
pub use prepared::{Participant, Prepared, PreparedId};
pub use propagation::Propagation;
pub use retry::RetryPolicy;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(crate) use run::Run;
pub(crate) use tx::Plan;
pub use tx::Tx;

use crate::db::Db;

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
