//! `${name}` in a script, replaced by a value. Names are told apart without regard to case.
//!
//! It knows no SQL: a placeholder in a string or a comment is replaced as well, as Flyway's are.

use std::collections::BTreeMap;

/// The values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placeholders(BTreeMap<String, String>);

/// A placeholder that has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) name: String,
    /// Where in the text it begins.
    pub(crate) at: usize,
    /// The nearest name that has a value.
    pub(crate) near: Option<String>,
}

impl Placeholders {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_lowercase(), value.into());
    }

    pub(crate) fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let mut all = self.clone();
        all.set(name, value);
        all
    }

    /// The text with all values in place.
    pub(crate) fn replace(&self, text: &str) -> Result<String, Missing> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find("${") {
            let Some(length) = rest[begin..].find('}') else { break };
            let name = &rest[begin + 2..begin + length];
            out.push_str(&rest[..begin]);
            let value = self.0.get(&name.to_lowercase());
            out.push_str(value.ok_or_else(|| self.missing(name, text.len() - rest.len() + begin))?);
            rest = &rest[begin + length + 1..];
        }
        Ok(out + rest)
    }

    fn missing(&self, name: &str, at: usize) -> Missing {
        let close = |known: &&String| {
            strsim::damerau_levenshtein(known, &name.to_lowercase()) <= name.len() / 3 + 1
        };
        Missing { name: name.to_owned(), at, near: self.0.keys().find(close).cloned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_place() {
        let mut values = Placeholders::default();
        values.set("Schema", "app");
        values.set("flyway:user", "me");
        let text = "SET x = '${schema}.${SCHEMA}'; -- ${flyway:user} $1 $$ ${";
        assert_eq!(values.replace(text).unwrap(), "SET x = 'app.app'; -- me $1 $$ ${");
        // What a value holds is not looked at again.
        let nested = values.with("a", "${b}");
        assert_eq!(nested.replace("${a}").unwrap(), "${b}");
    }

    #[test]
    fn a_missing_value_is_told_with_its_place() {
        let mut values = Placeholders::default();
        values.set("schema", "app");
        let missing = values.replace("é ${schema} ${schem}").unwrap_err();
        let near = Some("schema".to_owned());
        assert_eq!(missing, Missing { name: "schem".to_owned(), at: 13, near });
    }
}
