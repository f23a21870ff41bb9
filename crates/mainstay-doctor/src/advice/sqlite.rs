//! SQLite: a copy of the file, on which indexes are built and statements run. It has no costs to compare, so its virtual
//! machine's steps are counted: what a statement really takes.
//!
//! Files larger than the bound are not copied: a sample of them would say nothing of the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_core::{Code, Error, Result};
use mainstay_db::sqlx::{self, AssertSqlSafe, Connection, Executor, Row as _, SqliteConnection};
use mainstay_db::{Engine, Session};
use serde_json::Value;
use tempfile::TempDir;

use super::facts::{Facts, Name};
use super::ground::{Asked, Seen, sample};
use super::index::Index;
use super::options::{Options, Scratch};
use super::scratch::folder;
use super::table::{Column, Existing, Table};
use crate::guard::{self, inline, literal};
use crate::plan::{Kind, sqlite_plan};

/// Steps that any statement may take: some thousand rows.
pub(crate) const STEPS_MIN: f64 = 10_000.0;
/// Steps between two counts.
const STRIDE: i32 = 50;
/// Steps after which a statement is broken off.
const STEPS_MAX: u64 = 50_000_000;

/// What the catalogue says of the tables named.
pub(crate) async fn tables(session: &mut Session, names: &[Name]) -> Result<Vec<Table>> {
    let engine = Engine::Sqlite;
    let mut out: Vec<Table> = Vec::new();
    for name in names {
        let sql = format!(
            "SELECT name, type FROM sqlite_schema WHERE lower(name) = lower({}) AND type IN ('table', 'view')",
            guard::quote(engine, &name.name)
        );
        let Some(row) = session.rows(&sql, Vec::new()).await?.pop() else { continue };
        let real: String = row.at(0)?;
        if let Some(known) = out.iter_mut().find(|t| t.name == real) {
            known.called.push(name.key());
            continue;
        }
        let plain = row.at::<String>(1)? == "table";
        let mut table = Table {
            called: vec![name.key()],
            schema: "main".to_owned(),
            plain,
            analyzed: true,
            visible: 1.0,
            ..Table::default()
        };
        let quoted = guard::quote(engine, &real);
        let columns = format!("SELECT name, type, \"notnull\" FROM pragma_table_info({quoted})");
        for row in session.rows(&columns, Vec::new()).await? {
            table.columns.push(Column {
                name: row.at(0)?,
                kind: row.at::<Option<String>>(1)?.unwrap_or_default(),
                not_null: row.at::<i64>(2)? != 0,
                width: 16.0,
                ..Column::default()
            });
        }
        if plain {
            // The number of the last row: what is counted exactly takes a scan.
            let last = format!("SELECT MAX(rowid) FROM {}", engine.quote(&real));
            let rows = session.rows(&last, Vec::new()).await;
            let rows = rows.ok().and_then(|rows| rows.first()?.at::<Option<i64>>(0).ok().flatten());
            table.rows = rows.unwrap_or(0).max(0) as f64;
            table.pages = table.rows / 20.0;
        }
        let indexes = format!("SELECT name, \"unique\", partial FROM pragma_index_list({quoted})");
        for row in session.rows(&indexes, Vec::new()).await? {
            let index: String = row.at(0)?;
            let keys = format!(
                "SELECT name FROM pragma_index_info({}) ORDER BY seqno",
                guard::quote(engine, &index)
            );
            let keys = session.rows(&keys, Vec::new()).await?;
            let keys = keys.iter().map(|row| Ok(row.at::<Option<String>>(0)?.unwrap_or_default()));
            table.indexes.push(Existing {
                keys: keys.collect::<Result<_>>()?,
                name: index,
                unique: row.at::<i64>(1)? != 0,
                partial: row.at::<i64>(2)? != 0,
                btree: true,
                definition: String::new(),
            });
        }
        table.name = real;
        out.push(table);
    }
    Ok(out)
}

/// A copy with its own statistics.
pub(crate) struct SqliteGround {
    connection: SqliteConnection,
    steps: Arc<AtomicU64>,
    made: Vec<(Index, String)>,
    next: usize,
    _folder: TempDir,
}

