//! The database as migrations see it: a session of their own, set up so that no statement waits long
//! for a lock, and the facts that files and the history are told by.

use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Row, Session};

use crate::options::Options;
use crate::source::For;

/// Longer than any migration may lie still.
const DAY_S: u32 = 86_400;

/// A session with what is known about where it leads.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) db: Db,
    pub(crate) session: Session,
    pub(crate) facts: Facts,
    lock_timeout: Duration,
    /// What is sent on each new session: the statements of `afterConnect`.
    hello: Vec<String>,
    /// How long to wait until nothing of an earlier process works on, once this one migrates.
    works: Option<Duration>,
}

/// What does not change while migrations run.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) engine: Engine,
    pub(crate) mariadb: bool,
    /// Of the server.
    pub(crate) version: (u32, u32, u32),
    /// The schema that unqualified names are in; MySQL's database, SQLite's `main`.
    pub(crate) schema: String,
    pub(crate) database: String,
    pub(crate) user: String,
    /// The history's table.
    pub(crate) table: String,
}

impl Facts {
    pub(crate) fn scripts_for(&self) -> For {
        For { engine: self.engine, mariadb: self.mariadb }
    }

    /// The history's table with its schema, quoted as Flyway names it for its lock.
    pub(crate) fn history(&self) -> String {
        self.qualified(&self.table)
    }

    /// Our own table beside it.
    pub(crate) fn progress(&self) -> String {
        self.qualified(&format!("{}_mainstay", self.table))
    }

    pub(crate) fn qualified(&self, table: &str) -> String {
        format!("{}.{}", self.engine.quote(&self.schema), self.engine.quote(table))
    }

    /// `text` as a literal.
    pub(crate) fn literal(&self, text: &str) -> String {
        literal(self.engine, text)
    }

    /// For unit tests.
    #[cfg(test)]
    pub(crate) fn example(engine: Engine) -> Self {
        Self { version: (15, 0, 0), ..Self::of_engine(engine) }
    }

    /// Of a current server, where none is at hand.
    pub(crate) fn of_engine(engine: Engine) -> Self {
        let version = match engine {
            Engine::Postgres => (17, 0, 0),
            Engine::MySql => (8, 4, 0),
            Engine::Sqlite => (3, 45, 0),
        };
        Self {
            engine,
            mariadb: false,
            version,
            schema: "public".to_owned(),
            database: "db".to_owned(),
            user: String::new(),
            table: "flyway_schema_history".to_owned(),
        }
    }

    pub(crate) fn at_least(&self, major: u32, minor: u32, patch: u32) -> bool {
        self.version >= (major, minor, patch)
    }
}

/// `text` as a literal of `engine`.
pub(crate) fn literal(engine: Engine, text: &str) -> String {
    let text = text.replace('\'', "''");
    match engine {
        Engine::MySql => format!("'{}'", text.replace('\\', "\\\\")),
        Engine::Sqlite | Engine::Postgres => format!("'{text}'"),
    }
}

impl Database {
    /// Takes a session of `db`. Errors: DB-036 behind a transaction pooler, and those of connecting.
    pub(crate) async fn open(db: &Db, options: &Options) -> Result<Self> {
        let mut session = db.session().await?;
        if session.is_pooled() {
            return Err(Error::new(Code::NeedsSession, "migrations need a session of their own")
                .why("the database is behind a transaction pooler")
                .fix("give migrations a URL that goes to the server directly"));
        }
        let facts = facts(db, &mut session, options).await?;
        let lock_timeout = options.lock_timeout;
        let (hello, works) = (Vec::new(), None);
        let mut database = Self { db: db.clone(), session, facts, lock_timeout, hello, works };
        database.set_up().await?;
        Ok(database)
    }

    /// Sends `hello` now, and on every session to come.
    pub(crate) async fn greet(&mut self, hello: Vec<String>) -> Result<()> {
        self.hello = hello;
        self.say_hello().await
    }

    async fn say_hello(&mut self) -> Result<()> {
        for sql in &self.hello {
            self.session.run(sql).await?;
        }
        Ok(())
    }

