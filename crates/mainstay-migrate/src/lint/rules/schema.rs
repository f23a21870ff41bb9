//! What will be regretted about a table or an index later, on every engine: keys that run out,
//! money that does not add up, indexes that are missing or there twice.

use mainstay_core::Code;
use mainstay_db::Engine;

use super::super::parse::{
    Action, ColumnDef, Constraint, ConstraintKind, CreateTable, Name, Statement,
};
use super::{Case, Until, begins, is_key, list, made};

/// Parts of names that tell money.
const MONEY: [&str; 10] =
    ["price", "amount", "cost", "total", "balance", "fee", "salary", "tax", "money", "revenue"];

pub(super) fn check(case: &mut Case<'_>, parsed: &Statement) {
    match parsed {
        Statement::CreateTable(table) => create(case, table),
        Statement::CreateIndex(index) if index.ordinary => {
            duplicate(case, &index.table, index.name.as_ref(), &index.columns, index.unique);
        }
        Statement::AlterTable(alter) => {
            for action in &alter.actions {
                change(case, &alter.table, action);
            }
        }
        _ => {}
    }
}

fn create(case: &mut Case<'_>, table: &CreateTable) {
    let keys = table.constraints.iter().filter(|c| c.kind == ConstraintKind::PrimaryKey);
    let key: Vec<Name> = keys.flat_map(|c| c.columns.clone()).collect();
    for column in &table.columns {
        let single = key.len() == 1 && key.iter().any(|k| k.key == column.name.key);
        narrow_key(case, &table.name, column, column.primary_key || single);
        money(case, &table.name, column);
        if column.references.is_some() && !column.primary_key && !column.unique {
            unindexed(case, &table.name, &column.name, table);
        }
    }
    for constraint in &table.constraints {
        let foreign = matches!(constraint.kind, ConstraintKind::Foreign(_));
        if let Some(first) = constraint.columns.first().filter(|_| foreign) {
            unindexed(case, &table.name, first, table);
        }
    }
    let keyed = !key.is_empty() || table.columns.iter().any(|column| column.primary_key);
    // SQLite's tables have a key that nobody sees, and nothing replicates by it.
    if table.defined && !keyed && !table.temporary && !case.server.is(Engine::Sqlite) {
        let name = &table.name;
        let why = match case.server.engine {
            Engine::MySql => {
                "rows are kept in the order of a hidden key that nothing can use, \
                and replicas search the whole table for each changed row"
            }
            _ => "logical replication can't tell its rows apart, and neither can you",
        };
        let fix = format!("ALTER TABLE {name} ADD PRIMARY KEY (...)");
        let what = format!("{name} has no primary key");
        let finding = case.finding(Code::LintNoPrimaryKey, Some(name), what, why, fix);
        case.pending.push((Until::PrimaryKey(name.key.clone()), finding));
    }
}

fn change(case: &mut Case<'_>, table: &Name, action: &Action) {
    match action {
        Action::AddColumn(column) => {
            narrow_key(case, table, column, column.primary_key);
            money(case, table, column);
            if column.references.is_some() && !column.unique {
                no_index(case, table, &column.name);
            }
        }
        Action::AddConstraint(constraint) => added(case, table, constraint),
        Action::AddIndex(index) if index.ordinary => {
            duplicate(case, table, index.name.as_ref(), &index.columns, false);
        }
        _ => {}
    }
}

fn added(case: &mut Case<'_>, table: &Name, constraint: &Constraint) {
    if is_key(constraint) && !constraint.using_index && constraint.ordinary {
        duplicate(case, table, constraint.name.as_ref(), &constraint.columns, true);
    }
    let foreign = matches!(constraint.kind, ConstraintKind::Foreign(_));
    let Some(first) = constraint.columns.first().filter(|_| foreign) else { return };
    let indexes = case.table(table).map(|facts| facts.indexes.as_slice()).unwrap_or_default();
    let indexed = indexes.iter().any(|index| {
        index.valid && index.columns.first().is_some_and(|c| c.to_lowercase() == first.key)
    });
    if !indexed {
        no_index(case, table, first);
    }
}

/// A key of 32 bits or fewer. SQLite's integers have 64 whatever they are called.
fn narrow_key(case: &mut Case<'_>, table: &Name, column: &ColumnDef, key: bool) {
    let serial = matches!(column.kind.as_str(), "serial" | "serial4" | "smallserial" | "serial2");
    let kind = column.kind.split(['(', ' ']).next().unwrap_or_default();
    let narrow = serial || is_narrow(kind);
    if !narrow || !(key || column.identity || serial) || case.server.is(Engine::Sqlite) {
        return;
    }
    let name = &column.name;
    let wide = match case.server.engine {
        Engine::MySql => format!("{name} BIGINT UNSIGNED AUTO_INCREMENT"),
        _ => format!("{name} bigint GENERATED ALWAYS AS IDENTITY"),
    };
    case.report(
        Code::LintNarrowKey,
        Some(table),
        format!("{table}.{name} numbers its rows with {}", column.kind),
        "when the numbers run out no row can be inserted, and widening a key then rewrites this \
         table and all that refer to it",
        if column.identity || serial { wide } else { format!("{name} bigint") },
    );
}

