//! A comparison under way: what it found, where it is, and how far it may still go.

use std::collections::HashSet;

use mainstay_core::{Code, Error, Result};
use serde_json::Value;

use super::Difference;
use super::check::resolve;

/// More comparisons of schemas are refused.
const STEPS_MAX: u32 = 1_000_000;
/// Deeper schemas are refused.
const DEPTH_MAX: usize = 128;
/// References to references; the check has seen that they end.
const HOPS_MAX: usize = 32;

/// Who reads what is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Request,
    Response,
}

/// What became of the values that are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Narrowed,
    Widened,
    /// Neither contains the other, or a client depends on it either way.
    Changed,
    /// No client depends on it.
    Harmless,
}

/// Where a comparison of schemas is.
#[derive(Clone, Debug)]
pub(super) struct At {
    pub(super) side: Side,
    /// `request body`, and what is within it: ` .customer.name`.
    pub(super) place: String,
    pub(super) depth: usize,
}

/// A schema: all of these hold.
pub(super) type Parts<'a> = Vec<&'a Value>;

/// Pairs of schemas that were compared, by address.
pub(super) type Seen = HashSet<(Vec<usize>, Vec<usize>)>;

pub(super) struct Comparing<'a> {
    pub(super) old: &'a Value,
    pub(super) new: &'a Value,
    pub(super) operation: String,
    pub(super) found: Vec<Difference>,
    pub(super) seen: Seen,
    steps: u32,
    beyond: Option<&'static str>,
}

impl<'a> Comparing<'a> {
    pub(super) fn new(old: &'a Value, new: &'a Value) -> Self {
        Self {
            old,
            new,
            operation: String::new(),
            found: Vec::new(),
            seen: Seen::new(),
            steps: 0,
            beyond: None,
        }
    }

    /// Errors: HTTP-014.
    pub(super) fn end(self) -> Result<Vec<Difference>> {
        match self.beyond {
            Some(what) => {
                Err(Error::new(Code::OpenApi, format!("the documents can't be compared: {what}")))
            }
            None => Ok(self.found),
        }
    }

    /// Takes note of a change of the operation itself.
    pub(super) fn note(&mut self, breaking: bool, kind: &'static str, place: &str, what: String) {
        let (operation, place) = (self.operation.clone(), place.to_owned());
        self.found.push(Difference { breaking, kind, operation, place, what });
    }

    /// Takes note of a change of what is sent or answered.
    pub(super) fn effect(&mut self, at: &At, effect: Effect, kind: &'static str, what: String) {
        let breaking = match effect {
            Effect::Narrowed => at.side == Side::Request,
            Effect::Widened => at.side == Side::Response,
            Effect::Changed => true,
            Effect::Harmless => false,
        };
        self.note(breaking, kind, &at.place, what);
    }

    /// Whether the comparison of these two may go on: not where it is one already, nor beyond the bounds.
    pub(super) fn enter(&mut self, old: &Parts<'a>, new: &Parts<'a>, at: &At) -> bool {
        self.steps = self.steps.saturating_add(1);
        if self.steps > STEPS_MAX {
            self.beyond = Some("there are more than a million pairs of schemas");
        }
        if at.depth > DEPTH_MAX {
            self.beyond = Some("a schema is more than 128 deep");
        }
        // What is the same past its references is the same: so circles end.
        let addresses = |document: &'a Value, parts: &Parts<'a>| -> Vec<usize> {
            let parts = parts.iter().map(|part| {
                let alone = part.as_object().is_some_and(|all| all.len() == 1);
                if alone { target(document, part) } else { part }
            });
            parts.map(|part| std::ptr::from_ref::<Value>(part).addr()).collect()
        };
        let pair = (addresses(self.old, old), addresses(self.new, new));
        self.beyond.is_none() && self.seen.insert(pair)
    }

    /// What `compare` would find, which is not taken note of.
    pub(super) fn tried(&mut self, compare: impl FnOnce(&mut Self)) -> Vec<Difference> {
        // The copy is work too.
        self.steps = self.steps.saturating_add(self.seen.len() as u32);
        let (found, seen) = (std::mem::take(&mut self.found), self.seen.clone());
        compare(self);
        self.seen = seen;
        std::mem::replace(&mut self.found, found)
    }
}

impl At {
    pub(super) fn new(side: Side, place: impl Into<String>) -> Self {
        Self { side, place: place.into(), depth: 0 }
    }

    /// One step further in: `.name`, `[]`.
    pub(super) fn within(&self, step: &str) -> Self {
        let is_first = !self.place.contains(['.', '[']);
        let between = if is_first { " " } else { "" };
        Self {
            side: self.side,
            place: format!("{}{between}{step}", self.place),
            depth: self.depth + 1,
        }
    }
}

/// Past its references.
pub(super) fn target<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let mut value = value;
    for _ in 0..HOPS_MAX {
        let to = value.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        match to.and_then(|to| resolve(document, to)) {
            Some(found) => value = found,
            None => break,
        }
    }
    value
}
