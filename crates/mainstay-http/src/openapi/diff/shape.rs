//! What a schema says once its references are followed, what must hold together is put together, and a
//! choice with `null` is no choice any more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::compare::{Parts, Side, target};

/// One end of a range, and whether it is itself outside.
pub(super) type End = (f64, bool);

#[derive(Debug, Default)]
pub(super) struct Shape<'a> {
    /// Nothing is valid.
    pub(super) never: bool,
    /// Without null; `None` for all.
    pub(super) types: Option<BTreeSet<&'a str>>,
    /// Null is not valid.
    pub(super) not_null: bool,
    pub(super) format: Option<&'a str>,
    pub(super) pattern: Option<&'a str>,
    /// Without null.
    pub(super) values: Option<Vec<&'a Value>>,
    pub(super) properties: BTreeMap<&'a str, Parts<'a>>,
    pub(super) required: BTreeSet<&'a str>,
    /// What all other properties must be.
    pub(super) additional: Parts<'a>,
    pub(super) items: Parts<'a>,
    pub(super) least: BTreeMap<&'static str, End>,
    pub(super) most: BTreeMap<&'static str, End>,
    pub(super) multiple_of: Option<f64>,
    pub(super) unique: bool,
    /// Of each of these one must hold; no null among them.
    pub(super) unions: Vec<Parts<'a>>,
}

/// The keywords of a range's ends, by what is measured.
const RANGES: [(&str, &str, &str); 4] = [
    ("value", "minimum", "maximum"),
    ("length", "minLength", "maxLength"),
    ("number of items", "minItems", "maxItems"),
    ("number of properties", "minProperties", "maxProperties"),
];

impl<'a> Shape<'a> {
    pub(super) fn of(document: &'a Value, parts: &Parts<'a>, side: Side) -> Self {
        let mut shape = Self::default();
        let mut seen: Vec<&Value> = Vec::new();
        // With whether null is valid beside it, as where it is chosen from that and null.
        let mut left: Vec<(&Value, bool)> = parts.iter().map(|part| (*part, false)).collect();
        while let Some((part, or_null)) = left.pop() {
            let twice = seen.iter().any(|known| std::ptr::eq(*known, part));
            if twice {
                continue;
            }
            seen.push(part);
            shape.never |= *part == Value::Bool(false);
            if part.get("$ref").is_some() {
                let found = target(document, part);
                if !std::ptr::eq(found, part) {
                    left.push((found, or_null));
                }
            }
            let all = part.get("allOf").and_then(Value::as_array);
            left.extend(all.into_iter().flatten().map(|part| (part, or_null)));
            let choices =
                ["oneOf", "anyOf"].into_iter().filter_map(|name| part.get(name)?.as_array());
            for choices in choices {
                let (nulls, others): (Parts<'a>, Parts<'a>) =
                    choices.iter().partition(|one| is_null(one));
                let or_null = or_null || !nulls.is_empty();
                match others.as_slice() {
                    [one] => left.push((one, or_null)),
                    [] => {}
                    _ => {
                        shape.not_null |=
                            !or_null && !others.iter().any(|one| takes_null(document, one));
                        shape.unions.push(others);
                    }
                }
            }
            shape.add(part, or_null);
        }
        shape.properties.retain(|_, parts| !is_of_other_side(document, parts, side));
        shape.infer();
        shape
    }

