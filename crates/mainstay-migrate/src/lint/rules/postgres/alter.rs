//! ALTER TABLE on PostgreSQL: which changes read or write the whole table under their lock.

use mainstay_core::Code;

use super::super::super::parse::{
    Action, AlterTable, ColumnDef, Constraint, ConstraintKind, DefaultValue, Generated, Name,
};
use super::super::types::{self, Change};
use super::super::{Case, list, made, made_of};
use super::{full_rewrite, kinds};

const REWRITES: &str = "nobody reads or writes the table until all its rows and indexes are \
    written anew";
const SCANS: &str = "all rows are read under the lock, and writers wait meanwhile";

pub(super) fn check(case: &mut Case<'_>, alter: &AlterTable) {
    let table = &alter.table;
    for action in &alter.actions {
        match action {
            Action::AddColumn(column) => {
                kinds::check(case, table, column);
                if case.matters(table) {
                    filled(case, table, column);
                    constrained(case, table, column);
                }
            }
            Action::AlterType { column, kind, using } if case.matters(table) => {
                change_type(case, table, column, kind, *using);
            }
            Action::SetNotNull(column) if case.matters(table) => {
                set_not_null(case, table, column);
            }
            Action::AddConstraint(constraint) if case.matters(table) => {
                add_constraint(case, table, constraint);
            }
            Action::ValidateConstraint(name) => validate(case, table, name),
            Action::Rebuild(option) => {
                full_rewrite(case, Some(table), &format!("SET {option}"));
            }
            _ => {}
        }
    }
}

/// A new column that every row must get a value for.
fn filled(case: &mut Case<'_>, table: &Name, column: &ColumnDef) {
    let (name, kind) = (&column.name, &column.kind);
    let later = format!(
        "ALTER TABLE {table} ADD COLUMN {name} {kind};\n\
         -- in a later file: UPDATE {table} SET {name} = ... in batches"
    );
    let (code, what, fix) = if column.identity || kind.contains("serial") {
        let plain = format!(
            "ALTER TABLE {table} ADD COLUMN {name} bigint;\n\
             -- number the rows in batches, then make it an identity in a later file"
        );
        (Code::LintColumnRewrite, "a number for every row", plain)
    } else if column.generated == Generated::Stored {
        (Code::LintColumnRewrite, "a stored expression for every row", later)
    } else if column.default == DefaultValue::Volatile {
        let given = &column.default_text;
        let split = format!(
            "ALTER TABLE {table} ADD COLUMN {name} {kind};\n\
             ALTER TABLE {table} ALTER COLUMN {name} SET DEFAULT {given};\n\
             -- in a later file, in batches:\n\
             -- UPDATE {table} SET {name} = {given} WHERE {name} IS NULL"
        );
        (Code::LintVolatileDefault, "a default that is another for each row", split)
    } else if column.default != DefaultValue::None && case.server.before(11, 0, 0) {
        (Code::LintDefaultRewrite, "a default, which this version writes into each row", later)
    } else {
        return;
    };
    let what = format!("{name} with {what} is added to {}", case.sized(table));
    case.report(code, Some(table), what, REWRITES, fix);
}

/// A new column that brings a constraint with it.
fn constrained(case: &mut Case<'_>, table: &Name, column: &ColumnDef) {
    let name = &column.name;
    if column.unique || column.primary_key {
        let word = if column.primary_key { "PRIMARY KEY" } else { "UNIQUE" };
        let what = format!("a {word} column is added to {}", case.sized(table));
        let filled =
            if column.primary_key { "-- in later files: fill it in batches, then\n" } else { "" };
        let fix = format!(
            "ALTER TABLE {table} ADD COLUMN {name} {};\n{filled}{}",
            column.kind,
            key_by_index(case, table, None, std::slice::from_ref(name), word)
        );
        case.report(Code::LintUniqueBuildsIndex, Some(table), what, INDEX, fix);
    }
    // Where every row gets NULL, the server knows that there is nothing to look up.
    let filled = column.default != DefaultValue::None
        || column.identity
        || column.generated != Generated::No
        || column.kind.contains("serial");
    if let Some(target) = column.references.as_ref().filter(|_| filled) {
        let made = made_of(table, std::slice::from_ref(name), "fkey");
        let refers = case.text.get(target.span.clone()).unwrap_or_default();
        let body = format!("FOREIGN KEY ({name}) {refers}");
        let fix = format!("{}\n{}", add_plain(table, column), not_valid(table, &made, &body));
        let what = format!("{name} is added with a foreign key to {}", case.sized(table));
        case.report(Code::LintForeignKeyValidates, Some(table), what, FOREIGN, fix);
    }
    if column.check {
        let made = made(&[table.bare(), name.bare(), "check"]);
        let check = not_valid(table, &made, "CHECK (...)");
        let fix = format!("{}\n{check}", add_plain(table, column));
        let what = format!("{name} is added with a CHECK to {}", case.sized(table));
        case.report(Code::LintCheckValidates, Some(table), what, SCANS, fix);
    }
}

