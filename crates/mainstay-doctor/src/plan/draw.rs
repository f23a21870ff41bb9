//! A plan as a tree for people: each step with its time, its rows and what is wrong with it.

use super::rules::count;
use super::{Judged, Node, Plan};

/// Draws `plan`, a line a step, with the codes of what was `judged` at the steps' ends, and below a step what it asks
/// for. Time is of the step with those below; rows are of all its loops, with those expected in brackets where they
/// are far off.
///
/// ```
/// use mainstay_doctor::plan::{Node, Plan, draw};
///
/// let root = Node { label: "Seq Scan".into(), relation: Some("t".into()), ..Node::default() };
/// assert_eq!(draw(&Plan { root, ..Plan::default() }, &[]), "Seq Scan on t\n");
/// ```
pub fn draw(plan: &Plan, judged: &[Judged]) -> String {
    let mut lines = Vec::new();
    walk(&plan.root, "", "", &mut lines);
    let width = lines.iter().filter(|l| l.step.is_some()).map(|l| length(&l.text)).max();
    let (width, mut out, mut at) = (width.unwrap_or(0).min(72), String::new(), 0);
    for line in &lines {
        let mut text = line.text.clone();
        if let Some(node) = line.step {
            let numbers = numbers(node);
            if !numbers.is_empty() {
                text += &" ".repeat(width.saturating_sub(length(&text)) + 2);
                text += &numbers;
            }
            let codes = judged.iter().filter(|j| j.node == at).map(|j| j.code.as_str());
            let codes: Vec<_> = codes.collect();
            if !codes.is_empty() {
                text += &format!("  ▲ {}", codes.join(" "));
            }
            at += 1;
        }
        out += text.trim_end();
        out.push('\n');
    }
    let ms = |time: Option<f64>, what: &str| time.map(|ms| format!("{what} {ms:.1} ms"));
    let times = [ms(plan.planning_ms, "planned in"), ms(plan.execution_ms, "run in")];
    let times: Vec<_> = times.into_iter().flatten().collect();
    if !times.is_empty() {
        out += &format!("{}\n", times.join(", "));
    }
    out
}

struct Line<'a> {
    text: String,
    /// None where it says more of the step above.
    step: Option<&'a Node>,
}

fn walk<'a>(node: &'a Node, lead: &str, below: &str, lines: &mut Vec<Line<'a>>) {
    lines.push(Line { text: format!("{lead}{}", title(node)), step: Some(node) });
    let rest = if node.children.is_empty() { "  " } else { "│ " };
    let mut say = |what: &str, text: Option<&str>| {
        if let Some(text) = text {
            let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
            lines.push(Line { text: format!("{below}{rest}  {what}: {text}"), step: None });
        }
    };
    say("by", node.condition.as_deref());
    let thrown = node.removed.map(|rows| count(rows * node.loops.unwrap_or(1.0)));
    let filter = node.filter.as_deref().map(|filter| match &thrown {
        Some(rows) => format!("{filter}, throws {rows} away"),
        None => filter.to_owned(),
    });
    say("filter", filter.as_deref());
    if !node.label.starts_with("USE ") {
        say("sort", node.sort.as_deref());
    }
    for (at, child) in node.children.iter().enumerate() {
        let last = at + 1 == node.children.len();
        let (branch, next) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        walk(child, &format!("{below}{branch}"), &format!("{below}{next}"), lines);
    }
}

fn title(node: &Node) -> String {
    // SQLite's own words have the names in them.
    let names_itself = |name: &str| node.label.contains(name);
    let mut title = node.label.clone();
    if let Some(index) = node.index.as_deref().filter(|name| !names_itself(name)) {
        title += &format!(" by {index}");
    }
    if let Some(table) = node.relation.as_deref().filter(|name| !names_itself(name)) {
        title += &format!(" on {table}");
        if let Some(alias) = node.alias.as_deref().filter(|alias| *alias != table) {
            title += &format!(" {alias}");
        }
    }
    title
}

fn numbers(node: &Node) -> String {
    let loops = node.loops.unwrap_or(1.0);
    let mut out = Vec::new();
    if let Some(ms) = node.time_ms {
        out.push(format!("{ms:>9.1} ms"));
    }
    match (node.actual_rows, node.rows) {
        (Some(seen), expected) => {
            let mut text = format!("{:>11} rows", count(seen * loops));
            if let Some(expected) = expected.filter(|e| far(*e, seen)) {
                text += &format!(" (expected {})", count(expected * loops));
            }
            out.push(text);
        }
        (None, Some(expected)) => out.push(format!("{:>11} rows expected", count(expected))),
        (None, None) => {}
    }
    if let Some(pages) = node.buffers {
        out.push(format!("{:>8} pages", count(pages as f64)));
    } else if let (None, Some(cost)) = (node.actual_rows, node.cost) {
        out.push(format!(", cost {cost:.0}"));
    }
    out.concat()
}

fn far(expected: f64, seen: f64) -> bool {
    expected.max(seen) > 10.0 * expected.min(seen).max(1.0)
}

fn length(text: &str) -> usize {
    text.chars().count()
}
