//! What is written of a topology. It connects to nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mainstay_pool::Options;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// `[database]`, `[pool]` and `[shards]`. A service's configuration has it with `#[serde(flatten)]`, and
/// [`Loader`](mainstay_core::config::Loader) reads it, from variables as well: `MAINSTAY_SHARDS__DATABASES__A__URL`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topology {
    /// The main database. What is not sharded is there, and the catalogue unless another is named.
    pub database: Database,
    /// The bounds of each server's pool.
    pub pool: Options,
    /// The shards.
    pub shards: Sharding,
}

/// A database: `[database]`, or `[shards.databases.NAME]`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Where it is: `sqlite:PATH`, `postgres://...`, `mysql://...`, `postgres+local:PATH`. No default.
    pub url: Option<String>,
    /// Its replicas, at most 15: URLs, or one text of them with spaces between. Default none. Which of the servers is the
    /// primary is found out, so that after a failover it may be one of these.
    #[serde(deserialize_with = "urls")]
    pub replicas: Vec<String>,
    /// How long one statement may take; 1 ms to 24 days. Default: of a shard the main database's, and of that none.
    #[serde(with = "humantime_serde")]
    pub statement_timeout: Option<Duration>,
}

/// `[shards]`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sharding {
    /// The URL of the database that has the map of the shards, in its table `mainstay_shard_map`. Default: the main
    /// database.
    pub catalogue: Option<String>,
    /// How often a newer map is looked for there; 10 ms to 1 h. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub watch: Duration,
    /// Sharded tables, and the columns of their keys. For tools that look at rows or move them.
    pub tables: BTreeMap<String, Vec<String>>,
    /// Tables that each shard has all rows of.
    pub reference: Vec<String>,
    /// The shards by their names: 1 to 63 lower-case letters, digits, `-` and `_`. At most 1,024. Default none: everything
    /// is in the main database.
    pub databases: BTreeMap<String, Database>,
}

impl Default for Sharding {
    fn default() -> Self {
        Self {
            catalogue: None,
            watch: Duration::from_secs(1),
            tables: BTreeMap::new(),
            reference: Vec::new(),
            databases: BTreeMap::new(),
        }
    }
}

impl Database {
    /// A database without replicas.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: Some(url.into()), ..Self::default() }
    }
}

/// Without the URLs, which may hold passwords.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("url", &self.url.as_ref().map(|_| "..."))
            .field("replicas", &self.replicas.len())
            .field("statement_timeout", &self.statement_timeout)
            .finish()
    }
}

/// Without the catalogue's URL.
impl fmt::Debug for Sharding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharding")
            .field("catalogue", &self.catalogue.as_ref().map(|_| "..."))
            .field("watch", &self.watch)
            .field("tables", &self.tables)
            .field("reference", &self.reference)
            .field("databases", &self.databases)
            .finish()
    }
}

/// Reads a list of URLs, or, as a variable of the environment gives it, one text of them with spaces between: for
/// `#[serde(deserialize_with)]`. Errors: the deserializer's.
pub fn urls<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Urls;
    impl<'de> Visitor<'de> for Urls {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of URLs, or a text of URLs with spaces between")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(text.split_whitespace().map(str::to_owned).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
            let mut urls = Vec::new();
            while let Some(url) = all.next_element()? {
                urls.push(url);
            }
            Ok(urls)
        }
    }
    from.deserialize_any(Urls)
}
