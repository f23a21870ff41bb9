//! Tables and their columns: made, changed and dropped.
//!
//! A check constraint is left out, as Liquibase leaves it out; and where in a table a column is added
//! is told to MySQL alone, since the others add it at the end.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::dialect::Dialect;
use super::types::{SqlType, column_type};
use super::{REBUILD, impossible, value};
use crate::liquibase::model::{Column, Defined};

pub(super) fn create(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let table = dialect.object(change, "tableName");
    let key: Vec<_> = change.columns.iter().filter(|c| c.has("primaryKey")).collect();
    let counts = |c: &Column| counts_up(c, &kind(c, dialect));
    // SQLite counts up only in a column that is the whole key, and says so at the column.
    let inline = dialect.engine() == Engine::Sqlite && key.iter().any(|c| counts(c));
    let mut items = Vec::new();
    for column in &change.columns {
        if dialect.engine() == Engine::Sqlite && counts(column) && !(inline && key.len() == 1) {
            let error =
                impossible(change, dialect, "make the column the only one of the primary key");
            return Err(error.why(format!("'{}' is to count up by itself", column.name())));
        }
        items.push(column_sql(change, column, dialect, inline && column.has("primaryKey"))?);
    }
    if !key.is_empty() && !inline {
        items.push(primary_key(&key, dialect));
    }
    items.extend(change.columns.iter().filter_map(|c| foreign_key(c, dialect)));
    items.extend(uniques(&change.columns, dialect));

    let kind = change.get("tableType").map(|t| format!("{t} ")).unwrap_or_default();
    let exists = if change.is("ifNotExists") { "IF NOT EXISTS " } else { "" };
    let mut sql = format!("CREATE {kind}TABLE {exists}{table} ({})", items.join(", "));
    if dialect.engine() == Engine::Postgres
        && let Some(space) = change.get("tablespace")
    {
        sql += &format!(" TABLESPACE {}", dialect.name(space));
    }
    if dialect.engine() == Engine::MySql {
        if let Some(start) = change.columns.iter().find_map(|c| c.get("startWith")) {
            sql += &format!(" AUTO_INCREMENT={start}");
        }
        if let Some(remarks) = change.get("remarks") {
            sql += &format!(" COMMENT={}", dialect.text(remarks));
        }
    }
    let mut all = vec![sql];
    if dialect.engine() == Engine::Postgres {
        if let Some(remarks) = change.get("remarks") {
            all.push(format!("COMMENT ON TABLE {table} IS {}", dialect.text(remarks)));
        }
        all.extend(change.columns.iter().filter_map(|c| comment(&table, c, dialect)));
    }
    Ok(all)
}

fn kind(column: &Column, dialect: Dialect) -> SqlType {
    column_type(column.get("type").unwrap_or("varchar(255)"), dialect.target)
}

fn counts_up(column: &Column, kind: &SqlType) -> bool {
    column.is("autoIncrement") || kind.serial
}

/// A column as it stands in a table; `key`: as the whole primary key of SQLite.
pub(super) fn column_sql(
    change: &Defined,
    column: &Column,
    dialect: Dialect,
    key: bool,
) -> Result<String> {
    let kind = kind(column, dialect);
    let mut sql = dialect.name(column.name());
    if key {
        let name = column.constraint("primaryKeyName").map(|n| constraint(n, dialect));
        sql += &format!(" INTEGER {}PRIMARY KEY", name.unwrap_or_default());
        sql += if counts_up(column, &kind) { " AUTOINCREMENT NOT NULL" } else { " NOT NULL" };
        return Ok(sql);
    }
    sql += &format!(" {}", kind.sql);
    if let Some(default) = value::default(&column.fields, kind.class, dialect, &change.at)? {
        sql += &format!(" DEFAULT {default}");
    }
    if counts_up(column, &kind) {
        match dialect.engine() {
            Engine::Postgres => sql += &identity(column),
            Engine::MySql => sql += " AUTO_INCREMENT",
            Engine::Sqlite => {}
        }
    }
    let not_null = column.not_null();
    match (dialect.engine(), column.constraint("notNullConstraintName")) {
        (Engine::MySql, _) => sql += if not_null { " NOT NULL" } else { " NULL" },
        (_, Some(name)) if not_null => sql += &format!(" {}NOT NULL", constraint(name, dialect)),
        (_, _) => sql += if not_null { " NOT NULL" } else { "" },
    }
    if let (Engine::MySql, Some(remarks)) = (dialect.engine(), column.get("remarks")) {
        sql += &format!(" COMMENT {}", dialect.text(remarks));
    }
    Ok(sql)
}

