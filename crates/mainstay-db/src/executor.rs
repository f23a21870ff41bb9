//! The handle as sqlx's executors, so that `sqlx::query!`, `query_as!` and `QueryBuilder` run
//! through the same pool, transaction and observation.
//!
//! A failure of ours (no connection, an ended transaction) comes as sqlx's `Io` error; the method
//! `coded` of [`SqlxResultExt`](crate::SqlxResultExt) finds it again.

use std::pin::pin;

use async_stream::try_stream;
use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use mainstay_core::{Code, Error, Place, Result};
use sqlx::{Arguments as _, Either, Execute, Executor, SqlStr};

use crate::connection::{Activity, Connection, Raw};
use crate::db::Db;
use crate::engine::Engine;
use crate::error::{describe, into_driver};
use crate::hold::Hold;
use crate::record::Record;
use crate::route::{Doubt, Work};
use crate::statement::Sql;

impl Db {
    #[track_caller]
    fn only_for(&self, engine: Engine) -> Result<Place> {
        let place = Place::here();
        if self.engine() == engine {
            return Ok(place);
        }
        let what = format!("this handle is of {}, not {engine}", self.engine());
        Err(Error::new(Code::WrongEngine, what).at(place))
    }
}

/// SQLite's thread is gone where a result ends before its statement is done: see `Reading::next`.
fn to_its_end<D, R>(
    item: sqlx::Result<Option<Either<D, R>>>,
    owes_done: &mut bool,
) -> sqlx::Result<Option<Either<D, R>>> {
    match item {
        Ok(None) if *owes_done => Err(sqlx::Error::WorkerCrashed),
        item => {
            *owes_done &= !matches!(item, Ok(Some(Either::Left(_))));
            item
        }
    }
}

/// What the server's refusal is about, for who watches.
async fn explain(
    hold: &mut Hold,
    db: &Db,
    (record, doubt): (&mut Record<'_>, &mut Doubt<'_>),
    described: Error,
) {
    doubt.failed(&described);
    let described: Result<()> = Err(described);
    if let Err(explained) = hold.explain(db, described).await {
        record.failed(&explained);
    }
}

