//! Databases that hold one shard each.

use crate::cluster::Cluster;
use crate::fresh::{Engine, Fresh};

/// Empty databases, one for each shard: on the run's server, or each on a server of its own.
#[derive(Debug)]
pub struct Shards {
    urls: Vec<String>,
    /// Where they have servers of their own.
    servers: Vec<Cluster>,
    _databases: Vec<Fresh>,
}

impl Shards {
    /// So many databases on the run's server of `engine`. Panics, saying why, where it is missing.
    pub async fn fresh(engine: Engine, count: usize) -> Self {
        let mut databases = Vec::with_capacity(count);
        for _ in 0..count {
            databases.push(Fresh::new(engine).await);
        }
        let urls = databases.iter().map(|d| d.url().to_owned()).collect();
        Self { urls, servers: Vec::new(), _databases: databases }
    }

    /// So many servers of their own, each with `replicas` and one database: for tests in which one of them
    /// fails. Panics as [`Cluster::new`].
    pub async fn separate(engine: Engine, count: usize, replicas: usize) -> Self {
        let (mut urls, mut servers) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for _ in 0..count {
            let cluster = Cluster::new(engine, replicas).await;
            urls.push(cluster.primary().url(&cluster.database().await));
            servers.push(cluster);
        }
        Self { urls, servers, _databases: Vec::new() }
    }

    /// The shards' URLs; of their primaries where they have replicas.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The servers of a shard. Panics where the shards are all on the run's.
    pub fn server(&self, shard: usize) -> &Cluster {
        &self.servers[shard]
    }
}
