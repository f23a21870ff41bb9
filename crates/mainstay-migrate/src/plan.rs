//! Files and history put together: where each migration stands, by Flyway's rules. It reads and
//! runs nothing.

use std::collections::HashMap;

use mainstay_core::{Code, Error, Result};

use crate::checksum::checksum;
use crate::history::{Applied, History};
use crate::name::Kind;
use crate::options::Options;
use crate::placeholder::Placeholders;
use crate::source::{Script, Scripts};
use crate::state::State;
use crate::version::Version;

/// Up to where migrations are wanted. Repeatable ones run in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// All there are.
    #[default]
    Latest,
    /// None above the highest that was applied.
    Current,
    /// The first pending one alone.
    Next,
    /// Up to and with this version. MIG-001 if there is none of it.
    Version(Version),
    /// Up to and with this version, whether there is one of it or not.
    VersionIfAny(Version),
}

impl std::str::FromStr for Target {
    type Err = String;

    /// `latest`, `current`, `next`, `2.1` or `2.1?`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (version, if_any) = match text.strip_suffix('?') {
            Some(version) => (version, true),
            None => (text, false),
        };
        match text {
            "latest" => Ok(Target::Latest),
            "current" => Ok(Target::Current),
            "next" => Ok(Target::Next),
            _ => match Version::parse(version) {
                Some(version) if if_any => Ok(Target::VersionIfAny(version)),
                Some(version) => Ok(Target::Version(version)),
                None => Err(format!("`{text}` is no version, and not latest, current or next")),
            },
        }
    }
}

/// One migration: its file, its row, or both.
#[derive(Clone, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) script: Option<&'a Script>,
    pub(crate) applied: Option<&'a Applied>,
    pub(crate) state: State,
    /// Of the file: for a repeatable one with its placeholders replaced.
    pub(crate) checksum: Option<i32>,
    /// What the file's `shouldExecute` says.
    pub(crate) executes: bool,
}

/// All of them, in the order in which they are shown and run.
#[derive(Clone, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) items: Vec<Item<'a>>,
    /// The highest version that counts as applied.
    pub(crate) current: Option<Version>,
    pub(crate) baseline: Option<Version>,
}

/// What rows say of earlier ones, by their index.
#[derive(Default)]
struct Marks {
    deleted: Vec<bool>,
    undone: Vec<bool>,
    out_of_order: Vec<bool>,
}

/// What a plan is made from.
pub(crate) struct Inputs<'a> {
    pub(crate) scripts: &'a Scripts,
    pub(crate) history: &'a History,
    pub(crate) target: &'a Target,
    pub(crate) out_of_order: bool,
    pub(crate) values: &'a Placeholders,
    pub(crate) replaces: bool,
}

impl<'a> Inputs<'a> {
    pub(crate) fn of(
        options: &Options,
        scripts: &'a Scripts,
        values: &'a Placeholders,
        history: &'a History,
        target: &'a Target,
    ) -> Self {
        let (out_of_order, replaces) = (options.out_of_order, options.replace_placeholders);
        Self { scripts, history, target, out_of_order, values, replaces }
    }
}

struct Context<'a> {
    inputs: &'a Inputs<'a>,
    marks: Marks,
    last_resolved: Option<&'a Version>,
    last_applied: Option<Version>,
    applied_baseline: Option<Version>,
    pending_baseline: Option<Version>,
}

impl<'a> Plan<'a> {
    /// Errors: MIG-016 (the history contradicts itself), MIG-001 (no such target, `shouldExecute`),
    /// MIG-008.
    pub(crate) fn make(inputs: &'a Inputs<'a>) -> Result<Self> {
        let (scripts, rows) = (inputs.scripts, &inputs.history.rows);
        let marks = Marks::of(rows)?;
        let counts = |i: &usize| {
            let row = &rows[*i];
            row.kind != "DELETE" && !row.is_undo() && !marks.deleted[*i] && !marks.undone[*i]
        };
        let live: Vec<usize> = (0..rows.len()).filter(counts).collect();
        let last_applied = live.iter().filter_map(|i| rows[*i].version.clone()).max();
        let baselines = live.iter().filter(|i| rows[**i].is_baseline());
        let applied_baseline = baselines.filter_map(|i| rows[*i].version.clone()).max();
        let pending_baseline = scripts.baseline.keys().max().cloned();
        let context = Context {
            inputs,
            marks,
            last_resolved: scripts.highest(),
            last_applied,
            applied_baseline,
            pending_baseline,
        };
        context.check_target()?;
        let mut items = context.rows()?;
        items.extend(context.files(&live)?);
        items.sort_by(order);
        let Context { last_applied, applied_baseline, .. } = context;
        Ok(Self { items, current: last_applied, baseline: applied_baseline })
    }

