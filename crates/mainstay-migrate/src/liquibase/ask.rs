//! Whether a precondition holds: asked of the database.

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use super::filter::{self, Target};
use super::precondition::{Condition, Object};
use super::store::Rows;
use crate::database::Database;

/// Whether all of them hold. Errors: the server's, where one can't be told.
pub(crate) async fn all(
    database: &mut Database,
    target: Target,
    ran: &Rows,
    conditions: &[Condition],
) -> Result<bool> {
    for condition in conditions {
        if !Box::pin(holds(database, target, ran, condition)).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn holds(
    database: &mut Database,
    target: Target,
    ran: &Rows,
    condition: &Condition,
) -> Result<bool> {
    Ok(match condition {
        Condition::All(inner) => all(database, target, ran, inner).await?,
        Condition::Any(inner) => {
            for one in inner {
                if Box::pin(holds(database, target, ran, one)).await? {
                    return Ok(true);
                }
            }
            false
        }
        Condition::Not(inner) => {
            for one in inner {
                if Box::pin(holds(database, target, ran, one)).await? {
                    return Ok(false);
                }
            }
            true
        }
        Condition::Known(known) => *known,
        Condition::Dbms(list) => filter::dbms(Some(list), target.name()),
        Condition::RunningAs(user) => database.facts.user.eq_ignore_ascii_case(user),
        Condition::ChangeSetExecuted { id, author, file } => {
            ran.contains_key(&(file.clone(), id.clone(), author.clone()))
        }
        Condition::SqlCheck { expected, sql } => sql_check(database, expected, sql).await?,
        Condition::RowCount { table, rows } => {
            let sql = format!("SELECT CAST(COUNT(*) AS CHAR(20)) FROM {}", name(database, table));
            database.text(&sql).await?.is_some_and(|n| n.trim() == rows.to_string())
        }
        Condition::TableIsEmpty(table) => {
            let sql = format!("SELECT 1 FROM {} LIMIT 1", name(database, table));
            database.rows(&sql).await?.is_empty()
        }
        other => exists(database, other).await?,
    })
}

fn name(database: &Database, object: &Object) -> String {
    let facts = &database.facts;
    match &object.schema {
        Some(schema) => {
            format!("{}.{}", folded(facts.engine, schema), folded(facts.engine, &object.name))
        }
        None => folded(facts.engine, &object.name),
    }
}

/// A name as an unquoted one is found.
fn folded(engine: Engine, name: &str) -> String {
    match engine {
        Engine::Postgres => engine.quote(&name.to_lowercase()),
        Engine::MySql | Engine::Sqlite => engine.quote(name),
    }
}

async fn sql_check(database: &mut Database, expected: &str, sql: &str) -> Result<bool> {
    let rows = database.rows(sql).await?;
    let [row] = rows.as_slice() else {
        let what = format!("sqlCheck expects one row, and {} came", rows.len());
        return Err(Error::new(Code::MigrationPrecondition, what).why(sql.to_owned()));
    };
    // The answer may be of any type: it is compared as a text.
    let shown = row
        .at::<Option<String>>(0)
        .or_else(|_| row.at::<Option<i64>>(0).map(|n| n.map(|n| n.to_string())))
        .or_else(|_| row.at::<Option<i32>>(0).map(|n| n.map(|n| n.to_string())))
        .or_else(|_| row.at::<Option<bool>>(0).map(|b| b.map(|b| b.to_string())))
        .or_else(|_| row.at::<Option<f64>>(0).map(|n| n.map(|n| n.to_string())))?;
    Ok(shown.unwrap_or_else(|| "null".to_owned()).trim() == expected.trim())
}

/// Whether the catalogue has it.
async fn exists(database: &mut Database, condition: &Condition) -> Result<bool> {
    let sql = match database.facts.engine {
        Engine::Sqlite => sqlite(database, condition),
        Engine::Postgres | Engine::MySql => server(database, condition),
    };
    match sql {
        Some(sql) => Ok(!database.rows(&sql).await?.is_empty()),
        None => {
            let what =
                format!("{} has nothing of the kind that is asked for", database.facts.engine);
            Err(Error::new(Code::MigrationPrecondition, what))
        }
    }
}

/// `lower(column) = 'name'`.
fn is(database: &Database, column: &str, name: &str) -> String {
    format!("lower({column}) = {}", database.facts.literal(&name.to_lowercase()))
}

fn schema_is(database: &Database, column: &str, object: &Object) -> String {
    is(database, column, object.schema.as_deref().unwrap_or(&database.facts.schema))
}

fn server(database: &Database, condition: &Condition) -> Option<String> {
    let postgres = database.facts.engine == Engine::Postgres;
    let default = Object { schema: None, name: String::new() };
    let table = |of: &Object, kind: &str| {
        format!(
            "SELECT 1 FROM information_schema.tables WHERE {} AND {} AND table_type {kind}",
            schema_is(database, "table_schema", of),
            is(database, "table_name", &of.name)
        )
    };
    let constraint = |of: Option<&Object>, name: Option<&str>, kind: &str| {
        let mut sql = format!(
            "SELECT 1 FROM information_schema.table_constraints WHERE constraint_type = '{kind}' AND {}",
            schema_is(database, "table_schema", of.unwrap_or(&default))
        );
        if let Some(of) = of {
            sql += &format!(" AND {}", is(database, "table_name", &of.name));
        }
        if let Some(name) = name {
            sql += &format!(" AND {}", is(database, "constraint_name", name));
        }
        sql
    };
    Some(match condition {
        Condition::TableExists(of) => table(of, "<> 'VIEW'"),
        Condition::ViewExists(of) => table(of, "= 'VIEW'"),
        Condition::ColumnExists { table, column } => format!(
            "SELECT 1 FROM information_schema.columns WHERE {} AND {} AND {}",
            schema_is(database, "table_schema", table),
            is(database, "table_name", &table.name),
            is(database, "column_name", column)
        ),
        Condition::SequenceExists(of) if postgres => format!(
            "SELECT 1 FROM information_schema.sequences WHERE {} AND {}",
            schema_is(database, "sequence_schema", of),
            is(database, "sequence_name", &of.name)
        ),
        Condition::SequenceExists(of) => table(of, "= 'SEQUENCE'"),
        Condition::ForeignKeyExists { table, name } => {
            constraint(table.as_ref(), name.as_deref(), "FOREIGN KEY")
        }
        // MySQL calls every primary key PRIMARY.
        Condition::PrimaryKeyExists { table, name } => {
            let name = name.as_deref().filter(|_| postgres || table.is_none());
            constraint(table.as_ref(), name, "PRIMARY KEY")
        }
        Condition::UniqueConstraintExists { table, name, columns } if columns.is_empty() => {
            constraint(Some(table), name.as_deref(), "UNIQUE")
        }
        Condition::UniqueConstraintExists { table, name, columns } => {
            unique_of(database, table, name.as_deref(), columns)
        }
        Condition::IndexExists { table, index, columns } => {
            server_index(database, table.as_ref(), index.as_deref(), columns)
        }
        _ => return None,
    })
}

/// A unique constraint of just these columns, in their order.
fn unique_of(
    database: &Database,
    table: &Object,
    name: Option<&str>,
    columns: &[String],
) -> String {
    let listed = if database.facts.engine == Engine::Postgres {
        "string_agg(lower(k.column_name), ',' ORDER BY k.ordinal_position)"
    } else {
        "GROUP_CONCAT(LOWER(k.column_name) ORDER BY k.ordinal_position)"
    };
    let mut sql = format!(
        "SELECT c.constraint_name FROM information_schema.table_constraints c \
         JOIN information_schema.key_column_usage k ON k.constraint_schema = c.constraint_schema \
         AND k.constraint_name = c.constraint_name AND k.table_schema = c.table_schema \
         AND k.table_name = c.table_name WHERE c.constraint_type = 'UNIQUE' AND {} AND {}",
        schema_is(database, "c.table_schema", table),
        is(database, "c.table_name", &table.name)
    );
    if let Some(name) = name {
        sql += &format!(" AND {}", is(database, "c.constraint_name", name));
    }
    sql + &format!(" GROUP BY c.constraint_name HAVING {listed} = {}", wanted(database, columns))
}

/// The columns as one literal.
fn wanted(database: &Database, columns: &[String]) -> String {
    database.facts.literal(&columns.join(",").to_lowercase().replace(' ', ""))
}

fn server_index(
    database: &Database,
    table: Option<&Object>,
    index: Option<&str>,
    columns: &[String],
) -> String {
    let default = Object { schema: None, name: String::new() };
    let of = table.unwrap_or(&default);
    let (mut sql, names, group) = if database.facts.engine == Engine::Postgres {
        (
            format!(
                "SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid \
                 JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
                 LEFT JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, nth) \
                 ON k.nth <= i.{} LEFT JOIN pg_attribute a ON a.attrelid = t.oid \
                 AND a.attnum = k.attnum AND k.attnum > 0 WHERE {}",
                // What INCLUDE names is no key. An expression is compared by its text.
                if database.facts.at_least(11, 0, 0) { "indnkeyatts" } else { "indnatts" },
                schema_is(database, "n.nspname", of)
            ),
            ("t.relname", "x.relname"),
            "string_agg(coalesce(lower(a.attname), replace(lower(pg_get_indexdef(x.oid, \
             k.nth::int, false)), ' ', '')), ',' ORDER BY k.nth)",
        )
    } else {
        (
            format!(
                "SELECT index_name FROM information_schema.statistics WHERE {}",
                schema_is(database, "table_schema", of)
            ),
            ("table_name", "index_name"),
            "GROUP_CONCAT(LOWER(column_name) ORDER BY seq_in_index)",
        )
    };
    if table.is_some() {
        sql += &format!(" AND {}", is(database, names.0, &of.name));
    }
    if let Some(index) = index {
        sql += &format!(" AND {}", is(database, names.1, index));
    }
    sql += &format!(" GROUP BY {}, {}", names.0, names.1);
    if !columns.is_empty() {
        sql += &format!(" HAVING {group} = {}", wanted(database, columns));
    }
    sql
}

fn sqlite(database: &Database, condition: &Condition) -> Option<String> {
    let object = |kind: &str, name: &str| {
        format!(
            "SELECT 1 FROM sqlite_schema WHERE type = '{kind}' AND {}",
            is(database, "name", name)
        )
    };
    let literal = |name: &str| database.facts.literal(name);
    Some(match condition {
        Condition::TableExists(of) => object("table", &of.name),
        Condition::ViewExists(of) => object("view", &of.name),
        Condition::ColumnExists { table, column } => format!(
            "SELECT 1 FROM pragma_table_info({}) WHERE {}",
            literal(&table.name),
            is(database, "name", column)
        ),
        Condition::IndexExists { table, index, columns } => {
            let mut sql = "SELECT 1 FROM sqlite_schema m JOIN pragma_index_list(m.name) l \
                           WHERE m.type = 'table'"
                .to_owned();
            if let Some(table) = table {
                sql += &format!(" AND {}", is(database, "m.name", &table.name));
            }
            if let Some(index) = index {
                sql += &format!(" AND {}", is(database, "l.name", index));
            }
            if !columns.is_empty() {
                let wanted = wanted(database, columns);
                sql += &format!(
                    " AND (SELECT group_concat(lower(name)) FROM pragma_index_info(l.name)) = {wanted}"
                );
            }
            sql
        }
        // SQLite's foreign keys have no names that its catalogue tells.
        Condition::ForeignKeyExists { table: Some(table), name: None } => {
            format!("SELECT 1 FROM pragma_foreign_key_list({})", literal(&table.name))
        }
        Condition::PrimaryKeyExists { table: Some(table), .. } => {
            format!("SELECT 1 FROM pragma_table_info({}) WHERE pk > 0", literal(&table.name))
        }
        Condition::UniqueConstraintExists { table, columns, .. } => {
            let wanted = wanted(database, columns);
            format!(
                "SELECT 1 FROM pragma_index_list({}) l WHERE l.\"unique\" = 1 AND ({wanted} = '' OR \
                 (SELECT group_concat(lower(name)) FROM pragma_index_info(l.name)) = {wanted})",
                literal(&table.name)
            )
        }
        _ => return None,
    })
}
