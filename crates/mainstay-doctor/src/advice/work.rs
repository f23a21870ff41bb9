//! One piece of advice from its beginning to its end: statements read, tables looked up, candidates tried, the fewest
//! kept, and those verified on a copy.

use std::time::Instant;

use mainstay_core::{Code, Result};
use mainstay_db::{Db, Engine, Session};
use serde_json::Value;

use super::candidate::{Abilities, candidates};
use super::catalogue;
use super::facts::{self, Facts, Name};
use super::ground::{Asked, Ground, PostgresGround, lost, sample};
use super::index::{Index, Method, qualified};
use super::mariadb;
use super::options::{Options, Scratch};
use super::said::{Advice, PassedOver};
use super::scratch::Copy;
use super::search::{Found, Search};
use super::sqlite;
use super::suggest::{self, Measured};
use super::table::Table;
use super::workload::Query;
use crate::guard::{self, Limits};

pub(crate) struct Work<'a> {
    db: &'a Db,
    queries: &'a [Query],
    options: &'a Options,
    until: Instant,
    session: Session,
    tables: Vec<Table>,
    facts: Vec<(usize, Facts)>,
    asked: Vec<Asked>,
    able: Abilities,
    pub(crate) said: Advice,
}

/// A session within the bounds of `options`.
pub(crate) async fn session(db: &Db, options: &Options) -> Result<Session> {
    let limits = Limits { statement: options.statement_timeout, lock: options.lock_timeout };
    guard::session(db, limits).await
}

pub(crate) async fn tables(
    engine: Engine,
    session: &mut Session,
    names: &[Name],
) -> Result<Vec<Table>> {
    match engine {
        Engine::Postgres => catalogue::tables(session, names).await,
        Engine::Sqlite => sqlite::tables(session, names).await,
        Engine::MySql => mariadb::tables(session, names).await,
    }
}

/// Where what was found is really built, and measured.
enum Yard {
    /// Where it was looked for too.
    Same,
    Copy(Box<(Ground, Copy)>),
    None,
}

impl<'a> Work<'a> {
    pub(crate) async fn begin(
        db: &'a Db,
        queries: &'a [Query],
        options: &'a Options,
    ) -> Result<Self> {
        let until = options.clock.now() + options.budget;
        let engine = db.engine();
        let mut session = session(db, options).await?;
        let able = abilities(engine, &mut session).await?;
        let said = Advice {
            engine: if db.is_mariadb() { "MariaDB".to_owned() } else { engine.to_string() },
            statements: queries.len().min(options.statements_max),
            ..Advice::default()
        };
        Ok(Self {
            db,
            queries,
            options,
            until,
            session,
            tables: Vec::new(),
            facts: Vec::new(),
            asked: Vec::new(),
            able,
            said,
        })
    }

    pub(crate) async fn run(&mut self) -> Result<()> {
        self.read().await?;
        let wanted: Vec<(Asked, Vec<Index>)> = self
            .facts
            .iter()
            .zip(&self.asked)
            .map(|((_, facts), asked)| (asked.clone(), candidates(facts, &self.tables, self.able)))
            .filter(|(_, candidates)| !candidates.is_empty())
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        match self.db.engine() {
            Engine::Postgres => Box::pin(self.on_postgres(wanted)).await,
            Engine::Sqlite => {
                let ground =
                    sqlite::copy(&mut self.session, self.options).await.map(Ground::Sqlite);
                self.on_copy(ground, wanted).await
            }
            Engine::MySql => {
                let tables: Vec<&Table> = self.tables.iter().filter(|t| t.plain).collect();
                let ground =
                    mariadb::copy(&mut self.session, &tables, self.options, self.until).await;
                self.on_copy(ground.map(|ground| Ground::MySql(Box::new(ground))), wanted).await
            }
        }
    }

    fn pass_over(&mut self, at: usize, why: impl Into<String>) {
        let query = &self.queries[at];
        self.said.passed_over.push(PassedOver {
            statement: at + 1,
            line: query.line,
            sql: query.sql.clone(),
            why: why.into(),
        });
    }

