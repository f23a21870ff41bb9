//! What the drivers report, as Mainstay's errors: the same code for the same failure on every
//! engine, the place in the SQL where there is one, and no bound value anywhere.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod violation;

use mainstay_core::{Code, Error, Place, Result};

pub use violation::{Violation, ViolationKind};

/// Turns the driver's errors into Mainstay's, for code that uses the driver through
/// [`Db::postgres`](crate::Db::postgres) and its like.
pub trait SqlxResultExt<T> {
    /// The same result with a coded error.
    #[track_caller]
    fn coded(self) -> Result<T>;
}

impl<T> SqlxResultExt<T> for sqlx::Result<T> {
    #[track_caller]
    fn coded(self) -> Result<T> {
        let place = Place::here();
        self.map_err(|e| from_driver(e, None).at(place))
    }
}

/// `error`, raised by `sql` if that is known.
pub(crate) fn from_driver(error: sqlx::Error, sql: Option<&str>) -> Error {
    use sqlx::Error as E;
    match error {
        E::Database(error) => from_server(&*error, sql),
        // Our own error on its way back through the driver's interface.
        E::Io(error) if error.get_ref().is_some_and(|e| e.is::<Error>()) => {
            let inner = error.into_inner().map(|e| e.downcast::<Error>());
            match inner {
                Some(Ok(error)) => *error,
                _ => Error::new(Code::Protocol, "an error lost its cause"),
            }
        }
        E::Io(error) => {
            Error::new(Code::ConnectionLost, "the connection to the database broke").cause(error)
        }
        E::Tls(error) => {
            Error::new(Code::Tls, "TLS could not be set up with the database").cause(error)
        }
        E::Configuration(error) => {
            Error::new(Code::ConfigUrl, "the database can't be configured so").cause(error)
        }
        E::WorkerCrashed => Error::new(Code::ConnectionLost, "SQLite's thread has ended"),
        E::RowNotFound => Error::new(Code::RowNotFound, "no row"),
        E::ColumnNotFound(name) => {
            Error::new(Code::ColumnMissing, format!("the row has no column `{name}`"))
        }
        E::ColumnDecode { index, source } => {
            Error::new(Code::Decode, format!("column {index} can't be read"))
                .why(source.to_string())
        }
        E::Decode(source) => {
            Error::new(Code::Decode, "a value can't be read").why(source.to_string())
        }
        E::Encode(source) => Error::new(Code::TypeMismatch, "a bound value could not be encoded")
            .why(source.to_string()),
        E::TypeNotFound { type_name } => {
            Error::new(Code::Undefined, format!("there is no type `{type_name}`"))
        }
        other => Error::new(Code::Protocol, "the driver could not go on").why(other.to_string()),
    }
}

/// As [`from_driver`], where the driver's error is to be passed on as well.
pub(crate) fn describe(error: &sqlx::Error, sql: &str) -> Error {
    match error {
        sqlx::Error::Database(error) => from_server(&**error, Some(sql)),
        _ => Error::new(Code::Protocol, "the driver could not go on"),
    }
}

fn from_server(error: &dyn sqlx::error::DatabaseError, sql: Option<&str>) -> Error {
    #[cfg(feature = "postgres")]
    if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return postgres::map(error, sql);
    }
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return mysql::map(error, sql);
    }
    #[cfg(feature = "sqlite")]
    if let Some(error) = error.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
        return sqlite::map(error, sql);
    }
    let _ = sql;
    Error::new(Code::Server, error.message().to_owned())
}

/// Whether the connection is in step with the server after `error`: it was an answer, and not the
/// server's farewell, nor one that each further use of this connection would get again.
#[allow(clippy::match_like_matches_macro, reason = "so it is with one engine alone")]
pub(crate) fn leaves_connection_usable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            #[cfg(feature = "postgres")]
            if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                return postgres::leaves_connection_usable(error);
            }
            #[cfg(feature = "mysql")]
            if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
                return mysql::leaves_connection_usable(error);
            }
            // SQLite has no session that an error could end.
            let _ = error;
            true
        }
        sqlx::Error::Encode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_) => true,
        _ => false,
    }
}

/// Whether the server has rolled the whole transaction back together with the statement.
pub(crate) fn ends_transaction(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return mysql::ends_transaction(error);
    }
    #[cfg(feature = "sqlite")]
    if let Some(error) = error.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
        return sqlite::ends_transaction(error);
    }
    // PostgreSQL keeps refusing what follows, which is as good.
    let _ = error;
    false
}

/// Whether a lock was not had in time, on MySQL.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    #[cfg(feature = "mysql")]
    if let sqlx::Error::Database(error) = error
        && let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
    {
        return error.number() == 1205;
    }
    let _ = error;
    false
}

/// Puts our error where the driver's interface asks for one of its own; [`from_driver`] finds it.
pub(crate) fn into_driver(error: Error) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(error))
}

/// The line of `sql` at `byte`, with its place and a mark below.
pub(crate) fn excerpt(sql: &str, byte: usize) -> Option<String> {
    let before = sql.get(..byte)?;
    let line_start = before.rfind('\n').map_or(0, |n| n + 1);
    let line = sql[line_start..].lines().next().unwrap_or_default();
    let number = before.matches('\n').count() + 1;
    let column = sql[line_start..byte].chars().count() + 1;
    // A generated text may be one endless line.
    let skip = column.saturating_sub(60);
    let shown: String = line.chars().skip(skip).take(100).collect();
    let mark = " ".repeat(column - 1 - skip);
    Some(format!("line {number}, column {column}\n{shown}\n{mark}^"))
}

/// Adds the place where the server stumbled, if it can be told.
fn with_place(error: Error, sql: Option<&str>, byte: Option<usize>) -> Error {
    match sql.zip(byte).and_then(|(sql, byte)| excerpt(sql, byte)) {
        Some(excerpt) => error.why(excerpt),
        None => match sql {
            Some(sql) if matches!(error.code(), Code::Syntax | Code::Undefined) => {
                error.why(sql.to_owned())
            }
            _ => error,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_marks_the_place() {
        let sql = "SELECT a\n  FORM t";
        assert_eq!(excerpt(sql, 11).unwrap(), "line 2, column 3\n  FORM t\n  ^");
        assert_eq!(excerpt(sql, 99), None);
        assert_eq!(excerpt("ä", 1), None);
    }

    #[test]
    fn an_own_error_comes_back_through_the_driver() {
        let error = from_driver(into_driver(Error::new(Code::PoolTimeout, "none")), None);
        assert_eq!(error.code(), Code::PoolTimeout);
    }
}
