//! One end of a copy: a session that is set up so that each engine shows its values in one way, and
//! the tables that are there.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Session};

use super::schema::{self, Table};
use crate::database::literal;

#[derive(Debug)]
pub(super) struct Side {
    pub(super) session: Session,
    pub(super) engine: Engine,
    pub(super) tables: Vec<Table>,
}

impl Side {
    /// Errors: DB-036 behind a transaction pooler, and those of connecting.
    pub(super) async fn open(db: &Db) -> Result<Self> {
        let mut session = db.session().await?;
        if session.is_pooled() {
            return Err(Error::new(Code::NeedsSession, "a copy needs sessions of its own")
                .why("the database is behind a transaction pooler")
                .fix("give the copy a URL that goes to the server directly"));
        }
        let engine = db.engine();
        session.run(&set_up(engine, db.is_mariadb())).await?;
        let tables = schema::read(&mut session, engine).await?;
        Ok(Self { session, engine, tables })
    }

    pub(super) async fn run(&mut self, sql: &str) -> Result<u64> {
        self.session.run(sql).await
    }

    pub(super) fn quote(&self, name: &str) -> String {
        self.engine.quote(name)
    }

    pub(super) fn literal(&self, text: &str) -> String {
        literal(self.engine, text)
    }

    pub(super) async fn begin(&mut self) -> Result<()> {
        let sql = match self.engine {
            Engine::Sqlite => "BEGIN IMMEDIATE",
            Engine::Postgres | Engine::MySql => "BEGIN",
        };
        self.run(sql).await.map(drop)
    }

    pub(super) async fn count(&mut self, table: &str) -> Result<u64> {
        let count = match self.engine {
            Engine::Postgres => "COUNT(*)::text",
            Engine::MySql => "CAST(COUNT(*) AS CHAR)",
            Engine::Sqlite => "CAST(COUNT(*) AS TEXT)",
        };
        let sql = format!("SELECT {count} FROM {}", self.quote(table));
        let rows = self.session.rows(&sql, Vec::new()).await?;
        let text = rows.first().map_or(Ok(String::new()), |row| row.at::<String>(0))?;
        Ok(text.parse().unwrap_or(0))
    }
}

/// UTC, ISO dates, numbers in full, and on MySQL nothing put right in silence.
fn set_up(engine: Engine, mariadb: bool) -> String {
    match engine {
        Engine::Postgres => {
            "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
                             SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
                             SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; \
                             SET extra_float_digits = 3; SET standard_conforming_strings = on"
                .to_owned()
        }
        Engine::MySql => {
            let more = if mariadb { ", max_statement_time = 0" } else { "" };
            format!(
                "SET NAMES utf8mb4; SET SESSION time_zone = '+00:00', \
                 sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'{more}"
            )
        }
        Engine::Sqlite => "PRAGMA busy_timeout = 10000".to_owned(),
    }
}
