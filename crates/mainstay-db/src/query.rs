//! One statement, from its text to its result.

use std::pin::pin;
use std::sync::Arc;

use async_stream::try_stream;
use futures_core::Stream;
use futures_util::future::{Either, select};
use mainstay_core::{Code, Error, Place, Result};

use crate::db::Db;
use crate::engine::Engine;
use crate::error::from_driver;
use crate::lock::RowLock;
use crate::record::Record;
use crate::route::{AGAIN_MAX, Doubt, Route, Work, lost};
use crate::row::{FromRow, Row};
use crate::statement::{IntoSql, Sql, Statement};
use crate::steps::Step;
use crate::text::Text;
use crate::value::Value;

/// Rows read past an error so that the connection stays in step; with more left, the pool sees to it.
const ROWS_PAST_ERROR_MAX: u32 = 100;

/// A statement that is being put together; nothing is sent until one of its async methods runs.
///
/// All of them are cancel safe in this sense: a dropped future leaves no connection that anybody
/// gets dirty. Whether the statement took effect is then unknown.
///
/// Errors of all: those of [`acquire`](mainstay_pool::Pool::acquire); DB-001 to DB-005 (the data),
/// DB-010 to DB-016 and DB-036 (the statement), DB-020 to DB-035 (the server), TX-006 (it begins or ends
/// a transaction), LOCK-004; on a transaction's handle TX-001, TX-002, TX-004 and TX-005; where the task
/// has another transaction open, POOL-010.
#[must_use = "a query does nothing until one of execute, one, optional, all, scalar, rows or stream is awaited"]
pub struct Query<'d> {
    db: &'d Db,
    statement: Statement,
    pub(crate) lock: Option<RowLock>,
}

/// What a statement without rows did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    rows_affected: u64,
    last_insert_id: Option<i64>,
}

impl Done {
    /// Rows inserted, deleted, or matched by an update.
    pub fn rows_affected(&self) -> u64 {
        self.rows_affected
    }

    /// The key that SQLite or MySQL gave the inserted row; PostgreSQL says it with RETURNING alone.
    pub fn last_insert_id(&self) -> Option<i64> {
        self.last_insert_id
    }
}

impl Db {
    /// Begins a statement. Its values are written `$1, $2, ...` on every engine, and may be used
    /// several times and in any order.
    #[track_caller]
    pub fn query(&self, sql: impl IntoSql) -> Query<'_> {
        self.statement(sql.into_sql(), Vec::new(), Place::here())
    }

    /// Begins a statement that sea-query builds, for what is put together at run time.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// # db.query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)").execute().await?;
    /// use mainstay_db::sea_query::{Expr, ExprTrait, Query};
    ///
    /// let select = Query::select().column("name").from("users").and_where(Expr::col("id").lt(9)).take();
    /// let names: Vec<(String,)> = db.build(&select).all().await?;
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn build(&self, statement: &impl sea_query::QueryStatementBuilder) -> Query<'_> {
        self.build_at(statement, Place::here())
    }

    pub(crate) fn build_at(
        &self,
        statement: &impl sea_query::QueryStatementBuilder,
        place: Place,
    ) -> Query<'_> {
        let mut out = sea_query::SqlWriterValues::new("$", true);
        match self.engine() {
            Engine::Sqlite => {
                statement.build_collect_any_into(&sea_query::SqliteQueryBuilder, &mut out);
            }
            Engine::Postgres => {
                statement.build_collect_any_into(&sea_query::PostgresQueryBuilder, &mut out);
            }
            Engine::MySql => {
                statement.build_collect_any_into(&sea_query::MysqlQueryBuilder, &mut out);
            }
        }
        let (sql, values) = out.into_parts();
        self.statement(Sql::Dynamic(sql.into()), values.0, place)
    }

    /// What is known of `sql`. Errors: DB-010, TX-006.
    fn text(&self, sql: &Sql) -> Result<Arc<Text>> {
        let text = sql.text(&self.shared.texts, self.engine())?;
        text.check_control(self.engine(), self.in_transaction())?;
        if text.is_empty {
            return Err(Error::new(Code::Syntax, "the statement is empty"));
        }
        Ok(text)
    }

    pub(crate) fn statement(&self, sql: Sql, values: Vec<Value>, place: Place) -> Query<'_> {
        Query { db: self, statement: Statement { sql, values, place }, lock: None }
    }
}

