//! Optimistic locks: a change that takes effect only if the row is still of the version that was
//! read.

use mainstay_core::{Code, Error, Place, Result};
use sea_query::{Expr, ExprTrait, Query as Build};

use crate::db::Db;
use crate::engine::Engine;
use crate::value::Value;

/// The row was not of the version that was expected: the [detail](Error::detail) of errors with the
/// code LOCK-001.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The table.
    pub table: &'static str,
    /// The version that was read before.
    pub expected: i64,
    /// The version that is there; `None` if the row is gone.
    pub found: Option<i64>,
}

/// A change of one row that is being put together; made by [`Db::versioned`].
#[derive(Debug)]
#[must_use = "nothing is changed until update() or delete() is awaited"]
pub struct Versioned<'d> {
    db: &'d Db,
    table: &'static str,
    key_column: &'static str,
    key: Value,
    expected: i64,
    version_column: &'static str,
    changes: Vec<(&'static str, Value)>,
    place: Place,
}

impl Db {
    /// Begins a change of the row of `table` whose `key_column` is `key`, if its column `version` (a
    /// whole number) still is `expected`: so that no edit of somebody else in between is lost, though
    /// no lock was held while a person looked at it.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
    /// # db.script("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, version BIGINT NOT NULL); INSERT INTO notes VALUES (7, 'a', 3)").await?;
    /// use mainstay_db::{Code, Conflict};
    ///
    /// let version = db.versioned("notes", "id", 7, 3).set("body", "mine").update().await?;
    /// assert_eq!(version, 4);
    ///
    /// let late = db.versioned("notes", "id", 7, 3).set("body", "theirs").update().await.unwrap_err();
    /// assert_eq!(late.code(), Code::Conflict);
    /// assert_eq!(late.detail::<Conflict>().unwrap().found, Some(4));
    /// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
    /// ```
    #[track_caller]
    pub fn versioned(
        &self,
        table: &'static str,
        key_column: &'static str,
        key: impl Into<Value>,
        expected: i64,
    ) -> Versioned<'_> {
        Versioned {
            db: self,
            table,
            key_column,
            key: key.into(),
            expected,
            version_column: "version",
            changes: Vec::new(),
            place: Place::here(),
        }
    }
}

impl Versioned<'_> {
    /// The column that holds the version; default `version`.
    pub fn version_column(mut self, name: &'static str) -> Self {
        self.version_column = name;
        self
    }

    /// Gives a column a new value.
    pub fn set(mut self, column: &'static str, value: impl Into<Value>) -> Self {
        self.changes.push((column, value.into()));
        self
    }

    /// Changes the row and counts its version up; returns the new one. Without any
    /// [`set`](Self::set) only the version is changed.
    ///
    /// Errors: LOCK-001 with a [`Conflict`]; as [`Query`](crate::Query).
    pub async fn update(mut self) -> Result<i64> {
        let version = Expr::col(self.version_column);
        let mut update = Build::update()
            .table(self.table)
            .value(self.version_column, version.add(1))
            .and_where(Expr::col(self.key_column).eq(self.key.clone()))
            .and_where(Expr::col(self.version_column).eq(self.expected))
            .take();
        for (column, value) in self.changes.drain(..) {
            update.value(column, value);
        }
        let done = self.db.build_at(&update, self.place).execute().await?;
        if done.rows_affected() > 0 { Ok(self.expected + 1) } else { Err(self.conflict().await?) }
    }

    /// Deletes the row. What was [`set`](Self::set) is of no effect.
    ///
    /// Errors: as [`update`](Self::update).
    pub async fn delete(self) -> Result<()> {
        let delete = Build::delete()
            .from_table(self.table)
            .and_where(Expr::col(self.key_column).eq(self.key.clone()))
            .and_where(Expr::col(self.version_column).eq(self.expected))
            .take();
        let done = self.db.build_at(&delete, self.place).execute().await?;
        if done.rows_affected() > 0 { Ok(()) } else { Err(self.conflict().await?) }
    }

    /// What is there instead.
    async fn conflict(&self) -> Result<Error> {
        let select = Build::select()
            .column(self.version_column)
            .from(self.table)
            .and_where(Expr::col(self.key_column).eq(self.key.clone()))
            .take();
        let mut query = self.db.build_at(&select, self.place);
        // InnoDB's snapshot would show the version as it was read before.
        if self.db.engine() == Engine::MySql && self.db.in_transaction() {
            query = query.for_share();
        }
        let found: Option<i64> = query.optional::<(i64,)>().await?.map(|row| row.0);
        let Self { table, expected, .. } = *self;
        let what = match found {
            Some(found) => {
                format!("a row of {table} is of version {found}, not {expected} as it was read")
            }
            None => format!("a row of {table}, read in version {expected}, is gone"),
        };
        let detail = Conflict { table, expected, found };
        Ok(Error::new(Code::Conflict, what).at(self.place).with_detail(detail))
    }
}
