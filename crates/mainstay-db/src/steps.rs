//! The results of a statement as the drivers send them, behind one stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::BoxStream;
use sqlx::Either;

use crate::row::{Raw, Row};

/// One item of a result.
#[derive(Debug)]
pub(crate) enum Step {
    Row(Row),
    /// A statement is done.
    Done {
        affected: u64,
        last_insert_id: Option<i64>,
    },
}

type Items<'c, D, R> = BoxStream<'c, sqlx::Result<Either<D, R>>>;

/// The driver's stream. It has been read to its end when it has returned `None`.
pub(crate) enum Steps<'c> {
    #[cfg(feature = "sqlite")]
    Sqlite(Items<'c, sqlx::sqlite::SqliteQueryResult, sqlx::sqlite::SqliteRow>),
    #[cfg(feature = "postgres")]
    Postgres(Items<'c, sqlx::postgres::PgQueryResult, sqlx::postgres::PgRow>),
    #[cfg(feature = "mysql")]
    MySql(Items<'c, sqlx::mysql::MySqlQueryResult, sqlx::mysql::MySqlRow>),
}

impl Stream for Steps<'_> {
    type Item = sqlx::Result<Step>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        macro_rules! next {
            ($items:expr, $row:path, $done:ident => ($affected:expr, $id:expr)) => {
                $items.as_mut().poll_next(cx).map(|item| {
                    item.map(|item| {
                        item.map(|step| match step {
                            Either::Left($done) => {
                                Step::Done { affected: $affected, last_insert_id: $id }
                            }
                            Either::Right(row) => Step::Row(Row($row(row))),
                        })
                    })
                })
            };
        }
        match self.get_mut() {
            #[cfg(feature = "sqlite")]
            Steps::Sqlite(s) => {
                next!(s, Raw::Sqlite, d => (d.rows_affected(), Some(d.last_insert_rowid())))
            }
            #[cfg(feature = "postgres")]
            Steps::Postgres(s) => next!(s, Raw::Postgres, d => (d.rows_affected(), None)),
            #[cfg(feature = "mysql")]
            Steps::MySql(s) => next!(s, Raw::MySql, d => (
                d.rows_affected(),
                Some(d.last_insert_id()).filter(|id| *id != 0).map(u64::cast_signed)
            )),
        }
    }
}
