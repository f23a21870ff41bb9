//! PostgreSQL: what takes a lock for as long as a table is large, and what can't run where it is.
//!
//! A lock as such is short and is waited for with a bound, by the runner. What is reported is work
//! that is done while it is held.

mod alter;
mod kinds;

use mainstay_core::Code;

use super::super::parse::{Action, AlterTable, CreateIndex, Name, Statement, span};
use super::{Case, locks};

pub(super) fn check(case: &mut Case<'_>, parsed: &Statement) {
    match parsed {
        Statement::CreateTable(table) => {
            for column in &table.columns {
                kinds::check(case, &table.name, column);
            }
        }
        Statement::CreateIndex(index) => create_index(case, index),
        Statement::DropIndex { names, concurrently, .. } => {
            for name in names.iter().filter(|_| !concurrently) {
                drop_index(case, name);
            }
        }
        Statement::AlterTable(alter) => alter::check(case, alter),
        Statement::Vacuum { full: true, table } => {
            full_rewrite(case, table.as_ref(), "VACUUM FULL");
        }
        Statement::Cluster { table } => full_rewrite(case, table.as_ref(), "CLUSTER"),
        Statement::Reindex { object, name, concurrently: false } => reindex(case, object, name),
        Statement::RefreshView { name, concurrently: false } => refresh(case, name),
        Statement::LockTable { names, mode }
            if mode.as_deref().is_none_or(|mode| mode == "ACCESS EXCLUSIVE") =>
        {
            lock_table(case, names);
        }
        Statement::AddEnumValue { kind, value } => enum_value(case, kind, value),
        _ => {}
    }
    if case.in_transaction {
        outside_only(case, parsed);
        several_locks(case, parsed);
        enum_use(case, parsed);
    }
}

fn create_index(case: &mut Case<'_>, index: &CreateIndex) {
    let table = &index.table;
    if index.concurrently || !case.matters(table) {
        return;
    }
    case.report(
        Code::LintIndexNotConcurrent,
        Some(table),
        format!("builds an index on {}, and lets nobody write meanwhile", case.sized(table)),
        "every INSERT, UPDATE and DELETE of the table waits until all rows have been read and \
         sorted",
        concurrent(case),
    );
}

/// The statement as it is written, building the index beside the writers.
fn concurrent(case: &Case<'_>) -> String {
    let index = case.tokens.iter().position(|token| token.is("INDEX")).map_or(0, |n| n + 1);
    let (before, after) = case.tokens.split_at(index.min(case.tokens.len()));
    let after = match after {
        [rest @ .., last] if last.text == ";" => rest,
        rest => rest,
    };
    let written = |tokens| case.text.get(span(tokens)).unwrap_or_default();
    format!("{} CONCURRENTLY {};", written(before), written(after))
}

fn drop_index(case: &mut Case<'_>, name: &Name) {
    // Where the catalogue does not know the index, it is most often one of this run.
    let Some((table, _)) = case.catalogue.index(name.bare()) else { return };
    let table = Name::of(table);
    if !case.matters(&table) {
        return;
    }
    case.report(
        Code::LintIndexDropNotConcurrent,
        Some(&table),
        format!("drops {name} of {}, with readers and writers locked out", case.sized(&table)),
        "the lock waits behind every query that uses the table, and all others wait behind it",
        format!("DROP INDEX CONCURRENTLY IF EXISTS {name};"),
    );
}

fn full_rewrite(case: &mut Case<'_>, table: Option<&Name>, verb: &str) {
    if table.is_some_and(|table| !case.matters(table)) {
        return;
    }
    let on = table.map_or_else(|| "every table".to_owned(), |table| case.sized(table));
    case.report(
        Code::LintFullRewrite,
        table,
        format!("{verb} writes {on} anew"),
        "nobody reads or writes the table until the whole copy and all its indexes are made",
        "VACUUM without FULL, which locks nobody out; pg_repack where the room must be given back",
    );
}

fn reindex(case: &mut Case<'_>, object: &str, name: &Name) {
    let table = match object {
        "TABLE" => Some(name.clone()),
        "INDEX" => case.catalogue.index(name.bare()).map(|(table, _)| Name::of(table)),
        _ => None,
    };
    if table.as_ref().is_some_and(|table| !case.matters(table)) {
        return;
    }
    let fix = if case.server.before(12, 0, 0) {
        "build an index of another name CONCURRENTLY, drop the old one CONCURRENTLY, and rename"
            .to_owned()
    } else {
        format!("REINDEX {object} CONCURRENTLY {name};")
    };
    case.report(
        Code::LintReindex,
        table.as_ref(),
        format!("REINDEX {object} {name} lets nobody write, and nobody read by the index"),
        "all rows are read and sorted meanwhile",
        fix,
    );
}

