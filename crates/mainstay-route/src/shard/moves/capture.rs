//! What is made on the two sides for a move: who works on it, the log of what is written meanwhile, and the triggers
//! that write it and keep the keys shut once they have moved.
//!
//! A writer holds a lock of its logical shard, shared, to its transaction's end. Who has it exclusively knows that none
//! is under way. On PostgreSQL it is an advisory one, since those are given out in the order in which they were asked for,
//! which locks of rows are not; on MariaDB it is the fence's row, which is read as it is now whatever the transaction's
//! snapshot. PostgreSQL's triggers read it by their transaction's snapshot where that is kept for longer than a
//! statement, so there they lock it as well, and fail with a conflict where it was changed since.

use mainstay_core::{Code, Error, Result};

use super::dialect::{Dialect, is_wait_over};
use super::side::{LOCK_WAIT, Side};
use super::which::Which;
use crate::shard::key::POSTGRES_LOGICAL;

/// Of the advisory locks, ours.
const LOCK_CLASS: i32 = 0x6d73;

/// Whether each logical shard has moved away.
const FENCE: &str = "mainstay_shard_fence";
/// Primary keys of rows that were written.
const LOG: &str = "mainstay_shard_log";
/// Who works on each move.
const MOVER: &str = "mainstay_shard_mover";

impl Side {
    /// The tables of ours, where they are missing; and in them, that `owner` works on the move.
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
                "SELECT (to_regprocedure('{}') IS NOT NULL)::int::bigint",
                quoted(&format!("{}.mainstay_logical(text)", self.schema))
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

