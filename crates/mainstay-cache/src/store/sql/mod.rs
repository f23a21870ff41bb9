//! Entries in a table of the service's own database. Whether an entry is over says the database's clock.
//!
//! It is for values that cost more than a query: what a remote service answers, or a report. It is no
//! faster than the database is.

mod text;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AssertSqlSafe, Db, Query};

use self::text::Texts;
use super::keyed::{Held, Ids, Keyed, Opened, Raw, Terms, number};
use super::{Ask, Region, Seen, Store};

/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two cleanings by this process.
const CLEAN_EVERY_NS: i64 = 30_000_000_000;

/// In the table `mainstay_cache_entry` of a database, which [`install`](crate::install) makes. Cheap to
/// clone. Who shares the database shares the entries.
///
/// On SQLite a write waits for an open transaction of others: do not load through it inside one. What is
/// over is removed by the way, up to 500 entries about every 30 s in which something is written.
#[derive(Clone)]
pub struct Sql(Arc<Shared>);

struct Shared {
    db: Db,
    texts: Texts,
    clock: Clock,
    /// When it is cleaned next, in [`Clock::coarse`]'s nanoseconds.
    clean_ns: AtomicI64,
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql").field("place", &self.0.db.place()).finish()
    }
}

impl Sql {
    /// On the pool of `db`, not on a transaction's handle. It reads from no replica: what was removed is gone.
    pub fn new(db: &Db) -> Self {
        let clock = Clock::system();
        let clean_ns = AtomicI64::new(clock.coarse().nanos().saturating_add(CLEAN_EVERY_NS));
        Self(Arc::new(Shared { texts: Texts::of(db.engine()), db: db.fresh(), clock, clean_ns }))
    }

    /// Removes up to 500 entries that are over: how many. Errors: CACHE-001.
    pub async fn clean(&self) -> Result<u64> {
        let shared = &self.0;
        let done = shared.bounded(shared.db.query(shared.texts.clean).execute()).await?;
        Ok(done.rows_affected())
    }

    fn clean_by_the_way(&self) {
        let now = self.0.clock.coarse().nanos();
        let due = self.0.clean_ns.load(Ordering::Relaxed);
        let next = now.saturating_add(CLEAN_EVERY_NS);
        let mine = now >= due
            && self
                .0
                .clean_ns
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            let sql = self.clone();
            tokio::spawn(async move {
                if let Err(error) = sql.clean().await {
                    tracing::debug!(code = %error.code(), "a cache was not cleaned: {error}");
                }
            });
        }
    }
}

impl Shared {
    async fn bounded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let told = match self.clock.timeout(ANSWER, work).await {
            Some(Ok(done)) => return Ok(done),
            Some(Err(error)) => {
                let what = format!("the cache's table in {} can't be used", self.db.place());
                Error::new(Code::CacheStore, what).cause(error)
            }
            None => {
                let what = format!("{} did not answer the cache in time", self.db.place());
                Error::new(Code::CacheStore, what).why(format!("it had {ANSWER:?}"))
            }
        };
        Err(told)
    }

    async fn held(&self, ids: &[String]) -> Result<Held> {
        // Only placeholders are put together: there are at most 18.
        let marks: Vec<String> = (1..=ids.len()).map(|i| format!("${i}")).collect();
        let sql = self.texts.read.replace("{ids}", &marks.join(", "));
        let query = self.db.query(AssertSqlSafe(sql));
        let query = ids.iter().fold(query, |query, id| bind_id(query, id));
        let rows: Vec<(Vec<u8>, Vec<u8>, i64)> = query.all().await?;
        let mut held = Held { values: vec![None; ids.len()], left: Duration::ZERO };
        for (id, body, left_us) in rows {
            let Some(at) = ids.iter().position(|asked| asked.as_bytes() == id) else { continue };
            if at == 0 {
                held.left = Duration::from_micros(u64::try_from(left_us).unwrap_or_default());
            }
            held.values[at] = Some(body);
        }
        Ok(held)
    }
}

fn bind_id<'d>(query: Query<'d>, id: &str) -> Query<'d> {
    query.bind(id.as_bytes().to_vec())
}