    /// What `up` runs, in order.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Item<'a>> {
        self.items.iter().filter(|item| item.script.is_some() && item.runs())
    }
}

impl Item<'_> {
    /// Whether `up` runs it.
    pub(crate) fn runs(&self) -> bool {
        self.executes && matches!(self.state, State::Pending | State::Outdated)
    }

    pub(crate) fn version(&self) -> Option<&Version> {
        let of_row = self.applied.and_then(|row| row.version.as_ref());
        of_row.or_else(|| self.script.and_then(|script| script.kind.version()))
    }

    pub(crate) fn description(&self) -> &str {
        let of_row = self.applied.map(|row| row.description.as_str());
        of_row.or_else(|| self.script.map(|s| s.description.as_str())).unwrap_or_default()
    }

    /// As messages name it.
    pub(crate) fn name(&self) -> String {
        match self.version() {
            Some(version) => format!("version {version} ({})", self.description()),
            None => format!("repeatable `{}`", self.description()),
        }
    }
}

/// Whether a file and a row are of the same migration. A row of another type may be: then its type is
/// what differs.
fn joins(script: &Script, row: &Applied) -> bool {
    match &script.kind {
        Kind::Versioned(v) => {
            row.version.as_ref() == Some(v)
                && !row.is_undo()
                && !row.is_baseline()
                && !row.is_synthetic()
        }
        Kind::Baseline(v) => row.version.as_ref() == Some(v) && row.kind.ends_with("_BASELINE"),
        Kind::Undo(v) => row.version.as_ref() == Some(v) && row.is_undo(),
        Kind::Repeatable => {
            row.version.is_none()
                && !row.is_synthetic()
                && row.description == crate::history::abbreviate(&script.description)
        }
        Kind::Callback(_) => false,
    }
}

impl Marks {
    fn of(rows: &[Applied]) -> Result<Self> {
        let none = || vec![false; rows.len()];
        let mut marks = Marks { deleted: none(), undone: none(), out_of_order: none() };
        for (i, row) in rows.iter().enumerate().filter(|(_, row)| row.success) {
            let same = |other: &Applied| match &row.version {
                Some(version) => other.version.as_ref() == Some(version),
                None => other.version.is_none() && other.description == row.description,
            };
            let (of, twice) = if row.kind == "DELETE" {
                (latest(rows, i, |r| same(r) && !r.is_synthetic()), &mut marks.deleted)
            } else if row.is_undo() {
                (
                    latest(rows, i, |r| same(r) && !r.is_undo() && !r.is_synthetic()),
                    &mut marks.undone,
                )
            } else {
                continue;
            };
            if let Some(of) = of
                && std::mem::replace(&mut twice[of], true)
            {
                let how = if row.is_undo() { "undone" } else { "deleted" };
                let what = format!("the history says twice that {} was {how}", rows[of].name());
                return Err(Error::new(Code::MigrationHistory, what));
            }
        }
        let mut highest: Option<&Version> = None;
        for (i, row) in rows.iter().enumerate() {
            if marks.deleted[i] || marks.undone[i] || row.is_undo() || row.kind == "DELETE" {
                continue;
            }
            if let Some(version) = &row.version {
                marks.out_of_order[i] = highest.is_some_and(|h| version < h);
                highest = highest.max(Some(version));
            }
        }
        Ok(marks)
    }
}

fn latest(rows: &[Applied], before: usize, fits: impl Fn(&Applied) -> bool) -> Option<usize> {
    (0..before).rev().find(|i| fits(&rows[*i]))
}

