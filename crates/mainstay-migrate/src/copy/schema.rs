//! The tables of a database with their columns, keys and references, as its catalogue tells them.

use std::collections::BTreeMap;

use mainstay_core::Result;
use mainstay_db::{Engine, Row, Session};

use super::kind::Kind;

/// How rows are put in an order that does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Keyset {
    /// SQLite's own number for each row, by a name that no column has.
    Rowid(&'static str),
    Columns(Vec<String>),
    /// There is nothing to order by.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// As it was declared.
    pub(super) declared: String,
    pub(super) kind: Kind,
    /// Whether an insert must give it.
    pub(super) required: bool,
    pub(super) generated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The columns of the primary key, or of another that has no NULLs.
    pub(super) key: Vec<String>,
    pub(super) order: Keyset,
    /// The tables that its foreign keys refer to.
    pub(super) references: Vec<String>,
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// All tables of the default schema, by name.
pub(super) async fn read(session: &mut Session, engine: Engine) -> Result<Vec<Table>> {
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    for row in session.rows(columns_sql(engine), Vec::new()).await? {
        let text = |n| row.at::<Option<String>>(n).map(Option::unwrap_or_default);
        let name = text(0)?;
        let table = tables.entry(name.clone()).or_insert_with(|| Table {
            name,
            columns: Vec::new(),
            key: Vec::new(),
            order: Keyset::None,
            references: Vec::new(),
        });
        let declared = text(2)?;
        let generated = text(5)? == "yes";
        table.columns.push(Column {
            name: text(1)?,
            kind: Kind::of(engine, &declared),
            declared,
            required: text(3)? == "yes" && text(4)? != "yes" && !generated,
            generated,
        });
        if engine == Engine::Sqlite && text(6)? != "yes" {
            table.order = Keyset::Rowid("_rowid_");
        }
    }
    for (table, _, column) in keys(session, engine).await? {
        if let Some(table) = tables.get_mut(&table) {
            table.key.push(column);
        }
    }
    for row in session.rows(references_sql(engine), Vec::new()).await? {
        if let Some(table) = tables.get_mut(&row.at::<String>(0)?) {
            table.references.push(row.at(1)?);
        }
    }
    let mut tables: Vec<_> = tables.into_values().collect();
    tables.iter_mut().for_each(put_in_order);
    Ok(tables)
}

fn put_in_order(table: &mut Table) {
    if let Keyset::Rowid(_) = table.order {
        let free = |name: &&str| !table.columns.iter().any(|c| c.name.eq_ignore_ascii_case(name));
        if let Some(name) = ["_rowid_", "rowid", "oid"].into_iter().find(free) {
            table.order = Keyset::Rowid(name);
            return;
        }
        table.order = Keyset::None;
    }
    if !table.key.is_empty() {
        table.order = Keyset::Columns(table.key.clone());
    }
}

/// Table, key and column; of several keys the best alone.
async fn keys(session: &mut Session, engine: Engine) -> Result<Vec<(String, String, String)>> {
    let rows = session.rows(keys_sql(engine), Vec::new()).await?;
    let all = rows.iter().map(key).collect::<Result<Vec<_>>>()?;
    let mut best: BTreeMap<String, String> = BTreeMap::new();
    for (table, key, _) in &all {
        best.entry(table.clone()).or_insert_with(|| key.clone());
    }
    Ok(all.into_iter().filter(|(table, key, _)| best.get(table) == Some(key)).collect())
}

fn key(row: &Row) -> Result<(String, String, String)> {
    Ok((row.at(0)?, row.at(1)?, row.at(2)?))
}

/// Table, column, type, then as `yes` or `no`: not null, has a default, is generated, and on SQLite
/// has no rowid.
fn columns_sql(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => {
            "SELECT c.relname::text, a.attname::text, \
             CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) \
             ELSE format_type(a.atttypid, a.atttypmod) END, \
             CASE WHEN a.attnotnull THEN 'yes' ELSE 'no' END, \
             CASE WHEN a.atthasdef OR a.attidentity <> '' THEN 'yes' ELSE 'no' END, \
             CASE WHEN a.attgenerated <> '' THEN 'yes' ELSE 'no' END \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             JOIN pg_type t ON t.oid = a.atttypid \
             WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
             AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
             AND d.objid = c.oid AND d.deptype = 'e') \
             ORDER BY c.relname, a.attnum"
        }
        Engine::MySql => {
            "SELECT CAST(c.table_name AS CHAR), CAST(c.column_name AS CHAR), \
             CAST(c.column_type AS CHAR), IF(c.is_nullable = 'NO', 'yes', 'no'), \
             IF(c.column_default IS NOT NULL OR c.extra LIKE '%auto_increment%', 'yes', 'no'), \
             IF(c.extra LIKE '%VIRTUAL%' OR c.extra LIKE '%STORED%' OR c.extra LIKE '%PERSISTENT%', \
             'yes', 'no') \
             FROM information_schema.columns c JOIN information_schema.tables t \
             ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
             WHERE c.table_schema = DATABASE() AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') \
             ORDER BY c.table_name, c.ordinal_position"
        }
        // A primary key of one INTEGER column is given by itself.
        Engine::Sqlite => {
            "SELECT l.name, c.name, c.type, CASE WHEN c.\"notnull\" THEN 'yes' ELSE 'no' END, \
             CASE WHEN c.dflt_value IS NOT NULL OR (c.pk = 1 AND lower(c.type) = 'integer' \
             AND NOT l.wr) THEN 'yes' ELSE 'no' END, \
             CASE WHEN c.hidden IN (2, 3) THEN 'yes' ELSE 'no' END, \
             CASE WHEN l.wr THEN 'yes' ELSE 'no' END \
             FROM pragma_table_list l JOIN pragma_table_xinfo(l.name) c \
             WHERE l.schema = 'main' AND l.type = 'table' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
             AND c.hidden <> 1 ORDER BY l.name, c.cid"
        }
    }
}

