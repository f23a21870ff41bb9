//! What a transaction is begun with: its isolation and access, and how each engine says that.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use super::durability::Durability;
use super::prepared::PreparedId;
use crate::engine::Engine;

/// How far a transaction is kept apart from others: the four levels of the SQL standard. What an
/// engine really does at each differs; `mainstay lab isolation` shows it live.
///
/// | | READ UNCOMMITTED | READ COMMITTED | REPEATABLE READ | SERIALIZABLE |
/// |---|---|---|---|---|
/// | PostgreSQL | as READ COMMITTED | default | snapshot isolation | serializable (SSI) |
/// | MySQL, MariaDB | yes | yes | default | serializable (locks) |
/// | SQLite | refused | refused | refused | always |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isolation {
    /// Others' uncommitted changes may be seen.
    ReadUncommitted,
    /// Each statement sees what was committed when it began.
    ReadCommitted,
    /// All reads see the same committed state.
    RepeatableRead,
    /// As if the transactions ran one after the other.
    Serializable,
}

impl Isolation {
    /// All of them, the weakest first.
    pub const ALL: [Isolation; 4] = [
        Isolation::ReadUncommitted,
        Isolation::ReadCommitted,
        Isolation::RepeatableRead,
        Isolation::Serializable,
    ];

    /// As SQL writes it.
    pub const fn as_sql(self) -> &'static str {
        match self {
            Isolation::ReadUncommitted => "READ UNCOMMITTED",
            Isolation::ReadCommitted => "READ COMMITTED",
            Isolation::RepeatableRead => "REPEATABLE READ",
            Isolation::Serializable => "SERIALIZABLE",
        }
    }

    /// Whether `engine` can be asked for it.
    pub fn is_of(self, engine: Engine) -> bool {
        engine != Engine::Sqlite || self == Isolation::Serializable
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_sql())
    }
}

/// Isolation and access of a transaction, as far as they were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) isolation: Option<Isolation>,
    pub(crate) read_only: bool,
    pub(crate) deferrable: bool,
    /// What COMMIT waits for.
    pub(crate) durability: Option<Durability>,
    /// It is prepared, not committed.
    pub(crate) prepared: Option<PreparedId>,
}

impl Access {
    /// Errors: DB-016 where `engine` can't.
    pub(crate) fn check(self, engine: Engine) -> Result<()> {
        if let Some(level) = self.isolation.filter(|level| !level.is_of(engine)) {
            return Err(Error::new(Code::Unsupported, format!("{engine} has no {level}"))
                .why("its transactions are SERIALIZABLE, all of them")
                .fix("ask for Isolation::Serializable, or for none"));
        }
        if let Some(durability) = self.durability {
            durability.check(engine)?;
        }
        if !self.deferrable {
            return Ok(());
        }
        if engine != Engine::Postgres {
            return Err(Error::new(Code::Unsupported, format!("{engine} has no DEFERRABLE"))
                .fix("leave deferrable() out, or ask db.engine() first"));
        }
        if !self.read_only || self.isolation != Some(Isolation::Serializable) {
            return Err(Error::new(Code::Unsupported, "DEFERRABLE alone has no effect")
                .why("it waits for a snapshot that no serialization failure can come of, which takes SERIALIZABLE and READ ONLY")
                .fix("add isolation(Isolation::Serializable) and read_only()"));
        }
        Ok(())
    }

    /// What is in it beyond what `of` has. Errors: TX-008.
    pub(crate) fn check_within(self, of: Access) -> Result<()> {
        let refused = |asked: &str, has: &str| {
            let what = format!("a part asks for {asked} inside a transaction that {has}");
            Err(Error::new(Code::TxMismatch, what))
        };
        match (self.isolation, of.isolation) {
            (Some(asked), Some(has)) if asked != has => {
                return refused(asked.as_sql(), &format!("is {has}"));
            }
            (Some(asked), None) => {
                return refused(asked.as_sql(), "was begun with the database's default");
            }
            _ => {}
        }
        if self.read_only && !of.read_only {
            return refused("READ ONLY", "may write");
        }
        if self.deferrable && !of.deferrable {
            return refused("DEFERRABLE", "is not");
        }
        // Less than what the whole waits for is had; more is not, and must not be believed.
        let more = self.durability.filter(|asked| asked.waits_for_standby());
        if let Some(asked) = more.filter(|asked| of.durability < Some(*asked)) {
            let has = of.durability.map_or("the server's default", Durability::as_str);
            return refused(asked.as_str(), &format!("is committed with {has}"));
        }
        Ok(())
    }

    /// What begins it. SQLite takes its write lock at once, so that waiting for it is bounded by the
    /// busy timeout and no later statement can fail for it.
    ///
    /// With `limit`, PostgreSQL is told in the same exchange to end each statement that takes
    /// longer, so that it does even if we are gone by then.
    pub(crate) fn begin(self, engine: Engine, limit: Option<Duration>) -> Cow<'static, str> {
        let limit = limit.filter(|_| engine == Engine::Postgres);
        let plain = self == Access::default() && limit.is_none();
        match engine {
            Engine::Sqlite if self.read_only => "BEGIN".into(),
            Engine::Sqlite => "BEGIN IMMEDIATE".into(),
            Engine::Postgres | Engine::MySql if plain => "BEGIN".into(),
            Engine::Postgres => {
                let mut sql = String::from("BEGIN");
                if let Some(level) = self.isolation {
                    sql = sql + " ISOLATION LEVEL " + level.as_sql();
                }
                sql += if self.read_only { " READ ONLY" } else { "" };
                sql += if self.deferrable { " DEFERRABLE" } else { "" };
                if let Some(durability) = self.durability {
                    sql = sql + "; SET LOCAL synchronous_commit = " + durability.setting();
                }
                if let Some(limit) = limit {
                    let ms = limit.as_millis().clamp(1, i32::MAX as u128);
                    sql += &format!("; SET LOCAL statement_timeout = {ms}");
                }
                sql.into()
            }
            Engine::MySql => {
                if let Some(id) = self.prepared {
                    return format!("XA START '{id}'").into();
                }
                let begins = if self.read_only { "START TRANSACTION READ ONLY" } else { "BEGIN" };
                match self.isolation {
                    Some(level) => {
                        format!("SET TRANSACTION ISOLATION LEVEL {level}; {begins}").into()
                    }
                    None => begins.into(),
                }
            }
        }
    }
}
