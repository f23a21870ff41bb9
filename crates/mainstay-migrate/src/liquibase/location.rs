//! Where in a changelog something stands, and the errors that name the place.
//!
//! It reads nothing: whoever parses a file makes the locations.

use std::fmt;
use std::sync::Arc;

use mainstay_core::{Code, Error};

/// A line of a changelog's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) file: Arc<str>,
    pub(crate) line: usize,
}

impl Location {
    pub(crate) fn new(file: &Arc<str>, line: usize) -> Self {
        Self { file: Arc::clone(file), line }
    }

    /// An error of the changelog, at this place.
    pub(crate) fn error(&self, what: impl fmt::Display) -> Error {
        Error::new(Code::MigrationChangelog, format!("{self}: {what}"))
    }

    /// As [`error`](Self::error), for a `word` that nobody knows; the near one of `known` is named.
    pub(crate) fn unknown<'a>(
        &self,
        what: impl fmt::Display,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Error {
        let error = self.error(format_args!("{what} '{word}' is not known"));
        match near(word, known) {
            Some(near) => error.fix(format!("write '{near}', if that is what was meant")),
            None => error.fix("correct the name, or leave it out"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The one of `known` that `word` was probably meant to be.
fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&k.to_lowercase(), &word), k))
        .filter(|(distance, k)| *distance <= (k.len() / 4).max(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_line_and_the_near_word() {
        let at = Location::new(&"db/root.yaml".into(), 12);
        let error = at.unknown("the change", "dropTabel", ["dropView", "dropTable"]);
        assert_eq!(error.what(), "db/root.yaml:12: the change 'dropTabel' is not known");
        assert!(error.report().contains("write 'dropTable'"), "{}", error.report());
        assert_eq!(near("zzzzzzzz", ["dropTable"]), None);
    }
}
