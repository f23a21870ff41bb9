//! The SQL that a change set's changes are on an engine, and the SQL that undoes them.
//!
//! Its meaning is Liquibase's; its words need not be. What an engine can't do, or only by building a
//! table anew, is an error that names the change.

mod constraint;
mod data;
mod dialect;
mod inverse;
mod other;
mod reserved;
mod table;
mod types;
mod value;

use mainstay_core::{Error, Result};
use mainstay_db::Engine;

use self::dialect::Dialect;
use super::filter::{self, Target};
use super::kind::Kind;
use super::model::{Change, ChangeSet, Defined};
use super::split;

/// The statements of a change set, in their order. Changes that are for other databases have none.
pub(crate) fn statements(set: &ChangeSet, target: Target) -> Result<Vec<String>> {
    let dialect = Dialect { target, quoting: set.quoting };
    let mut all = Vec::new();
    for change in &set.changes {
        all.extend(one(change, dialect)?);
    }
    Ok(all)
}

/// The statements that undo a change set: those of its rollback, or else those that undo each change,
/// the last one first.
pub(crate) fn rollback(set: &ChangeSet, target: Target) -> Result<Vec<String>> {
    let dialect = Dialect { target, quoting: set.quoting };
    let mut all = Vec::new();
    if let Some(changes) = &set.rollback {
        for change in changes {
            all.extend(one(change, dialect)?);
        }
        return Ok(all);
    }
    for change in set.changes.iter().rev() {
        if !filter::dbms(change.dbms(), target.name()) {
            continue;
        }
        for undo in inverse::of(change)? {
            all.extend(defined(&undo, dialect)?);
        }
    }
    Ok(all)
}

fn one(change: &Change, dialect: Dialect) -> Result<Vec<String>> {
    if !filter::dbms(change.dbms(), dialect.target.name()) {
        return Ok(Vec::new());
    }
    match change {
        Change::Sql(sql) => Ok(split::statements(sql, dialect.engine())),
        Change::Defined(change) => defined(change, dialect),
    }
}

fn defined(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    match change.kind {
        Kind::CreateTable => table::create(change, dialect),
        Kind::DropTable => Ok(table::drop(change, dialect)),
        Kind::RenameTable => Ok(table::rename(change, dialect)),
        Kind::SetTableRemarks => table::remarks(change, dialect),
        Kind::AddColumn => table::add_columns(change, dialect),
        Kind::DropColumn => Ok(table::drop_columns(change, dialect)),
        Kind::RenameColumn => Ok(table::rename_column(change, dialect)),
        Kind::ModifyDataType => constraint::modify_type(change, dialect),
        Kind::SetColumnRemarks => constraint::column_remarks(change, dialect),
        Kind::AddAutoIncrement => constraint::auto_increment(change, dialect),
        Kind::AddNotNullConstraint => constraint::add_not_null(change, dialect),
        Kind::DropNotNullConstraint => constraint::drop_not_null(change, dialect),
        Kind::AddDefaultValue => constraint::add_default(change, dialect),
        Kind::DropDefaultValue => constraint::drop_default(change, dialect),
        Kind::AddPrimaryKey => constraint::add_primary_key(change, dialect),
        Kind::DropPrimaryKey => constraint::drop_primary_key(change, dialect),
        Kind::AddUniqueConstraint => Ok(constraint::add_unique(change, dialect)),
        Kind::DropUniqueConstraint => Ok(constraint::drop_unique(change, dialect)),
        Kind::AddForeignKeyConstraint => constraint::add_foreign_key(change, dialect),
        Kind::DropForeignKeyConstraint => constraint::drop_foreign_key(change, dialect),
        Kind::CreateIndex => other::create_index(change, dialect),
        Kind::DropIndex => other::drop_index(change, dialect),
        Kind::CreateView => Ok(other::create_view(change, dialect)),
        Kind::DropView => Ok(other::drop_view(change, dialect)),
        Kind::RenameView => other::rename_view(change, dialect),
        Kind::CreateSequence | Kind::AlterSequence => other::sequence(change, dialect),
        Kind::DropSequence | Kind::RenameSequence => other::drop_sequence(change, dialect),
        Kind::CreateProcedure | Kind::DropProcedure => other::procedure(change, dialect),
        Kind::Insert => data::insert(change, dialect),
        Kind::Update => data::update(change, dialect),
        Kind::Delete => data::delete(change, dialect),
        Kind::MergeColumns => Ok(data::merge_columns(change, dialect)),
        Kind::Stop => Err(change
            .at
            .error("the changelog says stop")
            .why(change.get("message").unwrap_or_default().to_owned())
            .fix("take the stop change out once it has served")),
        Kind::Empty | Kind::Output | Kind::TagDatabase => Ok(Vec::new()),
    }
}

/// Says that an engine can't do a change.
fn impossible(change: &Defined, dialect: Dialect, fix: &'static str) -> Error {
    let engine = match dialect.engine() {
        Engine::MySql if dialect.target.mariadb => "MariaDB".to_owned(),
        engine => engine.to_string(),
    };
    change.at.error(format_args!("{engine} can't do {}", change.kind.name())).fix(fix)
}

/// What to do where SQLite would have to build a table anew.
const REBUILD: &str = "write the steps as a sql change with dbms sqlite: a new table, the rows copied, \
                       the old one dropped, the new one renamed; and give this change the other dbms";

#[cfg(test)]
mod tests;