fn refresh(case: &mut Case<'_>, name: &Name) {
    if !case.matters(name) {
        return;
    }
    case.report(
        Code::LintRefreshView,
        Some(name),
        format!("{name} is filled anew, with its readers locked out"),
        "readers wait for as long as the view's query takes",
        format!(
            "REFRESH MATERIALIZED VIEW CONCURRENTLY {name};\n\
             -- needs a unique index on the view, over columns alone and all rows"
        ),
    );
}

fn lock_table(case: &mut Case<'_>, names: &[Name]) {
    let Some(table) = names.iter().find(|table| case.matters(table)) else { return };
    case.report(
        Code::LintLockTable,
        Some(table),
        format!("locks {} until the transaction ends", case.sized(table)),
        "it is the strongest lock there is, also where no mode is named, and readers wait for it too",
        "leave it out: each statement takes the lock that it needs; or name the weakest mode that \
         does, such as IN SHARE ROW EXCLUSIVE MODE, as the last statement before the work",
    );
}

fn enum_value(case: &mut Case<'_>, kind: &Name, value: &str) {
    if case.server.before(12, 0, 0) && case.in_transaction {
        case.report(
            Code::LintEnumValue,
            None,
            format!("adds '{value}' to {kind} inside a transaction"),
            "the server refuses that before version 12",
            "leave executeInTransaction out of the file's .conf",
        );
    }
}

/// From version 12 on a value can be added in a transaction, and not be used in it.
fn enum_use(case: &mut Case<'_>, parsed: &Statement) {
    let used = case.strings.iter().find(|text| case.file.enum_values.contains(text));
    let Some(value) = used.cloned() else { return };
    if !matches!(parsed, Statement::AddEnumValue { .. }) {
        case.report(
            Code::LintEnumValue,
            None,
            format!("uses '{value}', which the same transaction has added to its type"),
            "the server refuses a new value until the transaction that added it is committed",
            "move this statement to a file of its own, after the one that adds the value",
        );
    }
}

/// What the server refuses inside a transaction.
fn outside_only(case: &mut Case<'_>, parsed: &Statement) {
    let (what, table) = match parsed {
        Statement::CreateIndex(index) if index.concurrently => {
            ("CREATE INDEX CONCURRENTLY", Some(&index.table))
        }
        Statement::DropIndex { concurrently: true, .. } => ("DROP INDEX CONCURRENTLY", None),
        Statement::Reindex { concurrently: true, .. } => ("REINDEX CONCURRENTLY", None),
        Statement::Reindex { object, .. } if object != "INDEX" && object != "TABLE" => {
            ("REINDEX of a whole schema", None)
        }
        Statement::Vacuum { table, .. } => ("VACUUM", table.as_ref()),
        Statement::CreateDatabase => ("CREATE DATABASE", None),
        Statement::DropDatabase { schema: false, .. } => ("DROP DATABASE", None),
        Statement::AlterSystem => ("ALTER SYSTEM", None),
        Statement::AlterTable(alter) if detaches(alter) => {
            ("DETACH PARTITION CONCURRENTLY", Some(&alter.table))
        }
        _ => return,
    };
    case.report(
        Code::LintNotInTransaction,
        table,
        format!("{what} stands in a file that runs in a transaction"),
        "the server refuses it there",
        "leave executeInTransaction out of the file's .conf: what can't be in a transaction then runs \
         outside one",
    );
}

fn detaches(alter: &AlterTable) -> bool {
    let concurrent =
        |action: &Action| matches!(action, Action::DetachPartition { concurrently: true });
    alter.actions.iter().any(concurrent)
}

fn several_locks(case: &mut Case<'_>, parsed: &Statement) {
    let Some(first) = case.file.locked.first() else { return };
    let other = |table: &&Name| case.matters(table) && !case.file.locked.contains(&table.key);
    let Some(table) = locks(parsed).into_iter().find(other) else { return };
    case.report(
        Code::LintSeveralLocks,
        Some(table),
        format!("locks {table} while the transaction holds its lock on {first}"),
        "whoever uses both tables in the other order deadlocks with it, and the first stays locked \
         for as long as the second is waited for",
        "one file for each table, so that each lock is let go before the next is asked for",
    );
}
