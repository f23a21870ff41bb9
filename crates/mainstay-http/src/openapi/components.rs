//! The components of a document: taking in those of another, under names of their own where two differ,
//! and leaving out what nothing refers to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

const SCHEMAS: &str = "#/components/schemas/";
/// Between a name and a number while it is not known which of two gets the name. No name has it.
const MARK: char = '\u{1}';

/// A reference to a schema.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("{SCHEMAS}{name}") })
}

/// The name that a reference to a schema has.
pub(super) fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(SCHEMAS)
}

/// Adds schemas to `document`, and gives back `what` with references to them. A schema whose name is
/// taken by a different one gets a name of its own, and so does what refers to it.
pub(super) fn absorb(document: &mut Value, schemas: &[(String, Value)], mut what: Value) -> Value {
    let Some(known) = map_at(document, &["components", "schemas"]) else { return what };
    let schemas: BTreeMap<&str, &Value> =
        schemas.iter().map(|(name, schema)| (name.as_str(), schema)).collect();
    let mut renamed: BTreeSet<&str> = schemas
        .iter()
        .filter(|(name, schema)| known.get(**name).is_some_and(|known| known != **schema))
        .map(|(name, _)| *name)
        .collect();
    loop {
        let reaches = |schema: &Value| {
            let mut found = false;
            references(schema, &mut |to| found |= renamed.contains(to));
            found
        };
        let more: Vec<&str> = schemas
            .iter()
            .filter(|(name, schema)| !renamed.contains(**name) && reaches(schema))
            .map(|(name, _)| *name)
            .collect();
        if more.is_empty() {
            break;
        }
        renamed.extend(more);
    }
    let mut number = 1_usize;
    let written = loop {
        let rename = |name: &str| {
            if renamed.contains(name) { format!("{name}{MARK}{number}") } else { name.to_owned() }
        };
        let written: Vec<(String, Value)> = schemas
            .iter()
            .map(|(name, schema)| {
                let mut schema = (*schema).clone();
                rewrite(&mut schema, &rename);
                (rename(name), schema)
            })
            .collect();
        // The same type may have come with another route.
        if written.iter().all(|(name, schema)| known.get(name).is_none_or(|known| known == schema))
        {
            rewrite(&mut what, &rename);
            break written;
        }
        number += 1;
    };
    known.extend(written);
    what
}

/// Leaves out components that nothing refers to; what gives way to no other gets its plain name back.
pub(super) fn settle(document: &mut Value) {
    prune(document);
    let Some(known) = map_at(document, &["components", "schemas"]) else { return };
    let mut taken: BTreeSet<String> =
        known.keys().filter(|name| !name.contains(MARK)).cloned().collect();
    let mut names = BTreeMap::new();
    for marked in known.keys().filter(|name| name.contains(MARK)) {
        let plain = marked.split(MARK).next().unwrap_or(marked);
        let mut name = plain.to_owned();
        let mut number = 1;
        while !taken.insert(name.clone()) {
            number += 1;
            name = format!("{plain}_{number}");
        }
        names.insert(marked.clone(), name);
    }
    if !names.is_empty() {
        let rename = |name: &str| names.get(name).map_or_else(|| name.to_owned(), String::clone);
        *known = std::mem::take(known)
            .into_iter()
            .map(|(name, schema)| (rename(&name), schema))
            .collect();
        rewrite(document, &rename);
    }
    tidy(document);
}

/// Security schemes are referred to by name alone, and stay.
fn prune(document: &mut Value) {
    let Some(mut components) = document.as_object_mut().and_then(|all| all.remove("components"))
    else {
        return;
    };
    let mut needed = BTreeSet::new();
    let mut news = pointers(document);
    while let Some(pointer) = news.pop() {
        if needed.contains(&pointer) {
            continue;
        }
        if let Some(found) =
            pointer.strip_prefix("/components").and_then(|at| components.pointer(at))
        {
            news.extend(pointers(found));
        }
        needed.insert(pointer);
    }
    if let Some(kinds) = components.as_object_mut() {
        for (kind, entries) in kinds.iter_mut().filter(|(kind, _)| *kind != "securitySchemes") {
            let Some(entries) = entries.as_object_mut() else { continue };
            entries.retain(|name, _| {
                let name = name.replace('~', "~0").replace('/', "~1");
                needed.contains(&format!("/components/{kind}/{name}"))
            });
        }
    }
    document["components"] = components;
}

