//! One version's document, of the newest one. What depends on the time is added when it is read.

use mainstay_core::{Code, Error, Result};
use serde_json::{Map, Value, json};

use super::builder::{Rule, What};
use super::types::{Exchange, Typed};
use super::{METHODS, components, problem};
use crate::version::described::{Life, Naming, segment};
use crate::version::{Version, Versions};

const JSON: &str = "application/json";
/// How a comparison of documents knows what names a version from what it says.
pub(super) const VERSION_PARAMETER: &str = "x-api-version";

#[derive(Debug)]
pub(super) struct Derived {
    pub(super) life: Life,
    pub(super) document: Value,
    /// The path and the method of those that are of a version.
    pub(super) operations: Vec<(String, String)>,
}

pub(super) fn derive(
    versions: &Versions,
    newest: &Value,
    rules: &[Rule],
    naming: &Naming,
    life: Life,
) -> Result<Derived> {
    let mut document = newest.clone();
    inline(&mut document);
    for rule in rules {
        apart(&mut document, rule, rules, life.version);
    }
    for rule in rules {
        if let What::Changed { since, exchange, .. } = &rule.what
            && since.last().is_some_and(|newest| life.version < *newest)
        {
            change(&mut document, rule, exchange(life.version));
        }
    }
    let operations = place(versions, &mut document, naming, &life)?;
    for (path, method) in &operations {
        name(&mut document["paths"][path.as_str()][method.as_str()], naming, &life);
    }
    problem::add(&mut document, &operations, &life, naming);
    components::settle(&mut document);
    Ok(Derived { life, document, operations })
}

/// Bodies and answers that are referred to are written out, since they differ by version.
fn inline(document: &mut Value) {
    let components = document.get("components").cloned().unwrap_or_default();
    let Some(Value::Object(paths)) = document.get_mut("paths") else { return };
    let write = |message: &mut Value| {
        let to = message.get("$ref").and_then(Value::as_str);
        let to = to.and_then(|to| to.strip_prefix("#/components"));
        if let Some(found) = to.and_then(|to| components.pointer(to)) {
            *message = found.clone();
        }
    };
    for item in paths.values_mut() {
        for method in METHODS {
            let Some(operation) = item.get_mut(method) else { continue };
            if let Some(body) = operation.get_mut("requestBody") {
                write(body);
            }
            if let Some(Value::Object(answers)) = operation.get_mut("responses") {
                answers.values_mut().for_each(write);
            }
        }
    }
}

/// Removes an operation that the version does not have, or puts in the one that it had.
fn apart(document: &mut Value, rule: &Rule, rules: &[Rule], version: Version) {
    let Rule { path, method, what, .. } = rule;
    match what {
        What::Since(since) if version < *since => remove(document, path, method),
        What::Until(until) if version >= *until => remove(document, path, method),
        What::Replaced { since, old } if version < *since => {
            // Of several, the first that came after the version says what it had.
            let first = rules.iter().filter(|other| other.path == *path && other.method == *method);
            let first = first.filter_map(|other| match &other.what {
                What::Replaced { since, .. } if version < *since => Some(*since),
                _ => None,
            });
            if first.min() != Some(*since) || rule.find(document).is_none() {
                return;
            }
            let Some(operation) = rule.find(old) else { return };
            let schemas = old.pointer("/components/schemas").and_then(Value::as_object);
            let schemas: Vec<(String, Value)> = schemas
                .into_iter()
                .flatten()
                .map(|(name, schema)| (name.clone(), schema.clone()))
                .collect();
            let operation = components::absorb(document, &schemas, operation.clone());
            document["paths"][path.as_str()][method.as_str()] = operation;
        }
        _ => {}
    }
}

fn remove(document: &mut Value, path: &str, method: &str) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    if let Some(Value::Object(item)) = paths.get_mut(path) {
        item.remove(method);
        if !METHODS.iter().any(|method| item.contains_key(*method)) {
            paths.remove(path);
        }
    }
}

