//! A changelog's properties, and the `${name}` that stand for them.
//!
//! The first definition that fits the run wins; what is not defined stays as it is written.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use mainstay_core::Result;

use super::filter;
use super::location::Location;
use super::{Options, node::Node};

/// How deep a property may name others.
const DEPTH: usize = 16;
/// What all properties of a changelog may come to, in bytes: those that name others several times
/// multiply.
const EXPANDED_MAX: usize = 16 << 20;

/// A definition.
#[derive(Clone, Debug)]
pub(super) struct Property {
    pub(super) at: Location,
    pub(super) name: String,
    pub(super) value: String,
    pub(super) contexts: Option<String>,
    pub(super) labels: Option<String>,
    pub(super) dbms: Option<String>,
    /// Whether it holds in every file, and not in its own alone.
    pub(super) global: bool,
}

impl Property {
    /// That of a `property`.
    pub(super) fn read(node: &Node) -> Result<Self> {
        let known = ["name", "value", "context", "contextFilter", "labels", "dbms", "global"];
        if let Some(other) = node.children.iter().find(|c| !known.contains(&c.name.as_str())) {
            return Err(other.at.unknown("the property's attribute", &other.name, known));
        }
        let text = |name: &str| node.text(name).map(str::to_owned);
        Ok(Self {
            at: node.at.clone(),
            name: node.required("name")?.trim().to_owned(),
            value: text("value").unwrap_or_default(),
            contexts: text("contextFilter").or_else(|| text("context")),
            labels: text("labels"),
            dbms: text("dbms"),
            global: node.flag("global", true)?,
        })
    }
}

/// What has been defined so far.
#[derive(Debug, Default)]
pub(super) struct Properties {
    /// By their names in lower case: Liquibase does not tell cases apart.
    given: BTreeMap<String, String>,
    global: BTreeMap<String, String>,
    local: BTreeMap<(Arc<str>, String), String>,
    /// What has been replaced so far, in bytes.
    expanded: Cell<usize>,
}

impl Properties {
    /// With those that the run gives, which win over all others.
    pub(super) fn new(given: &BTreeMap<String, String>) -> Self {
        let given = given.iter().map(|(k, v)| (k.to_lowercase(), v.clone())).collect();
        Self { given, ..Self::default() }
    }

    /// Defines one, if it fits the run.
    pub(super) fn define(&mut self, property: Property, options: &Options) -> Result<()> {
        let Property { at, name, value, contexts, labels, dbms, global } = property;
        let fits = filter::dbms(dbms.as_deref(), options.target.name())
            && filter::contexts(contexts.as_deref().unwrap_or_default(), &options.contexts, &at)?
            && filter::labels(
                options.labels.as_deref().unwrap_or_default(),
                labels.as_deref().unwrap_or_default(),
                &at,
            )?;
        if !fits {
            return Ok(());
        }
        let name = name.to_lowercase();
        if global {
            self.global.entry(name).or_insert(value);
        } else {
            // Of those that hold in one file only, Liquibase takes the last.
            self.local.insert((at.file, name), value);
        }
        Ok(())
    }

    /// A property's value in a file.
    pub(super) fn get(&self, name: &str, file: &Arc<str>) -> Option<&str> {
        let name = name.to_lowercase();
        let shared = self.given.get(&name).or_else(|| self.global.get(&name));
        shared.or_else(|| self.local.get(&(Arc::clone(file), name))).map(String::as_str)
    }

    /// The text with its properties replaced; no more than [`check`](Self::check) allows.
    pub(super) fn expand(&self, text: &str, file: &Arc<str>) -> String {
        self.replace(text, file, 0)
    }

    /// Refuses what was expanded up to `at`, if it is too much.
    pub(super) fn check(&self, at: &Location) -> Result<()> {
        if self.expanded.get() <= EXPANDED_MAX {
            return Ok(());
        }
        let error = at.error(format_args!("the properties come to more than {EXPANDED_MAX} bytes"));
        Err(error.fix("let properties name others less often"))
    }

    /// Whether there is room for one more value; an empty one takes time as well.
    fn has_room(&self, value: &str) -> bool {
        self.expanded.set(self.expanded.get().saturating_add(value.len() + 1));
        self.expanded.get() <= EXPANDED_MAX
    }

    fn replace(&self, text: &str, file: &Arc<str>, depth: usize) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else { break };
            let name = &rest[start + 2..start + length];
            out += &rest[..start];
            match self.get(name.trim(), file) {
                Some(value) if depth < DEPTH && self.has_room(value) => {
                    out += &self.replace(value, file, depth + 1);
                }
                _ => out += &rest[start..=start + length],
            }
            rest = &rest[start + length + 1..];
        }
        out + rest
    }
}

#[cfg(test)]
mod tests {
    use mainstay_db::Engine;

    use super::super::filter::Target;
    use super::*;

    fn property(file: &str, name: &str, value: &str) -> Property {
        Property {
            at: Location::new(&file.into(), 1),
            name: name.to_owned(),
            value: value.to_owned(),
            contexts: None,
            labels: None,
            dbms: None,
            global: true,
        }
    }

    #[test]
    fn what_multiplies_is_bounded() {
        let options = Options::for_tests();
        let mut properties = Properties::default();
        for n in 0..15 {
            let next = format!("${{p{}}}", n + 1).repeat(100);
            properties.define(property("a", &format!("p{n}"), &next), &options).unwrap();
        }
        let (file, at) = ("a".into(), Location::new(&"a".into(), 7));
        properties.check(&at).unwrap();
        let out = properties.expand("${p0}", &file);
        assert!(out.len() < 2 * EXPANDED_MAX, "{}", out.len());
        assert!(properties.check(&at).unwrap_err().what().starts_with("a:7: "));
    }

    #[test]
    fn the_first_that_fits_wins() {
        let target = Target { engine: Engine::Sqlite, mariadb: false };
        let options = Options { target, ..Options::for_tests() };
        let mut properties = Properties::new(&[("Given".to_owned(), "g".to_owned())].into());
        let mut define = |p: Property| properties.define(p, &options).unwrap();
        define(Property { dbms: Some("postgresql".into()), ..property("a", "kind", "pg") });
        define(Property { dbms: Some("sqlite".into()), ..property("a", "kind", "lite") });
        define(property("a", "tbl", "first"));
        define(property("b", "tbl", "second"));
        define(property("a", "given", "lost"));
        define(property("a", "deep", "<${tbl}>"));
        define(property("a", "loop", "${loop}"));
        define(Property { global: false, ..property("a", "loc", "mine") });
        let (a, b) = ("a".into(), "b".into());
        let text = "${tbl} ${kind} ${loc} ${nope} ${:tbl} ${given} ${deep} ${open";
        assert_eq!(properties.expand(text, &a), "first lite mine ${nope} ${:tbl} g <first> ${open");
        assert_eq!(properties.expand("${loc}", &b), "${loc}");
        assert_eq!(properties.expand("${loop}", &a), "${loop}");
    }
}
