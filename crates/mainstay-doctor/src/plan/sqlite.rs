//! SQLite's `EXPLAIN QUERY PLAN`: steps with their parents, and no numbers.

use super::{Kind, Node, Plan};

/// A row of the answer.
#[derive(Clone, Debug)]
struct Step {
    id: i64,
    parent: i64,
    detail: String,
}

/// Puts the steps together: each has its number, its parent's, and what it does.
pub(crate) fn read(rows: impl Iterator<Item = (i64, i64, String)>) -> Plan {
    let steps: Vec<Step> = rows.map(|(id, parent, detail)| Step { id, parent, detail }).collect();
    let root = Node { label: "Query".to_owned(), children: below(&steps, 0, 0), ..Node::default() };
    Plan { root, ..Plan::default() }
}

/// Deeper than any query is nested; steps that name each other as parents end here.
const DEPTH_MAX: usize = 100;

/// Tables beside each other are a nested loop, in their order.
fn below(steps: &[Step], parent: i64, depth: usize) -> Vec<Node> {
    if depth > DEPTH_MAX {
        return Vec::new();
    }
    let own = steps.iter().filter(|step| step.parent == parent && step.id != parent);
    let nodes: Vec<Node> = own
        .map(|step| Node { children: below(steps, step.id, depth + 1), ..node(&step.detail) })
        .collect();
    let reads = |node: &Node| node.relation.is_some();
    if nodes.iter().filter(|node| reads(node)).count() < 2 || steps_of_union(steps, parent) {
        return nodes;
    }
    let (tables, others): (Vec<Node>, Vec<Node>) = nodes.into_iter().partition(reads);
    let mut out = vec![Node {
        kind: Kind::NestedLoop,
        label: "Nested loop".to_owned(),
        children: tables,
        ..Node::default()
    }];
    out.extend(others);
    out
}

fn steps_of_union(steps: &[Step], parent: i64) -> bool {
    let own = steps.iter().find(|step| step.id == parent);
    own.is_some_and(|s| {
        s.detail.starts_with("COMPOUND")
            || s.detail.starts_with("MULTI-INDEX")
            || s.detail.starts_with("MERGE")
    })
}

fn node(detail: &str) -> Node {
    let mut words = detail.split(' ');
    let first = words.next().unwrap_or_default();
    // Before 3.36 it is `SCAN TABLE t AS a`.
    let mut rest = words.clone().peekable();
    if rest.peek() == Some(&"TABLE") {
        rest.next();
    }
    let relation = rest.next().filter(|name| !name.starts_with('(') && *name != "CONSTANT");
    let index = |marker: &str| {
        let (_, after) = detail.split_once(marker)?;
        Some(after.split(' ').next()?.to_owned())
    };
    let condition = detail.rsplit_once(" (").map(|(_, c)| c.trim_end_matches(')').to_owned());
    let covering = detail.contains("USING COVERING INDEX");
    let automatic = detail.contains("AUTOMATIC");
    let kind = match first {
        "SCAN" if detail.contains("USING INDEX") || covering => Kind::FullIndex,
        "SCAN" if detail.contains("CONSTANT ROW") || detail.contains("VIRTUAL TABLE") => {
            Kind::Other
        }
        "SCAN" => Kind::Scan,
        "SEARCH" if automatic => Kind::TransientIndex,
        "SEARCH" if covering => Kind::IndexOnly,
        "SEARCH" => Kind::Index,
        "USE" => Kind::Sort,
        "MATERIALIZE" | "CO-ROUTINE" => Kind::Keep,
        _ => Kind::Other,
    };
    let reads = matches!(first, "SCAN" | "SEARCH");
    Node {
        kind,
        label: detail.to_owned(),
        relation: relation.filter(|_| reads).map(str::to_owned),
        index: index("COVERING INDEX ").or_else(|| index("USING INDEX ")).filter(|_| !automatic),
        condition: condition.filter(|_| first == "SEARCH"),
        sort: (first == "USE").then(|| detail.to_owned()),
        ..Node::default()
    }
}
