//! The handle: the databases of the shards, and the map by which one is found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};
use uuid::Uuid;

use super::id::{self, Ids};
use super::id64::{self, Ids64};
use super::key::ToKey;
use super::map::Map;
use super::map::routes::Routes;
use super::scatter::{Plans, Scatter};
use super::store::MapStore;

/// The shards of one logical database. Cheap to clone; clones share the map.
///
/// It takes no statement itself: see [the module](super).
#[derive(Clone)]
pub struct Shards(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    live: ArcSwap<Live>,
    /// All that were given, those too that the map does not name yet.
    handles: Mutex<BTreeMap<Arc<str>, Db>>,
    references: Vec<String>,
    pub(crate) plans: Plans,
    ids: Ids,
    ids64: Ids64,
    pub(crate) rng: Rng,
    pub(crate) clock: Clock,
    engine: Engine,
    /// There is one database, and the engine shards below it.
    pub(crate) coordinator: bool,
    /// Where the next read of anybody begins.
    turn: AtomicUsize,
    /// Where newer maps come from.
    pub(crate) watched: Mutex<Option<MapStore>>,
}

/// A map with its databases.
struct Live {
    map: Map,
    routes: Routes,
    /// In the order of the map's names.
    dbs: Vec<(Arc<str>, Db)>,
}

/// Puts [`Shards`] together.
#[derive(Debug)]
pub struct Builder {
    map: Map,
    handles: BTreeMap<Arc<str>, Db>,
    references: Vec<String>,
    coordinator: bool,
    clock: Clock,
    rng: Rng,
}

impl Builder {
    /// The database of the shard `name`. It may be one that the map does not name yet.
    #[must_use]
    pub fn shard(mut self, name: &str, db: Db) -> Self {
        self.handles.insert(name.into(), db);
        self
    }

    /// Reference tables: each shard has all of their rows, so that it can join them. They are written with
    /// [`everywhere`](Shards::everywhere) and read with [`any`](Shards::any); a [`scatter`](Shards::scatter) that
    /// would count their rows once a shard is refused.
    #[must_use]
    pub fn reference(mut self, tables: &[&str]) -> Self {
        self.references.extend(tables.iter().map(|t| t.to_lowercase()));
        self
    }

    /// The clock; default the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The source of what is random in ids; default the machine's.
    #[must_use]
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// The handle. Errors: ROUTE-021 where a shard of the map has no database, or they are of several engines.
    pub fn build(self) -> Result<Shards> {
        let Self { map, handles, references, coordinator, clock, rng } = self;
        let Some(engine) = handles.values().next().map(Db::engine) else {
            return Err(Error::new(Code::ShardMap, "no shard has a database"));
        };
        // Whether it is MariaDB is known of those alone that were connected to.
        let reached = || handles.values().filter(|db| db.status().open > 0).map(Db::is_mariadb);
        let two = reached().any(|is| is) && reached().any(|is| !is);
        if two || handles.values().any(|db| db.engine() != engine) {
            return Err(Error::new(Code::ShardMap, "the shards are of several engines"));
        }
        let live = Live::new(map, &handles)?;
        Ok(Shards(Arc::new(Inner {
            live: ArcSwap::from_pointee(live),
            handles: Mutex::new(handles),
            references,
            plans: Plans::default(),
            ids: Ids::new(clock.clone(), rng.clone()),
            ids64: Ids64::default(),
            clock,
            rng,
            engine,
            coordinator,
            turn: AtomicUsize::new(0),
            watched: Mutex::new(None),
        })))
    }
}

impl Live {
    fn new(map: Map, handles: &BTreeMap<Arc<str>, Db>) -> Result<Self> {
        let db = |name: &str| {
            let none = || {
                Error::new(Code::ShardMap, format!("the shard {name:?} has no database"))
                    .fix("give it with shard(name, db), or add(name, db), before the map names it")
            };
            handles.get_key_value(name).map(|(n, db)| (Arc::clone(n), db.clone())).ok_or_else(none)
        };
        let dbs = map.names().map(db).collect::<Result<_>>()?;
        Ok(Self { routes: Routes::new(&map), map, dbs })
    }

    /// None where the logical shard is nobody's.
    fn db(&self, logical: u16) -> Option<&Db> {
        self.dbs.get(self.routes.shard_at(logical)?).map(|(_, db)| db)
    }
}

impl Shards {
    /// Begins a handle with a map.
    pub fn builder(map: Map) -> Builder {
        Builder {
            map,
            handles: BTreeMap::new(),
            references: Vec::new(),
            coordinator: false,
            clock: Clock::system(),
            rng: Rng::system(),
        }
    }

