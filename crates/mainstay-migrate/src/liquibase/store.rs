//! Liquibase's own history, `databasechangelog`, made and kept as Liquibase does; and its lock's row,
//! which is respected and held so that it ends with its holder.

use std::collections::HashMap;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Session};

use super::model::ChangeSet;
use super::{checksum, history};
use crate::database::{Database, Facts};

/// The version that rows say they were written by: the one whose rules these are.
const LIQUIBASE: &str = "4.28.0";
const POLL: Duration = Duration::from_millis(500);

/// The history's table. Only PostgreSQL folds an unquoted name to lower case.
pub(crate) fn table_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "databasechangelog",
        Engine::MySql | Engine::Sqlite => "DATABASECHANGELOG",
    }
}

fn lock_table(facts: &Facts) -> String {
    facts.qualified(match facts.engine {
        Engine::Postgres => "databasechangeloglock",
        Engine::MySql | Engine::Sqlite => "DATABASECHANGELOGLOCK",
    })
}

/// A change set that was run.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) order: i32,
    pub(crate) kind: String,
    pub(crate) md5sum: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) on: String,
    pub(crate) file: String,
    pub(crate) id: String,
    pub(crate) author: String,
}

/// Who a row is of: file, id and author.
pub(crate) type Who = (String, String, String);

impl Ran {
    pub(crate) fn who(&self) -> Who {
        (self.file.clone(), self.id.clone(), self.author.clone())
    }
}

pub(crate) fn who(set: &ChangeSet) -> Who {
    (set.file.clone(), set.id.clone(), set.author.clone())
}

/// Makes both tables, unless they are there.
pub(crate) async fn create(database: &mut Database) -> Result<()> {
    let facts = &database.facts;
    let (table, lock) = (facts.history(), lock_table(facts));
    let (time, number) = match facts.engine {
        Engine::Postgres => ("TIMESTAMP WITHOUT TIME ZONE", "INTEGER"),
        Engine::MySql => ("DATETIME", "INT"),
        Engine::Sqlite => ("TEXT", "INTEGER"),
    };
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {table} (ID VARCHAR(255) NOT NULL, AUTHOR VARCHAR(255) NOT NULL, \
         FILENAME VARCHAR(255) NOT NULL, DATEEXECUTED {time} NOT NULL, \
         ORDEREXECUTED {number} NOT NULL, EXECTYPE VARCHAR(10) NOT NULL, MD5SUM VARCHAR(35), \
         DESCRIPTION VARCHAR(255), COMMENTS VARCHAR(255), TAG VARCHAR(255), LIQUIBASE VARCHAR(20), \
         CONTEXTS VARCHAR(255), LABELS VARCHAR(255), DEPLOYMENT_ID VARCHAR(10))"
    );
    database.run(&sql).await?;
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {lock} (ID {number} NOT NULL, LOCKED BOOLEAN NOT NULL, \
         LOCKGRANTED {time}, LOCKEDBY VARCHAR(255), CONSTRAINT PK_DATABASECHANGELOGLOCK \
         PRIMARY KEY (ID))"
    );
    database.run(&sql).await?;
    let sql = format!(
        "INSERT INTO {lock} (ID, LOCKED) SELECT 1, FALSE WHERE NOT EXISTS \
         (SELECT 1 FROM {lock} WHERE ID = 1)"
    );
    // MySQL wants a table to select from.
    let sql = match database.facts.engine {
        Engine::MySql => sql.replace("SELECT 1, FALSE WHERE", "SELECT 1, FALSE FROM DUAL WHERE"),
        Engine::Sqlite | Engine::Postgres => sql,
    };
    database.run(&sql).await.map(drop)
}

/// All rows, by their order.
pub(crate) async fn read(database: &mut Database) -> Result<Vec<Ran>> {
    let facts = &database.facts;
    if !database.has_table(table_name(facts.engine)).await? {
        return Ok(Vec::new());
    }
    let text = match database.facts.engine {
        Engine::Postgres => "to_char(DATEEXECUTED, 'YYYY-MM-DD HH24:MI:SS')",
        Engine::MySql => "DATE_FORMAT(DATEEXECUTED, '%Y-%m-%d %H:%i:%s')",
        Engine::Sqlite => "substr(DATEEXECUTED, 1, 19)",
    };
    let sql = format!(
        "SELECT ORDEREXECUTED, EXECTYPE, MD5SUM, TAG, {text}, FILENAME, ID, AUTHOR FROM {} \
         ORDER BY ORDEREXECUTED, DATEEXECUTED",
        database.facts.history()
    );
    let rows = database.rows(&sql).await?;
    rows.iter()
        .map(|row| {
            Ok(Ran {
                order: row.at(0)?,
                kind: row.at(1)?,
                md5sum: row.at(2)?,
                tag: row.at(3)?,
                on: row.at::<Option<String>>(4)?.unwrap_or_default(),
                file: row.at(5)?,
                id: row.at(6)?,
                author: row.at(7)?,
            })
        })
        .collect()
}

