//! Two schemas: what is valid by the one and not by the other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::compare::{At, Comparing, Effect, Parts, Side};
use super::shape::{End, Shape, is_tighter};

/// Formats of which each holds those before it.
const WIDTHS: [&[&str]; 3] = [
    &["int8", "int16", "int32", "int64"],
    &["uint8", "uint16", "uint32", "uint64"],
    &["float", "double"],
];

impl<'a> Comparing<'a> {
    pub(super) fn schema(&mut self, old: &Parts<'a>, new: &Parts<'a>, at: &At) {
        if !self.enter(old, new, at) {
            return;
        }
        let older = Shape::of(self.old, old, at.side);
        let newer = Shape::of(self.new, new, at.side);
        self.null(&older, &newer, at);
        if self.unions((old, &older), (new, &newer), at) {
            return;
        }
        match (older.never, newer.never) {
            (false, true) => {
                let what = "nothing is valid any more".to_owned();
                return self.effect(at, Effect::Narrowed, "never", what);
            }
            (true, false) => {
                let what = "something is valid now".to_owned();
                return self.effect(at, Effect::Widened, "never", what);
            }
            _ => {}
        }
        if !self.types(&older, &newer, at) {
            return;
        }
        self.values(&older, &newer, at);
        self.formats(&older, &newer, at);
        self.bounds(&older, &newer, at);
        if older.may_be("object") && newer.may_be("object") {
            self.properties(&older, &newer, at);
            self.additional(&older, &newer, at);
        }
        if !older.items.is_empty() || !newer.items.is_empty() {
            self.schema(&older.items, &newer.items, &at.within("[]"));
        }
    }

    fn null(&mut self, old: &Shape<'a>, new: &Shape<'a>, at: &At) {
        let (kind, effect, what) = match (old.not_null, new.not_null) {
            (false, true) => ("not-nullable", Effect::Narrowed, "it may no longer be null"),
            (true, false) => ("nullable", Effect::Widened, "it may be null now"),
            _ => return,
        };
        // To say nothing of the type says nothing of null, and is told with the type.
        let typed = |shape: &Shape<'_>| shape.types.is_some() || !shape.unions.is_empty();
        if typed(old) == typed(new) {
            self.effect(at, effect, kind, what.to_owned());
        }
    }

    /// Whether there is anything left to compare.
    fn types(&mut self, old: &Shape<'a>, new: &Shape<'a>, at: &At) -> bool {
        let listed = |types: &Option<BTreeSet<&str>>| match types {
            Some(types) => types.iter().copied().collect::<Vec<_>>().join(" or "),
            None => "anything".to_owned(),
        };
        let what = format!("it is {}, and was {}", listed(&new.types), listed(&old.types));
        let effect = match (&old.types, &new.types) {
            (None, None) => return true,
            (None, Some(_)) => Effect::Narrowed,
            (Some(_), None) => Effect::Widened,
            (Some(old), Some(new)) => {
                let covers = |by: &BTreeSet<&str>, of: &str| {
                    by.contains(of) || (of == "integer" && by.contains("number"))
                };
                let lost = old.iter().any(|name| !covers(new, name));
                let gained = new.iter().any(|name| !covers(old, name));
                match (lost, gained) {
                    (false, false) => return true,
                    (true, false) => Effect::Narrowed,
                    (false, true) => Effect::Widened,
                    (true, true) => Effect::Changed,
                }
            }
        };
        self.effect(at, effect, "type-changed", what);
        false
    }

