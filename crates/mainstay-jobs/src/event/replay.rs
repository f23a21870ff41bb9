//! Replays: a group gets again what was, from a position or a time on. Each part is committed together
//! with how far it is, so that a replay that was killed goes on, and nothing is left out or doubled.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use super::dispatch::{delivery, enqueue, fitting, read, size};
use super::group;
use crate::store::claim::short;
use crate::store::{Sql, json};
use crate::wake;

/// Events in one transaction.
const BATCH_MAX: i64 = 500;

/// From where a replay begins. Only what is still kept can come again: 7 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest event that is kept.
    Start,
    /// This position, included.
    Position(i64),
    /// The first event given out at this time or later, by the database's clock.
    Time(DateTime<Utc>),
}

/// A replay that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Events that this call gave to the group again. Every 10 s whoever leads the workers goes on with
    /// what replays are open, this one too: what it gave is not counted here.
    pub events: u64,
}

/// Gives a group again what was given out from `from` on until now, as far as the group wants it, in order of
/// position. What is published meanwhile comes as always. Events of one key run one at a time, in the order
/// in which the group is given them: the replayed ones in theirs, and a new one wherever it comes between.
///
/// Cancel safe, and so is a kill: whoever leads the workers finishes it.
///
/// Errors: JOB-011 (no such group), JOB-012 (another replay of it is under way), those of a statement.
///
/// ```
/// # async fn f(db: mainstay_db::Db) -> mainstay_core::Result<()> {
/// use mainstay_jobs::event::{From, replay};
///
/// replay(&db, "analytics", From::Start).await?;
/// # Ok(()) }
/// ```
pub async fn replay(db: &Db, group: &str, from: From) -> Result<Replay> {
    let first: Option<i64> = match from {
        From::Start => Some(0),
        From::Position(position) => Some(position),
        From::Time(time) => {
            db.query("SELECT MIN(position) FROM mainstay_log WHERE at_us >= $1")
                .bind(time.timestamp_micros())
                .scalar()
                .await?
        }
    };
    let head: Option<i64> = db.query("SELECT MAX(position) FROM mainstay_log").scalar().await?;
    let (first, head) = (first.unwrap_or(i64::MAX - 1), head.unwrap_or(0));
    let begun = db
        .query(
            "UPDATE mainstay_group SET replay_from = $2, replay_to = $3 \
             WHERE name = $1 AND replay_from IS NULL",
        )
        .bind(group)
        .bind(first)
        .bind(head)
        .execute()
        .await?;
    if begun.rows_affected() == 0 {
        let groups = group::all(db).await?;
        return Err(if groups.iter().any(|one| one.name == group) {
            Error::new(Code::JobState, format!("a replay of `{group}` is under way"))
                .fix("wait for its end: a worker finishes it")
        } else {
            Error::new(Code::JobNotFound, format!("there is no group `{group}`"))
        });
    }
    let mut events = 0;
    while let Some(count) = part(db, group).await? {
        events += count;
    }
    Ok(Replay { events })
}

/// Goes on with replays whose caller is gone. Two who do so at once share the parts.
pub(crate) async fn resume_replays(db: &Db) -> Result<()> {
    let open: Vec<(String,)> =
        db.query("SELECT name FROM mainstay_group WHERE replay_from IS NOT NULL").all().await?;
    for (group,) in open {
        while part(db, &group).await?.is_some() {}
    }
    Ok(())
}

/// What one part gives: positions, events, their names and sizes.
const PART: Sql = Sql {
    sqlite: concat!(
        "SELECT l.position, e.id, e.name, ",
        size!(sqlite),
        " FROM mainstay_log AS l JOIN mainstay_event AS e ON e.id = l.event \
         WHERE l.position >= $1 AND l.position <= $2 ORDER BY l.position LIMIT $3"
    ),
    postgres: concat!(
        "SELECT l.position, e.id, e.name, ",
        size!(postgres),
        " FROM mainstay_log AS l JOIN mainstay_event AS e ON e.id = l.event \
         WHERE l.position >= $1 AND l.position <= $2 ORDER BY l.position LIMIT $3"
    ),
    mysql: concat!(
        "SELECT l.position, e.id, e.name, ",
        size!(mysql),
        " FROM mainstay_log AS l JOIN mainstay_event AS e ON e.id = l.event \
         WHERE l.position >= $1 AND l.position <= $2 ORDER BY l.position LIMIT $3"
    ),
};

/// One part; none when it is over.
async fn part(db: &Db, name: &str) -> Result<Option<u64>> {
    let done = short(db).run(|tx| async move { once(&tx, name).await }).await?;
    Ok(done.map(|(count, queue)| {
        wake::now(db, &wake::Of::Queue(queue));
        count
    }))
}

/// A part's events are given together with where the next part begins.
async fn once(tx: &Db, name: &str) -> Result<Option<(u64, String)>> {
    // Whoever comes second waits for the row, and goes on after this part.
    let lock = tx.query("UPDATE mainstay_group SET replay_to = replay_to WHERE name = $1");
    lock.bind(name).execute().await?;
    let range: Option<(Option<i64>, Option<i64>)> = tx
        .query("SELECT replay_from, replay_to FROM mainstay_group WHERE name = $1")
        .bind(name)
        .optional()
        .await?;
    let Some((Some(from), Some(to))) = range else { return Ok(None) };
    let groups = group::all(tx).await?;
    let Some(group) = groups.into_iter().find(|group| group.name == name) else {
        return Ok(None);
    };
    let query = tx.query(PART.on(tx.engine())).bind(from).bind(to).bind(BATCH_MAX);
    let found: Vec<(i64, i64, String, i64)> = query.all().await?;
    let size = |(_, _, name, size): &(i64, i64, String, i64)| {
        if group.wants(name) { *size as usize } else { 0 }
    };
    let found = &found[..fitting(found.iter().map(size)).min(found.len())];
    let Some((last, ..)) = found.last() else {
        let over = tx.query(
            "UPDATE mainstay_group SET replay_from = NULL, replay_to = NULL WHERE name = $1",
        );
        over.bind(name).execute().await?;
        return Ok(None);
    };
    let wanted = found.iter().filter(|(_, _, name, _)| group.wants(name));
    let positions: BTreeMap<i64, i64> = wanted.map(|(position, id, ..)| (*id, *position)).collect();
    let events = read(tx, &json(positions.keys().copied())).await?;
    let mut events: Vec<_> =
        events.iter().filter_map(|event| Some((*positions.get(&event.id)?, event))).collect();
    events.sort_unstable_by_key(|(position, _)| *position);
    let jobs: Vec<_> =
        events.iter().map(|(position, event)| delivery(&group, event, *position)).collect();
    enqueue(tx, &jobs).await?;
    let on = tx.query("UPDATE mainstay_group SET replay_from = $2 WHERE name = $1");
    on.bind(name).bind(*last + 1).execute().await?;
    Ok(Some((jobs.len() as u64, group.queue())))
}