/// The older types in place of the newest.
fn change(document: &mut Value, rule: &Rule, exchange: Exchange) {
    if rule.find(document).is_none() {
        return;
    }
    let Exchange { request, response } = exchange;
    let body = request.map(|request| {
        let optional = request.optional;
        (schema(document, request), !optional)
    });
    let response = schema(document, response);
    let operation = &mut document["paths"][rule.path.as_str()][rule.method.as_str()];
    let Some(operation) = operation.as_object_mut() else { return };
    match body {
        None => {
            operation.remove("requestBody");
        }
        Some((schema, required)) => {
            let body = operation.entry("requestBody").or_insert_with(|| json!({}));
            // An example of the newest type is none of the older.
            body["content"] = json!({ JSON: { "schema": schema } });
            body["required"] = json!(required);
        }
    }
    let Some(Value::Object(responses)) = operation.get_mut("responses") else { return };
    for (_, answer) in responses.iter_mut().filter(|(status, _)| status.starts_with('2')) {
        let media = answer.get_mut("content").and_then(|content| content.get_mut(JSON));
        if let Some(media) = media {
            *media = json!({ "schema": response });
        }
    }
}

fn schema(document: &mut Value, typed: Typed) -> Value {
    components::absorb(document, &typed.components, typed.schema)
}

/// Servers, and paths below them. What is of no version has its own server, outside.
fn place(
    versions: &Versions,
    document: &mut Value,
    naming: &Naming,
    life: &Life,
) -> Result<Vec<(String, String)>> {
    let under = if naming.under.is_empty() { "/" } else { &naming.under };
    let mut servers = Vec::new();
    if naming.in_path {
        let url = format!("{}/{}", naming.under, segment(life.version));
        servers.push(json!({ "url": url, "description": "The version is in the path" }));
    }
    let elsewhere = naming.in_media || !naming.headers.is_empty() || !naming.queries.is_empty();
    if elsewhere || !naming.in_path || life.is_default {
        let description = match (elsewhere, life.is_default) {
            (true, false) => "The version is in a header, the media type or the query",
            (true, true) => {
                "The version is in a header, the media type or the query, or is not named"
            }
            (false, _) => "The version is not named",
        };
        servers.push(json!({ "url": under, "description": description }));
    }
    document["servers"] = Value::Array(servers);
    let Some(Value::Object(paths)) = document.get_mut("paths").map(Value::take) else {
        document["paths"] = json!({});
        return Ok(Vec::new());
    };
    let (mut placed, mut operations) = (Map::new(), Vec::new());
    for (path, mut item) in paths {
        let below = versions.below(&path).map(str::to_owned);
        match &below {
            Some(below) => {
                let has = METHODS.iter().filter(|method| item.get(**method).is_some());
                operations.extend(has.map(|method| (below.clone(), (*method).to_owned())));
            }
            None => item["servers"] = json!([{ "url": "/", "description": "Of no version" }]),
        }
        let below = below.unwrap_or_else(|| path.clone());
        if placed.insert(below, item).is_some() {
            let what = format!("two paths are one without {under}: {path} is the second");
            return Err(Error::new(Code::HttpOption, what));
        }
    }
    document["paths"] = Value::Object(placed);
    Ok(operations)
}

/// The other ways to name the version: parameters and media types.
fn name(operation: &mut Value, naming: &Naming, life: &Life) {
    let version = life.version.to_string();
    let ways = naming.headers.len() + naming.queries.len() + usize::from(naming.in_media);
    let alone = ways == 1 && !naming.in_path && !life.is_default;
    let named = [("header", &naming.headers), ("query", &naming.queries)];
    let named =
        named.into_iter().flat_map(|(place, names)| names.iter().map(move |name| (place, name)));
    let added: Vec<Value> = named
        .map(|(place, name)| {
            json!({
                "name": name,
                "in": place,
                "required": alone,
                "description": "Names the version",
                "schema": { "type": "string", "enum": [version] },
                VERSION_PARAMETER: true,
            })
        })
        .collect();
    let Some(operation) = operation.as_object_mut() else { return };
    if !added.is_empty() {
        let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
        if let Some(parameters) = parameters.as_array_mut() {
            let same = |one: &Value, other: &Value| {
                one["in"] == other["in"]
                    && one["name"]
                        .as_str()
                        .zip(other["name"].as_str())
                        .is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
            };
            parameters.retain(|known| !added.iter().any(|added| same(known, added)));
            parameters.extend(added);
        }
    }
    let Some(media) = &life.media else { return };
    let vendors = |content: Option<&mut Value>| {
        if let Some(Value::Object(content)) = content
            && let Some(json) = content.get(JSON).cloned()
        {
            content.insert(media.clone(), json);
        }
    };
    vendors(operation.get_mut("requestBody").and_then(|body| body.get_mut("content")));
    if let Some(Value::Object(responses)) = operation.get_mut("responses") {
        for (_, answer) in responses.iter_mut() {
            vendors(answer.get_mut("content"));
        }
    }
}
