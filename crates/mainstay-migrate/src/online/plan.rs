//! What a change consists of: its steps, as they are shown and as they are run.

use std::fmt;

use serde::Serialize;

use super::rebuild::Rebuild;
use super::state::Phase;

/// The steps of a change, on one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The change's name.
    pub change: String,
    /// The table that it changes.
    pub table: String,
    /// Its phases in order, those with nothing to do left out.
    pub phases: Vec<Steps>,
    /// What ought to be known beforehand.
    pub notes: Vec<String>,
}

/// The steps of a phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// Which.
    pub phase: Phase,
    /// In order.
    pub steps: Vec<Step>,
}

/// One step: what it does, and the statements that it sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it does.
    pub title: String,
    /// How. What stands in `--` comments is done by several statements that depend on the table.
    pub sql: Vec<String>,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "-- {} on {}", self.change, self.table)?;
        for note in &self.notes {
            writeln!(f, "-- note: {note}")?;
        }
        for Steps { phase, steps } in &self.phases {
            writeln!(f, "\n-- {phase}")?;
            for (n, step) in steps.iter().enumerate() {
                writeln!(f, "-- {}. {}", n + 1, step.title)?;
                for sql in &step.sql {
                    writeln!(f, "{sql}{}", if sql.starts_with("--") { "" } else { ";" })?;
                }
            }
        }
        Ok(())
    }
}

/// A step as it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) title: String,
    pub(crate) how: How,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// In one transaction with the note that it is done; MySQL commits each by itself.
    Run(Vec<Say>),
    /// The first that the server can do: MySQL's ways to alter a table.
    First(Vec<Say>),
    /// While nobody else can write to the table: MySQL. Each of the inner lists as for `First`.
    Locked { table: String, each: Vec<Vec<Say>> },
    /// An index that PostgreSQL builds beside running transactions.
    Index(String),
    /// Looks for rows that stand in the way, by their keys.
    Look(Look),
    /// SQLite's.
    Rebuild(Rebuild),
}

/// A statement, and how to find out that it was done before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Say {
    pub(crate) sql: String,
    /// It is left out where this has a row.
    pub(crate) unless: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) sql: String,
    /// What is wrong with the rows that it finds.
    pub(crate) what: String,
    /// What is taken back then, and at which step the phase goes on.
    pub(crate) undo: Option<(Say, usize)>,
}

/// How old rows are filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    /// The assignments.
    pub(crate) set: String,
    /// Which rows need it.
    pub(crate) needs: String,
    /// Which rows may not be there in the end.
    pub(crate) wrong: String,
    /// What is wrong with those.
    pub(crate) what: String,
}

/// A name that the expand phase gives: it must be free, since what is taken back goes by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Makes {
    Index(String),
    /// Of the table.
    Constraint(String),
}

/// All of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) expand: Vec<Work>,
    pub(crate) fill: Option<Fill>,
    pub(crate) contract: Vec<Work>,
    pub(crate) abort: Vec<Work>,
    /// What the contract phase drops.
    pub(crate) drops: Vec<String>,
    pub(crate) makes: Vec<Makes>,
    pub(crate) notes: Vec<String>,
}

impl Made {
    /// The phase after the expand phase.
    pub(crate) fn after_expand(&self) -> Phase {
        if self.fill.is_some() { Phase::Backfill } else { Phase::Done }
    }
}

impl Say {
    pub(crate) fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), unless: None }
    }

    pub(crate) fn unless(sql: impl Into<String>, done: impl Into<String>) -> Self {
        Self { sql: sql.into(), unless: Some(done.into()) }
    }
}

impl Work {
    pub(crate) fn new(title: impl Into<String>, how: How) -> Self {
        Self { title: title.into(), how }
    }

    /// Of statements that need no looking after.
    pub(crate) fn run<S: Into<String>>(
        title: impl Into<String>,
        sql: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::new(title, How::Run(sql.into_iter().map(Say::new).collect()))
    }

    pub(crate) fn shown(&self) -> Step {
        let said = |all: &[Say]| all.iter().map(|say| say.sql.clone()).collect::<Vec<_>>();
        let sql = match &self.how {
            How::Run(all) => said(all),
            How::First(all) => said(all.get(..1).unwrap_or(&[])),
            How::Locked { table, each } => {
                let first = each.iter().filter_map(|ways| ways.first());
                let inner = first.map(|say| say.sql.clone());
                std::iter::once(format!("LOCK TABLES {table} WRITE"))
                    .chain(inner)
                    .chain(std::iter::once("UNLOCK TABLES".to_owned()))
                    .collect()
            }
            How::Index(sql) => vec![sql.clone()],
            How::Look(look) => vec![look.sql.clone()],
            How::Rebuild(rebuild) => rebuild.shown(),
        };
        Step { title: self.title.clone(), sql }
    }
}
