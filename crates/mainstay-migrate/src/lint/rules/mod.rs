//! The rules, and what they share: the case before them, and words for tables and sizes.
//!
//! A rule looks at one statement and reports; it never changes what the linter remembers.

mod common;
mod mysql;
mod postgres;
mod schema;
mod sqlite;
mod types;

use mainstay_core::Code;
use mainstay_db::Engine;

use super::catalogue::{Catalogue, Column, Server, Table};
use super::linter::{File, Run};
use super::parse::{Action, AlterTable, Constraint, ConstraintKind, Name, Statement, Tok};
use super::{Finding, LintOptions};

/// A statement, with all that is known where it stands.
pub(super) struct Case<'a> {
    pub(super) server: &'a Server,
    pub(super) options: &'a LintOptions,
    pub(super) catalogue: &'a Catalogue,
    pub(super) run: &'a Run,
    pub(super) file: &'a File,
    pub(super) in_transaction: bool,
    /// As it is written.
    pub(super) text: &'a str,
    pub(super) tokens: &'a [Tok<'a>],
    /// The strings that stand in it.
    pub(super) strings: Vec<String>,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) found: Vec<Finding>,
    pub(super) pending: Vec<(Until, Finding)>,
}

/// What would take a pending finding back.
#[derive(Clone, Debug)]
pub(super) enum Until {
    /// An index of the table that begins with the column: keys of both.
    Index(String, String),
    /// A primary key of the table.
    PrimaryKey(String),
}

impl Until {
    /// Whether `parsed` does it.
    pub(super) fn is_met(&self, parsed: &Statement) -> bool {
        match (self, parsed) {
            (Until::Index(table, column), Statement::CreateIndex(index)) => {
                index.table.key == *table && begins(&index.columns, column)
            }
            (Until::Index(table, column), Statement::AlterTable(alter)) => {
                let mut keys = constraints(alter).filter(|c| is_key(c));
                alter.table.key == *table && keys.any(|c| begins(&c.columns, column))
            }
            (Until::PrimaryKey(table), Statement::AlterTable(alter)) => {
                let mut keys = constraints(alter);
                alter.table.key == *table && keys.any(|c| c.kind == ConstraintKind::PrimaryKey)
            }
            _ => false,
        }
    }
}

impl<'a> Case<'a> {
    /// Reports what the statement would do.
    fn report(
        &mut self,
        code: Code,
        table: Option<&Name>,
        what: impl Into<String>,
        why: &str,
        fix: impl Into<String>,
    ) {
        let finding = self.finding(code, table, what.into(), why, fix.into());
        self.found.push(finding);
    }

    fn finding(
        &self,
        code: Code,
        table: Option<&Name>,
        what: String,
        why: &str,
        fix: String,
    ) -> Finding {
        let table = table.map(|name| name.raw.clone());
        Finding {
            code,
            line: self.line,
            column: self.column,
            what,
            why: why.to_owned(),
            fix,
            table,
        }
    }

    fn table(&self, name: &Name) -> Option<&'a Table> {
        if self.run.is_new(name) { None } else { self.catalogue.get(&name.key) }
    }

    fn column(&self, table: &Name, column: &Name) -> Option<&'a Column> {
        self.table(table)?.column(column.bare())
    }

    fn is_new(&self, name: &Name) -> bool {
        self.run.is_new(name)
    }

    /// Whether scanning, rewriting or locking the table is worth a word.
    fn matters(&self, name: &Name) -> bool {
        matters(name, self.catalogue, self.run, self.options)
    }

    /// `orders, which has about 12,000,000 rows`.
    fn sized(&self, name: &Name) -> String {
        match self.table(name) {
            Some(table) => format!("{name}, which has about {} rows", thousands(table.rows)),
            None => format!("{name}, whose size is not known"),
        }
    }
}

/// Lets every rule look at the statement.
pub(super) fn check(case: &mut Case<'_>, parsed: &Statement) {
    common::check(case, parsed);
    schema::check(case, parsed);
    match case.server.engine {
        Engine::Postgres => postgres::check(case, parsed),
        Engine::MySql => mysql::check(case, parsed),
        Engine::Sqlite => sqlite::check(case, parsed),
    }
}

fn matters(name: &Name, catalogue: &Catalogue, run: &Run, options: &LintOptions) -> bool {
    let known = catalogue.get(&name.key);
    !run.is_new(name) && known.is_none_or(|table| table.rows >= options.rows_small)
}

/// The tables of some size that the statement keeps others from until its transaction ends.
pub(super) fn locked(
    parsed: &Statement,
    catalogue: &Catalogue,
    run: &Run,
    options: &LintOptions,
) -> Vec<String> {
    let matters = |name: &&Name| matters(name, catalogue, run, options);
    locks(parsed).into_iter().filter(matters).map(|name| name.key.clone()).collect()
}

/// The tables that the statement locks against writers or more.
fn locks(parsed: &Statement) -> Vec<&Name> {
    match parsed {
        Statement::AlterTable(alter) => {
            let validates = |action: &Action| matches!(action, Action::ValidateConstraint(_));
            if alter.actions.iter().all(validates) { Vec::new() } else { vec![&alter.table] }
        }
        Statement::CreateIndex(index) if !index.concurrently => vec![&index.table],
        Statement::CreateTrigger { table } => vec![table],
        // These let writers go on.
        Statement::LockTable { mode: Some(mode), .. }
            if matches!(mode.as_str(), "ACCESS SHARE" | "ROW SHARE" | "ROW EXCLUSIVE") =>
        {
            Vec::new()
        }
        Statement::DropTable { names, .. }
        | Statement::Truncate { names, .. }
        | Statement::LockTable { names, .. } => names.iter().collect(),
        Statement::RenameTables(pairs) => pairs.iter().map(|(from, _)| from).collect(),
        _ => Vec::new(),
    }
}

fn constraints(alter: &AlterTable) -> impl Iterator<Item = &Constraint> {
    alter.actions.iter().filter_map(|action| match action {
        Action::AddConstraint(constraint) => Some(constraint),
        _ => None,
    })
}

fn is_key(constraint: &Constraint) -> bool {
    matches!(constraint.kind, ConstraintKind::PrimaryKey | ConstraintKind::Unique)
}

fn begins(columns: &[Name], column: &str) -> bool {
    columns.first().is_some_and(|first| first.bare() == column)
}

/// `12,000,000`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A name for something new, made of other names.
fn made(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    let name = parts.join("_").to_lowercase();
    name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

/// A name for an index or a constraint of these columns.
fn made_of(table: &Name, columns: &[Name], ending: &str) -> String {
    let columns = columns.iter().map(Name::bare);
    let parts: Vec<&str> = std::iter::once(table.bare()).chain(columns).chain([ending]).collect();
    made(&parts)
}

/// `a, b`.
fn list(names: &[Name]) -> String {
    names.iter().map(|name| name.raw.as_str()).collect::<Vec<_>>().join(", ")
}
