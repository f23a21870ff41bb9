//! What the catalogue said of the table when the change began. It is kept with the change, since the
//! change itself alters what the catalogue says.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Row};
use serde::{Deserialize, Serialize};

use super::expr::same;

/// A table before its change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ground {
    /// As the catalogue has it.
    pub(crate) table: String,
    /// About how many there are.
    pub(crate) rows: u64,
    pub(crate) columns: Vec<Column>,
    /// What its rows are gone through by: the primary key, or SQLite's rowid. Empty if there is none.
    pub(crate) key: Vec<Key>,
    /// The primary key's not among them.
    pub(crate) indexes: Vec<Index>,
    /// The names of its triggers.
    pub(crate) triggers: Vec<String>,
    /// Whether what the key is called is the table's rowid.
    pub(crate) by_rowid: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// As a definition writes it.
    pub(crate) kind: String,
    pub(crate) nullable: bool,
    /// As a definition writes it.
    pub(crate) default: Option<String>,
    pub(crate) generated: bool,
    /// Numbered by the server.
    pub(crate) numbered: bool,
    /// Set by MySQL at each update of the row.
    pub(crate) on_update: bool,
    pub(crate) primary: bool,
    /// MySQL's, which each definition must repeat.
    pub(crate) comment: String,
}

/// A column of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) class: KeyClass,
}

/// How a value of a key's column is written in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyClass {
    Number,
    Text,
    Binary,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) unique: bool,
    /// The constraint that it serves.
    pub(crate) constraint: Option<String>,
    /// In order; none where there is an expression.
    pub(crate) columns: Vec<String>,
    /// What follows the table's name in its definition.
    pub(crate) definition: String,
    /// Neither partial nor with expressions: it can be made again for another column.
    pub(crate) plain: bool,
}

impl Ground {
    pub(crate) fn column(&self, engine: Engine, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| same(engine, &column.name, name))
    }

    /// Errors: MIG-017.
    pub(crate) fn need(&self, engine: Engine, name: &str) -> Result<&Column> {
        self.column(engine, name).ok_or_else(|| {
            let all: Vec<_> = self.columns.iter().map(|c| c.name.as_str()).collect();
            Error::new(Code::ExpandPlan, format!("{} has no column `{name}`", self.table))
                .why(format!("its columns are {}", all.join(", ")))
        })
    }

    /// The plain indexes that have the column.
    pub(crate) fn indexes_of<'g>(
        &'g self,
        engine: Engine,
        column: &'g str,
    ) -> impl Iterator<Item = &'g Index> + 'g {
        self.indexes
            .iter()
            .filter(move |i| i.plain && i.columns.iter().any(|c| same(engine, c, column)))
    }

    /// Whether an index begins with these columns.
    pub(crate) fn has_index_on(&self, engine: Engine, columns: &[String]) -> bool {
        let begins = |of: &[String]| {
            of.len() >= columns.len() && of.iter().zip(columns).all(|(a, b)| same(engine, a, b))
        };
        let key: Vec<_> = self.key.iter().map(|key| key.name.clone()).collect();
        (!self.by_rowid && begins(&key))
            || self.indexes.iter().any(|i| i.plain && begins(&i.columns))
    }
}

/// The text of a column of an answer; empty for NULL.
pub(crate) fn text(row: &Row, n: usize) -> Result<String> {
    row.at::<Option<String>>(n).map(Option::unwrap_or_default)
}

/// Whether a column of an answer is the text `1`.
pub(crate) fn flag(row: &Row, n: usize) -> Result<bool> {
    text(row, n).map(|text| text == "1")
}
