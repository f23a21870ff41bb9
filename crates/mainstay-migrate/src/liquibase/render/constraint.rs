//! What holds of columns that are there already: their types, defaults, keys and other constraints.
//!
//! SQLite can change little of that in place; what it can't is an error.

use mainstay_core::{Error, Result};
use mainstay_db::Engine;

use super::dialect::Dialect;
use super::table::deferred;
use super::types::{Class, SqlType, column_type};
use super::{REBUILD, impossible, value};
use crate::liquibase::model::Defined;

/// The table of a change, and its column, quoted.
fn place(change: &Defined, dialect: Dialect) -> (String, String) {
    let column = dialect.name(change.get("columnName").unwrap_or_default());
    (dialect.object(change, "tableName"), column)
}

/// The type that MySQL has to be told again.
fn told(change: &Defined, dialect: Dialect) -> Result<SqlType> {
    let written = change.get("columnDataType").ok_or_else(|| lacks_type(change))?;
    Ok(column_type(written, dialect.target))
}

fn lacks_type(change: &Defined) -> Error {
    let error = change.at.error(format_args!("{} has no columnDataType", change.kind.name()));
    error.why("MySQL states a column anew to change it").fix("give it the column's columnDataType")
}

pub(super) fn modify_type(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let (table, column) = place(change, dialect);
    let kind = column_type(change.get("newDataType").unwrap_or_default(), dialect.target).sql;
    match dialect.engine() {
        Engine::Postgres => Ok(vec![format!(
            "ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING ({column}::{kind})"
        )]),
        Engine::MySql => Ok(vec![format!("ALTER TABLE {table} MODIFY {column} {kind}")]),
        Engine::Sqlite => Err(impossible(change, dialect, REBUILD)),
    }
}

pub(super) fn column_remarks(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let (table, column) = place(change, dialect);
    let text = dialect.text(change.get("remarks").unwrap_or_default());
    match dialect.engine() {
        Engine::Postgres => Ok(vec![format!("COMMENT ON COLUMN {table}.{column} IS {text}")]),
        Engine::MySql => {
            let kind = told(change, dialect)?.sql;
            Ok(vec![format!("ALTER TABLE {table} MODIFY {column} {kind} COMMENT {text}")])
        }
        Engine::Sqlite => Err(impossible(change, dialect, "give the change the dbms that can")),
    }
}

pub(super) fn auto_increment(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let (table, column) = place(change, dialect);
    match dialect.engine() {
        Engine::Postgres => {
            let get = |field: &str| change.get(field).unwrap_or_default();
            let name = format!("{}_{}_seq", get("tableName"), get("columnName"));
            let schema = dialect.schema(change, "schemaName", "catalogName");
            let sequence = dialect.qualified(schema, &name);
            let start = change.get("startWith").map(|n| format!(" START WITH {n}"));
            let step = change.get("incrementBy").map(|n| format!(" INCREMENT BY {n}"));
            let options = start.unwrap_or_default() + &step.unwrap_or_default();
            let next = format!("nextval({})", dialect.text(&sequence));
            Ok(vec![
                format!("CREATE SEQUENCE IF NOT EXISTS {sequence}{options}"),
                format!("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL"),
                format!("ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {next}"),
                format!("ALTER SEQUENCE {sequence} OWNED BY {table}.{column}"),
            ])
        }
        Engine::MySql => {
            let kind = told(change, dialect)?.sql;
            let mut all =
                vec![format!("ALTER TABLE {table} MODIFY {column} {kind} AUTO_INCREMENT")];
            let start = change.get("startWith");
            all.extend(start.map(|n| format!("ALTER TABLE {table} AUTO_INCREMENT={n}")));
            Ok(all)
        }
        Engine::Sqlite => Err(impossible(change, dialect, REBUILD)),
    }
}

