//! `${name}` in a script, replaced by a value. Names are told apart without regard to case.
//!
//! It knows no SQL: a placeholder in a string or a comment is replaced as well, as Flyway's are.

use std::collections::BTreeMap;

/// Shorter values are words of the language as well as not.
const HIDDEN_BYTES_MIN: usize = 4;

/// The values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placeholders {
    values: BTreeMap<String, String>,
    /// The names whose values are the user's own, and may be secret.
    own: Vec<String>,
}

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
        self.values.insert(name.to_lowercase(), value.into());
    }

    pub(crate) fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let mut all = self.clone();
        all.set(name, value);
        all
    }

    /// As [`set`](Self::set), of a value that messages are not to show.
    pub(crate) fn set_own(&mut self, name: &str, value: impl Into<String>) {
        self.set(name, value);
        self.own.push(name.to_lowercase());
    }

    /// `text` with the user's own values as placeholders again, for messages.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut own: Vec<_> =
            self.own.iter().filter_map(|n| Some((n, self.values.get(n)?))).collect();
        own.retain(|(_, value)| value.len() >= HIDDEN_BYTES_MIN);
        // A value may be part of another.
        own.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        own.into_iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(value.as_str(), &format!("${{{name}}}"))
        })
    }

    /// The text with all values in place.
    pub(crate) fn replace(&self, text: &str) -> Result<String, Missing> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find("${") {
            let Some(length) = rest[begin..].find('}') else { break };
            let name = &rest[begin + 2..begin + length];
            out.push_str(&rest[..begin]);
            let value = self.values.get(&name.to_lowercase());
            out.push_str(value.ok_or_else(|| self.missing(name, text.len() - rest.len() + begin))?);
            rest = &rest[begin + length + 1..];
        }
        Ok(out + rest)
    }

    fn missing(&self, name: &str, at: usize) -> Missing {
        let close = |known: &&String| {
            strsim::damerau_levenshtein(known, &name.to_lowercase()) <= name.len() / 3 + 1
        };
        Missing { name: name.to_owned(), at, near: self.values.keys().find(close).cloned() }
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
    fn messages_show_no_value_of_the_users() {
        let mut values = Placeholders::default();
        values.set("flyway:user", "somebody");
        values.set_own("Password", "s3cret");
        values.set_own("n", "1");
        let shown = values.hide("CREATE USER somebody IDENTIFIED BY 's3cret' -- 1");
        assert_eq!(shown, "CREATE USER somebody IDENTIFIED BY '${password}' -- 1");
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
