//! Makes the steps of a change, out of its declaration and what the catalogue said before it. It asks
//! the database nothing, so that a run that goes on later makes the same steps.

mod add;
mod constraint;
mod mirror;
mod mirror_end;
#[cfg(test)]
mod tests;
mod triggers;

use mainstay_core::Result;
use mainstay_db::Engine;

use super::change::{Change, Kind};
use super::ground::{Column, Ground};
use super::look::refused;
use super::plan::{Fill, How, Made, Plan, Say, Step, Steps, Work};
use super::state::Phase;
use crate::database::Facts;

/// What names are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) ground: &'a Ground,
    pub(crate) change: &'a str,
}

/// Errors: MIG-017.
pub(crate) fn make(facts: &Facts, ground: &Ground, change: &Change) -> Result<Made> {
    let site = Site { facts, ground, change: &change.name };
    let mut made = match &change.kind {
        Kind::AddColumn(column) => add::column(site, column)?,
        Kind::AddUnique(unique) => constraint::unique(site, unique),
        Kind::AddForeignKey(key) => constraint::foreign_key(site, key),
        Kind::AddIndex(index) => constraint::index(site, index)?,
        kind @ (Kind::RenameColumn(_) | Kind::RetypeColumn(_) | Kind::SplitColumn(_)) => {
            mirror::mirror(site, kind)?
        }
    };
    if made.fill.is_some() && ground.key.is_empty() {
        return Err(refused(format!("{} has no primary key", ground.table))
            .why("its rows are filled batch by batch, in the order of that key"));
    }
    if site.engine() == Engine::MySql && !made.contract.is_empty() {
        // No transaction holds what goes together with the note that it is gone, so that it is written
        // down before: once anything may be gone, nothing is taken back.
        let title = "begins: from here on the change can't be taken back";
        made.contract.insert(0, Work::run(title, Vec::<String>::new()));
    }
    Ok(made)
}

/// As it is shown.
pub(crate) fn plan(change: &Change, ground: &Ground, made: &Made, site: Site<'_>) -> Plan {
    let shown = |works: &[Work]| works.iter().map(Work::shown).collect::<Vec<_>>();
    let fill = made.fill.as_ref().map(|fill| Step {
        title: "fills old rows, batch by batch".to_owned(),
        sql: vec![site.fill_sql(fill, "...")],
    });
    let phases = [
        (Phase::Expand, shown(&made.expand)),
        (Phase::Backfill, fill.into_iter().collect()),
        (Phase::Contract, shown(&made.contract)),
    ];
    Plan {
        change: change.name.clone(),
        table: ground.table.clone(),
        phases: phases
            .into_iter()
            .filter(|(_, steps)| !steps.is_empty())
            .map(|(phase, steps)| Steps { phase, steps })
            .collect(),
        notes: made.notes.clone(),
    }
}

