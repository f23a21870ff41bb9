//! A question to all shards, and one answer.

mod cell;
mod group;
mod groups;
mod order;
mod plan;
mod plans;
mod refuse;
mod text;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use mainstay_core::{Code, Error, Place, Result};
use mainstay_db::{AssertSqlSafe, Db, FromRow, IntoSql, Value};

pub use cell::{Cell, FromCell};
pub use group::{FromGroup, Group};

use super::handle::{Shards, down, is_down};
use cell::{Cells, Keyed};
use plan::{Kind, Plan};
pub(crate) use plans::Plans;

/// Shards asked at the same time, unless said otherwise.
const FAN_OUT: usize = 16;
/// Rows read of all shards together, unless said otherwise.
const ROWS_MAX: usize = 1_000_000;

/// What to do where some shards do not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partial {
    /// No answer, then.
    #[default]
    Fail,
    /// The answer of the others, if no more than `max` are missing and one at least has answered.
    Allow {
        /// How many may be missing.
        max: usize,
    },
}

/// An answer.
#[derive(Debug)]
pub struct Gathered<T> {
    /// The rows, put together.
    pub rows: Vec<T>,
    /// The shards that did not answer, with why: ROUTE-024. Only with [`Partial::Allow`].
    pub missing: Vec<(String, Error)>,
}

/// How a question is asked; made by [`Shards::scatter`].
#[derive(Clone, Debug)]
pub struct Scatter<'s> {
    shards: &'s Shards,
    fan_out: usize,
    timeout: Option<Duration>,
    partial: Partial,
    colocated: bool,
    rows_max: usize,
}

/// A SELECT for all shards. What the answers are put together by is read from its own text:
///
/// - ORDER BY, LIMIT and OFFSET: each shard gives its first `limit + offset` rows in that order, and they are merged.
///   Any expression can be ordered by. NULLs are where the engine has them, or where NULLS FIRST and LAST say.
///   **Texts are in the order of their bytes**: PostgreSQL and MySQL must be told so, with `ORDER BY name COLLATE
///   "C"` or `COLLATE utf8mb4_bin`; a column of SQLite that is declared with another collation must be
///   given `COLLATE BINARY`.
/// - COUNT, SUM, MIN, MAX and AVG, with or without GROUP BY: each shard gives its part of each group, AVG as
///   a sum and a count. An average is exact to 28 digits, where the engine would round to some places after the point; sums of floating
///   point may differ in their last digits.
/// - Otherwise it is the rows of one shard after those of another.
///
/// What can't be put together is ROUTE-028, and names the place: DISTINCT, HAVING, windows, sets such as UNION,
/// OFFSET without an order, an aggregate inside an expression, other aggregates than those five, types that can't
/// be compared here (JSON, arrays, intervals, ENUM), and a subquery that groups or limits, see
/// [`colocated`](Self::colocated). **A join sees the rows of one shard**: it is right where the
/// rows that belong together share a key, or one side is a [reference table](super::Builder::reference).
/// Likewise a subquery. An aggregate that you have defined yourself is not recognised.
///
/// It reads each shard at its own moment: there is no snapshot of all. And all that each shard has: while a logical shard
/// [moves](super::moves), its rows are on two, and **are given and counted twice**, from the first that is copied until
/// the move is [finished](super::moves::Mover::finish).
#[must_use = "a question does nothing until all or groups is awaited"]
#[derive(Debug)]
pub struct Question<'s> {
    how: Scatter<'s>,
    sql: String,
    values: Vec<Value>,
    place: Place,
}

impl<'s> Scatter<'s> {
    pub(super) fn new(shards: &'s Shards) -> Self {
        Self {
            shards,
            fan_out: FAN_OUT,
            timeout: None,
            partial: Partial::Fail,
            colocated: false,
            rows_max: ROWS_MAX,
        }
    }

    /// Begins a SELECT, with its values as `$1, $2, ...`.
    #[track_caller]
    pub fn query(self, sql: impl IntoSql) -> Question<'s> {
        let sql = sql.into_sql().as_str().to_owned();
        Question { how: self, sql, values: Vec::new(), place: Place::here() }
    }
}

