//! Keeps Liquibase out while a changelog runs: its lock's row is locked by a transaction of a session
//! of its own, which ends with this process, where Liquibase's mark would stay.

use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Row, Session};

use super::store;
use crate::database::{Database, Facts};
use crate::options::Options;

const POLL: Duration = Duration::from_millis(500);
/// Longer than any change set may take.
const DAY_S: u32 = 86_400;
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
const KEPT_FOR: &str = "keeping Liquibase out";

/// The lock's row, held until this is dropped. SQLite has one writer as it is, and no session for it.
#[derive(Debug)]
pub(super) struct Hold(Option<Session>);

impl Hold {
    /// Waits as long as the options say. Errors: MIG-007 where Liquibase's mark is set.
    pub(super) async fn acquire(database: &mut Database, options: &Options) -> Result<Self> {
        let clock = Clock::system();
        let until = clock.now() + options.lock_wait;
        let facts = database.facts.clone();
        let select = select_sql(&facts);
        let mut session = None;
        if facts.engine != Engine::Sqlite {
            let mut new = database.session.another().await?;
            new.run(&set_up_sql(&facts, options)).await?;
            session = Some(new);
        }
        loop {
            let marked = match &mut session {
                Some(session) => lock_row(session, &facts, &select).await,
                None => database.rows(&select).await.and_then(|rows| mark(&rows)),
            };
            let why = match marked {
                Ok(None) => {
                    if let Some(session) = &session {
                        session.keep_for(KEPT_FOR);
                    }
                    return Ok(Self(session));
                }
                Ok(Some(by)) => format!("says that {by} migrates"),
                Err(error) if error.code() == Code::LockTimeout => {
                    "is locked by another session".to_owned()
                }
                Err(error) => return Err(error),
            };
            if let Some(session) = &mut session {
                session.run("ROLLBACK").await?;
            }
            if clock.now() >= until {
                let table = store::lock_table(&facts);
                return Err(Error::new(Code::MigrationLock, format!("{table} {why}"))
                    .why("Liquibase's mark stays when its process is killed")
                    .fix(
                        "if nobody migrates any more, run mainstay migrate liquibase release-locks",
                    ));
            }
            clock.sleep(POLL).await;
        }
    }

    /// Makes sure that it is held still. Errors: LOCK-003.
    pub(super) async fn check(&mut self) -> Result<()> {
        let Some(session) = &mut self.0 else { return Ok(()) };
        let lost = || Error::new(Code::LockLost, "the session that kept Liquibase out has ended");
        let clock = Clock::system();
        let answer = clock.timeout(ANSWER_LIMIT, session.run("SELECT 1")).await;
        answer.ok_or_else(lost)?.map_err(|error| lost().cause(error))?;
        session.keep_for(KEPT_FOR);
        Ok(())
    }
}

/// Who holds the mark; a column of MySQL's type BIT, as a Liquibase made it, is no number by itself.
fn select_sql(facts: &Facts) -> String {
    let (locked, lock) = match facts.engine {
        Engine::MySql => ("LOCKED + 0 <> 0", " FOR UPDATE"),
        Engine::Postgres => ("LOCKED", " FOR UPDATE"),
        Engine::Sqlite => ("LOCKED", ""),
    };
    let table = store::lock_table(facts);
    format!("SELECT {locked}, LOCKEDBY FROM {table} WHERE ID = 1{lock}")
}

/// The session lies idle in a transaction for as long as the changelog takes, whatever the server's
/// settings say of such sessions.
fn set_up_sql(facts: &Facts, options: &Options) -> String {
    let ms = options.lock_timeout.as_millis();
    if facts.engine == Engine::Postgres {
        let mut sql = format!(
            "SET lock_timeout = {ms}; SET statement_timeout = 0; \
             SET idle_in_transaction_session_timeout = 0"
        );
        for (from, name) in [(14, "idle_session_timeout"), (17, "transaction_timeout")] {
            if facts.at_least(from, 0, 0) {
                sql += &format!("; SET {name} = 0");
            }
        }
        return sql;
    }
    // MySQL counts in seconds, upwards from one.
    let seconds = ms.div_ceil(1000).max(1);
    let mut sql = format!(
        "SET SESSION lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds}, \
         wait_timeout = {DAY_S}"
    );
    if facts.mariadb {
        sql += ", max_statement_time = 0";
        if facts.at_least(10, 3, 0) {
            sql += ", idle_transaction_timeout = 0, idle_write_transaction_timeout = 0";
        }
    }
    sql
}

/// Locks the row in a new transaction. A snapshot that it kept would have CREATE INDEX CONCURRENTLY
/// wait for it for ever.
async fn lock_row(session: &mut Session, facts: &Facts, select: &str) -> Result<Option<String>> {
    if facts.engine == Engine::Postgres {
        session.run("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    } else {
        session.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        session.run("BEGIN").await?;
    }
    mark(&session.rows(select, Vec::new()).await?)
}

fn mark(rows: &[Row]) -> Result<Option<String>> {
    let Some(row) = rows.first() else { return Ok(None) };
    let by = row.at::<Option<String>>(1)?.unwrap_or_else(|| "a Liquibase".to_owned());
    Ok(row.at::<Option<bool>>(0)?.unwrap_or(false).then_some(by))
}
