//! Configuration: defaults, then a file, then the environment, then flags, into one typed value.
//!
//! There are no templates and no silent leftovers: a key that nothing reads is an error that
//! suggests the near one, and every value knows where it came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Code, Error, Result};

/// The prefix of the variables that this module reads; `__` separates levels.
const PREFIX: &str = "MAINSTAY_";

/// Variables of the tools around a service: the test rig, the writer of generated docs.
const RESERVED: &[&str] = &["MAINSTAY_TEST_", "MAINSTAY_UPDATE_"];

/// Gathers the sources and reads them into a `T`, whose `Default` is the first source and whose
/// fields are the keys that may be set.
///
/// ```
/// use mainstay_core::config::Loader;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Http { port: u16 }
/// #[derive(Default, Serialize, Deserialize)]
/// struct Config { http: Http }
///
/// let loaded = Loader::new()
///     .variable("PORT", "http.port")
///     .environment([("PORT".to_owned(), "9000".to_owned())])
///     .load::<Config>()?;
/// assert_eq!(loaded.value.http.port, 9000);
/// assert_eq!(loaded.origins["http.port"], "the environment's PORT");
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Loader {
    file: Option<(PathBuf, bool)>,
    variables: Vec<(&'static str, &'static str)>,
    environment: Option<Vec<(String, String)>>,
    flags: Vec<(&'static str, String, String)>,
    partial: bool,
}

/// A configuration and where each of its values came from.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub value: T,
    /// Key to origin, for every key: what `config --origin` prints.
    pub origins: BTreeMap<String, String>,
}

impl Loader {
    /// With defaults alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a TOML file; a missing one is an error.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some((path.into(), true));
        self
    }

    /// Reads a TOML file if it is there.
    #[must_use]
    pub fn file_if_present(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some((path.into(), false));
        self
    }

    /// Reads the environment variable `name`, which has no prefix, as `key`: `DATABASE_URL` as
    /// `database.url`.
    #[must_use]
    pub fn variable(mut self, name: &'static str, key: &'static str) -> Self {
        self.variables.push((name, key));
        self
    }

    /// Leaves keys that `T` does not have to whoever has them: for a tool that reads a part of a
    /// service's configuration.
    #[must_use]
    pub fn partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// Takes these variables for the environment, in place of the process's.
    #[must_use]
    pub fn environment(mut self, all: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = Some(all.into_iter().collect());
        self
    }

    /// Sets `key` from the command line's `flag`, if it was given.
    #[must_use]
    pub fn flag(mut self, flag: &'static str, key: &str, value: Option<impl ToString>) -> Self {
        if let Some(value) = value {
            self.flags.push((flag, key.to_owned(), value.to_string()));
        }
        self
    }

    /// Reads everything.
    ///
    /// Errors: CFG-001 (file), CFG-002 (unknown key), CFG-003 (value).
    pub fn load<T: Default + Serialize + DeserializeOwned>(self) -> Result<Loaded<T>> {
        let defaults = Figment::from(Serialized::defaults(T::default()));
        let known = keys(&defaults)?;
        let mut all = defaults.clone();
        if let Some((path, required)) = &self.file
            && (*required || path.exists())
        {
            all = all.merge(read_file(path)?);
        }
        let mut settings: Vec<_> = self
            .variables_set()
            .into_iter()
            .map(|(name, key, text)| {
                Setting::new(format!("the environment's {name}"), &key, &text, &defaults)
            })
            .collect();
        settings.extend(self.flags.iter().map(|(flag, key, text)| {
            Setting::new(format!("the flag --{flag}"), key, text, &defaults)
        }));
        let file = all;
        let merged =
            |settings: &[Setting]| settings.iter().fold(file.clone(), |all, s| all.merge(s));
        let mut all = merged(&settings);
        let given = keys(&all)?;
        for key in given.iter().filter(|_| !self.partial) {
            check_known(key, &known, &all)?;
        }
        // An optional key has no value by default that would tell its kind: it is a text, unless a
        // number or a boolean is what can be read.
        let value = loop {
            match all.extract() {
                Ok(value) => break value,
                Err(error) => {
                    let key = error.path.join(".");
                    let scalar = settings.iter_mut().rev().find(|s| s.key == key);
                    if !scalar.is_some_and(Setting::reread) {
                        return Err(value_error(&error, &all));
                    }
                    all = merged(&settings);
                }
            }
        };
        let origins = known.iter().map(|key| (key.clone(), origin(&all, key))).collect();
        Ok(Loaded { value, origins })
    }

    /// The variables that set a key: those named, then those with the prefix.
    #[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
    fn variables_set(&self) -> Vec<(String, String, String)> {
        let environment = match &self.environment {
            Some(all) => all.clone(),
            None => std::env::vars().collect(),
        };
        let named = |name: &str| self.variables.iter().find(|(n, _)| *n == name).map(|(_, k)| *k);
        let mut out: Vec<_> = environment
            .into_iter()
            .filter_map(|(name, value)| {
                let key = match named(&name) {
                    Some(key) => key.to_owned(),
                    None => name.strip_prefix(PREFIX)?.to_lowercase().replace("__", "."),
                };
                Some((name, key, value))
            })
            .filter(|(name, ..)| !RESERVED.iter().any(|r| name.starts_with(r)))
            .collect();
        // The prefixed variable is the more explicit one, so it comes last and wins.
        out.sort_by_key(|(name, ..)| (name.starts_with(PREFIX), name.clone()));
        out
    }
}

