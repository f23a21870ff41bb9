//! MySQL and MariaDB: a copy of the tables on a private MariaDB, on which indexes are built and statements run. Neither
//! has hypothetical indexes, so the rows that the storage engine hands out are counted, and the pages that it touches.
//!
//! Only MariaDB is installed to copy to: of what MySQL would plan otherwise nothing is known.

use std::time::Instant;

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Session};
use mainstay_local::{MariaDb, Options as Local, Server};
use mainstay_pool::Options as Pool;
use serde_json::Value;
use tempfile::TempDir;

use super::facts::{Facts, Name};
use super::ground::{Asked, Seen, lost, sample};
use super::index::Index;
use super::options::{Options, Scratch};
use super::scratch::{blocking, folder};
use super::table::{Column, Existing, Table};
use crate::guard::{inline, literal, quote};
use crate::plan::mariadb_plan;

/// Rows that any statement may read.
pub(crate) const ROWS_MIN: f64 = 1000.0;
/// Rows that are copied at once.
const BATCH: usize = 2000;
/// The database of the copy.
const COPY: &str = "mainstay_scratch";

/// What the catalogue says of the tables named.
pub(crate) async fn tables(session: &mut Session, names: &[Name]) -> Result<Vec<Table>> {
    let engine = Engine::MySql;
    let mut out: Vec<Table> = Vec::new();
    for name in names {
        let schema = name.schema.as_deref().map_or("DATABASE()".to_owned(), |s| quote(engine, s));
        let filter =
            format!("TABLE_SCHEMA = {schema} AND TABLE_NAME = {}", quote(engine, &name.name));
        let sql = format!(
            "SELECT CAST(TABLE_SCHEMA AS CHAR), CAST(TABLE_NAME AS CHAR), CAST(TABLE_TYPE AS CHAR), \
             CAST(COALESCE(TABLE_ROWS, 0) AS SIGNED), CAST(COALESCE(DATA_LENGTH, 0) AS SIGNED) \
             FROM information_schema.TABLES WHERE {filter}"
        );
        let Some(row) = session.rows(&sql, Vec::new()).await?.pop() else { continue };
        let mut table = Table {
            called: vec![name.key()],
            schema: row.at(0)?,
            name: row.at(1)?,
            plain: row.at::<String>(2)? == "BASE TABLE",
            rows: row.at::<i64>(3)? as f64,
            pages: row.at::<i64>(4)? as f64 / 16384.0,
            visible: 1.0,
            analyzed: true,
            ..Table::default()
        };
        let sql = format!(
            "SELECT CAST(COLUMN_NAME AS CHAR), CAST(DATA_TYPE AS CHAR), IS_NULLABLE = 'NO' \
             FROM information_schema.COLUMNS WHERE {filter} ORDER BY ORDINAL_POSITION"
        );
        for row in session.rows(&sql, Vec::new()).await? {
            let not_null = row.at::<i64>(2)? != 0;
            let (name, kind) = (row.at(0)?, row.at(1)?);
            table.columns.push(Column { name, kind, not_null, width: 16.0, ..Column::default() });
        }
        let sql = format!(
            "SELECT CAST(INDEX_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR), NON_UNIQUE = 0, INDEX_TYPE = 'BTREE', \
             CAST(COALESCE(CARDINALITY, 0) AS SIGNED) FROM information_schema.STATISTICS WHERE {filter} \
             ORDER BY INDEX_NAME, SEQ_IN_INDEX"
        );
        for row in session.rows(&sql, Vec::new()).await? {
            let (index, column): (String, Option<String>) = (row.at(0)?, row.at(1)?);
            let column = column.unwrap_or_default();
            match table.indexes.last_mut().filter(|last| last.name == index) {
                Some(last) => last.keys.push(column),
                None => table.indexes.push(Existing {
                    name: index,
                    keys: vec![column],
                    unique: row.at::<i64>(2)? != 0,
                    btree: row.at::<i64>(3)? != 0,
                    ..Existing::default()
                }),
            }
        }
        out.push(table);
    }
    Ok(out)
}

/// A copy on a server of its own.
pub(crate) struct MariaGround {
    session: Session,
    made: Vec<(Index, String)>,
    next: usize,
    _db: Db,
    _server: Option<Server>,
    _folder: Option<TempDir>,
}