    /// Reads the statements, and looks up the tables that they name.
    async fn read(&mut self) -> Result<()> {
        let engine = self.db.engine();
        let mut names: Vec<Name> = Vec::new();
        let mut parsed = Vec::new();
        if self.queries.len() > self.options.statements_max {
            let left = self.queries.len() - self.options.statements_max;
            self.said.notes.push(format!("{left} statements beyond the first are left out"));
        }
        for (at, query) in self.queries.iter().enumerate().take(self.options.statements_max) {
            let statement = match &query.wrong {
                Some(why) => Err(why.clone()),
                None => facts::parse(&query.sql, engine),
            };
            match statement {
                Ok(statement) => {
                    for name in facts::relations(&statement, engine) {
                        if !names.contains(&name) {
                            names.push(name);
                        }
                    }
                    parsed.push((at, statement));
                }
                Err(why) => self.pass_over(at, why),
            }
        }
        self.tables = tables(engine, &mut self.session, &names).await?;
        for table in self.tables.iter().filter(|t| !t.analyzed && !t.is_small()) {
            let name = qualified(table, engine);
            self.said.notes.push(format!("{name} was never analyzed: ANALYZE {name} first"));
        }
        let parts = self.tables.iter().filter(|t| !t.plain && !t.columns.is_empty());
        let parts: Vec<String> = parts.map(|t| qualified(t, engine)).collect();
        for name in parts {
            let note = format!("{name} is no plain table: no index is advised on it");
            self.said.notes.push(note);
        }
        for (at, statement) in parsed {
            let facts = facts::facts(&statement, &self.tables, engine);
            let asked = self.ask(at, &facts, facts::only_reads(&statement));
            if let Err(error) = self.plans(&asked).await {
                if lost(&error) {
                    return Err(error);
                }
                let why = format!("{} refuses to plan it: {}", self.said.engine, error.what());
                self.pass_over(at, why);
                continue;
            }
            self.facts.push((at, facts));
            self.asked.push(asked);
        }
        Ok(())
    }

    /// Whether the server plans it. Errors: why it does not.
    async fn plans(&mut self, asked: &Asked) -> Result<()> {
        let engine = self.db.engine();
        let sql = if engine != Engine::Postgres {
            let value =
                |n: usize| asked.binds.get(n - 1).map(|value| guard::literal(engine, value));
            let sql =
                guard::inline(&asked.sql, engine, |n| Some(value(n).unwrap_or("NULL".into())));
            format!("EXPLAIN {sql}")
        } else if asked.parameters == 0 {
            format!("EXPLAIN {}", asked.sql)
        } else {
            let values = vec!["NULL"; asked.parameters].join(", ");
            format!(
                "SET plan_cache_mode = force_generic_plan; PREPARE mainstay_asked AS {}; \
                 EXPLAIN EXECUTE mainstay_asked({values}); DEALLOCATE mainstay_asked",
                asked.sql
            )
        };
        let planned = self.session.rows(&sql, Vec::new()).await;
        if engine == Engine::Postgres && planned.as_ref().is_err_and(|e| !lost(e)) {
            let _ = self.session.run("DEALLOCATE ALL").await;
        }
        planned.map(drop)
    }

    /// How many rows are asked for is taken for a page of them, where it is not given: a planner that does not know
    /// thinks of a tenth of all.
    fn ask(&self, at: usize, facts: &Facts, reads: bool) -> Asked {
        let (query, engine) = (&self.queries[at], self.db.engine());
        let mut sql = query.sql.clone();
        let binds = query.binds.clone();
        let mut numbers: Vec<usize> = (1..=guard::parameters(&sql, engine)).collect();
        if binds.is_empty() && !(facts.limits.is_empty() && facts.offsets.is_empty()) {
            numbers.retain(|n| !facts.limits.contains(n) && !facts.offsets.contains(n));
            sql =
                guard::inline(&sql, engine, |n| match numbers.iter().position(|kept| *kept == n) {
                    Some(place) => Some(format!("${}", place + 1)),
                    None if facts.limits.contains(&n) => Some("20".to_owned()),
                    None => Some("0".to_owned()),
                });
        }
        let parameters = numbers.len();
        Asked { at, sql, parameters, numbers, binds, sampled: Vec::new(), reads }
    }

