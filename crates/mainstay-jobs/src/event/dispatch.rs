//! From the outbox to the groups: each event gets its position, and each group that wants it a job, in one
//! transaction with the outbox's row. So it is done once, whatever is killed when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_core::Result;
use mainstay_db::{Db, Engine};

use super::group::{self, Group};
use crate::options::{EventRef, Options, micros};
use crate::store::claim::short;
use crate::store::enqueue::{New, insert_all};
use crate::store::{Sql, ids, json, now};
use crate::wake;

/// Events in one transaction.
pub(crate) const DISPATCH_MAX: usize = 500;
/// Jobs in one statement.
const JOBS_MAX: usize = 500;

/// An event as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) key: Option<String>,
    pub(super) version: i32,
    pub(super) created_us: i64,
    pub(super) payload: String,
    pub(super) headers: Option<String>,
}

/// The columns of [`Kept`], of a table called `e`.
macro_rules! kept {
    () => {
        "e.id, e.name, e.key_text, e.version, e.created_us, e.payload, e.headers"
    };
}
pub(super) use kept;

pub(super) type Row = (i64, String, Option<String>, i32, i64, String, Option<String>);

impl From<Row> for Kept {
    fn from((id, name, key, version, created_us, payload, headers): Row) -> Self {
        Self { id, name, key, version, created_us, payload, headers }
    }
}

const OUTBOX: Sql = Sql {
    sqlite: concat!(
        "SELECT ",
        kept!(),
        " FROM mainstay_outbox AS o JOIN mainstay_event AS e ON e.id = o.id ORDER BY o.id LIMIT $1"
    ),
    postgres: concat!(
        "SELECT ",
        kept!(),
        " FROM mainstay_outbox AS o JOIN mainstay_event AS e ON e.id = o.id \
         ORDER BY o.id LIMIT $1 FOR UPDATE OF o SKIP LOCKED"
    ),
    mysql: concat!(
        "SELECT ",
        kept!(),
        " FROM mainstay_outbox AS o JOIN mainstay_event AS e ON e.id = o.id \
         ORDER BY o.id LIMIT $1 FOR UPDATE SKIP LOCKED"
    ),
};

const DELETE: Sql = Sql {
    sqlite: concat!("DELETE FROM mainstay_outbox WHERE id IN ", ids!(sqlite, "$1")),
    postgres: concat!(
        "DELETE FROM mainstay_outbox WHERE id = ANY(ARRAY",
        ids!(postgres, "$1"),
        ")"
    ),
    mysql: concat!(
        "DELETE o FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_outbox AS o ON o.id = g.id"
    ),
};

/// Gives them their positions, in order of their numbers.
const LOG: Sql = Sql {
    sqlite: concat!(
        "INSERT INTO mainstay_log (event, at_us) SELECT id, ",
        now!(sqlite),
        " FROM ",
        ids!(sqlite, "$1"),
        " ORDER BY id"
    ),
    postgres: concat!(
        "INSERT INTO mainstay_log (event, at_us) SELECT id, ",
        now!(postgres),
        " FROM ",
        ids!(postgres, "$1"),
        " AS g ORDER BY id"
    ),
    mysql: concat!(
        "INSERT INTO mainstay_log (event, at_us) SELECT id, ",
        now!(mysql),
        " FROM ",
        ids!(mysql, "$1"),
        " AS g ORDER BY id"
    ),
};

const POSITIONS: Sql = Sql {
    sqlite: concat!(
        "SELECT event, position FROM mainstay_log WHERE event IN ",
        ids!(sqlite, "$1"),
        " AND position > $2"
    ),
    postgres: concat!(
        "SELECT event, position FROM mainstay_log WHERE event = ANY(ARRAY",
        ids!(postgres, "$1"),
        ") AND position > $2"
    ),
    mysql: concat!(
        "SELECT l.event, l.position FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_log AS l ON l.event = g.id AND l.position > $2"
    ),
};

/// Gives up to `max` committed events to their groups; tells how many there were.
pub(crate) async fn dispatch(db: &Db, max: usize) -> Result<usize> {
    let any: i64 = db
        .query("SELECT COUNT(*) FROM (SELECT id FROM mainstay_outbox LIMIT 1) AS one")
        .scalar()
        .await?;
    if any == 0 {
        return Ok(0);
    }
    let (count, queues) = short(db).run(|tx| async move { once(&tx, max).await }).await?;
    for queue in queues {
        wake::now(db, &wake::Of::Queue(queue));
    }
    Ok(count)
}

