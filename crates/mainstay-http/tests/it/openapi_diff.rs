//! Kinds of change between two documents, each with whether it breaks in a request and in an answer.

#![allow(clippy::needless_pass_by_value, clippy::too_many_lines, reason = "tables of JSON")]

use mainstay_core::Code;
use mainstay_http::openapi::diff;
use serde_json::{Value, json};

fn document(paths: Value) -> Value {
    json!({ "openapi": "3.1.0", "info": { "title": "t", "version": "1" }, "paths": paths })
}

/// What was found: `!kind` where it breaks, `kind` where not.
fn kinds(old: &Value, new: &Value) -> Vec<String> {
    let found = diff(old, new).unwrap_or_else(|error| panic!("{}", error.report()));
    let told =
        found.iter().map(|one| format!("{}{}", if one.breaking { "!" } else { "" }, one.kind));
    told.collect()
}

fn operation(operation: Value) -> Value {
    document(json!({ "/a": { "post": operation } }))
}

/// Of a schema that is asked and of one that is answered.
fn both(old: &Value, new: &Value) -> (Vec<String>, Vec<String>) {
    let asked = |schema: &Value| {
        operation(
            json!({ "requestBody": { "content": { "application/json": { "schema": schema } } } }),
        )
    };
    let answered = |schema: &Value| {
        let content = json!({ "application/json": { "schema": schema } });
        operation(json!({ "responses": { "200": { "description": "d", "content": content } } }))
    };
    (kinds(&asked(old), &asked(new)), kinds(&answered(old), &answered(new)))
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

/// Its name, the schema before and after, and what is found in a request and in an answer.
type Change<'a> = (&'a str, Value, Value, &'a [&'a str], &'a [&'a str]);

