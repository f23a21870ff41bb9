//! Plans: how a database means to answer a statement, as one neutral tree for all engines; read from what they say,
//! [drawn](draw), and [judged](judge).
//!
//! It does not plan, and knows nothing of indexes that are not there: that is [`advice`](crate::advice).

mod draw;
mod explain;
mod mariadb;
mod postgres;
mod rules;
mod sqlite;

use serde::Serialize;

pub use draw::draw;
pub use explain::{Explained, explain};
pub(crate) use mariadb::read as mariadb_plan;
pub(crate) use postgres::read as postgres_plan;
pub use rules::{Judged, Sizes, judge};
pub(crate) use sqlite::read as sqlite_plan;

/// What a node does, as far as the rules ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Reads a table from one end to the other.
    Scan,
    /// Reads an index from one end to the other.
    FullIndex,
    /// Reads a part of an index, and the rows that it names.
    Index,
    /// Reads a part of an index alone.
    IndexOnly,
    /// Joins by going through the inner side for each row of the outer.
    NestedLoop,
    /// Any other join.
    Join,
    /// Sorts.
    Sort,
    /// Keeps rows of a part for later: a temporary table, a materialization.
    Keep,
    /// Stops early.
    Limit,
    /// Changes rows.
    Modify,
    /// An index that the engine makes for the statement.
    TransientIndex,
    /// Anything else.
    #[default]
    Other,
}

/// A step of a plan, with what it takes its rows from. Counts are of one loop, as the engines tell them; times and
/// buffers are of all loops, with those below.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Node {
    /// What it does.
    pub kind: Kind,
    /// In the engine's words.
    pub label: String,
    /// The table that it reads.
    pub relation: Option<String>,
    /// The table's name in the statement.
    pub alias: Option<String>,
    /// The index that it reads.
    pub index: Option<String>,
    /// The planner's cost of it and of what is below.
    pub cost: Option<f64>,
    /// Rows that the planner expects.
    pub rows: Option<f64>,
    /// Rows that came.
    pub actual_rows: Option<f64>,
    /// How often it was begun.
    pub loops: Option<f64>,
    /// Milliseconds, of all loops.
    pub time_ms: Option<f64>,
    /// Pages found in the cache and read.
    pub buffers: Option<u64>,
    /// Pages written to temporary files.
    pub temp_pages: Option<u64>,
    /// What is asked of the index.
    pub condition: Option<String>,
    /// What is asked of the rows that were read.
    pub filter: Option<String>,
    /// Rows that the filter threw away.
    pub removed: Option<f64>,
    /// How it sorted.
    pub sort: Option<String>,
    /// Kilobytes of the disk that the sort took.
    pub sort_disk_kb: Option<u64>,
    /// Parts that a hash was cut into, since it did not fit.
    pub batches: Option<u64>,
    /// Rows that an index-only scan had to look up in the table.
    pub heap_fetches: Option<f64>,
    /// Whether only a first match is looked for: its rows say nothing of how many there are.
    pub stops_early: bool,
    /// What it takes its rows from; of a nested loop, the outer side first.
    pub children: Vec<Node>,
}

impl Node {
    /// The node and all below it, in the order in which they are drawn.
    pub fn all(&self) -> Vec<&Node> {
        let mut all = vec![self];
        self.children.iter().for_each(|child| all.extend(child.all()));
        all
    }

    /// The rows that it read over all its loops, the thrown away among them.
    pub(crate) fn touched(&self) -> Option<f64> {
        let rows = self.actual_rows? + self.removed.unwrap_or(0.0);
        Some(rows * self.loops.unwrap_or(1.0))
    }
}

/// The plan of one statement.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plan {
    /// Its last step, from which all hang.
    pub root: Node,
    /// Milliseconds that the server took to plan.
    pub planning_ms: Option<f64>,
    /// Milliseconds that it took to run.
    pub execution_ms: Option<f64>,
}

impl Plan {
    /// The planner's cost, in its own unit.
    pub fn cost(&self) -> Option<f64> {
        self.root.cost
    }

    /// Whether it was run, so that it has rows and times.
    pub fn is_analyzed(&self) -> bool {
        self.root.all().iter().any(|node| node.actual_rows.is_some())
    }

    /// The pages that reading took; of a statement that changes rows, without the changing.
    pub fn read_buffers(&self) -> Option<u64> {
        let mut node = &self.root;
        while node.kind == Kind::Modify {
            node = node.children.first()?;
        }
        node.buffers
    }

    /// The indexes that it uses.
    pub fn indexes(&self) -> impl Iterator<Item = &str> {
        self.root.all().into_iter().filter_map(|node| node.index.as_deref())
    }
}