pub(super) fn add_not_null(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let (table, column) = place(change, dialect);
    let mut all = Vec::new();
    if let Some(value) = change.get("defaultNullValue") {
        let value = dialect.text(value);
        all.push(format!("UPDATE {table} SET {column} = {value} WHERE {column} IS NULL"));
    }
    all.push(match dialect.engine() {
        Engine::Postgres => format!("ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL"),
        Engine::MySql => {
            let kind = told(change, dialect)?.sql;
            format!("ALTER TABLE {table} MODIFY {column} {kind} NOT NULL")
        }
        Engine::Sqlite => return Err(impossible(change, dialect, REBUILD)),
    });
    Ok(all)
}

pub(super) fn drop_not_null(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let (table, column) = place(change, dialect);
    Ok(vec![match dialect.engine() {
        Engine::Postgres => format!("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL"),
        Engine::MySql => {
            let kind = told(change, dialect)?.sql;
            format!("ALTER TABLE {table} MODIFY {column} {kind} NULL")
        }
        Engine::Sqlite => return Err(impossible(change, dialect, REBUILD)),
    }])
}

pub(super) fn add_default(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let (table, column) = place(change, dialect);
    let class = match change.get("columnDataType") {
        Some(written) => column_type(written, dialect.target).class,
        None => Class::Other,
    };
    let Some(default) = value::default(&change.fields, class, dialect, &change.at)? else {
        let error = change.at.error("addDefaultValue has no value");
        return Err(error.fix("give it one of the attributes that begin with defaultValue"));
    };
    match dialect.engine() {
        Engine::Sqlite => Err(impossible(change, dialect, REBUILD)),
        Engine::Postgres | Engine::MySql => {
            Ok(vec![format!("ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT {default}")])
        }
    }
}

pub(super) fn drop_default(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let (table, column) = place(change, dialect);
    match dialect.engine() {
        Engine::Sqlite => Err(impossible(change, dialect, REBUILD)),
        Engine::Postgres | Engine::MySql => {
            Ok(vec![format!("ALTER TABLE {table} ALTER COLUMN {column} DROP DEFAULT")])
        }
    }
}

pub(super) fn add_primary_key(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let table = dialect.object(change, "tableName");
    let columns = dialect.names(change.get("columnNames").unwrap_or_default());
    let postgres = dialect.engine() == Engine::Postgres;
    if dialect.engine() == Engine::Sqlite {
        return Err(impossible(change, dialect, REBUILD));
    }
    let name = change.get("constraintName").filter(|_| postgres);
    let name = name.map(|n| format!("CONSTRAINT {} ", dialect.name(n))).unwrap_or_default();
    let space = change.get("tablespace").filter(|_| postgres);
    let space = space.map(|s| format!(" USING INDEX TABLESPACE {}", dialect.name(s)));
    let space = space.unwrap_or_default();
    Ok(vec![format!("ALTER TABLE {table} ADD {name}PRIMARY KEY ({columns}){space}")])
}

pub(super) fn drop_primary_key(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let table = dialect.object(change, "tableName");
    match (dialect.engine(), change.get("constraintName")) {
        (Engine::Sqlite, _) => Err(impossible(change, dialect, REBUILD)),
        (Engine::MySql, _) => Ok(vec![format!("ALTER TABLE {table} DROP PRIMARY KEY")]),
        (Engine::Postgres, Some(name)) => {
            Ok(vec![format!("ALTER TABLE {table} DROP CONSTRAINT {}", dialect.name(name))])
        }
        // Without a name it has to be looked up where it runs.
        (Engine::Postgres, None) => {
            let text = dialect.text(&table);
            Ok(vec![format!(
                "DO $mainstay$ DECLARE found text; BEGIN SELECT conname INTO STRICT found FROM \
                 pg_constraint WHERE conrelid = {text}::regclass AND contype = 'p'; EXECUTE \
                 format('ALTER TABLE %s DROP CONSTRAINT %I', {text}, found); END $mainstay$"
            )])
        }
    }
}

