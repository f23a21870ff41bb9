//! Loads what the rules want to know of a database's tables, from its own catalogue.
//!
//! Rows are the server's estimate where it has one, so that nothing large is read.

use mainstay_core::Result;
use mainstay_db::{Engine, Row};

use super::{Catalogue, Column, Index, Table};
use crate::database::{Database, literal};

/// More rows than these are not counted one by one (SQLite, and tables that were never analysed).
const COUNT_MAX: u32 = 1_000_000;

/// The tables called `names`, as far as they exist.
pub(crate) async fn load(database: &mut Database, names: &[String]) -> Result<Catalogue> {
    let mut catalogue = Catalogue::default();
    for name in names {
        let table = match database.facts.engine {
            Engine::Postgres => postgres(database, name).await?,
            Engine::MySql => mysql(database, name).await?,
            Engine::Sqlite => sqlite(database, name).await?,
        };
        if let Some(table) = table {
            catalogue.insert(name, table);
        }
    }
    Ok(catalogue)
}

fn whole(row: &Row, n: usize) -> Result<u64> {
    Ok(row.at::<Option<i64>>(n)?.unwrap_or(0).max(0).cast_unsigned())
}

fn words(text: &str) -> Vec<String> {
    text.split('\u{1f}').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

async fn counted(database: &mut Database, table: &str) -> Result<u64> {
    let sql = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {table} LIMIT {COUNT_MAX}) t");
    let rows = database.rows(&sql).await?;
    rows.first().map_or(Ok(0), |row| whole(row, 0))
}

async fn postgres(database: &mut Database, name: &str) -> Result<Option<Table>> {
    let quoted: Vec<_> = name.split('.').map(|part| Engine::Postgres.quote(part)).collect();
    let quoted = quoted.join(".");
    let oid = format!("to_regclass({})", literal(Engine::Postgres, &quoted));
    let sql = format!(
        "SELECT c.reltuples::bigint, \
         (SELECT count(*) FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid \
         AND f.conrelid <> c.oid)::bigint FROM pg_class c WHERE c.oid = {oid}"
    );
    let rows = database.rows(&sql).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let referenced_by = whole(row, 1)? as u32;
    let mut table = Table { rows: whole(row, 0)?, referenced_by, ..Table::default() };
    // -1: it was never analysed.
    if row.at::<i64>(0)? < 0 {
        table.rows = counted(database, &quoted).await?;
    }
    // Only the very column proves anything: COALESCE(c, 0) IS NOT NULL holds of a NULL.
    let sql = format!(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, \
         EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'c' \
         AND k.convalidated AND k.conkey = ARRAY[a.attnum] \
         AND pg_get_constraintdef(k.oid) = format('CHECK ((%I IS NOT NULL))', a.attname)) \
         FROM pg_attribute a WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped \
         ORDER BY a.attnum"
    );
    for row in database.rows(&sql).await? {
        table.columns.push(Column {
            name: row.at(0)?,
            kind: row.at(1)?,
            nullable: row.at(2)?,
            collation: None,
            checked_not_null: row.at(3)?,
        });
    }
    table.indexes = indexes(database, &postgres_indexes(&oid)).await?;
    Ok(Some(table))
}

/// The indexes that `sql` tells: name, whether unique, valid and plain, and the columns.
async fn indexes(database: &mut Database, sql: &str) -> Result<Vec<Index>> {
    let index = |row: &Row| {
        Ok(Index {
            name: row.at(0)?,
            unique: row.at(1)?,
            valid: row.at(2)?,
            plain: row.at(3)?,
            columns: words(&row.at::<Option<String>>(4)?.unwrap_or_default()),
        })
    };
    database.rows(sql).await?.iter().map(index).collect()
}

fn postgres_indexes(oid: &str) -> String {
    format!(
        "SELECT c.relname::text, i.indisunique, i.indisvalid, i.indnatts = i.indnkeyatts \
         AND coalesce(to_json(i) ->> 'indnullsnotdistinct', 'false') = 'false' \
         AND NOT EXISTS (SELECT 1 FROM unnest(i.indkey::int2[], i.indoption::int2[], \
         i.indclass::oid[], i.indcollation::oid[]) k(num, opt, cls, coll) \
         JOIN pg_opclass o ON o.oid = k.cls LEFT JOIN pg_attribute a \
         ON a.attrelid = i.indrelid AND a.attnum = k.num WHERE k.opt <> 0 \
         OR NOT o.opcdefault OR (k.coll <> 0 AND k.coll <> a.attcollation)), \
         CASE WHEN i.indpred IS NULL AND i.indexprs IS NULL AND m.amname = 'btree' THEN \
         (SELECT string_agg(a.attname, chr(31) ORDER BY k.n) FROM unnest(i.indkey::int2[]) \
         WITH ORDINALITY k(attnum, n) JOIN pg_attribute a ON a.attrelid = i.indrelid \
         AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts) END \
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam \
         WHERE i.indrelid = {oid} ORDER BY 1"
    )
}

