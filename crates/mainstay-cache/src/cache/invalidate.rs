//! Makes entries invalid: at once, or when a transaction commits.

use std::sync::Arc;

use mainstay_core::Result;
use mainstay_db::Db;

use super::{Cache, Value};
use crate::store::{What, normal};

impl<V: Value> Cache<V> {
    /// The value of `key` is no longer good; a load that began before is not kept.
    ///
    /// Call it after what changed was committed, or use
    /// [`invalidate_after_commit`](Self::invalidate_after_commit).
    ///
    /// Errors: CACHE-001 where the store could not be told: an old value may stay for the rest of its TTL.
    /// In this process it is gone all the same.
    pub async fn invalidate(&self, key: &str) -> Result<()> {
        let key = normal(key);
        // Who comes from now on does not wait for a load that may have read the old.
        self.0.flights.forget(&key);
        self.tell(What::Key(&key)).await
    }

    /// As [`invalidate`](Self::invalidate), of all that has the tag.
    ///
    /// Errors: as there.
    pub async fn invalidate_tag(&self, tag: &str) -> Result<()> {
        let tag = normal(tag);
        // Which of the loads under way have it is not looked up: they are few, and it is safe.
        self.0.flights.forget_all();
        self.tell(What::Tag(&tag)).await
    }

    async fn tell(&self, what: What<'_>) -> Result<()> {
        let told = self.0.region.invalidate(what).await;
        self.0.stats.invalidated();
        told.inspect_err(|error| self.0.trace(error))
    }

    /// Invalidates `key` when the transaction of `tx` commits, and not if it is rolled back; before
    /// [`transaction`](Db::transaction) returns to its caller. Asked for twice in one transaction, it is
    /// done once. On a handle without a transaction, at once.
    ///
    /// Where the store can't be told, that is reported as TX-009, and the transaction stays committed. If
    /// the process dies between the two, an old value stays for the rest of its TTL. A transaction takes
    /// 1,024 hooks: of many keys, invalidate a tag.
    ///
    /// Errors: those of [`after_commit`](Db::after_commit).
    ///
    /// ```
    /// # use mainstay_cache::{Cache, Memory};
    /// # use mainstay_db::Db;
    /// # async fn f(db: &Db, users: &Cache<String>) -> mainstay_core::Result<()> {
    /// let users = users.clone();
    /// db.transaction(move |tx| {
    ///     let users = users.clone();
    ///     async move {
    ///         tx.query("UPDATE users SET name = 'Ada' WHERE id = $1").bind(7).execute().await?;
    ///         users.invalidate_after_commit(&tx, "7").await
    ///     }
    /// })
    /// .await
    /// # }
    /// ```
    #[track_caller]
    pub fn invalidate_after_commit<'a>(
        &self,
        tx: &'a Db,
        key: &str,
    ) -> impl Future<Output = Result<()>> + Send + use<'a, V> {
        let (cache, key) = (self.clone(), key.to_owned());
        let hook = format!("mainstay cache {}: key {key}", self.id());
        tx.after_commit_once(hook, move |_| async move { cache.invalidate(&key).await })
    }

    /// As [`invalidate_after_commit`](Self::invalidate_after_commit), of all that has the tag.
    #[track_caller]
    pub fn invalidate_tag_after_commit<'a>(
        &self,
        tx: &'a Db,
        tag: &str,
    ) -> impl Future<Output = Result<()>> + Send + use<'a, V> {
        let (cache, tag) = (self.clone(), tag.to_owned());
        let hook = format!("mainstay cache {}: tag {tag}", self.id());
        tx.after_commit_once(hook, move |_| async move { cache.invalidate_tag(&tag).await })
    }

    /// Sets apart caches of one name on different stores.
    fn id(&self) -> String {
        format!("{} {:p}", self.0.name, Arc::as_ptr(&self.0))
    }
}
