//! What is wrong with a plan, by rules that ask for large numbers: what is small is never told.
//!
//! The bounds are those that the field has settled on: 10,000 rows read, nine tenths thrown away, ten times wrong.

use std::collections::{HashMap, HashSet};

use mainstay_core::Code;
use mainstay_core::clock::Clock;
use serde::Serialize;

use super::{Kind, Node, Plan};
use crate::finding::{Cost, Finding, Severity};

/// Rows below which reading them all is no matter.
const MANY: f64 = 10_000.0;
/// The share that a filter must throw away.
const THROWN: f64 = 0.9;
/// How far an estimate may be off.
const OFF: f64 = 10.0;
/// Rows that a wrong estimate must be about.
const OFF_ROWS: f64 = 1000.0;
/// Rows that a nested loop may read over and over.
const LOOPED: f64 = 100_000.0;
/// How often its inner side must be begun.
const LOOPS: f64 = 100.0;
/// Rows of an index-only scan that had to be looked up.
const FETCHES: f64 = 1000.0;
/// And their share.
const FETCHED: f64 = 0.25;

/// What the plan itself does not say of its tables; names are as the statement has them, in lower case.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    /// Their rows.
    pub rows: HashMap<String, f64>,
    /// Which of them the statement filters or joins by something that an index could find.
    pub filtered: HashSet<String>,
}

/// What is wrong with one step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// Which rule.
    #[serde(serialize_with = "crate::finding::code")]
    pub code: Code,
    /// The step, by its place in [`Node::all`].
    pub node: usize,
    /// What is wrong.
    pub what: String,
    /// What was seen.
    pub why: String,
}

impl Judged {
    /// As the doctor tells it.
    pub fn finding(&self, clock: &Clock) -> Finding {
        Finding {
            code: self.code,
            severity: Severity::Warning,
            what: self.what.clone(),
            scope: None,
            place: None,
            evidence: vec![self.why.clone()],
            fix: self.code.fix().to_owned(),
            cost: Cost::default(),
            first_seen: clock.wall(),
            last_seen: clock.wall(),
            count: 1,
        }
    }
}

/// All that is wrong with `plan`, in the order of its steps. A plan that was not run is judged by what the planner
/// expects and by `sizes`.
pub fn judge(plan: &Plan, sizes: &Sizes) -> Vec<Judged> {
    let mut judge = Judge { sizes, found: Vec::new(), at: 0, largest: 0.0 };
    for node in plan.root.all() {
        judge.largest = judge.largest.max(judge.rows_read(node));
    }
    judge.node(&plan.root, &Above::default());
    judge.found
}

/// What is known from above a step.
#[derive(Clone, Copy, Debug, Default)]
struct Above {
    /// It is begun once for each row of an outer side, which has as many, as far as known.
    looped: Option<f64>,
    /// A join buffer goes through it.
    buffered: bool,
}

struct Judge<'a> {
    sizes: &'a Sizes,
    found: Vec<Judged>,
    at: usize,
    /// Rows of the table most read: what an engine without numbers sorts at most.
    largest: f64,
}