/// The tables of these indexes, by the names by which [`load`] finds them.
pub(crate) async fn tables_with(
    database: &mut Database,
    indexes: &[String],
) -> Result<Vec<String>> {
    let mut tables = Vec::new();
    for name in indexes {
        let sql = match database.facts.engine {
            Engine::Postgres => {
                let quoted: Vec<_> =
                    name.split('.').map(|part| Engine::Postgres.quote(part)).collect();
                format!(
                    "SELECT CASE WHEN pg_table_is_visible(t.oid) THEN t.relname::text \
                     ELSE n.nspname || '.' || t.relname END FROM pg_index i \
                     JOIN pg_class t ON t.oid = i.indrelid \
                     JOIN pg_namespace n ON n.oid = t.relnamespace \
                     WHERE i.indexrelid = to_regclass({})",
                    literal(Engine::Postgres, &quoted.join("."))
                )
            }
            Engine::Sqlite => {
                let bare = name.rsplit('.').next().unwrap_or(name);
                let bare = literal(Engine::Sqlite, bare);
                format!(
                    "SELECT tbl_name FROM sqlite_schema WHERE type = 'index' \
                     AND lower(name) = lower({bare})"
                )
            }
            // An index is always named with its table.
            Engine::MySql => continue,
        };
        tables.extend(database.text(&sql).await?);
    }
    Ok(tables)
}

async fn mysql(database: &mut Database, name: &str) -> Result<Option<Table>> {
    let (schema, bare) = name.split_once('.').unwrap_or((&database.facts.schema, name));
    let (schema, bare) = (literal(Engine::MySql, schema), literal(Engine::MySql, bare));
    let sql = format!(
        "SELECT CAST(COALESCE(table_rows, 0) AS SIGNED), \
         (SELECT COUNT(DISTINCT constraint_name) FROM information_schema.key_column_usage k \
         WHERE k.referenced_table_schema = {schema} AND k.referenced_table_name = {bare} \
         AND k.table_name <> {bare}), CAST(table_collation AS CHAR) \
         FROM information_schema.tables WHERE table_schema = {schema} AND table_name = {bare}"
    );
    let rows = database.rows(&sql).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let mut table = Table {
        rows: whole(row, 0)?,
        referenced_by: whole(row, 1)? as u32,
        collation: row.at(2)?,
        ..Table::default()
    };
    let sql = format!(
        "SELECT column_name, CAST(column_type AS CHAR), is_nullable = 'YES', \
         CAST(collation_name AS CHAR) FROM information_schema.columns \
         WHERE table_schema = {schema} AND table_name = {bare} ORDER BY ordinal_position"
    );
    for row in database.rows(&sql).await? {
        table.columns.push(Column {
            name: row.at(0)?,
            kind: row.at(1)?,
            nullable: row.at(2)?,
            collation: row.at(3)?,
            checked_not_null: false,
        });
    }
    let hidden = match (database.facts.mariadb, database.facts.version) {
        (true, version) if version >= (10, 6, 0) => "ignored = 'YES'",
        (false, version) if version >= (8, 0, 0) => "is_visible = 'NO'",
        _ => "FALSE",
    };
    let sql = format!(
        "SELECT index_name, non_unique = 0, TRUE, \
         SUM(COALESCE(collation, 'A') = 'D' OR {hidden}) = 0, \
         IF(SUM(sub_part IS NOT NULL OR index_type <> 'BTREE' OR column_name IS NULL) = 0, \
         GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR '\u{1f}'), '') \
         FROM information_schema.statistics WHERE table_schema = {schema} \
         AND table_name = {bare} GROUP BY index_name, non_unique ORDER BY 1"
    );
    table.indexes = indexes(database, &sql).await?;
    Ok(Some(table))
}

async fn sqlite(database: &mut Database, name: &str) -> Result<Option<Table>> {
    let bare = name.rsplit('.').next().unwrap_or(name);
    let (quoted, bare) = (Engine::Sqlite.quote(bare), literal(Engine::Sqlite, bare));
    let sql =
        format!("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower({bare})");
    if database.rows(&sql).await?.is_empty() {
        return Ok(None);
    }
    let mut table = Table { rows: counted(database, &quoted).await?, ..Table::default() };
    let sql = format!("SELECT name, type, \"notnull\" = 0 FROM pragma_table_info({bare})");
    for row in database.rows(&sql).await? {
        table.columns.push(Column {
            name: row.at(0)?,
            kind: row.at(1)?,
            nullable: row.at(2)?,
            ..Column::default()
        });
    }
    // What a column's own collation is, nobody tells: another than BINARY counts as another.
    let sql = format!(
        "SELECT l.name, l.\"unique\" = 1, 1 = 1, \
         NOT EXISTS (SELECT 1 FROM pragma_index_xinfo(l.name) x \
         WHERE x.key = 1 AND (x.\"desc\" = 1 OR upper(x.coll) <> 'BINARY')), \
         CASE WHEN l.partial = 0 \
         AND NOT EXISTS (SELECT 1 FROM pragma_index_info(l.name) WHERE cid < 0) THEN \
         (SELECT group_concat(i.name, char(31)) FROM pragma_index_info(l.name) i) END \
         FROM pragma_index_list({bare}) l ORDER BY 1"
    );
    table.indexes = indexes(database, &sql).await?;
    let sql = format!(
        "SELECT COUNT(DISTINCT m.name) FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f \
         WHERE m.type = 'table' AND lower(f.\"table\") = lower({bare}) \
         AND lower(m.name) <> lower({bare})"
    );
    if let Some(row) = database.rows(&sql).await?.first() {
        table.referenced_by = whole(row, 0)? as u32;
    }
    Ok(Some(table))
}
