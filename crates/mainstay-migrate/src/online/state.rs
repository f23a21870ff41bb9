//! The table that says how far each change is: `mainstay_change`, in the session's default schema.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Row};
use serde::Serialize;

use super::ground::{Ground, text};
use crate::database::{Database, Facts};

const TABLE: &str = "mainstay_change";
const COLUMNS: &str = "name, declaration, ground, phase, step, cursor_key, rows_done, rows_total, \
                       started_at, updated_at, expanded_at";

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// What is new is being added beside what is old.
    Expand,
    /// What is new is being filled in old rows. Old and new code may both run.
    Backfill,
    /// It is filled. What is old goes as soon as no old code runs any more.
    Contract,
    /// All is done.
    Done,
    /// What was added is being taken back.
    Abort,
}

impl Phase {
    const ALL: [Phase; 5] =
        [Phase::Expand, Phase::Backfill, Phase::Contract, Phase::Done, Phase::Abort];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Expand => "expand",
            Phase::Backfill => "backfill",
            Phase::Contract => "contract",
            Phase::Done => "done",
            Phase::Abort => "abort",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) name: String,
    pub(crate) declaration: String,
    pub(crate) ground: Ground,
    pub(crate) phase: Phase,
    /// The steps of the phase that are done.
    pub(crate) step: usize,
    /// The key of the last row that the backfill has done; empty before the first.
    pub(crate) cursor: Vec<String>,
    pub(crate) rows_done: u64,
    pub(crate) started_at: String,
    pub(crate) updated_at: String,
    /// When the expand phase ended, by the server's clock on PostgreSQL.
    pub(crate) expanded_at: String,
}

impl Saved {
    pub(crate) fn new(name: &str, declaration: &str, ground: Ground, now: String) -> Self {
        Self {
            name: name.to_owned(),
            declaration: declaration.to_owned(),
            ground,
            phase: Phase::Expand,
            step: 0,
            cursor: Vec::new(),
            rows_done: 0,
            updated_at: now.clone(),
            started_at: now,
            expanded_at: String::new(),
        }
    }

    /// The statement that adds it.
    pub(crate) fn insert_sql(&self, facts: &Facts) -> Result<String> {
        let ground = json(&self.ground)?;
        let text = |text: &str| facts.literal(text);
        Ok(format!(
            "INSERT INTO {} ({COLUMNS}) VALUES ({}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})",
            facts.qualified(TABLE),
            text(&self.name),
            text(&self.declaration),
            text(&ground),
            text(self.phase.as_str()),
            self.step,
            text(&json(&self.cursor)?),
            self.rows_done,
            self.ground.rows,
            text(&self.started_at),
            text(&self.updated_at),
            text(&self.expanded_at),
        ))
    }

    /// The statement that writes down how far it is.
    pub(crate) fn update_sql(&self, facts: &Facts) -> Result<String> {
        let text = |text: &str| facts.literal(text);
        Ok(format!(
            "UPDATE {} SET phase = {}, step = {}, cursor_key = {}, rows_done = {}, \
             updated_at = {}, expanded_at = {} WHERE name = {}",
            facts.qualified(TABLE),
            text(self.phase.as_str()),
            self.step,
            text(&json(&self.cursor)?),
            self.rows_done,
            text(&self.updated_at),
            text(&self.expanded_at),
            text(&self.name),
        ))
    }

    /// The statement that forgets it.
    pub(crate) fn delete_sql(&self, facts: &Facts) -> String {
        format!("DELETE FROM {} WHERE name = {}", facts.qualified(TABLE), facts.literal(&self.name))
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::new(Code::MigrationHistory, "a change can't be written down").cause(e))
}

/// Makes the table, unless it is there.
pub(crate) async fn create(database: &mut Database) -> Result<()> {
    let (long, options) = match database.facts.engine {
        Engine::MySql => ("LONGTEXT", " CHARACTER SET utf8mb4"),
        Engine::Postgres | Engine::Sqlite => ("TEXT", ""),
    };
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (name VARCHAR(60) NOT NULL PRIMARY KEY, \
         declaration {long} NOT NULL, ground {long} NOT NULL, phase VARCHAR(10) NOT NULL, \
         step INT NOT NULL, cursor_key {long} NOT NULL, rows_done BIGINT NOT NULL, \
         rows_total BIGINT NOT NULL, started_at VARCHAR(40) NOT NULL, \
         updated_at VARCHAR(40) NOT NULL, expanded_at VARCHAR(40) NOT NULL){options}",
        database.facts.qualified(TABLE)
    );
    if database.has_table(TABLE).await? { Ok(()) } else { database.run(&sql).await.map(drop) }
}

/// All changes by name; none where the table is not there.
pub(crate) async fn all(database: &mut Database) -> Result<Vec<Saved>> {
    if !database.has_table(TABLE).await? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT {COLUMNS} FROM {} ORDER BY name", database.facts.qualified(TABLE));
    database.rows(&sql).await?.iter().map(saved).collect()
}

/// The change of that name.
pub(crate) async fn find(database: &mut Database, name: &str) -> Result<Option<Saved>> {
    Ok(all(database).await?.into_iter().find(|saved| saved.name == name))
}

fn saved(row: &Row) -> Result<Saved> {
    let unreadable = |what: &str| {
        Error::new(Code::MigrationHistory, format!("a row of {TABLE} can't be read: {what}"))
    };
    let phase = text(row, 3)?;
    let found = Phase::ALL.into_iter().find(|p| p.as_str() == phase);
    Ok(Saved {
        name: text(row, 0)?,
        declaration: text(row, 1)?,
        ground: serde_json::from_str(&text(row, 2)?).map_err(|e| unreadable("ground").cause(e))?,
        phase: found.ok_or_else(|| unreadable("phase"))?,
        step: row.at::<i32>(4)?.max(0) as usize,
        cursor: serde_json::from_str(&text(row, 5)?).map_err(|e| unreadable("cursor").cause(e))?,
        rows_done: row.at::<i64>(6)?.max(0).unsigned_abs(),
        started_at: text(row, 8)?,
        updated_at: text(row, 9)?,
        expanded_at: text(row, 10)?,
    })
}
