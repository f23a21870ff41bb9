//! Whether what was applied is what the files say, by Flyway's rules; and by the strong hash, where
//! Flyway's sees nothing.

use std::collections::HashMap;

use mainstay_core::{Code, Error, Result};
use serde::Serialize;

use crate::history::abbreviate;
use crate::options::Options;
use crate::plan::{Item, Plan};
use crate::progress::{Key, Progress};
use crate::state::State;

/// Something that `validate` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind it is.
    pub code: Code,
    /// Which migration, and what of it.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Serialize for Problem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Problem", 3)?;
        out.serialize_field("code", self.code.as_str())?;
        out.serialize_field("what", &self.what)?;
        out.serialize_field("fix", &self.fix)?;
        out.end()
    }
}

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Validation {
    /// What keeps `up` from running.
    pub problems: Vec<Problem>,
    /// What Flyway would not see: a script differs though its checksum does not.
    pub warnings: Vec<Problem>,
}

impl Validation {
    /// Errors: the first problem's code, with all of them told.
    pub fn check(self) -> Result<()> {
        let Some(first) = self.problems.first() else { return Ok(()) };
        let (code, fix) = (first.code, first.fix.clone());
        if let [only] = self.problems.as_slice() {
            return Err(Error::new(code, only.what.clone()).fix(fix));
        }
        let what = format!("{} migrations are not as they should be", self.problems.len());
        let lines: Vec<_> =
            self.problems.iter().map(|p| format!("{}: {}", p.code, p.what)).collect();
        Err(Error::new(code, what).why(lines.join("\n")).fix(fix).with_detail(self))
    }
}

/// `pending_is_fine` is for `up`, which is about to run what is pending.
pub(crate) fn validate(
    plan: &Plan<'_>,
    options: &Options,
    progress: &HashMap<Key, Progress>,
    pending_is_fine: bool,
) -> Validation {
    let mut found = Validation::default();
    for item in &plan.items {
        if let Some(problem) = check(item, plan, options, progress, pending_is_fine) {
            found.problems.push(problem);
        } else if let Some(warning) = differs_unseen(item, plan, progress) {
            found.warnings.push(warning);
        }
    }
    found
}

fn problem(code: Code, what: String) -> Problem {
    Problem { code, what, fix: code.fix().to_owned() }
}

fn check(
    item: &Item<'_>,
    plan: &Plan<'_>,
    options: &Options,
    progress: &HashMap<Key, Progress>,
    pending_is_fine: bool,
) -> Option<Problem> {
    let versioned = item.version().is_some();
    let ignored = |state: &str| options.ignores(versioned, state);
    match item.state {
        State::Undone | State::AboveTarget | State::Deleted => return None,
        State::FailedFuture if ignored("future") => return None,
        // It goes on where it stopped.
        State::Failed if pending_is_fine && can_resume(item, progress) => return None,
        state if state.is_failed() => {
            let what = format!("{} failed and left what it had done", item.name());
            return Some(problem(Code::MigrationHalf, what));
        }
        state if state.is_missing() && !ignored("missing") => {
            let what = format!("{} has no file any more", item.name());
            return Some(problem(Code::MigrationMissing, what));
        }
        State::Future if !ignored("future") => {
            let what = format!("{} was applied by a newer program", item.name());
            return Some(problem(Code::MigrationFuture, what));
        }
        State::Ignored if !ignored("ignored") && is_left_out(item, plan) => {
            let current = plan.current.as_ref().map_or_else(String::new, ToString::to_string);
            let what = format!("{} is not applied, and is below {current}, which is", item.name());
            return Some(problem(Code::MigrationOutOfOrder, what));
        }
        State::Pending | State::Outdated if !pending_is_fine && !ignored("pending") => {
            let how = if item.state == State::Pending { "is not applied" } else { "has changed" };
            return Some(problem(Code::MigrationPending, format!("{} {how}", item.name())));
        }
        _ => {}
    }
    mismatch(item, plan)
}

/// Whether an earlier run's half can be gone on from.
pub(crate) fn can_resume(item: &Item<'_>, progress: &HashMap<Key, Progress>) -> bool {
    let key = item.script.and_then(|script| Key::of(&script.kind, &script.description));
    key.and_then(|key| progress.get(&key)).is_some_and(|kept| !kept.is_complete())
}

/// Left out for its version, not by its own `shouldExecute`; baseline files are never due.
fn is_left_out(item: &Item<'_>, plan: &Plan<'_>) -> bool {
    let Some(script) = item.script else { return false };
    let below = item.version() < plan.current.as_ref();
    matches!(script.kind, crate::name::Kind::Versioned(_)) && below && item.executes
}

fn mismatch(item: &Item<'_>, plan: &Plan<'_>) -> Option<Problem> {
    let (script, row) = (item.script?, item.applied?);
    if row.is_undo() || row.is_synthetic() {
        return None;
    }
    let differs = |what: &str, then: &str, now: &str| {
        let what = format!(
            "the {what} of {} was {then} when it was applied, and is {now} in {}",
            item.name(),
            script.path
        );
        Some(problem(Code::MigrationChanged, what))
    };
    if let Some(version) = &row.version {
        if plan.baseline.as_ref().is_some_and(|base| version <= base) && !row.is_baseline() {
            return None;
        }
        let expected = if row.is_baseline() { "SQL_BASELINE" } else { "SQL" };
        if row.kind != expected {
            return differs("type", &row.kind, expected);
        }
        if row.checksum != item.checksum {
            let shown = |sum: Option<i32>| sum.map_or("none".to_owned(), |sum| sum.to_string());
            return differs("checksum", &shown(row.checksum), &shown(item.checksum));
        }
    }
    let description = abbreviate(&script.description);
    if row.description != description {
        return differs(
            "description",
            &format!("`{}`", row.description),
            &format!("`{description}`"),
        );
    }
    None
}

/// Flyway's checksum agrees and the strong one does not: a line break was moved, which can comment a
/// statement in or out.
fn differs_unseen(
    item: &Item<'_>,
    plan: &Plan<'_>,
    progress: &HashMap<Key, Progress>,
) -> Option<Problem> {
    let script = item.script?;
    if item.version().is_some() && item.version() <= plan.baseline.as_ref() {
        return None;
    }
    if item.applied.is_none() || !matches!(item.state, State::Success | State::OutOfOrder) {
        return None;
    }
    let kept = progress.get(&Key::of(&script.kind, &script.description)?)?;
    if kept.sha256 == crate::checksum::strong(&script.text) {
        return None;
    }
    let what = format!(
        "{} is not what was applied as {}, though its checksum is the same: a line break has moved",
        script.path,
        item.name()
    );
    Some(problem(Code::MigrationChanged, what))
}
