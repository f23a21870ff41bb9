//! PostgreSQL's `EXPLAIN (FORMAT JSON)`.

use mainstay_core::{Code, Error, Result};
use serde_json::Value;

use super::{Kind, Node, Plan};

/// Reads the one value of the answer. Errors: DB-015.
pub(crate) fn read(value: &Value) -> Result<Plan> {
    let wrong = || Error::new(Code::Decode, "the plan is not what PostgreSQL's EXPLAIN writes");
    let top = value.get(0).ok_or_else(wrong)?;
    let root = node(top.get("Plan").ok_or_else(wrong)?, false);
    let time = |key: &str| top.get(key).and_then(Value::as_f64);
    Ok(Plan { root, planning_ms: time("Planning Time"), execution_ms: time("Execution Time") })
}

fn node(value: &Value, early: bool) -> Node {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| value.get(key).and_then(Value::as_f64);
    let whole = |key: &str| value.get(key).and_then(Value::as_u64);
    let name = text("Node Type").unwrap_or_default();
    let kind = kind(&name);
    let loops = number("Actual Loops");
    let hit = whole("Shared Hit Blocks").zip(whole("Shared Read Blocks"));
    let removed = ["Rows Removed by Filter", "Rows Removed by Join Filter"];
    let removed: Vec<f64> = removed.iter().filter_map(|key| number(key)).collect();
    let condition = ["Index Cond", "Hash Cond", "Merge Cond", "Recheck Cond"];
    let filter = text("Filter").or_else(|| text("Join Filter"));
    let on_disk = text("Sort Space Type").as_deref() == Some("Disk");
    let keys = |key: &str| {
        let all = value.get(key)?.as_array()?;
        Some(all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
    };
    let join = text("Join Type").unwrap_or_default();
    let joins = matches!(kind, Kind::Join | Kind::NestedLoop);
    // What is below a limit, or the inner side of a join that needs one match, stops when it has enough.
    let below = early || kind == Kind::Limit;
    let unique = value.get("Inner Unique").and_then(Value::as_bool) == Some(true);
    let ends_early = matches!(join.as_str(), "Semi" | "Anti") || name == "Merge Join" || unique;
    let one_match = joins && ends_early;
    let children = value.get("Plans").and_then(Value::as_array).into_iter().flatten();
    // A sort, a hash or an aggregate takes all that there is, whoever stops above it.
    let takes_all = kind == Kind::Sort || name == "Hash" || name == "Aggregate";
    let children = children.enumerate().map(|(at, child)| {
        node(child, (below && !takes_all) || (one_match && (at == 1 || name == "Merge Join")))
    });
    Node {
        kind,
        label: label(&name, value),
        relation: text("Relation Name"),
        alias: text("Alias"),
        index: text("Index Name"),
        cost: number("Total Cost"),
        rows: number("Plan Rows"),
        actual_rows: number("Actual Rows"),
        loops,
        time_ms: number("Actual Total Time").map(|ms| ms * loops.unwrap_or(1.0)),
        buffers: hit.map(|(hit, read)| hit + read),
        temp_pages: whole("Temp Written Blocks"),
        condition: condition.iter().find_map(|key| text(key)),
        filter,
        removed: (!removed.is_empty()).then(|| removed.iter().sum()),
        sort: keys("Sort Key").map(|keys| match text("Sort Method") {
            Some(method) => format!("{keys} ({method})"),
            None => keys,
        }),
        sort_disk_kb: whole("Sort Space Used").filter(|_| on_disk),
        batches: whole("Hash Batches").or_else(|| whole("HashAgg Batches")),
        heap_fetches: number("Heap Fetches"),
        stops_early: early,
        children: children.collect(),
    }
}

fn kind(name: &str) -> Kind {
    match name {
        "Seq Scan" | "Sample Scan" => Kind::Scan,
        "Index Scan" | "Bitmap Index Scan" => Kind::Index,
        "Index Only Scan" => Kind::IndexOnly,
        "Nested Loop" => Kind::NestedLoop,
        "Hash Join" | "Merge Join" => Kind::Join,
        "Sort" | "Incremental Sort" => Kind::Sort,
        "Materialize" | "Memoize" => Kind::Keep,
        "Limit" => Kind::Limit,
        "ModifyTable" => Kind::Modify,
        _ => Kind::Other,
    }
}

fn label(name: &str, value: &Value) -> String {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let parallel = value.get("Parallel Aware").and_then(Value::as_bool) == Some(true);
    let before = if parallel { "Parallel " } else { "" };
    match (name, text("Strategy"), text("Join Type"), text("Operation")) {
        ("ModifyTable", _, _, operation) => operation.to_owned(),
        ("Aggregate", "Hashed", ..) => format!("{before}Hash Aggregate"),
        ("Aggregate", "Sorted", ..) => format!("{before}Group Aggregate"),
        (_, _, "" | "Inner", _) => format!("{before}{name}"),
        (_, _, join, _) => format!("{before}{name} ({})", join.to_lowercase()),
    }
}
