//! SQLite: what its ALTER TABLE does not know or refuses, and what it does without a word.

use mainstay_core::Code;

use super::super::parse::{
    Action, AlterTable, ColumnDef, ConstraintKind, CreateTable, DefaultValue, Generated, Name,
    Statement,
};
use super::Case;

pub(super) fn check(case: &mut Case<'_>, parsed: &Statement) {
    match parsed {
        Statement::CreateTable(table) => {
            for column in &table.columns {
                kind(case, table, column);
            }
        }
        Statement::AlterTable(alter) => {
            for action in &alter.actions {
                change(case, alter, action);
            }
        }
        Statement::DropTable { names, .. } => {
            for name in names {
                drop_table(case, name);
            }
        }
        Statement::Pragma { name, .. } if name == "foreign_keys" && case.in_transaction => {
            case.report(
                Code::LintForeignKeysPragma,
                None,
                "PRAGMA foreign_keys stands inside a transaction",
                "it does nothing there, and says nothing about it: foreign keys stay as they were",
                "move the file out of the transaction; or PRAGMA defer_foreign_keys = ON, which \
                 works inside one",
            );
        }
        Statement::Vacuum { .. } if case.in_transaction => case.report(
            Code::LintNotInTransaction,
            None,
            "VACUUM stands in a file that runs in a transaction",
            "SQLite refuses it there",
            "leave executeInTransaction out of the file's .conf: what can't be in a transaction then \
             runs outside one",
        ),
        _ => {}
    }
}

fn change(case: &mut Case<'_>, alter: &AlterTable, action: &Action) {
    let table = &alter.table;
    // Version 3.53 has learnt these few.
    let constraints = !case.server.before(3, 53, 0);
    match action {
        Action::AddColumn(column) => add_column(case, table, column),
        Action::DropColumn { name, .. } => drop_column(case, table, name),
        Action::RenameColumn { .. } if case.server.before(3, 25, 0) => {
            rebuild(case, table, "RENAME COLUMN, before version 3.25");
        }
        Action::AlterType { .. } => rebuild(case, table, "a change of type"),
        Action::SetDefault => rebuild(case, table, "a change of default"),
        Action::SetNotNull(_) | Action::DropNotNull if !constraints => {
            rebuild(case, table, "a change of NOT NULL, in this version");
        }
        Action::AddConstraint(constraint) => {
            let check = matches!(constraint.kind, ConstraintKind::Check(_));
            if !check || !constraints {
                rebuild(case, table, "ADD CONSTRAINT");
            }
        }
        Action::DropConstraint if !constraints => rebuild(case, table, "DROP CONSTRAINT"),
        Action::DropPrimaryKey | Action::Modify { .. } | Action::ConvertCharset(_) => {
            rebuild(case, table, "such a change");
        }
        _ => {}
    }
}

fn rebuild(case: &mut Case<'_>, table: &Name, what: &str) {
    case.report(
        Code::LintSqliteNoAlter,
        Some(table),
        format!("SQLite's ALTER TABLE does not know {what}"),
        "the statement fails; the table has to be made anew",
        recipe(case, table),
    );
}

/// The way to make a table anew, with the columns that it has.
fn recipe(case: &Case<'_>, table: &Name) -> String {
    let columns = case.table(table).map(|facts| facts.columns.as_slice()).unwrap_or_default();
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let names = if names.is_empty() { "...".to_owned() } else { names.join(", ") };
    let new = super::made(&[table.bare(), "new"]);
    format!(
        "PRAGMA foreign_keys = OFF;\n\
         CREATE TABLE {new} (...);\n\
         INSERT INTO {new} ({names}) SELECT {names} FROM {table};\n\
         DROP TABLE {table};\n\
         ALTER TABLE {new} RENAME TO {table};\n\
         -- its indexes and triggers anew, then\n\
         PRAGMA foreign_key_check;\n\
         PRAGMA foreign_keys = ON;"
    )
}