/// The column with its default, and without its constraints.
fn add_plain(table: &Name, column: &ColumnDef) -> String {
    let (name, kind) = (&column.name, &column.kind);
    let null = if column.not_null { " NOT NULL" } else { "" };
    let default = match column.default {
        DefaultValue::None => String::new(),
        _ => format!(" DEFAULT {}", column.default_text),
    };
    format!("ALTER TABLE {table} ADD COLUMN {name} {kind}{default}{null};")
}

const INDEX: &str = "its index is built with readers and writers locked out";
const FOREIGN: &str = "both tables are locked against writers until every row has been looked up";

/// A unique index that is built beside the writers, and the constraint made of it. A primary key's
/// columns are made NOT NULL before, by checks: else all rows are read for that under the lock.
fn key_by_index(
    case: &Case<'_>,
    table: &Name,
    name: Option<&Name>,
    columns: &[Name],
    word: &str,
) -> String {
    let mut steps = String::new();
    for column in columns.iter().filter(|_| word == "PRIMARY KEY") {
        if case.column(table, column).is_none_or(|facts| facts.nullable) {
            let trusted = !case.server.before(12, 0, 0);
            steps += &not_null_steps(table, column, trusted);
            steps += "\n-- then\n";
        }
    }
    let made = made_of(table, columns, if word == "UNIQUE" { "key" } else { "pkey" });
    let name = name.map_or(made, |name| name.raw.clone());
    let columns = list(columns);
    format!(
        "{steps}CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} ({columns});\n\
         ALTER TABLE {table} ADD CONSTRAINT {name} {word} USING INDEX {name};"
    )
}

/// `body` is the constraint as it is written, its name left out.
fn not_valid(table: &Name, name: &str, body: &str) -> String {
    format!(
        "ALTER TABLE {table} ADD CONSTRAINT {name} {body} NOT VALID;\n\
         -- in the next file:\nALTER TABLE {table} VALIDATE CONSTRAINT {name};"
    )
}

/// NOT NULL by a check that is validated beside writers.
fn not_null_steps(table: &Name, column: &Name, trusted: bool) -> String {
    let name = made(&[table.bare(), column.bare(), "not_null"]);
    let add = format!(
        "ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID;\n\
         -- in the next file:\nALTER TABLE {table} VALIDATE CONSTRAINT {name};"
    );
    if trusted {
        format!(
            "{add}\nALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL;\n\
             ALTER TABLE {table} DROP CONSTRAINT {name};"
        )
    } else {
        format!(
            "{add}\n-- and leave it at the check: before version 12 SET NOT NULL reads all rows"
        )
    }
}

fn change_type(case: &mut Case<'_>, table: &Name, column: &Name, kind: &str, using: bool) {
    let new = types::postgres(kind);
    let old = case.column(table, column);
    let change = match old {
        _ if using => Change::Rewrite,
        Some(old) => types::change(&types::postgres(&old.kind), &new),
        None => Change::Rewrite,
    };
    let in_utc = !case.server.before(12, 0, 0) && change == Change::FreeInUtc;
    if change == Change::Free || (in_utc && case.file.utc) {
        return;
    }
    let from = old.map_or("its type", |old| old.kind.as_str());
    let next = made(&[column.bare(), "new"]);
    let fix = if in_utc {
        format!(
            "SET LOCAL timezone = 'UTC';\n\
             ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind};\n\
             -- only if the values are meant in UTC: then no row is written"
        )
    } else {
        format!(
            "ALTER TABLE {table} ADD COLUMN {next} {kind};\n\
             -- write both from the program or by a trigger, fill {next} in batches,\n\
             -- read {next}, and drop {column} in a later file"
        )
    };
    let what = format!("{column} changes from {from} to {kind} in {}", case.sized(table));
    case.report(Code::LintTypeChange, Some(table), what, REWRITES, fix);
}

