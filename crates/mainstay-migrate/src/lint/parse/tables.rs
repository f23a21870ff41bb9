//! The tables that a statement is about.

use mainstay_db::Engine;
use mainstay_db::lex::Token;

use super::column::ConstraintKind;
use super::tokens::{Name, significant};
use super::{Action, Statement, statement};

/// The tables that the statements of a text are about, each once.
pub(crate) fn tables(text: &str, engine: Engine) -> Vec<Name> {
    let tokens = significant(text, engine);
    let mut found: Vec<Name> = Vec::new();
    for part in tokens.split(|token| token.kind == Token::Semicolon) {
        let parsed = statement(part, engine);
        for name in named(&parsed) {
            if !found.iter().any(|known| known.key == name.key) {
                found.push(name.clone());
            }
        }
    }
    found
}

/// The indexes that the statements of a text name without their table, each once.
pub(crate) fn indexes(text: &str, engine: Engine) -> Vec<Name> {
    let tokens = significant(text, engine);
    let mut found: Vec<Name> = Vec::new();
    for part in tokens.split(|token| token.kind == Token::Semicolon) {
        let names = match statement(part, engine) {
            Statement::DropIndex { names, table: None, .. } => names,
            Statement::Reindex { object, name, .. } if object == "INDEX" => vec![name],
            _ => continue,
        };
        for name in names {
            if !found.iter().any(|known| known.key == name.key) {
                found.push(name);
            }
        }
    }
    found
}

/// The tables of one statement; those that it refers to as well as those that it changes.
fn named(parsed: &Statement) -> Vec<&Name> {
    match parsed {
        Statement::CreateTable(table) => {
            let inline =
                table.columns.iter().filter_map(|c| c.references.as_ref()).map(|to| &to.table);
            let foreign = table.constraints.iter().filter_map(|c| foreign(&c.kind));
            std::iter::once(&table.name).chain(inline).chain(foreign).collect()
        }
        Statement::AlterTable(alter) => {
            let referred = alter.actions.iter().filter_map(referred);
            std::iter::once(&alter.table).chain(referred).collect()
        }
        Statement::CreateIndex(index) => vec![&index.table],
        Statement::CreateTrigger { table }
        | Statement::Update { table, .. }
        | Statement::Delete { table, .. } => vec![table],
        Statement::DropIndex { table, .. }
        | Statement::Vacuum { table, .. }
        | Statement::Cluster { table } => table.iter().collect(),
        Statement::DropTable { names, .. }
        | Statement::Truncate { names, .. }
        | Statement::LockTable { names, .. }
        | Statement::Optimize { names }
        | Statement::InsertSelect { from: names } => names.iter().collect(),
        Statement::RenameTables(pairs) => pairs.iter().map(|(from, _)| from).collect(),
        Statement::Reindex { object, name, .. } if object == "TABLE" => vec![name],
        Statement::RefreshView { name, .. } => vec![name],
        _ => Vec::new(),
    }
}

fn referred(action: &Action) -> Option<&Name> {
    match action {
        Action::AddColumn(column) => column.references.as_ref().map(|to| &to.table),
        Action::AddConstraint(constraint) => foreign(&constraint.kind),
        _ => None,
    }
}

fn foreign(kind: &ConstraintKind) -> Option<&Name> {
    match kind {
        ConstraintKind::Foreign(table) => Some(table),
        _ => None,
    }
}
