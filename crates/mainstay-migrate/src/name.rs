//! File names as Flyway reads them: `V1__add_users.sql`, `R__views.sql`, `U1__...`, `B1__...`, and
//! callbacks. What is named almost so is an error, not silently left out.

use crate::callback::Event;
use crate::version::Version;

/// What a file is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Runs once, in the order of versions.
    Versioned(Version),
    /// Takes back the versioned one of the same version.
    Undo(Version),
    /// Stands for all versions up to its own in a database without a history.
    Baseline(Version),
    /// Runs whenever it has changed, after the versioned ones.
    Repeatable,
    /// Runs at an event.
    Callback(Event),
}

impl Kind {
    pub(crate) fn version(&self) -> Option<&Version> {
        match self {
            Kind::Versioned(v) | Kind::Undo(v) | Kind::Baseline(v) => Some(v),
            Kind::Repeatable | Kind::Callback(_) => None,
        }
    }
}

/// A name that was read: what the file is for, and its description.
pub(crate) type Name = (Kind, String);

/// Reads the name of an SQL file. `Ok(None)` where the file is none of ours. The error says what is
/// wrong and how it would be right.
pub(crate) fn parse(file: &str) -> Result<Option<Name>, (String, String)> {
    let Some(stem) = strip_suffix(file) else { return Ok(None) };
    let (prefix, description) = stem.split_once("__").unwrap_or((stem, ""));
    let description = description.replace('_', " ");
    if let Some(event) = Event::parse(prefix) {
        return Ok(Some((Kind::Callback(event), description)));
    }
    if prefix == "R" {
        return Ok(Some((Kind::Repeatable, description)));
    }
    let mut rest = prefix.chars();
    let versioned: fn(Version) -> Kind = match rest.next() {
        Some('V') => Kind::Versioned,
        Some('U') => Kind::Undo,
        Some('B') => Kind::Baseline,
        _ => return Err(misnamed(stem)),
    };
    match Version::parse(rest.as_str()) {
        Some(version) => Ok(Some((versioned(version), description))),
        None => Err(misnamed(stem)),
    }
}

/// The name without `.sql`, in either case.
fn strip_suffix(file: &str) -> Option<&str> {
    let at = file.len().checked_sub(4)?;
    let (stem, suffix) = file.split_at_checked(at)?;
    suffix.eq_ignore_ascii_case(".sql").then_some(stem)
}

fn misnamed(stem: &str) -> (String, String) {
    let why = "migrations are V<version>__<description>.sql, R__<description>.sql, U<version>__..., \
               B<version>__..., or a callback's name";
    (why.to_owned(), near(stem))
}

/// How the name was most likely meant.
fn near(stem: &str) -> String {
    let upper = stem.get(..1).map(str::to_uppercase).filter(|p| "VURB".contains(p.as_str()));
    if let Some(prefix) = upper {
        let rest = &stem[1..];
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (version, after) = rest.split_at(digits);
        let description = after.trim_start_matches(['_', '-', ' ']);
        let fits = (prefix == "R") == version.is_empty() && !description.is_empty();
        if fits && after.starts_with(['_', '-', ' ']) {
            let version = version.trim_end_matches('.');
            return format!(
                "rename it to {prefix}{version}__{}.sql",
                description.replace(' ', "_")
            );
        }
    }
    let prefix = stem.split("__").next().unwrap_or(stem);
    let close = Event::ALL.iter().map(|e| e.as_str()).filter(|name| {
        strsim::damerau_levenshtein(&name.to_lowercase(), &prefix.to_lowercase()) <= 2
    });
    match close.min_by_key(|name| strsim::damerau_levenshtein(name, prefix)) {
        Some(name) => format!("rename it to {name}.sql"),
        None => "rename it, or move it out of the migrations' folder".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(file: &str) -> Kind {
        parse(file).unwrap().unwrap().0
    }

    fn v(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn names_are_read_as_flyway_reads_them() {
        assert_eq!(kind("V1__a.sql"), Kind::Versioned(v("1")));
        assert_eq!(kind("V1_2_3__a.SQL"), Kind::Versioned(v("1.2.3")));
        assert_eq!(kind("U1.2__a.sql"), Kind::Undo(v("1.2")));
        assert_eq!(kind("B7__a.sql"), Kind::Baseline(v("7")));
        assert_eq!(kind("R__views.sql"), Kind::Repeatable);
        assert_eq!(kind("afterMigrate.sql"), Kind::Callback(Event::AfterMigrate));
        assert_eq!(parse("V2.sql").unwrap().unwrap().1, "");
        assert_eq!(parse("V2__add_a__b.sql").unwrap().unwrap().1, "add a  b");
        let callback = parse("beforeMigrate__set_up.sql").unwrap().unwrap();
        assert_eq!(callback, (Kind::Callback(Event::BeforeMigrate), "set up".to_owned()));
    }

    #[test]
    fn what_is_no_sql_file_is_left_alone() {
        for file in ["README.md", "V1__a.sql.bak", "V1__a.sql.conf", ".sq", "é"] {
            assert_eq!(parse(file), Ok(None), "{file}");
        }
    }

    #[test]
    fn a_name_that_is_almost_right_is_an_error_with_the_right_one() {
        for (file, right) in [
            ("V2_add.sql", "V2__add.sql"),
            ("v2__add.sql", "V2__add.sql"),
            ("V1.__add.sql", "V1__add.sql"),
            ("r__views.sql", "R__views.sql"),
            ("aftermigrate.sql", "afterMigrate.sql"),
            ("V2 - add it.sql", "V2__add_it.sql"),
        ] {
            let (_, fix) = parse(file).unwrap_err();
            assert_eq!(fix, format!("rename it to {right}"), "{file}");
        }
        for file in ["V1..2__a.sql", "V1.a__x.sql", "add.sql", "V__x.sql", "V_1__x.sql"] {
            assert!(parse(file).is_err(), "{file}");
        }
    }
}