impl Site<'_> {
    pub(crate) fn engine(&self) -> Engine {
        self.facts.engine
    }

    pub(crate) fn q(&self, name: &str) -> String {
        self.facts.engine.quote(name)
    }

    /// `a, b`, quoted.
    pub(crate) fn list(&self, names: &[String]) -> String {
        names.iter().map(|name| self.q(name)).collect::<Vec<_>>().join(", ")
    }

    /// The table, with its schema where the engine has some.
    pub(crate) fn table(&self) -> String {
        self.named(&self.ground.table)
    }

    /// A table or an index of the same schema.
    pub(crate) fn named(&self, name: &str) -> String {
        match self.engine() {
            // Its triggers may name no schema.
            Engine::Sqlite => self.q(name),
            Engine::Postgres | Engine::MySql => self.facts.qualified(name),
        }
    }

    /// What a trigger, a function or a check of this change is called.
    pub(crate) fn own(&self, suffix: &str) -> String {
        const CHARS_MAX: usize = 46;
        if self.change.len() <= CHARS_MAX {
            return format!("mainstay_{}_{suffix}", self.change);
        }
        let hash = crate::checksum::strong(self.change);
        let (head, hash) = (&self.change[..CHARS_MAX - 9], hash.get(..8).unwrap_or_default());
        format!("mainstay_{head}_{hash}_{suffix}")
    }

    /// One batch; `range` says which rows are its.
    pub(crate) fn fill_sql(&self, fill: &Fill, range: &str) -> String {
        format!("UPDATE {} SET {} WHERE {range} AND ({})", self.table(), fill.set, fill.needs)
    }

    /// The condition that a row of MySQL's catalogue is of the table.
    fn of_table(&self) -> String {
        let (schema, table) =
            (self.facts.literal(&self.facts.schema), self.facts.literal(&self.ground.table));
        format!("TABLE_SCHEMA = {schema} AND TABLE_NAME = {table}")
    }

    /// Has a row if MySQL's table has the column.
    pub(crate) fn has_column(&self, name: &str) -> String {
        format!(
            "SELECT 1 FROM information_schema.COLUMNS WHERE {} AND COLUMN_NAME = {}",
            self.of_table(),
            self.facts.literal(name)
        )
    }

    /// Has a row if MySQL's table has the index.
    pub(crate) fn has_index(&self, name: &str) -> String {
        format!(
            "SELECT 1 FROM information_schema.STATISTICS WHERE {} AND INDEX_NAME = {}",
            self.of_table(),
            self.facts.literal(name)
        )
    }

    /// Has a row if MySQL's schema has the trigger.
    pub(crate) fn has_trigger(&self, name: &str) -> String {
        format!(
            "SELECT 1 FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {} AND TRIGGER_NAME = {}",
            self.facts.literal(&self.facts.schema),
            self.facts.literal(name)
        )
    }

    /// Whether MySQL's server drops a column without writing the rows anew.
    pub(crate) fn drops_at_once(&self) -> bool {
        if self.facts.mariadb {
            self.facts.at_least(10, 4, 0)
        } else {
            self.facts.at_least(8, 0, 29)
        }
    }

    /// The condition that `expr` is NULL. PostgreSQL's IS NULL also holds of a row of NULLs.
    pub(crate) fn is_null(&self, expr: &str) -> String {
        match self.engine() {
            Engine::Postgres => format!("{expr} IS NOT DISTINCT FROM NULL"),
            Engine::MySql | Engine::Sqlite => format!("{expr} IS NULL"),
        }
    }

    /// The condition that it is not.
    pub(crate) fn is_given(&self, expr: &str) -> String {
        match self.engine() {
            Engine::Postgres => format!("{expr} IS DISTINCT FROM NULL"),
            Engine::MySql | Engine::Sqlite => format!("{expr} IS NOT NULL"),
        }
    }

    /// Has a row if MySQL's table has the foreign key.
    pub(crate) fn has_foreign_key(&self, name: &str) -> String {
        format!(
            "SELECT 1 FROM information_schema.TABLE_CONSTRAINTS WHERE {} AND CONSTRAINT_NAME = {} \
             AND CONSTRAINT_TYPE = 'FOREIGN KEY'",
            self.of_table(),
            self.facts.literal(name)
        )
    }

    /// The key of a row of `alias`, as an expression for people.
    pub(crate) fn key_shown(&self, alias: &str) -> String {
        let part = |name: &str| {
            let (title, value) = (format!("{name}="), format!("{alias}.{}", self.q(name)));
            let title = self.facts.literal(&title);
            match self.engine() {
                Engine::Postgres => format!("{title} || {value}::text"),
                Engine::Sqlite => format!("{title} || {value}"),
                Engine::MySql => format!("CONCAT({title}, CAST({value} AS CHAR))"),
            }
        };
        let parts: Vec<_> = self.ground.key.iter().map(|key| part(&key.name)).collect();
        match (parts.as_slice(), self.engine()) {
            ([], _) => "'a row, of no key'".to_owned(),
            (parts, Engine::MySql) => format!("CONCAT_WS(', ', {})", parts.join(", ")),
            (parts, _) => parts.join(" || ', ' || "),
        }
    }

    /// A column that is NULL to begin with, added by the engine's cheapest way.
    pub(crate) fn add_column(&self, name: &str, kind: &str, comment: &str) -> Work {
        let title = format!("adds the column {name}, empty");
        let sql = format!("ALTER TABLE {} ADD COLUMN {} {kind}", self.table(), self.q(name));
        match self.engine() {
            Engine::MySql => {
                let sql = format!("{sql} NULL{}", self.comment(comment));
                self.alter(title, &sql, Some(&self.has_column(name)))
            }
            Engine::Postgres | Engine::Sqlite => Work::run(title, [sql]),
        }
    }

    /// MySQL's ALTER TABLE without a copy: at once if the server can, else in place.
    pub(crate) fn alter(&self, title: String, sql: &str, unless: Option<&str>) -> Work {
        Work::new(title, How::First(self.ways(sql, unless, true)))
    }

    /// MySQL's ways to do `sql`, the best first.
    pub(crate) fn ways(&self, sql: &str, unless: Option<&str>, alone: bool) -> Vec<Say> {
        let least = if self.facts.mariadb { (10, 3, 0) } else { (8, 0, 12) };
        let (a, b, c) = least;
        let lock = if alone { ", LOCK=NONE" } else { "" };
        let instant = self.facts.at_least(a, b, c).then(|| format!("{sql}, ALGORITHM=INSTANT"));
        let ways = instant.into_iter().chain([format!("{sql}, ALGORITHM=INPLACE{lock}")]);
        ways.map(|sql| Say { sql, unless: unless.map(str::to_owned) }).collect()
    }

    /// MySQL's definition of a column, after its name.
    pub(crate) fn definition(&self, column: &Column) -> String {
        let null = if column.nullable { " NULL" } else { " NOT NULL" };
        let default = column.default.as_ref().map(|d| format!(" DEFAULT {d}")).unwrap_or_default();
        format!("{}{null}{default}{}", column.kind, self.comment(&column.comment))
    }

    fn comment(&self, comment: &str) -> String {
        if comment.is_empty() {
            return String::new();
        }
        format!(" COMMENT {}", self.facts.literal(comment))
    }

    /// PostgreSQL's way to NOT NULL without a long lock: a check that is not validated at first.
    pub(crate) fn not_null_checks(&self, columns: &[String]) -> Vec<Work> {
        if columns.is_empty() {
            return Vec::new();
        }
        let (table, check) = (self.table(), self.q(&self.own("nn")));
        let all: Vec<_> = columns.iter().map(|c| self.is_given(&self.q(c))).collect();
        let names = columns.join(", ");
        vec![
            Work::run(
                format!("has new rows checked: {names} not NULL"),
                [format!(
                    "ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({}) NOT VALID",
                    all.join(" AND ")
                )],
            ),
            Work::run(
                format!("checks old rows, beside writers: {names} not NULL"),
                [format!("ALTER TABLE {table} VALIDATE CONSTRAINT {check}")],
            ),
        ]
    }

    /// What makes use of those checks, to be run at the end in one transaction.
    pub(crate) fn not_null_set(&self, columns: &[String]) -> Vec<String> {
        let (table, check) = (self.table(), self.q(&self.own("nn")));
        let set =
            |c: &String| format!("ALTER TABLE {table} ALTER COLUMN {} SET NOT NULL", self.q(c));
        let mut sql: Vec<_> = columns.iter().map(set).collect();
        if !columns.is_empty() {
            sql.push(format!("ALTER TABLE {table} DROP CONSTRAINT {check}"));
        }
        sql
    }
}

/// Has a row where `sql` has none, on MySQL.
pub(crate) fn none(sql: &str) -> String {
    format!("SELECT 1 FROM (SELECT COUNT(*) AS n FROM ({sql}) a) b WHERE n = 0")
}
