//! Pessimistic locks: the rows that a SELECT reads are locked until the transaction ends.

use mainstay_core::{Code, Error, Result};
use sqlx::AssertSqlSafe;

use crate::db::Db;
use crate::engine::Engine;
use crate::query::Query;
use crate::statement::{IntoSql, Sql};

/// How a query locks what it reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowLock {
    shared: bool,
    waits: Waits,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Until the lock is had, or the server's or the program's timeout.
    On,
    No,
    Skip,
}

impl RowLock {
    pub(crate) const UPDATE: RowLock = RowLock { shared: false, waits: Waits::On };
    pub(crate) const SHARE: RowLock = RowLock { shared: true, waits: Waits::On };

    /// `sql` with the clause. On SQLite nothing is added: a transaction that may write has the only
    /// write lock already, so no row can be locked by anybody else.
    ///
    /// Errors: LOCK-004 (no transaction), DB-027 (read only), DB-016 (not one SELECT).
    pub(crate) fn apply(self, db: &Db, sql: Sql) -> Result<Sql> {
        let Some(open) = &db.transaction else {
            return Err(Error::new(
                Code::LockOutside,
                "rows are locked inside a transaction alone",
            )
            .why("outside, the lock would end with the statement"));
        };
        if open.whole.access.read_only {
            return Err(Error::new(
                Code::Denied,
                "rows can't be locked in a read-only transaction",
            )
            .fix("begin the transaction without read_only()"));
        }
        if db.engine() == Engine::Sqlite {
            return Ok(sql);
        }
        let text = sql.as_str().trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        let strength = match (self.shared, db.shared.driver().is_mariadb()) {
            (false, _) => "FOR UPDATE",
            (true, true) => "LOCK IN SHARE MODE",
            (true, false) => "FOR SHARE",
        };
        let waits = match self.waits {
            Waits::On => "",
            Waits::No => " NOWAIT",
            Waits::Skip => " SKIP LOCKED",
        };
        // On a line of its own, since the text may end in a comment.
        let locked = AssertSqlSafe(format!("{text}\n{strength}{waits}")).into_sql();
        let known = locked.text(&db.shared.texts, db.engine())?;
        if !known.is_single || !known.begins_with_select {
            return Err(Error::new(
                Code::Unsupported,
                "only one SELECT can lock the rows it reads",
            )
            .why(sql.as_str().to_owned()));
        }
        Ok(locked)
    }
}

impl Query<'_> {
    /// Locks the rows that this SELECT reads, until the transaction ends: nobody else changes or
    /// locks them meanwhile (`FOR UPDATE`). Waits for locks of others, up to the deadline; two that
    /// lock in different orders end in a deadlock, so lock in the order of the key.
    ///
    /// In a transaction that may write, on its handle, alone. SQLite: nothing is sent, since such a
    /// transaction has the whole database's only write lock.
    ///
    /// Errors when it runs: LOCK-004 (no transaction), DB-027 (a read-only one), DB-016 (not one
    /// SELECT).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// # db.query("CREATE TABLE jobs (id INTEGER PRIMARY KEY)").execute().await?;
    /// db.transaction(|tx| async move {
    ///     let next = tx.query("SELECT id FROM jobs ORDER BY id LIMIT 1").for_update().skip_locked();
    ///     let next: Option<(i64,)> = next.optional().await?;
    ///     # assert!(next.is_none());
    ///     Ok(())
    /// }).await?;
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    pub fn for_update(mut self) -> Self {
        self.lock = Some(RowLock::UPDATE);
        self
    }

    /// As [`for_update`](Self::for_update), but others may lock them so too (`FOR SHARE`; on MariaDB
    /// `LOCK IN SHARE MODE`; MySQL from 8.0 on).
    pub fn for_share(mut self) -> Self {
        self.lock = Some(RowLock::SHARE);
        self
    }

    /// With [`for_update`](Self::for_update) or [`for_share`](Self::for_share): a row that somebody
    /// else has locked is an error at once (DB-032). PostgreSQL gives the transaction up with it.
    pub fn no_wait(self) -> Self {
        self.waiting(Waits::No)
    }

    /// With [`for_update`](Self::for_update) or [`for_share`](Self::for_share): rows that somebody
    /// else has locked are left out, as a queue wants it.
    pub fn skip_locked(self) -> Self {
        self.waiting(Waits::Skip)
    }

    /// Without a strength it locks for an update: that is what is meant.
    fn waiting(mut self, waits: Waits) -> Self {
        self.lock = Some(RowLock { waits, ..self.lock.unwrap_or(RowLock::UPDATE) });
        self
    }
}