/// Copies `tables` until `until`: their first rows, as many as the bound allows.
///
/// Errors: DOC-023, LOCAL-001 to LOCAL-003, and those of both databases.
pub(crate) async fn copy(
    source: &mut Session,
    tables: &[&Table],
    options: &Options,
    until: Instant,
) -> Result<MariaGround> {
    let (url, server, folder) = match &options.scratch {
        Scratch::Off => {
            return Err(Error::new(Code::DoctorUnverified, "no scratch copy is allowed"));
        }
        Scratch::Url(_) => {
            let what = "of MySQL and MariaDB a copy is made on a private server only";
            return Err(Error::new(Code::DoctorUnverified, what));
        }
        Scratch::Private => {
            let folder = folder()?;
            let local = Local {
                durable: false,
                temporary: true,
                settings: vec!["innodb-buffer-pool-size=128M".to_owned()],
                ..Local::new(folder.path().join("mariadb"))
            };
            let server = blocking(move || MariaDb::start(&local)).await?;
            let url = format!(
                "mysql://{}@localhost/mysql?socket={}",
                server.user(),
                server.socket().display()
            );
            (url, Some(server), Some(folder))
        }
    };
    let pool = Pool { max_size: 2, leak_after: None, ..Pool::default() };
    let db = Db::builder(&url).name("scratch").pool(pool).connect().await?;
    let mut session = db.session().await?;
    session.keep_for("the doctor's copy");
    session
        .run(&format!(
            "CREATE DATABASE {COPY}; USE {COPY}; SET foreign_key_checks = 0; SET max_statement_time = {}",
            options.statement_timeout.as_secs_f64()
        ))
        .await?;
    let bytes: f64 = tables.iter().map(|t| t.pages * 16384.0).sum();
    let share = (options.copy_bytes as f64 / bytes.max(1.0)).min(1.0);
    for table in tables {
        fill(source, &mut session, table, share, options, until).await?;
    }
    Ok(MariaGround {
        session,
        made: Vec::new(),
        next: 0,
        _db: db,
        _server: server,
        _folder: folder,
    })
}

async fn fill(
    source: &mut Session,
    target: &mut Session,
    table: &Table,
    share: f64,
    options: &Options,
    until: Instant,
) -> Result<()> {
    let engine = Engine::MySql;
    let (schema, name) = (engine.quote(&table.schema), engine.quote(&table.name));
    let create = source.rows(&format!("SHOW CREATE TABLE {schema}.{name}"), Vec::new()).await?;
    let create: String = create.first().map(|row| row.at(1)).transpose()?.unwrap_or_default();
    target.run(&create).await?;
    let columns: Vec<String> = table.columns.iter().map(field).collect();
    let limit = (table.rows * 1.2 * share).max(1.0) as usize + BATCH;
    let key = table.indexes.iter().find(|index| index.name == "PRIMARY");
    let mut done = 0;
    let mut after: Option<String> = None;
    while done < limit && options.clock.now() < until {
        // By the primary key's first column where that is a number of its own, or all at once.
        let single = key.filter(|key| key.keys.len() == 1).map(|key| engine.quote(&key.keys[0]));
        let (filter, order) = match (&single, &after) {
            (Some(key), Some(last)) => {
                (format!(" WHERE {key} > {last}"), format!(" ORDER BY {key}"))
            }
            (Some(key), None) => (String::new(), format!(" ORDER BY {key}")),
            (None, _) => (String::new(), String::new()),
        };
        let count = if single.is_some() { BATCH } else { limit };
        let last = single.as_ref().map_or("NULL".to_owned(), |key| format!("QUOTE({key})"));
        let sql = format!(
            "SELECT CONCAT_WS(',', {}), CAST({last} AS CHAR) FROM {schema}.{name}{filter}{order} LIMIT {count}",
            columns.join(", ")
        );
        let rows = source.rows(&sql, Vec::new()).await?;
        let mut lines = Vec::with_capacity(rows.len());
        for row in &rows {
            lines.push(format!("({})", row.at::<String>(0)?));
        }
        for part in lines.chunks(BATCH) {
            target.run(&format!("INSERT INTO {name} VALUES {}", part.join(","))).await?;
        }
        done += rows.len();
        after = rows.last().map(|row| row.at::<Option<String>>(1)).transpose()?.flatten();
        if rows.len() < count || after.is_none() {
            break;
        }
    }
    target.rows(&format!("ANALYZE TABLE {name}"), Vec::new()).await.map(drop)
}

/// A column's value as a literal.
fn field(column: &Column) -> String {
    let name = Engine::MySql.quote(&column.name);
    if column.kind.contains("blob") || column.kind.contains("binary") || column.kind == "bit" {
        return format!("IF({name} IS NULL, 'NULL', CONCAT('X''', HEX({name}), ''''))");
    }
    format!("QUOTE({name})")
}