/// The process's environment variable `name`, for what is not configuration: tools and rigs.
#[expect(clippy::disallowed_methods, reason = "the one reader of the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

fn read_file(path: &Path) -> Result<Figment> {
    let file = Figment::from(Toml::file_exact(path));
    // Asking for any value forces the parse, so that a syntax error is told as the file's.
    file.extract::<Value>().map_err(|e| {
        Error::new(Code::ConfigFile, format!("{} could not be read", path.display()))
            .why(e.to_string())
    })?;
    Ok(file)
}

/// One key set to one text.
struct Setting {
    name: String,
    key: String,
    value: Value,
}

impl Setting {
    /// `text` as the kind of value that `key` has by default: a password of digits stays a text.
    fn new(name: String, key: &str, text: &str, defaults: &Figment) -> Self {
        let as_is = || Value::from(text);
        let value = match defaults.find_value(key) {
            Ok(Value::Num(..)) => match (text.parse::<i64>(), text.parse::<f64>()) {
                (Ok(n), _) => Value::from(n),
                (_, Ok(x)) => Value::from(x),
                _ => as_is(),
            },
            Ok(Value::Bool(..)) => text.parse::<bool>().map_or_else(|_| as_is(), Value::from),
            _ => as_is(),
        };
        Self { name, key: key.to_owned(), value }
    }

    /// Takes a text for the number or boolean that it reads as; false where it is none.
    fn reread(&mut self) -> bool {
        let Some(text) = self.value.as_str() else { return false };
        self.value = match (text.parse::<i64>(), text.parse::<f64>(), text.parse::<bool>()) {
            (Ok(n), ..) => Value::from(n),
            (_, Ok(x), _) => Value::from(x),
            (.., Ok(b)) => Value::from(b),
            _ => return false,
        };
        true
    }
}

impl Provider for &Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        let dict = nested.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

fn walk(prefix: &str, value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Dict(Tag { .. }, dict) if !dict.is_empty() || prefix.is_empty() => {
            for (name, value) in dict {
                let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                walk(&key, value, out);
            }
        }
        _ => out.push(prefix.to_owned()),
    }
}

/// The dotted keys of all leaves.
fn keys(figment: &Figment) -> Result<Vec<String>> {
    let value: Value = figment.extract().map_err(|e| value_error(&e, figment))?;
    let mut out = Vec::new();
    walk("", &value, &mut out);
    Ok(out)
}

fn check_known(key: &str, known: &[String], all: &Figment) -> Result<()> {
    if known.iter().any(|k| k == key || key.starts_with(&format!("{k}.")) && is_map(all, k)) {
        return Ok(());
    }
    let near = known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(k, key), k))
        .min()
        .filter(|(distance, k)| *distance <= k.len().max(key.len()) / 3);
    let error =
        Error::new(Code::ConfigUnknownKey, format!("unknown key `{key}` in {}", origin(all, key)));
    Err(match near {
        Some((_, near)) if !key.contains('.') => error.fix(format!(
            "did you mean {PREFIX}{}? Levels are separated by two underscores",
            near.to_uppercase().replace('.', "__")
        )),
        Some((_, near)) => error.fix(format!("did you mean `{near}`?")),
        None => error.why(format!("the keys are {}", known.join(", "))),
    })
}

/// A key whose default is an empty table takes any keys below it.
fn is_map(all: &Figment, key: &str) -> bool {
    matches!(all.find_value(key), Ok(Value::Dict(..)))
}

/// A field that serde does not know, which it names without the tables around it.
fn unknown_field(field: &str, known: &[&str], all: &Figment) -> Error {
    let value: Value = all.extract().unwrap_or_else(|_| Value::from(0));
    let mut given = Vec::new();
    walk("", &value, &mut given);
    let ends = |key: &&String| key.rsplit('.').next() == Some(field);
    let mut there = given.iter().filter(ends);
    let what = match (there.next(), there.next()) {
        (Some(key), None) => format!("unknown key `{key}` in {}", origin(all, key)),
        // In several tables, of which one is wrong.
        _ => format!("unknown key `{field}` in a table"),
    };
    Error::new(Code::ConfigUnknownKey, what).why(format!("the keys there are {}", known.join(", ")))
}

fn value_error(error: &figment::Error, all: &Figment) -> Error {
    if let Kind::UnknownField(field, known) = &error.kind {
        return unknown_field(field, known, all);
    }
    let key = error.path.join(".");
    let place = error.metadata.as_ref().map_or_else(|| origin(all, &key), describe);
    // Not the value itself: it may be a secret under the wrong key.
    let what = match &error.kind {
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => {
            format!("expected {expected}")
        }
        Kind::Message(message) => message.clone(),
        kind => kind.to_string(),
    };
    Error::new(Code::ConfigValue, format!("`{key}` in {place}: {what}"))
}

fn origin(all: &Figment, key: &str) -> String {
    all.find_metadata(key).map_or_else(|| "the defaults".to_owned(), describe)
}

fn describe(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(Source::File(path)) => path.display().to_string(),
        Some(Source::Code(_)) => "the defaults".to_owned(),
        _ => metadata.name.to_string(),
    }
}

#[cfg(test)]
mod tests;