    /// Over one database that shards by itself, such as a coordinator of Citus, a gate of Vitess, or a distributed SQL
    /// engine: code that was written for shards stays as it is, and routing stays out of its way. Each key's
    /// database is `db`, and a [`scatter`](Self::scatter) is the statement as written, whatever it says.
    ///
    /// Errors: none but ROUTE-021, where the map of one can't be made.
    pub fn coordinator(db: Db) -> Result<Self> {
        const NAME: &str = "coordinator";
        let builder = Self::builder(Map::even([NAME])?).shard(NAME, db);
        Builder { coordinator: true, ..builder }.build()
    }

    /// The database of a key: a handle as any other. It neither waits nor allocates, and takes no lock.
    ///
    /// Take it for one piece of work and not for longer: the next map may have the key elsewhere.
    ///
    /// Errors: ROUTE-020 (it is empty), ROUTE-022 (the list, the range or the directory has no place for it).
    pub fn of<K: ToKey + ?Sized>(&self, key: &K) -> Result<Db> {
        let live = self.0.live.load();
        let at = live.routes.shard_of(&key.to_key())?;
        let none = || Error::new(Code::ShardUnplaced, "the key's shard has no database");
        live.dbs.get(at).map(|(_, db)| db.clone()).ok_or_else(none)
    }

    /// The logical shard of a key: 0 to 4,095 where it is hashed, and from 4,096 a slot.
    /// Errors: ROUTE-020, ROUTE-022.
    pub fn logical<K: ToKey + ?Sized>(&self, key: &K) -> Result<u16> {
        self.0.live.load().routes.logical_of(&key.to_key())
    }

    /// The database of a shard by its name, for administration: where rows are is [`of`](Self::of)'s matter.
    /// Errors: ROUTE-021 (no such shard in the map).
    pub fn shard(&self, name: &str) -> Result<Db> {
        let live = self.0.live.load();
        let found = live.dbs.iter().find(|(own, _)| **own == *name).map(|(_, db)| db.clone());
        found.ok_or_else(|| Error::new(Code::ShardMap, format!("there is no shard {name:?}")))
    }

    /// The names of the map's shards, in order.
    pub fn names(&self) -> Vec<String> {
        self.0.live.load().map.names().map(str::to_owned).collect()
    }

    /// The engine of all of them.
    pub fn engine(&self) -> Engine {
        self.0.engine
    }

    /// A new id for a row of `key`: a UUID of version 7, in the order of time, that carries the key's logical
    /// shard. [`of_id`](Self::of_id) finds the row by it alone, after its logical shard was moved too.
    ///
    /// Ids of one logical shard and process rise strictly; those of several are in the order of their ms. It
    /// carries where the key is placed now: after the key itself was placed in another logical shard (a pin, a
    /// new entry of the directory), its old ids still lead to the old place.
    ///
    /// Errors: ROUTE-020, ROUTE-022.
    pub fn id<K: ToKey + ?Sized>(&self, key: &K) -> Result<Uuid> {
        Ok(self.0.ids.make(self.logical(key)?))
    }

    /// The logical shard that an id carries. Errors: ROUTE-029 (no UUID of version 7).
    pub fn logical_of_id(id: Uuid) -> Result<u16> {
        id::logical_of(id)
    }

    /// The database of the row with an id that [`id`](Self::id) made. One of version 7 that was made elsewhere
    /// can't be told from those: it leads to any shard.
    ///
    /// Errors: ROUTE-029 (it carries no shard, or one that is not in the map).
    pub fn of_id(&self, id: Uuid) -> Result<Db> {
        self.of_logical(id::logical_of(id)?)
    }

    fn of_logical(&self, logical: u16) -> Result<Db> {
        let live = self.0.live.load();
        let none = || {
            let what =
                format!("the id carries the logical shard {logical}, which is not in the map");
            Error::new(Code::ShardId, what)
        };
        live.db(logical).cloned().ok_or_else(none)
    }

    /// A new id as [`id`](Self::id) makes it, of 64 bits, for a table whose key is a BIGINT: it rises with the time, and
    /// carries the key's logical shard.
    ///
    /// Two processes may make the same one, in the same ms and for the same logical shard, one time in some hundred that
    /// they do: the column must be unique, which the shard's own database tells, and where the row is refused another is
    /// made. A process makes 512 a ms. Ids of before, below 4,194,304, are told from them. They pass 2^53: as a number of JSON,
    /// JavaScript rounds them, so give them to it as texts.
    ///
    /// Errors: ROUTE-020, ROUTE-022.
    pub fn id64<K: ToKey + ?Sized>(&self, key: &K) -> Result<i64> {
        Ok(self.0.ids64.make(self.logical(key)?, &self.0.clock, &self.0.rng))
    }

    /// The database of the row with an id that [`id64`](Self::id64) made.
    ///
    /// Errors: ROUTE-029 (it carries no shard, or one that is not in the map).
    pub fn of_id64(&self, id: i64) -> Result<Db> {
        self.of_logical(id64::logical_of(id)?)
    }

    /// The epoch of the map.
    pub fn epoch(&self) -> u64 {
        self.0.live.load().map.epoch()
    }

