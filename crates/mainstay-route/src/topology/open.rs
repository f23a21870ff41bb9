//! From what is written to what runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use mainstay_core::error::Kind;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Connect, Db};

use super::config::{Database, Topology};
use super::databases::{Databases, Inner, One, Servers};
use super::late::Late;
use super::{MAIN, status};
use crate::replica::{Cluster, Freshness};
use crate::shard::{Map, MapStore, Shards};

/// Connected to at the same time.
const AT_A_TIME: usize = 16;

impl Topology {
    /// Connects to all of it, with the settings of `[pool]`.
    ///
    /// The map of the shards is the newest in the catalogue; where there is none, all shards get equal parts, and that is
    /// saved. From then on it is looked for anew each `shards.watch`.
    ///
    /// The main database and the catalogue must answer. A shard that does not is begun without: work for it fails until it
    /// is there, and the others go on. One that refuses (a password, a name) is an error.
    ///
    /// Must be called inside a runtime. Cancel safe: a map may have been saved.
    ///
    /// Errors: those of [`check`](Self::check), of connecting, and ROUTE-001 to ROUTE-007, with the key at fault;
    /// ROUTE-021 where the saved map names a shard that is not configured.
    pub async fn connect(&self) -> Result<Databases> {
        self.connect_with(|connect| connect).await
    }

    /// As [`connect`](Self::connect), with a change to each server's settings: another observer, say.
    pub async fn connect_with(
        &self,
        change: impl Fn(Connect) -> Connect + Sync,
    ) -> Result<Databases> {
        self.check()?;
        let (main, away) = self.one(MAIN, &self.database, &change).await?;
        if let Some(error) = away {
            return Err(placed("database", error));
        }
        let (shards, store, others) = if self.shards.databases.is_empty() {
            let shards = Shards::builder(Map::even([MAIN])?).shard(MAIN, main.db.clone());
            (shards, None, BTreeMap::new())
        } else {
            let store = self.catalogue(&main, &change).await?;
            let one = |(name, own): (&String, &Database)| {
                let (name, own, change) = (name.clone(), own.clone(), &change);
                async move {
                    let (one, _) = self.one(&name, &own, change).await?;
                    Ok::<_, Error>((name, one))
                }
            };
            let all: Vec<_> = self.shards.databases.iter().map(one).collect();
            let all = futures_util::stream::iter(all).buffered(AT_A_TIME);
            let others: BTreeMap<String, One> = all.try_collect().await?;
            let builder = Shards::builder(self.map(&store).await?);
            let add = |builder: crate::shard::Builder, (name, one): (&String, &One)| {
                builder.shard(name, one.db.clone())
            };
            (others.iter().fold(builder, add), Some(store), others)
        };
        let reference: Vec<&str> = self.shards.reference.iter().map(String::as_str).collect();
        let shards = shards.reference(&reference).build().map_err(|e| match e.code() {
            Code::ShardMap => placed("shards.databases", e),
            _ => e,
        })?;
        if let Some(store) = &store {
            shards.watch(store.clone(), self.shards.watch);
        }
        let tables = self.shards.tables.clone();
        Ok(Databases(Arc::new(Inner { main, shards, others, store, tables })))
    }

    /// One server, or a cluster, and why it is not there yet: a pool tries again by itself, and a cluster is tried again.
    async fn one(
        &self,
        name: &str,
        own: &Database,
        change: &impl Fn(Connect) -> Connect,
    ) -> Result<(One, Option<Error>)> {
        let key = if name == MAIN { "database".to_owned() } else { key(name) };
        let limit = own.statement_timeout.or(self.database.statement_timeout);
        let server = |url: &str| {
            let connect = Db::builder(url).pool(self.pool.clone()).statement_timeout(limit);
            change(connect.name(name))
        };
        let url = own.url.as_deref().unwrap_or_default();
        if own.replicas.is_empty() {
            let (db, why) = match server(url).connect().await {
                Ok(db) => (db, None),
                Err(error) if is_away(&error) => {
                    let db = server(url).lazy().connect().await;
                    (db.map_err(|e| placed(&key, e))?, Some(error))
                }
                Err(error) => return Err(placed(&key, error)),
            };
            return Ok((One { primary: db.clone(), db, servers: Servers::One }, why));
        }
        let mut builder = Cluster::builder(name);
        for url in std::iter::once(url).chain(own.replicas.iter().map(String::as_str)) {
            let connect = server(url);
            let place = connect.place().map_err(|e| placed(&key, e))?;
            builder = builder.server(status::short(&place), connect);
        }
        match builder.clone().connect().await {
            Ok(cluster) => {
                let (db, primary) = (cluster.db(), cluster.db_with(Freshness::Fresh));
                Ok((One { db, primary, servers: Servers::Cluster(cluster) }, None))
            }
            Err(error) if is_away(&error) => {
                let base = server(url).lazy().connect().await.map_err(|e| placed(&key, e))?;
                let late = Late::begin(builder, &error);
                let db = late.handle(&base, Freshness::Own);
                let primary = late.handle(&base, Freshness::Fresh);
                Ok((One { db, primary, servers: Servers::Late(late) }, Some(error)))
            }
            Err(error) => Err(placed(&key, error)),
        }
    }

    async fn catalogue(
        &self,
        main: &One,
        change: &impl Fn(Connect) -> Connect,
    ) -> Result<MapStore> {
        let db = match &self.shards.catalogue {
            None => main.primary.clone(),
            Some(url) => {
                let connect = Db::builder(url).pool(self.pool.clone()).name("catalogue");
                let db = change(connect).connect().await;
                db.map_err(|e| placed("shards.catalogue", e))?
            }
        };
        Ok(MapStore::new(db))
    }

    /// The newest; or the first, which one of all that begin at the same time saves.
    async fn map(&self, store: &MapStore) -> Result<Map> {
        let failed = |e| placed("shards.catalogue", e);
        store.create().await.map_err(failed)?;
        if let Some(map) = store.load().await.map_err(failed)? {
            return Ok(map);
        }
        match store.save(&Map::even(self.shards.databases.keys())?, 0).await {
            Err(error) if error.code() == Code::ShardStale => {
                let map = store.load().await.map_err(failed)?;
                map.ok_or_else(|| failed(error))
            }
            other => other.map_err(failed),
        }
    }
}

/// Whether it is not there, and may be later; not that it refused.
pub(super) fn is_away(error: &Error) -> bool {
    error.code().kind() == Kind::Operation
}

/// With the key of the configuration that it is about.
pub(super) fn placed(key: &str, error: Error) -> Error {
    Error::new(error.code(), format!("`{key}`: {}", error.what())).cause(error)
}

pub(super) fn key(shard: &str) -> String {
    format!("shards.databases.{shard}")
}
