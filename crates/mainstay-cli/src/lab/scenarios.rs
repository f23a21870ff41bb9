//! The anomalies: what each transaction does, in which order, and how to see from the results whether
//! the anomaly has happened.
//!
//! The set is Hermitage's (M. Kleppmann, 2014), after Adya's definitions (1999) and Berenson et al.,
//! "A Critique of ANSI SQL Isolation Levels" (1995), with the latter's non-repeatable read.

use super::session::Answer;

/// An anomaly with the names it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Hermitage's name, or Berenson's where that has none.
    pub id: &'static str,
    /// What most people call it.
    pub name: &'static str,
    /// What goes wrong.
    pub about: &'static str,
}

/// The anomalies, from the crudest on.
pub const ANOMALIES: &[Anomaly] = &[
    Anomaly { id: "G0", name: "dirty write", about: "two transactions' writes are mixed" },
    Anomaly { id: "G1a", name: "dirty read", about: "a write is read that is rolled back later" },
    Anomaly {
        id: "G1b",
        name: "intermediate read",
        about: "a write is read that is overwritten later in its transaction",
    },
    Anomaly {
        id: "G1c",
        name: "circular information",
        about: "two transactions each read what the other wrote",
    },
    Anomaly {
        id: "OTV",
        name: "observed transaction vanishes",
        about: "of a transaction's writes one is seen and the other not",
    },
    Anomaly {
        id: "P2",
        name: "non-repeatable read",
        about: "the same row, read twice, has changed",
    },
    Anomaly {
        id: "PMP",
        name: "phantom",
        about: "a row appears that a condition did not find before",
    },
    Anomaly {
        id: "P4",
        name: "lost update",
        about: "of two changes that were made from the same state one is lost",
    },
    Anomaly {
        id: "G-single",
        name: "read skew",
        about: "of two rows one is read before and one after a change of both",
    },
    Anomaly {
        id: "G2-item",
        name: "write skew",
        about: "each changes a row because of what the other changes",
    },
    Anomaly {
        id: "G2",
        name: "write skew on a condition",
        about: "each adds a row because none is there",
    },
];

/// What a transaction does in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// A statement on the table `{t}` of `id` and `value`.
    Sql(&'static str),
    Commit,
    Rollback,
}

/// One of up to three transactions takes a step: 0, 1 or 2.
pub(crate) type Step = (usize, Do);

/// What was seen when all was over.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The answer to each step.
    pub(crate) answers: Vec<Answer>,
    pub(crate) committed: [bool; 3],
    /// The table in the end.
    pub(crate) rows: Vec<(i64, i64)>,
}

impl Seen {
    fn rows_of(&self, step: usize) -> &[(i64, i64)] {
        match &self.answers[step] {
            Answer::Rows(rows) => rows,
            _ => &[],
        }
    }

    fn saw(&self, step: usize, row: (i64, i64)) -> bool {
        self.rows_of(step).contains(&row)
    }

    fn both(&self) -> bool {
        self.committed[0] && self.committed[1]
    }
}

/// One way in which an anomaly may show itself.
pub(crate) struct Scenario {
    pub(crate) anomaly: &'static str,
    /// Whether the transaction that it happens to writes: some levels protect only those that read.
    pub(crate) writes: bool,
    pub(crate) steps: &'static [Step],
    pub(crate) happened: fn(&Seen) -> bool,
}