fn add_column(case: &mut Case<'_>, table: &Name, column: &ColumnDef) {
    let unset = column.default == DefaultValue::None;
    let moving = matches!(column.default, DefaultValue::Stable | DefaultValue::Volatile)
        || is_computed(&column.default_text);
    let computed = column.generated != Generated::No;
    let (name, kind) = (&column.name, &column.kind);
    let (what, fix) = if column.primary_key {
        ("PRIMARY KEY", recipe(case, table))
    } else if column.unique {
        let index = super::made(&[table.bare(), name.bare(), "key"]);
        let fix = format!(
            "ALTER TABLE {table} ADD COLUMN {name} {kind};\n\
             CREATE UNIQUE INDEX {index} ON {table} ({name});"
        );
        ("UNIQUE", fix)
    } else if column.generated == Generated::Stored {
        ("STORED", format!("ALTER TABLE {table} ADD COLUMN {name} {kind} AS (...) VIRTUAL;"))
    } else if column.not_null && unset && !computed {
        let fix = format!("ALTER TABLE {table} ADD COLUMN {name} {kind} NOT NULL DEFAULT 0;");
        ("NOT NULL without a default", fix)
    } else if moving {
        let fix = format!(
            "ALTER TABLE {table} ADD COLUMN {name} {kind};\n\
             UPDATE {table} SET {name} = {};",
            column.default_text
        );
        ("a default that is no constant", fix)
    } else if column.references.is_some() && !unset {
        let fix = format!(
            "ALTER TABLE {table} ADD COLUMN {name} {kind} REFERENCES ...;\n\
             UPDATE {table} SET {name} = {};",
            column.default_text
        );
        ("REFERENCES and a default that is not NULL", fix)
    } else {
        return;
    };
    case.report(
        Code::LintSqliteAddColumn,
        Some(table),
        format!("SQLite adds no column with {what} to a table that has rows"),
        "the statement fails; on an empty database it may pass, and fail on the one that matters",
        fix,
    );
}

/// Whether a default is in parentheses and more than a value: SQLite takes that for no constant,
/// though it may be one.
fn is_computed(default: &str) -> bool {
    let mut inner = default.trim();
    if !inner.starts_with('(') {
        return false;
    }
    while let Some(next) = inner.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        inner = next.trim();
    }
    let value = inner.trim_start_matches(['-', '+', ' ']);
    let text = value.strip_prefix('x').unwrap_or(value);
    let text = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    let quoted = text.is_some_and(|text| !text.replace("''", "").contains('\''));
    let word = ["null", "true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word));
    let number = value.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    !(quoted || word || number)
}

fn drop_column(case: &mut Case<'_>, table: &Name, name: &Name) {
    if case.server.before(3, 35, 0) {
        rebuild(case, table, "DROP COLUMN, before version 3.35");
        return;
    }
    let Some(facts) = case.table(table) else { return };
    let uses = |columns: &[String]| columns.iter().any(|c| c.to_lowercase() == name.key);
    let dropped = &case.file.dropped_indexes;
    let mut indexes =
        facts.indexes.iter().filter(|index| !dropped.contains(&index.name.to_lowercase()));
    let Some(index) = indexes.find(|index| uses(&index.columns)) else { return };
    // What a constraint made can't be dropped by itself.
    let fix = if index.name.starts_with("sqlite_autoindex") {
        recipe(case, table)
    } else {
        format!("DROP INDEX {};\nALTER TABLE {table} DROP COLUMN {name};", index.name)
    };
    case.report(
        Code::LintSqliteDropColumn,
        Some(table),
        format!("{table}.{name} is part of the index {}", index.name),
        "SQLite refuses to drop a column that an index or a key needs",
        fix,
    );
}

fn drop_table(case: &mut Case<'_>, name: &Name) {
    let referred = case.table(name).map_or(0, |facts| facts.referenced_by);
    if referred == 0 || case.file.foreign_keys_off {
        return;
    }
    case.report(
        Code::LintSqliteDropReferenced,
        Some(name),
        format!("drops {name}, which {referred} foreign keys refer to"),
        "with foreign keys on, SQLite deletes its rows first, and with them by ON DELETE CASCADE \
         the rows that refer to them",
        format!(
            "PRAGMA foreign_keys = OFF;\n\
             DROP TABLE {name};\nPRAGMA foreign_key_check;\nPRAGMA foreign_keys = ON;"
        ),
    );
}

/// A type decides how values are kept by parts of its name, and not always as it reads.
fn kind(case: &mut Case<'_>, table: &CreateTable, column: &ColumnDef) {
    let kind = column.kind.as_str();
    let base = kind.split('(').next().unwrap_or_default().trim();
    let unknown = !matches!(base, "int" | "integer" | "real" | "text" | "blob" | "any");
    let (why, fix) = match base {
        _ if table.strict && unknown => {
            ("a STRICT table knows INT, INTEGER, REAL, TEXT, BLOB and ANY", "TEXT")
        }
        "string" | "str" => ("the name makes it numeric: '007' is kept as 7", "TEXT"),
        "uuid" | "json" => {
            ("the name makes it numeric: what reads as a number becomes one", "TEXT")
        }
        "floating point" => ("INT in its name makes it an integer: 1.0 is kept as 1", "REAL"),
        _ => return,
    };
    let name = &column.name;
    case.report(
        Code::LintSqliteType,
        Some(&table.name),
        format!("{}.{name} has the type `{kind}`", table.name),
        why,
        format!("{name} {fix}"),
    );
}
