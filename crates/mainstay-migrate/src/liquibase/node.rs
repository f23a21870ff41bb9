//! One neutral tree for changelogs in XML, YAML and JSON, so that one builder reads them all.
//!
//! What XML writes as an attribute and YAML as a key with a scalar is a child with a value here, as
//! Liquibase sees it too. It knows nothing of what the names mean.

use mainstay_core::Result;

use super::location::Location;

/// An element, an attribute, or a key with what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) children: Vec<Node>,
    pub(crate) at: Location,
    /// Whether the value was a date of YAML's own, which Liquibase reads as a moment in time.
    pub(crate) timestamp: bool,
}

impl Node {
    pub(crate) fn new(name: impl Into<String>, at: Location) -> Self {
        Self { name: name.into(), value: None, children: Vec::new(), at, timestamp: false }
    }

    pub(crate) fn leaf(name: impl Into<String>, value: impl Into<String>, at: Location) -> Self {
        Self { value: Some(value.into()), ..Self::new(name, at) }
    }

    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|c| c.name == name)
    }

    /// The value of the first child of that name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.child(name)?.value.as_deref()
    }

    /// As [`text`](Self::text); an error says what lacks it.
    pub(crate) fn required(&self, name: &str) -> Result<&str> {
        self.text(name).filter(|t| !t.trim().is_empty()).ok_or_else(|| {
            self.at
                .error(format_args!("'{}' has no {name}", self.name))
                .fix(format!("give it a {name}"))
        })
    }

    /// The value as true or false.
    pub(crate) fn boolean(&self) -> Result<bool> {
        match self.value.as_deref().map(str::trim) {
            Some(t) if t.eq_ignore_ascii_case("true") => Ok(true),
            Some(t) if t.eq_ignore_ascii_case("false") => Ok(false),
            other => Err(self
                .at
                .error(format_args!("{} is neither true nor false", self.name))
                .why(format!("it is '{}'", other.unwrap_or_default()))
                .fix("write true or false")),
        }
    }

    /// The first child of that name as true or false, or what holds without it.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.child(name) {
            Some(child) if child.value.is_some() => child.boolean(),
            _ => Ok(default),
        }
    }

    /// Replaces every value in the tree.
    pub(crate) fn map(&mut self, change: &mut impl FnMut(&str) -> String) {
        if let Some(value) = &mut self.value {
            *value = change(value);
        }
        for child in &mut self.children {
            child.map(change);
        }
    }
}
