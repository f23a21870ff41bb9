//! MariaDB's `EXPLAIN FORMAT=JSON` and `ANALYZE FORMAT=JSON`; MySQL's as far as it has the same words.

use mainstay_core::{Code, Error, Result};
use serde_json::{Map, Value};

use super::{Kind, Node, Plan};

/// What wraps the parts of a block, and the kind of step that it is.
const WRAPPERS: &[(&str, &str, Kind)] = &[
    ("filesort", "Filesort", Kind::Sort),
    ("temporary_table", "Temporary table", Kind::Keep),
    ("read_sorted_file", "Read sorted", Kind::Other),
    ("duplicates_removal", "Remove duplicates", Kind::Other),
    ("duplicate_removal", "Remove duplicates", Kind::Other),
    ("having_subquery_block", "Having", Kind::Other),
    ("window_functions_computation", "Window functions", Kind::Other),
    ("ordering_operation", "Order", Kind::Other),
    ("grouping_operation", "Group", Kind::Other),
    ("materialized", "Materialized", Kind::Keep),
    ("union_result", "Union", Kind::Other),
    ("expression_cache", "Expression cache", Kind::Other),
];

/// Reads the one value of the answer. Errors: DB-015.
pub(crate) fn read(text: &str) -> Result<Plan> {
    let wrong = || Error::new(Code::Decode, "the plan is not what MariaDB's EXPLAIN writes");
    let value: Value = serde_json::from_str(text).map_err(|e| wrong().cause(e))?;
    let block = value.get("query_block").and_then(Value::as_object).ok_or_else(wrong)?;
    let root = Node {
        label: "Query".to_owned(),
        cost: number(block, "cost"),
        time_ms: number(block, "r_total_time_ms"),
        loops: number(block, "r_loops"),
        children: parts(block),
        ..Node::default()
    };
    let execution_ms = root.time_ms;
    Ok(Plan { root, planning_ms: None, execution_ms })
}

fn number(map: &Map<String, Value>, key: &str) -> Option<f64> {
    map.get(key).and_then(Value::as_f64)
}

/// The steps that `map` consists of: several tables beside each other are a nested loop.
fn parts(map: &Map<String, Value>) -> Vec<Node> {
    let mut out = Vec::new();
    for (key, value) in map {
        match (key.as_str(), value) {
            ("nested_loop" | "query_specifications" | "subqueries", Value::Array(items)) => {
                let mut items: Vec<Node> =
                    items.iter().filter_map(Value::as_object).flat_map(parts).collect();
                if key == "nested_loop" && items.len() > 1 {
                    let label = "Nested loop".to_owned();
                    items = vec![Node {
                        kind: Kind::NestedLoop,
                        label,
                        children: items,
                        ..Node::default()
                    }];
                }
                out.extend(items);
            }
            ("table", Value::Object(inner)) => out.push(table(inner)),
            ("block-nl-join", Value::Object(inner)) => {
                let mut children = parts(inner);
                for child in &mut children {
                    child.kind = Kind::Scan;
                }
                out.push(Node {
                    kind: Kind::TransientIndex,
                    label: "Join buffer".to_owned(),
                    filter: inner.get("attached_condition").and_then(text),
                    removed: None,
                    children,
                    ..Node::default()
                });
            }
            ("query_block", Value::Object(inner)) => out.extend(parts(inner)),
            (key, Value::Object(inner)) => match WRAPPERS.iter().find(|(name, ..)| *name == key) {
                Some((_, label, kind)) => out.push(wrapper(label, *kind, inner)),
                None => out.extend(parts(inner)),
            },
            _ => {}
        }
    }
    out
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn wrapper(label: &str, kind: Kind, map: &Map<String, Value>) -> Node {
    let passes = number(map, "r_sort_passes");
    Node {
        kind,
        label: label.to_owned(),
        sort: map.get("sort_key").and_then(text),
        actual_rows: number(map, "r_output_rows"),
        loops: number(map, "r_loops"),
        time_ms: number(map, "r_total_time_ms"),
        sort_disk_kb: passes.filter(|p| *p > 0.0).map(|_| {
            let size = map.get("r_buffer_size").and_then(Value::as_str).unwrap_or_default();
            size.trim_end_matches("Kb").parse().unwrap_or(1)
        }),
        children: parts(map),
        ..Node::default()
    }
}

fn table(map: &Map<String, Value>) -> Node {
    let access = map.get("access_type").and_then(Value::as_str).unwrap_or_default();
    let only = map.get("using_index").and_then(Value::as_bool) == Some(true);
    let kind = match access {
        "ALL" => Kind::Scan,
        "index" => Kind::FullIndex,
        "" => Kind::Other,
        _ if only => Kind::IndexOnly,
        _ => Kind::Index,
    };
    let label = match kind {
        Kind::Scan => "Full scan".to_owned(),
        Kind::FullIndex => "Full index scan".to_owned(),
        Kind::Other => "Table".to_owned(),
        _ => format!("Index {access}"),
    };
    let (read, kept) = (number(map, "r_rows"), number(map, "r_filtered"));
    let kept_rows = read.zip(kept).map(|(read, kept)| read * kept / 100.0);
    // Of a condition that it knows nothing about, all rows are said to pass.
    let knows =
        |(_, filtered): &(f64, f64)| *filtered < 100.0 || !map.contains_key("attached_condition");
    let expected = number(map, "rows").zip(number(map, "filtered")).filter(knows);
    Node {
        kind,
        label,
        relation: map.get("table_name").and_then(text),
        index: map.get("key").and_then(text),
        cost: number(map, "cost"),
        rows: expected.map(|(rows, filtered)| rows * filtered / 100.0),
        actual_rows: kept_rows.or(read),
        removed: read.zip(kept_rows).map(|(read, kept)| read - kept),
        loops: number(map, "r_loops"),
        time_ms: number(map, "r_total_time_ms")
            .or_else(|| Some(number(map, "r_table_time_ms")? + number(map, "r_other_time_ms")?)),
        condition: map.get("index_condition").and_then(text),
        filter: map.get("attached_condition").and_then(text),
        children: parts(map),
        ..Node::default()
    }
}
