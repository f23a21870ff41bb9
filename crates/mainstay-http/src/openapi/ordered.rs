//! A document as text that is the same however the maps in it are kept: what OpenAPI begins with goes
//! first, all else by name.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// Of the document itself.
const FIRST: [&str; 5] = ["openapi", "info", "servers", "paths", "components"];

struct Ordered<'a> {
    value: &'a Value,
    outermost: bool,
}

/// Indented, with a newline at its end.
pub(super) fn text(document: &Value) -> String {
    let ordered = Ordered { value: document, outermost: true };
    // What is JSON already can't fail to be written as JSON.
    serde_json::to_string_pretty(&ordered).unwrap_or_default() + "\n"
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = |value| Ordered { value, outermost: false };
        match self.value {
            Value::Object(map) => {
                let rank = |name: &str| {
                    let place = FIRST.iter().position(|first| *first == name);
                    place.filter(|_| self.outermost).unwrap_or(FIRST.len())
                };
                let mut entries: Vec<(&String, &Value)> = map.iter().collect();
                entries.sort_by_key(|(name, _)| (rank(name), *name));
                let mut written = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    written.serialize_entry(name, &inner(value))?;
                }
                written.end()
            }
            Value::Array(items) => {
                let mut written = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    written.serialize_element(&inner(item))?;
                }
                written.end()
            }
            value => value.serialize(serializer),
        }
    }
}
