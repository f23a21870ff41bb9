//! Puts what another tool applied and our files together, and finds what does not fit. It reads and
//! writes nothing.

use std::collections::HashMap;

use mainstay_core::{Code, Error, Result};

use super::Tool;
use super::convert::OldFile;
use super::find::Source;
use super::read::{Old, When};
use super::sum;
use crate::checksum::{checksum, strong};
use crate::history::{Applied, History};
use crate::info::kind_of;
use crate::options::Options;
use crate::plan::{Inputs, Plan};
use crate::progress::Key;
use crate::source::{Script, Scripts};
use crate::state::State;
use crate::validate::{Problem, Validation, validate};
use crate::version::Version;

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// In the order of their ranks, which they have not got yet.
    pub(super) rows: Vec<(Applied, When)>,
    /// The strong hashes of their files.
    pub(super) hashes: Vec<(Key, String)>,
}

impl Taken {
    pub(super) fn push(&mut self, row: Applied, on: When, script: Option<&Script>) {
        self.rows.push((row, on));
        if let Some(script) = script
            && let Some(key) = Key::of(&script.kind, &script.description)
        {
            self.hashes.push((key, strong(&script.text)));
        }
    }

    /// Whether `history` has all of it already.
    pub(super) fn is_in(&self, history: &History) -> bool {
        let same = |a: &Applied, b: &Applied| {
            a.version == b.version
                && a.kind == b.kind
                && a.checksum == b.checksum
                && (a.version.is_some() || a.description == b.description)
        };
        history.exists
            && self.rows.iter().all(|(row, _)| history.rows.iter().any(|kept| same(row, kept)))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.rows.iter().map(|(row, _)| row.script.clone()).collect()
    }
}

/// The rows for what a tool other than Flyway applied, `by` whom the history will say it was.
/// `old_files` are the tool's own, where its folder was named.
///
/// Errors: MIG-002, MIG-003, MIG-006, MIG-016, with all that were found.
pub(super) fn pair(
    source: &Source,
    mut old: Vec<Old>,
    scripts: &Scripts,
    old_files: Option<&[OldFile]>,
    by: &str,
) -> Result<Taken> {
    let mut versions = HashMap::new();
    for row in &old {
        let version = Version::parse(&row.version).ok_or_else(|| {
            let what = format!("{} has the version `{}`", source.table, row.version);
            Error::new(Code::MigrationHistory, what).fix("versions are digits alone")
        })?;
        versions.insert(row.version.clone(), version);
    }
    // By version: clocks have been set back since.
    old.sort_by(|a, b| versions[&a.version].cmp(&versions[&b.version]));
    let (mut taken, mut found) = (Taken::default(), Validation::default());
    for row in old {
        let version = &versions[&row.version];
        match one(source, &row, version, scripts, old_files) {
            Ok(script) => {
                let version = script.kind.version().cloned();
                let mut applied =
                    Applied::new(kind_of(script), version, &script.description, &script.script);
                applied.checksum = Some(checksum(&script.text));
                by.clone_into(&mut applied.by);
                applied.execution_ms = row.execution_ms;
                taken.push(applied, row.on, Some(script));
            }
            Err(problem) => found.problems.push(problem),
        }
    }
    found.check()?;
    Ok(taken)
}

/// Our file of `row`, if all is as it should be.
fn one<'s>(
    source: &Source,
    row: &Old,
    version: &Version,
    scripts: &'s Scripts,
    old_files: Option<&[OldFile]>,
) -> Result<&'s Script, Problem> {
    let (tool, shown) = (source.tool, row.shown());
    if !row.success {
        let what = format!("{shown} failed under {tool}, or is still running");
        let fix = format!("put right what it left, correct its row in {}", source.table);
        return Err(problem(Code::MigrationHalf, what, &fix));
    }
    let old_file = match old_files {
        None => None,
        Some(files) => {
            let of_it = |file: &&OldFile| file.version == *version && !file.undoes;
            Some(files.iter().find(of_it).ok_or_else(|| {
                let what =
                    format!("{shown} was applied by {tool}, and its folder has no file of it");
                problem(Code::MigrationMissing, what, "bring the file back")
            })?)
        }
    };
    let edited = |path: &str| {
        let what = format!("{path} is not what {tool} applied as {shown}: the checksum is another");
        problem(Code::MigrationChanged, what, "put the file back as it was, to the byte")
    };
    if let Some(file) = old_file.filter(|file| !sum::fits(tool, row, &file.text)) {
        return Err(edited(&file.path));
    }
    let script = scripts.versioned.get(version).ok_or_else(|| {
        let what = format!("{shown} was applied by {tool}, and there is no V{version}__... of it");
        let late = tool == Tool::Refinery && scripts.undo.contains_key(version);
        let fix = if late {
            "rename its U file, which takes something back here, to V; --from-dir and --write do so"
        } else {
            "write the tool's files under our names with --from-dir and --write"
        };
        problem(Code::MigrationMissing, what, fix)
    })?;
    if !sum::fits(tool, row, &script.text) {
        return Err(edited(&script.path));
    }
    match old_file {
        Some(file) if strong(&file.text) != strong(&script.text) => {
            let what = format!("{} is not what {} is", script.path, file.path);
            Err(problem(Code::MigrationChanged, what, "make it the same, to the byte"))
        }
        _ => Ok(script),
    }
}

fn problem(code: Code, what: String, fix: &str) -> Problem {
    Problem { code, what, fix: fix.to_owned() }
}

/// Flyway's rows, once they fit our files by Flyway's own rules.
///
/// Errors: MIG-002 to MIG-006, MIG-008, MIG-016.
pub(super) fn flyway(inputs: &Inputs<'_>, options: &Options) -> Result<Taken> {
    let plan = Plan::make(inputs)?;
    // What a newer program applied can't be told here from a file that is missing.
    let ignore = options.ignore.iter().filter(|pattern| !pattern.ends_with(":future"));
    let strict = Options { ignore: ignore.cloned().collect(), ..options.clone() };
    validate(&plan, &strict, &HashMap::new(), true).check()?;
    let mut taken = Taken::default();
    for row in &inputs.history.rows {
        taken.push(row.clone(), When::Local(row.on.clone()), None);
    }
    for item in &plan.items {
        if let Some(script) = item.script
            && matches!(item.state, State::Success | State::OutOfOrder)
            && item.applied.is_some()
            && let Some(key) = Key::of(&script.kind, &script.description)
        {
            taken.hashes.push((key, strong(&script.text)));
        }
    }
    Ok(taken)
}
