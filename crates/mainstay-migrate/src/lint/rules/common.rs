//! What is dangerous on every engine: what breaks the program that still runs, what loses data,
//! and what holds locks for as long as there are rows.

use mainstay_core::Code;
use mainstay_db::Engine;

use super::super::parse::{
    Action, AlterTable, ColumnDef, DefaultValue, Generated, Name, Statement,
};
use super::{Case, locks, made};

const RUNNING: &str = "the program that runs while the migration does, and the one before it where \
    a deployment is taken back, still use the old name";

pub(super) fn check(case: &mut Case<'_>, parsed: &Statement) {
    match parsed {
        Statement::AlterTable(alter) => {
            for action in &alter.actions {
                change(case, alter, action);
            }
        }
        Statement::RenameTables(pairs) => {
            for (from, to) in pairs {
                rename_table(case, from, to);
            }
        }
        Statement::DropTable { names, .. } => {
            for name in names {
                drop_table(case, name);
            }
        }
        Statement::Truncate { names, cascade: true } => truncate(case, names),
        Statement::DropDatabase { name, schema } => drop_database(case, name, *schema),
        Statement::Update { table, filtered } => write(case, table, *filtered, "UPDATE"),
        Statement::Delete { table, filtered } => write(case, table, *filtered, "DELETE"),
        Statement::InsertSelect { from } => {
            if let Some(table) = from.iter().find(|table| case.matters(table)) {
                backfill(case, table, "INSERT ... SELECT");
            }
        }
        _ => {}
    }
    lock_timeout(case, parsed);
}

fn change(case: &mut Case<'_>, alter: &AlterTable, action: &Action) {
    let table = &alter.table;
    match action {
        Action::AddColumn(column) => not_null(case, table, column),
        Action::RenameColumn { from, to } => rename_column(case, table, from, to),
        Action::Modify { old, column } if old.key != column.name.key => {
            rename_column(case, table, old, &column.name);
        }
        Action::RenameTable { to } => rename_table(case, table, to),
        Action::DropColumn { name, .. } if !case.is_new(table) => {
            let fix = format!(
                "deploy a program that does not know {name} first; then, in a later migration, \
                 above this statement: -- mainstay:allow {} nothing reads {name} since VERSION",
                Code::LintDropColumn
            );
            case.report(
                Code::LintDropColumn,
                Some(table),
                format!("{table}.{name} is dropped with what it holds"),
                "the program that still runs reads or writes the column and fails, and the data \
                 does not come back with an older version of it",
                fix,
            );
        }
        _ => {}
    }
}

/// SQLite refuses such a column, which is a rule of its own.
fn not_null(case: &mut Case<'_>, table: &Name, column: &ColumnDef) {
    let given = column.default != DefaultValue::None
        || column.generated != Generated::No
        || column.identity
        || column.kind.contains("serial");
    if given || !column.not_null || case.is_new(table) || case.server.is(Engine::Sqlite) {
        return;
    }
    let (name, kind) = (&column.name, &column.kind);
    let (what, why) = if case.server.is(Engine::Postgres) {
        (
            format!("{table}.{name} is added NOT NULL without a default"),
            "the server refuses it as soon as the table has a row, and a program that does not \
             know the column can't insert any more",
        )
    } else {
        (
            format!("{table}.{name} is added NOT NULL without a default: rows get an empty value"),
            "old rows silently hold '' or 0, and a program that does not know the column can't \
             insert any more",
        )
    };
    let fix = format!(
        "ALTER TABLE {table} ADD COLUMN {name} {kind} NOT NULL DEFAULT ...;\n\
         -- or add it without NOT NULL, fill it in batches, and set NOT NULL in a later migration"
    );
    case.report(Code::LintNotNullColumn, Some(table), what, why, fix);
}

fn rename_column(case: &mut Case<'_>, table: &Name, from: &Name, to: &Name) {
    if case.is_new(table) {
        return;
    }
    let kind = case.column(table, from).map_or("...", |column| column.kind.as_str());
    let fix = format!(
        "ALTER TABLE {table} ADD COLUMN {to} {kind};\n\
         -- write both from the program, fill {to} from {from} in batches, read {to},\n\
         -- and drop {from} in a later migration"
    );
    let what = format!("{table}.{from} becomes {to}");
    case.report(Code::LintRename, Some(table), what, RUNNING, fix);
}

