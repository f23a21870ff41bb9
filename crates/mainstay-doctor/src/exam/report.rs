//! What an examination found: for each check a tick, a cross, or why it could not be told.

use std::time::Duration;

use mainstay_db::Engine;
use serde::{Serialize, Serializer};

use super::check::Check;
use crate::finding::{Finding, Severity};

/// What became of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing is wrong.
    Good,
    /// Something is.
    Found,
    /// It could not be told: no right, no extension, no such thing there, no time.
    Unknown,
}

/// One check with what it found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// Which.
    pub check: Check,
    /// A tick, a cross or a dash.
    pub outcome: Outcome,
    /// In a line: what was seen, or why nothing could be.
    pub detail: String,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

/// A statement with what it cost, as the server has counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Statement {
    /// With placeholders for its values.
    pub text: String,
    /// How often it ran.
    pub calls: u64,
    /// How long, on average.
    pub mean_ms: f64,
    /// Rows that it returned or changed, all calls together.
    pub rows: u64,
}

impl Statement {
    /// All its calls together.
    pub fn total_ms(&self) -> f64 {
        self.mean_ms * self.calls as f64
    }
}

/// An examination. As JSON its shape is the guide's (docs/guide/examination.md), and `version` counts its changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Of this shape: 1.
    pub version: u32,
    /// What was examined, without user and password.
    pub place: String,
    /// Its engine.
    #[serde(serialize_with = "engine")]
    pub engine: Engine,
    /// As the server tells it.
    pub server_version: String,
    /// How long it took.
    #[serde(rename = "took_ms", serialize_with = "millis")]
    pub took: Duration,
    /// Why it ended early, if it did: DOC-050.
    pub stopped: Option<Finding>,
    /// Each check that was asked for, in the order in which they were done.
    pub checks: Vec<Checked>,
    /// The statements that took the most time, where the server counts.
    pub statements: Vec<Statement>,
}

impl Report {
    /// All that is wrong.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.stopped.iter().chain(self.checks.iter().flat_map(|checked| &checked.findings))
    }

    /// The worst there is.
    pub fn worst(&self) -> Option<Severity> {
        self.findings().map(|finding| finding.severity).max()
    }

    /// Whether a single check had an answer.
    pub fn tells_anything(&self) -> bool {
        self.checks.iter().any(|checked| checked.outcome != Outcome::Unknown)
    }

    /// What became of `check`, if it was asked for.
    pub fn check(&self, check: Check) -> Option<&Checked> {
        self.checks.iter().find(|checked| checked.check == check)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn engine<S: Serializer>(engine: &Engine, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(engine.system())
}

fn millis<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(time.as_millis().try_into().unwrap_or(u64::MAX))
}
