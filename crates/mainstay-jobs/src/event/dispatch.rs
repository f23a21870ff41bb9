//! From the outbox to the groups: each event gets its position, and each group that wants it a job, in one
//! transaction with the outbox's row. So it is done once, whatever is killed when.
//!
//! None is missed, although numbers are committed out of order: what is looked for is not "after the last
//! one" but "still in the outbox". A late one is there whenever it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
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
/// Bytes in one transaction or statement, save that a single event always passes. As JSON within JSON they
/// may double, and MariaDB refuses a statement of 16 MiB.
const BYTES_MAX: usize = 4 << 20;
/// Rounds of one [`clean`].
const ROUNDS_MAX: usize = 20;

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

type Row = (i64, String, Option<String>, i32, i64, String, Option<String>);

impl From<Row> for Kept {
    fn from((id, name, key, version, created_us, payload, headers): Row) -> Self {
        Self { id, name, key, version, created_us, payload, headers }
    }
}

/// The bytes of an event of a table called `e`.
macro_rules! size {
    (sqlite) => {
        "LENGTH(CAST(e.payload AS BLOB)) + COALESCE(LENGTH(CAST(e.headers AS BLOB)), 0)"
    };
    (postgres) => {
        "CAST(OCTET_LENGTH(e.payload) + COALESCE(OCTET_LENGTH(e.headers), 0) AS BIGINT)"
    };
    (mysql) => {
        "CAST(OCTET_LENGTH(e.payload) + COALESCE(OCTET_LENGTH(e.headers), 0) AS SIGNED)"
    };
}
pub(super) use size;

/// Without locks, so that it is one snapshot. A read that locks, on MySQL, sees an event that was published
/// after another one's commit, and not that other one: their order would be lost.
const OUTBOX: Sql = Sql {
    sqlite: concat!(
        "SELECT o.id, ",
        size!(sqlite),
        " FROM mainstay_outbox AS o JOIN mainstay_event AS e ON e.id = o.id ORDER BY o.id LIMIT $1"
    ),
    postgres: concat!(
        "SELECT o.id, ",
        size!(postgres),
        " FROM mainstay_outbox AS o JOIN mainstay_event AS e ON e.id = o.id ORDER BY o.id LIMIT $1"
    ),
    mysql: concat!(
        "SELECT o.id, ",
        size!(mysql),
        " FROM mainstay_outbox AS o JOIN mainstay_event AS e ON e.id = o.id ORDER BY o.id LIMIT $1"
    ),
};

/// Events by a JSON list of their numbers.
const EVENTS: Sql = Sql {
    sqlite: concat!(
        "SELECT ",
        kept!(),
        " FROM ",
        ids!(sqlite, "$1"),
        " AS g JOIN mainstay_event AS e ON e.id = g.id ORDER BY e.id"
    ),
    postgres: concat!(
        "SELECT ",
        kept!(),
        " FROM ",
        ids!(postgres, "$1"),
        " AS g JOIN mainstay_event AS e ON e.id = g.id ORDER BY e.id"
    ),
    mysql: concat!(
        "SELECT ",
        kept!(),
        " FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_event AS e ON e.id = g.id ORDER BY e.id"
    ),
};