    fn values(&mut self, old: &Shape<'a>, new: &Shape<'a>, at: &At) {
        let listed = |values: &[&Value]| {
            let texts: Vec<String> = values.iter().map(|value| value.to_string()).collect();
            texts.join(", ")
        };
        match (&old.values, &new.values) {
            (None, None) => {}
            (None, Some(values)) => {
                let what = format!("it is one of {} now", listed(values));
                self.effect(at, Effect::Narrowed, "enum-narrowed", what);
            }
            (Some(_), None) => {
                let what = "it may be any value now".to_owned();
                self.effect(at, Effect::Widened, "enum-widened", what);
            }
            (Some(old), Some(new)) => {
                let but = |these: &[&'a Value], those: &[&Value]| -> Vec<&'a Value> {
                    these.iter().filter(|value| !those.contains(value)).copied().collect()
                };
                let (lost, gained) = (but(old, new), but(new, old));
                if !lost.is_empty() {
                    let what = format!("{} is gone", listed(&lost));
                    self.effect(at, Effect::Narrowed, "enum-narrowed", what);
                }
                if !gained.is_empty() {
                    let what = format!("{} is new", listed(&gained));
                    self.effect(at, Effect::Widened, "enum-widened", what);
                }
            }
        }
    }

    fn formats(&mut self, old: &Shape<'a>, new: &Shape<'a>, at: &At) {
        if let Some((effect, what)) = changed(old.format, new.format, "format", wider) {
            self.effect(at, effect, "format-changed", what);
        }
        if let Some((effect, what)) = changed(old.pattern, new.pattern, "pattern", |_, _| None) {
            self.effect(at, effect, "pattern-changed", what);
        }
    }

    fn bounds(&mut self, old: &Shape<'a>, new: &Shape<'a>, at: &At) {
        let ends = [
            ("least", &old.least, &new.least, f64::gt as fn(&f64, &f64) -> bool),
            ("greatest", &old.most, &new.most, f64::lt),
        ];
        for (which, old, new, beyond) in ends {
            let measured: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
            for measure in measured {
                let (old, new) = (old.get(measure), new.get(measure));
                let Some(effect) = moved(old, new, beyond) else { continue };
                let told = |end: Option<&End>| match end {
                    Some((end, true)) => format!("{end} (exclusive)"),
                    Some((end, false)) => end.to_string(),
                    None => "none".to_owned(),
                };
                let what = format!("the {which} {measure} is {}, and was {}", told(new), told(old));
                self.effect(at, effect, "bound-changed", what);
            }
        }
        let number = |number: Option<f64>| number.map(|number| number.to_string());
        let (before, after) = (number(old.multiple_of), number(new.multiple_of));
        if let Some((effect, what)) =
            changed(before.as_deref(), after.as_deref(), "step", |_, _| None)
        {
            self.effect(at, effect, "bound-changed", what);
        }
        match (old.unique, new.unique) {
            (false, true) => {
                let what = "items must differ now".to_owned();
                self.effect(at, Effect::Narrowed, "bound-changed", what);
            }
            (true, false) => {
                let what = "items may be equal now".to_owned();
                self.effect(at, Effect::Widened, "bound-changed", what);
            }
            _ => {}
        }
    }

    fn properties(&mut self, old: &Shape<'a>, new: &Shape<'a>, at: &At) {
        for (name, before) in &old.properties {
            let place = at.within(&format!(".{name}"));
            let Some(after) = new.properties.get(name) else {
                let effect = match at.side {
                    Side::Request if !new.is_closed() => Effect::Harmless,
                    _ => Effect::Changed,
                };
                self.effect(&place, effect, "property-removed", "it is gone".to_owned());
                continue;
            };
            match (old.required.contains(name), new.required.contains(name)) {
                (false, true) => {
                    let what = "it is required now".to_owned();
                    self.effect(&place, Effect::Narrowed, "property-required", what);
                }
                (true, false) => {
                    let what = "it may be missing now".to_owned();
                    self.effect(&place, Effect::Widened, "property-optional", what);
                }
                _ => {}
            }
            self.schema(before, after, &place);
        }
        for name in new.properties.keys().filter(|name| !old.properties.contains_key(*name)) {
            let place = at.within(&format!(".{name}"));
            if at.side == Side::Request && new.required.contains(name) {
                let what = "it is new and required".to_owned();
                self.effect(&place, Effect::Narrowed, "property-required", what);
            } else {
                self.effect(&place, Effect::Harmless, "property-added", "it is new".to_owned());
            }
        }
    }

    /// A client copes with properties that it does not know in an answer; a service need not in a request.
    fn additional(&mut self, old: &Shape<'a>, new: &Shape<'a>, at: &At) {
        match (old.is_closed(), new.is_closed()) {
            (false, true) => {
                let what = "properties that are not named are refused now".to_owned();
                self.effect(at, Effect::Narrowed, "additional-properties-refused", what);
            }
            (false, false) => {
                let typed =
                    |shape: &Shape<'_>| shape.additional.iter().any(|part| part.is_object());
                if typed(old) || (typed(new) && at.side == Side::Request) {
                    self.schema(&old.additional, &new.additional, &at.within(".*"));
                }
            }
            (true, false) => {
                let what = "properties that are not named may come now".to_owned();
                self.effect(at, Effect::Harmless, "additional-properties-allowed", what);
            }
            (true, true) => {}
        }
    }
}

/// What became of something that restricts where it is there.
fn changed(
    old: Option<&str>,
    new: Option<&str>,
    name: &str,
    compare: impl Fn(&str, &str) -> Option<Effect>,
) -> Option<(Effect, String)> {
    Some(match (old, new) {
        (None, Some(new)) => (Effect::Narrowed, format!("it has the {name} {new} now")),
        (Some(old), None) => (Effect::Widened, format!("it no longer has the {name} {old}")),
        (Some(old), Some(new)) if old != new => {
            let effect = compare(old, new).unwrap_or(Effect::Changed);
            (effect, format!("its {name} is {new}, and was {old}"))
        }
        _ => return None,
    })
}

fn wider(old: &str, new: &str) -> Option<Effect> {
    WIDTHS.iter().find_map(|widths| {
        let place = |name: &str| widths.iter().position(|known| *known == name);
        let (old, new) = (place(old)?, place(new)?);
        Some(if new > old { Effect::Widened } else { Effect::Narrowed })
    })
}

fn moved(old: Option<&End>, new: Option<&End>, beyond: fn(&f64, &f64) -> bool) -> Option<Effect> {
    match (old, new) {
        (None, Some(_)) => Some(Effect::Narrowed),
        (Some(_), None) => Some(Effect::Widened),
        (Some(old), Some(new)) if is_tighter(*new, *old, beyond) => Some(Effect::Narrowed),
        (Some(old), Some(new)) if is_tighter(*old, *new, beyond) => Some(Effect::Widened),
        _ => None,
    }
}
