//! What a service may set about its migrations.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use crate::version::Version;

/// `[migrate]` in the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The folders that the command reads, below which all `.sql` files are migrations. Default
    /// `["migrations"]`. What a service embeds does not depend on it.
    pub dir: Vec<String>,
    /// The history's table, in the session's default schema. Default `flyway_schema_history`.
    pub table: String,
    /// Values for `${name}` in scripts, names without regard to case.
    pub placeholders: BTreeMap<String, String>,
    /// Whether `${name}` is replaced at all. Default true.
    pub replace_placeholders: bool,
    /// Whether a pending migration may have a lower version than one that was applied. Default false.
    pub out_of_order: bool,
    /// Whether `up` first checks that what was applied is what the files say. Default true.
    pub validate: bool,
    /// What checking leaves alone, as `TYPE:STATE`: `*`, `versioned` or `repeatable`, and `*`,
    /// `missing`, `pending`, `ignored` or `future`. Default `["*:future"]`.
    pub ignore: Vec<String>,
    /// Whether `up` takes a database with tables and no history for one at `baseline_version`.
    /// Default false: it is refused.
    pub baseline_on_migrate: bool,
    /// The version that a baseline has. Default `1`.
    pub baseline_version: String,
    /// The description that a baseline has. Default `<< Flyway Baseline >>`.
    pub baseline_description: String,
    /// Who the history says it was. Default the database's user.
    pub installed_by: Option<String>,
    /// How long to wait for another process that migrates: MIG-007. Up to 24 hours; default 10
    /// minutes.
    #[serde(with = "humantime_serde")]
    pub lock_wait: Duration,
    /// How long one statement may wait for a lock on a table before it lets go, so that others are
    /// not held up behind it, and tries again. 100 ms to 10 minutes; MySQL counts in whole seconds.
    /// Default 2 s.
    #[serde(with = "humantime_serde")]
    pub lock_timeout: Duration,
    /// How often a statement (in a transaction: the whole file) is tried again after that, with a
    /// growing pause. Default 20.
    pub lock_retries: u32,
    /// What a service does at its start when there is something to do. Default `apply`.
    pub on_start: OnStart,
}

/// What a service does at its start where migrations are pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnStart {
    /// Applies them; of many instances one does, and the others wait for it.
    #[default]
    Apply,
    /// Waits up to `lock_wait` until somebody else has applied them. MIG-011 if nobody does.
    Wait,
    /// Does not start: MIG-011.
    Refuse,
    /// Starts all the same, with a warning.
    Ignore,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dir: vec!["migrations".to_owned()],
            table: "flyway_schema_history".to_owned(),
            placeholders: BTreeMap::new(),
            replace_placeholders: true,
            out_of_order: false,
            validate: true,
            ignore: vec!["*:future".to_owned()],
            baseline_on_migrate: false,
            baseline_version: "1".to_owned(),
            baseline_description: "<< Flyway Baseline >>".to_owned(),
            installed_by: None,
            lock_wait: Duration::from_mins(10),
            lock_timeout: Duration::from_secs(2),
            lock_retries: 20,
            on_start: OnStart::Apply,
        }
    }
}

const TYPES: [&str; 3] = ["*", "versioned", "repeatable"];
const STATES: [&str; 5] = ["*", "missing", "pending", "ignored", "future"];

impl Options {
    /// Errors: CFG-003.
    pub fn validate(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::new(Code::ConfigValue, what));
        if Version::parse(&self.baseline_version).is_none() {
            return wrong(format!(
                "migrate.baseline_version is `{}`, which is no version",
                self.baseline_version
            ));
        }
        if self.table.is_empty() || self.table.len() > 50 {
            return wrong("migrate.table must have 1 to 50 characters".to_owned());
        }
        let bounds = Duration::from_millis(100)..=Duration::from_mins(10);
        if !bounds.contains(&self.lock_timeout) {
            return wrong("migrate.lock_timeout must be 100 ms to 10 minutes".to_owned());
        }
        if self.lock_wait > Duration::from_hours(24) {
            return wrong("migrate.lock_wait must be at most 24 hours".to_owned());
        }
        if self.lock_retries > 1000 {
            return wrong("migrate.lock_retries must be at most 1000".to_owned());
        }
        for pattern in &self.ignore {
            let lower = pattern.to_lowercase();
            let known = lower.split_once(':').is_some_and(|(kind, state)| {
                TYPES.contains(&kind.trim()) && STATES.contains(&state.trim())
            });
            if !known {
                let (types, states) = (TYPES.join(", "), STATES.join(", "));
                return Err(Error::new(
                    Code::ConfigValue,
                    format!("migrate.ignore has `{pattern}`, which is no TYPE:STATE"),
                )
                .why(format!("types are {types}; states are {states}")));
            }
        }
        Ok(())
    }

    /// Whether checking leaves a migration in `state` alone.
    pub(crate) fn ignores(&self, versioned: bool, state: &str) -> bool {
        self.ignore.iter().any(|pattern| {
            let lower = pattern.to_lowercase();
            let Some((kind, of)) = lower.split_once(':') else { return false };
            let kind_fits = matches!(
                (kind.trim(), versioned),
                ("*", _) | ("versioned", true) | ("repeatable", false)
            );
            kind_fits && (of.trim() == "*" || of.trim() == state)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_read() {
        let options = Options {
            ignore: vec!["Versioned:Missing".to_owned(), "*:future".to_owned()],
            ..Options::default()
        };
        options.validate().unwrap();
        assert!(options.ignores(true, "missing") && options.ignores(false, "future"));
        assert!(!options.ignores(false, "missing") && !options.ignores(true, "pending"));
        for wrong in ["missing", "*:gone", "x:*"] {
            let options = Options { ignore: vec![wrong.to_owned()], ..Options::default() };
            assert!(options.validate().is_err(), "{wrong}");
        }
    }
}