fn us(life: Duration) -> i64 {
    i64::try_from(life.as_micros()).unwrap_or(i64::MAX / 4)
}

impl Store for Sql {
    fn region(&self, ask: &Ask<'_>) -> Result<Arc<dyn Region>> {
        if self.0.db.in_transaction() {
            let what = "a cache can't be kept on the handle of a transaction";
            return Err(Error::new(Code::CacheOption, what).fix("give Sql::new the pool's handle"));
        }
        Ok(Arc::new(Keyed::new(self.clone(), "", ask)))
    }
}

impl Raw for Sql {
    async fn read(&self, ids: &[String]) -> Result<Held> {
        self.0.bounded(self.0.held(ids)).await
    }

    async fn begin(&self, ids: &Ids, terms: &Terms) -> Result<Opened> {
        let mut all = vec![ids.entry.clone(), ids.generation.clone()];
        all.extend_from_slice(&ids.tags);
        let work = async {
            for (at, id) in all.iter().enumerate().skip(1) {
                let life = if at == 1 { terms.key_life } else { terms.tag_life };
                let query = bind_id(self.0.db.query(self.0.texts.generation), id);
                let fresh = terms.fresh.to_string().into_bytes();
                query.bind(fresh).bind(us(life)).execute().await?;
            }
            self.0.held(&all).await
        };
        let mut held = self.0.bounded(work).await?;
        let entry = held.values[0].take();
        // One that was removed in between is zero, which nothing has: what is loaded is not taken.
        let generations =
            held.values[1..].iter().map(|v| number(v.as_deref()).unwrap_or(0)).collect();
        Ok(Opened { entry, left: held.left, generations, mine: true })
    }

    async fn write(&self, ids: &Ids, seen: &Seen, bytes: Vec<u8>, life: Duration) -> Result<bool> {
        let expected = seen.far.first().copied().unwrap_or(0);
        let work = self.0.db.transaction(|tx| {
            let (ids, bytes, texts) = (ids.clone(), bytes.clone(), self.0.texts);
            async move {
                // Held until the commit: who removes it waits, and then removes the entry too.
                let query = bind_id(tx.query(texts.lock), &ids.generation);
                let found: Option<(Vec<u8>,)> = query.optional().await?;
                if expected == 0 || number(found.as_ref().map(|(b,)| &**b)) != Some(expected) {
                    return Ok(false);
                }
                let query = bind_id(tx.query(texts.write), &ids.entry);
                query.bind(bytes).bind(us(life)).execute().await?;
                Ok(true)
            }
        });
        let written = self.0.bounded(work).await?;
        self.clean_by_the_way();
        Ok(written)
    }

    async fn put(&self, ids: &Ids, bytes: Vec<u8>, life: Duration) -> Result<()> {
        let work = async {
            let db = &self.0.db;
            bind_id(db.query(self.0.texts.remove), &ids.generation).execute().await?;
            let query = bind_id(db.query(self.0.texts.write), &ids.entry);
            query.bind(bytes).bind(us(life)).execute().await.map(drop)
        };
        self.0.bounded(work).await?;
        self.clean_by_the_way();
        Ok(())
    }

    /// It has no locks.
    async fn unlock(&self, _: &str, _: u64) -> Result<()> {
        Ok(())
    }

    async fn remove(&self, ids: &Ids) -> Result<()> {
        // Two statements: the second must see what the first waited for.
        self.remove_tag(&ids.generation).await?;
        self.remove_tag(&ids.entry).await
    }

    async fn remove_tag(&self, id: &str) -> Result<()> {
        let query = bind_id(self.0.db.query(self.0.texts.remove), id);
        self.0.bounded(query.execute()).await.map(drop)
    }

    fn place(&self) -> String {
        self.0.db.place()
    }
}

#[cfg(test)]
mod tests {
    use mainstay_db::Engine;

    use super::*;

    #[test]
    fn every_engine_has_its_texts() {
        for engine in [Engine::Sqlite, Engine::Postgres, Engine::MySql] {
            let texts = Texts::of(engine);
            assert!(texts.read.contains("{ids}"));
            assert!(texts.write.contains("$3"));
        }
    }
}
