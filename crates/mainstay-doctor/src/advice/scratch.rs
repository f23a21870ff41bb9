//! A copy of a workload's tables on another PostgreSQL, where indexes may really be built and statements run: a private
//! server in a temporary folder, or a database that was named for it.
//!
//! It is bounded in bytes and in time; of what is larger, every so many pages are taken. The original is read in pieces
//! of 8 MB, by physical place, and nothing is written there.

use std::time::Instant;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine, Session};
use mainstay_local::{Options as Local, Postgres, Server};
use mainstay_pool::Options as Pool;
use tempfile::TempDir;

use super::index::qualified;
use super::options::{Options, Scratch};
use super::table::Table;
use crate::guard::quote;

/// Pages that are read at once.
const PIECE: f64 = 1024.0;
const PAGE_BYTES: f64 = 8192.0;
/// Settings that plans depend on.
const SETTINGS: &str = "SELECT name::text, setting::text FROM pg_settings WHERE name IN \
    ('random_page_cost', 'seq_page_cost', 'cpu_tuple_cost', 'cpu_index_tuple_cost', 'cpu_operator_cost', \
     'effective_cache_size', 'work_mem', 'max_parallel_workers_per_gather', 'jit', 'search_path', \
     'default_text_search_config', 'TimeZone', 'DateStyle')";

/// Owns the copy; dropped, a private server ends and its folder goes.
pub(crate) struct Copy {
    pub(crate) db: Db,
    /// The part of the rows that is there, 1 for all.
    pub(crate) share: f64,
    settings: Vec<String>,
    /// What is to be dropped in a database that is not ours.
    made: Vec<String>,
    _server: Option<Server>,
    _folder: Option<TempDir>,
}

impl Copy {
    /// Copies `tables` from where `source` leads, until `until`.
    ///
    /// Errors: DOC-023 where none may be made or the place has such tables already, LOCAL-001 to LOCAL-003, and those of
    /// both databases.
    pub(crate) async fn make(
        source: &mut Session,
        tables: &[&Table],
        options: &Options,
        clock: &Clock,
        until: Instant,
    ) -> Result<Self> {
        let (url, server, folder) = place(options).await?;
        // One that searches, one that builds and measures.
        let pool = Pool { max_size: 3, leak_after: None, ..Pool::default() };
        let db = Db::builder(&url).name("scratch").pool(pool).connect().await?;
        if db.engine() != Engine::Postgres {
            return Err(Error::new(
                Code::WrongEngine,
                "the scratch copy must be of the same engine",
            ));
        }
        let mut copy = Self {
            db,
            share: 1.0,
            settings: Vec::new(),
            made: Vec::new(),
            _server: server,
            _folder: folder,
        };
        let filled = copy.fill(source, tables, options, clock, until).await;
        if filled.is_err() {
            copy.clear().await;
        }
        filled.map(|()| copy)
    }

    /// A session with the original's settings.
    pub(crate) async fn session(&self, options: &Options) -> Result<Session> {
        let mut session = self.db.session().await?;
        session.keep_for("the doctor's copy");
        for setting in &self.settings {
            session.run(setting).await?;
        }
        let limit = options.statement_timeout.as_millis();
        session.run(&format!("SET statement_timeout = {limit}")).await?;
        Ok(session)
    }

    /// Makes HypoPG there, if it can be had. Answers its schema.
    pub(crate) async fn hypopg(&self, session: &mut Session) -> Option<String> {
        session.run("CREATE EXTENSION IF NOT EXISTS hypopg SCHEMA public").await.ok()?;
        Some("public".to_owned())
    }

    /// Drops what was made in a database that somebody named; a private one goes by itself.
    pub(crate) async fn clear(&mut self) {
        if let Ok(mut session) = self.db.session().await {
            for drop in self.made.drain(..).rev() {
                let _ = session.run(&drop).await;
            }
        }
    }

