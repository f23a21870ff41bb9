//! Locks by name, which protect whatever their users agree on: one run of a report at a time, one
//! leader, one migration.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mainstay_core::{Code, Error, Place, Result};
use mainstay_pool::{Lease, Manage, What};

use super::files::LocalLock;
use crate::connection::{Activity, Connection};
use crate::db::Db;
use crate::driver::Driver;
use crate::engine::Engine;
use crate::error::from_driver;
use crate::hold::needs_session;
use crate::route::Work;
use crate::transaction::{Open, ended, look_past};

/// How much later than its own bound a wait on MySQL is given up.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks at a lock of MySQL's, for times shorter than the second that it counts in.
const POLL: Duration = Duration::from_millis(20);

/// A lock by name that is being asked for; made by [`Db::advisory_lock`].
#[derive(Clone, Debug)]
#[must_use = "nothing is locked until acquire() or try_acquire() is awaited"]
pub struct LockRequest<'d> {
    db: &'d Db,
    name: String,
    timeout: Option<Duration>,
    place: Place,
}

/// A lock by name. Of the pool's handle: held until dropped or [released](Self::release). Of a
/// transaction's: held until that ends, whatever becomes of this.
#[derive(Debug)]
#[must_use = "of the pool's handle, it is let go of when this is dropped"]
pub struct AdvisoryLock {
    name: String,
    held: Held,
}

enum Held {
    /// On a session of its own.
    Session {
        db: Db,
        lease: Option<Lease<Driver>>,
        _turn: LocalLock,
    },
    Local {
        _lock: LocalLock,
    },
    /// Ends with the transaction.
    Transaction,
}

impl Db {
    /// Asks for the lock called `name`, which one holder has at a time, in this process or another
    /// that uses the same database. It locks no row: only who asks for it is kept out.
    ///
    /// | | on the pool's handle | on a transaction's handle |
    /// |---|---|---|
    /// | PostgreSQL | `pg_advisory_lock` on a connection of the pool | `pg_advisory_xact_lock` |
    /// | MySQL, MariaDB | `GET_LOCK` on a connection of the pool | `GET_LOCK`, released after COMMIT or ROLLBACK |
    /// | SQLite | a file beside the database, locked by the operating system | the same, until the transaction ends |
    ///
    /// It ends with its holder, also one killed with -9: the server sees the connection end, the
    /// operating system the process. A server that can't be told, since its machine or the network
    /// is gone, sees that when its TCP keepalive does.
    ///
    /// Names are told apart by 64 bits (FNV-1a), within one database; on SQLite within the path that
    /// the URL names it by. A handle's lock keeps one connection of the pool, so `pool.max_size` must
    /// be larger than the locks that are held at once. Behind a transaction pooler only a
    /// transaction's can be had (DB-036). A transaction may ask for its own lock again. Asked for
    /// inside a nested transaction, it ends with that on PostgreSQL if that is rolled back.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// if let Some(lock) = db.advisory_lock("nightly report").try_acquire().await? {
    ///     // ... the only one of all processes
    ///     lock.release().await?;
    /// }
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn advisory_lock(&self, name: impl Into<String>) -> LockRequest<'_> {
        LockRequest { db: self, name: name.into(), timeout: None, place: Place::here() }
    }
}