fn rename_table(case: &mut Case<'_>, from: &Name, to: &Name) {
    if case.is_new(from) {
        return;
    }
    // Without a schema the new name is in the old one's.
    let moved = match (from.schema(), to.schema()) {
        (Some(schema), None) => format!("{schema}.{to}"),
        _ => to.raw.clone(),
    };
    let fix = if case.server.is(Engine::Sqlite) {
        format!("keep the name {from}; or rename, and CREATE VIEW {from} AS SELECT * FROM {moved}")
    } else {
        format!(
            "ALTER TABLE {from} RENAME TO {to};\nCREATE VIEW {from} AS SELECT * FROM {moved};\n\
             -- the view takes writes too; drop it when no program uses the old name"
        )
    };
    let what = format!("{from} becomes {to}");
    case.report(Code::LintRename, Some(from), what, RUNNING, fix);
}

fn drop_table(case: &mut Case<'_>, name: &Name) {
    // Where its rows were copied before, it is a table that is being rebuilt.
    if case.is_new(name) || case.file.copied.contains(&name.key) {
        return;
    }
    let rows = case.sized(name);
    let aside = made(&[name.bare(), "unused"]);
    let fix = format!(
        "ALTER TABLE {name} RENAME TO {aside};\n\
         -- and drop it in a later migration, when nothing has missed it"
    );
    let why = "the program that still runs fails, and the data is gone";
    case.report(Code::LintDropTable, Some(name), format!("drops {rows}"), why, fix);
}

fn truncate(case: &mut Case<'_>, names: &[Name]) {
    let Some(name) = names.first() else { return };
    case.report(
        Code::LintTruncateCascade,
        Some(name),
        format!("empties {name} and every table that refers to it, and those that refer to them"),
        "which tables these are depends on foreign keys that the statement does not show",
        "name the tables: TRUNCATE a, b, c",
    );
}

fn drop_database(case: &mut Case<'_>, name: &Name, schema: bool) {
    let object = if schema { "schema" } else { "database" };
    case.report(
        Code::LintDropDatabase,
        None,
        format!("drops the {object} {name}"),
        "one wrong connection string away from losing everything; a migration has no need of it",
        "drop the tables that are meant by name, or let an operator do it by hand",
    );
}

fn write(case: &mut Case<'_>, table: &Name, filtered: bool, verb: &str) {
    if !case.matters(table) {
        return;
    }
    if !filtered {
        let fix = match case.server.engine {
            Engine::MySql => format!("{verb} ... {table} ... WHERE ... LIMIT 5000"),
            _ => format!(
                "{verb} ... {table} ... WHERE KEY IN (SELECT KEY FROM {table} WHERE ... LIMIT 5000)"
            ),
        };
        case.report(
            Code::LintUnfilteredWrite,
            Some(table),
            format!("one {verb} goes over all of {}", case.sized(table)),
            "every row stays locked until the end, the log and the replicas get all of it at \
             once, and a failure undoes all",
            format!(
                "{fix}\n-- again and again, each in a transaction of its own, until none is left"
            ),
        );
    }
    backfill(case, table, verb);
}

/// PostgreSQL holds the locks of the DDL meanwhile; MySQL has committed it, and SQLite has one
/// writer in any case.
fn backfill(case: &mut Case<'_>, table: &Name, verb: &str) {
    let locked = case.file.locked.first();
    let Some(locked) = locked.filter(|_| case.server.is(Engine::Postgres) && case.in_transaction)
    else {
        return;
    };
    case.report(
        Code::LintBackfillWithDdl,
        Some(table),
        format!("{verb} runs over {} while {locked} is locked", case.sized(table)),
        "the lock that changed the table is held until the transaction ends, so everybody waits \
         for as long as the rows take",
        "move it to a file of its own, after the one that changes the table, and run it in batches",
    );
}

fn lock_timeout(case: &mut Case<'_>, parsed: &Statement) {
    let bounded = case.options.lock_timeout_set || case.file.lock_timeout;
    if bounded || case.server.is(Engine::Sqlite) || !case.file.locked.is_empty() {
        return;
    }
    let Some(table) = locks(parsed).into_iter().find(|table| case.matters(table)) else { return };
    let fix = if case.server.is(Engine::Postgres) {
        "SET lock_timeout = '2s';"
    } else {
        "SET lock_wait_timeout = 2;"
    };
    case.report(
        Code::LintLockTimeout,
        Some(table),
        format!("waits for a lock on {} without bound", case.sized(table)),
        "while it waits behind one long query, every other query of the table waits behind it",
        format!("{fix}\n-- before it, and try again when it fails"),
    );
}
