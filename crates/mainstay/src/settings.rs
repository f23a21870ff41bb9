//! The part of a service's configuration that Mainstay itself reads.

use std::fmt;

use mainstay_core::Result;
use mainstay_core::config::Loader;
use mainstay_db::{Connect, Db};
use mainstay_pool::Options;
use serde::{Deserialize, Serialize};

/// Mainstay's keys. A service puts them into its own configuration with `#[serde(flatten)]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `[database]`.
    pub database: Database,
    /// `[pool]`.
    pub pool: Options,
    /// `[shards]`.
    #[cfg(feature = "route")]
    pub shards: mainstay_route::topology::Sharding,
    /// `[migrate]`.
    #[cfg(feature = "migrate")]
    pub migrate: mainstay_migrate::Options,
    /// `[doctor]`.
    #[cfg(feature = "doctor")]
    pub doctor: mainstay_doctor::Settings,
}

/// `[database]`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Database {
    /// Where the database is: `sqlite:PATH`, `postgres://...`, `mysql://...`,
    /// `postgres+local:PATH`. Also read from `DATABASE_URL`. No default: a service sets its own.
    pub url: Option<String>,
    /// Its replicas' URLs, a list or one text with spaces between; [`Settings::topology`] reads them. Default none.
    #[cfg(feature = "route")]
    #[serde(deserialize_with = "mainstay_route::topology::urls")]
    pub replicas: Vec<String>,
    /// How long one statement may take before it is ended: DB-033 or DB-035. At least 1 ms; `None`,
    /// the default, is no bound but the request's or job's deadline.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Option<std::time::Duration>,
}

/// Without the URLs, which may hold passwords.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("url", &self.url.as_ref().map(|_| "..."))
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// The usual sources: `mainstay.toml` if it is there, `DATABASE_URL`, and the variables with the
    /// prefix `MAINSTAY_`. Add flags, then `load`.
    pub fn sources() -> Loader {
        Loader::new().file_if_present("mainstay.toml").variable("DATABASE_URL", "database.url")
    }

    /// Begins a handle on the configured database, or else on `default_url`.
    pub fn database(&self, default_url: &str) -> Connect {
        let url = self.database.url.as_deref().unwrap_or(default_url);
        Db::builder(url).pool(self.pool.clone()).statement_timeout(self.database.statement_timeout)
    }

    /// The database with its replicas and shards, the main one at `default_url` where none is configured: for
    /// [`Topology::connect`](mainstay_route::Topology::connect).
    #[cfg(feature = "route")]
    pub fn topology(&self, default_url: &str) -> mainstay_route::Topology {
        let Database { url, replicas, statement_timeout } = self.database.clone();
        let url = Some(url.unwrap_or_else(|| default_url.to_owned()));
        mainstay_route::Topology {
            database: mainstay_route::topology::Database { url, replicas, statement_timeout },
            pool: self.pool.clone(),
            shards: self.shards.clone(),
        }
    }

    /// Connects with these settings. Errors: as [`Connect::connect`].
    pub async fn connect(&self, default_url: &str) -> Result<Db> {
        self.database(default_url).connect().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "route")]
    #[test]
    fn a_topology_is_what_is_configured() {
        let variable = |(key, value): (&str, &str)| (format!("MAINSTAY_{key}"), value.to_owned());
        let all = [
            ("DATABASE__REPLICAS", "postgres://one/shop postgres://two/shop"),
            ("SHARDS__WATCH", "250ms"),
            ("SHARDS__DATABASES__A__URL", "postgres://a/shop"),
        ];
        let loaded = Loader::new().environment(all.map(variable)).load::<Settings>().unwrap();
        let topology = loaded.value.topology("postgres://here/shop");
        assert_eq!(topology.database.url.as_deref(), Some("postgres://here/shop"));
        assert_eq!(topology.database.replicas, ["postgres://one/shop", "postgres://two/shop"]);
        assert_eq!(topology.shards.watch, std::time::Duration::from_millis(250));
        assert_eq!(topology.shards.databases["a"].url.as_deref(), Some("postgres://a/shop"));
        let wrong = [variable(("SHARDS__DATABASES__A__URI", "postgres://me:secret@a/shop"))];
        let error = Loader::new().environment(wrong).load::<Settings>().unwrap_err();
        let told = error.report();
        assert!(told.contains("shards.databases.a") && told.contains("uri"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }

    #[test]
    fn the_url_comes_from_the_environment() {
        let loaded = Settings::sources()
            .environment([("DATABASE_URL".to_owned(), "sqlite:x.db".to_owned())])
            .load::<Settings>()
            .unwrap();
        assert_eq!(loaded.value.database.url.as_deref(), Some("sqlite:x.db"));
        assert_eq!(loaded.origins["database.url"], "the environment's DATABASE_URL");
    }

    #[test]
    fn a_duration_is_written_with_its_unit() {
        let variable =
            |value: &str| [("MAINSTAY_POOL__ACQUIRE_TIMEOUT".to_owned(), value.to_owned())];
        let load = |value| Loader::new().environment(variable(value)).load::<Settings>();
        let loaded = load("250ms").unwrap();
        assert_eq!(loaded.value.pool.acquire_timeout, std::time::Duration::from_millis(250));
        assert!(load("250").unwrap_err().report().contains("pool.acquire_timeout"));
    }
}
