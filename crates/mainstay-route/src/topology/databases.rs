//! What runs: the main database, the shards, and the catalogue of their map.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use super::MAIN;
use super::late::Late;
use crate::replica::Cluster;
use crate::shard::{MapStore, Shards};

/// All databases of a [`Topology`](super::Topology). Cheap to clone; with the last clone, and the last of the handles that it
/// gave, what works in the background ends.
///
/// ```
/// use mainstay_route::Topology;
/// use mainstay_route::topology::Database;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let topology = Topology { database: Database::at("sqlite::memory:"), ..Topology::default() };
/// let databases = topology.connect().await?;
/// let (shards, user) = (databases.shards(), 7_i64);
/// databases.main().script("CREATE TABLE orders (id BLOB, user_id BIGINT)").await?;
/// // One database, for now. With `[shards.databases]` it is the user's.
/// let insert = "INSERT INTO orders VALUES ($1, $2)";
/// shards.of(&user)?.query(insert).bind(shards.id(&user)?).bind(user).execute().await?;
/// let all = shards.scatter().query("SELECT COUNT(*) FROM orders").groups::<(i64,)>().await?;
/// assert_eq!(all.rows, [(1,)]);
/// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Databases(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) main: One,
    pub(super) shards: Shards,
    /// The shards by name, those too that the map does not name yet; none where the main database is the only one.
    pub(super) others: BTreeMap<String, One>,
    pub(super) store: Option<MapStore>,
    pub(super) tables: BTreeMap<String, Vec<String>>,
}

/// One database: a server, or a primary and its replicas.
pub(super) struct One {
    pub(super) db: Db,
    /// The same, with all work on the primary.
    pub(super) primary: Db,
    pub(super) servers: Servers,
}

pub(super) enum Servers {
    One,
    Cluster(Cluster),
    Late(Arc<Late>),
}

impl One {
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        match &self.servers {
            Servers::One => None,
            Servers::Cluster(cluster) => Some(cluster),
            Servers::Late(late) => late.cluster(),
        }
    }
}

impl Databases {
    /// The main database: a read goes to a replica that has what the current request or job wrote, where there are
    /// replicas.
    pub fn main(&self) -> Db {
        self.0.main.db.clone()
    }

    /// The shards. Where none are configured it is one, `main`: the main database.
    pub fn shards(&self) -> &Shards {
        &self.0.shards
    }

    /// Whether there are other shards than the main database.
    pub fn is_sharded(&self) -> bool {
        !self.0.others.is_empty()
    }

    /// A handle whose work all goes to the primary of a database, whichever server that is: `main`, or a shard. For
    /// migrations and jobs.
    ///
    /// Errors: ROUTE-021 (none is called that).
    pub fn primary(&self, name: &str) -> Result<Db> {
        Ok(self.one(name)?.primary.clone())
    }

    /// The primary and the replicas of a database, for reads that are to be fresher or less fresh; `None` where it has no
    /// replicas, or was not there yet.
    ///
    /// Errors: ROUTE-021 (none is called that).
    pub fn cluster(&self, name: &str) -> Result<Option<Cluster>> {
        Ok(self.one(name)?.cluster().cloned())
    }

    /// Where the map is kept; `None` where no shards are configured.
    pub fn store(&self) -> Option<&MapStore> {
        self.0.store.as_ref()
    }

    /// The sharded tables, and the columns of their keys.
    pub fn tables(&self) -> &BTreeMap<String, Vec<String>> {
        &self.0.tables
    }

    /// The names of all databases, `main` first; those too that the map does not name.
    pub fn names(&self) -> Vec<&str> {
        std::iter::once(MAIN).chain(self.0.others.keys().map(String::as_str)).collect()
    }

    /// Closes all pools, with up to `limit` for what is out. Closing twice is fine.
    ///
    /// Cancel safe: dropped, what was begun with stays closed. Errors: the first of POOL-004.
    pub async fn close(&self, limit: Duration) -> Result<()> {
        let mut outcome = Ok(());
        for (_, one) in self.all() {
            let closed = match one.cluster() {
                Some(cluster) => cluster.close(limit).await,
                None => one.db.close(limit).await,
            };
            outcome = outcome.and(closed);
        }
        outcome
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &One)> {
        let others = self.0.others.iter().map(|(name, one)| (name.as_str(), one));
        std::iter::once((MAIN, &self.0.main)).chain(others)
    }

    fn one(&self, name: &str) -> Result<&One> {
        let found = self.all().find(|(own, _)| *own == name);
        let none = || Error::new(Code::ShardMap, format!("no database is called {name:?}"));
        found.map(|(_, one)| one).ok_or_else(none)
    }
}

impl fmt::Debug for Databases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Databases").field("names", &self.names()).finish_non_exhaustive()
    }
}
