//! Whether a document is one that can be compared: what is wrong is told with its JSON pointer, so that
//! the comparison need not look again.

use mainstay_core::{Code, Error, Result};
use serde_json::{Map, Value};

use super::super::METHODS;

/// References to references.
const HOPS_MAX: usize = 32;
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];
/// What holds values, not more of the document.
const OPAQUE: [&str; 5] = ["const", "default", "enum", "example", "examples"];

fn wrong<T>(pointer: &str, what: &str) -> Result<T> {
    let place = if pointer.is_empty() { "the document" } else { pointer };
    Err(Error::new(Code::OpenApi, format!("{place}: {what}")))
}

fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Errors: HTTP-014.
pub(super) fn document(document: &Value) -> Result<()> {
    let all = object(document, "")?;
    match all.get("openapi").and_then(Value::as_str) {
        Some(version) if version.starts_with("3.") => {}
        Some(version) => return wrong("/openapi", &format!("{version:?} is not OpenAPI 3")),
        None => return wrong("", "it has no `openapi`: it is no document of OpenAPI 3"),
    }
    references(document, document, "")?;
    for (path, item) in members(document, "paths", "")? {
        if path.starts_with("x-") {
            continue;
        }
        let pointer = below("/paths", path);
        if !path.starts_with('/') {
            return wrong(&pointer, "a path begins with /");
        }
        path_item(item, &pointer)?;
    }
    for (kind, entries) in members(document, "components", "")? {
        let pointer = below("/components", kind);
        let check = match kind.as_str() {
            "schemas" => schema,
            "parameters" => parameter,
            "responses" | "requestBodies" => message,
            "headers" => described,
            _ => continue,
        };
        for (name, entry) in object(entries, &pointer)? {
            check(entry, &below(&pointer, name))?;
        }
    }
    Ok(())
}

fn object<'a>(value: &'a Value, pointer: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().map_or_else(|| wrong(pointer, "it must be an object"), Ok)
}

/// Those of an object that need not be there.
fn members<'a>(
    value: &'a Value,
    name: &str,
    pointer: &str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>> {
    let found = value.get(name).map(|found| object(found, &below(pointer, name))).transpose()?;
    Ok(found.into_iter().flatten())
}

fn items<'a>(value: &'a Value, name: &str, pointer: &str) -> Result<&'a [Value]> {
    match value.get(name) {
        None => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => wrong(&below(pointer, name), "it must be an array"),
    }
}

fn path_item(item: &Value, pointer: &str) -> Result<()> {
    object(item, pointer)?;
    parameters(item, pointer)?;
    for method in METHODS {
        let Some(operation) = item.get(method) else { continue };
        let pointer = below(pointer, method);
        object(operation, &pointer)?;
        parameters(operation, &pointer)?;
        items(operation, "security", &pointer)?;
        if let Some(body) = operation.get("requestBody") {
            message(body, &below(&pointer, "requestBody"))?;
        }
        for (status, answer) in members(operation, "responses", &pointer)? {
            if !status.starts_with("x-") {
                message(answer, &below(&below(&pointer, "responses"), status))?;
            }
        }
    }
    Ok(())
}

fn parameters(of: &Value, pointer: &str) -> Result<()> {
    for (place, item) in items(of, "parameters", pointer)?.iter().enumerate() {
        parameter(item, &format!("{pointer}/parameters/{place}"))?;
    }
    Ok(())
}

fn parameter(parameter: &Value, pointer: &str) -> Result<()> {
    let known = object(parameter, pointer)?;
    for name in ["name", "in"] {
        if !known.contains_key("$ref") && !known.get(name).is_some_and(Value::is_string) {
            return wrong(pointer, &format!("a parameter has a `{name}`, which is text"));
        }
    }
    described(parameter, pointer)
}

