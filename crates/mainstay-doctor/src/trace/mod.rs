//! Traces: what was observed, statement by statement, as lines of JSON. `docs/guide/doctor-traces.md` has
//! the format, which is stable.
//!
//! Nothing is judged here: that is what `detect` is for.

mod lex;
mod read;
mod sql;
mod value;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

pub use read::{LINE_MAX, read};
pub(crate) use sql::{Slot, Source, Use};
pub use sql::{Sql, Verb};
pub use value::{Bind, Weight};
pub(crate) use write::line;

/// The request or job that a statement ran for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeOf {
    /// The same for all that one request or job did.
    pub id: u64,
    /// The route or the job's name.
    pub name: Option<Arc<str>>,
}

/// The values of one column that a statement returned, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// The column's name.
    pub column: Arc<str>,
    /// Its values; the first ones alone where there were many.
    pub values: Vec<Bind>,
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it began, in microseconds of whatever clock: of the Unix epoch where Mainstay recorded it.
    pub at_us: u64,
    /// From having a connection to the end of the result.
    pub dur_us: u64,
    /// What it ran for.
    pub scope: Option<ScopeOf>,
    /// The task that it ran on.
    pub task: Option<u64>,
    /// The transaction that it ran in.
    pub tx: Option<u64>,
    /// The connection that it ran on.
    pub conn: Option<u64>,
    /// `file:line` of the program.
    pub site: Option<Arc<str>>,
    /// Its text.
    pub sql: Arc<Sql>,
    /// What it was bound with, if that is known.
    pub binds: Option<Vec<Bind>>,
    /// Rows that it returned.
    pub rows: Option<u64>,
    /// Values of columns that look like keys.
    pub returned: Vec<Returned>,
    /// The error that it ended in.
    pub error: Option<Arc<str>>,
}

impl Event {
    /// When it ended.
    pub fn end_us(&self) -> u64 {
        self.at_us.saturating_add(self.dur_us)
    }

    /// The value in `slot`, if it is known.
    pub(crate) fn value(&self, slot: &Slot) -> Option<Bind> {
        match &slot.source {
            Source::Literal(value) => Some(*value),
            Source::Bound(index) => self.binds.as_ref()?.get(*index).copied(),
        }
    }

    /// All that it was asked with: two with the same are the same question.
    pub(crate) fn question(&self) -> Option<Vec<Bind>> {
        if let Some(binds) = &self.binds
            && !binds.is_empty()
        {
            return Some(binds.clone());
        }
        // Without placeholders, its values are in the text.
        let literals = || self.sql.slots.iter().filter_map(|slot| self.value(slot)).collect();
        (self.sql.params == 0).then(literals)
    }

    /// Rows that it returned, as far as that is known.
    pub(crate) fn rows_known(&self) -> Option<u64> {
        let returned = || self.returned.iter().map(|r| r.values.len() as u64).max();
        self.rows.or_else(returned)
    }
}

/// Texts of SQL, each looked through once.
#[derive(Debug, Default)]
pub(crate) struct Texts(HashMap<Arc<str>, Arc<Sql>>);

impl Texts {
    /// Texts remembered: beyond, they are put together at run time, and all are forgotten.
    const MAX: usize = 8192;

    pub(crate) fn get(&mut self, text: &str) -> Arc<Sql> {
        if let Some(sql) = self.0.get(text) {
            return Arc::clone(sql);
        }
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        let sql = Arc::new(Sql::new(text));
        self.0.insert(text.into(), Arc::clone(&sql));
        sql
    }
}
