//! MySQL and MariaDB: which changes copy the table with writers locked out, which write it anew
//! beside them, and what the storage engine does badly. It judges InnoDB's tables.

use mainstay_core::Code;

use super::super::parse::{
    Action, AlterTable, ColumnDef, ConstraintKind, CreateTable, DefaultValue, Generated, IndexKind,
    Name, Online, Statement,
};
use super::{Case, made, types};
use crate::lint::Column;

/// What a change costs while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    /// Nobody waits and nothing is written anew.
    Little,
    /// The table is written anew, beside its writers.
    Rebuild(&'static str),
    /// The table is copied row by row, and nobody writes.
    Copy(&'static str),
    /// Done in place, and nobody writes.
    Shared(&'static str),
}

pub(super) fn check(case: &mut Case<'_>, parsed: &Statement) {
    match parsed {
        Statement::CreateTable(table) => create(case, table),
        Statement::CreateIndex(index) => {
            let cost = index_cost(index.kind);
            tell(case, &index.table, &index.online, cost, None);
        }
        Statement::AlterTable(alter) => {
            for action in &alter.actions {
                change(case, alter, action);
            }
        }
        Statement::Optimize { names } => {
            for name in names {
                let cost = Cost::Rebuild("OPTIMIZE TABLE");
                tell(case, name, &Online::default(), cost, None);
            }
        }
        _ => {}
    }
}

fn create(case: &mut Case<'_>, table: &CreateTable) {
    let name = &table.name;
    charset(case, name, table.charset.as_deref());
    storage(case, name, table.storage.as_deref());
    let keys = table.constraints.iter().filter(|c| c.kind == ConstraintKind::PrimaryKey);
    let first: Vec<&str> = keys.filter_map(|c| c.columns.first()).map(Name::bare).collect();
    for column in &table.columns {
        charset(case, name, column.charset.as_deref());
        if column.primary_key || first.contains(&column.name.bare()) {
            random_key(case, name, column);
        }
    }
}

fn change(case: &mut Case<'_>, alter: &AlterTable, action: &Action) {
    let table = &alter.table;
    match action {
        Action::ConvertCharset(name) => charset(case, table, Some(name)),
        Action::Storage(name) => storage(case, table, Some(name)),
        Action::AddColumn(column) | Action::Modify { column, .. } => {
            charset(case, table, column.charset.as_deref());
        }
        _ => {}
    }
    let cost = cost(case, alter, action);
    let rewritten = match action {
        Action::Modify { old, column } => Some((old, column.kind.as_str())),
        _ => None,
    };
    tell(case, table, &alter.online, cost, rewritten);
}

fn cost(case: &Case<'_>, alter: &AlterTable, action: &Action) -> Cost {
    match action {
        Action::AddColumn(column) => add_column(case, column),
        Action::DropColumn { .. } if !instant_drop(case) => Cost::Rebuild("dropping a column"),
        Action::Modify { old, column } => modify(case, &alter.table, old, column),
        Action::AddConstraint(constraint) => match constraint.kind {
            ConstraintKind::PrimaryKey => Cost::Rebuild("a new primary key"),
            ConstraintKind::Foreign(_) if !case.file.foreign_keys_off => {
                Cost::Copy("a foreign key that is checked")
            }
            ConstraintKind::Check(_) if !constraint.not_valid => Cost::Copy("a CHECK"),
            _ => Cost::Little,
        },
        Action::DropPrimaryKey if !replaces_key(alter) => {
            Cost::Copy("dropping the primary key without another in the same statement")
        }
        Action::AddIndex(index) => index_cost(index.kind),
        Action::ConvertCharset(_) => Cost::Copy("converting the character set"),
        Action::Storage(engine) if engine == "innodb" => Cost::Rebuild("ENGINE=InnoDB"),
        Action::Storage(_) => Cost::Copy("changing the storage engine"),
        Action::Rebuild(option) => Cost::Rebuild(option),
        Action::Partition => Cost::Copy("partitioning"),
        _ => Cost::Little,
    }
}

fn add_column(case: &Case<'_>, column: &ColumnDef) -> Cost {
    let server = case.server;
    if column.identity {
        return Cost::Shared("a new AUTO_INCREMENT column");
    }
    if column.generated == Generated::Stored {
        return Cost::Copy("a stored generated column");
    }
    if column.default == DefaultValue::Volatile {
        return Cost::Copy("a default that is another for each row");
    }
    let (last, anywhere) = if server.mariadb {
        (!server.before(10, 3, 2), !server.before(10, 4, 0))
    } else {
        (!server.before(8, 0, 12), !server.before(8, 0, 29))
    };
    let instant = if column.positioned { anywhere } else { last };
    if column.primary_key {
        Cost::Rebuild("a new primary key")
    } else if instant || column.generated == Generated::Virtual {
        Cost::Little
    } else {
        Cost::Rebuild("a new column, in this version and at this place")
    }
}

fn instant_drop(case: &Case<'_>) -> bool {
    let server = case.server;
    if server.mariadb { !server.before(10, 4, 0) } else { !server.before(8, 0, 29) }
}

fn modify(case: &Case<'_>, table: &Name, old: &Name, column: &ColumnDef) -> Cost {
    let Some(facts) = case.column(table, old) else {
        return Cost::Copy("another type, if it is another");
    };
    let (from, to) = (types::mysql(&facts.kind), types::mysql(&column.kind));
    let charset = facts.collation.as_deref().map_or("utf8mb4", types::mysql_charset);
    if !types::mysql_in_place(&from, &to, types::mysql_bytes(charset)) {
        return Cost::Copy("another type");
    }
    if recodes(case, table, facts, column) {
        return Cost::Copy("another character set or collation");
    }
    // A column of the primary key takes no NULL, whatever is said of it.
    let key = case.table(table).is_some_and(|facts| {
        let primary = facts.indexes.iter().find(|index| index.name == "PRIMARY");
        primary
            .is_some_and(|index| index.columns.iter().any(|c| c.eq_ignore_ascii_case(old.bare())))
    });
    if facts.nullable == column.not_null && !column.primary_key && !key {
        return Cost::Rebuild("NOT NULL that comes or goes");
    }
    if column.positioned { Cost::Rebuild("another place for the column") } else { Cost::Little }
}

/// Whether the column's texts are written in another character set, or compared in another way. What
/// the statement leaves out is the table's default, not what the column has.
fn recodes(case: &Case<'_>, table: &Name, facts: &Column, column: &ColumnDef) -> bool {
    let Some(old) = facts.collation.as_deref() else { return false };
    let default = case.table(table).and_then(|facts| facts.collation.as_deref());
    match (column.collation.as_deref(), column.charset.as_deref(), default) {
        (Some(new), _, _) => new != old,
        (None, Some(new), _) => types::mysql_charset(new) != types::mysql_charset(old),
        (None, None, Some(default)) => default != old,
        (None, None, None) => false,
    }
}

fn replaces_key(alter: &AlterTable) -> bool {
    super::constraints(alter).any(|c| c.kind == ConstraintKind::PrimaryKey)
}

fn index_cost(kind: IndexKind) -> Cost {
    match kind {
        IndexKind::Plain => Cost::Little,
        IndexKind::FullText => Cost::Shared("a FULLTEXT index"),
        IndexKind::Spatial => Cost::Shared("a SPATIAL index"),
    }
}

/// Reports a cost, unless the statement's own clauses make the server refuse rather than pay it.
fn tell(
    case: &mut Case<'_>,
    table: &Name,
    online: &Online,
    cost: Cost,
    rewritten: Option<(&Name, &str)>,
) {
    if !case.matters(table) {
        return;
    }
    let algorithm = online.algorithm.as_deref().unwrap_or_default();
    let unlocked = online.lock.as_deref() == Some("NONE");
    let instant = matches!(algorithm, "INSTANT" | "NOCOPY");
    // From 11.2 on MariaDB copies beside the writers.
    let beside = case.server.mariadb && !case.server.before(11, 2, 0);
    let cost = match cost {
        Cost::Copy(_) if unlocked || instant || algorithm == "INPLACE" => return,
        Cost::Shared(_) if unlocked => return,
        Cost::Rebuild(_) if instant => return,
        Cost::Copy(what) if beside => Cost::Rebuild(what),
        cost => cost,
    };
    let size = case.sized(table);
    match cost {
        Cost::Little => {}
        Cost::Rebuild(what) => case.report(
            Code::LintMySqlRebuild,
            Some(table),
            format!("{what}: writes all of {size} anew"),
            "writers go on, but it takes room for a second copy, competes for the disk, and every \
             replica falls behind by as long as it takes",
            "an hour with few writes; or a tool that copies at a pace, such as gh-ost; \
             ALGORITHM=INSTANT in the statement makes the server refuse rather than rebuild",
        ),
        Cost::Copy(what) | Cost::Shared(what) => {
            let fix = match rewritten {
                Some((column, kind)) => {
                    let next = made(&[column.bare(), "new"]);
                    format!(
                        "ALTER TABLE {table} ADD COLUMN {next} {kind}, ALGORITHM=INSTANT;\n\
                         -- write both, fill {next} in batches, read {next}, and drop {column} in a \
                         later file: mainstay migrate expand does so from a retype_column"
                    )
                }
                None => {
                    "declare the change for mainstay migrate expand, or copy the table beside the \
                    writers with a tool such as gh-ost; ALGORITHM=INPLACE, LOCK=NONE in the \
                    statement makes the server refuse rather than lock writers out"
                        .to_owned()
                }
            };
            case.report(
                Code::LintMySqlWritersBlocked,
                Some(table),
                format!("{what}: nobody writes while it goes over {size}"),
                "every INSERT, UPDATE and DELETE of the table waits until all rows are done",
                fix,
            );
        }
    }
}

fn charset(case: &mut Case<'_>, table: &Name, charset: Option<&str>) {
    if !matches!(charset, Some("utf8" | "utf8mb3")) {
        return;
    }
    case.report(
        Code::LintUtf8mb3,
        Some(table),
        format!("{table} holds text as utf8mb3"),
        "it has no room for characters of four bytes: emoji and many Chinese ones are refused or \
         cut off",
        "CHARACTER SET utf8mb4",
    );
}

fn storage(case: &mut Case<'_>, table: &Name, engine: Option<&str>) {
    let Some(engine @ ("myisam" | "aria" | "memory" | "csv" | "merge")) = engine else { return };
    case.report(
        Code::LintMySqlEngine,
        Some(table),
        format!("{table} is kept by {engine}"),
        "it has no transactions: a rollback leaves its rows as they are, and a crash may lose them",
        "ENGINE=InnoDB",
    );
}

/// InnoDB keeps rows in the order of the primary key.
fn random_key(case: &mut Case<'_>, table: &Name, column: &ColumnDef) {
    let given = &column.default_text;
    let kind = column.kind.as_str();
    let random = match kind {
        "char(36)" | "varchar(36)" => !given.contains("uuid_v7"),
        // The second argument puts the time first.
        "binary(16)" => {
            given.contains("uuid(") && !given.contains(",1)") && !given.contains(",true)")
        }
        "uuid" => given.contains("uuid_v4"),
        _ => false,
    };
    if !random {
        return;
    }
    let name = &column.name;
    case.report(
        Code::LintRandomKey,
        Some(table),
        format!("{table} is kept in the order of {name} {kind}, which is random"),
        "each INSERT goes to another page: pages are read, split and half empty, and every other \
         index repeats the long key",
        format!("{name} BIGINT UNSIGNED AUTO_INCREMENT; or UUIDs of version 7 in a BINARY(16)"),
    );
}
