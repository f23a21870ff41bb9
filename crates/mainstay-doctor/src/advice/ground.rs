//! Where indexes are tried: a place that has exactly those that it is told to have, and says what a statement costs
//! with them.
//!
//! PostgreSQL's planner is asked with hypothetical indexes (HypoPG) or real ones; of the others there are only real
//! ones, on a copy. Nothing here changes a database that is not a copy.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Json, Session};
use serde_json::Value;

use super::facts::Facts;
use super::index::{Index, Method, qualified, quote};
use super::mariadb::{self, MariaGround};
use super::sqlite::{self, SqliteGround};
use super::table::Table;
use crate::guard::{self, literal};
use crate::plan::{Kind, Plan};

/// A statement in the form in which it is asked about.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Its place in the workload.
    pub(crate) at: usize,
    /// With literals in the place of what says how many rows are asked for.
    pub(crate) sql: String,
    pub(crate) parameters: usize,
    /// Their numbers in the statement as it was given.
    pub(crate) numbers: Vec<usize>,
    /// Values of its placeholders; empty where none were given, and the planner is asked for any value.
    pub(crate) binds: Vec<Value>,
    /// Values found in the data, to run it with.
    pub(crate) sampled: Vec<Value>,
    pub(crate) reads: bool,
}

impl Asked {
    /// The values to run it with, where there are enough.
    pub(crate) fn values(&self) -> Option<&[Value]> {
        let all = if self.binds.is_empty() { &self.sampled } else { &self.binds };
        (all.len() == self.parameters).then_some(all)
    }
}

/// What a statement costs with the indexes that are there.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) cost: f64,
    /// Which of the indexes that were set it uses: of those that were made, in their order.
    pub(crate) used: Vec<usize>,
    pub(crate) sorts: usize,
}

pub(crate) enum Ground {
    Postgres(PostgresGround),
    Sqlite(SqliteGround),
    MySql(Box<MariaGround>),
}

impl Ground {
    /// Has `indexes` and no others of ours from now on. Answers which could not be made.
    ///
    /// Errors: those of the connection.
    pub(crate) async fn set(&mut self, indexes: &[Index], tables: &[Table]) -> Result<Vec<usize>> {
        match self {
            Self::Postgres(ground) => ground.set(indexes, tables).await,
            Self::Sqlite(ground) => ground.set(indexes, tables).await,
            Self::MySql(ground) => ground.set(indexes, tables).await,
        }
    }

    /// Below it a statement is fast whatever its plan is.
    pub(crate) fn cost_min(&self) -> f64 {
        match self {
            // Reading a hundred pages in order.
            Self::Postgres(_) => 100.0,
            Self::Sqlite(_) => sqlite::STEPS_MIN,
            Self::MySql(_) => mariadb::ROWS_MIN,
        }
    }

    /// What the planner expects; of an engine that does not say, what running it took. Errors: those of planning, and of the connection.
    pub(crate) async fn cost(&mut self, asked: &Asked) -> Result<Seen> {
        match self {
            Self::Postgres(ground) => ground.cost(asked).await,
            Self::Sqlite(ground) => ground.cost(asked).await,
            Self::MySql(ground) => ground.cost(asked).await,
        }
    }

    /// The pages that running it takes; none where it can't be run. Only of a copy.
    pub(crate) async fn buffers(&mut self, asked: &Asked) -> Result<Option<f64>> {
        match self {
            Self::Postgres(ground) => ground.buffers(asked).await,
            Self::Sqlite(ground) => ground.buffers(asked).await,
            Self::MySql(ground) => ground.buffers(asked).await,
        }
    }
}

pub(crate) struct PostgresGround {
    pub(crate) session: Session,
    /// Indexes are hypothetical.
    pub(crate) hypothetical: bool,
    /// HypoPG's schema, where it is used.
    pub(crate) schema: String,
    /// What is there, with its name in plans.
    made: Vec<(Index, String)>,
    /// Real names are numbered, so that they never meet.
    next: usize,
}

impl PostgresGround {
    pub(crate) fn hypothetical(session: Session, schema: String) -> Self {
        Self { session, hypothetical: true, schema, made: Vec::new(), next: 0 }
    }

    /// Of a copy.
    pub(crate) fn real(session: Session) -> Self {
        let schema = String::new();
        Self { session, hypothetical: false, schema, made: Vec::new(), next: 0 }
    }

    async fn set(&mut self, indexes: &[Index], tables: &[Table]) -> Result<Vec<usize>> {
        let mut kept = Vec::new();
        for (index, name) in std::mem::take(&mut self.made) {
            if !self.hypothetical && indexes.iter().any(|wanted| wanted.same(&index)) {
                kept.push((index, name));
            } else if !self.hypothetical {
                self.session.run(&format!("DROP INDEX IF EXISTS {name}")).await?;
            }
        }
        if self.hypothetical {
            let reset = format!("SELECT {}.hypopg_reset()", Engine::Postgres.quote(&self.schema));
            self.session.rows(&reset, Vec::new()).await?;
        }
        let mut refused = Vec::new();
        for (at, index) in indexes.iter().enumerate() {
            if let Some(old) = kept.iter().position(|(known, _)| known.same(index)) {
                self.made.push(kept.swap_remove(old));
                continue;
            }
            match self.make(index, &tables[index.table]).await {
                Ok(name) => self.made.push((index.clone(), name)),
                Err(error) if lost(&error) => return Err(error),
                // An expression that is not immutable, a type without an order.
                Err(_) => refused.push(at),
            }
        }
        Ok(refused)
    }