impl LockRequest<'_> {
    /// How long [`acquire`](Self::acquire) waits; default `pool.acquire_timeout`. Also bounded by the
    /// current [`Scope`](mainstay_core::scope::Scope)'s deadline.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Waits for the lock. Within one handle those who wait for the same name are served in the order of
    /// asking, and only the first has a connection meanwhile.
    ///
    /// Cancel safe: a dropped wait leaves nothing locked for long; in a transaction it ends that
    /// (TX-005), as every statement that is dropped half-way does. So does a wait that is too long,
    /// on PostgreSQL. A statement timeout of the handle bounds the wait as well.
    ///
    /// Errors: LOCK-002 (not in time), DB-036 (behind a pooler), DB-031 (its holder waits for us);
    /// those of [`acquire`](mainstay_pool::Pool::acquire) and of a statement.
    pub async fn acquire(self) -> Result<AdvisoryLock> {
        let clock = &self.db.shared.clock;
        let limit = self.timeout.unwrap_or(self.db.shared.options.acquire_timeout);
        let begun = clock.now();
        let own = begun + limit.min(Duration::from_hours(24 * 365));
        let deadline = crate::deadline::scope_deadline().map_or(own, |d| d.at.min(own));
        let busy = || {
            let waited = clock.now().saturating_duration_since(begun);
            let what = format!("the lock `{}` was not had within {waited:.1?}", self.name);
            Error::new(Code::LockBusy, what).why("somebody else has it").at(self.place)
        };
        match self.get(Some(deadline)).await {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(busy()),
            // The server's own bound came first.
            Err(error) if error.code() == Code::StatementCancelled => Err(busy().cause(error)),
            Err(error) => Err(error.at(self.place)),
        }
    }

    /// The lock, if nobody else has it.
    ///
    /// Errors: as [`acquire`](Self::acquire), without LOCK-002.
    pub async fn try_acquire(self) -> Result<Option<AdvisoryLock>> {
        self.get(None).await.map_err(|e| e.at(self.place))
    }

    /// Waits until `deadline`, or not at all.
    async fn get(&self, deadline: Option<Instant>) -> Result<Option<AdvisoryLock>> {
        let held = match (&self.db.transaction, self.db.engine()) {
            (open, Engine::Sqlite) => self.local(open.as_deref(), deadline).await?,
            (None, _) => self.session(deadline).await?,
            (Some(_), _) => self.in_transaction(deadline).await?,
        };
        Ok(held.map(|held| AdvisoryLock { name: self.name.clone(), held }))
    }

    /// The turn within this handle, and with `folder` the lock of the operating system.
    async fn turn(
        &self,
        folder: Option<PathBuf>,
        deadline: Option<Instant>,
    ) -> Result<Option<LocalLock>> {
        let (shared, key) = (&self.db.shared, key(&self.name));
        let Some(at) = deadline else { return shared.names.try_lock(key, folder).await };
        let locks = shared.names.lock(key, folder, &shared.clock);
        shared.clock.timeout_at(at, locks).await.transpose()
    }

    async fn local(&self, open: Option<&Open>, deadline: Option<Instant>) -> Result<Option<Held>> {
        let key = key(&self.name);
        if let Some(open) = open {
            open.check_open(self.place)?;
            if open.whole.locks.has(key) {
                return Ok(Some(Held::Transaction));
            }
        }
        let Some(lock) = self.turn(self.db.shared.driver().lock_folder(), deadline).await? else {
            return Ok(None);
        };
        match open {
            None => Ok(Some(Held::Local { _lock: lock })),
            Some(open) if open.whole.locks.add(key, lock) => Ok(Some(Held::Transaction)),
            Some(_) => Err(ended(self.place)),
        }
    }

    async fn session(&self, deadline: Option<Instant>) -> Result<Option<Held>> {
        let Some(turn) = self.turn(None, deadline).await? else { return Ok(None) };
        look_past(self.db, self.place);
        // Of a cluster, the primary's.
        let there = self.db.chosen(Work::Write, self.place).await?;
        let db = there.as_ref().unwrap_or(self.db);
        let mut lease = db.acquire(false, self.place).await?;
        if lease.is_pooled() {
            return Err(needs_session("an advisory lock outside a transaction"));
        }
        // It is in use for as long as its user likes, which is no leak.
        if let Some(activity) = &lease.activity {
            activity.begins(What::Shared(format!("the advisory lock `{}`", self.name).into()));
        }
        // Set before it is sent: dropped at the await, the pool lets go of what was had.
        lease.state.locks = true;
        let mut held = Held::Session { db: db.clone(), lease: Some(lease), _turn: turn };
        let Held::Session { lease: Some(lease), .. } = &mut held else { return Ok(None) };
        let had = self.ask_until(lease, deadline).await?;
        // Where there was no answer, nobody knows.
        lease.state.locks = had || lease.state.activity != Activity::Idle;
        Ok(had.then_some(held))
    }

    async fn in_transaction(&self, deadline: Option<Instant>) -> Result<Option<Held>> {
        let mut hold = self.db.hold(false, false, self.place).await?;
        // PostgreSQL ends it with the transaction, and MySQL's session must.
        hold.state.locks |= self.db.engine() == Engine::MySql;
        let had = self.ask_until(&mut hold, deadline).await?;
        Ok(had.then_some(Held::Transaction))
    }

    /// As [`ask`](Self::ask), given up at the deadline; later on MySQL, which ends by itself.
    async fn ask_until(
        &self,
        connection: &mut Connection,
        deadline: Option<Instant>,
    ) -> Result<bool> {
        let Some(at) = deadline else { return self.ask(connection, None).await };
        let grace = if connection.engine() == Engine::MySql { GRACE } else { Duration::ZERO };
        let asks = self.ask(connection, deadline);
        self.db.shared.clock.timeout_at(at + grace, asks).await.unwrap_or(Ok(false))
    }

    /// Asks the server, which waits until `deadline` if there is one. On PostgreSQL the caller's own
    /// timeout ends the wait.
    async fn ask(&self, connection: &mut Connection, deadline: Option<Instant>) -> Result<bool> {
        let of_transaction = self.db.in_transaction();
        if connection.engine() == Engine::Postgres {
            let scope = if of_transaction { "xact_" } else { "" };
            let key = key(&self.name).cast_signed();
            return match deadline {
                Some(_) => {
                    answer(connection, format!("SELECT pg_advisory_{scope}lock({key}) IS NULL"))
                        .await
                        .map(|_| true)
                }
                None => {
                    answer(connection, format!("SELECT pg_try_advisory_{scope}lock({key})")).await
                }
            };
        }
        let clock = &self.db.shared.clock;
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(clock.now()));
            // It counts in seconds.
            let seconds = left.map_or(0, |left| left.as_secs());
            let name = mysql_name(&self.name);
            if answer(connection, format!("SELECT GET_LOCK({name}, {seconds}) = 1")).await? {
                return Ok(true);
            }
            match left {
                Some(left) if !left.is_zero() => clock.sleep(left.min(POLL)).await,
                _ => return Ok(false),
            }
        }
    }
}