/// By who they are of; of several the last.
pub(crate) fn index(rows: &[Ran]) -> HashMap<Who, Ran> {
    rows.iter().map(|row| (row.who(), row.clone())).collect()
}

/// How a set came into the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Executed,
    Reran,
    MarkedRan,
}

impl How {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            How::Executed => "EXECUTED",
            How::Reran => "RERAN",
            How::MarkedRan => "MARK_RAN",
        }
    }
}

/// What identifies a run: the last ten digits of the time in milliseconds.
pub(crate) fn deployment_id() -> String {
    let since = Clock::system().wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:010}", since.as_millis() % 10_000_000_000)
}

fn now(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres | Engine::MySql => "NOW()",
        Engine::Sqlite => "CURRENT_TIMESTAMP",
    }
}

/// The statement that writes down that `set` ran.
pub(crate) fn record_sql(
    facts: &Facts,
    set: &ChangeSet,
    dbms: &str,
    how: How,
    order: i32,
    deployment: &str,
) -> String {
    let text = |text: &str| facts.literal(text);
    let optional = |value: Option<String>| value.map_or("NULL".to_owned(), |v| text(&v));
    let (table, now, sum) = (facts.history(), now(facts.engine), text(&checksum::set(set, dbms)));
    if how == How::Reran {
        return format!(
            "UPDATE {table} SET DATEEXECUTED = {now}, ORDEREXECUTED = {order}, MD5SUM = {sum}, \
             EXECTYPE = 'RERAN', DEPLOYMENT_ID = {} WHERE ID = {} AND AUTHOR = {} AND FILENAME = {}",
            text(deployment),
            text(&set.id),
            text(&set.author),
            text(&set.file)
        );
    }
    format!(
        "INSERT INTO {table} (ID, AUTHOR, FILENAME, DATEEXECUTED, ORDEREXECUTED, MD5SUM, \
         DESCRIPTION, COMMENTS, EXECTYPE, CONTEXTS, LABELS, LIQUIBASE, DEPLOYMENT_ID, TAG) \
         VALUES ({}, {}, {}, {now}, {order}, {sum}, {}, {}, '{}', {}, {}, '{LIQUIBASE}', {}, {})",
        text(&set.id),
        text(&set.author),
        text(&set.file),
        text(&history::description(set)),
        text(&history::comments(set)),
        how.as_str(),
        optional(history::contexts(set)),
        optional(history::labels(set)),
        text(deployment),
        optional(set.tag().map(str::to_owned)),
    )
}

/// The statement that forgets a row.
pub(crate) fn remove_sql(facts: &Facts, row: &Ran) -> String {
    format!(
        "DELETE FROM {} WHERE ID = {} AND AUTHOR = {} AND FILENAME = {}",
        facts.history(),
        facts.literal(&row.id),
        facts.literal(&row.author),
        facts.literal(&row.file)
    )
}

/// The statement that gives a row this checksum.
pub(crate) fn restate_sql(facts: &Facts, row: &Ran, sum: &str) -> String {
    format!(
        "UPDATE {} SET MD5SUM = {} WHERE ID = {} AND AUTHOR = {} AND FILENAME = {}",
        facts.history(),
        facts.literal(sum),
        facts.literal(&row.id),
        facts.literal(&row.author),
        facts.literal(&row.file)
    )
}

/// Keeps Liquibase out: the lock's row is locked by a transaction of a session of its own, which ends
/// with this process, where Liquibase's mark would stay. SQLite has one writer as it is.
///
/// Errors: MIG-007 where Liquibase's mark is set.
pub(crate) async fn hold(database: &mut Database, wait: Duration) -> Result<Option<Session>> {
    let clock = Clock::system();
    let until = clock.now() + wait;
    let lock = lock_table(&database.facts);
    let sql = format!("SELECT LOCKED, LOCKEDBY FROM {lock} WHERE ID = 1");
    let server = database.facts.engine != Engine::Sqlite;
    let mut session = if server { Some(database.session.another().await?) } else { None };
    loop {
        let rows = match &mut session {
            Some(session) => {
                session.run("BEGIN").await?;
                session.rows(&format!("{sql} FOR UPDATE"), Vec::new()).await?
            }
            None => database.rows(&sql).await?,
        };
        let (locked, by) = match rows.first() {
            Some(row) => (row.at::<Option<bool>>(0)?, row.at::<Option<String>>(1)?),
            None => (None, None),
        };
        if !locked.unwrap_or(false) {
            if let Some(session) = &session {
                session.keep_for("keeping Liquibase out");
            }
            return Ok(session);
        }
        if let Some(session) = &mut session {
            session.run("ROLLBACK").await?;
        }
        if clock.now() >= until {
            let by = by.unwrap_or_else(|| "a Liquibase".to_owned());
            return Err(Error::new(Code::MigrationLock, format!("{lock} says that {by} migrates"))
                .why("Liquibase's mark stays when its process is killed")
                .fix("if nobody does any more, run liquibase release-locks"));
        }
        clock.sleep(POLL).await;
    }
}
