//! What is made on the two sides for a move: who works on it, the log of what is written meanwhile, and the
//! [triggers](super::trigger) that write it and keep the keys shut once they have moved.
//!
//! A writer holds a lock of its logical shard, shared, to its transaction's end. Who has it exclusively knows that none
//! is under way. On PostgreSQL it is an advisory one, since those are given out in the order in which they were asked for,
//! which locks of rows are not; on MariaDB it is the fence's row, which is read as it is now whatever the transaction's
//! snapshot. PostgreSQL's triggers read it by their transaction's snapshot where that is kept for longer than a
//! statement, so there they lock it as well, and fail with a conflict where it was changed since.

use mainstay_core::{Code, Error, Result};

use super::dialect::{Dialect, is_wait_over};
use super::side::{BRIEF, LOCK_WAIT, Side};
use super::trigger::literal;
use super::which::Which;
use crate::shard::key::POSTGRES_LOGICAL;

/// Of the advisory locks, ours.
pub(super) const LOCK_CLASS: i32 = 0x6d73;

/// Whether each logical shard has moved away.
pub(super) const FENCE: &str = "mainstay_shard_fence";
/// Primary keys of rows that were written.
pub(super) const LOG: &str = "mainstay_shard_log";
/// Who works on each move.
const MOVER: &str = "mainstay_shard_mover";

impl Side {
    /// The tables of ours, where they are missing; and in them, that `owner` works on the move: as [`take`](Self::take).
    pub(super) async fn prepare(&mut self, owner: &str, logical: u16) -> Result<()> {
        let (fence, log, mover) = (self.own(FENCE), self.own(LOG), self.own(MOVER));
        let (id, options, index) = match self.d {
            Dialect::Postgres => ("BIGSERIAL PRIMARY KEY", "", ""),
            Dialect::MariaDb => (
                "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
                " ENGINE = InnoDB CHARACTER SET utf8mb4",
                ", INDEX mainstay_shard_log_move (move, id)",
            ),
        };
        let fence_sql = format!(
            "CREATE TABLE IF NOT EXISTS {fence} (move VARCHAR(16) NOT NULL PRIMARY KEY, logical INTEGER NOT NULL, \
             moved BOOLEAN NOT NULL){options}"
        );
        // Beside the fence, whose row writers lock.
        let mover_sql = format!(
            "CREATE TABLE IF NOT EXISTS {mover} (move VARCHAR(16) NOT NULL PRIMARY KEY, owner VARCHAR(16) NOT NULL){options}"
        );
        let log_sql = format!(
            "CREATE TABLE IF NOT EXISTS {log} (id {id}, move VARCHAR(16) NOT NULL, tbl INTEGER NOT NULL, \
             pk TEXT NOT NULL{index}){options}"
        );
        for sql in [fence_sql, mover_sql, log_sql] {
            self.make(&sql).await?;
        }
        if self.d == Dialect::Postgres {
            let index =
                format!("CREATE INDEX IF NOT EXISTS mainstay_shard_log_move ON {log} (move, id)");
            self.make(&index).await?;
            let there = format!(
                "SELECT (to_regprocedure({}) IS NOT NULL)::int::bigint",
                literal(&format!("{}.mainstay_logical(text)", self.schema))
            );
            if self.count(&there).await? == 0 {
                self.make(POSTGRES_LOGICAL).await?;
            }
        }
        let id = self.id();
        let open =
            format!("INSERT INTO {fence} (move, logical, moved) VALUES ('{id}', {logical}, FALSE)");
        let own = format!("INSERT INTO {mover} (move, owner) VALUES ('{id}', '{owner}')");
        for sql in [open, own] {
            match self.run(&sql).await {
                Err(error) if error.code() == Code::Unique => {}
                other => drop(other?),
            }
        }
        self.take(owner).await
    }

    /// Two at once may both make it: the other one has then.
    async fn make(&mut self, sql: &str) -> Result<()> {
        match self.run(sql).await {
            Err(error) if matches!(error.code(), Code::Exists | Code::Unique) => Ok(()),
            other => other.map(drop),
        }
    }