/// Without what is empty.
fn tidy(document: &mut Value) {
    let Some(all) = document.as_object_mut() else { return };
    let filled = |value: &Value| value.as_object().is_none_or(|map| !map.is_empty());
    if let Some(Value::Object(kinds)) = all.get_mut("components") {
        kinds.retain(|_, entries| filled(entries));
    }
    if all.get("components").is_some_and(|components| !filled(components)) {
        all.remove("components");
    }
}

fn pointers(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    each_reference(value, &mut |to| found.extend(to.strip_prefix('#').map(str::to_owned)));
    found
}

fn references(value: &Value, each: &mut impl FnMut(&str)) {
    each_reference(value, &mut |to| {
        if let Some(name) = to.strip_prefix(SCHEMAS) {
            each(name);
        }
    });
}

/// `$ref`, and what a discriminator maps to.
fn each_reference(value: &Value, each: &mut dyn FnMut(&str)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_reference(item, each)),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(to) if key == "$ref" || to.starts_with(SCHEMAS) => each(to),
                    value => each_reference(value, each),
                }
            }
        }
        _ => {}
    }
}

fn rewrite(value: &mut Value, rename: &dyn Fn(&str) -> String) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite(item, rename)),
        Value::Object(map) => map.iter_mut().for_each(|(_, value)| rewrite(value, rename)),
        Value::String(to) => {
            if let Some(name) = to.strip_prefix(SCHEMAS) {
                *to = format!("{SCHEMAS}{}", rename(name));
            }
        }
        _ => {}
    }
}

/// The object there, made where there is none.
fn map_at<'a>(document: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut at = document;
    for name in path {
        let map = at.as_object_mut()?;
        at = map.entry(*name).or_insert_with(|| Value::Object(Map::new()));
    }
    at.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn using(schema: &str) -> Value {
        json!({ "paths": { "/": { "get": reference(schema) } } })
    }

    #[test]
    fn two_of_one_name_are_told_apart_only_where_both_are_needed() {
        let mut document = using("Order");
        document["components"] = json!({ "schemas": {
            "Order": { "items": reference("Item") }, "Item": { "type": "string" },
        } });
        let old = [
            ("Order".to_owned(), json!({ "items": reference("Item") })),
            ("Item".to_owned(), json!({ "type": "integer" })),
        ];
        let added = absorb(&mut document, &old, reference("Order"));
        let again = absorb(&mut document, &old, reference("Order"));
        assert_eq!(added, again, "one type, however often it comes");
        let mut both = document.clone();
        both["paths"]["/old"] = added.clone();
        settle(&mut both);
        let schemas = &both["components"]["schemas"];
        assert_eq!(both["paths"]["/old"], reference("Order_2"));
        assert_eq!(schemas["Order_2"]["items"], reference("Item_2"));
        assert_eq!(schemas["Order"]["items"], reference("Item"));
        document["paths"]["/"]["get"] = added;
        settle(&mut document);
        let schemas = json!({
            "Order": { "items": reference("Item") }, "Item": { "type": "integer" },
        });
        assert_eq!(document["components"]["schemas"], schemas);
    }

    #[test]
    fn what_nothing_refers_to_is_left_out_and_cycles_end() {
        let mut document = using("Tree");
        document["components"] = json!({
            "schemas": { "Tree": { "items": reference("Tree") }, "Unused": reference("Tree") },
            "securitySchemes": { "key": {} },
        });
        settle(&mut document);
        let schemas = json!({ "Tree": { "items": reference("Tree") } });
        assert_eq!(
            document["components"],
            json!({ "schemas": schemas, "securitySchemes": { "key": {} } })
        );
        let mut bare = json!({ "paths": {}, "components": { "schemas": { "Unused": {} } } });
        settle(&mut bare);
        assert_eq!(bare, json!({ "paths": {} }));
    }
}
