//! What is told of a changelog: what a run did, where each change set stands, what would be sent.

use serde::Serialize;

/// What a run of a changelog did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChangelogReport {
    /// The change sets that ran, or were taken back: `file::id::author`.
    pub ran: Vec<String>,
    /// Those that a precondition passed over, for good.
    pub marked_ran: Vec<String>,
    /// Those that were passed over this time, with why.
    pub skipped: Vec<String>,
}

/// Where a change set stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeSetStatus {
    /// `file::id::author`.
    pub name: String,
    /// Its line in its file.
    pub line: usize,
    /// Whether the next update runs it.
    pub pending: bool,
    /// As the history says, `EXECUTED` and the like.
    pub state: Option<String>,
    /// When it ran.
    pub executed_on: Option<String>,
    /// Its checksum now.
    pub checksum: String,
    /// Whether it is not what ran.
    pub changed: bool,
}

/// Up to where a rollback goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackTo {
    /// So many change sets, the last first.
    Count(usize),
    /// All that ran after the one with this tag, in any case of its letters; and that one as well
    /// where setting the tag is all it does.
    Tag(String),
}

/// A change set's SQL, as it would be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeSetSql {
    /// `file::id::author`.
    pub name: String,
    /// The statements.
    pub statements: Vec<String>,
    /// Why there are none, where the engine can't do it: the update would stop there.
    pub refused: Option<String>,
}
