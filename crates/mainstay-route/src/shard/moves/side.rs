//! One of the two databases of a move, with the session that works there.

use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Session, Value};

use super::dialect::Dialect;
use super::look;
use super::table::{Line, Pk, Table};
use super::which::Which;

/// Where a statement of ours waits for whoever writes: so long at a time, so that those who wait behind it do not notice.
pub(super) const LOCK_WAIT: Duration = Duration::from_millis(150);
/// Where others wait for us: after so long without a word of us the server ends the transaction, or the lock.
pub(super) const BRIEF: Duration = Duration::from_secs(1);
/// The same of other transactions, for which another mover alone waits.
const IDLE: Duration = Duration::from_secs(60);

pub(super) struct Side {
    pub(super) name: String,
    pub(super) db: Db,
    pub(super) d: Dialect,
    /// Where what is ours is; quoted.
    pub(super) schema: String,
    pub(super) tables: Vec<Table>,
    /// Which rows of each table move.
    which: Vec<String>,
    session: Session,
    silent: bool,
    /// The move's.
    id: String,
}

/// A row that was seen in passing.
pub(super) struct Seen {
    pub(super) pk: Pk,
    pub(super) key: Vec<Option<String>>,
}

impl Side {
    /// Errors: those of the database.
    pub(super) async fn open(
        name: &str,
        db: Db,
        id: &str,
        tables: Vec<Table>,
        which: &Which,
    ) -> Result<Self> {
        let d = Dialect::of(&db)?;
        let schema = look::schema(&db, d).await?;
        let mut session = db.session().await?;
        let silent = look::may_be_silent(&mut session, d).await?;
        let which = tables.iter().map(|t| which.sql(d, &t.keys, "t", &schema)).collect();
        let mut side = Self {
            name: name.to_owned(),
            db,
            d,
            schema,
            tables,
            which,
            session,
            silent,
            id: id.to_owned(),
        };
        side.set_up().await?;
        Ok(side)
    }

    async fn set_up(&mut self) -> Result<()> {
        if self.d == Dialect::MariaDb {
            // 0 is a value as any other, and so is a date of zeros, where the source has one.
            let sql = format!(
                "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,STRICT_ALL_TABLES', \
                 time_zone = '+00:00', foreign_key_checks = 0, innodb_lock_wait_timeout = 2, \
                 tx_isolation = 'READ-COMMITTED', @mainstay_mover = '{}', @mainstay_wait = @@SESSION.wait_timeout",
                self.id
            );
            self.session.run(&sql).await?;
        }
        self.session.keep_for("the move of a logical shard");
        Ok(())
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A table of ours.
    pub(super) fn own(&self, table: &str) -> String {
        format!("{}.{table}", self.schema)
    }

    /// Whether PostgreSQL lets it leave triggers and foreign keys alone.
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Begins a transaction in which what is written runs no triggers of ours, nor others; and in which a policy of
    /// PostgreSQL's that would hide rows is an error.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.begin_with(IDLE, "").await
    }

    /// As [`begin`](Self::begin), where writers will wait for it: cut off from whoever began it, it ends by itself.
    pub(super) async fn begin_brief(&mut self) -> Result<()> {
        let limit = format!("SET LOCAL statement_timeout = {}; ", BRIEF.as_millis());
        self.begin_with(BRIEF, &limit).await
    }

    async fn begin_with(&mut self, idle: Duration, postgres: &str) -> Result<()> {
        let sql = match self.d {
            // Between transactions they mean nothing: the next one sets its own.
            Dialect::MariaDb => format!(
                "SET SESSION idle_transaction_timeout = {0}, idle_write_transaction_timeout = {0}, \
                 idle_readonly_transaction_timeout = {0}; BEGIN",
                idle.as_secs()
            ),
            Dialect::Postgres => {
                let silent =
                    if self.silent { "SET LOCAL session_replication_role = replica; " } else { "" };
                format!(
                    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {}; {silent}{postgres}\
                     SET LOCAL idle_in_transaction_session_timeout = {}; SET LOCAL row_security = off; \
                     SET LOCAL mainstay.mover = '{}'; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO'; \
                     SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'; \
                     SET LOCAL extra_float_digits = 1",
                    2 * LOCK_WAIT.as_millis(),
                    idle.as_millis(),
                    self.id
                )
            }
        };
        self.session.run(&sql).await.map(drop)
    }

    pub(super) async fn commit(&mut self) -> Result<()> {
        self.session.run("COMMIT").await.map(drop)
    }

    pub(super) async fn rollback(&mut self) -> Result<()> {
        self.session.run("ROLLBACK").await.map(drop)
    }

    /// Rolls back after an error, which is what the caller is told of.
    pub(super) async fn undo(&mut self) {
        if let Err(error) = self.rollback().await {
            tracing::debug!(%error, "a transaction of a move could not be rolled back");
        }
    }

    /// Ends a transaction that only reads; what went wrong first is what is told.
    pub(super) async fn after<T>(&mut self, done: Result<T>) -> Result<T> {
        let ended = self.commit().await;
        let value = done?;
        ended.map(|()| value)
    }

    pub(super) async fn run(&mut self, sql: &str) -> Result<u64> {
        self.session.run(sql).await
    }

    /// A new connection in place of one that was left in the middle of something.
    pub(super) async fn renew(&mut self) -> Result<()> {
        self.session.renew().await?;
        self.set_up().await
    }