    /// The map.
    pub fn map(&self) -> Map {
        self.0.live.load().map.clone()
    }

    /// Gives a database for a shard that a coming map is to name.
    ///
    /// Errors: ROUTE-021 where the map names it already, or it is of another engine.
    pub fn add(&self, name: &str, db: Db) -> Result<()> {
        let mut handles = self.0.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.live.load().map.shard(name).is_some() {
            let what = format!("the map names {name:?} already");
            return Err(Error::new(Code::ShardMap, what));
        }
        if db.engine() != self.engine() {
            return Err(Error::new(Code::ShardMap, "the shards are of several engines"));
        }
        handles.insert(name.into(), db);
        Ok(())
    }

    /// Takes another map, from the next [`of`](Self::of) on; handles that were given stay as they are. It moves no
    /// data. The map that is there already is fine.
    ///
    /// Errors: ROUTE-026 (its epoch is not greater), ROUTE-021 (a shard without a database); the old map stays.
    pub fn replace_map(&self, map: Map) -> Result<()> {
        // Held while it is replaced, so that of two at once the greater stays.
        let handles = self.0.handles.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, new) = (self.0.live.load(), map.epoch());
        if old.map == map {
            return Ok(());
        }
        if new <= old.map.epoch() {
            let what = format!("the map of epoch {new} is not newer than {}", old.map.epoch());
            return Err(Error::new(Code::ShardStale, what));
        }
        self.0.live.store(Arc::new(Live::new(map, &handles)?));
        Ok(())
    }

    /// Begins a question to all shards.
    pub fn scatter(&self) -> Scatter<'_> {
        Scatter::new(self)
    }

    /// Reads from one shard, whichever: for reference tables. `read` is run on another where one does not answer,
    /// up to once on each; they take turns.
    ///
    /// Cancel safe as `read` is. Errors: those of `read`; ROUTE-024 where none answers.
    pub async fn any<T, F, W>(&self, read: F) -> Result<T>
    where
        F: Fn(Db) -> W,
        W: Future<Output = Result<T>>,
    {
        let all = self.all();
        let first = self.0.turn.fetch_add(1, Ordering::Relaxed);
        let mut last = None;
        for n in 0..all.len() {
            let (name, db) = &all[first.wrapping_add(n) % all.len()];
            match read(db.clone()).await {
                Err(error) if is_down(&error) => last = Some(down(name, error)),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| Error::new(Code::ShardDown, "there are no shards")))
    }

    /// Runs `write` on each shard, one after the other in the order of their names: for reference tables. It stops at
    /// the first error, and there is no transaction over all of them: write it so that it can be run again.
    ///
    /// Cancel safe between shards: dropped, some have it and the others do not.
    ///
    /// Errors: that of the first shard; of a later one ROUTE-025, naming those that have it.
    pub async fn everywhere<T, F, W>(&self, write: F) -> Result<Vec<(String, T)>>
    where
        F: Fn(Db) -> W,
        W: Future<Output = Result<T>>,
    {
        let mut done: Vec<(String, T)> = Vec::new();
        for (name, db) in self.all() {
            match write(db).await {
                Ok(out) => done.push((name.to_string(), out)),
                Err(error) if done.is_empty() => {
                    return Err(
                        error.note(format!("on the shard {name}, the first; no other has it"))
                    );
                }
                Err(error) => {
                    let names: Vec<_> = done.iter().map(|(name, _)| name.as_str()).collect();
                    let what = format!("it was not done on {name}, nor on those after it");
                    return Err(Error::new(Code::ShardPartial, what)
                        .why(format!("it is done on {}", names.join(", ")))
                        .fix("mend what is named, and run it again on all")
                        .cause(error));
                }
            }
        }
        Ok(done)
    }

    /// Those too that the map does not name.
    pub(crate) fn given(&self) -> Vec<(Arc<str>, Db)> {
        let handles = self.0.handles.lock().unwrap_or_else(PoisonError::into_inner);
        handles.iter().map(|(name, db)| (Arc::clone(name), db.clone())).collect()
    }

    /// All of the map's.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Db)> {
        self.0.live.load().dbs.clone()
    }

    pub(crate) fn is_reference(&self, table: &str) -> bool {
        self.0.references.iter().any(|own| own.eq_ignore_ascii_case(table))
    }

    pub(crate) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }
}

/// Whether a shard failed, and not what was asked of it.
pub(crate) fn is_down(error: &Error) -> bool {
    error.code().kind() == mainstay_core::error::Kind::Operation
}

/// As the error of a shard that does not answer.
pub(crate) fn down(name: &str, error: Error) -> Error {
    if error.code() == Code::ShardDown {
        return error;
    }
    Error::new(Code::ShardDown, format!("the shard {name} does not answer")).cause(error)
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards")
            .field("epoch", &self.epoch())
            .field("names", &self.names())
            .finish_non_exhaustive()
    }
}
