//! What advice is: the indexes that are missing, with what they are worth and what they cost, as data and as findings.

use mainstay_core::Code;
use mainstay_core::clock::Clock;
use serde::Serialize;

use super::index::Method;
use crate::finding::{Cost, Finding, Severity};

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Advice {
    /// The engine that was asked.
    pub engine: String,
    /// Statements that were looked at.
    pub statements: usize,
    /// Indexes that are missing, the most useful first.
    pub suggestions: Vec<Suggestion>,
    /// Statements that no advice can be given on.
    pub passed_over: Vec<PassedOver>,
    /// What else is to be known of how this was found.
    pub notes: Vec<String>,
}

/// An index to create.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suggestion {
    /// The table's schema; MySQL's database, SQLite's `main`.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The index's name.
    pub name: String,
    /// Its key, in order.
    pub columns: Vec<Column>,
    /// Those of the key that are expressions.
    pub expressions: Vec<String>,
    /// What the rows that are in it have in common.
    pub predicate: Option<String>,
    /// Columns that it holds beside its key.
    pub included: Vec<String>,
    /// How it is organised.
    pub method: Method,
    /// The planner's cost of all statements that it serves, without any of these suggestions and with all.
    pub cost: Change,
    /// The pages that they read, where they could be run on a copy.
    pub buffers: Option<Change>,
    /// The statements that it serves.
    pub serves: Vec<Served>,
    /// What it is verified by: `HypoPG`, `a scratch copy`, or both.
    pub verified_by: String,
    /// What it costs.
    pub write_cost: WriteCost,
    /// Indexes that are there with the same columns in an order that does not serve.
    pub wrong_order: Vec<String>,
    /// Indexes that are there and of no use beside it, since its key begins as theirs.
    pub replaces: Vec<String>,
    /// The statement that creates it without locking writers out, where the engine can.
    pub ddl: String,
}

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// The column's name, or the expression.
    pub name: String,
    /// `asc` or `desc`.
    pub direction: &'static str,
    /// `first` or `last`, where it is not what the direction implies.
    pub nulls: Option<&'static str>,
    /// The class of operators, where it is not the type's usual one.
    pub operator_class: Option<&'static str>,
    /// Whether it is an expression.
    pub expression: bool,
}

/// A figure without the suggestions and with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Change {
    /// Without.
    pub before: f64,
    /// With.
    pub after: f64,
}

/// A statement that a suggestion serves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Served {
    /// Its place in the workload, from 1.
    pub statement: usize,
    /// Its line in the file; 0 if it is of none.
    pub line: usize,
    /// Its text.
    pub sql: String,
    /// The planner's cost.
    pub cost: Change,
    /// The pages that it reads.
    pub buffers: Option<Change>,
}

/// What an index costs who writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WriteCost {
    /// Its size, as expected.
    pub bytes: u64,
    /// Entries that writes add a day, by what was written so far.
    pub entries_per_day: f64,
    /// Updates a day that so far touched no index, and must touch this one.
    pub hot_updates_lost_per_day: f64,
    /// Indexes that the table has already.
    pub indexes_there: usize,
}

/// A statement without advice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PassedOver {
    /// Its place in the workload, from 1.
    pub statement: usize,
    /// Its line in the file.
    pub line: usize,
    /// Its text.
    pub sql: String,
    /// Why.
    pub why: String,
}

impl Advice {
    /// As the doctor tells it.
    pub fn findings(&self, clock: &Clock) -> Vec<Finding> {
        let missing = self.suggestions.iter().map(|suggestion| suggestion.finding(clock));
        let refused = self.passed_over.iter().map(|passed| {
            let what = format!("the statement at line {} is passed over", passed.line);
            let evidence = vec![passed.why.clone(), shortened(&passed.sql)];
            finding(Code::DoctorStatementRefused, Severity::Hint, what, evidence, None, clock)
        });
        missing.chain(refused).collect()
    }
}

impl Suggestion {
    /// The key as people write it.
    pub fn key(&self) -> String {
        let part = |column: &Column| {
            let mut text = column.name.clone();
            if let Some(class) = column.operator_class {
                text += &format!(" {class}");
            }
            if column.direction == "desc" {
                text += " DESC";
            }
            text
        };
        self.columns.iter().map(part).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn finding(&self, clock: &Clock) -> Finding {
        let table = &self.table;
        let (code, what) = match self.wrong_order.first() {
            Some(index) => (
                Code::DoctorIndexOrder,
                format!("{index} has the columns of {table} ({}) in another order", self.key()),
            ),
            None => (Code::DoctorMissingIndex, format!("{table} has no index on ({})", self.key())),
        };
        let count = self.serves.len();
        let s = if count == 1 { "" } else { "s" };
        let mut evidence = vec![format!(
            "{count} statement{s}: cost {:.0} without, {:.0} with it, verified by {}",
            self.cost.before, self.cost.after, self.verified_by
        )];
        if let Some(buffers) = self.buffers {
            evidence.push(format!("pages read: {:.0}, then {:.0}", buffers.before, buffers.after));
        }
        let served = self.serves.iter().take(3);
        evidence.extend(served.map(|s| match s.line {
            0 => shortened(&s.sql),
            line => format!("line {line}: {}", shortened(&s.sql)),
        }));
        let cost = &self.write_cost;
        evidence.push(format!(
            "it takes some {} kB, and {:.0} entries a day are written to it",
            cost.bytes / 1024,
            cost.entries_per_day
        ));
        finding(code, Severity::Warning, what, evidence, Some(format!("{};", self.ddl)), clock)
    }
}

fn finding(
    code: Code,
    severity: Severity,
    what: String,
    evidence: Vec<String>,
    fix: Option<String>,
    clock: &Clock,
) -> Finding {
    Finding {
        code,
        severity,
        what,
        scope: None,
        place: None,
        evidence,
        fix: fix.unwrap_or_else(|| code.fix().to_owned()),
        cost: Cost::default(),
        first_seen: clock.wall(),
        last_seen: clock.wall(),
        count: 1,
    }
}

/// A statement on one line.
fn shortened(sql: &str) -> String {
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(100) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}
