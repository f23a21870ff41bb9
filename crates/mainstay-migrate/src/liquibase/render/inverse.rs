//! The changes that undo a change, where Liquibase knows them by itself.

use mainstay_core::{Code, Error, Result};

use crate::liquibase::kind::Kind;
use crate::liquibase::location::Location;
use crate::liquibase::model::{Change, Column, Defined};

/// What undoes a change, in order; an error if only its author can tell.
pub(super) fn of(change: &Change) -> Result<Vec<Defined>> {
    let Change::Defined(change) = change else {
        return Err(unknown(change.at(), change.name()));
    };
    let kind = change.kind;
    if matches!(kind, Kind::Empty | Kind::Output | Kind::TagDatabase) {
        return Ok(Vec::new());
    }
    let undo = match kind {
        Kind::CreateTable => same(change, Kind::DropTable, &["tableName"]),
        Kind::CreateView => same(change, Kind::DropView, &["viewName"]),
        Kind::CreateIndex => same(change, Kind::DropIndex, &["indexName", "tableName"]),
        Kind::CreateSequence => same(change, Kind::DropSequence, &["sequenceName"]),
        Kind::AddColumn => drop_columns(change),
        Kind::AddPrimaryKey => same(change, Kind::DropPrimaryKey, &["tableName", "constraintName"]),
        // Without a name nobody knows how the engine called it.
        Kind::AddUniqueConstraint if change.get("constraintName").is_some() => {
            same(change, Kind::DropUniqueConstraint, &["tableName", "constraintName"])
        }
        Kind::AddForeignKeyConstraint => drop_foreign_key(change),
        Kind::AddNotNullConstraint => not_null(change, Kind::DropNotNullConstraint),
        Kind::DropNotNullConstraint => not_null(change, Kind::AddNotNullConstraint),
        Kind::AddDefaultValue => {
            let fields = ["tableName", "columnName", "columnDataType"];
            same(change, Kind::DropDefaultValue, &fields)
        }
        Kind::RenameTable => swap(change, "oldTableName", "newTableName"),
        Kind::RenameColumn => swap(change, "oldColumnName", "newColumnName"),
        Kind::RenameView => swap(change, "oldViewName", "newViewName"),
        Kind::RenameSequence => swap(change, "oldSequenceName", "newSequenceName"),
        _ => return Err(unknown(&change.at, kind.name())),
    };
    Ok(vec![undo])
}

fn unknown(at: &Location, name: &str) -> Error {
    Error::new(Code::MigrationUndo, format!("{at}: nothing says how to undo {name}"))
        .fix("write a rollback for the change set; an empty one if nothing is to be done")
}

/// A change of another kind with some of the fields, and those that name the schema.
fn same(change: &Defined, kind: Kind, fields: &[&'static str]) -> Defined {
    let schema = ["schemaName", "catalogName"];
    let fields = fields.iter().chain(&schema);
    fields.fold(Defined::new(kind, change.at.clone()), |undo, &field| {
        undo.with(field, change.get(field))
    })
}

fn drop_columns(change: &Defined) -> Defined {
    let mut undo = same(change, Kind::DropColumn, &["tableName"]);
    undo.columns = change.columns.iter().map(|c| Column::named(c.name())).collect();
    undo
}

fn drop_foreign_key(change: &Defined) -> Defined {
    let fields = ["baseTableName", "baseTableSchemaName", "baseTableCatalogName", "constraintName"];
    same(change, Kind::DropForeignKeyConstraint, &fields)
}

fn not_null(change: &Defined, kind: Kind) -> Defined {
    same(change, kind, &["tableName", "columnName", "columnDataType", "constraintName"])
}

fn swap(change: &Defined, old: &'static str, new: &'static str) -> Defined {
    let mut undo = change.clone();
    let (before, after) = (undo.fields.remove(old), undo.fields.remove(new));
    undo.fields.extend(after.map(|name| (old, name)));
    undo.fields.extend(before.map(|name| (new, name)));
    undo
}