fn is_narrow(kind: &str) -> bool {
    matches!(kind, "int" | "integer" | "int4" | "smallint" | "int2" | "mediumint" | "tinyint")
}

fn money(case: &mut Case<'_>, table: &Name, column: &ColumnDef) {
    let kind = column.kind.split(['(', ' ']).next().unwrap_or_default();
    let float = matches!(kind, "float" | "float4" | "float8" | "double" | "real");
    let named = column.name.bare().split('_').any(|part| MONEY.contains(&part));
    let locale = kind == "money" && case.server.is(Engine::Postgres);
    if !(locale || float && named) {
        return;
    }
    let name = &column.name;
    let why = if locale {
        "its digits and its symbol follow the server's locale, and it knows no currency"
    } else {
        "binary fractions can't hold 0.10: sums are off by cents"
    };
    case.report(
        Code::LintInexactMoney,
        Some(table),
        format!("{table}.{name} holds money as {}", column.kind),
        why,
        format!("{name} numeric(19,4) -- or whole cents in a bigint"),
    );
}

/// A foreign key of a new table, unless the table's own keys index it.
fn unindexed(case: &mut Case<'_>, name: &Name, column: &Name, table: &CreateTable) {
    let mut keys = table.constraints.iter().filter(|c| is_key(c));
    let mut inline = table.columns.iter().filter(|c| c.primary_key || c.unique);
    let indexed =
        keys.any(|c| begins(&c.columns, column.bare())) || inline.any(|c| c.name.key == column.key);
    if !indexed {
        no_index(case, name, column);
    }
}

/// Pending: the index often follows in the same file. MySQL makes one itself.
fn no_index(case: &mut Case<'_>, table: &Name, column: &Name) {
    if case.server.is(Engine::MySql) {
        return;
    }
    let index = made(&[table.bare(), column.bare(), "idx"]);
    let concurrently = case.server.is(Engine::Postgres) && !case.is_new(table);
    let concurrently = if concurrently { "CONCURRENTLY " } else { "" };
    let finding = case.finding(
        Code::LintForeignKeyNoIndex,
        Some(table),
        format!("the foreign key {table}.{column} has no index"),
        "each row that is deleted in the table it refers to, or whose key changes, reads all of \
         this one",
        format!("CREATE INDEX {concurrently}IF NOT EXISTS {index} ON {table} ({column});"),
    );
    case.pending.push((Until::Index(table.key.clone(), column.bare().to_owned()), finding));
}

fn duplicate(
    case: &mut Case<'_>,
    table: &Name,
    name: Option<&Name>,
    columns: &[Name],
    unique: bool,
) {
    let Some(facts) = case.table(table) else { return };
    let wanted: Vec<&str> = columns.iter().map(Name::bare).collect();
    for index in &facts.indexes {
        let same_name = name.is_some_and(|name| index.name.eq_ignore_ascii_case(name.bare()));
        let dropped = case.file.dropped_indexes.contains(&index.name.to_lowercase());
        let comparable = index.valid && index.plain && !index.columns.is_empty();
        if same_name || dropped || !comparable || wanted.is_empty() {
            continue;
        }
        let has: Vec<String> = index.columns.iter().map(|c| c.to_lowercase()).collect();
        let (old, on) = (&index.name, list(columns));
        let (what, fix) = if has == wanted && (index.unique || !unique) {
            (format!("{table} ({on}) is indexed by {old} already"), "leave it out".to_owned())
        } else if !unique && has.len() > wanted.len() && begins_with(&has, &wanted) {
            let what = format!("{table} ({on}) is the beginning of {old}, which serves as well");
            (what, "leave it out".to_owned())
        } else if !index.unique && has.len() <= wanted.len() && begins_with(&has, &wanted) {
            let what = format!("{old} becomes superfluous: it is the beginning of ({on})");
            (what, format!("drop {old} in a later migration"))
        } else {
            continue;
        };
        let why = "every write keeps both up to date, and both take room";
        case.report(Code::LintDuplicateIndex, Some(table), what, why, fix);
    }
}

/// Whether the shorter of the two is the beginning of the longer.
fn begins_with(has: &[String], wanted: &[&str]) -> bool {
    has.iter().zip(wanted).all(|(a, b)| a == b)
}
