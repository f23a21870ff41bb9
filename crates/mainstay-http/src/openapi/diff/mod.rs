//! What changed between two OpenAPI documents, and what of it breaks a client that was written for the
//! older one. Any documents of OpenAPI 3 are compared, not those of this crate alone.
//!
//! What is asked narrows or widens, and what is answered does; the two break the other way round. Texts,
//! examples, servers, tags and the errors that may be answered are not compared, nor is what
//! `prefixItems`, `not` and `patternProperties` say.

mod check;
mod compare;
mod message;
mod operation;
mod shape;
mod union;
mod value;

use std::fmt;

use mainstay_core::Result;
use serde::Serialize;
use serde_json::Value;

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whether a client of the older document may fail.
    pub breaking: bool,
    /// What kind of change it is, such as `property-required`.
    pub kind: &'static str,
    /// `POST /orders`, as the older document writes it.
    pub operation: String,
    /// Where in the operation: `request body .customer.name`; empty for all of it.
    pub place: String,
    /// What happened there, in words.
    pub what: String,
}

/// All that changed, what breaks first, and then in the order of operations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences(Vec<Difference>);

/// What changed from `old` to `new`, two whole OpenAPI 3 documents. A reference to another file is not
/// followed.
///
/// It breaks where a request that was good is refused, or where an answer holds what it never held before:
/// an operation, parameter, body, media type or success status that is gone; what is newly required; types,
/// formats, enums and bounds that are narrower in a request or wider in an answer; properties that answers
/// no longer have, or not always; credentials that were not asked for. A schema that one body has in
/// several places is told of in the first. Bounds: a million comparisons, and
/// schemas 128 deep.
///
/// ```
/// use mainstay_http::openapi::diff;
/// use serde_json::json;
///
/// let old = json!({ "openapi": "3.1.0", "paths": { "/a": { "get": {} }, "/b": { "get": {} } } });
/// let new = json!({ "openapi": "3.1.0", "paths": { "/a": { "get": {} } } });
/// let found = diff(&old, &new)?;
/// assert_eq!(found.breaking().count(), 1);
/// assert_eq!(found.iter().next().unwrap().kind, "path-removed");
/// # mainstay_core::Result::<()>::Ok(())
/// ```
///
/// Errors: HTTP-014 where one is no document of OpenAPI 3, with the JSON pointer of what is wrong, or where
/// they are beyond the bounds.
pub fn diff(old: &Value, new: &Value) -> Result<Differences> {
    check::document(old).map_err(|error| error.note("in the older document"))?;
    check::document(new).map_err(|error| error.note("in the newer document"))?;
    let mut found = operation::documents(old, new)?;
    found.sort_by_key(|difference| !difference.breaking);
    Ok(Differences(found))
}

impl Differences {
    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Difference> {
        self.0.iter()
    }

    /// Those that break.
    pub fn breaking(&self) -> impl Iterator<Item = &Difference> {
        self.0.iter().filter(|difference| difference.breaking)
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Differences {
    type Item = &'a Difference;
    type IntoIter = std::slice::Iter<'a, Difference>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A line each: `breaking: POST /orders: request body .name: it is required now (property-required)`.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { breaking, kind, operation, place, what } = self;
        let how = if *breaking { "breaking" } else { "compatible" };
        let between = if place.is_empty() { "" } else { ": " };
        let line = format!("{how}: {operation}{between}{place}: {what} ({kind})");
        // A document may come from anywhere, and go to a terminal.
        line.chars().filter(|c| !c.is_control()).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, difference) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            difference.fmt(f)?;
        }
        Ok(())
    }
}