fn set_not_null(case: &mut Case<'_>, table: &Name, column: &Name) {
    let facts = case.column(table, column);
    if facts.is_some_and(|facts| !facts.nullable) {
        return;
    }
    let pair = (table.key.clone(), column.key.clone());
    let proven =
        facts.is_some_and(|facts| facts.checked_not_null) || case.run.proven.contains(&pair);
    let trusted = !case.server.before(12, 0, 0);
    if proven && trusted {
        return;
    }
    let fix = not_null_steps(table, column, trusted);
    case.report(
        Code::LintSetNotNull,
        Some(table),
        format!("{column} becomes NOT NULL in {}", case.sized(table)),
        "all rows are read with readers and writers locked out",
        fix,
    );
}

fn add_constraint(case: &mut Case<'_>, table: &Name, constraint: &Constraint) {
    let name = constraint.name.as_ref();
    let columns = &constraint.columns;
    match &constraint.kind {
        ConstraintKind::Exclude => case.report(
            Code::LintExclusion,
            Some(table),
            format!("an exclusion constraint is added to {}", case.sized(table)),
            "its index is built with readers and writers locked out, and can't be built before",
            "create it with the table; on a table in use, choose an hour when nobody writes, and \
             allow this finding with that reason",
        ),
        ConstraintKind::PrimaryKey | ConstraintKind::Unique if !constraint.using_index => {
            let primary = constraint.kind == ConstraintKind::PrimaryKey;
            let word = if primary { "PRIMARY KEY" } else { "UNIQUE" };
            let what = format!("{word} ({}) is added to {}", list(columns), case.sized(table));
            let fix = key_by_index(case, table, name, columns, word);
            case.report(Code::LintUniqueBuildsIndex, Some(table), what, INDEX, fix);
        }
        ConstraintKind::Foreign(target) if !constraint.not_valid => {
            let what = format!("a foreign key to {target} is added to {}", case.sized(table));
            let made = made_of(table, columns, "fkey");
            let name = name.map_or(made, |name| name.raw.clone());
            let body = case.text.get(constraint.span.clone()).unwrap_or_default();
            let fix = not_valid(table, &name, body);
            case.report(Code::LintForeignKeyValidates, Some(table), what, FOREIGN, fix);
        }
        ConstraintKind::Check(tested) if !constraint.not_valid => {
            let what = format!("a CHECK is added to {}", case.sized(table));
            let made = made(&[table.bare(), tested.as_ref().map_or("", Name::bare), "check"]);
            let name = name.map_or(made, |name| name.raw.clone());
            let body = case.text.get(constraint.span.clone()).unwrap_or_default();
            let fix = not_valid(table, &name, body);
            case.report(Code::LintCheckValidates, Some(table), what, SCANS, fix);
        }
        ConstraintKind::NotNull if !constraint.not_valid => {
            if let Some(column) = columns.first() {
                set_not_null(case, table, column);
            }
        }
        _ => {}
    }
}

/// Validating is done beside writers, unless the transaction holds the stronger lock already.
fn validate(case: &mut Case<'_>, table: &Name, name: &Name) {
    let added = (table.key.clone(), name.key.clone());
    if !case.in_transaction || !case.matters(table) || !case.file.unvalidated.contains(&added) {
        return;
    }
    case.report(
        Code::LintValidateTogether,
        Some(table),
        format!("{name} is validated by the transaction that has added it"),
        "the lock of ADD CONSTRAINT is held while all rows are read: NOT VALID has gained nothing",
        format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name};\n-- in the next file"),
    );
}
