//! Liquibase's own history, `databasechangelog`, made and kept as Liquibase does; and its lock's table.

use std::collections::HashMap;

use mainstay_core::Result;
use mainstay_core::clock::Clock;
use mainstay_db::Engine;

use super::model::ChangeSet;
use super::path::normal;
use super::{checksum, history};
use crate::database::{Database, Facts};

/// The version that rows say they were written by: the one whose rules these are.
const LIQUIBASE: &str = "4.28.0";

/// The history's table. Only PostgreSQL folds an unquoted name to lower case.
pub(crate) fn table_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "databasechangelog",
        Engine::MySql | Engine::Sqlite => "DATABASECHANGELOG",
    }
}

/// The lock's table.
pub(crate) fn lock_table_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "databasechangeloglock",
        Engine::MySql | Engine::Sqlite => "DATABASECHANGELOGLOCK",
    }
}

/// With its schema.
pub(crate) fn lock_table(facts: &Facts) -> String {
    facts.qualified(lock_table_name(facts.engine))
}

/// A change set that was run.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) order: i32,
    pub(crate) kind: String,
    pub(crate) md5sum: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) on: String,
    /// As the row has it.
    pub(crate) file: String,
    pub(crate) id: String,
    pub(crate) author: String,
    pub(crate) description: String,
}

/// Who a row is of: file in its one form, id and author.
pub(crate) type Who = (String, String, String);

/// The rows by who they are of; of several the last.
pub(crate) type Rows = HashMap<Who, Ran>;

impl Ran {
    pub(crate) fn who(&self) -> Who {
        (normal(&self.file), self.id.clone(), self.author.clone())
    }

    /// As Liquibase prints it.
    pub(crate) fn name(&self) -> String {
        format!("{}::{}::{}", self.file, self.id, self.author)
    }
}

pub(crate) fn who(set: &ChangeSet) -> Who {
    (normal(&set.file), set.id.clone(), set.author.clone())
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

/// All rows in the order in which they ran: the time first, since a Liquibase that was given an empty
/// history, or one put together of several, counts from one again.
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
        "SELECT ORDEREXECUTED, EXECTYPE, MD5SUM, TAG, {text}, FILENAME, ID, AUTHOR, DESCRIPTION \
         FROM {} ORDER BY DATEEXECUTED, ORDEREXECUTED",
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
                description: row.at::<Option<String>>(8)?.unwrap_or_default(),
            })
        })
        .collect()
}

/// The highest number that a row has.
pub(crate) fn last_order(rows: &[Ran]) -> i32 {
    rows.iter().map(|row| row.order).max().unwrap_or(0)
}

pub(crate) fn index(rows: &[Ran]) -> Rows {
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

/// The statement that writes down that `set` ran: into the row that it has, if it has one.
pub(crate) fn record_sql(
    facts: &Facts,
    set: &ChangeSet,
    dbms: &str,
    before: Option<&Ran>,
    how: How,
    order: i32,
    deployment: &str,
) -> String {
    let text = |text: &str| facts.literal(text);
    let optional = |value: Option<String>| value.map_or("NULL".to_owned(), |v| text(&v));
    let (table, now, sum) = (facts.history(), now(facts.engine), text(&checksum::set(set, dbms)));
    let (how, deployment) = (how.as_str(), text(deployment));
    if let Some(row) = before {
        return format!(
            "UPDATE {table} SET DATEEXECUTED = {now}, ORDEREXECUTED = {order}, MD5SUM = {sum}, \
             EXECTYPE = '{how}', DEPLOYMENT_ID = {deployment} WHERE {}",
            row_is(facts, row)
        );
    }
    format!(
        "INSERT INTO {table} (ID, AUTHOR, FILENAME, DATEEXECUTED, ORDEREXECUTED, MD5SUM, \
         DESCRIPTION, COMMENTS, EXECTYPE, CONTEXTS, LABELS, LIQUIBASE, DEPLOYMENT_ID, TAG) \
         VALUES ({}, {}, {}, {now}, {order}, {sum}, {}, {}, '{how}', {}, {}, '{LIQUIBASE}', \
         {deployment}, {})",
        text(&set.id),
        text(&set.author),
        text(&set.file),
        text(&history::description(set)),
        text(&history::comments(set)),
        optional(history::contexts(set)),
        optional(history::labels(set)),
        optional(set.tag().map(str::to_owned)),
    )
}

fn row_is(facts: &Facts, row: &Ran) -> String {
    format!(
        "ID = {} AND AUTHOR = {} AND FILENAME = {}",
        facts.literal(&row.id),
        facts.literal(&row.author),
        facts.literal(&row.file)
    )
}

/// The statement that forgets a row.
pub(crate) fn remove_sql(facts: &Facts, row: &Ran) -> String {
    format!("DELETE FROM {} WHERE {}", facts.history(), row_is(facts, row))
}

/// The statement that gives a row this checksum.
pub(crate) fn restate_sql(facts: &Facts, row: &Ran, sum: &str) -> String {
    let (table, sum) = (facts.history(), facts.literal(sum));
    format!("UPDATE {table} SET MD5SUM = {sum} WHERE {}", row_is(facts, row))
}

/// The statement that gives a row this tag.
pub(crate) fn tag_sql(facts: &Facts, row: &Ran, tag: &str) -> String {
    let (table, tag) = (facts.history(), facts.literal(tag));
    let (is, order) = (row_is(facts, row), row.order);
    format!("UPDATE {table} SET TAG = {tag} WHERE {is} AND ORDEREXECUTED = {order}")
}

/// The statement that takes Liquibase's mark away.
pub(crate) fn release_sql(facts: &Facts) -> String {
    let table = lock_table(facts);
    format!("UPDATE {table} SET LOCKED = FALSE, LOCKGRANTED = NULL, LOCKEDBY = NULL WHERE ID = 1")
}
