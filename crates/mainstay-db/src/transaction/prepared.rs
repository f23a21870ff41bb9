//! A transaction that is prepared and not committed: the first half of two-phase commit, for who coordinates several
//! databases. PostgreSQL's PREPARE TRANSACTION, MariaDB's XA.
//!
//! It decides nothing: what is prepared stays, over restarts too, with its locks, until somebody commits it or rolls it back.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::{Code, Error, Place, Result, Retry};

use super::hooks::When;
use super::open::Open;
use super::run::{Run, call_hooks};
use super::tx::Plan;
use crate::db::Db;
use crate::engine::Engine;
use crate::route::{Doubt, Work};
use crate::session::Session;

/// What the names of ours begin with.
const PREFIX: &str = "mainstay_";
/// MariaDB lets another session settle a transaction once the one that prepared it has gone, which it hears of a little
/// later.
const SETTLE_PAUSE: Duration = Duration::from_millis(5);
const SETTLES_MAX: u32 = 200;
/// How long one such exchange may take.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The name of a prepared transaction: that of the whole, and the number of the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PreparedId {
    /// The whole's: the same in all its parts.
    pub whole: u128,
    /// Which part.
    pub part: u16,
}

impl fmt::Display for PreparedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:032x}_{}", self.whole, self.part)
    }
}

impl PreparedId {
    fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let whole = (whole.len() == 32).then(|| u128::from_str_radix(whole, 16).ok())??;
        Some(Self { whole, part: part.parse().ok()? })
    }

    /// What prepares it, where COMMIT would stand otherwise.
    pub(crate) fn prepares(self, engine: Engine) -> String {
        match engine {
            Engine::MySql => format!("XA END '{self}'; XA PREPARE '{self}'"),
            _ => format!("PREPARE TRANSACTION '{self}'"),
        }
    }
}

/// An open transaction that is going to be prepared. Dropped, it is rolled back.
#[must_use = "dropped, it is rolled back"]
pub struct Participant {
    run: Run,
    id: PreparedId,
    db: Db,
}

/// A prepared transaction. Dropped, it stays prepared: [`Db::prepared`] lists it.
#[must_use = "it keeps its locks until it is committed or rolled back"]
pub struct Prepared {
    db: Db,
    id: PreparedId,
    open: Arc<Open>,
    /// It was said what is to become of it.
    told: AtomicBool,
}

/// Who finds it later may commit it.
impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.told.load(SeqCst) {
            drop(Doubt::new(self.db.route.as_deref(), Work::Write));
        }
    }
}

impl Db {
    /// Begins a transaction that is to be prepared as `id`.
    ///
    /// Errors: DB-016 (SQLite has none), those of [`acquire`](mainstay_pool::Pool::acquire) and of BEGIN.
    #[track_caller]
    pub fn participate(
        &self,
        id: PreparedId,
    ) -> impl Future<Output = Result<Participant>> + Send + '_ {
        let place = Place::here();
        async move {
            if self.engine() == Engine::Sqlite {
                return Err(
                    Error::new(Code::Unsupported, "SQLite can't prepare transactions").at(place)
                );
            }
            let db = Db { transaction: None, ..self.clone() };
            let run = Run::begin(&db, Plan::prepared(id), place, 1, None).await?;
            Ok(Participant { run, id, db })
        }
    }

    /// The transactions of ours that are prepared here and neither committed nor rolled back, with how long ago that was
    /// by the server's own clock, where it says so: MariaDB does not.
    ///
    /// Errors: those of the statement.
    pub async fn prepared(&self) -> Result<Vec<(PreparedId, Option<Duration>)>> {
        list(&mut settling(self).await?).await
    }

    /// Commits (or rolls back) what was prepared as `id`. One that is not there, since it was settled before, is fine. What
    /// is read afterwards through a handle of a cluster sees it.
    ///
    /// Cancel safe: dropped, it may have been done.
    ///
    /// Errors: those of the statement; then it may be tried again.
    pub async fn settle_prepared(&self, id: PreparedId, commit: bool) -> Result<()> {
        let verb = if commit { "COMMIT" } else { "ROLLBACK" };
        let sql = match self.engine() {
            Engine::MySql => format!("XA {verb} '{id}'"),
            _ => format!("{verb} PREPARED '{id}'"),
        };
        let mut session = settling(self).await?;
        let mut doubt = Doubt::new(self.route.as_deref().filter(|_| commit), Work::Write);
        for _ in 0..SETTLES_MAX {
            let settles = self.shared.clock.timeout(SETTLE_TIMEOUT, session.run(&sql)).await;
            let settled = settles.unwrap_or_else(|| {
                let what = format!("{verb} PREPARED took over {SETTLE_TIMEOUT:?}");
                Err(Error::new(Code::Deadline, what))
            });
            let Err(error) = settled else {
                // Its text looks like the end of a transaction of its own.
                session.leaves_nothing();
                doubt.done();
                return Ok(());
            };
            // A connection that broke tells nothing: another one does.
            if error.code() == Code::Deadline || error.retryability() == Retry::Unknown {
                session = settling(self).await?;
            }
            // Gone, or not yet free: MariaDB says the same of both.
            if !list(&mut session).await?.iter().any(|(known, _)| *known == id) {
                doubt.done();
                return Ok(());
            }
            if self.engine() != Engine::MySql || error.code() == Code::Deadline {
                return Err(error);
            }
            self.shared.clock.sleep(SETTLE_PAUSE).await;
        }
        let what = format!("`{id}` is kept by the session that prepared it");
        Err(Error::new(Code::LockTimeout, what))
    }
}