/// Each with what is found in a request, and in an answer.
#[test]
fn what_narrows_breaks_requests_and_what_widens_breaks_answers() {
    let text = json!({ "type": "string" });
    let closed = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let table: Vec<Change<'_>> = vec![
        ("nothing", text.clone(), json!({ "type": "string", "description": "d" }), &[], &[]),
        (
            "another type",
            text.clone(),
            json!({ "type": "integer" }),
            &["!type-changed"],
            &["!type-changed"],
        ),
        (
            "a wider number",
            json!({ "type": "integer" }),
            json!({ "type": "number" }),
            &["type-changed"],
            &["!type-changed"],
        ),
        (
            "a narrower number",
            json!({ "type": "number" }),
            json!({ "type": "integer" }),
            &["!type-changed"],
            &["type-changed"],
        ),
        ("a type at last", json!({}), text.clone(), &["!type-changed"], &["type-changed"]),
        (
            "null, in 3.1",
            text.clone(),
            json!({ "type": ["string", "null"] }),
            &["nullable"],
            &["!nullable"],
        ),
        (
            "null, in 3.0",
            text.clone(),
            json!({ "type": "string", "nullable": true }),
            &["nullable"],
            &["!nullable"],
        ),
        (
            "null, by choice",
            text.clone(),
            json!({ "oneOf": [{ "type": "null" }, text] }),
            &["nullable"],
            &["!nullable"],
        ),
        (
            "no null",
            json!({ "type": ["string", "null"] }),
            text.clone(),
            &["!not-nullable"],
            &["not-nullable"],
        ),
        (
            "null written otherwise",
            json!({ "type": "string", "nullable": true }),
            json!({ "anyOf": [text, { "type": "null" }] }),
            &[],
            &[],
        ),
        (
            "another format",
            json!({ "type": "string", "format": "date" }),
            json!({ "type": "string", "format": "uuid" }),
            &["!format-changed"],
            &["!format-changed"],
        ),
        (
            "a wider format",
            json!({ "type": "integer", "format": "int32" }),
            json!({ "type": "integer", "format": "int64" }),
            &["format-changed"],
            &["!format-changed"],
        ),
        (
            "a format at last",
            text.clone(),
            json!({ "type": "string", "format": "date" }),
            &["!format-changed"],
            &["format-changed"],
        ),
        (
            "a value less",
            json!({ "enum": ["a", "b"] }),
            json!({ "enum": ["a"] }),
            &["!enum-narrowed"],
            &["enum-narrowed"],
        ),
        (
            "a value more",
            json!({ "enum": ["a"] }),
            json!({ "enum": ["a", "b"] }),
            &["enum-widened"],
            &["!enum-widened"],
        ),
        (
            "values at last",
            text.clone(),
            json!({ "type": "string", "enum": ["a"] }),
            &["!enum-narrowed"],
            &["enum-narrowed"],
        ),
        (
            "a constant",
            json!({ "const": "a" }),
            json!({ "const": "b" }),
            &["!enum-narrowed", "enum-widened"],
            &["!enum-widened", "enum-narrowed"],
        ),
        (
            "a longer text",
            json!({ "type": "string", "maxLength": 5 }),
            json!({ "type": "string", "maxLength": 9 }),
            &["bound-changed"],
            &["!bound-changed"],
        ),
        (
            "a shorter text",
            text.clone(),
            json!({ "type": "string", "maxLength": 9 }),
            &["!bound-changed"],
            &["bound-changed"],
        ),
        (
            "a length of nothing",
            text.clone(),
            json!({ "type": "string", "minLength": 0 }),
            &[],
            &[],
        ),
        (
            "an end outside",
            json!({ "type": "integer", "minimum": 1 }),
            json!({ "type": "integer", "exclusiveMinimum": 1 }),
            &["!bound-changed"],
            &["bound-changed"],
        ),
        (
            "an end outside, in 3.0",
            json!({ "type": "integer", "exclusiveMinimum": 1 }),
            json!({ "type": "integer", "minimum": 1, "exclusiveMinimum": true }),
            &[],
            &[],
        ),
        (
            "another pattern",
            json!({ "type": "string", "pattern": "a" }),
            json!({ "type": "string", "pattern": "b" }),
            &["!pattern-changed"],
            &["!pattern-changed"],
        ),
        (
            "unique items",
            json!({ "type": "array" }),
            json!({ "type": "array", "uniqueItems": true }),
            &["!bound-changed"],
            &["bound-changed"],
        ),
        (
            "items of another type",
            json!({ "type": "array", "items": text }),
            json!({ "type": "array", "items": { "type": "boolean" } }),
            &["!type-changed"],
            &["!type-changed"],
        ),
        (
            "a new property",
            object(json!({}), &[]),
            object(json!({ "a": text }), &[]),
            &["property-added"],
            &["property-added"],
        ),
        (
            "a new one, required",
            object(json!({}), &[]),
            object(json!({ "a": text }), &["a"]),
            &["!property-required"],
            &["property-added"],
        ),
        (
            "required now",
            object(json!({ "a": text }), &[]),
            object(json!({ "a": text }), &["a"]),
            &["!property-required"],
            &["property-required"],
        ),
        (
            "no longer required",
            object(json!({ "a": text }), &["a"]),
            object(json!({ "a": text }), &[]),
            &["property-optional"],
            &["!property-optional"],
        ),
        (
            "no property",
            object(json!({ "a": text }), &[]),
            object(json!({}), &[]),
            &["property-removed"],
            &["!property-removed"],
        ),
        (
            "no property, and closed",
            json!({ "type": "object", "properties": { "a": text }, "additionalProperties": false }),
            closed.clone(),
            &["!property-removed"],
            &["!property-removed"],
        ),
        (
            "closed",
            object(json!({}), &[]),
            closed.clone(),
            &["!additional-properties-refused"],
            &["additional-properties-refused"],
        ),
        (
            "opened",
            closed,
            object(json!({}), &[]),
            &["additional-properties-allowed"],
            &["additional-properties-allowed"],
        ),
        (
            "a map of others",
            json!({ "type": "object", "additionalProperties": text }),
            json!({ "type": "object", "additionalProperties": { "type": "integer" } }),
            &["!type-changed"],
            &["!type-changed"],
        ),
        (
            "only read",
            object(json!({ "a": { "type": "string", "readOnly": true } }), &[]),
            object(json!({}), &[]),
            &[],
            &["!property-removed"],
        ),
        (
            "in two parts",
            object(json!({ "a": text, "b": text }), &["a"]),
            json!({ "allOf": [object(json!({ "a": text }), &["a"]), object(json!({ "b": text }), &[])] }),
            &[],
            &[],
        ),
        (
            "a choice more",
            json!({ "oneOf": [text, { "type": "integer" }] }),
            json!({ "oneOf": [text, { "type": "integer" }, { "type": "boolean" }] }),
            &["alternative-added"],
            &["!alternative-added"],
        ),
        (
            "a choice less",
            json!({ "oneOf": [text, { "type": "integer" }] }),
            json!({ "oneOf": [{ "type": "integer" }, { "type": "array" }] }),
            &["!type-changed"],
            &["!type-changed"],
        ),
        (
            "a choice at last",
            text.clone(),
            json!({ "anyOf": [{ "type": "integer" }, text] }),
            &["alternative-added"],
            &["!alternative-added"],
        ),
        (
            "choices in another order",
            json!({ "oneOf": [text, { "type": "integer" }] }),
            json!({ "oneOf": [{ "type": "integer" }, text] }),
            &[],
            &[],
        ),
        ("nothing at all", text.clone(), json!(false), &["!never"], &["never"]),
    ];
    for (name, old, new, asked, answered) in table {
        let found = both(&old, &new);
        assert_eq!((found.0, found.1), (owned(asked), owned(answered)), "{name}");
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn query(name: &str, required: bool) -> Value {
    json!({ "name": name, "in": "query", "required": required, "schema": { "type": "string" } })
}

#[test]
fn operations_parameters_bodies_and_answers_are_compared() {
    let answers = |statuses: &[&str]| -> Value {
        let all =
            statuses.iter().map(|status| ((*status).to_owned(), json!({ "description": "d" })));
        json!({ "responses": all.collect::<serde_json::Map<_, _>>() })
    };
    let takes = |parameters: Value| json!({ "parameters": parameters });
    let body = |kind: &str, required: bool| json!({ "requestBody": { "required": required, "content": { kind: { "schema": {} } } } });
    let header =
        |of: Value| json!({ "responses": { "200": { "description": "d", "headers": of } } });
    let secure = |ways: Value| json!({ "security": ways });
    let exploded =
        json!([{ "name": "a", "in": "query", "explode": false, "schema": { "type": "string" } }]);
    let table: Vec<(&str, Value, Value, &[&str])> = vec![
        ("parameter gone", takes(json!([query("a", false)])), json!({}), &["!parameter-removed"]),
        ("parameter new", json!({}), takes(json!([query("a", false)])), &["parameter-added"]),
        ("parameter needed", json!({}), takes(json!([query("a", true)])), &["!parameter-required"]),
        (
            "parameter required",
            takes(json!([query("a", false)])),
            takes(json!([query("a", true)])),
            &["!parameter-required"],
        ),
        (
            "parameter optional",
            takes(json!([query("a", true)])),
            takes(json!([query("a", false)])),
            &["parameter-optional"],
        ),
        (
            "parameter written otherwise",
            takes(json!([query("a", false)])),
            takes(exploded),
            &["!parameter-written"],
        ),
        (
            "header of another case",
            takes(json!([{ "name": "X-A", "in": "header" }])),
            takes(json!([{ "name": "x-a", "in": "header" }])),
            &[],
        ),
        ("body gone", body("application/json", true), json!({}), &["!body-removed"]),
        ("body needed", json!({}), body("application/json", true), &["!body-required"]),
        ("body new", json!({}), body("application/json", false), &["body-added"]),
        ("body required", body("text/csv", false), body("text/csv", true), &["!body-required"]),
        (
            "media type gone",
            body("text/csv", true),
            body("application/json", true),
            &["!media-type-removed", "media-type-added"],
        ),
        (
            "media type in a wider one",
            body("text/csv", true),
            body("text/*", true),
            &["media-type-added"],
        ),
        (
            "media type with a charset",
            body("text/csv; charset=utf-8", true),
            body("text/csv", true),
            &[],
        ),
        (
            "vendor's version",
            body("application/vnd.shop.v1+json", true),
            body("application/vnd.shop.v2+json", true),
            &[],
        ),
        ("status gone", answers(&["200", "202"]), answers(&["200"]), &["!response-removed"]),
        ("status in a range", answers(&["200"]), answers(&["2XX"]), &["response-added"]),
        ("status new", answers(&["200"]), answers(&["200", "202"]), &["response-added"]),
        ("error gone", answers(&["200", "404"]), answers(&["200"]), &[]),
        ("header gone", header(json!({ "ETag": {} })), header(json!({})), &["!header-removed"]),
        ("credentials", json!({}), secure(json!([{ "key": [] }])), &["!security-added"]),
        (
            "other credentials",
            secure(json!([{ "key": [] }])),
            secure(json!([{ "login": [] }])),
            &["!security-changed"],
        ),
        (
            "a scope more",
            secure(json!([{ "key": ["r"] }])),
            secure(json!([{ "key": ["r", "w"] }])),
            &["!security-changed"],
        ),
        (
            "a way more",
            secure(json!([{ "key": [] }])),
            secure(json!([{ "login": [] }, { "key": [] }])),
            &[],
        ),
        ("none any more", secure(json!([{ "key": [] }])), secure(json!([])), &["security-removed"]),
        ("deprecated", json!({}), json!({ "deprecated": true }), &["deprecated"]),
    ];
    for (name, old, new, expected) in table {
        assert_eq!(kinds(&operation(old), &operation(new)), expected, "{name}");
    }
    let both = document(json!({ "/a": { "get": {}, "post": {} }, "/b": { "get": {} } }));
    let one = document(json!({ "/a": { "get": {} } }));
    assert_eq!(kinds(&both, &one), ["!operation-removed", "!path-removed"]);
    assert_eq!(kinds(&one, &both), ["operation-added", "path-added"]);
}

#[test]
fn a_path_parameter_is_known_by_its_place() {
    let of = |name: &str, kind: &str| {
        let parameter =
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } });
        let path = format!("/orders/{{{name}}}");
        document(json!({ path: { "parameters": [parameter], "get": {} } }))
    };
    assert!(kinds(&of("id", "string"), &of("order", "string")).is_empty());
    assert_eq!(kinds(&of("id", "string"), &of("order", "integer")), ["!type-changed"]);
}

