//! What the rules know of the server and its tables. It asks nothing itself: the caller loads.

use std::collections::HashMap;

use mainstay_db::Engine;

/// The server that the migration is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its engine.
    pub engine: Engine,
    /// Whether it is MariaDB, whose engine is [`Engine::MySql`] too.
    pub mariadb: bool,
    /// Major, minor and patch. PostgreSQL's 16.3 is `(16, 3, 0)`.
    pub version: (u32, u32, u32),
}

impl Server {
    pub(super) fn is(&self, engine: Engine) -> bool {
        self.engine == engine
    }

    pub(super) fn before(&self, major: u32, minor: u32, patch: u32) -> bool {
        self.version < (major, minor, patch)
    }
}

/// What is known of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// About how many rows it has: the server's estimate will do.
    pub rows: u64,
    /// Its columns in order.
    pub columns: Vec<Column>,
    /// Its indexes, those of its constraints included.
    pub indexes: Vec<Index>,
    /// How many foreign keys of other tables refer to it.
    pub referenced_by: u32,
    /// The collation of new columns (MySQL).
    pub collation: Option<String>,
}

/// What is known of a column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as the catalogue names it, such as `character varying(50)`.
    pub kind: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Its collation, where it has one (MySQL).
    pub collation: Option<String>,
    /// Whether a valid `CHECK (column IS NOT NULL)` exists (PostgreSQL).
    pub checked_not_null: bool,
}

/// What is known of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Its columns in order. Empty where it is partial, has expressions or prefixes, or is no
    /// B-tree.
    pub columns: Vec<String>,
    /// Whether its columns are all that is to be said of it: each upwards, in its own collation and
    /// the usual way of comparing, with nothing besides. Only such an index stands in for another.
    pub plain: bool,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether it can be used: false after a CREATE INDEX CONCURRENTLY that failed.
    pub valid: bool,
}

impl Table {
    /// The column called `name`, in any case.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

/// Where the linter looks facts up. The caller loads the tables that the statements name: see
/// [`tables_of`](super::tables_of).
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// By name, without quotes and in lower case, with or without a schema.
    pub tables: HashMap<String, Table>,
}

/// The schemas that a name without one is looked for in.
const USUAL: [&str; 2] = ["public", "main"];

impl Catalogue {
    /// Adds a table under a name as a statement writes it.
    pub fn insert(&mut self, name: &str, table: Table) {
        self.tables.insert(key(name), table);
    }

    /// The table that a statement calls `name`, with or without quotes. `public.orders` and
    /// `main.orders` are `orders`.
    pub fn get(&self, name: &str) -> Option<&Table> {
        let key = key(name);
        if let Some(found) = self.tables.get(&key) {
            return Some(found);
        }
        match key.split_once('.') {
            Some((schema, bare)) if USUAL.contains(&schema) => self.tables.get(bare),
            Some(_) => None,
            None => USUAL.iter().find_map(|schema| self.tables.get(&format!("{schema}.{key}"))),
        }
    }

    /// The name of the table that has the index called `name`, with the index.
    pub(super) fn index(&self, name: &str) -> Option<(&str, &Index)> {
        self.tables.iter().find_map(|(table, facts)| {
            let index = facts.indexes.iter().find(|i| i.name.eq_ignore_ascii_case(name))?;
            Some((table.as_str(), index))
        })
    }
}

fn key(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '"' | '`' | '[' | ']')).collect::<String>().to_lowercase()
}
