//! The handle's pool, as an operator has it: who holds what, how it is sized, and what to do around
//! a failover. With SQLite the writer and the readers are told together.

use std::num::NonZero;

use mainstay_core::Result;
use mainstay_core::inspect::{Inspect, Snapshot};
use mainstay_pool::{Advice, InUse, Pool, Server, Usage};

use crate::db::Db;
use crate::driver::Driver;
use crate::engine::Engine;

impl Db {
    fn pools(&self) -> impl Iterator<Item = &Pool<Driver>> {
        std::iter::once(&self.shared.pools.main).chain(&self.shared.pools.readers)
    }

    /// Every connection that somebody has at this moment, the one held for longest first: where it
    /// was asked for, for which request or job, since when, for how long a transaction is open on
    /// it, and its last statement, without values.
    pub fn in_use(&self) -> Vec<InUse> {
        let mut all: Vec<InUse> = self.pools().flat_map(Pool::in_use).collect();
        all.sort_by_key(|held| std::cmp::Reverse(held.held));
        all
    }

    /// What happened to the pool in the last five to ten minutes; of SQLite's, the readers.
    pub fn usage(&self) -> Usage {
        self.sized().usage()
    }

    /// Advice on `pool.max_size` from what was observed and what the server allows: asks the server,
    /// with a connection of the pool.
    ///
    /// Errors: as [`Query`](crate::Query).
    pub async fn advice(&self) -> Result<Advice> {
        Ok(self.sized().advice(&self.server().await?))
    }

    /// Gives the pool another bound, at once; with SQLite, the readers. Below what is in use, nothing
    /// is cut off. Errors: CFG-003.
    pub fn resize(&self, max_size: u32) -> Result<()> {
        self.sized().resize(max_size)
    }

    /// Hands no connection out until [`resume`](Self::resume): callers wait, up to
    /// `pool.acquire_timeout`.
    pub fn suspend(&self) {
        self.pools().for_each(Pool::suspend);
    }

    /// Ends a suspension.
    pub fn resume(&self) {
        self.pools().for_each(Pool::resume);
    }

    /// Closes every connection that is open now, the idle ones at once and the others when they come
    /// back: after a failover they lead to the wrong server. A database in memory keeps its data.
    pub fn clear(&self) {
        self.pools().for_each(Pool::clear);
    }

    /// The pool whose size is `pool.max_size`.
    fn sized(&self) -> &Pool<Driver> {
        self.shared.pool(true)
    }

    async fn server(&self) -> Result<Server> {
        let (max, open) = match self.engine() {
            Engine::Sqlite => return Ok(Server { cores: cores(), ..Server::default() }),
            Engine::Postgres => (
                "SELECT CAST(current_setting('max_connections') AS BIGINT)",
                "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'",
            ),
            Engine::MySql => (
                "SELECT CAST(@@max_connections AS SIGNED)",
                "SELECT COUNT(*) FROM information_schema.processlist",
            ),
        };
        let max: i64 = self.query(max).scalar().await?;
        let open: i64 = self.query(open).scalar().await?;
        let number = |n: i64| u32::try_from(n).ok();
        Ok(Server {
            connections_max: number(max),
            connections_open: number(open),
            cores: self.shared.driver().is_local().then(cores).flatten(),
        })
    }
}

fn cores() -> Option<u32> {
    let cores = std::thread::available_parallelism().map(NonZero::get);
    cores.ok().and_then(|n| u32::try_from(n).ok())
}

/// The pool that `pool.max_size` is of.
impl Inspect for Db {
    fn inspect(&self) -> Snapshot {
        self.sized().inspect()
    }
}
