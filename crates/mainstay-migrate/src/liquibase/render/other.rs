//! Indexes, views, sequences and procedures.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::dialect::Dialect;
use super::impossible;
use crate::liquibase::kind::Kind;
use crate::liquibase::model::{Column, Defined};

pub(super) fn create_index(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let Some(name) = change.get("indexName") else {
        let error = change.at.error("createIndex has no indexName");
        return Err(error.fix("give the index a name, by which it can be dropped again"));
    };
    let schema = dialect.schema(change, "schemaName", "catalogName");
    let base = change.get("tableName").unwrap_or_default();
    // SQLite names the schema at the index, the others at the table.
    let (index, table) = match dialect.engine() {
        Engine::Sqlite => (dialect.qualified(schema, name), dialect.name(base)),
        Engine::Postgres | Engine::MySql => (dialect.name(name), dialect.qualified(schema, base)),
    };
    if dialect.target.mariadb && change.columns.iter().any(is_expression) {
        let error = impossible(change, dialect, "index a generated column instead");
        return Err(error.why("MariaDB's indexes have no expressions"));
    }
    let unique = if change.is("unique") { "UNIQUE " } else { "" };
    let columns: Vec<_> = change.columns.iter().map(|c| indexed(c, dialect)).collect();
    let mut sql = format!("CREATE {unique}INDEX {index} ON {table} ({})", columns.join(", "));
    let mut all = Vec::new();
    if dialect.engine() == Engine::Postgres {
        if let Some(space) = change.get("tablespace") {
            sql += &format!(" TABLESPACE {}", dialect.name(space));
        }
        if change.is("clustered") {
            all.push(format!("CLUSTER {table} USING {index}"));
        }
    }
    all.insert(0, sql);
    Ok(all)
}

/// A column of an index, or an expression, which MySQL wants in parentheses of its own.
fn indexed(column: &Column, dialect: Dialect) -> String {
    let name = column.name();
    let mysql = dialect.engine() == Engine::MySql;
    let sql = if is_expression(column) {
        if mysql && !name.starts_with('(') { format!("({name})") } else { name.to_owned() }
    } else if mysql && is_prefix(name) {
        name.to_owned()
    } else {
        dialect.name(name)
    };
    if column.is("descending") { format!("{sql} DESC") } else { sql }
}

/// Whether an index is over more than a column: it says so, or it has parentheses.
fn is_expression(column: &Column) -> bool {
    let name = column.name();
    !is_prefix(name) && (column.is("computed") || name.contains('('))
}

