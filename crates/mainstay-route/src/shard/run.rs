//! Work on a key's shard that follows the key: where it has moved away meanwhile, the map is read anew and the work runs
//! again there.

use std::sync::PoisonError;
use std::time::Duration;

use mainstay_core::{Code, Result};
use mainstay_db::Db;

use super::handle::Shards;
use super::key::ToKey;

/// For so long the new map is waited for: a move's switch takes milliseconds, unless it was killed in the middle.
const PATIENCE: Duration = Duration::from_secs(5);
const WAIT_MIN: Duration = Duration::from_millis(2);
const WAIT_MAX: Duration = Duration::from_millis(100);

impl Shards {
    /// Runs `work` on the database of a key. Where the key has [moved](super::moves) and this handle's map is older
    /// (ROUTE-026), the map is read anew from the store that is [watched](Self::watch), and `work` runs again on the new
    /// shard; for up to 5 s, from one run to the next.
    ///
    /// What `work` did in a transaction was rolled back then. Of several transactions or statements, those before the
    /// one that failed stay, on the old shard, and were moved with the key: write it so that it can be run again.
    ///
    /// Cancel safe as `work` is.
    ///
    /// Errors: those of `work`, and of [`of`](Self::of); ROUTE-026 where no newer map came, as where none is watched.
    ///
    /// ```
    /// # use mainstay_db::Db;
    /// # use mainstay_route::shard::{Map, Shards};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = Db::connect("sqlite::memory:").await?;
    /// # db.script("CREATE TABLE orders (user_id INTEGER, cents INTEGER)").await?;
    /// # let shards = Shards::builder(Map::even(["a"])?).shard("a", db).build()?;
    /// let user = 42_i64;
    /// shards
    ///     .run(&user, |db| async move {
    ///         let insert = "INSERT INTO orders (user_id, cents) VALUES ($1, 900)";
    ///         db.query(insert).bind(user).execute().await
    ///     })
    ///     .await?;
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    pub async fn run<K, T, F, W>(&self, key: &K, work: F) -> Result<T>
    where
        K: ToKey + ?Sized,
        F: Fn(Db) -> W,
        W: Future<Output = Result<T>>,
    {
        let mut since = None;
        let mut wait = WAIT_MIN;
        loop {
            let epoch = self.epoch();
            let error = match work(self.of(key)?).await {
                Err(error) if error.code() == Code::ShardStale => error,
                other => return other,
            };
            let now = self.0.clock.now();
            if now.saturating_duration_since(*since.get_or_insert(now)) > PATIENCE {
                return Err(error);
            }
            let store = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let Some(store) = store else {
                return Err(error.fix("call watch(store, every), by which the new map is found"));
            };
            if self.refresh(&store).await? <= epoch {
                // Shut there, and not yet open here.
                self.0.clock.sleep(self.0.rng.jittered(wait, 0.5)).await;
                wait = (wait * 2).min(WAIT_MAX);
            }
        }
    }
}
