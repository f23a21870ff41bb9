//! Paths, operations, and what they ask of credentials.

use std::collections::BTreeMap;

use mainstay_core::Result;
use serde_json::{Map, Value};

use super::super::METHODS;
use super::Difference;
use super::compare::{Comparing, target};

/// Errors: HTTP-014.
pub(super) fn documents(old: &Value, new: &Value) -> Result<Vec<Difference>> {
    let mut comparing = Comparing::new(old, new);
    let (olds, news) = (paths(old), paths(new));
    for (key, (path, item)) in &olds {
        let Some((renamed, newer)) = news.get(key) else {
            comparing.operation.clone_from(path);
            comparing.note(true, "path-removed", "", "the path is gone".to_owned());
            continue;
        };
        for method in METHODS {
            comparing.operation = format!("{} {path}", method.to_ascii_uppercase());
            match (item.get(method), newer.get(method)) {
                (Some(old), Some(new)) => {
                    comparing.operation(([item, old], path), ([newer, new], renamed));
                }
                (Some(_), None) => {
                    comparing.note(
                        true,
                        "operation-removed",
                        "",
                        "the operation is gone".to_owned(),
                    );
                }
                (None, Some(_)) => {
                    comparing.note(false, "operation-added", "", "the operation is new".to_owned());
                }
                (None, None) => {}
            }
        }
    }
    for (key, (path, _)) in &news {
        if !olds.contains_key(key) {
            comparing.operation.clone_from(path);
            comparing.note(false, "path-added", "", "the path is new".to_owned());
        }
    }
    comparing.end()
}

/// By the path without the names of its parameters, which no client sees.
fn paths(document: &Value) -> BTreeMap<String, (String, &Value)> {
    let paths = document.get("paths").and_then(Value::as_object);
    let paths = paths.into_iter().flatten().filter(|(path, _)| path.starts_with('/'));
    paths.map(|(path, item)| (unnamed(path), (path.clone(), target(document, item)))).collect()
}

fn unnamed(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        inside = (inside || c == '{') && c != '}';
        if !inside || c == '{' {
            out.push(c);
        }
    }
    out
}

impl<'a> Comparing<'a> {
    fn operation(
        &mut self,
        ([old_item, old], old_path): ([&'a Value; 2], &str),
        ([new_item, new], new_path): ([&'a Value; 2], &str),
    ) {
        let deprecated = |operation: &Value| operation["deprecated"] == true;
        if deprecated(new) && !deprecated(old) {
            self.note(false, "deprecated", "", "the operation is deprecated".to_owned());
        }
        self.parameters(([old_item, old], old_path), ([new_item, new], new_path));
        self.request_body(old.get("requestBody"), new.get("requestBody"));
        self.responses(old, new);
        self.security(old, new);
    }

    /// Each way to be let in before must still do: with the same credentials, or fewer.
    fn security(&mut self, old: &Value, new: &Value) {
        let (olds, news) = (ways(self.old, old), ways(self.new, new));
        let anonymous = |ways: &[Way<'_>]| ways.iter().any(Way::is_empty);
        if anonymous(&olds) && !anonymous(&news) {
            let schemes: Vec<&str> = news.iter().flat_map(|way| way.keys().copied()).collect();
            let what = format!("it takes credentials now: {}", schemes.join(", "));
            return self.note(true, "security-added", "security", what);
        }
        for way in &olds {
            let does = |newer: &Way<'_>| {
                newer.iter().all(|(scheme, scopes)| {
                    way.get(scheme)
                        .is_some_and(|had| scopes.iter().all(|scope| had.contains(scope)))
                })
            };
            if !news.iter().any(does) {
                let schemes: Vec<&str> = way.keys().copied().collect();
                let what = format!("{} is no longer enough", schemes.join(" with "));
                self.note(true, "security-changed", "security", what);
            }
        }
        if anonymous(&news) && !anonymous(&olds) {
            let what = "it no longer takes credentials".to_owned();
            self.note(false, "security-removed", "security", what);
        }
    }
}

/// The schemes that are needed together, each with its scopes.
type Way<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// Those of the operation, or else of the document; none asked for is one way, which takes nothing.
fn ways<'a>(document: &'a Value, operation: &'a Value) -> Vec<Way<'a>> {
    let all = operation.get("security").or_else(|| document.get("security"));
    let all = all.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if all.is_empty() {
        return vec![Way::new()];
    }
    let way = |way: &'a Value| -> Way<'a> {
        let schemes = way.as_object().into_iter().flat_map(Map::iter);
        let scopes = |scopes: &'a Value| -> Vec<&'a str> {
            scopes.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
        };
        schemes.map(|(scheme, needed)| (scheme.as_str(), scopes(needed))).collect()
    };
    all.iter().map(way).collect()
}