/// One process at a time gives positions, or else one that is given earlier may be committed later.
async fn once(tx: &Db, max: usize) -> Result<(usize, BTreeSet<String>)> {
    if tx.engine() != Engine::Sqlite
        && tx.advisory_lock("mainstay jobs positions").try_acquire().await?.is_none()
    {
        return Ok((0, BTreeSet::new()));
    }
    let rows: Vec<Row> = tx.query(OUTBOX.on(tx.engine())).bind(max as i64).all().await?;
    let events: Vec<Kept> = rows.into_iter().map(Kept::from).collect();
    if events.is_empty() {
        return Ok((0, BTreeSet::new()));
    }
    let head: Option<i64> = tx.query("SELECT MAX(position) FROM mainstay_log").scalar().await?;
    let ids = json(events.iter().map(|event| event.id));
    tx.query(LOG.on(tx.engine())).bind(ids.as_str()).execute().await?;
    let positions: Vec<(i64, i64)> = tx
        .query(POSITIONS.on(tx.engine()))
        .bind(ids.as_str())
        .bind(head.unwrap_or(-1))
        .all()
        .await?;
    let positions: BTreeMap<i64, i64> = positions.into_iter().collect();
    let groups = group::all(tx).await?;
    let mut queues = BTreeSet::new();
    let mut jobs = Vec::new();
    for event in &events {
        let position = positions.get(&event.id).copied().unwrap_or_default();
        for group in groups.iter().filter(|group| group.wants(&event.name)) {
            queues.insert(group.queue());
            jobs.push(delivery(group, event, position));
        }
    }
    enqueue(tx, &jobs).await?;
    tx.query(DELETE.on(tx.engine())).bind(ids).execute().await?;
    Ok((events.len(), queues))
}

/// The job that delivers an event to a group.
pub(super) fn delivery(group: &Group, event: &Kept, position: i64) -> New {
    let headers = event.headers.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let reference =
        EventRef { id: event.id, position, key: event.key.clone(), created_us: event.created_us };
    let options = Options {
        event: Some(reference),
        ordering_key: event.key.clone(),
        headers: headers.unwrap_or_default(),
        ..Options::default()
    };
    New {
        queue: group.queue(),
        name: event.name.clone().into(),
        version: event.version.unsigned_abs(),
        payload: event.payload.clone(),
        options,
        ..New::default()
    }
}

pub(super) async fn enqueue(tx: &Db, jobs: &[New]) -> Result<()> {
    for chunk in jobs.chunks(JOBS_MAX) {
        insert_all(tx, &chunk.iter().collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Removes up to `max` events that were given out so long ago, unless a replay needs them still.
pub(crate) async fn clean(db: &Db, retention: Duration, max: i64) -> Result<()> {
    const FIND: Sql = Sql {
        sqlite: concat!(
            "SELECT position, event FROM mainstay_log WHERE at_us < ",
            now!(sqlite),
            " - $1 AND position < $2 ORDER BY position LIMIT $3"
        ),
        postgres: concat!(
            "SELECT position, event FROM mainstay_log WHERE at_us < ",
            now!(postgres),
            " - CAST($1 AS BIGINT) AND position < $2 ORDER BY position LIMIT $3"
        ),
        mysql: concat!(
            "SELECT position, event FROM mainstay_log WHERE at_us < ",
            now!(mysql),
            " - $1 AND position < $2 ORDER BY position LIMIT $3"
        ),
    };
    const EVENTS: Sql = Sql {
        sqlite: concat!("DELETE FROM mainstay_event WHERE id IN ", ids!(sqlite, "$1")),
        postgres: concat!(
            "DELETE FROM mainstay_event WHERE id = ANY(ARRAY",
            ids!(postgres, "$1"),
            ")"
        ),
        mysql: concat!(
            "DELETE e FROM ",
            ids!(mysql, "$1"),
            " AS g JOIN mainstay_event AS e ON e.id = g.id"
        ),
    };
    let replayed: Option<i64> =
        db.query("SELECT MIN(replay_from) FROM mainstay_group").scalar().await?;
    let query = db.query(FIND.on(db.engine())).bind(micros(retention));
    let query = query.bind(replayed.unwrap_or(i64::MAX)).bind(max);
    let found: Vec<(i64, i64)> = query.all().await?;
    let Some((last, _)) = found.last().copied() else { return Ok(()) };
    let events = &json(found.iter().map(|(_, event)| *event));
    short(db)
        .run(|tx| async move {
            tx.query(EVENTS.on(tx.engine())).bind(events.as_str()).execute().await?;
            let log = tx.query("DELETE FROM mainstay_log WHERE position <= $1").bind(last);
            log.execute().await.map(drop)
        })
        .await
}
