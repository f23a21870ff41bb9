//! Publishing: a row of what happened and one in the outbox, in the caller's transaction.

use std::collections::BTreeMap;
use std::future::IntoFuture;

use futures_core::future::BoxFuture;
use mainstay_core::{Code, Error, Place, Result};
use mainstay_db::{Db, Engine};
use serde::Serialize;
use serde_json::json;

use super::dispatch::fitting;
use super::{Event, EventId};
use crate::options::{self, HEADERS_MAX};
use crate::schema::named;
use crate::store::{self, Sql, ids, now};
use crate::tokens;
use crate::wake;

/// Events in one statement.
const BATCH_MAX: usize = 500;

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
        let Self { db, name, version, key, mut headers, payload, wrong, .. } = self;
        if let Some(error) = wrong {
            return Err(error);
        }
        if let Some(key) = &key {
            options::check_key("event's key", key)?;
        }
        if let Some(tokens) = tokens::carried(db).await {
            headers.insert(tokens::TOKEN.to_owned(), tokens);
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

/// As a statement for many reads it.
#[derive(Serialize)]
struct Row {
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<String>,
    b: String,
}

/// Publishes them in their order, in the open transaction if there is one, otherwise all or none. Errors: as
/// [`Publish`].
pub(crate) async fn publish_all<E: Event>(db: &Db, events: &[E]) -> Result<Vec<EventId>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    options::check_name(E::NAME)?;
    let rows = events.iter().map(row).collect::<Result<Vec<_>>>()?;
    let tokens = tokens::carried(db).await;
    let headers = tokens.map(|tokens| json!({ tokens::TOKEN: tokens }).to_string());
    let all = &All { name: E::NAME, version: E::VERSION, headers };
    let rows = rows.as_slice();
    let one_statement = db.engine() == Engine::Postgres && batch(rows) == rows.len();
    let ids = if db.in_transaction() || one_statement {
        insert_all(db, all, rows).await
    } else {
        db.transaction(|tx| async move { insert_all(&tx, all, rows).await }).await
    };
    let ids = ids.map_err(named)?;
    wake::after_commit(db, wake::Of::Outbox).await?;
    Ok(ids.into_iter().map(EventId).collect())
}

fn row<E: Event>(event: &E) -> Result<Row> {
    let k = event.key();
    if let Some(key) = &k {
        options::check_key("event's key", key)?;
    }
    Ok(Row { k, b: options::payload(E::NAME, event)? })
}

/// How many of them go into one statement.
fn batch(rows: &[Row]) -> usize {
    fitting(rows.iter().take(BATCH_MAX).map(|row| row.b.len())).min(rows.len())
}

/// What several events that are published together have in common.
struct All {
    name: &'static str,
    version: u32,
    headers: Option<String>,
}

async fn insert_all(db: &Db, all: &All, rows: &[Row]) -> Result<Vec<i64>> {
    let (mut out, mut rest) = (Vec::with_capacity(rows.len()), rows);
    while !rest.is_empty() {
        let (now, then) = rest.split_at(batch(rest));
        out.extend(insert_batch(db, all, now).await?);
        rest = then;
    }
    Ok(out)
}

/// MySQL promises no order for the numbers of one statement that reads its rows, and MariaDB tells them.
async fn insert_batch(db: &Db, all: &All, rows: &[Row]) -> Result<Vec<i64>> {
    let All { name, version, headers } = all;
    if db.engine() == Engine::MySql && !db.is_mariadb() {
        let mut ids = Vec::with_capacity(rows.len());
        for Row { k, b } in rows {
            let (key, payload, headers) = (k.clone(), b.clone(), headers.clone());
            let new = New { name, version: *version, key, payload, headers };
            ids.push(insert(db, &new).await?);
        }
        return Ok(ids);
    }
    let text = serde_json::to_string(rows).expect("rows are plain");
    let query = db.query(MANY.on(db.engine())).bind(text).bind(*name);
    let query = query.bind(*version as i32).bind(headers.as_deref());
    if db.engine() == Engine::Sqlite {
        // One writer, and numbers that only grow, so they follow each other.
        let last = query.execute().await?.last_insert_id().unwrap_or_default();
        let ids: Vec<i64> = (last + 1 - rows.len() as i64..=last).collect();
        to_outbox(db, &ids).await?;
        return Ok(ids);
    }
    let ids: Vec<(i64,)> = query.all().await?;
    let mut ids: Vec<i64> = ids.into_iter().map(|(id,)| id).collect();
    ids.sort_unstable();
    if db.engine() == Engine::MySql {
        to_outbox(db, &ids).await?;
    }
    Ok(ids)
}

async fn to_outbox(db: &Db, ids: &[i64]) -> Result<()> {
    const OUTBOX: Sql = Sql {
        sqlite: concat!("INSERT INTO mainstay_outbox (id) SELECT id FROM ", ids!(sqlite, "$1")),
        postgres: "",
        mysql: concat!(
            "INSERT INTO mainstay_outbox (id) SELECT id FROM ",
            ids!(mysql, "$1"),
            " AS g"
        ),
    };
    let insert = db.query(OUTBOX.on(db.engine())).bind(store::json(ids.iter().copied()));
    insert.execute().await.map(drop)
}

const MANY: Sql = Sql {
    sqlite: concat!(
        "INSERT INTO mainstay_event (name, key_text, version, created_us, payload, headers) \
         SELECT $2, value->>'k', $3, n.us, value->>'b', $4 FROM json_each($1), (SELECT ",
        now!(sqlite),
        " AS us) AS n ORDER BY json_each.key"
    ),
    postgres: concat!(
        "WITH event AS (INSERT INTO mainstay_event (name, key_text, version, created_us, payload, headers) \
           SELECT CAST($2 AS TEXT), k, CAST($3 AS INT), us, b, CAST($4 AS TEXT) \
           FROM json_to_recordset(CAST($1 AS JSON)) AS r(k TEXT, b TEXT), (SELECT ",
        now!(postgres),
        " AS us) AS n RETURNING id) \
         INSERT INTO mainstay_outbox (id) SELECT id FROM event RETURNING id"
    ),
    mysql: concat!(
        "INSERT INTO mainstay_event (name, key_text, version, created_us, payload, headers) \
         SELECT $2, k, $3, us, b, $4 FROM JSON_TABLE($1, '$[*]' COLUMNS (\
           k VARCHAR(200) PATH '$.k', b LONGTEXT PATH '$.b')) AS r, (SELECT ",
        now!(mysql),
        " AS us) AS n RETURNING id"
    ),
};

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