/// How PostgreSQL counts up.
fn identity(column: &Column) -> String {
    let mut options = Vec::new();
    options.extend(column.get("startWith").map(|n| format!("START WITH {n}")));
    options.extend(column.get("incrementBy").map(|n| format!("INCREMENT BY {n}")));
    let options =
        if options.is_empty() { String::new() } else { format!(" ({})", options.join(" ")) };
    let when = match column.get("generationType") {
        Some(kind) if kind.trim().eq_ignore_ascii_case("always") => "ALWAYS",
        _ => "BY DEFAULT",
    };
    format!(" GENERATED {when} AS IDENTITY{options}")
}

/// `CONSTRAINT name`, and a blank.
fn constraint(name: &str, dialect: Dialect) -> String {
    format!("CONSTRAINT {} ", dialect.name(name))
}

fn primary_key(columns: &[&Column], dialect: Dialect) -> String {
    let name = columns.iter().find_map(|c| c.constraint("primaryKeyName"));
    let name = name.map(|n| constraint(n, dialect)).unwrap_or_default();
    let names: Vec<_> = columns.iter().map(|c| dialect.name(c.name())).collect();
    let space = columns.iter().find_map(|c| c.constraint("primaryKeyTablespace"));
    let space = space.filter(|_| dialect.engine() == Engine::Postgres);
    let space = space.map(|s| format!(" USING INDEX TABLESPACE {}", dialect.name(s)));
    format!("{name}PRIMARY KEY ({}){}", names.join(", "), space.unwrap_or_default())
}

/// What a column's constraints refer to: Liquibase takes `references` as it is written.
fn references(column: &Column, dialect: Dialect) -> Option<String> {
    if let Some(table) = column.constraint("referencedTableName") {
        let schema = match dialect.engine() {
            Engine::Postgres => column.constraint("referencedTableSchemaName"),
            Engine::MySql | Engine::Sqlite => column
                .constraint("referencedTableCatalogName")
                .or(column.constraint("referencedTableSchemaName")),
        };
        let columns = dialect.names(column.constraint("referencedColumnNames").unwrap_or_default());
        return Some(format!("{}({columns})", dialect.qualified(schema, table)));
    }
    column.constraint("references").map(str::to_owned)
}

fn foreign_key(column: &Column, dialect: Dialect) -> Option<String> {
    let to = references(column, dialect)?;
    let name = column.constraint("foreignKeyName").map(|n| constraint(n, dialect));
    let from = dialect.name(column.name());
    let when = reference_options(column, dialect);
    Some(format!("{}FOREIGN KEY ({from}) REFERENCES {to}{when}", name.unwrap_or_default()))
}

fn reference_options(column: &Column, dialect: Dialect) -> String {
    let mut sql = String::new();
    if column.has("deleteCascade") {
        sql += " ON DELETE CASCADE";
    }
    sql + deferred(column.has("deferrable"), column.has("initiallyDeferred"), dialect)
}

/// When a constraint is checked, which MySQL can't put off.
pub(super) fn deferred(deferrable: bool, initially: bool, dialect: Dialect) -> &'static str {
    match (deferrable, initially, dialect.engine()) {
        (_, _, Engine::MySql) | (false, false, _) => "",
        (_, true, _) => " DEFERRABLE INITIALLY DEFERRED",
        (true, false, _) => " DEFERRABLE",
    }
}