    async fn on_postgres(&mut self, wanted: Vec<(Asked, Vec<Index>)>) -> Result<()> {
        let hypopg = self.session
            .rows("SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'hypopg'", Vec::new())
            .await?;
        let schema = hypopg.first().map(|row| row.at::<String>(0)).transpose()?;
        let (inside, plain): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|(_, all)| all.iter().any(|index| index.method == Method::Gin));
        let mut found = Vec::new();
        if let Some(schema) = schema {
            let session = session(self.db, self.options).await?;
            let mut ground = Ground::Postgres(PostgresGround::hypothetical(session, schema));
            self.look(&mut ground, &plain, &mut found).await?;
            if found.is_empty() && inside.is_empty() {
                return Ok(());
            }
            let (yard, copied) = self.yard(&inside, &mut found).await;
            let by = if copied { "HypoPG and a scratch copy" } else { "HypoPG" };
            return self.finish(&mut ground, found, yard, by).await;
        }
        let copy = match self.copy().await {
            Ok(copy) => copy,
            Err(error) => return self.unverified(error),
        };
        let mut session = copy.session(self.options).await?;
        let ground = match copy.hypopg(&mut session).await {
            Some(schema) => PostgresGround::hypothetical(session, schema),
            None => PostgresGround::real(session),
        };
        let mut ground = Ground::Postgres(ground);
        self.look(&mut ground, &plain, &mut found).await?;
        let mut real = Ground::Postgres(PostgresGround::real(copy.session(self.options).await?));
        self.sample(&copy).await?;
        self.look(&mut real, &inside, &mut found).await?;
        let yard = Yard::Copy(Box::new((real, copy)));
        self.finish(&mut ground, found, yard, "a scratch copy").await
    }

    /// The copy on which what was found is built, and where what HypoPG can't tell is looked for.
    async fn yard(
        &mut self,
        inside: &[(Asked, Vec<Index>)],
        found: &mut Vec<Found>,
    ) -> (Yard, bool) {
        let made = async {
            let copy = self.copy().await?;
            let mut real =
                Ground::Postgres(PostgresGround::real(copy.session(self.options).await?));
            self.sample(&copy).await?;
            self.look(&mut real, inside, found).await?;
            Ok::<_, mainstay_core::Error>(Yard::Copy(Box::new((real, copy))))
        };
        match made.await {
            Ok(yard) => (yard, true),
            Err(error) => {
                let note = format!("no pages are counted, and no GIN is tried: {}", error.what());
                self.said.notes.push(note);
                (Yard::None, false)
            }
        }
    }

    async fn copy(&mut self) -> Result<Copy> {
        let asked: Vec<usize> =
            self.facts.iter().flat_map(|(_, f)| &f.accesses).map(|a| a.table).collect();
        let tables: Vec<&Table> = self
            .tables
            .iter()
            .enumerate()
            .filter(|(at, table)| table.plain && (asked.contains(at) || !table.columns.is_empty()))
            .map(|(_, table)| table)
            .collect();
        // The other half is for trying.
        let half = self.options.clock.now()
            + self.until.saturating_duration_since(self.options.clock.now()) / 2;
        let copy =
            Copy::make(&mut self.session, &tables, self.options, &self.options.clock, half).await?;
        if copy.share < 1.0 {
            let percent = copy.share * 100.0;
            self.said.notes.push(format!("the copy has {percent:.1} % of the pages"));
        }
        Ok(copy)
    }

    /// Finds values for placeholders that none were given for, in the data.
    async fn sample(&mut self, copy: &Copy) -> Result<()> {
        let mut session = copy.session(self.options).await?;
        for ((_, facts), asked) in self.facts.iter().zip(&mut self.asked) {
            if asked.parameters == 0 || !asked.binds.is_empty() {
                continue;
            }
            let mut values = Vec::new();
            for n in &asked.numbers {
                let sampled = sample(*n, facts, &self.tables, Engine::Postgres, copy.share);
                let Some((sql, array)) = sampled else { break };
                let Some(row) = session.rows(&sql, Vec::new()).await?.pop() else { break };
                let value = Value::String(row.at(0)?);
                values.push(if array { Value::Array(vec![value]) } else { value });
            }
            asked.sampled = values;
        }
        Ok(())
    }

    async fn on_copy(
        &mut self,
        ground: Result<Ground>,
        wanted: Vec<(Asked, Vec<Index>)>,
    ) -> Result<()> {
        let mut ground = match ground {
            Ok(ground) => ground,
            Err(error) => return self.unverified(error),
        };
        if let Ground::MySql(maria) = &mut ground {
            maria.sample(&self.facts, &self.tables, &mut self.asked).await?;
        }
        if let Ground::Sqlite(sqlite) = &mut ground {
            sqlite.sample(&self.facts, &self.tables, &mut self.asked).await?;
        }
        let wanted: Vec<_> = wanted
            .into_iter()
            .filter_map(|(old, all)| {
                Some((self.asked.iter().find(|a| a.at == old.at)?.clone(), all))
            })
            .collect();
        let mut found = Vec::new();
        self.look(&mut ground, &wanted, &mut found).await?;
        self.finish(&mut ground, found, Yard::Same, "a scratch copy").await
    }

    fn unverified(&mut self, error: mainstay_core::Error) -> Result<()> {
        if lost(&error) && self.options.scratch == Scratch::Private {
            return Err(error);
        }
        let code = Code::DoctorUnverified;
        let why = format!("nothing can be verified, so nothing is advised: {}", error.what());
        self.said.notes.push(format!("{why} ({code}: {})", code.fix()));
        Ok(())
    }

    async fn look(
        &mut self,
        ground: &mut Ground,
        wanted: &[(Asked, Vec<Index>)],
        found: &mut Vec<Found>,
    ) -> Result<()> {
        let mut search =
            Search { ground, tables: &self.tables, clock: &self.options.clock, until: self.until };
        for (done, (asked, candidates)) in wanted.iter().enumerate() {
            if search.is_over() {
                let left = wanted.len() - done;
                self.said.notes.push(format!("the time is over: {left} statements are left"));
                break;
            }
            match search.best(asked, candidates).await {
                Ok(best) => found.extend(best),
                Err(error) if lost(&error) => return Err(error),
                Err(error) => {
                    let line = self.queries[asked.at].line;
                    let note = format!("line {line} could not be tried: {}", error.what());
                    self.said.notes.push(note);
                }
            }
        }
        Ok(())
    }

    async fn finish(
        &mut self,
        ground: &mut Ground,
        found: Vec<Found>,
        yard: Yard,
        by: &str,
    ) -> Result<()> {
        let mut search =
            Search { ground, tables: &self.tables, clock: &self.options.clock, until: self.until };
        let all = search.fewest(&found, &self.asked, self.options.table_max).await?;
        let mut measured = Measured::costs(&mut search, &all, &found, &self.asked).await?;
        let done = match yard {
            Yard::Same => measured.buffers(ground, &all, &self.tables, &self.asked).await,
            Yard::Copy(mut copy) => {
                let done = measured.buffers(&mut copy.0, &all, &self.tables, &self.asked).await;
                let _ = copy.0.set(&[], &self.tables).await;
                copy.1.clear().await;
                done
            }
            Yard::None => Ok(()),
        };
        done?;
        self.said.suggestions =
            suggest::suggestions(&all, &measured, &self.tables, self.queries, self.db.engine(), by);
        Ok(())
    }
}

async fn abilities(engine: Engine, session: &mut Session) -> Result<Abilities> {
    let mut able = Abilities {
        engine,
        partial: engine != Engine::MySql,
        include: engine == Engine::Postgres,
        trigrams: false,
        descending: true,
        bytewise: engine != Engine::Postgres,
    };
    if engine == Engine::Postgres {
        let sql = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'), \
                   (SELECT datcollate IN ('C', 'POSIX') FROM pg_database WHERE datname = current_database())";
        let rows = session.rows(sql, Vec::new()).await?;
        if let Some(row) = rows.first() {
            able.trigrams = row.at(0)?;
            able.bytewise = row.at::<Option<bool>>(1)?.unwrap_or(false);
        }
    }
    Ok(able)
}