impl<'a> Context<'a> {
    fn check_target(&self) -> Result<()> {
        let Target::Version(wanted) = self.inputs.target else { return Ok(()) };
        let scripts = self.inputs.scripts;
        let known = scripts.versioned.contains_key(wanted)
            || scripts.baseline.contains_key(wanted)
            || self.inputs.history.rows.iter().any(|row| row.version.as_ref() == Some(wanted));
        if known {
            return Ok(());
        }
        let what = format!("no migration has the target version {wanted}");
        let error = Error::new(Code::MigrationFile, what)
            .fix(format!("name a version that there is; {wanted}? means: if there is one"));
        Err(match self.last_resolved {
            Some(last) => error.why(format!("the highest is {last}")),
            None => error,
        })
    }

    /// Whether `version` is above the target.
    fn is_above(&self, version: &Version) -> bool {
        match self.inputs.target {
            Target::Latest | Target::Next => false,
            Target::Current => self.last_applied.as_ref().is_none_or(|last| version > last),
            Target::Version(target) | Target::VersionIfAny(target) => version > target,
        }
    }

    /// The checksum of a file: a repeatable one's depends on its placeholders' values.
    fn checksum(&self, script: &Script) -> Result<i32> {
        if script.kind != Kind::Repeatable {
            return Ok(checksum(&script.text));
        }
        let (values, replaces) = (self.inputs.values, self.inputs.replaces);
        Ok(checksum(&crate::script::replaced(script, values, replaces)?))
    }

    fn rows(&self) -> Result<Vec<Item<'a>>> {
        let (scripts, rows) = (self.inputs.scripts, &self.inputs.history.rows);
        let mut latest_of: HashMap<&str, i32> = HashMap::new();
        for row in rows.iter().filter(|r| r.version.is_none() && r.kind != "DELETE") {
            latest_of.insert(&row.description, row.rank);
        }
        let mut items = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            if row.kind == "DELETE" && row.version.is_some() {
                continue;
            }
            let script = file_of(scripts, row);
            let checksum = script.map(|script| self.checksum(script)).transpose()?;
            let is_latest = latest_of.get(row.description.as_str()) == Some(&row.rank);
            let state = self.state_of_row(i, row, script, checksum, is_latest);
            let executes = script.map_or(Ok(false), |script| self.executes(script))?;
            items.push(Item { script, applied: Some(row), state, checksum, executes });
        }
        Ok(items)
    }

    fn state_of_row(
        &self,
        i: usize,
        row: &Applied,
        script: Option<&Script>,
        checksum_now: Option<i32>,
        is_latest: bool,
    ) -> State {
        if self.marks.undone[i] {
            return State::Undone;
        }
        if self.marks.deleted[i] {
            return State::Deleted;
        }
        if row.kind == "BASELINE" {
            return State::Baseline;
        }
        if row.is_synthetic() {
            return State::Success;
        }
        let repeatable = row.version.is_none();
        if script.is_none() && (!repeatable || is_latest) && !row.is_undo() {
            let future = row.version.as_ref() >= self.last_resolved && row.version.is_some();
            return match (future, row.success) {
                (true, true) => State::Future,
                (true, false) => State::FailedFuture,
                (false, true) => State::Missing,
                (false, false) => State::FailedMissing,
            };
        }
        match row {
            row if !row.success => State::Failed,
            row if row.is_baseline() => State::Baseline,
            _ if repeatable && !is_latest => State::Superseded,
            row if repeatable => {
                let raw = script.map(|s| checksum(&s.text));
                let same = row.checksum == checksum_now || row.checksum == raw;
                if same { State::Success } else { State::Outdated }
            }
            _ if self.marks.out_of_order[i] => State::OutOfOrder,
            _ => State::Success,
        }
    }

    fn files(&self, live: &[usize]) -> Result<Vec<Item<'a>>> {
        let (scripts, rows) = (self.inputs.scripts, &self.inputs.history.rows);
        let has_row = |script: &Script| live.iter().any(|i| joins(script, &rows[*i]));
        let mut live_versions: std::collections::HashSet<&Version> =
            std::collections::HashSet::new();
        for i in live {
            let row = &rows[*i];
            if let Some(version) = &row.version
                && !row.is_baseline()
                && !row.is_synthetic()
            {
                live_versions.insert(version);
            }
        }
        let mut items = Vec::new();
        let mut add = |script: &'a Script, state| -> Result<()> {
            let checksum = Some(self.checksum(script)?);
            let executes = self.executes(script)?;
            items.push(Item { script: Some(script), applied: None, state, checksum, executes });
            Ok(())
        };
        for (version, script) in &scripts.versioned {
            if !live_versions.contains(version) {
                add(script, self.state_of_file(script, version)?)?;
            }
        }
        for (version, script) in &scripts.baseline {
            if !has_row(script) {
                add(script, self.state_of_baseline_file(script, version)?)?;
            }
        }
        for script in scripts.repeatable.values().filter(|script| !has_row(script)) {
            let state = if self.executes(script)? { State::Pending } else { State::Ignored };
            add(script, state)?;
        }
        Ok(items)
    }

    fn executes(&self, script: &Script) -> Result<bool> {
        script
            .conf
            .executes(self.inputs.values)
            .map_err(|why| Error::new(Code::MigrationFile, format!("{}.conf: {why}", script.path)))
    }

    fn state_of_file(&self, script: &Script, version: &Version) -> Result<State> {
        if !self.executes(script)? {
            return Ok(State::Ignored);
        }
        let base = match &self.last_applied {
            None => self.pending_baseline.as_ref(),
            Some(_) => self.applied_baseline.as_ref(),
        };
        Ok(match base {
            Some(base) if version < base => State::BelowBaseline,
            Some(base) if version == base => State::IgnoredBaseline,
            _ if self.is_above(version) => State::AboveTarget,
            _ => match &self.last_applied {
                Some(last) if version < last && !self.inputs.out_of_order => State::Ignored,
                _ => State::Pending,
            },
        })
    }

    /// Only the highest runs, and only where nothing was applied.
    fn state_of_baseline_file(&self, script: &Script, version: &Version) -> Result<State> {
        if self.last_applied.is_some() || !self.executes(script)? {
            return Ok(State::Ignored);
        }
        Ok(match &self.pending_baseline {
            _ if self.is_above(version) => State::AboveTarget,
            Some(highest) if version == highest => State::Pending,
            _ => State::Ignored,
        })
    }
}