impl MariaGround {
    pub(crate) async fn set(&mut self, indexes: &[Index], tables: &[Table]) -> Result<Vec<usize>> {
        let mut kept = Vec::new();
        for (index, name) in std::mem::take(&mut self.made) {
            if indexes.iter().any(|wanted| wanted.same(&index)) {
                kept.push((index, name));
            } else {
                let table = Engine::MySql.quote(&tables[index.table].name);
                self.session.run(&format!("DROP INDEX {name} ON {table}")).await?;
            }
        }
        let mut refused = Vec::new();
        for (at, index) in indexes.iter().enumerate() {
            if let Some(old) = kept.iter().position(|(known, _)| known.same(index)) {
                self.made.push(kept.swap_remove(old));
                continue;
            }
            self.next += 1;
            let name = format!("mainstay_try_{}", self.next);
            let target = index.target(&tables[index.table], Engine::MySql);
            match self.session.run(&format!("CREATE INDEX {name} ON {target}")).await {
                Ok(_) => self.made.push((index.clone(), name)),
                Err(error) if lost(&error) => return Err(error),
                Err(_) => refused.push(at),
            }
        }
        Ok(refused)
    }

    pub(crate) async fn cost(&mut self, asked: &Asked) -> Result<Seen> {
        let sql = with_values(asked);
        let rows = self.session.rows(&format!("EXPLAIN FORMAT=JSON {sql}"), Vec::new()).await?;
        let text: String = rows.first().map(|row| row.at(0)).transpose()?.unwrap_or_default();
        let plan = mariadb_plan(&text)?;
        let named = |name: &str| self.made.iter().position(|(_, made)| made == name);
        let mut used: Vec<usize> = plan.indexes().filter_map(named).collect();
        used.sort_unstable();
        used.dedup();
        let sorts = plan.root.all().iter().filter(|n| n.label == "Filesort").count();
        self.session.run("FLUSH STATUS").await?;
        self.execute(&sql).await?;
        let read = "SELECT CAST(SUM(VARIABLE_VALUE) AS DOUBLE) FROM information_schema.SESSION_STATUS \
                    WHERE VARIABLE_NAME LIKE 'Handler\\_read%'";
        let cost: f64 = self.session.rows(read, Vec::new()).await?[0].at(0)?;
        Ok(Seen { cost, used, sorts })
    }

    /// Of a server that does nothing else.
    pub(crate) async fn buffers(&mut self, asked: &Asked) -> Result<Option<f64>> {
        if asked.values().is_none() || !asked.reads {
            return Ok(None);
        }
        let before = self.pages().await?;
        self.execute(&with_values(asked)).await?;
        Ok(Some((self.pages().await? - before).max(0.0)))
    }

    async fn execute(&mut self, sql: &str) -> Result<()> {
        self.session.run("BEGIN").await?;
        let ran = self.session.rows(sql, Vec::new()).await;
        self.session.run("ROLLBACK").await?;
        ran.map(drop)
    }

    async fn pages(&mut self) -> Result<f64> {
        let sql = "SELECT CAST(VARIABLE_VALUE AS DOUBLE) FROM information_schema.GLOBAL_STATUS \
                   WHERE VARIABLE_NAME = 'Innodb_buffer_pool_read_requests'";
        self.session.rows(sql, Vec::new()).await?[0].at(0)
    }

    /// Finds values for placeholders that none were given for.
    pub(crate) async fn sample(
        &mut self,
        facts: &[(usize, Facts)],
        tables: &[Table],
        asked: &mut [Asked],
    ) -> Result<()> {
        for ((_, facts), asked) in facts.iter().zip(asked) {
            if asked.parameters == 0 || !asked.binds.is_empty() {
                continue;
            }
            let mut values = Vec::new();
            for n in &asked.numbers {
                let Some((sql, _)) = sample(*n, facts, tables, Engine::MySql, 1.0) else { break };
                let Some(row) = self.session.rows(&sql, Vec::new()).await?.pop() else { break };
                values.push(Value::String(row.at(0)?));
            }
            asked.sampled = values;
        }
        Ok(())
    }
}

/// The statement with its values in it; NULL where there are none.
fn with_values(asked: &Asked) -> String {
    let values = asked.values().unwrap_or_default();
    inline(&asked.sql, Engine::MySql, |n| {
        Some(values.get(n - 1).map_or("NULL".to_owned(), |v| literal(Engine::MySql, v)))
    })
}