impl<'d> Query<'d> {
    /// Binds the next of `$1, $2, ...`. An `Option` binds NULL as its type's.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.statement.values.push(value.into());
        self
    }

    /// Attributes it to `place` instead of where it was begun: for code that asks on behalf of its caller.
    pub fn at(mut self, place: Place) -> Self {
        self.statement.place = place;
        self
    }

    /// Runs it for its effect; rows are read and thrown away.
    pub async fn execute(self) -> Result<Done> {
        self.each(|_| Ok(())).await
    }

    /// The one row. Errors: DB-006 (none), DB-007 (several).
    pub async fn one<T: FromRow>(self) -> Result<T> {
        let place = self.statement.place;
        let none =
            || Error::new(Code::RowNotFound, "no row where exactly one was asked for").at(place);
        self.optional().await?.ok_or_else(none)
    }

    /// The row, if there is one. Errors: DB-007 (several).
    pub async fn optional<T: FromRow>(self) -> Result<Option<T>> {
        let mut found = None;
        self.each(|row| match found.replace(row.read()?) {
            None => Ok(()),
            Some(_) => {
                Err(Error::new(Code::TooManyRows, "several rows where at most one was asked for"))
            }
        })
        .await?;
        Ok(found)
    }

    /// All rows, in memory: for results that are known to be small. See [`stream`](Self::stream).
    pub async fn all<T: FromRow>(self) -> Result<Vec<T>> {
        let mut out = Vec::new();
        self.each(|row| {
            out.push(row.read()?);
            Ok(())
        })
        .await?;
        Ok(out)
    }

    /// The first column of the one row. Errors: as [`one`](Self::one).
    pub async fn scalar<T>(self) -> Result<T>
    where
        (T,): FromRow,
    {
        Ok(self.one::<(T,)>().await?.0)
    }

    /// All rows as they are, where their shape is not known at compile time.
    pub async fn rows(self) -> Result<Vec<Row>> {
        let mut out = Vec::new();
        self.each(|row| {
            out.push(row);
            Ok(())
        })
        .await?;
        Ok(out)
    }

    /// The rows one after the other, in constant memory. The connection is in use until the stream
    /// ends or is dropped; inside a transaction, no other statement can run meanwhile (TX-004).
    ///
    /// Cancel safe: dropped early, what is left is got rid of by the pool, or before the
    /// transaction's next statement.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// use futures_util::TryStreamExt;
    ///
    /// let mut rows = std::pin::pin!(db.query("VALUES (1), (2), (3)").stream::<(i64,)>());
    /// let mut sum = 0;
    /// while let Some((n,)) = rows.try_next().await? {
    ///     sum += n;
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    pub fn stream<T: FromRow + 'd>(self) -> impl Stream<Item = Result<T>> + Send + 'd {
        try_stream! {
            let (db, statement) = self.locking()?;
            let (place, sql) = (statement.place, statement.sql.clone());
            let (handle, there) = (db, db.chosen(Work::Statement(sql.as_str()), place).await?);
            let db = there.as_ref().unwrap_or(handle);
            let text = db.text(&sql).map_err(|e| e.at(place))?;
            let mut record = Record::begin(&db.shared, &sql, &text, place, db.transaction_id());
            record.bound(&statement.values);
            let prepared = statement.prepare(&text, db.engine());
            let (driver_sql, arguments) = record.check(prepared, place)?;
            let held = record.held(pin!(db.hold(text.only_reads, true, place))).await;
            let mut hold = record.check(held, place)?;
            let begun = hold.begins(db, &text, &sql, place);
            let ran = record.check(begun, place)?;
            let deadline = db.deadline();
            let plain = hold.goes_plain(&text, deadline.is_some());
            let enclosed = db.in_time(deadline, hold.enclose(db, !plain)).await;
            let enclosed = record.check(enclosed, place)?;
            let keep = text.keep && !hold.is_pooled();
            let mut failed = None;
            let mut doubt = handle.doubt(Work::Statement(sql.as_str()));
            {
                let reading = hold.send(driver_sql, (!plain).then_some(arguments), keep);
                let mut reading = reading.of(&text, db.engine());
                loop {
                    ran.resumes();
                    let next = async { reading.next().await.map_err(|e| from_driver(e, Some(sql.as_str()))) };
                    let step = match db.in_time(deadline, next).await {
                        Ok(step) => step,
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    };
                    match step {
                        None => break,
                        Some(Step::Done { affected, .. }) if told(db, &text) => record.affected(affected),
                        Some(Step::Done { .. }) => {}
                        Some(Step::Row(row)) => {
                            record.row(&row.0);
                            let row = record.check(row.read(), place)?;
                            ran.pauses();
                            yield row;
                        }
                    }
                }
            }
            if let Some(error) = failed {
                doubt.failed(&error);
                let explained: Result<()> = hold.explain(db, Err(error)).await;
                record.check(explained, place)?;
            }
            let concluded = hold.conclude(db, enclosed, true).await;
            record.check(concluded, place)?;
            record.done();
            doubt.done();
        }
    }

    /// The statement with the clause that locks, if one was asked for.
    fn locking(self) -> Result<(&'d Db, Statement)> {
        let Self { db, mut statement, lock } = self;
        if let Some(lock) = lock {
            let place = statement.place;
            statement.sql = lock.apply(db, statement.sql).map_err(|e| e.at(place))?;
        }
        Ok((db, statement))
    }

    /// Runs it and hands each row to `on`; its first error is the result.
    async fn each(self, on: impl FnMut(Row) -> Result<()> + Send) -> Result<Done> {
        let (db, statement) = self.locking()?;
        match db.route.as_ref().filter(|_| !db.in_transaction()) {
            None => Self::run(db, statement, &mut Answered::default(), on).await,
            Some(route) => Box::pin(Self::routed(db, &**route, statement, on)).await,
        }
    }

    /// Runs it where the route says, and elsewhere if that server fails it.
    async fn routed(
        db: &Db,
        route: &dyn Route,
        statement: Statement,
        mut on: impl FnMut(Row) -> Result<()> + Send,
    ) -> Result<Done> {
        let (place, sql) = (statement.place, statement.sql.clone());
        let work = Work::Statement(sql.as_str());
        let mut attempt = 0;
        loop {
            let there = db.chosen(work, place).await?;
            let target = there.as_ref().unwrap_or(db);
            let mut answered = Answered::default();
            let mut doubt = Doubt::new(Some(route), work);
            let outcome = {
                let runs = pin!(Self::run(target, statement.clone(), &mut answered, &mut on));
                match select(runs, route.lost(work, target)).await {
                    Either::Left((outcome, _)) => outcome,
                    Either::Right(((), _)) => Err(lost(target).at(place)),
                }
            };
            match outcome {
                Ok(done) => {
                    doubt.done();
                    return Ok(done);
                }
                Err(error)
                    if answered.rows == 0
                        && attempt < AGAIN_MAX
                        && route.again(work, target, &error) =>
                {
                    doubt.settled();
                    attempt += 1;
                }
                Err(error) => {
                    answered.tell(&mut doubt, &error);
                    return Err(error);
                }
            }
        }
    }

    async fn run(
        db: &Db,
        statement: Statement,
        answered: &mut Answered,
        on: impl FnMut(Row) -> Result<()> + Send,
    ) -> Result<Done> {
        let (place, sql) = (statement.place, statement.sql.clone());
        let text = db.text(&sql).map_err(|e| e.at(place))?;
        let mut record = Record::begin(&db.shared, &sql, &text, place, db.transaction_id());
        record.bound(&statement.values);
        let outcome = async {
            let (driver_sql, arguments) = statement.prepare(&text, db.engine())?;
            let mut hold = record.held(pin!(db.hold(text.only_reads, false, place))).await?;
            let _ran = hold.begins(db, &text, &sql, place)?;
            let deadline = db.deadline();
            let plain = hold.goes_plain(&text, deadline.is_some());
            let keep = text.keep && !hold.is_pooled();
            let mut enclosed = false;
            let outcome = db.in_time(deadline, async {
                enclosed = hold.enclose(db, !plain).await?;
                let reading = hold.send(driver_sql, (!plain).then_some(arguments), keep);
                let mut reading = reading.of(&text, db.engine());
                let counts = told(db, &text);
                read(&mut reading, &mut record, sql.as_str(), counts, answered, on).await
            });
            let outcome = outcome.await;
            let outcome = hold.explain(db, outcome).await;
            let concluded = hold.conclude(db, enclosed, outcome.is_ok()).await;
            outcome.and_then(|done| concluded.map(|()| done))
        }
        .await;
        let done = record.check(outcome, place)?;
        record.done();
        Ok(done)
    }
}

