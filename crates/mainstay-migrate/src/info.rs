//! What `info` tells: each migration with where it stands.

use serde::Serialize;

use crate::name::Kind;
use crate::plan::{Item, Plan};
use crate::source::Scripts;
use crate::state::State;

/// All migrations of a database, in order.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// What it is connected to.
    pub database: String,
    /// The schema that the history is in.
    pub schema: String,
    /// The highest version that was applied.
    pub version: Option<String>,
    /// Each of them.
    pub migrations: Vec<Migration>,
}

/// One migration.
#[derive(Clone, Debug, Serialize)]
pub struct Migration {
    /// `Versioned`, `Repeatable`, `Undo` or `Baseline`; empty for a row of no file.
    pub category: &'static str,
    /// Of a versioned one.
    pub version: Option<String>,
    /// What its name says.
    pub description: String,
    /// As the history calls it: `SQL`, `BASELINE` and the like.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its file, below its folder.
    pub script: String,
    /// Flyway's checksum, of the row or else the file.
    pub checksum: Option<i32>,
    /// When it was applied, as the server's clock said.
    pub installed_on: Option<String>,
    /// Who applied it.
    pub installed_by: Option<String>,
    /// How long that took, in milliseconds.
    pub execution_ms: Option<i32>,
    /// Its number in the history.
    pub rank: Option<i32>,
    /// Where it stands.
    pub state: State,
    /// Whether there is an undo file for it.
    pub undoable: Option<bool>,
}

impl Info {
    pub(crate) fn of(plan: &Plan<'_>, scripts: &Scripts, database: String, schema: String) -> Self {
        let migrations = plan.items.iter().map(|item| migration(item, scripts)).collect();
        let version = plan.current.as_ref().map(ToString::to_string);
        Self { database, schema, version, migrations }
    }

    /// Those that `up` would run.
    pub fn pending(&self) -> impl Iterator<Item = &Migration> {
        self.migrations.iter().filter(|m| matches!(m.state, State::Pending | State::Outdated))
    }
}

fn migration(item: &Item<'_>, scripts: &Scripts) -> Migration {
    let row = item.applied;
    let kind =
        row.map_or_else(|| item.script.map_or("SQL", kind_of).to_owned(), |r| r.kind.clone());
    let category = match (&kind, item.version()) {
        (kind, _) if matches!(kind.as_str(), "SCHEMA" | "BASELINE" | "DELETE") => "",
        (kind, _) if kind.starts_with("UNDO_") => "Undo",
        (kind, _) if kind.ends_with("_BASELINE") => "Baseline",
        (_, None) => "Repeatable",
        _ => "Versioned",
    };
    let undoable = (category == "Versioned"
        && !matches!(item.state, State::Undone | State::Deleted))
    .then(|| {
        !item.state.is_failed() && item.version().is_some_and(|v| scripts.undo.contains_key(v))
    });
    Migration {
        category,
        version: item.version().map(ToString::to_string),
        description: item.description().to_owned(),
        kind,
        script: row
            .map(|r| r.script.clone())
            .or_else(|| item.script.map(|s| s.script.clone()))
            .unwrap_or_default(),
        checksum: row.map_or(item.checksum, |r| r.checksum),
        installed_on: row.map(|r| r.on.clone()),
        installed_by: row.map(|r| r.by.clone()),
        execution_ms: row.map(|r| r.execution_ms),
        rank: row.map(|r| r.rank),
        state: item.state,
        undoable,
    }
}

/// The type that the history gives a script.
pub(crate) fn kind_of(script: &crate::source::Script) -> &'static str {
    match script.kind {
        Kind::Baseline(_) => "SQL_BASELINE",
        Kind::Undo(_) => "UNDO_SQL",
        Kind::Versioned(_) | Kind::Repeatable | Kind::Callback(_) => "SQL",
    }
}
