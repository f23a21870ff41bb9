//! Where leaderboards are kept. A store knows members and scores of a window; which window is meant, and how
//! many are kept, is not its matter.

mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod scripts;
mod sql;
mod statements;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use self::memory::Memory;
#[cfg(feature = "redis")]
use self::redis::Redis;
use self::sql::Sql;
use super::entry::{Lines, Standing};

/// Where leaderboards are kept. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct BoardStore(Kind);

#[derive(Clone)]
enum Kind {
    Memory(Arc<Memory>),
    Sql(Sql),
    #[cfg(feature = "redis")]
    Redis(Redis),
}

/// A window of a board.
#[derive(Debug)]
pub(super) struct Slot<'b> {
    pub(super) board: &'b str,
    pub(super) label: String,
    /// How long it is kept, for a store that sees to it itself.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "Redis alone forgets by itself")
    )]
    pub(super) ttl: Option<Duration>,
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

impl BoardStore {
    /// This process's memory, for up to `max` members of all boards and windows together: one more is refused
    /// with CACHE-001. They end with the process.
    pub fn memory(max: usize) -> Self {
        Self(Kind::Memory(Arc::new(Memory::new(max))))
    }

    /// The table `mainstay_board` of a database, made by [`install`](crate::install). Given the handle of a
    /// transaction, or through [`Board::on`](super::Board::on), it joins it.
    pub fn sql(db: &Db) -> Self {
        Self(Kind::Sql(Sql::new(db)))
    }

    /// Redis: a sorted set a window, under `PREFIX:board:NAME:WINDOW`, that expires. It holds the scores
    /// negated, so that ties are in the order of names.
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
                "a leaderboard that is not in a database can't join its transaction",
            )
            .fix("keep it in BoardStore::sql, or add after the commit")
        };
        match &self.0 {
            Kind::Sql(_) => Ok(Self::sql(db)),
            Kind::Memory(_) => Err(refuse()),
            #[cfg(feature = "redis")]
            Kind::Redis(_) => Err(refuse()),
        }
    }

    /// The transaction that it is in.
    pub(super) fn transaction(&self) -> Option<&Db> {
        match &self.0 {
            Kind::Sql(sql) => sql.transaction(),
            _ => None,
        }
    }

    pub(super) async fn add(&self, slot: &Slot<'_>, member: &str, delta: i64) -> Result<i64> {
        each!(self, s => s.add(slot, member, delta))
    }

    pub(super) async fn set(&self, slot: &Slot<'_>, member: &str, score: i64) -> Result<()> {
        each!(self, s => s.set(slot, member, score))
    }

    pub(super) async fn remove(&self, slot: &Slot<'_>, member: &str) -> Result<bool> {
        each!(self, s => s.remove(slot, member))
    }

    pub(super) async fn standing(&self, slot: &Slot<'_>, member: &str) -> Result<Option<Standing>> {
        each!(self, s => s.standing(slot, member))
    }

    /// Up to `count` lines after the first `before`.
    pub(super) async fn range(&self, slot: &Slot<'_>, before: u64, count: u32) -> Result<Lines> {
        each!(self, s => s.range(slot, before, count))
    }

    /// The line of `member` with up to `count` before and after it.
    pub(super) async fn around(&self, slot: &Slot<'_>, member: &str, count: u32) -> Result<Lines> {
        each!(self, s => s.around(slot, member, count))
    }

    pub(super) async fn len(&self, slot: &Slot<'_>) -> Result<u64> {
        each!(self, s => s.len(slot))
    }

    /// Removes the windows of `board` from the label `from` on, before `oldest`: how many lines.
    pub(super) async fn prune(&self, board: &str, from: &str, oldest: &str) -> Result<u64> {
        match &self.0 {
            Kind::Memory(memory) => Ok(memory.prune(board, from, oldest)),
            Kind::Sql(sql) => sql.prune(board, from, oldest).await,
            #[cfg(feature = "redis")]
            Kind::Redis(_) => Ok(0),
        }
    }
}

impl fmt::Debug for BoardStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Memory(_) => f.write_str("Memory"),
            Kind::Sql(sql) => f.debug_tuple("Sql").field(&sql.place()).finish(),
            #[cfg(feature = "redis")]
            Kind::Redis(redis) => f.debug_tuple("Redis").field(&redis.place()).finish(),
        }
    }
}

/// A score would leave what `i64`, or `bounds`, has.
fn beyond(bounds: &str) -> Error {
    Error::new(Code::CacheOption, format!("the score would leave its bounds, {bounds}"))
        .fix("count in larger units; the score is as it was")
}

/// The bounds where a score is any `i64`.
const WHOLE: &str = "-2^63 to 2^63 - 1";