    async fn make(&mut self, index: &Index, table: &Table) -> Result<String> {
        let target = index.target(table, Engine::Postgres);
        if self.hypothetical {
            if index.method == Method::Gin {
                return Err(Error::new(Code::Unsupported, "HypoPG knows no GIN"));
            }
            let create = guard::quote(Engine::Postgres, &format!("CREATE INDEX ON {target}"));
            let schema = Engine::Postgres.quote(&self.schema);
            let sql = format!(
                "SELECT indexname::text AS name FROM {schema}.hypopg_create_index({create})"
            );
            let rows = self.session.rows(&sql, Vec::new()).await?;
            return rows.first().map_or_else(
                || Err(Error::new(Code::Unsupported, "HypoPG made no index")),
                |row| row.get("name"),
            );
        }
        self.next += 1;
        let name = format!("mainstay_try_{}", self.next);
        self.session.run(&format!("CREATE INDEX {name} ON {target}")).await?;
        // Indexes are in their table's schema.
        Ok(if table.schema == "public" {
            name
        } else {
            format!("{}.{name}", quote(Engine::Postgres, &table.schema))
        })
    }

    async fn cost(&mut self, asked: &Asked) -> Result<Seen> {
        let plan = self.plan(asked, None).await?;
        let named = |name: &str| {
            self.made.iter().position(|(_, made)| made.rsplit('.').next() == Some(name))
        };
        let mut used: Vec<usize> = plan.indexes().filter_map(named).collect();
        used.sort_unstable();
        used.dedup();
        let sorts = plan.root.all().iter().filter(|node| node.kind == Kind::Sort).count();
        Ok(Seen { cost: plan.cost().unwrap_or(f64::MAX), used, sorts })
    }

    async fn buffers(&mut self, asked: &Asked) -> Result<Option<f64>> {
        let Some(values) = asked.values() else { return Ok(None) };
        self.session.run("BEGIN").await?;
        let plan = self.plan(asked, Some(values)).await;
        self.session.run("ROLLBACK").await?;
        match plan {
            Ok(plan) => Ok(plan.read_buffers().map(|pages| pages as f64)),
            Err(error) if lost(&error) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Prepared anew each time: a plan that was kept knows nothing of new indexes.
    async fn plan(&mut self, asked: &Asked, run_with: Option<&[Value]>) -> Result<Plan> {
        let sql = &asked.sql;
        let how = match run_with {
            Some(_) => "ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON",
            None => "FORMAT JSON",
        };
        let values = run_with.unwrap_or(&asked.binds);
        let text = if asked.parameters == 0 {
            format!("EXPLAIN ({how}) {sql}")
        } else {
            let generic = values.is_empty();
            let mode = if generic { "force_generic_plan" } else { "force_custom_plan" };
            let all: Vec<String> = if generic {
                vec!["NULL".to_owned(); asked.parameters]
            } else {
                values.iter().map(|value| literal(Engine::Postgres, value)).collect()
            };
            format!(
                "SET plan_cache_mode = {mode}; PREPARE mainstay_asked AS {sql}; \
                 EXPLAIN ({how}) EXECUTE mainstay_asked({}); DEALLOCATE mainstay_asked",
                all.join(", ")
            )
        };
        let rows = match self.session.rows(&text, Vec::new()).await {
            Ok(rows) => rows,
            Err(error) => {
                if !lost(&error) && asked.parameters > 0 {
                    // Inside a transaction that failed, its end does it.
                    let _ = self.session.run("DEALLOCATE ALL").await;
                }
                return Err(error);
            }
        };
        let row = rows
            .first()
            .ok_or_else(|| Error::new(Code::Decode, "PostgreSQL answered EXPLAIN with nothing"))?;
        crate::plan::postgres_plan(&row.at::<Json<Value>>(0)?.0)
    }
}

/// The statement that finds a value in the data for the placeholder `n` of a statement as it was given.
pub(crate) fn sample(
    n: usize,
    facts: &Facts,
    tables: &[Table],
    engine: Engine,
    share: f64,
) -> Option<(String, bool)> {
    let compared = facts.compared.get(&n)?;
    let table = &tables[compared.table];
    let column = quote(engine, &compared.column);
    let text = match engine {
        Engine::Postgres => format!("{column}::text"),
        Engine::Sqlite => column.clone(),
        Engine::MySql => format!("CAST({column} AS CHAR)"),
    };
    // Somewhere in the midst; the first rows are often unlike the rest.
    let skip = (table.rows * share * 0.37).min(20_000.0) as u64;
    let from = qualified(table, engine);
    let sql = format!("SELECT {text} FROM {from} WHERE {column} IS NOT NULL LIMIT 1 OFFSET {skip}");
    Some((sql, compared.array))
}

/// Whether there is no use in asking on.
pub(crate) fn lost(error: &Error) -> bool {
    matches!(
        error.code(),
        Code::ConnectionLost | Code::Protocol | Code::Unreachable | Code::Deadline
    )
}
