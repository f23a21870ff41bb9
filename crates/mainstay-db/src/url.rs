//! Reading database URLs: what is wrong with one is told without repeating its password.

use mainstay_core::{Code, Error, Result};

use crate::engine::Engine;

/// A URL, with its password: nothing shows it.
#[derive(Clone)]
pub(crate) struct Url(pub(crate) std::sync::Arc<str>);

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = self.0.split_once(':').map_or("", |(scheme, _)| scheme);
        write!(f, "{scheme}:...")
    }
}

/// What a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Server(Engine),
    /// A private PostgreSQL in this folder.
    Local(String),
}

/// How an engine's URL looks.
pub(crate) struct Shape {
    pub(crate) example: &'static str,
    pub(crate) parameters: &'static [&'static str],
}

/// The engine that `url` names. Errors: CFG-004.
pub(crate) fn target(url: &str) -> Result<Target> {
    let url = url.trim();
    let Some((scheme, rest)) = url.split_once(':') else {
        let error =
            Error::new(Code::ConfigUrl, "a database URL begins with its scheme, such as sqlite:");
        // A bare word is most likely a path; anything longer may hold a password.
        return Err(if url.contains('@') { error } else { error.why(format!("`{url}` has none")) });
    };
    let target = match scheme.to_ascii_lowercase().as_str() {
        "sqlite" if !rest.trim_start_matches('/').is_empty() => Target::Server(Engine::Sqlite),
        "postgres" | "postgresql" => Target::Server(Engine::Postgres),
        "mysql" | "mariadb" => Target::Server(Engine::MySql),
        "postgres+local" if !rest.is_empty() => {
            Target::Local(rest.trim_start_matches("//").to_owned())
        }
        "sqlite" | "postgres+local" => {
            return Err(Error::new(Code::ConfigUrl, format!("`{scheme}:` lacks a path")));
        }
        other => return Err(unknown_scheme(other)),
    };
    match &target {
        Target::Server(engine) if !compiled_in(*engine) => {
            Err(Error::new(Code::Unsupported, format!("{engine} is not compiled in"))
                .fix(format!("enable the cargo feature `{}` of mainstay", feature(*engine))))
        }
        Target::Local(_) if !cfg!(feature = "local") => {
            Err(Error::new(Code::Unsupported, "private servers are not compiled in")
                .fix("enable the cargo feature `local` of mainstay"))
        }
        _ => Ok(target),
    }
}

fn compiled_in(engine: Engine) -> bool {
    match engine {
        Engine::Sqlite => cfg!(feature = "sqlite"),
        Engine::Postgres => cfg!(feature = "postgres"),
        Engine::MySql => cfg!(feature = "mysql"),
    }
}

fn feature(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgres",
        Engine::MySql => "mysql",
    }
}

fn unknown_scheme(scheme: &str) -> Error {
    const SCHEMES: &[&str] = &["sqlite", "postgres", "mysql", "mariadb", "postgres+local"];
    let error =
        Error::new(Code::ConfigUrl, format!("unknown scheme `{scheme}:` in the database URL"));
    match nearest(scheme, SCHEMES) {
        Some(near) => error.fix(format!("did you mean `{near}:`?")),
        None => error.why(format!("the schemes are {}", SCHEMES.join(", "))),
    }
}

fn nearest<'a>(word: &str, all: &[&'a str]) -> Option<&'a str> {
    all.iter()
        .map(|a| (strsim::damerau_levenshtein(a, word), *a))
        .min()
        .filter(|(distance, a)| *distance <= a.len() / 3 + 1)
        .map(|(_, a)| a)
}

impl Shape {
    /// Checks a server's URL for what the driver's own parser would pass over in silence.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn check(&self, url: &str) -> Result<()> {
        let rest = url.split_once(':').map_or("", |(_, rest)| rest);
        if !rest.starts_with("//") {
            return Err(self.wrong("`//` is missing after the scheme"));
        }
        self.check_parameters(url)
    }

    pub(crate) fn check_parameters(&self, url: &str) -> Result<()> {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            let name = parameter.split('=').next().unwrap_or_default();
            let known = self.parameters.contains(&name) || name.starts_with("options[");
            if name.contains(['@', '/', ':']) {
                return Err(self
                    .wrong("what follows `?` is not a list of parameters")
                    .fix("in a password, write `?` as %3F, `@` as %40, `/` as %2F, `#` as %23"));
            }
            if !known {
                let error = self.wrong(&format!("unknown parameter `{name}`"));
                return Err(match nearest(name, self.parameters) {
                    Some(near) => error.fix(format!("did you mean `{near}`?")),
                    None => error.why(format!("the parameters are {}", self.parameters.join(", "))),
                });
            }
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> Error {
        Error::new(Code::ConfigUrl, format!("the database URL is malformed: {what}"))
            .fix(format!("write {}", self.example))
    }
}

/// The driver's parser refused the URL. Its message names the part, not the text.
pub(crate) fn refused(error: &sqlx::Error, example: &str) -> Error {
    let why = match error {
        sqlx::Error::Configuration(inner) => inner.to_string(),
        other => other.to_string(),
    };
    Error::new(Code::ConfigUrl, "the database URL is malformed")
        .why(why)
        .fix(format!("write {example}"))
}

/// A connection could not be made to `place`.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn connect_error(error: sqlx::Error, place: &str) -> Error {
    match error {
        // A certificate that is not trusted comes as broken data.
        sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Error::new(Code::Tls, format!("TLS with {place} failed: {error}"))
        }
        sqlx::Error::Io(error) => {
            Error::new(Code::Unreachable, format!("{place} can't be reached: {error}"))
        }
        sqlx::Error::Tls(error) => {
            Error::new(Code::Tls, format!("TLS with {place} failed")).cause(error)
        }
        other => {
            let error = crate::error::from_driver(other, None);
            let what = format!("{place}: {}", error.what());
            match error.code() {
                // The server's words are enough, under the code they already have.
                code @ (Code::Auth
                | Code::NoDatabase
                | Code::TooManyConnections
                | Code::Unreachable) => Error::new(code, what),
                code => Error::new(code, what).cause(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_choose_the_engine() {
        assert_eq!(target("sqlite::memory:").unwrap(), Target::Server(Engine::Sqlite));
        assert_eq!(target("postgresql://h/d").unwrap(), Target::Server(Engine::Postgres));
        assert_eq!(target("mariadb://h/d").unwrap(), Target::Server(Engine::MySql));
        assert_eq!(target("postgres+local:./data/pg").unwrap(), Target::Local("./data/pg".into()));
    }

    #[test]
    fn mistakes_are_told_without_the_password() {
        for (url, part) in [
            ("shop.db", "begins with its scheme"),
            ("postgre://u:s3cret@h/d", "did you mean `postgres:`?"),
            ("oracle://u:s3cret@h/d", "the schemes are"),
            ("sqlite:", "lacks a path"),
            ("u:s3cret@h", "unknown scheme `u:`"),
        ] {
            let error = target(url).unwrap_err();
            assert_eq!(error.code(), Code::ConfigUrl);
            assert!(error.report().contains(part), "{error:?}");
            assert!(!error.report().contains("s3cret"), "{error:?}");
        }
    }
}