/// Whether the number of rows changed is this statement's: SQLite gives that of the last statement
/// that changed any, whoever's it was.
fn told(db: &Db, text: &Text) -> bool {
    text.changes_rows || db.engine() != Engine::Sqlite
}

/// What the server said to a statement, however its caller takes that.
#[derive(Default)]
struct Answered {
    rows: u64,
    /// Read past an error of the caller's.
    past: u32,
}

impl Answered {
    /// The statement failed with `error`, which may be the caller's own: one that wrote has done so all the same.
    fn tell(&self, doubt: &mut Doubt<'_>, error: &Error) {
        match self.rows {
            0 => doubt.failed(error),
            // It was left in the middle, and is done or not in a moment.
            _ if self.past > ROWS_PAST_ERROR_MAX => {}
            _ => doubt.done_unless_lost(error),
        }
    }
}

async fn read(
    reading: &mut crate::connection::Reading<'_>,
    record: &mut Record<'_>,
    sql: &str,
    counts: bool,
    answered: &mut Answered,
    mut on: impl FnMut(Row) -> Result<()> + Send,
) -> Result<Done> {
    let mut done = Done::default();
    let mut refused = None;
    while let Some(step) = reading.next().await.map_err(|e| from_driver(e, Some(sql)))? {
        match step {
            Step::Done { .. } if !counts => {}
            Step::Done { affected, last_insert_id } => {
                record.affected(affected);
                let last_insert_id = last_insert_id.filter(|_| affected > 0);
                done = Done { rows_affected: done.rows_affected + affected, last_insert_id };
            }
            Step::Row(_) if refused.is_some() => {
                answered.past += 1;
                if answered.past > ROWS_PAST_ERROR_MAX {
                    break;
                }
            }
            Step::Row(row) => {
                record.row(&row.0);
                answered.rows += 1;
                refused = on(row).err();
            }
        }
    }
    refused.map_or(Ok(done), Err)
}
