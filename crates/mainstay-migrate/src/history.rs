//! Flyway's table of what was applied, made and kept as Flyway does, so that either can go on where
//! the other stopped.

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use crate::database::{Database, Facts};
use crate::version::Version;

const DESCRIPTION_CHARS_MAX: usize = 200;
const SCRIPT_CHARS_MAX: usize = 1000;

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) rank: i32,
    pub(crate) version: Option<Version>,
    pub(crate) description: String,
    /// `SQL`, `BASELINE`, `UNDO_SQL` and the like.
    pub(crate) kind: String,
    pub(crate) script: String,
    pub(crate) checksum: Option<i32>,
    pub(crate) by: String,
    pub(crate) on: String,
    pub(crate) execution_ms: i32,
    pub(crate) success: bool,
}

impl Applied {
    /// One that is yet to be numbered, and was applied successfully.
    pub(crate) fn new(
        kind: &str,
        version: Option<Version>,
        description: &str,
        script: &str,
    ) -> Self {
        Self {
            rank: 0,
            version,
            description: abbreviate(description),
            kind: kind.to_owned(),
            script: shorten_front(script),
            checksum: None,
            by: String::new(),
            on: String::new(),
            execution_ms: 0,
            success: true,
        }
    }

    pub(crate) fn is_undo(&self) -> bool {
        self.kind.starts_with("UNDO_")
    }

    pub(crate) fn is_baseline(&self) -> bool {
        self.kind == "BASELINE"
            || self.kind.ends_with("_BASELINE")
            || self.kind.ends_with("STATE_SCRIPT")
    }

    /// Whether it stands for no file.
    pub(crate) fn is_synthetic(&self) -> bool {
        matches!(self.kind.as_str(), "SCHEMA" | "BASELINE" | "DELETE")
    }

    /// As messages name it.
    pub(crate) fn name(&self) -> String {
        match &self.version {
            Some(version) => format!("version {version} ({})", self.description),
            None => format!("`{}`", self.description),
        }
    }
}

/// As the table has room for it.
pub(crate) fn abbreviate(description: &str) -> String {
    if description.chars().count() <= DESCRIPTION_CHARS_MAX {
        return description.to_owned();
    }
    description.chars().take(DESCRIPTION_CHARS_MAX - 3).chain("...".chars()).collect()
}

fn shorten_front(script: &str) -> String {
    let count = script.chars().count();
    if count <= SCRIPT_CHARS_MAX {
        return script.to_owned();
    }
    "...".chars().chain(script.chars().skip(count - SCRIPT_CHARS_MAX + 3)).collect()
}

/// The history of one database, as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Whether the table is there.
    pub(crate) exists: bool,
    /// By rank.
    pub(crate) rows: Vec<Applied>,
}

impl History {
    /// Errors: MIG-016 where the table is not one that can be read.
    pub(crate) async fn read(database: &mut Database) -> Result<Self> {
        if !database.has_table(&database.facts.table.clone()).await? {
            return Ok(Self::default());
        }
        let facts = &database.facts;
        // With the table before it, SQLite does not take a quoted name for a string.
        let q = |name| format!("h.{}", facts.engine.quote(name));
        let on = match facts.engine {
            Engine::Postgres => format!("to_char({}, 'YYYY-MM-DD HH24:MI:SS')", q("installed_on")),
            Engine::MySql => format!("DATE_FORMAT({}, '%Y-%m-%d %H:%i:%s')", q("installed_on")),
            Engine::Sqlite => format!("substr({}, 1, 19)", q("installed_on")),
        };
        let first = ["installed_rank", "version", "description", "type", "script", "checksum"];
        let mut columns: Vec<_> = first.into_iter().map(q).collect();
        columns.extend([q("installed_by"), on, q("execution_time"), q("success")]);
        let (table, from) = (facts.history(), format!("{} h", facts.history()));
        let rows = database.texts(&columns, &from).await;
        let rows = rows.map_err(|error| unreadable(&table, error))?;
        let mut rows: Vec<Applied> =
            rows.into_iter().map(|row| applied(row, &table)).collect::<Result<_>>()?;
        rows.sort_by_key(|row| row.rank);
        Ok(Self { exists: true, rows })
    }

