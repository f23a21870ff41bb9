//! Reads other tools' tables. Every column is read as a text, so that one way serves all engines.

use chrono::{DateTime, Utc};
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Row};

use super::Tool;
use super::find::Source;
use crate::database::{Database, Facts};
use crate::history::{Applied, History};

/// When a migration was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum When {
    /// Nobody knows: it becomes the time of the takeover.
    #[default]
    Unknown,
    /// As the session's clock shows it.
    Local(String),
    /// In UTC.
    Utc(String),
}

/// One migration as another tool wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Old {
    pub(super) version: String,
    /// A name or a description, where the tool keeps one.
    pub(super) name: String,
    pub(super) on: When,
    pub(super) success: bool,
    /// In the tool's own form: sqlx's bytes in hexadecimal, refinery's number.
    pub(super) sum: Option<String>,
    pub(super) execution_ms: i32,
}

impl Old {
    /// As messages name it.
    pub(super) fn shown(&self) -> String {
        match self.name.as_str() {
            "" => format!("version {}", self.version),
            name => format!("version {} ({name})", self.version),
        }
    }
}

/// The rows of a tool that has one for each applied migration, in no order. Errors: MIG-016.
pub(super) async fn rows(database: &mut Database, source: &Source) -> Result<Vec<Old>> {
    let sql = select(&database.facts, source);
    let rows = database.rows(&sql).await.map_err(|error| unreadable(source, error))?;
    rows.iter().map(|row| old(row, source.tool)).collect()
}

/// Flyway's rows, by rank, from a table of another name. Errors: MIG-016.
pub(super) async fn flyway(database: &mut Database, source: &Source) -> Result<Vec<Applied>> {
    let ours = std::mem::replace(&mut database.facts.table, source.table.clone());
    let read = History::read(database).await;
    database.facts.table = ours;
    Ok(read?.rows)
}

/// Six texts: version, name, time, `yes` where it succeeded, checksum, nanoseconds.
fn select(facts: &Facts, source: &Source) -> String {
    let text = |column: &str| match facts.engine {
        Engine::Postgres => format!("{column}::text"),
        Engine::MySql => format!("CAST({column} AS CHAR)"),
        Engine::Sqlite => format!("CAST({column} AS TEXT)"),
    };
    let time = |column: &str| match facts.engine {
        Engine::Postgres => format!("to_char({column}, 'YYYY-MM-DD HH24:MI:SS.US')"),
        Engine::MySql => format!("DATE_FORMAT({column}, '%Y-%m-%d %H:%i:%s')"),
        Engine::Sqlite => format!("substr(CAST({column} AS TEXT), 1, 23)"),
    };
    let hex = |column: &str| match facts.engine {
        Engine::Postgres => format!("encode({column}, 'hex')"),
        Engine::MySql | Engine::Sqlite => format!("lower(hex({column}))"),
    };
    let version = text("version");
    let columns = match source.tool {
        Tool::Sqlx => [
            version,
            text("description"),
            time("installed_on"),
            "CASE WHEN success THEN 'yes' ELSE 'no' END".to_owned(),
            hex("checksum"),
            text("execution_time"),
        ],
        Tool::Refinery => [
            version,
            text("name"),
            text("applied_on"),
            "'yes'".to_owned(),
            text("checksum"),
            "''".to_owned(),
        ],
        Tool::Diesel | Tool::Flyway | Tool::Liquibase => [
            version,
            "''".to_owned(),
            time("run_on"),
            "'yes'".to_owned(),
            "''".to_owned(),
            "''".to_owned(),
        ],
    };
    format!("SELECT {} FROM {}", columns.join(", "), facts.qualified(&source.table))
}

fn old(row: &Row, tool: Tool) -> Result<Old> {
    let text = |n| row.at::<Option<String>>(n).map(Option::unwrap_or_default);
    let on = text(2)?;
    // sqlx writes -1 while a migration runs.
    let nanoseconds = text(5)?.parse::<i64>().unwrap_or(0).max(0);
    Ok(Old {
        version: text(0)?,
        name: text(1)?,
        on: if tool == Tool::Refinery { utc(&on) } else { local(on) },
        success: text(3)? == "yes",
        sum: Some(text(4)?).filter(|sum| !sum.is_empty()),
        execution_ms: i32::try_from(nanoseconds / 1_000_000).unwrap_or(i32::MAX),
    })
}

/// SQLite keeps whatever it was given, so that it may be no time at all.
fn local(text: String) -> When {
    let is_time = chrono::NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f").is_ok();
    if is_time { When::Local(text) } else { When::Unknown }
}

/// refinery writes RFC 3339.
fn utc(text: &str) -> When {
    let Ok(time) = DateTime::parse_from_rfc3339(text) else { return When::Unknown };
    When::Utc(time.with_timezone(&Utc).format("%Y-%m-%d %H:%M:%S%.3f").to_string())
}

fn unreadable(source: &Source, error: Error) -> Error {
    if error.code() != Code::Undefined {
        return error;
    }
    let what = format!("{} is no history of {}", source.table, source.tool);
    Error::new(Code::MigrationHistory, what).cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_left_open() {
        assert_eq!(
            utc("2024-01-02T05:04:05.678901234+02:00"),
            When::Utc("2024-01-02 03:04:05.678".to_owned())
        );
        assert_eq!(utc("yesterday"), When::Unknown);
        let time = "2024-01-02 03:04:05".to_owned();
        assert_eq!(local(time.clone()), When::Local(time));
        assert_eq!(local("1704164645".to_owned()), When::Unknown);
    }
}
