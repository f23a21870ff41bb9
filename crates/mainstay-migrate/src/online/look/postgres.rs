//! PostgreSQL's catalogue.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::refused;
use crate::database::Database;
use crate::online::expr::mentions;
use crate::online::ground::{Column, Ground, Index, Key, KeyClass, flag, text};

pub(super) async fn ground(database: &mut Database, table: &str) -> Result<Ground> {
    let (schema, name) =
        (database.facts.literal(&database.facts.schema), database.facts.literal(table));
    let sql = format!(
        "SELECT c.oid::text, c.relkind::text, greatest(c.reltuples, 0)::bigint::text \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema} AND c.relname = {name}"
    );
    let rows = database.rows(&sql).await?;
    let Some(row) = rows.first() else {
        return Err(refused(format!("there is no table {table} in {}", database.facts.schema)));
    };
    let (oid, kind) = (text(row, 0)?, text(row, 1)?);
    if kind != "r" {
        return Err(refused(format!("{table} is no ordinary table"))
            .why("partitioned tables, views and foreign tables are not changed in steps"));
    }
    let key = key(database, &oid).await?;
    let mut columns = columns(database, &oid).await?;
    for column in &mut columns {
        column.primary = key.contains(&column.name);
    }
    Ok(Ground {
        table: table.to_owned(),
        rows: text(row, 2)?.parse().unwrap_or(0),
        columns,
        key: key.into_iter().map(|name| Key { name, class: KeyClass::Text }).collect(),
        indexes: indexes(database, &oid).await?,
        triggers: triggers(database, &oid).await?,
        by_rowid: false,
    })
}

async fn columns(database: &mut Database, oid: &str) -> Result<Vec<Column>> {
    let generated =
        if database.facts.at_least(12, 0, 0) { "a.attgenerated <> ''" } else { "false" };
    let sql = format!(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
         CASE WHEN a.attnotnull THEN '0' ELSE '1' END, pg_get_expr(d.adbin, d.adrelid), \
         CASE WHEN {generated} THEN '1' END, CASE WHEN a.attidentity <> '' THEN '1' END, \
         CASE WHEN a.attcollation <> t.typcollation THEN \
           (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname) FROM pg_collation c \
            JOIN pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = a.attcollation) END \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
    );
    let mut columns = Vec::new();
    for row in database.rows(&sql).await? {
        let (mut kind, collation) = (text(&row, 1)?, text(&row, 6)?);
        if !collation.is_empty() {
            kind = format!("{kind} COLLATE {collation}");
        }
        columns.push(Column {
            name: text(&row, 0)?,
            kind,
            nullable: flag(&row, 2)?,
            default: row.at::<Option<String>>(3)?,
            generated: flag(&row, 4)?,
            numbered: flag(&row, 5)?,
            ..Column::default()
        });
    }
    Ok(columns)
}

async fn key(database: &mut Database, oid: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT a.attname::text FROM pg_index i \
         CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY k(attnum, at) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE i.indrelid = {oid} AND i.indisprimary AND k.at <= i.indnkeyatts ORDER BY k.at"
    );
    database.rows(&sql).await?.iter().map(|row| text(row, 0)).collect()
}

async fn indexes(database: &mut Database, oid: &str) -> Result<Vec<Index>> {
    let sql = format!(
        "SELECT c.relname::text, CASE WHEN i.indisunique THEN '1' END, \
         CASE WHEN i.indpred IS NULL AND i.indexprs IS NULL THEN '1' END, \
         (SELECT k.conname::text FROM pg_constraint k \
          WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype = 'u'), \
         pg_get_indexdef(i.indexrelid), \
         (SELECT string_agg(a.attname, chr(10) ORDER BY k.at) \
          FROM unnest(i.indkey) WITH ORDINALITY k(attnum, at) \
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum) \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE i.indrelid = {oid} AND NOT i.indisprimary AND i.indisvalid ORDER BY 1"
    );
    let mut indexes = Vec::new();
    for row in database.rows(&sql).await? {
        let whole = text(&row, 4)?;
        let definition = whole.find(" USING ").map_or("", |at| &whole[at + 1..]).to_owned();
        indexes.push(Index {
            name: text(&row, 0)?,
            unique: flag(&row, 1)?,
            plain: flag(&row, 2)?,
            constraint: row.at::<Option<String>>(3)?,
            columns: text(&row, 5)?.lines().map(str::to_owned).collect(),
            definition,
        });
    }
    Ok(indexes)
}

async fn triggers(database: &mut Database, oid: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT tgname::text FROM pg_trigger WHERE tgrelid = {oid} AND NOT tgisinternal ORDER BY 1"
    );
    database.rows(&sql).await?.iter().map(|row| text(row, 0)).collect()
}

/// What depends on the column, but for its own default, its NOT NULL, and the indexes and unique
/// constraints that are made again for the new one.
pub(super) async fn users(
    database: &mut Database,
    ground: &Ground,
    column: &Column,
) -> Result<Vec<String>> {
    let table = database.facts.literal(&database.facts.qualified(&ground.table));
    let name = database.facts.literal(&column.name);
    let sql = format!(
        "SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) \
         FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid \
         WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = {table}::regclass \
         AND a.attname = {name} \
         AND NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_attrdef x \
           WHERE x.oid = d.objid AND x.adrelid = d.refobjid AND x.adnum = a.attnum)) \
         AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (SELECT FROM pg_index i \
           WHERE i.indexrelid = d.objid AND i.indpred IS NULL AND i.indexprs IS NULL \
           AND NOT i.indisprimary)) \
         AND NOT (d.classid = 'pg_constraint'::regclass AND EXISTS (SELECT FROM pg_constraint c \
           WHERE c.oid = d.objid AND (c.contype = 'n' OR (c.contype = 'u' AND NOT c.condeferrable)))) \
         ORDER BY 1"
    );
    let rows = database.rows(&sql).await?;
    let mut found: Vec<_> = rows.iter().map(|row| text(row, 0)).collect::<Result<_>>()?;
    found.extend(trigger_functions(database, &table, &column.name).await?);
    Ok(found)
}

/// The functions of the table's own triggers that name the column. Nothing depends on it by them, and
/// yet they would fail without it.
async fn trigger_functions(
    database: &mut Database,
    table: &str,
    column: &str,
) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT p.proname::text, t.tgname::text, p.prosrc, encode(t.tgargs, 'escape') \
         FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
         WHERE t.tgrelid = {table}::regclass AND NOT t.tgisinternal ORDER BY 2"
    );
    let mut found = Vec::new();
    for row in database.rows(&sql).await? {
        let (body, arguments) = (text(&row, 2)?, text(&row, 3)?);
        let given = arguments.split("\\000").any(|argument| argument == column);
        if given || mentions(&body, Engine::Postgres, column) {
            found.push(format!("function {} of the trigger {}", text(&row, 0)?, text(&row, 1)?));
        }
    }
    Ok(found)
}