    /// From now on `owner` works on the move here: what another is in the middle of has ended. Whether it may, the
    /// catalogue is asked afterwards: one that lost the move in between sets itself here, and goes no further.
    pub(super) async fn take(&mut self, owner: &str) -> Result<()> {
        let sql = format!(
            "UPDATE {} SET owner = '{owner}' WHERE move = '{}'",
            self.own(MOVER),
            self.id()
        );
        self.run(&sql).await.map(drop)
    }

    /// In a transaction, holds that `owner` works on it, to its end. Errors: ROUTE-052.
    pub(super) async fn hold(&mut self, owner: &str) -> Result<()> {
        let sql = format!(
            "SELECT owner FROM {} WHERE move = '{}' FOR UPDATE",
            self.own(MOVER),
            self.id()
        );
        self.is_owner(&sql, owner).await
    }

    async fn is_owner(&mut self, sql: &str, owner: &str) -> Result<()> {
        let rows = self.ask(sql, Vec::new()).await?;
        match rows.first().and_then(|row| row.first()) {
            Some(Some(other)) if other == owner => Ok(()),
            _ => Err(taken()),
        }
    }

    /// The triggers of a table, while `owner` works on the move. Writers that are under way are waited for, for moments at
    /// a time. Errors: DB-032 where there was none between them; ROUTE-052 where another has the move, and nothing is made.
    pub(super) async fn capture(&mut self, table: usize, which: &Which, owner: &str) -> Result<()> {
        match self.d {
            Dialect::Postgres => {
                let made = self.postgres_made(table, which);
                self.patient(Some(owner), &made).await
            }
            Dialect::MariaDb => {
                // Twice: MariaDB works a prepared statement out anew, with the tables that its triggers use, only where
                // a trigger's time, in hundredths of a second, is after its own. One that was prepared in the same
                // hundredth would fail from then on; of the second ones' time none is that does not know the first.
                let once = self.mariadb_made(table, which);
                let pause = ["DO SLEEP(0.03)".to_owned()];
                let twice = once.iter().cloned().chain(pause).chain(once.iter().cloned()).collect();
                self.locked(table, Some(owner), twice).await
            }
        }
    }