/// Unique constraints; columns that name the same one are of it together.
fn uniques(columns: &[Column], dialect: Dialect) -> Vec<String> {
    let mut all: Vec<(Option<&str>, Vec<String>)> = Vec::new();
    for column in columns.iter().filter(|c| c.has("unique")) {
        let name = column.constraint("uniqueConstraintName");
        let quoted = dialect.name(column.name());
        match all.iter_mut().find(|(n, _)| name.is_some() && *n == name) {
            Some((_, names)) => names.push(quoted),
            None => all.push((name, vec![quoted])),
        }
    }
    let sql = |(name, columns): (Option<&str>, Vec<String>)| {
        let name = name.map(|n| constraint(n, dialect)).unwrap_or_default();
        format!("{name}UNIQUE ({})", columns.join(", "))
    };
    all.into_iter().map(sql).collect()
}

fn comment(table: &str, column: &Column, dialect: Dialect) -> Option<String> {
    let (name, text) = (dialect.name(column.name()), dialect.text(column.get("remarks")?));
    Some(format!("COMMENT ON COLUMN {table}.{name} IS {text}"))
}

pub(super) fn drop(change: &Defined, dialect: Dialect) -> Vec<String> {
    let postgres = dialect.engine() == Engine::Postgres;
    let cascade = if postgres && change.is("cascadeConstraints") { " CASCADE" } else { "" };
    vec![format!("DROP TABLE {}{cascade}", dialect.object(change, "tableName"))]
}

pub(super) fn rename(change: &Defined, dialect: Dialect) -> Vec<String> {
    let new = change.get("newTableName").unwrap_or_default();
    let new = match dialect.engine() {
        // On MySQL a name without its database would move the table to the current one.
        Engine::MySql => dialect.object(change, "newTableName"),
        Engine::Postgres | Engine::Sqlite => dialect.name(new),
    };
    vec![format!("ALTER TABLE {} RENAME TO {new}", dialect.object(change, "oldTableName"))]
}

pub(super) fn remarks(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let table = dialect.object(change, "tableName");
    let text = dialect.text(change.get("remarks").unwrap_or_default());
    match dialect.engine() {
        Engine::Postgres => Ok(vec![format!("COMMENT ON TABLE {table} IS {text}")]),
        Engine::MySql => Ok(vec![format!("ALTER TABLE {table} COMMENT = {text}")]),
        Engine::Sqlite => Err(impossible(change, dialect, "give the change the dbms that can")),
    }
}

pub(super) fn add_columns(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for column in &change.columns {
        all.extend(add_column(change, column, dialect)?);
    }
    Ok(all)
}

fn add_column(change: &Defined, column: &Column, dialect: Dialect) -> Result<Vec<String>> {
    let table = dialect.object(change, "tableName");
    let sqlite = dialect.engine() == Engine::Sqlite;
    let counts = counts_up(column, &kind(column, dialect));
    if sqlite && (column.has("primaryKey") || counts) {
        return Err(impossible(change, dialect, REBUILD));
    }
    // Rows that are there get their value before nulls are refused.
    let late = value::is_given(column) && column.not_null();
    if sqlite && late {
        let fix = "give the column a defaultValue, which the rows that are there get too";
        return Err(impossible(change, dialect, fix));
    }
    let mut first = column.clone();
    if late {
        let constraints = first.constraints.get_or_insert_default();
        constraints.remove("primaryKey");
        constraints.insert("nullable", "true".to_owned());
    }
    let place = position(change, column, dialect)?;
    let mut sql = column_sql(change, &first, dialect, false)?;
    if sqlite && let Some(to) = references(column, dialect) {
        let name = column.constraint("foreignKeyName").map(|n| constraint(n, dialect));
        let when = reference_options(column, dialect);
        sql += &format!(" {}REFERENCES {to}{when}", name.unwrap_or_default());
    }
    let mut key = "";
    if dialect.engine() == Engine::MySql && counts && column.has("primaryKey") {
        // MySQL counts up in keys only, so that the key can't be added afterwards.
        key = " PRIMARY KEY";
    }
    let mut all = vec![format!("ALTER TABLE {table} ADD COLUMN {sql}{key}{place}")];
    if value::is_given(column) {
        let (name, given) =
            (dialect.name(column.name()), value::of_row(column, dialect, &change.at)?);
        all.push(format!("UPDATE {table} SET {name} = {given}"));
    }
    if late {
        all.push(refuse_nulls(change, column, dialect)?);
    }
    if key.is_empty() && column.has("primaryKey") {
        all.push(format!("ALTER TABLE {table} ADD {}", primary_key(&[column], dialect)));
    }
    all.extend(added_constraints(change, column, dialect));
    Ok(all)
}