const READ: Do = Do::Sql("SELECT id, value FROM {t} ORDER BY id");
const READ_1: Do = Do::Sql("SELECT id, value FROM {t} WHERE id = 1");
const READ_2: Do = Do::Sql("SELECT id, value FROM {t} WHERE id = 2");
const BY_3: Do = Do::Sql("SELECT id, value FROM {t} WHERE value % 3 = 0");
const SET_1: Do = Do::Sql("UPDATE {t} SET value = 11 WHERE id = 1");
const ADD_3: Do = Do::Sql("INSERT INTO {t} (id, value) VALUES (3, 30)");
use Do::{Commit, Rollback, Sql};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        anomaly: "G0",
        writes: true,
        steps: &[
            (0, SET_1),
            (1, Sql("UPDATE {t} SET value = 12 WHERE id = 1")),
            (0, Sql("UPDATE {t} SET value = 21 WHERE id = 2")),
            (0, Commit),
            (1, Sql("UPDATE {t} SET value = 22 WHERE id = 2")),
            (1, Commit),
        ],
        happened: |seen| {
            let of = |a, b| seen.rows == [(1, a), (2, b)];
            of(11, 22) || of(12, 21)
        },
    },
    Scenario {
        anomaly: "G1a",
        writes: false,
        steps: &[
            (0, Sql("UPDATE {t} SET value = 101 WHERE id = 1")),
            (1, READ),
            (0, Rollback),
            (1, READ),
            (1, Commit),
        ],
        happened: |seen| seen.saw(1, (1, 101)) || seen.saw(3, (1, 101)),
    },
    Scenario {
        anomaly: "G1b",
        writes: false,
        steps: &[
            (0, Sql("UPDATE {t} SET value = 101 WHERE id = 1")),
            (1, READ),
            (0, SET_1),
            (0, Commit),
            (1, READ),
            (1, Commit),
        ],
        happened: |seen| seen.saw(1, (1, 101)) || seen.saw(4, (1, 101)),
    },
    Scenario {
        anomaly: "G1c",
        writes: true,
        steps: &[
            (0, SET_1),
            (1, Sql("UPDATE {t} SET value = 22 WHERE id = 2")),
            (0, READ_2),
            (1, READ_1),
            (0, Commit),
            (1, Commit),
        ],
        happened: |seen| seen.saw(2, (2, 22)) && seen.saw(3, (1, 11)),
    },
    Scenario {
        anomaly: "OTV",
        writes: false,
        steps: &[
            (0, SET_1),
            (0, Sql("UPDATE {t} SET value = 19 WHERE id = 2")),
            (1, Sql("UPDATE {t} SET value = 12 WHERE id = 1")),
            (0, Commit),
            (2, READ),
            (1, Sql("UPDATE {t} SET value = 18 WHERE id = 2")),
            (2, READ),
            (1, Commit),
            (2, READ),
            (2, Commit),
        ],
        happened: |seen| {
            let torn = |step| seen.saw(step, (1, 12)) != seen.saw(step, (2, 18));
            [4, 6, 8].into_iter().any(|step| !seen.rows_of(step).is_empty() && torn(step))
        },
    },
    Scenario {
        anomaly: "P2",
        writes: false,
        steps: &[
            (0, READ_1),
            (1, Sql("UPDATE {t} SET value = 12 WHERE id = 1")),
            (1, Commit),
            (0, READ_1),
            (0, Commit),
        ],
        happened: |seen| seen.committed[0] && seen.saw(0, (1, 10)) && seen.saw(3, (1, 12)),
    },
    Scenario {
        anomaly: "PMP",
        writes: false,
        steps: &[
            (0, Sql("SELECT id, value FROM {t} WHERE value = 30")),
            (1, ADD_3),
            (1, Commit),
            (0, BY_3),
            (0, Commit),
        ],
        happened: |seen| seen.committed[0] && seen.saw(3, (3, 30)),
    },
    Scenario {
        anomaly: "PMP",
        writes: true,
        steps: &[
            (0, Sql("UPDATE {t} SET value = value + 10")),
            (1, Sql("SELECT id, value FROM {t} WHERE value = 20")),
            (1, Sql("DELETE FROM {t} WHERE value = 20")),
            (0, Commit),
            (1, Commit),
        ],
        // What it found by its condition, it has not deleted by the same.
        happened: |seen| {
            seen.committed[1] && seen.saw(1, (2, 20)) && seen.rows.iter().any(|row| row.0 == 2)
        },
    },
    Scenario {
        anomaly: "P4",
        writes: true,
        steps: &[(0, READ_1), (1, READ_1), (0, SET_1), (1, SET_1), (0, Commit), (1, Commit)],
        happened: |seen| seen.both() && seen.saw(0, (1, 10)) && seen.saw(1, (1, 10)),
    },
    Scenario {
        anomaly: "G-single",
        writes: false,
        steps: &[
            (0, READ_1),
            (1, READ),
            (1, Sql("UPDATE {t} SET value = 12 WHERE id = 1")),
            (1, Sql("UPDATE {t} SET value = 18 WHERE id = 2")),
            (1, Commit),
            (0, READ_2),
            (0, Commit),
        ],
        happened: |seen| seen.committed[0] && seen.saw(0, (1, 10)) && seen.saw(5, (2, 18)),
    },
    Scenario {
        anomaly: "G-single",
        writes: false,
        steps: &[
            (0, Sql("SELECT id, value FROM {t} WHERE value % 5 = 0")),
            (1, Sql("UPDATE {t} SET value = 12 WHERE value = 10")),
            (1, Commit),
            (0, BY_3),
            (0, Commit),
        ],
        happened: |seen| seen.committed[0] && seen.saw(0, (1, 10)) && seen.saw(3, (1, 12)),
    },
    Scenario {
        anomaly: "G-single",
        writes: true,
        steps: &[
            (0, READ_1),
            (1, READ),
            (1, Sql("UPDATE {t} SET value = 12 WHERE id = 1")),
            (1, Sql("UPDATE {t} SET value = 18 WHERE id = 2")),
            (1, Commit),
            (0, Sql("DELETE FROM {t} WHERE value = 20")),
            (0, Commit),
        ],
        happened: |seen| {
            seen.both() && seen.saw(0, (1, 10)) && seen.rows.iter().any(|row| row.0 == 2)
        },
    },
    Scenario {
        anomaly: "G2-item",
        writes: true,
        steps: &[
            (0, Sql("SELECT id, value FROM {t} WHERE id IN (1, 2)")),
            (1, Sql("SELECT id, value FROM {t} WHERE id IN (1, 2)")),
            (0, SET_1),
            (1, Sql("UPDATE {t} SET value = 21 WHERE id = 2")),
            (0, Commit),
            (1, Commit),
        ],
        happened: |seen| seen.both() && seen.saw(0, (2, 20)) && seen.saw(1, (1, 10)),
    },
    Scenario {
        anomaly: "G2",
        writes: true,
        steps: &[
            (0, BY_3),
            (1, BY_3),
            (0, ADD_3),
            (1, Sql("INSERT INTO {t} (id, value) VALUES (4, 42)")),
            (0, Commit),
            (1, Commit),
        ],
        happened: |seen| seen.both() && seen.rows_of(0).is_empty() && seen.rows_of(1).is_empty(),
    },
    // Fekete et al., "A Read-Only Transaction Anomaly Under Snapshot Isolation" (2004).
    Scenario {
        anomaly: "G2",
        writes: true,
        steps: &[
            (0, READ),
            (1, Sql("UPDATE {t} SET value = value + 5 WHERE id = 2")),
            (1, Commit),
            (2, READ),
            (2, Commit),
            (0, Sql("UPDATE {t} SET value = 0 WHERE id = 1")),
            (0, Commit),
        ],
        happened: |seen| {
            seen.committed == [true; 3]
                && seen.saw(0, (2, 20))
                && seen.saw(3, (2, 25))
                && seen.saw(3, (1, 10))
        },
    },
];
