//! The labelled workload, and how advice is held to it. The benchmarks share it.

use std::collections::HashMap;

use mainstay_db::Db;
use mainstay_doctor::advice::{Advice, Method, Query, Suggestion, workload};

use super::statements::{cost_and_pages, run};

pub const SHOP: &str = include_str!("shop.sql");
const WORKLOAD: &str = include_str!("workload.sql");

/// Each statement with what is expected of it.
pub fn labelled() -> Vec<(Query, Vec<String>)> {
    let mut out = Vec::new();
    for part in WORKLOAD.split(";\n") {
        let query = workload(part, mainstay_db::Engine::Postgres).remove(0);
        let expected = part.lines().filter_map(|line| line.strip_prefix("-- expect: "));
        out.push((query, expected.map(str::to_owned).collect()));
    }
    out
}

/// Whether a suggestion is what a label asks for: its key begins with the label's.
fn fits(label: &str, suggestion: &Suggestion) -> bool {
    let (table, rest) = label.split_once('(').unwrap();
    let (key, more) = rest.rsplit_once(')').unwrap();
    let own: Vec<&str> = suggestion.columns.iter().map(|c| c.name.as_str()).collect();
    if table != suggestion.table || more.contains("GIN") != (suggestion.method == Method::Gin) {
        return false;
    }
    if more.contains("INCLUDE") && suggestion.included.is_empty() {
        return false;
    }
    if let Some((_, predicate)) = more.split_once("WHERE ") {
        let theirs = suggestion.predicate.clone().unwrap_or_default();
        // A part by another state of the row does as well, if it is a part.
        return theirs.contains(predicate) || (!theirs.is_empty() && own.join(" ").contains(key));
    }
    let mut at = 0;
    let mut rest = key;
    while !rest.is_empty() {
        let (free, after) = match rest.strip_prefix('{') {
            Some(set) => set.split_once('}').unwrap(),
            None if rest.contains("to_tsvector") || rest.starts_with('(') => (rest, ""),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        let mut free: Vec<String> = if rest.contains('(') {
            vec![free.trim_matches(['(', ')']).to_owned()]
        } else {
            free.split(' ').map(str::to_owned).collect()
        };
        while !free.is_empty() {
            let name = own.get(at).map(|name| name.trim_matches(['(', ')']).to_owned());
            match name.and_then(|name| free.iter().position(|f| *f == name)) {
                Some(found) => free.remove(found),
                None => return false,
            };
            at += 1;
        }
        rest = after.trim_start();
    }
    true
}

/// What was found of the labels, and what was told without one.
pub fn compare(advice: &Advice, labelled: &[(Query, Vec<String>)]) -> (usize, usize, Vec<String>) {
    let (mut wanted, mut found, mut wrong) = (0, 0, Vec::new());
    for (at, (query, labels)) in labelled.iter().enumerate() {
        let served: Vec<&Suggestion> = advice
            .suggestions
            .iter()
            .filter(|s| s.serves.iter().any(|served| served.statement == at + 1))
            .collect();
        for label in labels {
            if label == "none" {
                wrong.extend(served.iter().map(|s| format!("{} for {}", s.ddl, query.sql)));
                continue;
            }
            wanted += 1;
            if served.iter().any(|s| fits(label, s)) {
                found += 1;
            } else {
                let got: Vec<_> = served.iter().map(|s| s.ddl.clone()).collect();
                println!("missed {label}: {}\n   got {got:?}", query.sql.replace('\n', " "));
            }
        }
    }
    (wanted, found, wrong)
}

/// Literals in the place of placeholders, so that anybody can run it; none where there are no values.
fn runnable(query: &Query) -> Option<String> {
    let mut sql = query.sql.clone();
    for (at, value) in query.binds.iter().enumerate() {
        let text = value.as_str().map_or(value.to_string(), str::to_owned);
        sql = sql.replace(&format!("${}", at + 1), &format!("'{text}'"));
    }
    (!sql.contains('$')).then_some(sql)
}

/// Builds all that was suggested, and answers how many statements' costs and pages are at most half of before, of all
/// that they are said to serve.
pub async fn built(db: &Db, advice: &Advice, labelled: &[(Query, Vec<String>)]) -> (usize, usize) {
    let mut before = HashMap::new();
    for served in advice.suggestions.iter().flat_map(|s| &s.serves) {
        if let Some(sql) = runnable(&labelled[served.statement - 1].0) {
            before.insert(served.statement, cost_and_pages(db, &sql, true).await);
        }
    }
    for suggestion in &advice.suggestions {
        run(db, &suggestion.ddl).await;
    }
    let mut good = 0;
    for (statement, (cost, pages)) in &before {
        let sql = runnable(&labelled[statement - 1].0).unwrap();
        let (now, read) = cost_and_pages(db, &sql, true).await;
        if now <= cost / 2.0 && read <= pages / 2.0 {
            good += 1;
        } else {
            println!("cost {cost} -> {now}, pages {pages} -> {read}: {sql}");
        }
    }
    (before.len(), good)
}