fn refuse_nulls(change: &Defined, column: &Column, dialect: Dialect) -> Result<String> {
    let table = dialect.object(change, "tableName");
    Ok(match dialect.engine() {
        Engine::MySql => {
            format!("ALTER TABLE {table} MODIFY {}", column_sql(change, column, dialect, false)?)
        }
        Engine::Postgres | Engine::Sqlite => {
            format!("ALTER TABLE {table} ALTER COLUMN {} SET NOT NULL", dialect.name(column.name()))
        }
    })
}

fn added_constraints(change: &Defined, column: &Column, dialect: Dialect) -> Vec<String> {
    let table = dialect.object(change, "tableName");
    let mut all = Vec::new();
    let unique = uniques(std::slice::from_ref(column), dialect);
    if dialect.engine() == Engine::Sqlite {
        if !unique.is_empty() {
            let base = change.get("tableName").unwrap_or_default();
            let made = || format!("{base}_{}_key", column.name());
            let name = column.constraint("uniqueConstraintName").map_or_else(made, str::to_owned);
            let (name, column) = (dialect.name(&name), dialect.name(column.name()));
            all.push(format!("CREATE UNIQUE INDEX {name} ON {table} ({column})"));
        }
        return all;
    }
    all.extend(unique.iter().map(|sql| format!("ALTER TABLE {table} ADD {sql}")));
    all.extend(foreign_key(column, dialect).map(|sql| format!("ALTER TABLE {table} ADD {sql}")));
    if dialect.engine() == Engine::Postgres {
        all.extend(comment(&table, column, dialect));
    }
    all
}

/// Where MySQL adds a column.
fn position(change: &Defined, column: &Column, dialect: Dialect) -> Result<String> {
    if dialect.engine() != Engine::MySql {
        return Ok(String::new());
    }
    if column.get("beforeColumn").is_some() {
        let error = impossible(change, dialect, "say afterColumn, or position 1 for the first one");
        return Err(error.why("a column can't be added before another one"));
    }
    Ok(match (column.get("afterColumn"), column.get("position")) {
        (Some(after), _) => format!(" AFTER {}", dialect.name(after)),
        (None, Some("1")) => " FIRST".to_owned(),
        _ => String::new(),
    })
}

pub(super) fn drop_columns(change: &Defined, dialect: Dialect) -> Vec<String> {
    let table = dialect.object(change, "tableName");
    let named = change.columns.iter().map(Column::name);
    let names = change.get("columnName").into_iter().chain(named);
    names.map(|name| format!("ALTER TABLE {table} DROP COLUMN {}", dialect.name(name))).collect()
}

pub(super) fn rename_column(change: &Defined, dialect: Dialect) -> Vec<String> {
    let name = |field: &str| dialect.name(change.get(field).unwrap_or_default());
    let table = dialect.object(change, "tableName");
    let (old, new) = (name("oldColumnName"), name("newColumnName"));
    vec![format!("ALTER TABLE {table} RENAME COLUMN {old} TO {new}")]
}
