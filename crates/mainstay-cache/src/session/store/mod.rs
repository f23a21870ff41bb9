//! Where sessions are kept. A store keeps records and changes them as a whole; when a session has ended and
//! who may open it is not its matter.

mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod scripts;
mod sql;

use std::fmt;
use std::sync::Arc;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use self::memory::Memory;
#[cfg(feature = "redis")]
use self::redis::Redis;
use self::sql::Sql;
use super::record::{Changes, Login, Record, Saved, Span};

/// Where sessions are kept. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct SessionStore(Kind);

#[derive(Clone)]
enum Kind {
    Memory(Arc<Memory>),
    Sql(Sql),
    #[cfg(feature = "redis")]
    Redis(Redis),
}

/// Asks whatever store it is.
macro_rules! each {
    ($store:expr, $s:ident => $work:expr) => {
        match &$store.0 {
            Kind::Memory($s) => $work,
            Kind::Sql($s) => $work.await,
            #[cfg(feature = "redis")]
            Kind::Redis($s) => $work.await,
        }
    };
}

impl SessionStore {
    /// This process's memory, for up to `max` sessions: one more takes the place of the one that would end
    /// first. They end with the process.
    pub fn memory(max: usize) -> Self {
        Self(Kind::Memory(Arc::new(Memory::new(max))))
    }

    /// The table `mainstay_session` of a database, made by [`install`](crate::install). Given the handle of a
    /// transaction, or through [`Sessions::on`](super::Sessions::on), it joins it.
    pub fn sql(db: &Db) -> Self {
        Self(Kind::Sql(Sql::new(db)))
    }

    /// Redis: a hash a session, and a sorted set a user, which expire. Keys begin with `prefix`. One node: a
    /// script touches the keys of a session and of its user at once. Set `maxmemory-policy` to `noeviction`
    /// or a `volatile-` one: a full server ends sessions otherwise.
    ///
    /// Errors: CACHE-004 where the URL is malformed, CACHE-001 where the server can't be reached.
    #[cfg(feature = "redis")]
    pub async fn redis(url: &str, prefix: &str) -> Result<Self> {
        Ok(Self(Kind::Redis(Redis::connect(url, prefix).await?)))
    }

    pub(super) fn on(&self, db: &Db) -> Result<Self> {
        let refuse = || {
            Error::new(
                Code::CacheOption,
                "sessions that are not in a database can't join its transaction",
            )
            .fix("keep them in SessionStore::sql, or store them after the commit")
        };
        match &self.0 {
            Kind::Sql(_) => Ok(Self::sql(db)),
            Kind::Memory(_) => Err(refuse()),
            #[cfg(feature = "redis")]
            Kind::Redis(_) => Err(refuse()),
        }
    }

    pub(super) fn in_transaction(&self) -> bool {
        matches!(&self.0, Kind::Sql(sql) if sql.in_transaction())
    }

    pub(super) async fn insert(&self, key: &str, record: &Record, span: &Span) -> Result<()> {
        each!(self, s => s.insert(key, record, span))
    }

    pub(super) async fn load(&self, key: &str) -> Result<Option<Record>> {
        each!(self, s => s.load(key))
    }

    /// Notes that it was used.
    pub(super) async fn touch(&self, key: &str, span: &Span) -> Result<()> {
        each!(self, s => s.touch(key, span))
    }

    /// Applies `changes` to the data as they are by now, in one step.
    pub(super) async fn merge(&self, key: &str, changes: &Changes) -> Result<Saved> {
        each!(self, s => s.merge(key, changes))
    }

    /// Moves it to another key, in one step; whether it was there.
    pub(super) async fn shift(
        &self,
        from: &str,
        to: &str,
        login: Option<Login<'_>>,
        span: &Span,
    ) -> Result<bool> {
        each!(self, s => s.shift(from, to, login, span))
    }

    pub(super) async fn delete(&self, key: &str) -> Result<()> {
        each!(self, s => s.delete(key))
    }

    /// Removes all of a user's: how many of them had not ended.
    pub(super) async fn delete_user(&self, user: &str, now_us: i64) -> Result<u64> {
        each!(self, s => s.delete_user(user, now_us))
    }

    /// Removes some of those that have ended: how many. 0 where there are none, or the store does it itself.
    pub(super) async fn sweep(&self, now_us: i64) -> Result<u64> {
        match &self.0 {
            Kind::Memory(memory) => memory.sweep(now_us),
            Kind::Sql(sql) => sql.sweep(now_us).await,
            #[cfg(feature = "redis")]
            Kind::Redis(_) => Ok(0),
        }
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Memory(_) => f.write_str("Memory"),
            Kind::Sql(sql) => f.debug_tuple("Sql").field(&sql.place()).finish(),
            #[cfg(feature = "redis")]
            Kind::Redis(redis) => f.debug_tuple("Redis").field(&redis.place()).finish(),
        }
    }
}
