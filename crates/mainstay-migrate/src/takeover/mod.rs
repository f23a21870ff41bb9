//! Databases that another tool, or nobody, has looked after so far, and how a tool's history becomes
//! ours. The tool's own table and files stay as they are.

mod convert;
mod find;
mod pair;
mod read;
mod run;
mod store;
mod sum;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;
use serde::Serialize;

use crate::database::{Database, Facts};

pub use run::{TakenOver, Takeover};

/// A tool whose history can be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// `flyway_schema_history`, under whatever name.
    Flyway,
    /// `databasechangelog`.
    Liquibase,
    /// `refinery_schema_history`.
    Refinery,
    /// `_sqlx_migrations`.
    Sqlx,
    /// `__diesel_schema_migrations`.
    Diesel,
}

impl Tool {
    /// Every tool.
    pub const ALL: [Tool; 5] =
        [Tool::Flyway, Tool::Liquibase, Tool::Refinery, Tool::Sqlx, Tool::Diesel];

    /// As it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tool::Flyway => "flyway",
            Tool::Liquibase => "liquibase",
            Tool::Refinery => "refinery",
            Tool::Sqlx => "sqlx",
            Tool::Diesel => "diesel",
        }
    }

    /// The tool called `name`, in either case.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.as_str().eq_ignore_ascii_case(name))
    }

    /// Where it keeps its history.
    pub const fn table(self) -> &'static str {
        match self {
            Tool::Flyway => "flyway_schema_history",
            Tool::Liquibase => "databasechangelog",
            Tool::Refinery => "refinery_schema_history",
            Tool::Sqlx => "_sqlx_migrations",
            Tool::Diesel => "__diesel_schema_migrations",
        }
    }
}

impl std::fmt::Display for Tool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is in a schema without a history of ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    objects: Vec<String>,
}

impl Found {
    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    fn tool(&self) -> Option<Tool> {
        let has = |tool: &Tool| self.objects.iter().any(|o| o.eq_ignore_ascii_case(tool.table()));
        Tool::ALL.into_iter().find(has)
    }

    /// Errors: MIG-010.
    pub(crate) fn refusal(&self, facts: &Facts) -> Error {
        const SHOWN_MAX: usize = 5;
        let what = format!(
            "the schema {} is not empty, and has no table {}",
            facts.engine.quote(&facts.schema),
            facts.table
        );
        let mut shown = self.objects.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join(", ");
        if self.objects.len() > SHOWN_MAX {
            shown += &format!(" and {} more", self.objects.len() - SHOWN_MAX);
        }
        let error = Error::new(Code::MigrationNotEmpty, what).why(format!("it has {shown}"));
        match self.tool() {
            Some(tool) => error.fix(format!(
                "{} is the history of {tool}: mainstay migrate takeover goes on with it",
                tool.table(),
                tool = tool.as_str()
            )),
            None => error,
        }
    }
}

/// What the schema has, without what belongs to extensions, to the engine and to Mainstay.
pub(crate) async fn look(database: &mut Database) -> Result<Found> {
    let facts = &database.facts;
    let schema = facts.literal(&facts.schema);
    let ours = format!("{}_mainstay", facts.table);
    let sql = match facts.engine {
        Engine::Postgres => format!(
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {schema} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
             AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') \
             UNION ALL SELECT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
             WHERE n.nspname = {schema} \
             AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') \
             ORDER BY 1"
        ),
        Engine::MySql => format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = {schema} \
             UNION ALL SELECT routine_name FROM information_schema.routines \
             WHERE routine_schema = {schema} ORDER BY 1"
        ),
        Engine::Sqlite => "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') \
                           AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1"
            .to_owned(),
    };
    let rows = database.rows(&sql).await?;
    let names = rows.iter().map(|row| row.at::<String>(0)).collect::<Result<Vec<_>>>()?;
    // What Mainstay keeps for itself, such as the map of shards, tells nothing of a schema of the user's.
    let own = |name: &String| *name == ours || name.starts_with("mainstay_");
    Ok(Found { objects: names.into_iter().filter(|name| !own(name)).collect() })
}