/// The file that a row is of.
fn file_of<'a>(scripts: &'a Scripts, row: &Applied) -> Option<&'a Script> {
    let candidate = match &row.version {
        Some(version) if row.is_undo() => scripts.undo.get(version),
        Some(version) if row.is_baseline() => scripts.baseline.get(version),
        Some(version) => scripts.versioned.get(version),
        None => scripts.repeatable.values().find(|script| joins(script, row)),
    };
    candidate.filter(|script| joins(script, row))
}

/// What was applied by its rank, between what is below it and what is to come; then by version, the
/// repeatable ones last.
fn order(a: &Item<'_>, b: &Item<'_>) -> std::cmp::Ordering {
    let stage = |item: &Item<'_>| match (item.state, item.applied) {
        (State::BelowBaseline | State::IgnoredBaseline, _) => 0,
        (_, Some(_)) => 1,
        (_, None) => 2,
    };
    let by_rank = match (a.applied, b.applied) {
        (Some(a), Some(b)) => a.rank.cmp(&b.rank),
        _ => std::cmp::Ordering::Equal,
    };
    let is_baseline = |item: &Item<'_>| {
        item.script.is_some_and(|script| matches!(script.kind, Kind::Baseline(_)))
    };
    stage(a).cmp(&stage(b)).then(by_rank).then_with(|| {
        let repeatable = |item: &Item<'_>| item.version().is_none();
        repeatable(a)
            .cmp(&repeatable(b))
            .then_with(|| a.version().cmp(&b.version()))
            .then_with(|| is_baseline(a).cmp(&is_baseline(b)))
            .then_with(|| a.description().cmp(b.description()))
    })
}