const DELETE: Sql = Sql {
    sqlite: concat!("DELETE FROM mainstay_outbox WHERE id IN ", ids!(sqlite, "$1")),
    postgres: concat!(
        "DELETE FROM mainstay_outbox WHERE id = ANY(ARRAY",
        ids!(postgres, "$1"),
        ")"
    ),
    // In that order: from the outbox's side, the rows of transactions under way are read too, and waited for.
    mysql: concat!(
        "DELETE o FROM ",
        ids!(mysql, "$1"),
        " AS g STRAIGHT_JOIN mainstay_outbox AS o ON o.id = g.id"
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

/// What one transaction gave out.
#[derive(Default)]
struct Given {
    count: usize,
    queues: BTreeSet<String>,
    /// The rest of them was too large for it.
    has_more: bool,
}

/// Gives up to `max` committed events to their groups; tells how many there were.
///
/// Dropped half-way, what is committed stays, and the rest is in the outbox.
pub(crate) async fn dispatch(db: &Db, max: usize) -> Result<usize> {
    let any: i64 = db
        .query("SELECT COUNT(*) FROM (SELECT id FROM mainstay_outbox LIMIT 1) AS one")
        .scalar()
        .await?;
    let (mut count, mut has_more) = (0, any > 0);
    while has_more && count < max {
        let left = max - count;
        let given = short(db).run(|tx| async move { once(&tx, left).await }).await?;
        for queue in given.queues {
            wake::now(db, &wake::Of::Queue(queue));
        }
        count += given.count;
        has_more = given.has_more;
    }
    Ok(count)
}

/// One process at a time gives positions, or else one that is given earlier may be committed later.
async fn once(tx: &Db, max: usize) -> Result<Given> {
    if tx.engine() != Engine::Sqlite
        && tx.advisory_lock("mainstay jobs positions").try_acquire().await?.is_none()
    {
        return Ok(Given::default());
    }
    let found: Vec<(i64, i64)> = tx.query(OUTBOX.on(tx.engine())).bind(max as i64).all().await?;
    if found.is_empty() {
        return Ok(Given::default());
    }
    let count = fitting(found.iter().map(|(_, size)| *size as usize));
    let ids = json(found.iter().take(count).map(|(id, _)| *id));
    let events = read(tx, &ids).await?;
    let positions = log(tx, &ids).await?;
    let groups = group::all(tx).await?;
    let mut queues = BTreeSet::new();
    let mut jobs = Vec::new();
    for event in &events {
        let position = positions.get(&event.id).copied().ok_or_else(|| {
            Error::new(Code::JobState, format!("event {} was given no position", event.id))
        })?;
        for group in groups.iter().filter(|group| group.wants(&event.name)) {
            queues.insert(group.queue());
            jobs.push(delivery(group, event, position));
        }
    }
    enqueue(tx, &jobs).await?;
    let taken = tx.query(DELETE.on(tx.engine())).bind(ids).execute().await?.rows_affected();
    if taken != events.len() as u64 {
        return Err(Error::new(Code::JobLost, "somebody else gave these events to their groups"));
    }
    Ok(Given { count: events.len(), queues, has_more: count < found.len() })
}

/// Events by a JSON list of their numbers, in the order of these.
pub(super) async fn read(tx: &Db, ids: &str) -> Result<Vec<Kept>> {
    let rows: Vec<Row> = tx.query(EVENTS.on(tx.engine())).bind(ids).all().await?;
    Ok(rows.into_iter().map(Kept::from).collect())
}

/// Gives them their positions, by number.
async fn log(tx: &Db, ids: &str) -> Result<BTreeMap<i64, i64>> {
    let head: Option<i64> = tx.query("SELECT MAX(position) FROM mainstay_log").scalar().await?;
    tx.query(LOG.on(tx.engine())).bind(ids).execute().await?;
    let query = tx.query(POSITIONS.on(tx.engine())).bind(ids).bind(head.unwrap_or(-1));
    Ok(query.all::<(i64, i64)>().await?.into_iter().collect())
}

/// How many of them fit into [`BYTES_MAX`] together; the first always does.
pub(super) fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut sum = 0_usize;
    let within = sizes.take_while(|size| {
        sum = sum.saturating_add(*size);
        sum <= BYTES_MAX
    });
    within.count().max(1)
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

/// Enqueues them, in their order, in as many statements as their sizes ask for.
pub(super) async fn enqueue(tx: &Db, jobs: &[New]) -> Result<()> {
    let mut rest = jobs;
    while !rest.is_empty() {
        let (now, then) = rest.split_at(fitting(rest.iter().take(JOBS_MAX).map(bytes_of)));
        insert_all(tx, &now.iter().collect::<Vec<_>>()).await?;
        rest = then;
    }
    Ok(())
}

fn bytes_of(new: &New) -> usize {
    new.payload.len() + new.options.to_text().map_or(0, |text| text.len())
}

/// Removes events that were given out so long ago, the oldest first and `max` in a transaction, as far as
/// no replay needs them still. Up to 20 transactions.
pub(crate) async fn clean(db: &Db, retention: Duration, max: i64) -> Result<()> {
    for _ in 0..ROUNDS_MAX {
        if clean_once(db, retention, max).await? < max as usize {
            break;
        }
    }
    Ok(())
}

async fn clean_once(db: &Db, retention: Duration, max: i64) -> Result<usize> {
    // By position, and not by time: it must not read the whole log to find nothing.
    const FIND: Sql = Sql {
        sqlite: concat!(
            "SELECT position, event, at_us - ",
            now!(sqlite),
            " + $1 FROM mainstay_log ORDER BY position LIMIT $2"
        ),
        postgres: concat!(
            "SELECT position, event, at_us - ",
            now!(postgres),
            " + CAST($1 AS BIGINT) FROM mainstay_log ORDER BY position LIMIT $2"
        ),
        mysql: concat!(
            "SELECT position, event, CAST(at_us - ",
            now!(mysql),
            " + $1 AS SIGNED) FROM mainstay_log ORDER BY position LIMIT $2"
        ),
    };
    const DELETE_EVENTS: Sql = Sql {
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
    let found: Vec<(i64, i64, i64)> =
        db.query(FIND.on(db.engine())).bind(micros(retention)).bind(max).all().await?;
    let over = over(&found);
    if over.is_empty() {
        return Ok(0);
    }
    short(db)
        .run(|tx| async move {
            let needed = needed_from(&tx).await?;
            let gone = &over[..over.partition_point(|(position, ..)| *position < needed)];
            let Some((last, ..)) = gone.last().copied() else { return Ok(0) };
            let events = json(gone.iter().map(|(_, event, _)| *event));
            tx.query(DELETE_EVENTS.on(tx.engine())).bind(events).execute().await?;
            tx.query("DELETE FROM mainstay_log WHERE position <= $1").bind(last).execute().await?;
            Ok(gone.len())
        })
        .await
}

/// Those at the beginning whose time is over: positions, events, and how long each is kept still. Behind one
/// that is kept all are, also where the clock was set back in between: what is kept has no gaps.
fn over(found: &[(i64, i64, i64)]) -> &[(i64, i64, i64)] {
    let kept = found.iter().position(|(.., left_us)| *left_us >= 0);
    &found[..kept.unwrap_or(found.len())]
}

/// The first position that a replay needs still. A replay that begins now waits for this transaction, and
/// finds what is left by it.
async fn needed_from(tx: &Db) -> Result<i64> {
    let sql = match tx.engine() {
        Engine::Sqlite => "SELECT replay_from FROM mainstay_group",
        Engine::Postgres | Engine::MySql => {
            "SELECT replay_from FROM mainstay_group ORDER BY name FOR UPDATE"
        }
    };
    let open: Vec<(Option<i64>,)> = tx.query(sql).all().await?;
    Ok(open.into_iter().filter_map(|(from,)| from).min().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_takes_what_fits_and_at_least_one() {
        assert_eq!(fitting([1, 2, 3].into_iter()), 3);
        assert_eq!(fitting([BYTES_MAX, 1].into_iter()), 1);
        assert_eq!(fitting([BYTES_MAX - 1, 1, 1].into_iter()), 2);
        assert_eq!(fitting([usize::MAX, usize::MAX].into_iter()), 1);
    }

    #[test]
    fn behind_an_event_that_is_kept_all_are() {
        assert!(over(&[]).is_empty());
        assert_eq!(over(&[(1, 7, -2), (2, 9, -1)]).len(), 2);
        assert_eq!(over(&[(1, 7, -2), (2, 8, 0), (3, 9, -1)]).len(), 1);
        assert!(over(&[(1, 7, 5), (2, 8, -1)]).is_empty());
    }

    #[test]
    fn a_delivery_is_a_job_of_the_groups_queue_with_the_events_key() {
        let group = Group { name: "mail".to_owned(), events: BTreeSet::new() };
        let event = Kept {
            id: 7,
            name: "created".to_owned(),
            key: Some("k".to_owned()),
            version: 2,
            created_us: 5,
            payload: "{}".to_owned(),
            headers: Some(r#"{"trace":"t"}"#.to_owned()),
        };
        let job = delivery(&group, &event, 9);
        assert_eq!(
            (job.queue.as_str(), job.name.as_ref(), job.version),
            ("group:mail", "created", 2)
        );
        assert_eq!(job.options.ordering_key.as_deref(), Some("k"));
        assert_eq!(job.options.headers["trace"], "t");
        let reference = job.options.event.unwrap();
        assert_eq!((reference.id, reference.position, reference.created_us), (7, 9, 5));
    }
}