    /// From now on `owner` works on the move here: what another is in the middle of has ended.
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
        let rows = self.ask(&sql, Vec::new()).await?;
        match rows.first().and_then(|row| row.first()) {
            Some(Some(other)) if other == owner => Ok(()),
            _ => Err(taken()),
        }
    }

    /// The triggers of each table. Writers that are under way are waited for, for moments at a time. Errors: DB-032
    /// where there was none between them.
    pub(super) async fn capture(&mut self, table: usize, which: &Which) -> Result<()> {
        match self.d {
            Dialect::Postgres => {
                let (function, trigger) = self.postgres(table, which);
                self.run(&function).await?;
                self.patient(&trigger).await
            }
            Dialect::MariaDb => {
                // Twice: MariaDB works a prepared statement out anew, with the tables that its triggers use, only where
                // a trigger's time, in hundredths of a second, is after its own. One that was prepared in the same
                // hundredth would fail from then on; of the second ones' time none is that does not know the first.
                let once = self.mariadb(table, which);
                let pause = ["DO SLEEP(0.03)".to_owned()];
                let twice = once.iter().cloned().chain(pause).chain(once.iter().cloned()).collect();
                self.locked(table, twice).await
            }
        }
    }

    /// PostgreSQL: once, for a moment. What it changes waits for whoever uses the table.
    async fn patient(&mut self, sql: &str) -> Result<()> {
        let limit = LOCK_WAIT.as_millis();
        let whole = format!("BEGIN; SET LOCAL lock_timeout = {limit}; {sql}; COMMIT");
        let done = self.run(&whole).await;
        if done.is_err() {
            self.rollback().await?;
        }
        done.map(drop)
    }

    /// MariaDB: the same, with the table locked once for all of it.
    async fn locked(&mut self, table: usize, sql: Vec<String>) -> Result<()> {
        let lock = format!(
            "SET STATEMENT max_statement_time = {} FOR LOCK TABLES {} WRITE",
            LOCK_WAIT.as_secs_f64(),
            self.tables[table].full
        );
        self.run(&lock).await?;
        let mut done = Ok(());
        for sql in sql {
            done = self.run(&sql).await.map(drop);
            if done.is_err() {
                break;
            }
        }
        self.run("UNLOCK TABLES").await?;
        done
    }

    fn trigger(&self, table: usize) -> String {
        format!("{}{}_{table}", super::look::OWN, self.id())
    }

    fn postgres(&self, table: usize, which: &Which) -> (String, String) {
        let of = &self.tables[table];
        let name = self.trigger(table);
        let function = format!("{}.{}", self.schema, self.d.name(&name));
        let (fence, log, id) = (self.own(FENCE), self.own(LOG), self.id());
        let which_of = |row: &str| which.sql(self.d, &of.keys, row, &self.schema);
        let pk_of = |row: &str| self.d.json_array(&of.pk_texts(self.d, row));
        let keys = |row: &str| {
            let all: Vec<String> = of.keys.iter().map(|k| k.raw(self.d, row)).collect();
            format!("ROW({})", all.join(", "))
        };
        let body = format!(
            "DECLARE
    v_moved boolean;
    v_old boolean := false;
    v_new boolean := false;
BEGIN
    IF current_setting('mainstay.mover', true) = '{id}' THEN RETURN NULL; END IF;
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'a logical shard of this table is being moved: it can''t be truncated';
    END IF;
    IF TG_OP <> 'INSERT' THEN v_old := COALESCE({old}, false); END IF;
    IF TG_OP = 'INSERT' THEN
        v_new := COALESCE({new}, false);
    ELSIF TG_OP = 'UPDATE' THEN
        IF {new_key} IS NOT DISTINCT FROM {old_key} THEN
            v_new := v_old;
        ELSE
            v_new := COALESCE({new}, false);
        END IF;
    END IF;
    IF NOT (v_old OR v_new) THEN RETURN NULL; END IF;
    PERFORM pg_advisory_xact_lock_shared({LOCK_CLASS}, {logical});
    IF current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        SELECT f.moved INTO v_moved FROM {fence} f WHERE f.move = '{id}';
    ELSE
        SELECT f.moved INTO v_moved FROM {fence} f WHERE f.move = '{id}' FOR SHARE;
    END IF;
    IF v_moved IS NULL THEN
        RAISE EXCEPTION 'the move of logical shard {logical} began after this transaction' USING ERRCODE = '40001';
    END IF;
    IF v_moved THEN
        RAISE EXCEPTION 'logical shard {logical} has moved to another shard' USING ERRCODE = 'MS026';
    END IF;
    IF v_old THEN
        INSERT INTO {log} (move, tbl, pk) VALUES ('{id}', {table}, {old_pk});
    END IF;
    IF v_new AND NOT v_old THEN
        INSERT INTO {log} (move, tbl, pk) VALUES ('{id}', {table}, {new_pk});
    ELSIF v_new THEN
        IF {new_pk} <> {old_pk} THEN
            INSERT INTO {log} (move, tbl, pk) VALUES ('{id}', {table}, {new_pk});
        END IF;
    END IF;
    RETURN NULL;
END",
            logical = which.logical,
            old = which_of("OLD"),
            new = which_of("NEW"),
            old_key = keys("OLD"),
            new_key = keys("NEW"),
            old_pk = pk_of("OLD"),
            new_pk = pk_of("NEW"),
        );
        // No text holds more tags than it has letters.
        let tag = (0..=body.len())
            .map(|n| format!("$mainstay_{n}$"))
            .find(|tag| !body.contains(tag))
            .unwrap_or_default();
        // By its maker's rights: who writes needs none on our tables.
        let make = format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
             SET search_path = pg_catalog, pg_temp AS {tag}\n{body}\n{tag}"
        );
        let (full, rows, whole) =
            (&of.full, self.d.name(&name), self.d.name(&format!("{name}_all")));
        let trigger = format!(
            "DROP TRIGGER IF EXISTS {rows} ON {full}; DROP TRIGGER IF EXISTS {whole} ON {full}; \
             CREATE TRIGGER {rows} AFTER INSERT OR UPDATE OR DELETE ON {full} FOR EACH ROW EXECUTE FUNCTION {function}(); \
             CREATE TRIGGER {whole} BEFORE TRUNCATE ON {full} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        );
        (make, trigger)
    }

    fn mariadb(&self, table: usize, which: &Which) -> Vec<String> {
        let of = &self.tables[table];
        let (fence, log, id) = (self.own(FENCE), self.own(LOG), self.id());
        let which_of = |row: &str| {
            format!("COALESCE({}, FALSE)", which.sql(self.d, &of.keys, row, &self.schema))
        };
        let note = |row: &str| {
            let pk = self.d.json_array(&of.pk_texts(self.d, row));
            format!("INSERT INTO {log} (move, tbl, pk) VALUES ('{id}', {table}, {pk});")
        };
        let guard = format!(
            "SELECT moved INTO v_moved FROM {fence} WHERE move = '{id}' LOCK IN SHARE MODE;
        IF v_moved IS NULL OR v_moved THEN
            SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31026, MESSAGE_TEXT = 'logical shard {} has moved to another shard';
        END IF;",
            which.logical
        );
        let (old, new) = (which_of("OLD"), which_of("NEW"));
        let one = |kind: &str, event: &str, old: &str, new: &str| {
            let name = self.d.name(&format!("{}_{kind}", self.trigger(table)));
            let note_old = if old == "FALSE" {
                String::new()
            } else {
                format!("IF v_old THEN {} END IF;", note("OLD"))
            };
            let note_new = match (old, new) {
                (_, "FALSE") => String::new(),
                ("FALSE", _) => format!("IF v_new THEN {} END IF;", note("NEW")),
                _ => {
                    let [old, new] =
                        ["OLD", "NEW"].map(|row| self.d.json_array(&of.pk_texts(self.d, row)));
                    format!(
                        "IF v_new AND NOT (v_old AND {old} = {new}) THEN {} END IF;",
                        note("NEW")
                    )
                }
            };
            format!(
                "CREATE OR REPLACE TRIGGER {name} AFTER {event} ON {} FOR EACH ROW
BEGIN
    DECLARE v_moved BOOLEAN DEFAULT NULL;
    DECLARE v_old BOOLEAN DEFAULT FALSE;
    DECLARE v_new BOOLEAN DEFAULT FALSE;
    IF NOT (COALESCE(@mainstay_mover, '') = '{id}') THEN
        SET v_old = {old};
        SET v_new = {new};
    END IF;
    IF v_old OR v_new THEN
        {guard}
        {note_old}
        {note_new}
    END IF;
END",
                of.full
            )
        };
        vec![
            one("i", "INSERT", "FALSE", &new),
            one("u", "UPDATE", &old, &new),
            one("d", "DELETE", &old, "FALSE"),
        ]
    }

    /// Takes the triggers of a table away. Errors: DB-032 and DB-033 where there was no moment without writers.
    pub(super) async fn release(&mut self, table: usize) -> Result<()> {
        let name = self.trigger(table);
        match self.d {
            Dialect::Postgres => {
                let (full, function) = (
                    self.tables[table].full.clone(),
                    format!("{}.{}", self.schema, self.d.name(&name)),
                );
                let (rows, whole) = (self.d.name(&name), self.d.name(&format!("{name}_all")));
                self.patient(&format!(
                    "DROP TRIGGER IF EXISTS {rows} ON {full}; DROP TRIGGER IF EXISTS {whole} ON {full}; \
                     DROP FUNCTION IF EXISTS {function}()"
                ))
                .await
            }
            Dialect::MariaDb => {
                let drop = |kind| {
                    let trigger = self.d.name(&format!("{name}_{kind}"));
                    format!("DROP TRIGGER IF EXISTS {}.{trigger}", self.schema)
                };
                let all = ["i", "u", "d"].map(drop).to_vec();
                self.locked(table, all).await
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

/// In a literal of PostgreSQL's.
fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}
