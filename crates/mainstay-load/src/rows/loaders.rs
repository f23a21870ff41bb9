//! Loaders of rows: a [`Loader`] whose batch function is a statement.

use std::sync::Arc;

use mainstay_core::{Code, Error, Place, Result};
use mainstay_db::{Db, FromRow};

use super::key::Key;
use super::statement::{Rows, Statement};
use crate::loader::{Builder, Found, Loader, copy};

impl<K: Key, C: FromRow + Sync + 'static> Loader<K, Arc<[C]>> {
    /// A loader of the rows that belong to a key, in the order of the statement; a key that has none has
    /// an empty list. The statement is as [`Rows`] says, and told to subscribers as the first load's of
    /// its batch.
    ///
    /// `db` may be a transaction's handle: once that has ended, what is not kept is TX-001.
    ///
    /// Errors of its loads: those of a statement; LOAD-003.
    ///
    /// ```
    /// # use mainstay_db::{Db, FromRow};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = Db::connect("sqlite::memory:").await?;
    /// # db.script("CREATE TABLE item (order_id INTEGER, sku TEXT NOT NULL);
    /// #            INSERT INTO item VALUES (1, 'lamp'), (1, 'cup')").await?;
    /// use std::sync::Arc;
    /// use mainstay_load::Loader;
    ///
    /// #[derive(FromRow)]
    /// struct Item { sku: String }
    ///
    /// let items: Loader<i64, Arc<[Item]>> =
    ///     Loader::rows(&db, "SELECT order_id, sku FROM item WHERE order_id IN ($keys)");
    /// let (first, second) = tokio::try_join!(items.load(1), items.load(2))?;   // one query
    /// assert_eq!((first.unwrap().len(), second.unwrap().len()), (2, 0));
    /// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
    /// ```
    pub fn rows(db: &Db, rows: impl Into<Rows>) -> Self {
        Builder::default().build_rows(db, rows)
    }
}

impl<K: Key, C: FromRow + Sync + 'static> Loader<K, Arc<C>> {
    /// A loader of the one row of a key, as by a primary key; a key that has none is `None`. Otherwise as
    /// [`rows`](Loader::rows).
    ///
    /// Errors of its loads: those of a statement; LOAD-003; DB-007 where the key has several rows.
    pub fn row(db: &Db, rows: impl Into<Rows>) -> Self {
        Builder::default().build_row(db, rows)
    }
}

impl Builder {
    /// As [`Loader::rows`].
    pub fn build_rows<K, C>(self, db: &Db, rows: impl Into<Rows>) -> Loader<K, Arc<[C]>>
    where
        K: Key,
        C: FromRow + Sync + 'static,
    {
        self.by_statement(db, rows.into(), |group, _| Ok(Some(group.into())))
    }

    /// As [`Loader::row`].
    pub fn build_row<K, C>(self, db: &Db, rows: impl Into<Rows>) -> Loader<K, Arc<C>>
    where
        K: Key,
        C: FromRow + Sync + 'static,
    {
        self.by_statement(db, rows.into(), |mut group: Vec<C>, place| {
            let one = group.pop();
            if group.is_empty() {
                return Ok(one.map(Arc::new));
            }
            let what = "several rows of a key where at most one was asked for";
            Err(Error::new(Code::TooManyRows, what).at(place))
        })
    }

    fn by_statement<K: Key, C: FromRow + 'static, V: 'static>(
        self,
        db: &Db,
        rows: Rows,
        of_group: fn(Vec<C>, Place) -> Result<Option<V>>,
    ) -> Loader<K, V> {
        let db = db.clone();
        let statement = Arc::new(Statement::new::<K>(rows, db.engine()));
        self.fetching(move |keys: Vec<K>, place| {
            let (db, statement) = (db.clone(), Arc::clone(&statement));
            Box::pin(async move {
                let statement = statement.as_ref().as_ref().map_err(copy)?;
                let found = statement.groups(&db, &keys, place).await?;
                Ok(found.into_iter().map(|group| of_group(group, place)).collect::<Found<V>>())
            })
        })
    }
}
