//! Finds out whose history a database has, and in which table.

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use super::{Takeover, Tool, look};
use crate::database::Database;

/// A history to be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) tool: Tool,
    /// As the database spells it.
    pub(super) table: String,
}

/// The history that `how` means. Errors: MIG-016 where there is none, or several to choose from.
pub(super) async fn source(database: &mut Database, how: &Takeover) -> Result<Source> {
    let found = all(database).await?;
    let named = |source: &&Source| {
        how.tool.is_none_or(|tool| tool == source.tool)
            && how.table.as_ref().is_none_or(|table| table.eq_ignore_ascii_case(&source.table))
    };
    let fitting: Vec<_> = found.iter().filter(named).collect();
    match fitting.as_slice() {
        [only] => Ok((*only).clone()),
        [] => renamed(database, how, &found).await,
        several => {
            let all: Vec<_> = several.iter().map(|s| format!("{} ({})", s.table, s.tool)).collect();
            let what = "several tools have a history here";
            Err(Error::new(Code::MigrationHistory, what)
                .why(all.join(", "))
                .fix("say which with --from, and with --from-table if a tool has two"))
        }
    }
}

/// A table that only its user knows, since it has another name than the tool gives it.
async fn renamed(database: &mut Database, how: &Takeover, found: &[Source]) -> Result<Source> {
    if let (Some(tool), Some(table)) = (how.tool, &how.table)
        && database.has_table(table).await?
    {
        return Ok(Source { tool, table: table.clone() });
    }
    let schema = database.facts.engine.quote(&database.facts.schema);
    let whose = how.tool.map_or_else(|| "another tool".to_owned(), |tool| tool.to_string());
    let what = format!("there is no history of {whose} in the schema {schema}");
    let error = Error::new(Code::MigrationHistory, what)
        .fix("name the tool and its table with --from and --from-table");
    Err(match found {
        [] => error,
        found => {
            let all: Vec<_> = found.iter().map(|s| format!("{} ({})", s.table, s.tool)).collect();
            error.why(format!("it has {}", all.join(", ")))
        }
    })
}

/// Every history of another tool; our own table is one only where nothing else is, since it may be
/// Flyway's own, which needs no taking over.
async fn all(database: &mut Database) -> Result<Vec<Source>> {
    let objects = look(database).await?.objects;
    let mut out = Vec::new();
    for tool in Tool::ALL.into_iter().filter(|tool| *tool != Tool::Flyway) {
        let tables = objects.iter().filter(|name| name.eq_ignore_ascii_case(tool.table()));
        out.extend(tables.map(|table| Source { tool, table: table.clone() }));
    }
    let (ours, others): (Vec<_>, Vec<_>) =
        flyway(database).await?.into_iter().partition(|table| *table == database.facts.table);
    let of_flyway = |table| Source { tool: Tool::Flyway, table };
    out.extend(others.into_iter().map(of_flyway));
    if out.is_empty() {
        out.extend(ours.into_iter().map(of_flyway));
    }
    Ok(out)
}

/// The tables that look like Flyway's, by a column that nothing else has.
async fn flyway(database: &mut Database) -> Result<Vec<String>> {
    let schema = database.facts.literal(&database.facts.schema);
    let sql = match database.facts.engine {
        Engine::Postgres => format!(
            "SELECT table_name::text FROM information_schema.columns \
             WHERE table_schema = {schema} AND column_name = 'installed_rank' ORDER BY 1"
        ),
        Engine::MySql => format!(
            "SELECT CAST(table_name AS CHAR) FROM information_schema.columns \
             WHERE table_schema = {schema} AND column_name = 'installed_rank' ORDER BY 1"
        ),
        Engine::Sqlite => "SELECT t.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c \
                           WHERE t.type = 'table' AND c.name = 'installed_rank' ORDER BY 1"
            .to_owned(),
    };
    let aside = format!("{}{}", database.facts.table, super::store::ASIDE);
    let rows = database.rows(&sql).await?;
    let names = rows.iter().map(|row| row.at::<String>(0)).collect::<Result<Vec<_>>>()?;
    Ok(names.into_iter().filter(|name| *name != aside).collect())
}