impl AdvisoryLock {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks whether it is held still: its session may have ended, with the server or the network, and
    /// the lock with it. Before a step that must not be done twice. One of a transaction ends with
    /// that, whose COMMIT fails then.
    ///
    /// Cancel safe, but dropped half-way it can't ask again: the lock counts as lost then.
    ///
    /// Errors: LOCK-003.
    pub async fn check(&mut self) -> Result<()> {
        let Held::Session { db, lease: Some(lease), .. } = &mut self.held else { return Ok(()) };
        let limit = db.shared.options.validation_timeout;
        let lost = || {
            let what = format!("the lock `{}` is lost: its session has ended", self.name);
            Error::new(Code::LockLost, what)
        };
        match db.shared.clock.timeout(limit, db.shared.driver().check(lease)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(lost().cause(error)),
            None => Err(lost().why(format!("the database did not answer within {limit:?}"))),
        }
    }

    /// Lets go of it, and waits until that is done. A drop does the same later, on a task of the
    /// pool. One of a transaction stays until that ends.
    ///
    /// Cancel safe: dropped half-way, the pool lets go of it.
    ///
    /// Errors: LOCK-003, if it was lost before; DB-024, if the database stopped answering.
    pub async fn release(mut self) -> Result<()> {
        self.check().await?;
        if let Held::Session { db, lease, .. } = &mut self.held
            && let Some(lease) = lease
        {
            let limit = db.shared.options.recover_timeout;
            let silent = || Error::new(Code::ConnectionLost, "the database does not answer");
            return db.shared.clock.timeout(limit, lease.unlock()).await.ok_or_else(silent)?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Held::Session { lease: Some(lease), .. } = self
            && let Some(activity) = &lease.activity
        {
            activity.ends();
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Held::Session { .. } => "Session",
            Held::Local { .. } => "Local",
            Held::Transaction => "Transaction",
        })
    }
}

/// The first column of the answer, as a yes or no.
async fn answer(connection: &mut Connection, sql: String) -> Result<bool> {
    let row = connection.ask(sql).await.map_err(|e| from_driver(e, None))?;
    row.map_or(Ok(false), |row| row.at::<Option<bool>>(0).map(|yes| yes.unwrap_or(false)))
}

/// A name as a number: FNV-1a of 64 bits (Fowler, Noll and Vo), the same in every release.
fn key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// MySQL's locks are the whole server's, and their names have 64 characters at most.
fn mysql_name(name: &str) -> String {
    format!("CONCAT('mainstay:', SHA1(CONCAT(IFNULL(DATABASE(), ''), ':{:016x}')))", key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test vectors: a lock must be the same one for every release.
    #[test]
    fn a_name_is_the_same_number_for_ever() {
        assert_eq!(key(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(key("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(key("foobar"), 0x8594_4171_f739_67e8);
    }
}
