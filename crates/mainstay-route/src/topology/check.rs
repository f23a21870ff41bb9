//! What can be wrong with a topology before anything is connected to, each with the key at fault.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Connect, Db, Engine};

use super::config::{Database, Sharding, Topology};
use super::{MAIN, open};

const SHARDS_MAX: usize = 1024;
const REPLICAS_MAX: usize = 15;
const NAME_MAX: usize = 63;

impl Topology {
    /// Looks whether all of it can be meant, and connects to nothing.
    ///
    /// Errors: CFG-003 and CFG-004 with the key at fault, and DB-016.
    pub fn check(&self) -> Result<()> {
        let Some(url) = &self.database.url else {
            return Err(
                wrong("database.url", "is not set").fix("set it in mainstay.toml, or DATABASE_URL")
            );
        };
        database("database", &self.database)?;
        self.shards.check(url)
    }
}

impl Sharding {
    fn check(&self, main: &str) -> Result<()> {
        if !(Duration::from_millis(10)..=Duration::from_hours(1)).contains(&self.watch) {
            return Err(wrong("shards.watch", "is at least 10ms and at most 1h"));
        }
        if let Some(url) = &self.catalogue {
            engine("shards.catalogue", url)?;
        }
        self.tables()?;
        if self.databases.len() > SHARDS_MAX {
            return Err(wrong("shards.databases", "has more than 1,024 shards"));
        }
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        let mut first: Option<Engine> = None;
        for (name, own) in &self.databases {
            let key = open::key(name);
            shard_name(&key, name)?;
            let Some(url) = &own.url else {
                return Err(wrong(&format!("{key}.url"), "is not set"));
            };
            let engine = database(&key, own)?;
            if *first.get_or_insert(engine) != engine {
                let what = format!("is {engine}, and the shards before it are not");
                return Err(wrong(&format!("{key}.url"), &what));
            }
            if let Some(other) = known.insert(url, key.clone()) {
                return Err(wrong(&format!("{key}.url"), &format!("is that of `{other}` as well"))
                    .why("questions to all shards would count its rows twice"));
            }
        }
        if self.catalogue.is_none() && !self.databases.is_empty() && main.contains(":memory:") {
            return Err(wrong("shards.catalogue", "is not set, and `database.url` keeps nothing"));
        }
        Ok(())
    }

    fn tables(&self) -> Result<()> {
        for (table, columns) in &self.tables {
            let key = format!("shards.tables.{table}");
            if !is_identifier(table) {
                return Err(wrong(&key, "is no table's name"));
            }
            if columns.is_empty() || !columns.iter().all(|c| is_identifier(c)) {
                return Err(wrong(&key, "must be the columns of the key"));
            }
            if self.reference.iter().any(|own| own.eq_ignore_ascii_case(table)) {
                return Err(wrong(&key, "is in `shards.reference` as well")
                    .why("a table is sharded, or each shard has all of it"));
            }
        }
        match self.reference.iter().find(|table| !is_identifier(table)) {
            Some(_) => Err(wrong("shards.reference", "must be names of tables")),
            None => Ok(()),
        }
    }
}

/// One database with its replicas. Errors: CFG-003, CFG-004, DB-016.
fn database(key: &str, own: &Database) -> Result<Engine> {
    let url = own.url.as_deref().unwrap_or_default();
    let kind = engine(&format!("{key}.url"), url)?;
    let key = format!("{key}.replicas");
    if own.replicas.len() > REPLICAS_MAX {
        return Err(wrong(&key, "has more than 15 servers"));
    }
    for replica in &own.replicas {
        let its = engine(&key, replica)?;
        if its == Engine::Sqlite || kind == Engine::Sqlite {
            return Err(wrong(&key, "is set, and SQLite has no replicas"));
        }
        if its != kind {
            return Err(wrong(&key, &format!("has one of {its}, and the primary is {kind}")));
        }
    }
    Ok(kind)
}

fn engine(key: &str, url: &str) -> Result<Engine> {
    let connect: Connect = Db::builder(url);
    connect.engine().map_err(|e| open::placed(key, e))
}

fn shard_name(key: &str, name: &str) -> Result<()> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
    if name == MAIN {
        return Err(wrong(key, "can't be a shard's name: `main` is what `[database]` is called"));
    }
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(plain) {
        return Err(wrong(key, "must be 1 to 63 lower-case letters, digits, `-` or `_`"));
    }
    Ok(())
}

/// With a schema before it, too.
fn is_identifier(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    name.len() <= 2 * NAME_MAX + 1 && name.split('.').count() <= 2 && name.split('.').all(plain)
}

fn wrong(key: &str, what: &str) -> Error {
    Error::new(Code::ConfigValue, format!("`{key}` {what}"))
}