/// What has a schema, or content.
fn described(value: &Value, pointer: &str) -> Result<()> {
    object(value, pointer)?;
    if let Some(of) = value.get("schema") {
        schema(of, &below(pointer, "schema"))?;
    }
    content(value, pointer)
}

fn content(value: &Value, pointer: &str) -> Result<()> {
    for (kind, media) in members(value, "content", pointer)? {
        let pointer = below(&below(pointer, "content"), kind);
        object(media, &pointer)?;
        if let Some(of) = media.get("schema") {
            schema(of, &below(&pointer, "schema"))?;
        }
    }
    Ok(())
}

fn message(value: &Value, pointer: &str) -> Result<()> {
    object(value, pointer)?;
    for (name, header) in members(value, "headers", pointer)? {
        described(header, &below(&below(pointer, "headers"), name))?;
    }
    content(value, pointer)
}

/// It ends, since JSON that was read has an end to its depth.
fn schema(value: &Value, pointer: &str) -> Result<()> {
    if value.is_boolean() {
        return Ok(());
    }
    let known = object(value, pointer)?;
    for (name, value) in known {
        let pointer = below(pointer, name);
        match name.as_str() {
            "$ref" if !value.is_string() => return wrong(&pointer, "a reference is text"),
            "type" => types(value, &pointer)?,
            "properties" => {
                for (name, property) in object(value, &pointer)? {
                    schema(property, &below(&pointer, name))?;
                }
            }
            "items" | "additionalProperties" => schema(value, &pointer)?,
            "allOf" | "oneOf" | "anyOf" => {
                let Some(items) = value.as_array() else {
                    return wrong(&pointer, "it must be an array");
                };
                for (place, item) in items.iter().enumerate() {
                    schema(item, &format!("{pointer}/{place}"))?;
                }
            }
            "required" if !is_texts(value) => {
                return wrong(&pointer, "it must be an array of properties' names");
            }
            "enum" if !value.is_array() => return wrong(&pointer, "it must be an array"),
            _ => {}
        }
    }
    Ok(())
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|texts| texts.iter().all(Value::is_string))
}

fn types(value: &Value, pointer: &str) -> Result<()> {
    let known = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    match value {
        Value::Array(all) if all.iter().all(known) => Ok(()),
        one if known(one) => Ok(()),
        _ => wrong(pointer, &format!("it must be among {}", TYPES.join(", "))),
    }
}

/// Every reference leads somewhere in the document.
fn references(root: &Value, value: &Value, pointer: &str) -> Result<()> {
    match value {
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                references(root, item, &format!("{pointer}/{place}"))?;
            }
        }
        Value::Object(map) => {
            for (name, value) in map {
                let pointer = below(pointer, name);
                match value {
                    Value::String(to) if name == "$ref" => reference(root, to, &pointer)?,
                    // A property may well be called `example`, and has a schema then.
                    _ if OPAQUE.contains(&name.as_str()) && !pointer.contains("/properties/") => {}
                    value => references(root, value, &pointer)?,
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn reference(root: &Value, to: &str, pointer: &str) -> Result<()> {
    let mut to = to;
    for _ in 0..HOPS_MAX {
        let Some(local) = to.strip_prefix('#') else {
            return wrong(
                pointer,
                &format!("{to:?} is in another file: bundle them into one first"),
            );
        };
        let Some(found) = resolve(root, local) else {
            return wrong(pointer, &format!("{to:?} leads nowhere"));
        };
        match found.get("$ref").and_then(Value::as_str) {
            Some(next) => to = next,
            None => return Ok(()),
        }
    }
    wrong(pointer, &format!("{to:?} leads in a circle"))
}

/// What a reference without its `#` leads to.
pub(super) fn resolve<'a>(root: &'a Value, local: &str) -> Option<&'a Value> {
    root.pointer(local).or_else(|| root.pointer(&decoded(local)?))
}

/// References are URIs, in which a brace or a space is written as percent and two digits.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || (bytes.next()? as char).to_digit(16);
        out.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(out).ok()
}