#[test]
fn references_are_followed_and_circles_end() {
    let of = |kind: &str| {
        let mut document = operation(json!({
            "requestBody": { "$ref": "#/components/requestBodies/Tree" },
        }));
        let tree = json!({ "$ref": "#/components/schemas/Tree" });
        document["components"] = json!({
            "requestBodies": { "Tree": { "content": { "application/json": { "schema": tree } } } },
            "schemas": { "Tree": object(json!({
                "name": { "type": kind }, "children": { "type": "array", "items": tree },
            }), &[]) },
        });
        document
    };
    let found = diff(&of("string"), &of("integer")).unwrap();
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["breaking: POST /a: request body .name: it is integer, and was string (type-changed)"]
    );
}

#[test]
fn a_deep_or_endless_comparison_is_refused() {
    let mut schemas = serde_json::Map::new();
    for n in 0..300 {
        let next = json!({ "$ref": format!("#/components/schemas/S{}", n + 1) });
        schemas.insert(format!("S{n}"), object(json!({ "a": next }), &[]));
    }
    schemas.insert("S300".into(), json!({ "type": "string" }));
    let first = json!({ "$ref": "#/components/schemas/S0" });
    let mut deep = operation(json!({
        "requestBody": { "content": { "application/json": { "schema": first } } },
    }));
    deep["components"] = json!({ "schemas": schemas });
    let error = diff(&deep, &deep).unwrap_err();
    assert!(error.report().contains("128 deep"), "{}", error.report());
}