/// On SQLite a unique index serves instead: it is no constraint of the table.
pub(super) fn add_unique(change: &Defined, dialect: Dialect) -> Vec<String> {
    let table = dialect.object(change, "tableName");
    let written = change.get("columnNames").unwrap_or_default();
    let columns = dialect.names(written);
    if dialect.engine() == Engine::Sqlite {
        let made = || {
            let columns = written.replace([',', ' '], "_");
            format!("{}_{columns}_key", change.get("tableName").unwrap_or_default())
        };
        let name = change.get("constraintName").map_or_else(made, str::to_owned);
        let schema = dialect.schema(change, "schemaName", "catalogName");
        let index = dialect.qualified(schema, &name);
        let table = dialect.name(change.get("tableName").unwrap_or_default());
        return vec![format!("CREATE UNIQUE INDEX {index} ON {table} ({columns})")];
    }
    let name = change.get("constraintName");
    let name = name.map(|n| format!("CONSTRAINT {} ", dialect.name(n))).unwrap_or_default();
    let when = deferred(change.is("deferrable"), change.is("initiallyDeferred"), dialect);
    vec![format!("ALTER TABLE {table} ADD {name}UNIQUE ({columns}){when}")]
}

pub(super) fn drop_unique(change: &Defined, dialect: Dialect) -> Vec<String> {
    let table = dialect.object(change, "tableName");
    let name = dialect.name(change.get("constraintName").unwrap_or_default());
    vec![match dialect.engine() {
        Engine::Postgres => format!("ALTER TABLE {table} DROP CONSTRAINT {name}"),
        Engine::MySql => format!("ALTER TABLE {table} DROP KEY {name}"),
        Engine::Sqlite => format!("DROP INDEX {}", dialect.object(change, "constraintName")),
    }]
}

pub(super) fn add_foreign_key(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    if dialect.engine() == Engine::Sqlite {
        return Err(impossible(change, dialect, REBUILD));
    }
    let get = |field: &str| change.get(field).unwrap_or_default();
    let table = base_table(change, dialect);
    let schema = dialect.schema(change, "referencedTableSchemaName", "referencedTableCatalogName");
    let other = dialect.qualified(schema, get("referencedTableName"));
    let name = dialect.name(get("constraintName"));
    let columns = dialect.names(get("baseColumnNames"));
    let referenced = dialect.names(get("referencedColumnNames"));
    let mut sql = format!(
        "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({columns}) REFERENCES {other} \
         ({referenced})"
    );
    for (field, when) in [("onUpdate", "UPDATE"), ("onDelete", "DELETE")] {
        if let Some(action) = change.get(field) {
            sql += &format!(" ON {when} {}", self::action(action, change)?);
        }
    }
    sql += deferred(change.is("deferrable"), change.is("initiallyDeferred"), dialect);
    if dialect.engine() == Engine::Postgres && change.get("validate") == Some("false") {
        sql += " NOT VALID";
    }
    Ok(vec![sql])
}

fn action(word: &str, change: &Defined) -> Result<&'static str> {
    let known = ["CASCADE", "RESTRICT", "NO ACTION", "SET NULL", "SET DEFAULT"];
    let word = word.trim();
    known
        .into_iter()
        .find(|k| k.eq_ignore_ascii_case(word))
        .ok_or_else(|| change.at.unknown("the action of a foreign key", word, known))
}

fn base_table(change: &Defined, dialect: Dialect) -> String {
    let schema = dialect.schema(change, "baseTableSchemaName", "baseTableCatalogName");
    dialect.qualified(schema, change.get("baseTableName").unwrap_or_default())
}

pub(super) fn drop_foreign_key(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let table = base_table(change, dialect);
    let name = dialect.name(change.get("constraintName").unwrap_or_default());
    match dialect.engine() {
        Engine::Postgres => Ok(vec![format!("ALTER TABLE {table} DROP CONSTRAINT {name}")]),
        Engine::MySql => Ok(vec![format!("ALTER TABLE {table} DROP FOREIGN KEY {name}")]),
        Engine::Sqlite => Err(impossible(change, dialect, REBUILD)),
    }
}
