//! What a move tells while it goes on, and in the end.

use std::time::Duration;

use serde::Serialize;

use super::journal::State;

/// What was just done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// It came to the state told.
    Entered,
    /// The tables that it needs are on both sides.
    Prepared,
    /// A table has its triggers.
    Captured,
    /// A chunk of a table was copied.
    Copied,
    /// What was written meanwhile was brought over.
    Followed,
    /// A chunk of a table was compared.
    Compared,
    /// Writers are about to be locked out.
    Locking,
    /// They are.
    Locked,
    /// The last changes are on the target.
    Drained,
    /// The source is shut.
    Fenced,
    /// The map leads to the new shard.
    Switched,
    /// Rows were deleted where they do not belong any more.
    Deleted,
    /// A table's triggers are gone.
    Released,
}

/// How far a move is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// The move's.
    pub id: String,
    /// The logical shard.
    pub logical: u16,
    /// Its state.
    pub state: State,
    /// What was done.
    pub step: Step,
    /// The table at hand.
    pub table: Option<String>,
    /// Rows of it that were looked at since this run began, whoever's they are.
    pub rows_seen: u64,
    /// Rows that the server thinks are in it.
    pub rows_estimate: u64,
    /// Rows copied, in all tables.
    pub rows_copied: u64,
    /// Changes that are still to be brought over.
    pub lag: u64,
}

/// What became of a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The move's.
    pub id: String,
    /// The logical shard.
    pub logical: u16,
    /// Where it was.
    pub from: String,
    /// Where it was to go.
    pub to: String,
    /// How it ended: done, cleaned or rolled back.
    pub state: State,
    /// Rows copied; what was written meanwhile not counted again.
    pub rows: u64,
    /// For how long writes to the logical shard were kept waiting at most, from the lock being asked for to the map
    /// being changed.
    pub pause: Duration,
    /// The epoch of the map then.
    pub epoch: u64,
}
