//! SQLite's way to change what ALTER TABLE can't: a table of the new definition, the rows copied, the
//! old one dropped and the new one given its name, in one transaction. Indexes, triggers and views
//! stay, but for those that are to go.

mod definition;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

pub(crate) use definition::Definition;

use super::expr::same;
use super::ground::{flag, text};
use crate::database::Database;

const SQLITE: Engine = Engine::Sqlite;

/// One change of a definition. A column that is not there is none to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    NotNull(String),
    Nullable(String),
    /// With the default's text.
    Default(String, String),
    Drop(String),
    /// From, to.
    Rename(String, String),
    /// A constraint of the table.
    Constraint(String),
}

/// What a rebuild is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rebuild {
    pub(crate) table: String,
    pub(crate) edits: Vec<Edit>,
    /// Triggers and indexes that go.
    pub(crate) without: Vec<String>,
    /// What is made at the end, besides what was there.
    pub(crate) then: Vec<String>,
}

impl Rebuild {
    /// As a plan shows it.
    pub(crate) fn shown(&self) -> Vec<String> {
        let edits = self.edits.iter().map(|edit| match edit {
            Edit::NotNull(column) => format!("{column} NOT NULL"),
            Edit::Nullable(column) => format!("{column} NULL"),
            Edit::Default(column, default) => format!("{column} DEFAULT {default}"),
            Edit::Drop(column) => format!("without {column}"),
            Edit::Rename(from, to) => format!("{from} renamed to {to}"),
            Edit::Constraint(sql) => sql.clone(),
        });
        let edits: Vec<_> = edits.collect();
        let mut shown = vec![format!("-- {} is written anew: {}", self.table, edits.join(", "))];
        if !self.without.is_empty() {
            shown.push(format!("-- without {}", self.without.join(", ")));
        }
        shown.extend(self.then.iter().cloned());
        shown
    }
}

/// Does it, in one transaction with the statement `note`. Foreign keys are not looked at meanwhile,
/// save at its end; they are on again after it, however it ends.
///
/// Errors: MIG-019 where the rows don't fit the new definition.
pub(crate) async fn run(database: &mut Database, rebuild: &Rebuild, note: &str) -> Result<()> {
    // Has no effect inside a transaction. Without the second, a view of the table would stand in the
    // way while the table is not there.
    database.run("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON").await?;
    let done = inside(database, rebuild, note).await;
    if done.is_err() {
        database.rollback().await?;
    }
    database.run("PRAGMA legacy_alter_table = OFF; PRAGMA foreign_keys = ON").await?;
    done
}

async fn inside(database: &mut Database, rebuild: &Rebuild, note: &str) -> Result<()> {
    database.begin().await?;
    let name = database.facts.literal(&rebuild.table);
    let (table, new) =
        (SQLITE.quote(&rebuild.table), SQLITE.quote(&format!("mainstay_new_{}", rebuild.table)));
    let (definition, again) = read(database, rebuild).await?;
    let numbered = definition.is_numbered();
    let edited = definition.edited(&rebuild.edits).sql(&new);
    let columns = copied(database, rebuild).await?;
    let (to, from): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let sequence = if numbered {
        let sql = format!("SELECT CAST(seq AS TEXT) FROM sqlite_sequence WHERE name = {name}");
        database.text(&sql).await?
    } else {
        None
    };
    let sql = format!(
        "DROP TABLE IF EXISTS {new}; {edited}; INSERT INTO {new} ({}) SELECT {} FROM {table}; \
         DROP TABLE {table}; ALTER TABLE {new} RENAME TO {table}",
        to.join(", "),
        from.join(", ")
    );
    database.run(&sql).await?;
    if let Some(sequence) = sequence {
        let sql = format!(
            "DELETE FROM sqlite_sequence WHERE name = {name}; \
             INSERT INTO sqlite_sequence (name, seq) VALUES ({name}, {sequence})"
        );
        database.run(&sql).await?;
    }
    for sql in again.iter().chain(&rebuild.then) {
        database.run(sql).await?;
    }
    let broken = database.rows(&format!("PRAGMA foreign_key_check({name})")).await?;
    if !broken.is_empty() {
        let (n, table) = (broken.len(), &rebuild.table);
        return Err(Error::new(
            Code::ExpandData,
            format!("{n} rows of {table} refer to rows that do not exist"),
        ));
    }
    database.run(&format!("{note}; COMMIT")).await.map(drop)
}

/// The definition, and what must be made again after it.
async fn read(database: &mut Database, rebuild: &Rebuild) -> Result<(Definition, Vec<String>)> {
    let name = database.facts.literal(&rebuild.table);
    let sql = format!(
        "SELECT type, name, sql FROM sqlite_schema \
         WHERE tbl_name = {name} COLLATE NOCASE AND sql IS NOT NULL ORDER BY rowid"
    );
    let (mut definition, mut again) = (None, Vec::new());
    for row in database.rows(&sql).await? {
        let (kind, name, sql) = (text(&row, 0)?, text(&row, 1)?, text(&row, 2)?);
        if kind == "table" {
            definition = Definition::parse(&sql);
        } else if kind != "view" && !rebuild.without.iter().any(|w| same(SQLITE, w, &name)) {
            again.push(sql);
        }
    }
    let unreadable =
        || Error::new(Code::ExpandPlan, format!("{}'s definition can't be read", rebuild.table));
    Ok((definition.ok_or_else(unreadable)?, again))
}

/// The columns to copy, quoted: as they are called after, and before.
async fn copied(database: &mut Database, rebuild: &Rebuild) -> Result<Vec<(String, String)>> {
    let name = database.facts.literal(&rebuild.table);
    let sql = format!(
        "SELECT name, CASE WHEN hidden > 0 THEN '1' END FROM pragma_table_xinfo({name}) ORDER BY cid"
    );
    let mut columns = Vec::new();
    for row in database.rows(&sql).await? {
        let name = text(&row, 0)?;
        let mut new = name.clone();
        let mut stays = !flag(&row, 1)?;
        for edit in &rebuild.edits {
            match edit {
                Edit::Drop(column) if same(SQLITE, column, &name) => stays = false,
                Edit::Rename(from, to) if same(SQLITE, from, &name) => new.clone_from(to),
                _ => {}
            }
        }
        if stays {
            columns.push((SQLITE.quote(&new), SQLITE.quote(&name)));
        }
    }
    Ok(columns)
}
