//! A constraint that was violated, in the same words on every engine.

use mainstay_core::{Code, Error};

/// Which kind of constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ViolationKind {
    /// UNIQUE or PRIMARY KEY.
    Unique,
    /// FOREIGN KEY, from either side.
    ForeignKey,
    /// NOT NULL.
    NotNull,
    /// CHECK or EXCLUDE.
    Check,
}

/// A violated constraint, as far as the engine names it. It is the [detail](Error::detail) of
/// errors with the codes DB-001 to DB-004.
///
/// | | constraint | table | columns |
/// |---|---|---|---|
/// | PostgreSQL | all but NOT NULL | all | unique, NOT NULL, foreign key |
/// | MySQL, MariaDB | all but NOT NULL | unique (MySQL 8), foreign key, check | NOT NULL, foreign key |
/// | SQLite | CHECK | unique, NOT NULL | unique, NOT NULL |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its kind.
    pub kind: ViolationKind,
    /// The constraint's name.
    pub constraint: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// The columns.
    pub columns: Vec<String>,
}

impl Violation {
    pub(crate) fn new(kind: ViolationKind) -> Self {
        Self { kind, constraint: None, table: None, columns: Vec::new() }
    }

    /// The error, worded from the names alone: the server's message would quote the values.
    pub(crate) fn into_error(self) -> Error {
        let columns = self.columns.join(", ");
        let on = match (&self.table, columns.as_str()) {
            (Some(table), "") => format!(" of {table}"),
            (Some(table), columns) => format!(" of {table} ({columns})"),
            (None, "") => String::new(),
            (None, columns) => format!(" ({columns})"),
        };
        let name = self.constraint.as_ref().map_or_else(String::new, |c| format!(" `{c}`"));
        let (code, what) = match self.kind {
            ViolationKind::Unique => {
                (Code::Unique, format!("the unique constraint{name}{on} is violated"))
            }
            ViolationKind::ForeignKey => {
                (Code::ForeignKey, format!("the foreign key{name}{on} is violated"))
            }
            ViolationKind::NotNull => {
                (Code::NotNull, format!("NULL where a value is required{on}"))
            }
            ViolationKind::Check => (Code::Check, format!("the check{name}{on} is violated")),
        };
        Error::new(code, what).with_detail(self)
    }
}

/// The text between the first `open` and the next `close`.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let start = text.find(open)? + open.len();
    Some(&text[start..start + text[start..].find(close)?])
}