    /// PostgreSQL: once, for a moment. What it changes waits for whoever uses the table. With an `owner`, only while that
    /// one works on the move. Nobody else is kept waiting from one message to the next.
    async fn patient(&mut self, owner: Option<&str>, sql: &str) -> Result<()> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {1}; \
             SET LOCAL idle_in_transaction_session_timeout = {1}",
            LOCK_WAIT.as_millis(),
            BRIEF.as_millis()
        );
        let done = async {
            self.run(&begin).await?;
            if let Some(owner) = owner {
                self.hold(owner).await?;
            }
            self.run(&format!("{sql}; COMMIT")).await
        }
        .await;
        if done.is_err() {
            self.undo().await;
        }
        done.map(drop)
    }

    /// MariaDB: the same, with the table locked once for all of it. With an `owner`, the table that says who works on the
    /// move can't be changed meanwhile. Should the mover stop in the middle, the server ends its connection, and the lock.
    async fn locked(&mut self, table: usize, owner: Option<&str>, sql: Vec<String>) -> Result<()> {
        let mover = self.own(MOVER);
        let also = owner.map_or_else(String::new, |_| format!(", {mover} READ"));
        let lock = format!(
            "SET SESSION wait_timeout = {}; SET STATEMENT max_statement_time = {} FOR LOCK TABLES {} WRITE{also}",
            BRIEF.as_secs(),
            LOCK_WAIT.as_secs_f64(),
            self.tables[table].full
        );
        let done = async {
            self.run(&lock).await?;
            if let Some(owner) = owner {
                let sql = format!("SELECT owner FROM {mover} WHERE move = '{}'", self.id());
                self.is_owner(&sql, owner).await?;
            }
            for sql in sql {
                self.run(&sql).await?;
            }
            Ok(())
        }
        .await;
        let over = self.run("UNLOCK TABLES; SET SESSION wait_timeout = @mainstay_wait").await;
        done.and(over.map(drop))
    }

    /// Takes the triggers of a table away. Errors: DB-032 and DB-033 where there was no moment without writers.
    pub(super) async fn release(&mut self, table: usize) -> Result<()> {
        match self.d {
            Dialect::Postgres => {
                let gone = self.postgres_gone(table);
                self.patient(None, &gone).await
            }
            Dialect::MariaDb => {
                let gone = self.mariadb_gone(table);
                self.locked(table, None, gone).await
            }
        }
    }

    /// Locks the logical shard's writers out, in a transaction that is begun; false where they did not let it in time.
    pub(super) async fn lock(&mut self, logical: u16) -> Result<bool> {
        let id = self.id();
        let sql = match self.d {
            Dialect::Postgres => format!(
                "SET LOCAL lock_timeout = {}; SELECT pg_advisory_xact_lock({LOCK_CLASS}, {logical})",
                LOCK_WAIT.as_millis()
            ),
            Dialect::MariaDb => format!(
                "SET STATEMENT max_statement_time = {} FOR SELECT moved FROM {} WHERE move = '{id}' FOR UPDATE",
                LOCK_WAIT.as_secs_f64(),
                self.own(FENCE)
            ),
        };
        match self.run(&sql).await {
            Ok(_) => Ok(true),
            Err(error) if is_wait_over(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Shuts the logical shard here, or opens it again, with the transaction's commit. Errors: ROUTE-052.
    pub(super) async fn fence(&mut self, owner: &str, moved: bool) -> Result<()> {
        let moved = if moved { "TRUE" } else { "FALSE" };
        let sql =
            format!("UPDATE {} SET moved = {moved} WHERE move = '{}'", self.own(FENCE), self.id());
        self.hold(owner).await?;
        self.run(&sql).await.map(drop)
    }

    /// Whether it is shut here.
    pub(super) async fn is_fenced(&mut self) -> Result<bool> {
        let sql = format!(
            "SELECT COUNT(*) FROM {} WHERE move = '{}' AND moved",
            self.own(FENCE),
            self.id()
        );
        Ok(self.count(&sql).await? == 1)
    }

    /// Forgets the move here; its triggers are gone.
    pub(super) async fn forget(&mut self) -> Result<()> {
        for table in [LOG, FENCE, MOVER] {
            let sql = format!("DELETE FROM {} WHERE move = '{}'", self.own(table), self.id());
            self.run(&sql).await?;
        }
        Ok(())
    }

    /// The oldest entries of the log: their numbers, tables and primary keys.
    pub(super) async fn logged(&mut self, limit: usize) -> Result<Vec<(i64, usize, Vec<String>)>> {
        let text = if self.d == Dialect::Postgres { "::text" } else { "" };
        let cast = |column: &str| match self.d {
            Dialect::Postgres => format!("{column}{text}"),
            Dialect::MariaDb => format!("CAST({column} AS CHAR)"),
        };
        let sql = format!(
            "SELECT {}, {}, pk FROM {} WHERE move = '{}' ORDER BY id LIMIT {limit}",
            cast("id"),
            cast("tbl"),
            self.own(LOG),
            self.id()
        );
        let mut out = Vec::new();
        for row in self.ask(&sql, Vec::new()).await? {
            let [Some(id), Some(table), Some(pk)] = row.as_slice() else { continue };
            let read = (id.parse(), table.parse(), serde_json::from_str::<Vec<String>>(pk));
            let (Ok(id), Ok(table), Ok(pk)) = read else {
                return Err(Error::new(
                    Code::MoveVerify,
                    "an entry of the log of changes can't be read",
                ));
            };
            out.push((id, table, pk));
        }
        Ok(out)
    }

    pub(super) async fn unlog(&mut self, ids: &[i64]) -> Result<()> {
        let all: Vec<String> = ids.iter().map(i64::to_string).collect();
        if all.is_empty() {
            return Ok(());
        }
        let sql = format!("DELETE FROM {} WHERE id IN ({})", self.own(LOG), all.join(", "));
        self.run(&sql).await.map(drop)
    }

    /// Entries that wait.
    pub(super) async fn lag(&mut self) -> Result<u64> {
        let sql = format!("SELECT COUNT(*) FROM {} WHERE move = '{}'", self.own(LOG), self.id());
        Ok(self.count(&sql).await?.max(0).unsigned_abs())
    }
}

pub(super) fn taken() -> Error {
    Error::new(Code::MoveUnfinished, "another has taken the move over").fix("let that one go on")
}
