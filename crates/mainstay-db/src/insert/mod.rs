//! Bulk insert: many rows in one statement, the fastest way each engine has.
//!
//! PostgreSQL is sent COPY; SQLite and MySQL get statements of many rows, in a transaction where one
//! statement is not enough. Either way all rows are inserted or none.

#[cfg(feature = "postgres")]
mod copy;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod values;

use std::sync::Arc;

use mainstay_core::{Code, Error, Place, Result};

use crate::db::Db;
use crate::engine::Engine;
use crate::record::Record;
use crate::route::Work;
use crate::statement::Sql;
use crate::value::Value;

/// A row to be inserted: a tuple of up to 12 values, or a vector of them.
pub trait IntoValues {
    /// The values in the order of the columns.
    fn into_values(self) -> Vec<Value>;
}

impl IntoValues for Vec<Value> {
    fn into_values(self) -> Vec<Value> {
        self
    }
}

macro_rules! tuple {
    ($($name:ident)+) => {
        impl<$($name: Into<Value>),+> IntoValues for ($($name,)+) {
            #[allow(non_snake_case, reason = "one letter names both the type and its value")]
            fn into_values(self) -> Vec<Value> {
                let ($($name,)+) = self;
                vec![$($name.into()),+]
            }
        }
    };
}
tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);
tuple!(A B C D E F G);
tuple!(A B C D E F G H);
tuple!(A B C D E F G H I);
tuple!(A B C D E F G H I J);
tuple!(A B C D E F G H I J K);
tuple!(A B C D E F G H I J K L);

impl Db {
    /// Inserts all `rows` or none, and returns how many there were. Defaults fill the columns that
    /// are not named; the names are quoted. A dot in `table` separates its schema.
    ///
    /// On PostgreSQL the rows are sent as they come, in constant memory; on the others a few
    /// thousand values at a time. On PostgreSQL it is COPY, which rules and row security do not
    /// apply to. Inside a transaction it is part of it, and a failure leaves the transaction as it
    /// was before, save on PostgreSQL, which gives the whole up.
    ///
    /// Cancel safe: dropped, all rows are inserted or none; none unless the last was on its way.
    ///
    /// Errors: as [`Query`](crate::Query); DB-012 where a row has another number of values.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// # db.query("CREATE TABLE products (sku TEXT, price BIGINT)").execute().await?;
    /// let rows = (0..1000).map(|n| (format!("sku-{n}"), n));
    /// assert_eq!(db.bulk_insert("products", &["sku", "price"], rows).await?, 1000);
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn bulk_insert<R, I>(
        &self,
        table: &'static str,
        columns: &[&'static str],
        rows: I,
    ) -> impl Future<Output = Result<u64>> + Send
    where
        R: IntoValues,
        I: IntoIterator<Item = R>,
        I::IntoIter: Send,
    {
        let target = Target::new(self.engine(), table, columns, Place::here());
        let rows = rows.into_iter().map(R::into_values);
        async move {
            let there = self.chosen(Work::Write, target.place).await?;
            let db = there.as_ref().unwrap_or(self);
            let sql: Sql = Sql::Dynamic(Arc::clone(&target.sql));
            let (_, text) = db.shared.texts.of_driver(&target.sql, self.engine());
            let mut record =
                Record::begin(&db.shared, &sql, &text, target.place, db.transaction_id());
            let mut doubt = self.doubt(Work::Write);
            let outcome = match self.engine() {
                #[cfg(feature = "postgres")]
                Engine::Postgres => copy::insert(db, &target, &text, rows, &mut record).await,
                #[cfg(any(feature = "sqlite", feature = "mysql"))]
                Engine::Sqlite | Engine::MySql => {
                    values::insert(db, &target, &text, rows, &mut record).await
                }
                #[allow(unreachable_patterns, reason = "reached where an engine is left out")]
                _ => unreachable!("no handle of an engine that is left out"),
            };
            match &outcome {
                Err(error) => doubt.failed(error),
                Ok(_) => doubt.settled(),
            }
            let count = record.check(outcome, target.place)?;
            record.affected(count);
            record.done();
            self.ran(Work::Write);
            Ok(count)
        }
    }
}

/// Where the rows go.
struct Target {
    /// The statement, up to where the rows come.
    sql: Arc<str>,
    columns: usize,
    place: Place,
}

impl Target {
    fn new(engine: Engine, table: &str, columns: &[&str], place: Place) -> Self {
        let quote = |name: &str| engine.quote(name);
        let table = table.split('.').map(quote).collect::<Vec<_>>().join(".");
        let names = columns.iter().copied().map(quote).collect::<Vec<_>>().join(", ");
        let sql = match engine {
            Engine::Postgres => format!("COPY {table} ({names}) FROM STDIN"),
            Engine::Sqlite | Engine::MySql => format!("INSERT INTO {table} ({names}) VALUES "),
        };
        Self { sql: sql.into(), columns: columns.len(), place }
    }

    fn check(&self, values: &[Value]) -> Result<()> {
        if values.len() == self.columns {
            return Ok(());
        }
        let what = format!("a row has {} values for {} columns", values.len(), self.columns);
        Err(Error::new(Code::BindCount, what))
    }
}
