//! Finds statements that would stop an application while they run, lose data, or fail half-way,
//! before they run; with the catalogue of the very database that they are for.
//!
//! A rule that is about scanning or rewriting says nothing of a table with few rows, and hardly any
//! speaks of a table that the same run creates. Every [`Finding`] says what would happen, why it
//! matters, and how the same is had safely, as SQL for that table where that can be written.
//!
//! ```
//! use mainstay_migrate::Migrations;
//! use mainstay_migrate::lint::LintOptions;
//!
//! let migrations = Migrations::new().text("V2__i.sql", "CREATE INDEX i ON orders (user_id)");
//! let linted = migrations.lint(mainstay_db::Engine::Postgres, [], LintOptions::default())?;
//! assert_eq!(linted[0].findings[0].code.as_str(), "LINT-001");
//! # Ok::<(), mainstay_core::Error>(())
//! ```
//!
//! What it does not do: it changes nothing, connects to nothing and prints nothing. It reads no
//! bodies of functions, triggers and `DO` blocks, and does not look through dynamic SQL.

mod allow;
mod catalogue;
mod check;
mod linter;
mod load;
mod parse;
mod rules;
#[cfg(test)]
mod tests;

use mainstay_core::Code;
use mainstay_db::Engine;

pub use allow::Allows;
pub use catalogue::{Catalogue, Column, Index, Server, Table};
pub use check::Linted;
pub use linter::Linter;
pub(crate) use load::load;

/// What a rule has to say of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule's code.
    pub code: Code,
    /// The statement's line in its file, from 1.
    pub line: usize,
    /// The statement's column, from 1.
    pub column: usize,
    /// What would happen.
    pub what: String,
    /// Why that matters.
    pub why: String,
    /// How the same is had safely: SQL for this table where possible.
    pub fix: String,
    /// The table it is about, as it is written.
    pub table: Option<String>,
}

/// What the rules take for granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LintOptions {
    /// Below this many rows, scans and rewrites are not worth a word.
    pub rows_small: u64,
    /// Whether whoever runs the statements bounds their wait for locks.
    pub lock_timeout_set: bool,
}

impl Default for LintOptions {
    fn default() -> Self {
        LintOptions { rows_small: 10_000, lock_timeout_set: true }
    }
}

/// Names of the tables that a text is about, so that the caller can load them: without quotes, and
/// folded as the engine folds names. One statement or several.
pub fn tables_of(text: &str, engine: Engine) -> Vec<String> {
    parse::tables(text, engine).into_iter().map(|name| name.real).collect()
}