/// Table, key and column: the best key of a table first, its columns in order.
fn keys_sql(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => {
            "SELECT c.relname::text, i.indexrelid::text, a.attname::text \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             CROSS JOIN LATERAL unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(attnum, place) \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum \
             WHERE n.nspname = current_schema() AND i.indisunique AND i.indisvalid \
             AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts \
             AND NOT EXISTS (SELECT 1 FROM pg_attribute b WHERE b.attrelid = c.oid \
             AND b.attnum = ANY (i.indkey::smallint[]) AND NOT b.attnotnull) \
             ORDER BY c.relname, i.indisprimary DESC, i.indexrelid, k.place"
        }
        Engine::MySql => {
            "SELECT CAST(s.table_name AS CHAR), CAST(s.index_name AS CHAR), \
             CAST(s.column_name AS CHAR) FROM information_schema.statistics s \
             WHERE s.table_schema = DATABASE() AND s.non_unique = 0 AND NOT EXISTS \
             (SELECT 1 FROM information_schema.statistics o WHERE o.table_schema = s.table_schema \
             AND o.table_name = s.table_name AND o.index_name = s.index_name \
             AND (o.nullable = 'YES' OR o.column_name IS NULL OR o.sub_part IS NOT NULL)) \
             ORDER BY s.table_name, s.index_name <> 'PRIMARY', s.index_name, s.seq_in_index"
        }
        Engine::Sqlite => {
            "SELECT l.name, 'primary', c.name FROM pragma_table_list l \
             JOIN pragma_table_xinfo(l.name) c WHERE l.schema = 'main' AND l.type = 'table' \
             AND c.pk > 0 ORDER BY l.name, c.pk"
        }
    }
}

fn references_sql(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => {
            "SELECT DISTINCT c.relname::text, r.relname::text FROM pg_constraint f \
             JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class r ON r.oid = f.confrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE f.contype = 'f' AND n.nspname = current_schema() ORDER BY 1, 2"
        }
        Engine::MySql => {
            "SELECT DISTINCT CAST(table_name AS CHAR), CAST(referenced_table_name AS CHAR) \
             FROM information_schema.referential_constraints \
             WHERE constraint_schema = DATABASE() ORDER BY 1, 2"
        }
        Engine::Sqlite => {
            "SELECT DISTINCT l.name, f.\"table\" FROM pragma_table_list l \
             JOIN pragma_foreign_key_list(l.name) f WHERE l.schema = 'main' AND l.type = 'table' \
             ORDER BY 1, 2"
        }
    }
}