/// A session for what lists and settles, outside transactions: one for each part of each transaction, so that it must not
/// cost a connection.
async fn settling(db: &Db) -> Result<Session> {
    let mut session = db.session().await?;
    session.leaves_nothing();
    Ok(session)
}

/// Those of ours that are prepared.
async fn list(session: &mut Session) -> Result<Vec<(PreparedId, Option<Duration>)>> {
    let mut all = Vec::new();
    match session.engine() {
        Engine::Postgres => {
            let sql = "SELECT gid, EXTRACT(EPOCH FROM clock_timestamp() - prepared)::float8 \
                       FROM pg_prepared_xacts WHERE database = current_database()";
            for row in session.rows(sql, Vec::new()).await? {
                let (name, age): (String, f64) = (row.at(0)?, row.at(1)?);
                let age = Duration::from_secs_f64(age.max(0.0));
                all.extend(PreparedId::parse(&name).map(|id| (id, Some(age))));
            }
        }
        Engine::MySql => {
            for row in session.rows("XA RECOVER", Vec::new()).await? {
                let name: Vec<u8> = row.at(3)?;
                let id = std::str::from_utf8(&name).ok().and_then(PreparedId::parse);
                all.extend(id.map(|id| (id, None)));
            }
        }
        Engine::Sqlite => {}
    }
    Ok(all)
}

impl Participant {
    /// The transaction's handle.
    pub fn handle(&self) -> Db {
        self.run.handle()
    }

    /// Prepares it: from then on it can be committed, whatever happens to this process or to the server.
    ///
    /// Cancel safe: dropped half-way, it may be prepared: see [`Db::prepared`].
    ///
    /// Errors: as [`Tx::run`](crate::Tx::run)'s; TX-003 where it may have been prepared; ROUTE-040 where the server can't.
    pub async fn prepare(self) -> Result<Prepared> {
        let open = self.run.open();
        let (outcome, _) = self.run.end(Ok(())).await;
        match outcome {
            Ok(()) => Ok(Prepared { db: self.db, id: self.id, open, told: AtomicBool::new(false) }),
            Err(error) if error.what().contains("prepared transactions are disabled") => {
                Err(Error::new(
                    Code::TwoPhaseUnsupported,
                    "the server has max_prepared_transactions = 0",
                )
                .cause(error))
            }
            Err(error) => Err(error),
        }
    }
}

impl Prepared {
    /// Its name.
    pub fn id(&self) -> PreparedId {
        self.id
    }

    /// Commits it, or rolls it back, and calls its hooks. Errors: as [`Db::settle_prepared`]'s.
    pub async fn settle(&self, commit: bool) -> Result<()> {
        self.told.store(true, SeqCst);
        self.db.settle_prepared(self.id, commit).await?;
        let when = if commit { When::AfterCommit } else { When::AfterRollback };
        if let Some(hooks) = call_hooks(&self.open, when) {
            let _ = hooks.await;
        }
        self.open.hooks.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let id = PreparedId { whole: 0x0195_0000_0000_7000_8000_0000_0000_0001, part: 3 };
        assert_eq!(PreparedId::parse(&id.to_string()), Some(id));
        for text in ["", "mainstay_1_2", "mainstay_x", "other_01950000000070008000000000000001_3"] {
            assert_eq!(PreparedId::parse(text), None, "{text}");
        }
    }
}
