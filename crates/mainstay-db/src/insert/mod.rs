//! Bulk insert: many rows in one statement, the fastest way each engine has.
//!
//! PostgreSQL is sent COPY; SQLite and MySQL get statements of many rows, in a transaction where one
//! statement is not enough. Either way all rows are inserted or none.

#[cfg(feature = "postgres")]
mod copy;

use std::sync::Arc;

use mainstay_core::{Code, Error, Place, Result};
use sqlx::{AssertSqlSafe, SqlSafeStr};

use crate::connection::Connection;
use crate::db::Db;
use crate::engine::Engine;
use crate::error::from_driver;
use crate::record::Record;
use crate::statement::Sql;
use crate::steps::Step;
use crate::transaction::Run;
use crate::value::{self, Arguments, Value};

/// Values in one statement: SQLite's own bound is 32,766, MySQL's 65,535, and larger statements
/// were measured to be no faster.
const VALUES_MAX: usize = 5_000;

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
    /// Cancel safe: dropped, nothing is inserted.
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
            let sql: Sql = Sql::Dynamic(Arc::clone(&target.shown));
            let (_, text) = self.shared.texts.of_driver(&target.shown, self.engine());
            let mut record =
                Record::begin(&self.shared, &sql, &text, target.place, self.transaction_id());
            let outcome = match self.engine() {
                #[cfg(feature = "postgres")]
                Engine::Postgres => self.copy(&target, rows, &mut record).await,
                _ => self.in_chunks(&target, rows, &mut record).await,
            };
            let count = record.check(outcome, target.place)?;
            record.affected(count);
            record.done();
            Ok(count)
        }
    }

    #[cfg(feature = "postgres")]
    async fn copy(
        &self,
        target: &Target,
        rows: impl Iterator<Item = Vec<Value>> + Send,
        record: &mut Record<'_>,
    ) -> Result<u64> {
        let mut hold = self.hold(false, false, target.place).await?;
        record.started(hold.id());
        copy::run(&mut hold, target, rows).await
    }

    async fn in_chunks(
        &self,
        target: &Target,
        rows: impl Iterator<Item = Vec<Value>> + Send,
        record: &mut Record<'_>,
    ) -> Result<u64> {
        let mut chunks = Chunks { rows, width: target.columns, next: None };
        let first = chunks.take()?;
        if self.in_transaction() {
            return self.within_savepoint(target, first, chunks, record).await;
        }
        if chunks.peek()?.is_none() {
            let mut hold = self.hold(false, false, target.place).await?;
            record.started(hold.id());
            return insert(&mut hold, target, first).await;
        }
        let run = Run::begin(self, target.place, 1).await?;
        let tx = run.handle();
        let outcome = tx.all_chunks(target, first, chunks, record).await;
        run.end(outcome).await
    }

    async fn within_savepoint(
        &self,
        target: &Target,
        first: Vec<Value>,
        chunks: Chunks<impl Iterator<Item = Vec<Value>> + Send>,
        record: &mut Record<'_>,
    ) -> Result<u64> {
        self.query("SAVEPOINT mainstay_bulk_insert").execute().await?;
        match self.all_chunks(target, first, chunks, record).await {
            Ok(count) => {
                self.query("RELEASE SAVEPOINT mainstay_bulk_insert").execute().await?;
                Ok(count)
            }
            Err(error) => {
                // The first error is the one to be told; if this fails too, the transaction is lost.
                let _ = self.query("ROLLBACK TO SAVEPOINT mainstay_bulk_insert").execute().await;
                Err(error)
            }
        }
    }

    async fn all_chunks(
        &self,
        target: &Target,
        first: Vec<Value>,
        mut chunks: Chunks<impl Iterator<Item = Vec<Value>> + Send>,
        record: &mut Record<'_>,
    ) -> Result<u64> {
        let mut hold = self.hold(false, false, target.place).await?;
        record.started(hold.id());
        let mut count = insert(&mut hold, target, first).await?;
        while chunks.peek()?.is_some() {
            count += insert(&mut hold, target, chunks.take()?).await?;
        }
        Ok(count)
    }
}

/// Where the rows go.
struct Target {
    /// `INSERT INTO t (a, b) VALUES `.
    head: String,
    /// What the statement is called in events.
    shown: Arc<str>,
    /// `COPY t (a, b) FROM STDIN`.
    copy: String,
    columns: usize,
    place: Place,
}

impl Target {
    fn new(engine: Engine, table: &str, columns: &[&str], place: Place) -> Self {
        let quote = |name: &str| engine.quote(name);
        let table = table.split('.').map(quote).collect::<Vec<_>>().join(".");
        let names = columns.iter().copied().map(quote).collect::<Vec<_>>().join(", ");
        let head = format!("INSERT INTO {table} ({names}) VALUES ");
        let copy = format!("COPY {table} ({names}) FROM STDIN");
        let shown = if engine == Engine::Postgres { copy.clone() } else { format!("{head}...") };
        Self { head, shown: shown.into(), copy, columns: columns.len(), place }
    }

    fn check(&self, values: &[Value]) -> Result<()> {
        check_width(self.columns, values)
    }
}

fn check_width(columns: usize, values: &[Value]) -> Result<()> {
    if values.len() == columns {
        return Ok(());
    }
    Err(Error::new(
        Code::BindCount,
        format!("a row has {} values for {columns} columns", values.len()),
    ))
}

/// Rows taken so many at a time that their values fit one statement.
struct Chunks<I> {
    rows: I,
    width: usize,
    next: Option<Vec<Value>>,
}

impl<I: Iterator<Item = Vec<Value>>> Chunks<I> {
    fn peek(&mut self) -> Result<Option<&Vec<Value>>> {
        if self.next.is_none() {
            self.next = self.rows.next();
            if let Some(values) = &self.next {
                check_width(self.width, values)?;
            }
        }
        Ok(self.next.as_ref())
    }

    fn take(&mut self) -> Result<Vec<Value>> {
        let mut out = Vec::new();
        while out.len() + self.width <= VALUES_MAX.max(self.width) && self.peek()?.is_some() {
            out.extend(self.next.take().into_iter().flatten());
        }
        Ok(out)
    }
}

async fn insert(connection: &mut Connection, target: &Target, values: Vec<Value>) -> Result<u64> {
    if values.is_empty() {
        return Ok(0);
    }
    let rows = values.len() / target.columns;
    let row = format!("({})", vec!["?"; target.columns].join(", "));
    let sql = target.head.clone() + &vec![row; rows].join(", ");
    let arguments = match connection.engine() {
        #[cfg(feature = "sqlite")]
        Engine::Sqlite => Arguments::Sqlite(value::sqlite(values)?),
        #[cfg(feature = "mysql")]
        Engine::MySql => Arguments::MySql(value::mysql(values)?),
        #[allow(unreachable_patterns, reason = "reached where an engine is left out")]
        other => {
            return Err(Error::new(Code::Unsupported, format!("{other} inserts in another way")));
        }
    };
    let mut reading = connection.send(AssertSqlSafe(sql).into_sql_str(), Some(arguments));
    let mut count = 0;
    while let Some(step) = reading.next().await.map_err(|e| from_driver(e, Some(&target.shown)))? {
        if let Step::Done { affected, .. } = step {
            count += affected;
        }
    }
    Ok(count)
}
