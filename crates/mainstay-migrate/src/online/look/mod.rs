//! Asks the catalogue: how the table is, and what stands in the way of a change. It changes nothing.

mod mysql;
mod postgres;
mod sqlite;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use super::change::{AddForeignKey, Change, Kind};
use super::expr::{mentions, same};
use super::ground::{Column, Ground};
use super::plan::Makes;
use crate::database::{Database, Facts};

/// How `table` is. Errors: MIG-017 where it is not there, or of a kind that can't be changed in steps.
pub(crate) async fn ground(database: &mut Database, table: &str) -> Result<Ground> {
    supported(database)?;
    match database.facts.engine {
        Engine::Postgres => postgres::ground(database, table).await,
        Engine::MySql => mysql::ground(database, table).await,
        Engine::Sqlite => sqlite::ground(database, table).await,
    }
}

fn supported(database: &Database) -> Result<()> {
    let facts = &database.facts;
    let (name, least) = match (facts.engine, facts.mariadb) {
        (Engine::Postgres, _) => ("PostgreSQL", (11, 0, 0)),
        (Engine::MySql, true) => ("MariaDB", (10, 3, 0)),
        (Engine::MySql, false) => ("MySQL", (5, 7, 2)),
        (Engine::Sqlite, _) => ("SQLite", (3, 26, 0)),
    };
    if facts.version >= least {
        return Ok(());
    }
    let ((a, b, c), (major, minor, patch)) = (facts.version, least);
    Err(refused(format!("{name} {a}.{b}.{c} can't change a table in steps"))
        .why(format!("{name} {major}.{minor}.{patch} or later can")))
}

/// Errors: MIG-017, naming what stands in the way.
pub(crate) async fn check(database: &mut Database, change: &Change, ground: &Ground) -> Result<()> {
    let engine = database.facts.engine;
    for name in change.kind.new_columns() {
        if ground.column(engine, &name).is_some() {
            return Err(refused(format!("{} has a column `{name}` already", ground.table)));
        }
    }
    let named = match &change.kind {
        Kind::AddUnique(unique) => unique.columns.as_slice(),
        Kind::AddForeignKey(key) => key.columns.as_slice(),
        Kind::AddIndex(index) => index.columns.as_slice(),
        _ => &[],
    };
    for name in named {
        ground.need(engine, name)?;
    }
    if let Kind::AddForeignKey(key) = &change.kind {
        check_target(database, key).await?;
    }
    let Some(old) = change.kind.old_column() else { return Ok(()) };
    let column = ground.need(engine, old)?.clone();
    check_old(&column, ground)?;
    let found = match engine {
        Engine::Postgres => postgres::users(database, ground, &column).await?,
        Engine::MySql => {
            let mut found = mysql::users(database, ground, &column).await?;
            // Of a split column no index is made again.
            if matches!(change.kind, Kind::SplitColumn(_)) {
                found.extend(mysql::needed_indexes(database, ground, &column).await?);
            }
            found
        }
        Engine::Sqlite => sqlite::users(database, ground, &column).await?,
    };
    let index = ground
        .indexes
        .iter()
        .filter(|i| !i.plain && mentions(&i.definition, engine, &column.name))
        .map(|i| format!("index {}, which is partial or has expressions", i.name));
    let found: Vec<_> = found.into_iter().chain(index).collect();
    if found.is_empty() {
        return Ok(());
    }
    Err(refused(format!("{}.{} is used by {}", ground.table, column.name, found[0]))
        .why(found.join("\n"))
        .fix("drop what uses the column, or make it use the new one, and begin again"))
}

fn check_old(column: &Column, ground: &Ground) -> Result<()> {
    let what = match column {
        Column { primary: true, .. } => "is part of the primary key",
        Column { generated: true, .. } => "is generated",
        Column { numbered: true, .. } => "is numbered by the server",
        Column { on_update: true, .. } => "is set by the server at each update",
        _ => return Ok(()),
    };
    Err(refused(format!("{}.{} {what}", ground.table, column.name)))
}

async fn check_target(database: &mut Database, key: &AddForeignKey) -> Result<()> {
    let engine = database.facts.engine;
    let target = ground(database, &key.references).await?;
    for name in &key.to {
        target.need(engine, name)?;
    }
    let unique = |of: &[String]| {
        of.len() == key.to.len() && key.to.iter().all(|a| of.iter().any(|b| same(engine, a, b)))
    };
    let primary: Vec<_> =
        target.columns.iter().filter(|c| c.primary).map(|c| c.name.clone()).collect();
    if unique(&primary) || target.indexes.iter().any(|i| i.unique && i.plain && unique(&i.columns))
    {
        return Ok(());
    }
    let (table, columns) = (&target.table, key.to.join(", "));
    Err(refused(format!("{table} ({columns}) is not unique")))
}

/// Errors: MIG-017 where a name that the change is to give is taken: what has it might be dropped when
/// the change is taken back.
pub(crate) async fn free(database: &mut Database, ground: &Ground, makes: &[Makes]) -> Result<()> {
    for made in makes {
        let sql = named(&database.facts, &ground.table, made);
        if database.rows(&sql).await?.is_empty() {
            continue;
        }
        let what = match made {
            Makes::Index(name) => format!("there is something called {name} already"),
            Makes::Constraint(name) => format!("there is a constraint {name} already"),
        };
        return Err(refused(what)
            .why("the change would give this name to what it makes, and take that back by it")
            .fix("rename or drop what has the name, or give another in the declaration"));
    }
    Ok(())
}

/// Has a row where the name is taken.
fn named(facts: &Facts, table: &str, made: &Makes) -> String {
    let (schema, of) = (facts.literal(&facts.schema), facts.literal(table));
    let (Makes::Index(name) | Makes::Constraint(name)) = made;
    let name = facts.literal(name);
    match (facts.engine, made) {
        (Engine::Postgres, Makes::Index(_)) => format!(
            "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {schema} AND c.relname = {name}"
        ),
        (Engine::Postgres, Makes::Constraint(_)) => format!(
            "SELECT 1 FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {schema} AND c.relname = {of} AND k.conname = {name}"
        ),
        (Engine::MySql, Makes::Index(_)) => format!(
            "SELECT 1 FROM information_schema.STATISTICS \
             WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {of} AND INDEX_NAME = {name}"
        ),
        // A foreign key's name is one of the schema.
        (Engine::MySql, Makes::Constraint(_)) => format!(
            "SELECT 1 FROM information_schema.TABLE_CONSTRAINTS \
             WHERE CONSTRAINT_SCHEMA = {schema} AND CONSTRAINT_NAME = {name}"
        ),
        (Engine::Sqlite, _) => {
            format!("SELECT 1 FROM sqlite_schema WHERE name = {name} COLLATE NOCASE")
        }
    }
}

pub(crate) fn refused(what: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Code::ExpandPlan, what)
}
