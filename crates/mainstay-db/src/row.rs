//! A row of whatever engine, and what can be read from one.

use mainstay_core::{Code, Error, Result};

pub use derive::*;

/// Only for its derive macro: the trait of the same name below hides its trait.
mod derive {
    pub use sqlx::FromRow;
}

/// One trait per engine that holds for everything where the engine is left out, so that the traits
/// below ask for exactly the engines that are in.
mod engines {
    macro_rules! engine {
        ($feature:literal, $from_row:ident, $get:ident, $database:ty, $row:ty) => {
            #[cfg(feature = $feature)]
            pub trait $from_row: for<'r> sqlx::FromRow<'r, $row> {}
            #[cfg(feature = $feature)]
            impl<T: for<'r> sqlx::FromRow<'r, $row>> $from_row for T {}
            #[cfg(not(feature = $feature))]
            pub trait $from_row {}
            #[cfg(not(feature = $feature))]
            impl<T> $from_row for T {}

            #[cfg(feature = $feature)]
            pub trait $get: for<'r> sqlx::Decode<'r, $database> + sqlx::Type<$database> {}
            #[cfg(feature = $feature)]
            impl<T: for<'r> sqlx::Decode<'r, $database> + sqlx::Type<$database>> $get for T {}
            #[cfg(not(feature = $feature))]
            pub trait $get {}
            #[cfg(not(feature = $feature))]
            impl<T> $get for T {}
        };
    }
    engine!("sqlite", SqliteRow, SqliteGet, sqlx::Sqlite, sqlx::sqlite::SqliteRow);
    engine!("postgres", PostgresRow, PostgresGet, sqlx::Postgres, sqlx::postgres::PgRow);
    engine!("mysql", MySqlRow, MySqlGet, sqlx::MySql, sqlx::mysql::MySqlRow);
}

/// What a row can be read as, from every engine that is compiled in: a struct that derives
/// `FromRow`, or a tuple. The derive is sqlx's, so the crate that uses it needs `sqlx` among its
/// dependencies.
///
/// A column that may be NULL is read as an `Option`. Where it is not, a NULL is an error (DB-015) on
/// PostgreSQL and MySQL; on SQLite the driver reads it as 0 or as empty, so declare SQLite's columns
/// NOT NULL or read them as `Option`.
///
/// ```
/// use mainstay_db::FromRow;
///
/// #[derive(FromRow)]
/// struct User {
///     id: i64,
///     name: String,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be read from a row of every engine that is compiled in",
    note = "derive `FromRow` for a struct; a field's type must be one that all engines have",
    note = "for a decimal number use `mainstay_db::Decimal`, for a PostgreSQL array `mainstay_db::Array`"
)]
pub trait FromRow:
    Sized + Send + Unpin + engines::SqliteRow + engines::PostgresRow + engines::MySqlRow
{
}

impl<T> FromRow for T where
    T: Sized + Send + Unpin + engines::SqliteRow + engines::PostgresRow + engines::MySqlRow
{
}

/// What a single column can be read as, from every engine that is compiled in.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be read from a column of every engine that is compiled in",
    note = "for a decimal number use `mainstay_db::Decimal`, for a PostgreSQL array `mainstay_db::Array`"
)]
pub trait Get: engines::SqliteGet + engines::PostgresGet + engines::MySqlGet {}

impl<T> Get for T where T: engines::SqliteGet + engines::PostgresGet + engines::MySqlGet {}

/// A row whose shape is known only at run time.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
/// let rows = db.query("SELECT 1 AS a, 'x' AS b").rows().await?;
/// assert_eq!(rows[0].columns(), ["a", "b"]);
/// assert_eq!(rows[0].get::<String>("b")?, "x");
/// # Ok::<(), mainstay_db::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Row(pub(crate) Raw);

#[derive(Debug)]
pub(crate) enum Raw {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
    #[cfg(feature = "mysql")]
    MySql(sqlx::mysql::MySqlRow),
}

macro_rules! each {
    ($raw:expr, $row:ident => $work:expr) => {
        match $raw {
            #[cfg(feature = "sqlite")]
            Raw::Sqlite($row) => $work,
            #[cfg(feature = "postgres")]
            Raw::Postgres($row) => $work,
            #[cfg(feature = "mysql")]
            Raw::MySql($row) => $work,
        }
    };
}

impl Row {
    /// Reads the column `name`. Errors: DB-014 (no such column), DB-015 (another type, or NULL).
    pub fn get<T: Get>(&self, name: &str) -> Result<T> {
        use sqlx::Row as _;
        each!(&self.0, row => row.try_get::<T, _>(name)).map_err(|e| self.error(&e))
    }

    /// Reads the column at `index`, from 0. Errors: as [`get`](Self::get).
    pub fn at<T: Get>(&self, index: usize) -> Result<T> {
        use sqlx::Row as _;
        each!(&self.0, row => row.try_get::<T, _>(index)).map_err(|e| self.error(&e))
    }

    /// The columns' names, in order.
    pub fn columns(&self) -> Vec<&str> {
        use sqlx::Row as _;
        each!(&self.0, row => row.columns().iter().map(sqlx::Column::name).collect())
    }

    /// The whole row as a `T`. Errors: as [`get`](Self::get).
    pub fn read<T: FromRow>(&self) -> Result<T> {
        each!(&self.0, row => <T as sqlx::FromRow<_>>::from_row(row)).map_err(|e| self.error(&e))
    }

    fn error(&self, error: &sqlx::Error) -> Error {
        let columns = self.columns().join(", ");
        match error {
            sqlx::Error::ColumnNotFound(name) => {
                Error::new(Code::ColumnMissing, format!("the row has no column `{name}`"))
                    .why(format!("its columns are {columns}"))
            }
            sqlx::Error::ColumnIndexOutOfBounds { index, len } => Error::new(
                Code::ColumnMissing,
                format!("the row has no column at {index}: it has {len}"),
            )
            .why(format!("its columns are {columns}")),
            sqlx::Error::ColumnDecode { index, source } => {
                let name = self.name_of(index);
                let error = Error::new(Code::Decode, format!("column {name} can't be read"));
                // Others of the driver's messages quote what is stored.
                match source.to_string() {
                    why if why.starts_with("mismatched types")
                        || why.starts_with("unexpected null") =>
                    {
                        error.why(why)
                    }
                    _ => error.why("what is stored there can't be read as the Rust type"),
                }
            }
            _ => Error::new(Code::Decode, "the row can't be read"),
        }
    }

    /// The driver names a column by its index or as `"name"`.
    fn name_of(&self, index: &str) -> String {
        let name =
            index.parse().ok().and_then(|i: usize| self.columns().get(i).map(|n| (*n).to_owned()));
        format!("`{}`", name.as_deref().unwrap_or_else(|| index.trim_matches('"')))
    }
}