    /// Goes on with a new session: what a script set on the old one ends with it.
    pub(crate) async fn renew(&mut self) -> Result<()> {
        if self.facts.engine == Engine::Sqlite {
            // The writer is one connection, so it is set back instead.
            self.session.run("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL").await?;
        } else {
            self.session.renew().await?;
        }
        self.set_up().await
    }

    /// Goes on with a new session, and gives the old one away.
    pub(crate) async fn part(&mut self) -> Result<Session> {
        let new = self.session.another().await?;
        let old = std::mem::replace(&mut self.session, new);
        self.set_up().await?;
        Ok(old)
    }

    /// From now on this is the session that migrates: it waits until no statement of an earlier one
    /// runs on at the server, which it does after its process was killed. Errors: MIG-007.
    pub(crate) async fn works(&mut self, wait: Duration) -> Result<()> {
        self.works = Some(wait);
        crate::lock::alone(&mut self.session, &self.facts, wait).await
    }

    async fn set_up(&mut self) -> Result<()> {
        let ms = self.lock_timeout.as_millis();
        // MySQL counts in seconds, upwards from one.
        let seconds = self.lock_timeout.as_millis().div_ceil(1000);
        let sql = match (self.facts.engine, self.facts.mariadb) {
            (Engine::Postgres, _) => {
                let idle = "SET idle_in_transaction_session_timeout = 0";
                let mut sql = format!("SET lock_timeout = {ms}; SET statement_timeout = 0; {idle}");
                for (from, name) in [(14, "idle_session_timeout"), (17, "transaction_timeout")] {
                    if self.facts.at_least(from, 0, 0) {
                        sql += &format!("; SET {name} = 0");
                    }
                }
                sql
            }
            (Engine::MySql, mariadb) => {
                let more = if mariadb { ", max_statement_time = 0" } else { "" };
                format!(
                    "SET SESSION lock_wait_timeout = {seconds}, \
                     innodb_lock_wait_timeout = {seconds}, wait_timeout = {DAY_S}{more}"
                )
            }
            (Engine::Sqlite, _) => format!("PRAGMA busy_timeout = {ms}"),
        };
        self.session.run(&sql).await?;
        self.say_hello().await?;
        match self.works {
            Some(wait) => crate::lock::alone(&mut self.session, &self.facts, wait).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn run(&mut self, sql: &str) -> Result<u64> {
        self.session.run(sql).await
    }

    pub(crate) async fn rows(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.session.rows(sql, Vec::new()).await
    }

    /// All rows of `columns` from `rest`, as texts. Where the engine can, they come as one: a thousand
    /// rows one by one cost SQLite's driver as many changes of threads.
    pub(crate) async fn texts(
        &mut self,
        columns: &[String],
        rest: &str,
    ) -> Result<Vec<Vec<Option<String>>>> {
        let list = columns.join(", ");
        let sql = match self.facts.engine {
            Engine::Sqlite => format!("SELECT json_group_array(json_array({list})) FROM {rest}"),
            Engine::Postgres => {
                format!(
                    "SELECT coalesce(json_agg(json_build_array({list})), '[]')::text FROM {rest}"
                )
            }
            Engine::MySql => {
                let cast: Vec<_> = columns.iter().map(|c| format!("CAST({c} AS CHAR)")).collect();
                let rows = self.rows(&format!("SELECT {} FROM {rest}", cast.join(", "))).await?;
                let row = |row: &Row| (0..columns.len()).map(|n| row.at(n)).collect();
                return rows.iter().map(row).collect();
            }
        };
        let json = self.text(&sql).await?.unwrap_or_default();
        let unread = |e| Error::new(Code::Protocol, "the rows came as no JSON").cause(e);
        let rows: Vec<Vec<serde_json::Value>> = serde_json::from_str(&json).map_err(unread)?;
        let text = |value| match value {
            serde_json::Value::Null => None,
            serde_json::Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        Ok(rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
    }

    /// The first column of the first row, as a text.
    pub(crate) async fn text(&mut self, sql: &str) -> Result<Option<String>> {
        text(&mut self.session, sql).await
    }

    /// Begins a transaction that writes.
    pub(crate) async fn begin(&mut self) -> Result<()> {
        self.run(self.begin_sql()).await.map(drop)
    }

    pub(crate) fn begin_sql(&self) -> &'static str {
        match self.facts.engine {
            Engine::Sqlite => "BEGIN IMMEDIATE",
            Engine::Postgres | Engine::MySql => "BEGIN",
        }
    }

    /// Ends whatever transaction is open; there may be none.
    pub(crate) async fn rollback(&mut self) -> Result<()> {
        match self.run("ROLLBACK").await {
            Err(error) if !error.what().contains("no transaction is active") => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether a table exists in the default schema.
    pub(crate) async fn has_table(&mut self, table: &str) -> Result<bool> {
        let (schema, name) = (self.facts.literal(&self.facts.schema), self.facts.literal(table));
        let sql = match self.facts.engine {
            Engine::Sqlite => {
                format!("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = {name}")
            }
            Engine::Postgres => {
                // The view of the standard's is far slower where there are many tables.
                format!(
                    "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname = {schema} AND c.relname = {name} AND c.relkind IN ('r', 'p')"
                )
            }
            Engine::MySql => format!(
                "SELECT 1 FROM information_schema.tables \
                 WHERE table_schema = {schema} AND table_name = {name}"
            ),
        };
        Ok(!self.rows(&sql).await?.is_empty())
    }
}

async fn text(session: &mut Session, sql: &str) -> Result<Option<String>> {
    let rows = session.rows(sql, Vec::new()).await?;
    rows.first().map_or(Ok(None), |row| row.at::<Option<String>>(0))
}

async fn facts(db: &Db, session: &mut Session, options: &Options) -> Result<Facts> {
    let (engine, mariadb) = (db.engine(), db.is_mariadb());
    let sql = match engine {
        Engine::Postgres => {
            "SELECT current_schema()::text, current_database()::text, current_user::text, \
             current_setting('server_version_num')"
        }
        Engine::MySql => {
            "SELECT DATABASE(), DATABASE(), SUBSTRING_INDEX(USER(), '@', 1), VERSION()"
        }
        Engine::Sqlite => "SELECT 'main', 'main', '', sqlite_version()",
    };
    let rows = session.rows(sql, Vec::new()).await?;
    let row = rows.first().ok_or_else(|| Error::new(Code::Protocol, "no answer"))?;
    let column = |n| row.at::<Option<String>>(n);
    let Some(schema) = column(0)? else {
        let what = "the session has no schema to put tables into";
        let fix = "name a database in the URL, or create the schema that search_path names";
        return Err(Error::new(Code::MigrationHistory, what).fix(fix));
    };
    Ok(Facts {
        engine,
        mariadb,
        version: server_version(engine, &column(3)?.unwrap_or_default()),
        schema,
        database: column(1)?.unwrap_or_default(),
        user: column(2)?.unwrap_or_default(),
        table: options.table.clone(),
    })
}

/// PostgreSQL says `150013`, the others `10.11.6-MariaDB` or `3.50.4`.
fn server_version(engine: Engine, text: &str) -> (u32, u32, u32) {
    if engine == Engine::Postgres {
        let number: u32 = text.parse().unwrap_or(0);
        return (number / 10_000, number % 10_000, 0);
    }
    let text = text.strip_prefix("5.5.5-").unwrap_or(text);
    let mut parts =
        text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_versions_are_read() {
        assert_eq!(server_version(Engine::Postgres, "150013"), (15, 13, 0));
        assert_eq!(server_version(Engine::MySql, "10.11.6-MariaDB-0+deb12u1"), (10, 11, 6));
        assert_eq!(server_version(Engine::MySql, "8.0.36"), (8, 0, 36));
    }

    #[test]
    fn a_literal_is_no_way_out() {
        assert_eq!(literal(Engine::Sqlite, r"a'b\"), r"'a''b\'");
        assert_eq!(literal(Engine::MySql, r"a'b\"), r"'a''b\\'");
    }
}