    async fn fill(
        &mut self,
        source: &mut Session,
        tables: &[&Table],
        options: &Options,
        clock: &Clock,
        until: Instant,
    ) -> Result<()> {
        for row in source.rows(SETTINGS, Vec::new()).await? {
            let (name, value): (String, String) = (row.at(0)?, row.at(1)?);
            // A list of names is none when it is quoted as one.
            let value = match name.as_str() {
                "search_path" => value,
                _ => quote(Engine::Postgres, &value),
            };
            self.settings.push(format!("SET {name} = {value}"));
        }
        let mut target = self.db.session().await?;
        target.keep_for("the doctor's copy");
        // VACUUM takes no row for visible to all whose commit is not on its way to the disk.
        target.run("SET synchronous_commit = on").await?;
        self.extensions(source, &mut target).await?;
        let bytes: f64 = tables.iter().map(|table| table.pages * PAGE_BYTES).sum();
        self.share = (options.copy_bytes as f64 / bytes.max(1.0)).min(1.0);
        let (mut wanted, mut done) = (0.0, 0.0);
        for table in tables {
            self.structure(source, &mut target, table).await?;
        }
        for table in tables {
            wanted += table.pages;
            done += self.rows(source, &mut target, table, clock, until).await?;
        }
        self.share *= if wanted > 0.0 { done / wanted } else { 1.0 };
        for table in tables {
            for index in &table.indexes {
                target.run(&index.definition).await?;
            }
            let vacuum = if table.visible >= 0.5 { "VACUUM ANALYZE" } else { "ANALYZE" };
            self.statistics(source, &mut target, table).await?;
            target.run(&format!("{vacuum} {}", qualified(table, Engine::Postgres))).await?;
        }
        Ok(())
    }