    pub(crate) fn next_rank(&self) -> i32 {
        self.rows.last().map_or(1, |row| row.rank + 1)
    }

    /// Makes the table, unless it is there.
    pub(crate) async fn create(&mut self, database: &mut Database) -> Result<()> {
        self.create_with(database, None).await
    }

    /// As [`create`](Self::create), with its first row. All in one transaction where the engine can.
    pub(crate) async fn create_with(
        &mut self,
        database: &mut Database,
        first: Option<Applied>,
    ) -> Result<()> {
        if self.exists {
            return Ok(());
        }
        let first = first.map(|row| self.insert_sql(&database.facts, row));
        let mut sql = create_sql(&database.facts);
        if let Some((_, insert)) = &first {
            sql += &format!("; {insert}");
        }
        if database.facts.engine == Engine::Sqlite {
            sql = format!("BEGIN IMMEDIATE; {sql}; COMMIT");
        }
        if let Err(error) = database.run(&sql).await {
            // What failed is told, not that nothing was left to roll back.
            let _ = database.rollback().await;
            return Err(error);
        }
        self.exists = true;
        self.rows.extend(first.map(|(row, _)| row));
        Ok(())
    }

    /// Adds `row` as the next. The caller has a transaction open, or wants none.
    pub(crate) async fn insert(&mut self, database: &mut Database, row: Applied) -> Result<()> {
        let (row, sql) = self.insert_sql(&database.facts, row);
        database.run(&sql).await?;
        self.rows.push(row);
        Ok(())
    }

    /// `row` with its number, and the statement that adds it.
    pub(crate) fn insert_sql(&self, facts: &Facts, mut row: Applied) -> (Applied, String) {
        row.rank = self.next_rank();
        let text = |text: &str| facts.literal(text);
        let names = [
            "installed_rank",
            "version",
            "description",
            "type",
            "script",
            "checksum",
            "installed_by",
            "execution_time",
            "success",
        ];
        let names: Vec<_> = names.iter().map(|name| facts.engine.quote(name)).collect();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}, {}, {}, {}, {}, {}, {}, {}, {})",
            facts.history(),
            names.join(", "),
            row.rank,
            row.version.as_ref().map_or("NULL".to_owned(), |v| text(v.as_str())),
            text(&row.description),
            text(&row.kind),
            text(&row.script),
            row.checksum.map_or("NULL".to_owned(), |c| c.to_string()),
            text(&row.by),
            row.execution_ms,
            if row.success { "TRUE" } else { "FALSE" },
        );
        (row, sql)
    }

    /// Removes the rows that `gone` says.
    pub(crate) async fn remove(
        &mut self,
        database: &mut Database,
        gone: impl Fn(&Applied) -> bool,
    ) -> Result<Vec<Applied>> {
        let (removed, kept): (Vec<_>, Vec<_>) = self.rows.drain(..).partition(gone);
        self.rows = kept;
        for row in &removed {
            let (table, rank) =
                (database.facts.history(), database.facts.engine.quote("installed_rank"));
            database.run(&format!("DELETE FROM {table} WHERE {rank} = {}", row.rank)).await?;
        }
        Ok(removed)
    }

    /// Makes the row of `rank` say what the file does.
    pub(crate) async fn realign(
        &mut self,
        database: &mut Database,
        rank: i32,
        description: &str,
        kind: &str,
        checksum: i32,
    ) -> Result<()> {
        let facts = &database.facts;
        let q = |name| facts.engine.quote(name);
        let sql = format!(
            "UPDATE {} SET {} = {}, {} = {}, {} = {checksum} WHERE {} = {rank}",
            facts.history(),
            q("description"),
            facts.literal(&abbreviate(description)),
            q("type"),
            facts.literal(kind),
            q("checksum"),
            q("installed_rank"),
        );
        database.run(&sql).await?;
        if let Some(row) = self.rows.iter_mut().find(|row| row.rank == rank) {
            (row.description, row.kind) = (abbreviate(description), kind.to_owned());
            row.checksum = Some(checksum);
        }
        Ok(())
    }
}