impl Judge<'_> {
    fn add(&mut self, code: Code, what: String, why: String) {
        self.found.push(Judged { code, node: self.at, what, why });
    }

    fn size(&self, node: &Node) -> Option<f64> {
        let names = [node.alias.as_deref(), node.relation.as_deref()];
        names.into_iter().flatten().find_map(|n| self.sizes.rows.get(&n.to_lowercase()).copied())
    }

    /// Rows that one go through a scan reads.
    fn rows_read(&self, node: &Node) -> f64 {
        if !matches!(node.kind, Kind::Scan | Kind::FullIndex) {
            return 0.0;
        }
        let seen = node.actual_rows.map(|rows| rows + node.removed.unwrap_or(0.0));
        seen.or_else(|| self.size(node)).unwrap_or_else(|| node.rows.unwrap_or(0.0))
    }

    fn is_filtered(&self, node: &Node) -> bool {
        let names = [node.alias.as_deref(), node.relation.as_deref()];
        node.filter.is_some()
            || names.into_iter().flatten().any(|n| self.sizes.filtered.contains(&n.to_lowercase()))
    }

    /// Whether something wrong was told of the node or below it, by the same rule.
    fn node(&mut self, node: &Node, above: &Above) {
        let at = self.at;
        self.scan(node, above);
        self.spill(node);
        self.fetches(node);
        self.sort(node);
        self.nested(node);
        self.transient(node);
        let before = self.found.len();
        let mut outer: Option<f64> = None;
        for child in &node.children {
            self.at += 1;
            let looped = (node.kind == Kind::NestedLoop).then_some(outer).flatten();
            let buffered =
                node.kind == Kind::TransientIndex || (above.buffered && node.relation.is_none());
            self.node(child, &Above { looped: looped.or(above.looped), buffered });
            if node.kind == Kind::NestedLoop {
                let rows = if child.kind == Kind::Scan { self.rows_read(child) } else { 1.0 };
                outer = Some(outer.unwrap_or(1.0) * rows.max(1.0));
            }
        }
        let next = std::mem::replace(&mut self.at, at);
        let told = self.found[before..].iter().any(|f| f.code == Code::PlanMisestimate);
        if !told {
            self.misestimate(node);
        }
        self.at = next;
    }

    fn scan(&mut self, node: &Node, above: &Above) {
        // What is gone through again and again is the loop's finding.
        let again = node.loops.is_some_and(|loops| loops >= LOOPS)
            || above.buffered
            || above.looped.is_some_and(|outer| outer >= LOOPS && node.actual_rows.is_none());
        let read = self.rows_read(node);
        if node.kind != Kind::Scan || again || read < MANY || !self.is_filtered(node) {
            return;
        }
        let kept = match (node.actual_rows, node.rows) {
            (Some(kept), _) => kept,
            // The planner's own guess, where there is one.
            (None, Some(kept)) if node.cost.is_some() || node.filter.is_some() => kept,
            _ => 0.0,
        };
        if node.stops_early && node.actual_rows.is_some_and(|kept| kept > 0.0) && read < MANY {
            return;
        }
        let thrown = 1.0 - kept / read;
        if thrown <= THROWN {
            return;
        }
        let table = name(node);
        let by = node.filter.as_deref().map_or(String::new(), |f| format!(" by {f}"));
        let why = if node.actual_rows.is_some() || node.rows.is_some() {
            format!("{:.1} % of {} rows are thrown away{by}", thrown * 100.0, count(read))
        } else {
            format!("it has {} rows, and an index could find those asked for", count(read))
        };
        self.add(Code::PlanScan, format!("{table} is read from one end to the other"), why);
    }

    fn misestimate(&mut self, node: &Node) {
        let (Some(expected), Some(seen)) = (node.rows, node.actual_rows) else { return };
        let loops = node.loops.unwrap_or(1.0);
        if loops < 1.0 || matches!(node.kind, Kind::Limit | Kind::Modify | Kind::Keep) {
            return;
        }
        let (low, high) = (expected.min(seen).max(1.0), expected.max(seen));
        // What stops early has fewer rows than there are.
        let cut_short = node.stops_early && seen < expected;
        if cut_short || high / low <= OFF || high * loops < OFF_ROWS {
            return;
        }
        let what = format!("{} has {} rows, not {}", name(node), count(seen), count(expected));
        let why = format!("the planner is wrong by {:.0} times", high / low);
        self.add(Code::PlanMisestimate, what, why);
    }

    fn spill(&mut self, node: &Node) {
        if let Some(kb) = node.sort_disk_kb {
            let what = format!("{} goes to disk", node.label);
            self.add(Code::PlanSpill, what, format!("it takes {} kB there", count(kb as f64)));
        } else if node.batches.is_some_and(|batches| batches > 1) {
            let batches = node.batches.unwrap_or(0);
            let what = format!("{} does not fit into its memory", node.label);
            self.add(Code::PlanSpill, what, format!("it is cut into {batches} parts on disk"));
        }
    }

    fn fetches(&mut self, node: &Node) {
        let (Some(fetches), Some(rows)) = (node.heap_fetches, node.actual_rows) else { return };
        let rows = rows * node.loops.unwrap_or(1.0);
        if fetches < FETCHES || fetches < rows * FETCHED {
            return;
        }
        let what = format!("{} goes to the table all the same", name(node));
        let why = format!("{} of {} rows were looked up there", count(fetches), count(rows));
        self.add(Code::PlanHeapFetches, what, why);
    }

    /// Of engines that do not say how much they sort: as much as the largest table read.
    fn sort(&mut self, node: &Node) {
        let told = node.kind == Kind::Sort || (node.kind == Kind::Keep && node.sort.is_none());
        let by_engine = node.label == "Filesort"
            || node.label == "Temporary table"
            || node.label.starts_with("USE TEMP B-TREE");
        if !told || !by_engine {
            return;
        }
        let under: f64 = node.all().iter().map(|n| self.rows_read(n)).fold(0.0, f64::max);
        let rows = node.actual_rows.unwrap_or(if under > 0.0 { under } else { self.largest });
        // The sort of a temporary table is the same finding.
        let twice =
            self.found.last().is_some_and(|f| f.code == Code::PlanSort && f.node + 1 == self.at);
        if rows.max(if node.actual_rows.is_some() { 0.0 } else { under }) < MANY || twice {
            return;
        }
        let by = node.sort.as_deref().filter(|_| node.label == "Filesort");
        let by = by.map_or(String::new(), |keys| format!(" by {keys}"));
        let what = format!("{}{by} of many rows", node.label.to_lowercase());
        self.add(Code::PlanSort, what, format!("some {} rows go through it", count(rows)));
    }

    /// A loop whose inner side finds its rows by reading all of them.
    fn nested(&mut self, node: &Node) {
        if node.kind != Kind::NestedLoop {
            return;
        }
        let mut outer = 1.0_f64;
        for (at, side) in node.children.iter().enumerate() {
            let inner = reader(side);
            let read = inner.touched().unwrap_or_else(|| outer * self.rows_read(inner));
            let loops = inner.loops.unwrap_or(outer);
            let whole = matches!(inner.kind, Kind::Scan | Kind::FullIndex | Kind::Keep);
            if at > 0
                && whole
                && side.kind != Kind::TransientIndex
                && loops >= LOOPS
                && read >= LOOPED
            {
                let what = format!("{} is gone through again and again", name(inner));
                let why = format!("{} times, {} rows in all", count(loops), count(read));
                self.add(Code::PlanLoop, what, why);
                return;
            }
            outer *= match inner.kind {
                Kind::Scan | Kind::FullIndex => self.rows_read(inner).max(1.0),
                _ => inner.actual_rows.unwrap_or(1.0).max(1.0),
            };
        }
    }

    fn transient(&mut self, node: &Node) {
        if node.kind != Kind::TransientIndex {
            return;
        }
        let tables = node.all();
        let read = tables.iter().map(|n| self.rows_read(n)).fold(0.0, f64::max);
        let size = self.size(node).unwrap_or(read);
        if size < LOOPS {
            return;
        }
        let table = tables.iter().find_map(|n| n.relation.clone()).unwrap_or_default();
        let how = if node.relation.is_some() { "an index" } else { "a buffer" };
        let what = format!("{table} is joined without an index of its own");
        self.add(Code::PlanTransientIndex, what, format!("{how} is made for this one statement"));
    }
}

/// The step that reads, below those that only keep what was read.
fn reader(node: &Node) -> &Node {
    match node.children.as_slice() {
        // Kept in memory, it is still gone through row by row.
        [_] if node.kind == Kind::Keep && node.label == "Materialize" => node,
        [only] if node.kind == Kind::Keep => reader(only),
        _ => node,
    }
}

fn name(node: &Node) -> String {
    let own = [node.relation.as_deref(), node.index.as_deref()].into_iter().flatten().next();
    own.map_or_else(
        || {
            let below = node.all().into_iter().find_map(|n| n.relation.clone());
            below.map_or(node.label.clone(), |table| format!("{} over {table}", node.label))
        },
        str::to_owned,
    )
}

/// A number of rows, with commas between thousands.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
