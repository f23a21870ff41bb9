//! Publishing: a row of what happened and one in the outbox, in the caller's transaction.

use std::collections::BTreeMap;
use std::future::IntoFuture;

use futures_core::future::BoxFuture;
use mainstay_core::{Code, Error, Place, Result};
use mainstay_db::{Db, Engine};

use super::{Event, EventId};
use crate::options::{self, HEADERS_MAX};
use crate::store::enqueue::named;
use crate::store::{Sql, now};
use crate::wake;

/// An event that is being published: await it. Made by [`Jobs::publish`](crate::Jobs::publish).
///
/// Cancel safe: dropped, it is published or not as with any statement; in a transaction it ends that
/// (TX-005).
///
/// Errors: JOB-010 (name, key or headers out of bounds), JOB-003 (not writable as JSON), JOB-001, and
/// those of a statement.
#[must_use = "nothing is published until it is awaited"]
#[derive(Debug)]
pub struct Publish<'d> {
    db: &'d Db,
    name: &'static str,
    version: u32,
    key: Option<String>,
    headers: BTreeMap<String, String>,
    payload: Result<String>,
    wrong: Option<Error>,
    place: Place,
}

impl<'d> Publish<'d> {
    #[track_caller]
    pub(crate) fn new<E: Event>(db: &'d Db, event: &E) -> Self {
        Self {
            db,
            name: E::NAME,
            version: E::VERSION,
            key: event.key(),
            headers: BTreeMap::new(),
            payload: options::payload(E::NAME, event),
            wrong: options::check_name(E::NAME).err(),
            place: Place::here(),
        }
    }

    /// Another key than the event's own.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Something beside the payload, such as a trace's id; 8 KiB together.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        let size: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if size > HEADERS_MAX {
            let what = format!("the headers of `{}` have {size} bytes", self.name);
            let why = format!("they may have {HEADERS_MAX}");
            self.wrong.get_or_insert(Error::new(Code::JobOption, what).why(why));
        }
        self
    }

    async fn run(self) -> Result<EventId> {
        let Self { db, name, version, key, headers, payload, wrong, .. } = self;
        if let Some(error) = wrong {
            return Err(error);
        }
        if let Some(key) = &key {
            options::check_key("event's key", key)?;
        }
        let headers =
            (!headers.is_empty()).then(|| serde_json::to_string(&headers).unwrap_or_default());
        let new = &New { name, version, key, payload: payload?, headers };
        let id = if db.engine() == Engine::Postgres || db.in_transaction() {
            insert(db, new).await
        } else {
            db.transaction(|tx| async move { insert(&tx, new).await }).await
        };
        let id = id.map_err(named)?;
        wake::after_commit(db, wake::Of::Outbox).await?;
        Ok(EventId(id))
    }
}

struct New {
    name: &'static str,
    version: u32,
    key: Option<String>,
    payload: String,
    headers: Option<String>,
}

async fn insert(db: &Db, new: &New) -> Result<i64> {
    const INSERT: Sql = Sql {
        sqlite: concat!(
            "INSERT INTO mainstay_event (name, key_text, version, created_us, payload, headers) \
             VALUES ($1, $2, $3, ",
            now!(sqlite),
            ", $4, $5)"
        ),
        postgres: concat!(
            "WITH event AS (INSERT INTO mainstay_event (name, key_text, version, created_us, payload, headers) \
             VALUES ($1, $2, $3, ",
            now!(postgres),
            ", $4, $5) RETURNING id) \
             INSERT INTO mainstay_outbox (id) SELECT id FROM event RETURNING id"
        ),
        mysql: concat!(
            "INSERT INTO mainstay_event (name, key_text, version, created_us, payload, headers) \
             VALUES ($1, $2, $3, ",
            now!(mysql),
            ", $4, $5)"
        ),
    };
    let query = db
        .query(INSERT.on(db.engine()))
        .bind(new.name)
        .bind(new.key.as_deref())
        .bind(new.version as i32)
        .bind(new.payload.as_str())
        .bind(new.headers.as_deref());
    if db.engine() == Engine::Postgres {
        return query.scalar().await;
    }
    let id = query.execute().await?.last_insert_id().unwrap_or_default();
    db.query("INSERT INTO mainstay_outbox (id) VALUES ($1)").bind(id).execute().await?;
    Ok(id)
}

impl<'d> IntoFuture for Publish<'d> {
    type Output = Result<EventId>;
    type IntoFuture = BoxFuture<'d, Result<EventId>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let place = self.place;
            self.run().await.map_err(|e| e.at(place))
        })
    }
}
