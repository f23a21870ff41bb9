//! Where processes share the map: a table in a database that all of them reach, the catalogue.

use std::sync::{PoisonError, Weak};
use std::time::{Duration, SystemTime};

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Violation, ViolationKind};

use super::handle::{Inner, Shards};
use super::map::Map;
use super::moves::allows;
use crate::create::create;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS mainstay_shard_map \
    (epoch BIGINT NOT NULL PRIMARY KEY, map TEXT NOT NULL, made_at BIGINT NOT NULL)";
/// MySQL's TEXT ends at 64 KiB, which a large directory passes.
const CREATE_MYSQL: &str = "CREATE TABLE IF NOT EXISTS mainstay_shard_map \
    (epoch BIGINT NOT NULL PRIMARY KEY, map LONGTEXT NOT NULL, made_at BIGINT NOT NULL) ENGINE = InnoDB";

/// The maps in a catalogue, by their epochs; old ones stay, to be looked up.
///
/// ```
/// # use mainstay_db::Db;
/// # use mainstay_route::shard::{Map, MapStore};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let catalogue = Db::connect("sqlite::memory:").await?;
/// let store = MapStore::new(catalogue);
/// store.create().await?;
/// let map = store.save(&Map::even(["a", "b"])?, 0).await?;
/// let next = store.save(&map.with("c")?, map.epoch()).await?;
/// assert_eq!(store.load().await?, Some(next));
/// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct MapStore {
    db: Db,
    clock: Clock,
}

impl MapStore {
    /// In `db`, in its table `mainstay_shard_map`.
    pub fn new(db: Db) -> Self {
        Self { db, clock: Clock::system() }
    }

    /// With another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the table where it is missing. Errors: those of the database.
    pub async fn create(&self) -> Result<()> {
        let mysql = self.db.engine() == mainstay_db::Engine::MySql;
        create(&self.db, if mysql { CREATE_MYSQL } else { CREATE }.to_owned()).await
    }

    /// The newest map, if there is one. Errors: those of the database; ROUTE-021 where it is not whole.
    pub async fn load(&self) -> Result<Option<Map>> {
        const NEWEST: &str = "SELECT map FROM mainstay_shard_map ORDER BY epoch DESC LIMIT 1";
        let found: Option<(String,)> = self.db.query(NEWEST).optional().await?;
        found.map(|(map,)| Map::from_json(&map)).transpose()
    }

    /// Saves a map as the one after `expected`, 0 where there is none yet, and gives it back with its epoch,
    /// which is one more than `expected`. Of several that expect the same, one saves.
    ///
    /// Cancel safe: it is saved or not.
    ///
    /// Errors: ROUTE-026 where another was saved meanwhile; ROUTE-052 where a [move](super::moves) is not finished, and
    /// the map has its logical shard elsewhere, or other keys in it; those of the database.
    pub async fn save(&self, map: &Map, expected: u64) -> Result<Map> {
        allows(&self.db, map).await?;
        self.db.transaction(|tx: Db| async move { self.save_in(&tx, map, expected).await }).await
    }

    /// As [`save`](Self::save), in the caller's transaction on the same database.
    pub(crate) async fn save_in(&self, tx: &Db, map: &Map, expected: u64) -> Result<Map> {
        const NEWEST: &str = "SELECT MAX(epoch) FROM mainstay_shard_map";
        const INSERT: &str =
            "INSERT INTO mainstay_shard_map (epoch, map, made_at) VALUES ($1, $2, $3)";
        let map = map.clone().with_epoch(expected + 1);
        let now = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let newest: Option<i64> = tx.query(NEWEST).scalar().await?;
        if newest.unwrap_or_default() as u64 != expected {
            return Err(stale(expected));
        }
        let insert = tx.query(INSERT).bind(map.epoch() as i64).bind(map.to_json());
        match insert.bind(now.as_millis() as i64).execute().await {
            Ok(_) => Ok(map),
            Err(error) => Err(match error.detail::<Violation>() {
                Some(v) if v.kind == ViolationKind::Unique => stale(expected),
                _ => error,
            }),
        }
    }

    /// The catalogue's.
    pub(crate) fn db(&self) -> &Db {
        &self.db
    }
}

fn stale(expected: u64) -> Error {
    Error::new(Code::ShardStale, format!("the newest map is not that of epoch {expected}"))
        .fix("load the newest, make the change to it, and save that")
}

impl Shards {
    /// Looks for a newer map in `store` each `every`, in the background, until the last handle is gone. What
    /// fails, such as a map that names a shard without a database, is logged, and the old map stays.
    ///
    /// Must be called inside a runtime.
    pub fn watch(&self, store: MapStore, every: Duration) {
        let clock = self.0.clock.clone();
        *self.0.watched.lock().unwrap_or_else(PoisonError::into_inner) = Some(store.clone());
        tokio::spawn(watch(self.downgrade(), store, every.max(Duration::from_millis(1)), clock));
    }

    /// Looks for a newer map in `store` now, and gives the epoch that holds then.
    ///
    /// Cancel safe. Errors: as [`MapStore::load`] and [`replace_map`](Self::replace_map).
    pub async fn refresh(&self, store: &MapStore) -> Result<u64> {
        match store.load().await? {
            Some(map) if map.epoch() > self.epoch() => {
                let epoch = map.epoch();
                match self.replace_map(map) {
                    // Another has brought a newer one meanwhile.
                    Err(error) if error.code() == Code::ShardStale => Ok(self.epoch()),
                    other => other.map(|()| epoch),
                }
            }
            _ => Ok(self.epoch()),
        }
    }
}

async fn watch(shards: Weak<Inner>, store: MapStore, every: Duration, clock: Clock) {
    loop {
        clock.sleep(every).await;
        let Some(inner) = shards.upgrade() else { return };
        let shards = Shards(inner);
        if let Err(error) = shards.refresh(&store).await {
            tracing::warn!(%error, epoch = shards.epoch(), "the map of shards could not be refreshed");
        }
    }
}