macro_rules! executor {
    ($feature:literal, $name:ident, $method:ident, $database:ty, $row:ty, $done:ty, $pattern:pat => $connection:ident, $doc:literal) => {
        #[doc = $doc]
        #[cfg(feature = $feature)]
        #[derive(Clone, Copy)]
        pub struct $name<'d> {
            db: &'d Db,
            place: Place,
        }

        #[cfg(feature = $feature)]
        impl Db {
            /// The handle as sqlx's executor. Errors: DB-017 where it is of another engine.
            #[track_caller]
            pub fn $method(&self) -> Result<$name<'_>> {
                Ok($name { db: self, place: self.only_for(Engine::$name)? })
            }
        }

        #[cfg(feature = $feature)]
        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(self.db).finish()
            }
        }

        #[cfg(feature = $feature)]
        impl<'d> $name<'d> {
            fn send(
                raw: &mut Raw,
                sql: SqlStr,
                arguments: Option<<$database as sqlx::Database>::Arguments>,
                keep: bool,
            ) -> BoxStream<'_, sqlx::Result<Either<$done, $row>>> {
                match raw {
                    $pattern => match arguments {
                        None => $connection.fetch_many(sql),
                        Some(arguments) => {
                            $connection.fetch_many(sqlx::query_with(sql, arguments).persistent(keep))
                        }
                    },
                    #[allow(unreachable_patterns, reason = "reached only with several engines")]
                    _ => unreachable!("a handle's connections are of its engine"),
                }
            }

            fn fetch(
                self,
                sql: SqlStr,
                arguments: sqlx::Result<Option<<$database as sqlx::Database>::Arguments>>,
                persistent: bool,
            ) -> impl Stream<Item = sqlx::Result<Either<$done, $row>>> + Send + 'd {
                let Self { db, place } = self;
                try_stream! {
                    let arguments = arguments?;
                    let handle = db;
                    let there = handle.chosen(Work::Statement(sql.as_str()), place).await.map_err(into_driver)?;
                    let db = there.as_ref().unwrap_or(handle);
                    let (kept, text) = db.shared.texts.of_driver(sql.as_str(), db.engine());
                    let kept = Sql::Dynamic(kept);
                    let mut record = Record::begin(&db.shared, &kept, &text, place, db.transaction_id());
                    let allowed = text.check_control(db.engine(), db.in_transaction());
                    record.check(allowed, place).map_err(into_driver)?;
                    let held = record.held(pin!(db.hold(text.only_reads, false, place))).await;
                    let mut hold = record.check(held, place).map_err(into_driver)?;
                    let begun = hold.begins(db, &text, &kept, place);
                    let ran = record.check(begun, place).map_err(into_driver)?;
                    let deadline = db.deadline();
                    let pooled = hold.is_pooled();
                    // Without values it need not be prepared.
                    let arguments = arguments.filter(|a| !(pooled && a.len() == 0 && text.is_single));
                    let encloses = hold.enclose(db, arguments.is_some());
                    let enclosed = record.check(db.in_time(deadline, encloses).await, place).map_err(into_driver)?;
                    let keep = persistent && text.keep && !pooled;
                    let mut doubt = handle.doubt(Work::Statement(kept.as_str()));
                    let Connection { raw, state, .. } = &mut *hold;
                    let mut owes_done = db.engine() == Engine::Sqlite && !text.is_empty;
                    let mut items = Self::send(raw, sql, arguments, keep);
                    loop {
                        state.activity = Activity::Waiting;
                        ran.resumes();
                        let next = db.in_time(deadline, async { Ok(items.next().await.transpose()) }).await;
                        let item = to_its_end(record.check(next, place).map_err(into_driver)?, &mut owes_done);
                        state.note(item.as_ref().map(Option::is_some));
                        if let Err(error) = &item {
                            drop(items);
                            explain(&mut hold, db, (&mut record, &mut doubt), describe(error, kept.as_str())).await;
                            item?;
                            return;
                        }
                        let Some(item) = item? else { break };
                        match &item {
                            Either::Left(done) => record.affected(done.rows_affected()),
                            Either::Right(row) => record.row(row),
                        }
                        ran.pauses();
                        yield item;
                    }
                    drop(items);
                    let concluded = hold.conclude(db, enclosed, true).await;
                    record.check(concluded, place).map_err(into_driver)?;
                    record.done();
                    doubt.done();
                }
            }
        }

        #[cfg(feature = $feature)]
        impl<'d> Executor<'d> for $name<'d> {
            type Database = $database;

            fn fetch_many<'e, 'q, E>(self, mut query: E) -> BoxStream<'e, sqlx::Result<Either<$done, $row>>>
            where
                'd: 'e,
                'q: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let arguments = query.take_arguments().map_err(sqlx::Error::Encode);
                let persistent = query.persistent();
                Box::pin(self.fetch(query.sql(), arguments, persistent))
            }

            /// Reads to the end, so that the connection comes back clean.
            fn fetch_optional<'e, 'q, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<$row>>>
            where
                'd: 'e,
                'q: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let mut items = self.fetch_many(query);
                Box::pin(async move {
                    let mut first = None;
                    while let Some(item) = items.try_next().await? {
                        if let Either::Right(row) = item {
                            first.get_or_insert(row);
                        }
                    }
                    Ok(first)
                })
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$database as sqlx::Database>::TypeInfo],
            ) -> BoxFuture<'e, sqlx::Result<<$database as sqlx::Database>::Statement>>
            where
                'd: 'e,
            {
                Box::pin(async move {
                    let there = self.db.chosen(Work::Write, self.place).await.map_err(into_driver)?;
                    let db = there.as_ref().unwrap_or(self.db);
                    let mut hold = db.hold(false, false, self.place).await.map_err(into_driver)?;
                    hold.check_session().map_err(|e| into_driver(e.at(self.place)))?;
                    let Connection { raw, state, .. } = &mut *hold;
                    state.activity = Activity::Waiting;
                    let prepares = async {
                        Ok(match raw {
                            $pattern => $connection.prepare_with(sql, parameters).await,
                            #[allow(unreachable_patterns, reason = "reached only with several engines")]
                            _ => unreachable!("a handle's connections are of its engine"),
                        })
                    };
                    let prepared = db.in_time(db.deadline(), prepares).await;
                    let prepared = prepared.map_err(into_driver)?;
                    state.note(prepared.as_ref().map(|_| false));
                    prepared
                })
            }

            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<sqlx::Describe<$database>>>
            where
                'd: 'e,
            {
                Box::pin(async move {
                    let there = self.db.chosen(Work::Write, self.place).await.map_err(into_driver)?;
                    let db = there.as_ref().unwrap_or(self.db);
                    let mut hold = db.hold(false, false, self.place).await.map_err(into_driver)?;
                    hold.check_session().map_err(|e| into_driver(e.at(self.place)))?;
                    let Connection { raw, state, .. } = &mut *hold;
                    state.activity = Activity::Waiting;
                    let describes = async {
                        Ok(match raw {
                            $pattern => $connection.describe(sql).await,
                            #[allow(unreachable_patterns, reason = "reached only with several engines")]
                            _ => unreachable!("a handle's connections are of its engine"),
                        })
                    };
                    let described = db.in_time(db.deadline(), describes).await;
                    let described = described.map_err(into_driver)?;
                    state.note(described.as_ref().map(|_| false));
                    described
                })
            }
        }
    };
}

executor!(
    "sqlite", Sqlite, sqlite, sqlx::Sqlite, sqlx::sqlite::SqliteRow, sqlx::sqlite::SqliteQueryResult,
    Raw::Sqlite(connection, _) => connection,
    "A handle as sqlx's executor for SQLite: see [`Db::sqlite`]."
);
executor!(
    "postgres", Postgres, postgres, sqlx::Postgres, sqlx::postgres::PgRow, sqlx::postgres::PgQueryResult,
    Raw::Postgres(connection, _) => connection,
    "A handle as sqlx's executor for PostgreSQL: see [`Db::postgres`]."
);
executor!(
    "mysql", MySql, mysql, sqlx::MySql, sqlx::mysql::MySqlRow, sqlx::mysql::MySqlQueryResult,
    Raw::MySql(connection, _) => connection,
    "A handle as sqlx's executor for MySQL and MariaDB: see [`Db::mysql`]."
);