/// Copies the whole file, as it is now.
///
/// Errors: DOC-023 where it is not allowed or too large; those of both files.
pub(crate) async fn copy(session: &mut Session, options: &Options) -> Result<SqliteGround> {
    if options.scratch == Scratch::Off {
        return Err(Error::new(Code::DoctorUnverified, "no scratch copy is allowed"));
    }
    let size = "SELECT (SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size())";
    let bytes: i64 = session.rows(size, Vec::new()).await?[0].at(0)?;
    if bytes > i64::try_from(options.copy_bytes).unwrap_or(i64::MAX) {
        let what = format!(
            "the file has {} MB, and a copy may have {}",
            bytes >> 20,
            options.copy_bytes >> 20
        );
        return Err(Error::new(Code::DoctorUnverified, what));
    }
    let folder = folder()?;
    let path = folder.path().join("copy.db").display().to_string();
    let into = guard::quote(Engine::Sqlite, &path);
    // It writes to the new file alone, and is a write to SQLite all the same.
    let copied = session.run(&format!("PRAGMA query_only = 0; VACUUM INTO {into}")).await;
    session.run("PRAGMA query_only = 1").await?;
    copied?;
    let mut connection =
        SqliteConnection::connect(&format!("sqlite:{path}")).await.map_err(failed)?;
    let setting = "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY; ANALYZE";
    connection.execute(setting).await.map_err(failed)?;
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    connection.lock_handle().await.map_err(failed)?.set_progress_handler(STRIDE, move || {
        counted.fetch_add(STRIDE as u64, Ordering::Relaxed) < STEPS_MAX
    });
    Ok(SqliteGround { connection, steps, made: Vec::new(), next: 0, _folder: folder })
}

fn failed(error: sqlx::Error) -> Error {
    Error::new(Code::DoctorUnverified, "the copy of the file can't be used").cause(error)
}

impl SqliteGround {
    async fn run(&mut self, sql: String) -> Result<Vec<sqlx::sqlite::SqliteRow>> {
        self.steps.store(0, Ordering::Relaxed);
        self.connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await.map_err(failed)
    }

    pub(crate) async fn set(&mut self, indexes: &[Index], tables: &[Table]) -> Result<Vec<usize>> {
        let mut kept = Vec::new();
        for (index, name) in std::mem::take(&mut self.made) {
            if indexes.iter().any(|wanted| wanted.same(&index)) {
                kept.push((index, name));
            } else {
                self.run(format!("DROP INDEX {name}")).await?;
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
            let target = index.target(&tables[index.table], Engine::Sqlite);
            match self.run(format!("CREATE INDEX {name} ON {target}; ANALYZE {name}")).await {
                Ok(_) => self.made.push((index.clone(), name)),
                Err(_) => refused.push(at),
            }
        }
        Ok(refused)
    }

    pub(crate) async fn cost(&mut self, asked: &Asked) -> Result<Seen> {
        let sql = with_values(asked);
        let rows = self.run(format!("EXPLAIN QUERY PLAN {sql}")).await?;
        let steps = rows.iter().map(|row| (row.get(0), row.get(1), row.get(3)));
        let plan = sqlite_plan(steps);
        let named = |name: &str| self.made.iter().position(|(_, made)| made == name);
        let mut used: Vec<usize> = plan.indexes().filter_map(named).collect();
        used.sort_unstable();
        used.dedup();
        let sorts = plan.root.all().iter().filter(|node| node.kind == Kind::Sort).count();
        self.run("BEGIN".to_owned()).await?;
        let ran = self.run(sql).await;
        let took = self.steps.load(Ordering::Relaxed);
        let _ = self.run("ROLLBACK".to_owned()).await;
        // What was broken off took at least as many.
        if ran.is_err() && took < STEPS_MAX {
            ran?;
        }
        Ok(Seen { cost: took as f64, used, sorts })
    }

    /// SQLite counts no pages that its library tells.
    #[allow(clippy::unused_async, reason = "the others ask a server")]
    pub(crate) async fn buffers(&mut self, _asked: &Asked) -> Result<Option<f64>> {
        Ok(None)
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
                let Some((sql, _)) = sample(*n, facts, tables, Engine::Sqlite, 1.0) else { break };
                let Some(row) = self.run(sql).await?.pop() else { break };
                let number = row.try_get_unchecked::<i64, _>(0).map(Value::from);
                let text = row.try_get::<String, _>(0).map(Value::from);
                values.push(text.or(number).map_err(failed)?);
            }
            asked.sampled = values;
        }
        Ok(())
    }
}

/// The statement with its values in it; NULL where there are none.
fn with_values(asked: &Asked) -> String {
    let values = asked.values().unwrap_or_default();
    inline(&asked.sql, Engine::Sqlite, |n| {
        Some(values.get(n - 1).map_or("NULL".to_owned(), |v| literal(Engine::Sqlite, v)))
    })
}
