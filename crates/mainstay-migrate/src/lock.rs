//! The lock that one migrating process has at a time. It is Flyway's own on PostgreSQL and MySQL, so
//! that the two keep out of each other's way; on SQLite, where Flyway has none, a file's.
//!
//! It is held by a session that is otherwise idle and outside any transaction: one that waited inside
//! would hold a snapshot, and CREATE INDEX CONCURRENTLY waits for those for ever. It ends with its
//! holder, since the server sees the session end and the operating system the process.

use std::time::{Duration, Instant};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AdvisoryLock, Engine, Session};

use crate::database::{Database, Facts};

/// "Flyway" in ASCII, as a number.
const MAGIC: i64 = 77_431_708_279_161;
/// Between two looks at a lock that another has: at first, and after a while.
const POLL_MIN: Duration = Duration::from_millis(20);
const KEPT_FOR: &str = "the migrations' lock";
/// So long after it was seen, it is not looked at again.
const SEEN_FOR: Duration = Duration::from_secs(1);
/// Between two looks at the lock during a long statement.
const PING_EVERY: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const ALONE_POLL: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_secs(1);

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct MigrationLock {
    held: Held,
    /// When it was last known to be held.
    seen: Instant,
}

#[derive(Debug)]
enum Held {
    Session(Box<Session>),
    File(#[expect(dead_code, reason = "held until it is dropped")] AdvisoryLock),
}

impl MigrationLock {
    /// Waits for the lock up to `wait`; `waiting` is called if it is not to be had at once. Errors:
    /// MIG-007, naming who has it.
    ///
    /// Cancel safe: dropped, what was had ends with its session.
    pub(crate) async fn acquire(
        database: &mut Database,
        wait: Duration,
        waiting: impl Fn(),
    ) -> Result<Self> {
        let Database { db, session, facts, .. } = database;
        if facts.engine == Engine::Sqlite {
            let asked = || db.advisory_lock(&*facts.table);
            if let Some(lock) = asked().try_acquire().await? {
                return Ok(Self::new(Held::File(lock)));
            }
            waiting();
            let lock = asked().timeout(wait).acquire().await;
            return match lock {
                Ok(lock) => Ok(Self::new(Held::File(lock))),
                Err(error) if error.code() == Code::LockBusy => Err(busy(wait, "another process")),
                Err(error) => Err(error),
            };
        }
        // Who waits has one connection, not two.
        let (clock, rng) = (Clock::system(), Rng::system());
        let until = clock.now() + wait;
        let mut pause = POLL_MIN;
        while !ask(session, &acquire_sql(facts)).await? {
            if clock.now() >= until {
                let holder = holder(session, facts).await.unwrap_or_default();
                return Err(busy(wait, holder.as_deref().unwrap_or("another session")));
            }
            if pause == POLL_MIN {
                waiting();
            }
            clock.sleep(rng.jittered(pause, 0.3)).await;
            pause = (pause * 2).min(POLL_MAX);
        }
        let session = database.part().await?;
        session.keep_for(KEPT_FOR);
        database.works(wait).await?;
        Ok(Self::new(Held::Session(Box::new(session))))
    }

    fn new(held: Held) -> Self {
        Self { held, seen: Clock::system().now() }
    }

    /// Makes sure that it is still held, or was a moment ago. Errors: LOCK-003.
    pub(crate) async fn check(&mut self) -> Result<()> {
        let now = Clock::system().now();
        let Held::Session(session) = &mut self.held else { return Ok(()) };
        if now.saturating_duration_since(self.seen) < SEEN_FOR {
            return Ok(());
        }
        let lost =
            || Error::new(Code::LockLost, "the session that held the migrations' lock has ended");
        let clock = Clock::system();
        let answer = clock.timeout(ANSWER_LIMIT, session.run("SELECT 1")).await;
        answer.ok_or_else(lost)?.map_err(|error| lost().cause(error))?;
        session.keep_for(KEPT_FOR);
        self.seen = now;
        Ok(())
    }