fn unreadable(table: &str, error: Error) -> Error {
    if error.code() != Code::Undefined {
        return error;
    }
    Error::new(Code::MigrationHistory, format!("{table} is no history of migrations"))
        .fix("name another table with migrate.table")
        .cause(error)
}

fn applied(row: Vec<Option<String>>, table: &str) -> Result<Applied> {
    let mut row = row.into_iter();
    let mut next = || row.next().flatten();
    let bad = |what: &str, text: &str| {
        Error::new(Code::MigrationHistory, format!("{table} has the {what} `{text}`"))
    };
    let number = |what: &str, text: Option<String>| {
        let text = text.unwrap_or_default();
        text.parse::<i32>().map_err(|_| bad(what, &text))
    };
    let rank = number("installed_rank", next())?;
    let version = match next() {
        None => None,
        Some(text) => Some(Version::parse(&text).ok_or_else(|| bad("version", &text))?),
    };
    Ok(Applied {
        rank,
        version,
        description: next().unwrap_or_default(),
        kind: next().unwrap_or_default(),
        script: next().unwrap_or_default(),
        checksum: next().map(|text| number("checksum", Some(text))).transpose()?,
        by: next().unwrap_or_default(),
        on: next().unwrap_or_default(),
        execution_ms: number("execution_time", next())?,
        success: matches!(next().as_deref(), Some("true" | "1" | "t")),
    })
}

pub(crate) fn create_sql(facts: &Facts) -> String {
    let q = |name: &str| facts.engine.quote(name);
    let (pk, index) = (q(&format!("{}_pk", facts.table)), format!("{}_s_idx", facts.table));
    let (rank_more, on, primary) = match facts.engine {
        Engine::Postgres => ("", "TIMESTAMP NOT NULL DEFAULT now()", String::new()),
        Engine::MySql => (
            "",
            "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP",
            format!(", CONSTRAINT {pk} PRIMARY KEY ({})", q("installed_rank")),
        ),
        Engine::Sqlite => (
            " PRIMARY KEY",
            "TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f','now'))",
            String::new(),
        ),
    };
    let table = facts.history();
    let create = format!(
        "CREATE TABLE {table} ({} INT NOT NULL{rank_more}, {} VARCHAR(50), \
         {} VARCHAR(200) NOT NULL, {} VARCHAR(20) NOT NULL, {} VARCHAR(1000) NOT NULL, \
         {} INT, {} VARCHAR(100) NOT NULL, {} {on}, {} INT NOT NULL, \
         {} BOOLEAN NOT NULL{primary})",
        q("installed_rank"),
        q("version"),
        q("description"),
        q("type"),
        q("script"),
        q("checksum"),
        q("installed_by"),
        q("installed_on"),
        q("execution_time"),
        q("success"),
    );
    let success = q("success");
    match facts.engine {
        Engine::Postgres => format!(
            "{create}; ALTER TABLE {table} ADD CONSTRAINT {pk} PRIMARY KEY ({}); \
             CREATE INDEX {} ON {table} ({success})",
            q("installed_rank"),
            q(&index)
        ),
        Engine::MySql => format!("{create}; CREATE INDEX {} ON {table} ({success})", q(&index)),
        Engine::Sqlite => format!(
            "{create}; CREATE INDEX {}.{} ON {} ({success})",
            q(&facts.schema),
            q(&index),
            q(&facts.table)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_as_flyway_cuts_them() {
        let long = "d".repeat(201);
        assert_eq!(abbreviate(&long), format!("{}...", "d".repeat(197)));
        assert_eq!(abbreviate("short"), "short");
        let path = format!("{}/V1__a.sql", "x".repeat(1000));
        let short = shorten_front(&path);
        assert!(short.starts_with("...x") && short.ends_with("/V1__a.sql"));
        assert_eq!(short.chars().count(), 1000);
    }
}
