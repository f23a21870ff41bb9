//! What PostgreSQL's catalogue says of the tables that a workload names: only of those, however many there are.
//!
//! Nothing of the data is read: how values are spread, the server's statistics tell.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Row, Session};

use super::facts::Name;
use super::table::{Column, Existing, Table, Writes};
use crate::guard::quote;

/// What relates to the name in parentheses; a partitioned table, a view and the like are no plain tables.
const TABLE: &str = "SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name, \
    c.relkind::text AS kind, c.reltuples::float8 AS rows, c.relpages::float8 AS pages, \
    pg_relation_size(c.oid)::float8 / current_setting('block_size')::float8 AS blocks, \
    c.relallvisible::float8 AS visible, \
    COALESCE(s.n_tup_ins, 0)::float8 AS inserted, COALESCE(s.n_tup_upd, 0)::float8 AS updated, \
    COALESCE(s.n_tup_hot_upd, 0)::float8 AS hot, \
    COALESCE(EXTRACT(EPOCH FROM now() - COALESCE(d.stats_reset, pg_postmaster_start_time())) / 86400, 0)::float8 AS days \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid \
    LEFT JOIN pg_stat_database d ON d.datname = current_database() \
    WHERE c.oid = to_regclass(";

const COLUMNS: &str = "SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS kind, \
    a.attnotnull AS not_null, s.avg_width::float8 AS width, s.n_distinct::float8 AS distinct, \
    s.null_frac::float8 AS nulls, to_json(s.most_common_vals::text::text[])::text AS common, \
    to_json(s.most_common_freqs)::text AS shares \
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname \
        AND NOT s.inherited \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid = ";

const INDEXES: &str = "SELECT c.relname::text AS name, i.indisunique AS uniq, i.indpred IS NOT NULL AS partial, \
    m.amname = 'btree' AS btree, pg_get_indexdef(i.indexrelid) AS definition, \
    to_json(ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnkeyatts::int) k))::text AS keys \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam \
    WHERE i.indisvalid AND i.indrelid = ";

/// Looks `names` up. What is no table of this database is left out: the planner will say so.
///
/// Errors: DOC-024 where the catalogue can't be read; DB-024 and the like.
pub(crate) async fn tables(session: &mut Session, names: &[Name]) -> Result<Vec<Table>> {
    let mut out: Vec<Table> = Vec::new();
    for name in names {
        let text = match &name.schema {
            Some(schema) => {
                format!("{}.{}", Engine::Postgres.quote(schema), Engine::Postgres.quote(&name.name))
            }
            None => Engine::Postgres.quote(&name.name),
        };
        let sql = format!("{TABLE}{})", quote(Engine::Postgres, &text));
        let Some(row) = unless_locked(ask(session, &sql).await)?.pop() else { continue };
        let (oid, schema, table): (i64, String, String) =
            (row.get("oid")?, row.get("schema")?, row.get("name")?);
        if let Some(known) = out.iter_mut().find(|t| t.schema == schema && t.name == table) {
            known.called.push(name.key());
            continue;
        }
        let mut found = of_row(&row)?;
        found.called = vec![name.key()];
        (found.schema, found.name) = (schema, table);
        for row in ask(session, &format!("{COLUMNS}{oid} ORDER BY a.attnum")).await? {
            found.columns.push(column(&row, found.rows)?);
        }
        for row in unless_locked(ask(session, &format!("{INDEXES}{oid}")).await)? {
            found.indexes.push(Existing {
                name: row.get("name")?,
                keys: serde_json::from_str(&row.get::<String>("keys")?).unwrap_or_default(),
                unique: row.get("uniq")?,
                partial: row.get("partial")?,
                btree: row.get("btree")?,
                definition: row.get("definition")?,
            });
        }
        out.push(found);
    }
    Ok(out)
}

/// Of a table that somebody has locked nothing is known: its statements can't be planned either, and are passed over.
fn unless_locked(rows: Result<Vec<Row>>) -> Result<Vec<Row>> {
    match rows {
        Err(error) if error.code() == Code::LockTimeout => Ok(Vec::new()),
        rows => rows,
    }
}

async fn ask(session: &mut Session, sql: &str) -> Result<Vec<Row>> {
    session.rows(sql, Vec::new()).await.map_err(|e| {
        if e.code() != Code::Denied {
            return e;
        }
        Error::new(Code::DoctorNoCatalogue, "PostgreSQL's catalogue can't be read").cause(e)
    })
}

fn of_row(row: &Row) -> Result<Table> {
    let (rows, pages): (f64, f64) = (row.get("rows")?, row.get("pages")?);
    // Never analyzed, the size of the file is all that is known: the planner guesses from it too.
    let blocks: f64 = row.get("blocks")?;
    let analyzed = rows >= 0.0 && pages > 0.0;
    let guessed = if analyzed { rows * (blocks / pages).max(1.0) } else { blocks * 40.0 };
    let visible: f64 = row.get("visible")?;
    Ok(Table {
        rows: guessed,
        pages: blocks,
        visible: if pages > 0.0 { visible / pages } else { 0.0 },
        analyzed,
        plain: matches!(row.get::<String>("kind")?.as_str(), "r" | "m"),
        writes: Writes {
            inserted: row.get("inserted")?,
            updated: row.get("updated")?,
            hot: row.get("hot")?,
            days: row.get("days")?,
        },
        ..Table::default()
    })
}

fn column(row: &Row, rows: f64) -> Result<Column> {
    let common: Option<String> = row.get("common")?;
    let shares: Option<String> = row.get("shares")?;
    let common: Vec<Option<String>> =
        common.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    let shares: Vec<f64> =
        shares.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    let pairs = common.into_iter().zip(shares).filter_map(|(value, share)| Some((value?, share)));
    let distinct: Option<f64> = row.get("distinct")?;
    Ok(Column {
        name: row.get("name")?,
        kind: row.get("kind")?,
        not_null: row.get("not_null")?,
        width: row.get::<Option<f64>>("width")?.unwrap_or(32.0),
        // Below zero it is a share of the rows.
        distinct: distinct.map(|n| if n < 0.0 { -n * rows } else { n }),
        nulls: row.get::<Option<f64>>("nulls")?.unwrap_or(0.0),
        common: pairs.collect(),
    })
}