#[test]
fn what_is_malformed_is_told_with_its_place() {
    let schema = |schema: Value| {
        let mut document = document(json!({}));
        document["components"] = json!({ "schemas": { "A/B": schema } });
        document
    };
    let wrong = [
        (json!([]), "the document: it must be an object"),
        (json!({ "swagger": "2.0" }), "no document of OpenAPI 3"),
        (json!({ "openapi": "2.0" }), "/openapi: "),
        (document(json!([])), "/paths: "),
        (document(json!({ "a": {} })), "/paths/a: a path begins with /"),
        (document(json!({ "/a": { "get": [] } })), "/paths/~1a/get: it must be an object"),
        (operation(json!({ "parameters": [{ "in": "query" }] })), "/paths/~1a/post/parameters/0: "),
        (
            operation(json!({ "requestBody": { "$ref": "#/nowhere" } })),
            "\"#/nowhere\" leads nowhere",
        ),
        (operation(json!({ "requestBody": { "$ref": "b.json#/a" } })), "is in another file"),
        (schema(json!({ "type": "text" })), "/components/schemas/A~1B/type: it must be among"),
        (
            schema(json!({ "properties": { "a": { "required": true } } })),
            "/properties/a/required: ",
        ),
        (schema(json!({ "allOf": [1] })), "/components/schemas/A~1B/allOf/0: "),
        (schema(json!({ "$ref": "#/components/schemas/A~1B" })), "leads in a circle"),
    ];
    let good = document(json!({}));
    for (bad, told) in wrong {
        let error = diff(&good, &bad).unwrap_err();
        assert_eq!(error.code(), Code::OpenApi);
        let report = error.report();
        assert!(report.contains(told) && report.contains("newer document"), "{told}: {report}");
    }
}