    /// Does `work`, however long that takes, and looks meanwhile whether the lock is held still: a
    /// session that lies idle behind a firewall is forgotten by it. Errors: LOCK-003, those of `work`.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let clock = Clock::system();
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = clock.sleep(PING_EVERY) => self.check().await?,
            }
        }
    }
}

/// Waits until no session that migrates is left but this one: a server works on for a process that was
/// killed, and does not know that nobody listens. Errors: MIG-007.
pub(crate) async fn alone(session: &mut Session, facts: &Facts, wait: Duration) -> Result<()> {
    let sql = match facts.engine {
        Engine::Postgres => format!("SELECT pg_try_advisory_lock({})", postgres_key(facts) + 1),
        Engine::MySql => {
            format!("SELECT COALESCE(GET_LOCK('{}-work', 0), 0) = 1", mysql_name(facts))
        }
        Engine::Sqlite => return Ok(()),
    };
    let clock = Clock::system();
    let until = clock.now() + wait;
    while !ask(session, &sql).await? {
        if clock.now() >= until {
            return Err(busy(
                wait,
                "a statement of a process that has ended runs on at the server and",
            ));
        }
        clock.sleep(ALONE_POLL).await;
    }
    Ok(())
}

async fn ask(session: &mut Session, sql: &str) -> Result<bool> {
    let rows = session.rows(sql, Vec::new()).await?;
    rows.first().map_or(Ok(false), |row| Ok(row.at::<Option<bool>>(0)?.unwrap_or(false)))
}

fn acquire_sql(facts: &Facts) -> String {
    match facts.engine {
        Engine::Postgres => format!("SELECT pg_try_advisory_lock({})", postgres_key(facts)),
        Engine::MySql | Engine::Sqlite => {
            format!("SELECT COALESCE(GET_LOCK('{}', 0), 0) = 1", mysql_name(facts))
        }
    }
}

fn postgres_key(facts: &Facts) -> i64 {
    MAGIC + i64::from(java_hash(&facts.history()))
}

fn mysql_name(facts: &Facts) -> String {
    format!("Flyway-{}", java_hash(&facts.history()))
}

/// Java's `String.hashCode`: over the UTF-16 units, `h = 31 h + c`.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16()
        .fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Who has the lock, as far as the server tells.
async fn holder(session: &mut Session, facts: &Facts) -> Result<Option<String>> {
    let sql = match facts.engine {
        Engine::Postgres => {
            // The two halves of the key are told apart in pg_locks.
            let key = postgres_key(facts).cast_unsigned();
            format!(
                "SELECT format('process %s (%s), connected from %s since %s', a.pid, \
                 coalesce(nullif(a.application_name, ''), a.usename), \
                 coalesce(a.client_addr::text, 'a local socket'), \
                 to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS')) \
                 FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                 WHERE l.locktype = 'advisory' AND l.granted AND l.database = \
                 (SELECT oid FROM pg_database WHERE datname = current_database()) \
                 AND l.classid::bigint = {} AND l.objid::bigint = {}",
                key >> 32,
                key & 0xffff_ffff
            )
        }
        Engine::MySql | Engine::Sqlite => format!(
            "SELECT CONCAT('connection ', ID, ' (', USER, '), connected from ', HOST) \
             FROM information_schema.PROCESSLIST WHERE ID = IS_USED_LOCK('{}')",
            mysql_name(facts)
        ),
    };
    let rows = session.rows(&sql, Vec::new()).await?;
    rows.first().map_or(Ok(None), |row| row.at::<Option<String>>(0))
}

fn busy(wait: Duration, holder: &str) -> Error {
    let what = format!("the migrations' lock was not had within {wait:.0?}");
    Error::new(Code::MigrationLock, what).why(format!("{holder} has it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(engine: Engine, schema: &str) -> Facts {
        Facts { schema: schema.to_owned(), ..Facts::example(engine) }
    }

    /// Values of a real Flyway: the lock must be the same one.
    #[test]
    fn the_lock_is_flyways() {
        assert_eq!(postgres_key(&facts(Engine::Postgres, "public")), 77_433_833_903_597);
        assert_eq!(mysql_name(&facts(Engine::MySql, "test")), "Flyway--562162009");
    }
}