    /// The rows as texts, so many to a row.
    pub(super) async fn ask(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Vec<Option<String>>>> {
        let rows = self.session.rows(sql, values).await?;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let width = row.columns().len();
            out.push(
                (0..width).map(|at| row.at::<Option<String>>(at)).collect::<Result<Vec<_>>>()?,
            );
        }
        Ok(out)
    }

    /// A number. Errors: those of the database.
    pub(super) async fn count(&mut self, sql: &str) -> Result<i64> {
        let rows = self.session.rows(sql, Vec::new()).await?;
        rows.first().map_or(Ok(0), |row| row.at::<i64>(0))
    }

    async fn do_bound(&mut self, (sql, values): (String, Vec<Value>)) -> Result<()> {
        self.session.rows(&sql, values).await.map(drop)
    }

    /// The last primary key of a table; none where it is empty.
    pub(super) async fn last(&mut self, table: usize) -> Result<Option<Pk>> {
        self.begin().await?;
        let sql = self.tables[table].last(self.d);
        let rows = self.ask(&sql, Vec::new()).await;
        let row = self.after(rows).await?.into_iter().next();
        Ok(row.map(|row| row.into_iter().map(Option::unwrap_or_default).collect()))
    }

    /// The next rows of a table after `cursor` up to `end`, in a transaction of its own.
    pub(super) async fn scan(
        &mut self,
        table: usize,
        cursor: Option<&Pk>,
        end: Option<&Pk>,
        limit: usize,
    ) -> Result<Vec<Seen>> {
        self.begin().await?;
        let seen = self.scan_within(table, cursor, end, limit).await;
        self.after(seen).await
    }

    async fn scan_within(
        &mut self,
        table: usize,
        cursor: Option<&Pk>,
        end: Option<&Pk>,
        limit: usize,
    ) -> Result<Vec<Seen>> {
        let of = &self.tables[table];
        let (width, (sql, values)) = (of.primary.len(), of.scan(self.d, cursor, end, limit));
        let rows = self.ask(&sql, values).await?;
        let seen = rows.into_iter().map(|mut row| {
            let key = row.split_off(width);
            Seen { pk: row.into_iter().map(Option::unwrap_or_default).collect(), key }
        });
        Ok(seen.collect())
    }

    /// The whole rows of these primary keys that `which` has.
    pub(super) async fn lines(
        &mut self,
        table: usize,
        pks: &[Pk],
        which: &Which,
    ) -> Result<Vec<Line>> {
        let of = &self.tables[table];
        let (width, integer) = (of.columns.len(), of.has_integer_key());
        let (sql, values) = of.rows(self.d, pks);
        let mut out = Vec::new();
        for mut row in self.ask(&sql, values).await? {
            let key = row.split_off(width);
            if which.has(&key, integer) {
                out.push(Line { values: row });
            }
        }
        Ok(out)
    }

    /// Digests of the rows of these primary keys that `which` has. Errors: ROUTE-050 for a row that is too large.
    pub(super) async fn digests(
        &mut self,
        table: usize,
        pks: &[Pk],
        which: &Which,
    ) -> Result<Vec<(Pk, String)>> {
        let of = &self.tables[table];
        let (width, integer) = (of.primary.len(), of.has_integer_key());
        let (sql, values) = of.digests(self.d, pks);
        let mut out = Vec::new();
        for mut row in self.ask(&sql, values).await? {
            let digest = row.pop().flatten().ok_or_else(|| {
                let what =
                    format!("a row of {:?} is too large to be compared", self.tables[table].name);
                Error::new(Code::MoveRefused, what).fix("raise max_allowed_packet")
            })?;
            let key = row.split_off(width);
            if which.has(&key, integer) {
                out.push((row.into_iter().map(Option::unwrap_or_default).collect(), digest));
            }
        }
        Ok(out)
    }

    /// How many of these primary keys are there; in a transaction of its own.
    pub(super) async fn present(&mut self, table: usize, pks: &[Pk]) -> Result<u64> {
        let (sql, values) = self.tables[table].present(self.d, pks);
        self.begin().await?;
        let rows = self.session.rows(&sql, values).await;
        let rows = self.after(rows).await?;
        rows.first().map_or(Ok(0), |row| row.at::<i64>(0).map(|n| n.max(0).unsigned_abs()))
    }

    /// Deletes rows, those that move alone. In a transaction of the caller's.
    pub(super) async fn delete(&mut self, table: usize, pks: &[Pk]) -> Result<()> {
        if pks.is_empty() {
            return Ok(());
        }
        let bound = self.tables[table].delete(self.d, pks, &self.which[table]);
        self.do_bound(bound).await
    }

    /// In a transaction of the caller's.
    pub(super) async fn insert(&mut self, table: usize, lines: &[Line]) -> Result<()> {
        /// A packet of MariaDB's is 16 MiB at most, unless it is told otherwise.
        const BYTES: usize = 4 << 20;
        let mut from = 0;
        while from < lines.len() {
            let (mut to, mut bytes) = (from, 0);
            while to < lines.len() && (to == from || bytes < BYTES) {
                bytes += lines[to].values.iter().flatten().map(String::len).sum::<usize>();
                to += 1;
            }
            let bound = self.tables[table].insert(self.d, &lines[from..to]);
            self.do_bound(bound).await?;
            from = to;
        }
        Ok(())
    }
}

impl Table {
    pub(super) fn has_integer_key(&self) -> bool {
        self.keys.first().is_some_and(|k| k.category() == super::column::Category::Integer)
    }
}