    fn add(&mut self, part: &'a Value, or_null: bool) {
        let nullable = or_null || part.get("nullable") == Some(&Value::Bool(true));
        if let Some(types) = types(part) {
            self.not_null |= !nullable && !types.contains("null");
            let types = types.into_iter().filter(|name| *name != "null").collect();
            self.types = Some(match self.types.take() {
                Some(known) => both(&known, &types),
                None => types,
            });
        }
        let constant = part.get("const").map(|value| vec![value]);
        let values =
            part.get("enum").and_then(Value::as_array).map(|values| values.iter().collect());
        if let Some(values) = constant.or(values) {
            self.not_null |= !nullable && !values.iter().any(|value| value.is_null());
            let known = self.values.take();
            let holds = |value: &&Value| {
                !value.is_null() && known.as_ref().is_none_or(|known| known.contains(value))
            };
            self.values = Some(values.into_iter().filter(holds).collect());
        }
        let text = |name: &str| part.get(name).and_then(Value::as_str);
        self.format = self.format.or(text("format"));
        self.pattern = self.pattern.or(text("pattern"));
        self.unique |= part.get("uniqueItems") == Some(&Value::Bool(true));
        self.multiple_of = self.multiple_of.or(part.get("multipleOf").and_then(Value::as_f64));
        for (name, property) in
            part.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            self.properties.entry(name).or_default().push(property);
        }
        let required = part.get("required").and_then(Value::as_array).into_iter().flatten();
        self.required.extend(required.filter_map(Value::as_str));
        self.additional.extend(part.get("additionalProperties"));
        self.items.extend(part.get("items"));
        self.ranges(part);
    }

    fn ranges(&mut self, part: &'a Value) {
        let number = |name: &str| part.get(name).and_then(Value::as_f64);
        for (what, least, most) in RANGES {
            // In 3.0 it says that the end itself is outside; in 3.1 it is the end.
            let outside =
                |name: &str| what == "value" && part.get(name) == Some(&Value::Bool(true));
            let (above, beneath) = ("exclusiveMinimum", "exclusiveMaximum");
            let mut lows = vec![number(least).map(|end| (end, outside(above)))];
            let mut highs = vec![number(most).map(|end| (end, outside(beneath)))];
            if what == "value" {
                lows.push(number(above).map(|end| (end, true)));
                highs.push(number(beneath).map(|end| (end, true)));
            } else {
                // No length is below nothing.
                lows.retain(|low| low.is_none_or(|(end, _)| end > 0.0));
            }
            for end in lows.into_iter().flatten() {
                let known = self.least.entry(what).or_insert(end);
                if is_tighter(end, *known, f64::gt) {
                    *known = end;
                }
            }
            for end in highs.into_iter().flatten() {
                let known = self.most.entry(what).or_insert(end);
                if is_tighter(end, *known, f64::lt) {
                    *known = end;
                }
            }
        }
    }

    /// What has no type is meant to have the one that its keywords are about.
    fn infer(&mut self) {
        if self.types.is_some() || !self.unions.is_empty() {
            return;
        }
        let types: BTreeSet<&str> = match &self.values {
            Some(values) => values.iter().map(|value| type_of(value)).collect(),
            None if !self.properties.is_empty() || !self.additional.is_empty() => {
                BTreeSet::from(["object"])
            }
            None if !self.items.is_empty() => BTreeSet::from(["array"]),
            None => return,
        };
        self.types = Some(types);
    }

    /// Whether it says nothing beside its choices.
    pub(super) fn is_bare(&self) -> bool {
        self.types.is_none() && self.properties.is_empty() && self.values.is_none()
    }

    /// Whether properties that are not named are refused.
    pub(super) fn is_closed(&self) -> bool {
        self.additional.iter().any(|part| **part == Value::Bool(false))
    }

    pub(super) fn may_be(&self, name: &str) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(name))
    }
}

/// Whether the end `one` lets less through than `other`; `beyond` says which of two numbers does.
pub(super) fn is_tighter(one: End, other: End, beyond: fn(&f64, &f64) -> bool) -> bool {
    beyond(&one.0, &other.0) || (!beyond(&other.0, &one.0) && one.1 && !other.1)
}

fn types(part: &Value) -> Option<BTreeSet<&str>> {
    match part.get("type")? {
        Value::String(name) => Some(BTreeSet::from([name.as_str()])),
        Value::Array(names) => Some(names.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn both<'a>(one: &BTreeSet<&'a str>, other: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let mut common: BTreeSet<&str> = one.intersection(other).copied().collect();
    let integer = |set: &BTreeSet<&'a str>| set.contains("integer") || set.contains("number");
    if integer(one) && integer(other) && !common.contains("number") {
        common.insert("integer");
    }
    common
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Only null.
fn is_null(schema: &Value) -> bool {
    let values = schema.get("enum").and_then(Value::as_array);
    types(schema).is_some_and(|types| types == BTreeSet::from(["null"]))
        || schema.get("const").is_some_and(Value::is_null)
        || values.is_some_and(|values| values.iter().all(Value::is_null))
}

/// One of several choices: whether null is among what it takes itself.
fn takes_null(document: &Value, schema: &Value) -> bool {
    let schema = target(document, schema);
    schema.get("nullable") == Some(&Value::Bool(true))
        || types(schema).is_some_and(|types| types.contains("null"))
}

/// What only answers have is no part of a request, and the other way round.
fn is_of_other_side(document: &Value, parts: &Parts<'_>, side: Side) -> bool {
    let name = match side {
        Side::Request => "readOnly",
        Side::Response => "writeOnly",
    };
    let says = |part: &Value| part.get(name) == Some(&Value::Bool(true));
    parts.iter().any(|part| says(part) || says(target(document, part)))
}