impl Question<'_> {
    /// Binds the next of `$1, $2, ...`.
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// How many shards are asked at the same time; default 16, at least 1.
    pub fn fan_out(mut self, shards: usize) -> Self {
        self.how.fan_out = shards.max(1);
        self
    }

    /// How long it may take altogether: a shard that has not answered by then is one that does not. Default is
    /// no bound of its own; the current [`Scope`](mainstay_core::scope::Scope)'s deadline bounds each statement in any case.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.how.timeout = Some(limit);
        self
    }

    /// What to do where some shards do not answer; default [`Partial::Fail`].
    pub fn partial(mut self, partial: Partial) -> Self {
        self.how.partial = partial;
        self
    }

    /// Says that subqueries that group or limit see all they need on their own shard.
    pub fn colocated(mut self) -> Self {
        self.how.colocated = true;
        self
    }

    /// How many rows may be read of all shards together; default 1,000,000. They are in memory.
    pub fn rows_max(mut self, rows: usize) -> Self {
        self.how.rows_max = rows;
        self
    }

    /// Asks for rows.
    ///
    /// Cancel safe: dropped, it is dropped on all shards.
    ///
    /// Errors: ROUTE-025 (shards did not answer), ROUTE-028 (answers can't be put together; too many rows), those of
    /// a [`Query`](mainstay_db::Query) that is wrong itself.
    pub async fn all<T: FromRow>(self) -> Result<Gathered<T>> {
        let place = self.place;
        self.ask_rows().await.map_err(|e| e.at(place))
    }

    fn plan(&self) -> Result<Arc<Plan>> {
        self.how.shards.0.plans.of(&self.sql, self.how.shards, self.how.colocated)
    }

    async fn ask_rows<T: FromRow>(&self) -> Result<Gathered<T>> {
        if self.how.shards.0.coordinator {
            let (answers, missing) = self.ask::<T>(&self.sql, &self.values).await?;
            return Ok(Gathered {
                rows: answers.into_iter().flat_map(|(_, r)| r).collect(),
                missing,
            });
        }
        let plan = self.plan()?;
        let Kind::Rows(order) = &plan.kind else {
            return Err(Error::new(Code::ShardMerge, "groups are no rows of a shard")
                .fix("ask with groups() instead of all()"));
        };
        let (values, window) = plan.values(&self.values)?;
        let (answers, missing) = self.ask::<Keyed<T>>(&plan.sql, &values).await?;
        let merged = order::merge(answers, order, self.how.shards.engine())?;
        let rows = window.of(merged).into_iter().map(|keyed| keyed.row).collect();
        Ok(Gathered { rows, missing })
    }

    /// Asks for groups: a SELECT with aggregates. They are read as tuples, or as [`Group`]s by the columns' names.
    ///
    /// ```
    /// # use mainstay_db::Db;
    /// # use mainstay_route::shard::{Map, Shards};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = Db::connect("sqlite::memory:").await?;
    /// # db.script("CREATE TABLE orders (country TEXT, cents INTEGER); INSERT INTO orders VALUES ('DE', 3), ('DE', 4)").await?;
    /// # let shards = Shards::builder(Map::even(["a"])?).shard("a", db).build()?;
    /// let countries = shards
    ///     .scatter()
    ///     .query("SELECT country, COUNT(*), AVG(cents) FROM orders GROUP BY country ORDER BY 2 DESC")
    ///     .groups::<(String, i64, f64)>()
    ///     .await?;
    /// assert_eq!(countries.rows, [("DE".to_owned(), 2, 3.5)]);
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    ///
    /// Cancel safe: dropped, it is dropped on all shards. Errors: as [`all`](Self::all); DB-015 (a value is of another type),
    /// DB-002 (a sum is too large).
    pub async fn groups<T: FromGroup>(self) -> Result<Gathered<T>> {
        let place = self.place;
        self.ask_groups().await.map_err(|e| e.at(place))
    }

    async fn ask_groups<T: FromGroup>(&self) -> Result<Gathered<T>> {
        if self.how.shards.0.coordinator {
            let (answers, missing) = self.ask::<Group>(&self.sql, &self.values).await?;
            let rows = answers.into_iter().flat_map(|(_, groups)| groups).map(T::from_group);
            return Ok(Gathered { rows: rows.collect::<Result<_>>()?, missing });
        }
        let plan = self.plan()?;
        let Kind::Groups(groups) = &plan.kind else {
            return Err(Error::new(Code::ShardMerge, "the statement has no aggregates")
                .fix("ask with all() instead of groups()"));
        };
        let (values, window) = plan.values(&self.values)?;
        let (answers, missing) = self.ask::<Cells>(&plan.sql, &values).await?;
        let parts = answers.into_iter().flat_map(|(_, rows)| rows).map(|cells| cells.0);
        let merged = groups.merge(parts, window)?;
        let names: Arc<[String]> = groups.names().into();
        let rows = merged.into_iter().map(|cells| T::from_group(Group::new(&names, cells)));
        Ok(Gathered { rows: rows.collect::<Result<_>>()?, missing })
    }

    /// What each shard that answers gives, in the order of their names, and those that do not.
    #[allow(clippy::type_complexity, reason = "names with what they gave, twice")]
    async fn ask<T: FromRow>(
        &self,
        sql: &str,
        values: &[Value],
    ) -> Result<(Vec<(String, Vec<T>)>, Vec<(String, Error)>)> {
        let all = self.how.shards.all();
        let until = self.how.timeout.map(|limit| self.how.shards.0.clock.now() + limit);
        let read = AtomicUsize::new(0);
        let count = all.len();
        let mut answers: Vec<Option<(String, Vec<T>)>> = all.iter().map(|_| None).collect();
        let mut missing: Vec<(String, Error)> = Vec::new();
        let asked = all.into_iter().enumerate().map(|(at, (name, db))| {
            let read = &read;
            async move { (at, self.one::<T>(&name, db, sql, values, until, read).await, name) }
        });
        let mut asked = pin!(stream::iter(asked).buffer_unordered(self.how.fan_out));
        while let Some((at, answer, name)) = asked.next().await {
            match answer {
                Ok(rows) => answers[at] = Some((name.to_string(), rows)),
                Err(error) if is_down(&error) => {
                    missing.push((name.to_string(), down(&name, error)));
                    let allowed = match self.how.partial {
                        Partial::Fail => 0,
                        Partial::Allow { max } => max.min(count - 1),
                    };
                    if missing.len() > allowed {
                        return Err(incomplete(missing, count));
                    }
                }
                Err(error) => return Err(error.note(format!("on the shard {name}"))),
            }
        }
        missing.sort_by(|a, b| a.0.cmp(&b.0));
        Ok((answers.into_iter().flatten().collect(), missing))
    }

    async fn one<T: FromRow>(
        &self,
        name: &str,
        db: Db,
        sql: &str,
        values: &[Value],
        until: Option<Instant>,
        read: &AtomicUsize,
    ) -> Result<Vec<T>> {
        let work = async {
            let mut query = db.query(AssertSqlSafe(sql.to_owned())).at(self.place);
            for value in values {
                query = query.bind(value.clone());
            }
            let mut rows = pin!(query.stream::<T>());
            let mut out = Vec::new();
            while let Some(row) = rows.try_next().await? {
                if read.fetch_add(1, Ordering::Relaxed) >= self.how.rows_max {
                    let what = format!("the shards gave over {} rows", self.how.rows_max);
                    return Err(
                        Error::new(Code::ShardMerge, what).fix("add LIMIT, or raise rows_max()")
                    );
                }
                out.push(row);
            }
            Ok(out)
        };
        match until {
            None => work.await,
            Some(until) => {
                let done = self.how.shards.0.clock.timeout_at(until, work).await;
                done.unwrap_or_else(|| {
                    let what = format!("the shard {name} did not answer within the time given");
                    Err(Error::new(Code::ShardDown, what))
                })
            }
        }
    }
}

fn incomplete(missing: Vec<(String, Error)>, count: usize) -> Error {
    let names: Vec<_> = missing.iter().map(|(name, _)| name.as_str()).collect();
    let what = format!("{} of {count} shards did not answer: {}", names.len(), names.join(", "));
    let error = Error::new(Code::ShardPartial, what);
    match missing.into_iter().next() {
        Some((_, cause)) => error.cause(cause),
        None => error,
    }
}