/// A column's name with a length, such as `title(20)`, as MySQL takes it.
fn is_prefix(name: &str) -> bool {
    let size = name.strip_suffix(')').and_then(|n| n.split_once('('));
    size.is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn drop_index(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let index = dialect.object(change, "indexName");
    if dialect.engine() != Engine::MySql {
        return Ok(vec![format!("DROP INDEX {index}")]);
    }
    if change.get("tableName").is_none() {
        let error = change.at.error("dropIndex has no tableName");
        return Err(error.why("MySQL's indexes belong to tables").fix("give it the tableName"));
    }
    let name = dialect.name(change.get("indexName").unwrap_or_default());
    Ok(vec![format!("DROP INDEX {name} ON {}", dialect.object(change, "tableName"))])
}

pub(super) fn create_view(change: &Defined, dialect: Dialect) -> Vec<String> {
    let view = dialect.object(change, "viewName");
    let query = change.get("selectQuery").unwrap_or_default().trim();
    let query = query.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    let replace = change.is("replaceIfExists");
    let mut all = Vec::new();
    if replace && dialect.engine() == Engine::Sqlite {
        all.push(format!("DROP VIEW IF EXISTS {view}"));
    }
    if change.is("fullDefinition") {
        all.push(query.to_owned());
    } else {
        let or = replace && dialect.engine() != Engine::Sqlite;
        let or = if or { "OR REPLACE " } else { "" };
        all.push(format!("CREATE {or}VIEW {view} AS {query}"));
    }
    if dialect.engine() == Engine::Postgres {
        let remarks = change.get("remarks").map(|r| dialect.text(r));
        all.extend(remarks.map(|text| format!("COMMENT ON VIEW {view} IS {text}")));
    }
    all
}

pub(super) fn drop_view(change: &Defined, dialect: Dialect) -> Vec<String> {
    let exists = if change.is("ifExists") { "IF EXISTS " } else { "" };
    vec![format!("DROP VIEW {exists}{}", dialect.object(change, "viewName"))]
}

pub(super) fn rename_view(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let old = dialect.object(change, "oldViewName");
    match dialect.engine() {
        Engine::Postgres => {
            let new = dialect.name(change.get("newViewName").unwrap_or_default());
            Ok(vec![format!("ALTER VIEW {old} RENAME TO {new}")])
        }
        Engine::MySql => {
            let new = dialect.object(change, "newViewName");
            Ok(vec![format!("RENAME TABLE {old} TO {new}")])
        }
        Engine::Sqlite => {
            Err(impossible(change, dialect, "drop the view and create it under its new name"))
        }
    }
}

/// Whether the engine has sequences; those that have none count up in columns.
fn has_sequences(dialect: Dialect) -> bool {
    dialect.engine() == Engine::Postgres
        || (dialect.engine() == Engine::MySql && dialect.target.mariadb)
}

const NO_SEQUENCES: &str = "let columns count up by themselves with autoIncrement, and give the change \
                            the dbms that have sequences";

/// Makes or alters a sequence.
pub(super) fn sequence(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    if !has_sequences(dialect) {
        return Err(impossible(change, dialect, NO_SEQUENCES));
    }
    let postgres = dialect.engine() == Engine::Postgres;
    let verb = match change.kind {
        Kind::CreateSequence if postgres => "CREATE SEQUENCE IF NOT EXISTS",
        Kind::CreateSequence => "CREATE SEQUENCE",
        _ => "ALTER SEQUENCE",
    };
    let mut sql = format!("{verb} {}", dialect.object(change, "sequenceName"));
    if let Some(kind) = change.get("dataType") {
        sql += &format!(" AS {kind}");
    }
    for (field, words) in [
        ("startValue", "START WITH"),
        ("incrementBy", "INCREMENT BY"),
        ("minValue", "MINVALUE"),
        ("maxValue", "MAXVALUE"),
        ("cacheSize", "CACHE"),
    ] {
        if let Some(number) = change.get(field) {
            sql += &format!(" {words} {number}");
        }
    }
    sql += match (change.get("cycle"), postgres) {
        (Some("true"), _) => " CYCLE",
        (Some(_), true) => " NO CYCLE",
        (Some(_), false) => " NOCYCLE",
        (None, _) => "",
    };
    Ok(vec![sql])
}

/// Drops or renames a sequence.
pub(super) fn drop_sequence(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    if !has_sequences(dialect) {
        return Err(impossible(change, dialect, NO_SEQUENCES));
    }
    let postgres = dialect.engine() == Engine::Postgres;
    if change.kind == Kind::RenameSequence {
        let old = dialect.object(change, "oldSequenceName");
        if postgres {
            let new = dialect.name(change.get("newSequenceName").unwrap_or_default());
            return Ok(vec![format!("ALTER SEQUENCE {old} RENAME TO {new}")]);
        }
        // MariaDB renames a sequence as it renames a table.
        let new = dialect.object(change, "newSequenceName");
        return Ok(vec![format!("RENAME TABLE {old} TO {new}")]);
    }
    let cascade = if postgres { " CASCADE" } else { "" };
    Ok(vec![format!("DROP SEQUENCE {}{cascade}", dialect.object(change, "sequenceName"))])
}

/// Makes or drops a procedure.
pub(super) fn procedure(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    if dialect.engine() == Engine::Sqlite {
        let fix = "SQLite has no procedures: give the change the dbms that have";
        return Err(impossible(change, dialect, fix));
    }
    if change.kind == Kind::DropProcedure {
        return Ok(vec![format!("DROP PROCEDURE {}", dialect.object(change, "procedureName"))]);
    }
    let mut all = Vec::new();
    if change.is("replaceIfExists") && dialect.engine() == Engine::MySql {
        let name = dialect.object(change, "procedureName");
        all.push(format!("DROP PROCEDURE IF EXISTS {name}"));
    }
    all.push(change.get("procedureText").unwrap_or_default().trim().to_owned());
    Ok(all)
}