    async fn extensions(&self, source: &mut Session, target: &mut Session) -> Result<()> {
        let sql = "SELECT e.extname::text, n.nspname::text FROM pg_extension e \
                   JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname NOT IN ('plpgsql', 'hypopg')";
        for row in source.rows(sql, Vec::new()).await? {
            let (name, schema): (String, String) = (row.at(0)?, row.at(1)?);
            let engine = Engine::Postgres;
            let (name, schema) = (engine.quote(&name), engine.quote(&schema));
            // What can't be had is missed only by who uses it.
            let _ = target.run(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await;
            let create = format!("CREATE EXTENSION IF NOT EXISTS {name} SCHEMA {schema} CASCADE");
            let _ = target.run(&create).await;
        }
        Ok(())
    }

    async fn structure(
        &mut self,
        source: &mut Session,
        target: &mut Session,
        table: &Table,
    ) -> Result<()> {
        let engine = Engine::Postgres;
        let schema = engine.quote(&table.schema);
        let exists = format!("SELECT to_regnamespace({})::text", quote(engine, &schema));
        let there: Option<String> = target.rows(&exists, Vec::new()).await?[0].at(0)?;
        if there.is_none() {
            target.run(&format!("CREATE SCHEMA {schema}")).await?;
            self.made.push(format!("DROP SCHEMA IF EXISTS {schema}"));
        }
        let name = qualified(table, engine);
        let types = format!(
            "SELECT DISTINCT format_type(t.oid, NULL) AS name, t.typtype::text AS kind, \
             format_type(t.typbasetype, t.typtypmod) AS base, \
             (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) \
              FROM pg_enum e WHERE e.enumtypid = t.oid) AS labels \
             FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid JOIN pg_type t ON t.oid IN (y.oid, y.typelem) \
             WHERE a.attrelid = to_regclass({}) AND a.attnum > 0 AND t.typtype IN ('e', 'd') \
             AND NOT EXISTS (SELECT 1 FROM pg_depend x WHERE x.objid = t.oid AND x.deptype = 'e')",
            quote(engine, &format!("{schema}.{}", engine.quote(&table.name)))
        );
        for row in source.rows(&types, Vec::new()).await? {
            let (kind, base): (String, String) = (row.get("name")?, row.get("base")?);
            let create = match row.get::<Option<String>>("labels")? {
                Some(labels) => format!("CREATE TYPE {kind} AS ENUM ({labels})"),
                None => format!("CREATE DOMAIN {kind} AS {base}"),
            };
            if target.run(&create).await.is_ok() {
                self.made.push(format!("DROP TYPE IF EXISTS {kind}"));
            }
        }
        let column = |column: &super::table::Column| {
            let not_null = if column.not_null { " NOT NULL" } else { "" };
            format!("{} {}{not_null}", engine.quote(&column.name), column.kind)
        };
        let columns: Vec<String> = table.columns.iter().map(column).collect();
        let create =
            format!("CREATE TABLE {name} ({}) WITH (autovacuum_enabled = off)", columns.join(", "));
        target.run(&create).await.map_err(|e| {
            Error::new(Code::DoctorUnverified, format!("{name} can't be copied")).cause(e)
        })?;
        self.made.push(format!("DROP TABLE IF EXISTS {name}"));
        Ok(())
    }

    /// Answers the pages that were read, as far as the part that is wanted.
    async fn rows(
        &self,
        source: &mut Session,
        target: &mut Session,
        table: &Table,
        clock: &Clock,
        until: Instant,
    ) -> Result<f64> {
        let engine = Engine::Postgres;
        let name = qualified(table, engine);
        let columns: Vec<String> = table.columns.iter().map(|c| engine.quote(&c.name)).collect();
        let line: Vec<String> =
            table.columns.iter().map(|c| field(&engine.quote(&c.name), &c.kind)).collect();
        let into = format!("COPY {name} ({}) FROM STDIN", columns.join(", "));
        let mut page = 0.0;
        while page < table.pages {
            if clock.now() >= until {
                return Ok(page);
            }
            let end = page + (PIECE * self.share).max(1.0).floor();
            let sql = format!(
                "SELECT string_agg(line, E'\\n') FROM (SELECT concat_ws(E'\\t', {}) AS line FROM {name} \
                 WHERE ctid >= '({page},0)'::tid AND ctid < '({end},0)'::tid) piece",
                line.join(", ")
            );
            let data: Option<String> = source.rows(&sql, Vec::new()).await?[0].at(0)?;
            if let Some(mut data) = data {
                data.push('\n');
                target.copy_in(&into, &data).await?;
            }
            page = if self.share < 1.0 { page + PIECE } else { end };
        }
        Ok(table.pages)
    }

    /// Of columns that depend on each other.
    async fn statistics(
        &self,
        source: &mut Session,
        target: &mut Session,
        table: &Table,
    ) -> Result<()> {
        let name = format!(
            "{}.{}",
            Engine::Postgres.quote(&table.schema),
            Engine::Postgres.quote(&table.name)
        );
        let sql = format!(
            "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = to_regclass({})",
            quote(Engine::Postgres, &name)
        );
        for row in source.rows(&sql, Vec::new()).await? {
            let _ = target.run(&row.at::<String>(0)?).await;
        }
        Ok(())
    }
}

/// A column's value as COPY reads it.
fn field(column: &str, kind: &str) -> String {
    const PLAIN: &[&str] = &[
        "smallint",
        "integer",
        "bigint",
        "boolean",
        "date",
        "uuid",
        "real",
        "double",
        "timestamp",
        "numeric",
    ];
    let text = format!("{column}::text");
    let escaped = if PLAIN.iter().any(|plain| kind.starts_with(plain)) && !kind.ends_with(']') {
        text
    } else {
        format!(
            "replace(replace(replace(replace({text}, E'\\\\', E'\\\\\\\\'), E'\\t', E'\\\\t'), \
             E'\\n', E'\\\\n'), E'\\r', E'\\\\r')"
        )
    };
    format!("COALESCE({escaped}, E'\\\\N')")
}

async fn place(options: &Options) -> Result<(String, Option<Server>, Option<TempDir>)> {
    match &options.scratch {
        Scratch::Off => Err(Error::new(Code::DoctorUnverified, "no scratch copy is allowed")),
        Scratch::Url(url) => Ok((url.clone(), None, None)),
        Scratch::Private => {
            let folder = folder()?;
            let local = Local {
                durable: false,
                temporary: true,
                settings: ["autovacuum=off", "shared_buffers=128MB", "max_connections=10"]
                    .map(str::to_owned)
                    .to_vec(),
                ..Local::new(folder.path().join("postgres"))
            };
            let server = blocking(move || Postgres::start(&local)).await?;
            let socket = server.socket_folder().display();
            let url =
                format!("postgres:///postgres?host={socket}&port=5432&user={}", server.user());
            Ok((url, Some(server), Some(folder)))
        }
    }
}

/// A temporary folder that a server's account can reach.
pub(crate) fn folder() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("mainstay-doctor-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o755));
    }
    builder
        .tempdir()
        .map_err(|e| Error::new(Code::LocalFolder, "no scratch folder could be made").cause(e))
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(Code::LocalStart, "the start of a server was cut off").cause(e))?
}
