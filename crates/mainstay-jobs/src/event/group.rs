//! Groups: who wants which events. A row each, so that whoever gives events out knows of groups of which
//! no member runs at the moment.

use std::collections::BTreeSet;

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};

use crate::options::check_queue;
use crate::store::Sql;
use crate::store::claim::short;
use crate::store::now;

/// What comes before a group's name in the name of its queue.
const PREFIX: &str = "group:";
/// Characters of a group's name.
const NAME_MAX: usize = 90;

pub(crate) fn queue_of(group: &str) -> String {
    format!("{PREFIX}{group}")
}

pub(crate) fn group_of(queue: &str) -> &str {
    queue.strip_prefix(PREFIX).unwrap_or(queue)
}

/// A group of subscribers.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) events: BTreeSet<String>,
}

impl Group {
    pub(super) fn wants(&self, event: &str) -> bool {
        self.events.contains(event)
    }

    pub(super) fn queue(&self) -> String {
        queue_of(&self.name)
    }
}

pub(super) async fn all(db: &Db) -> Result<Vec<Group>> {
    let rows: Vec<(String, String)> =
        db.query("SELECT name, events FROM mainstay_group ORDER BY name").all().await?;
    let read = |(name, events): (String, String)| {
        let events = serde_json::from_str(&events).unwrap_or_default();
        Group { name, events }
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Makes a group known, and what it wants. What is added here is never taken away by another version of a
/// worker, or an event could be lost while two run: that is [`unsubscribe`]'s.
///
/// Errors: JOB-010 (its name).
pub(crate) async fn register(db: &Db, group: &str, events: &[&str]) -> Result<()> {
    const INSERT: Sql = Sql {
        sqlite: concat!(
            "INSERT INTO mainstay_group (name, events, created_us) VALUES ($1, '[]', ",
            now!(sqlite),
            ") ON CONFLICT DO NOTHING"
        ),
        postgres: concat!(
            "INSERT INTO mainstay_group (name, events, created_us) VALUES ($1, '[]', ",
            now!(postgres),
            ") ON CONFLICT DO NOTHING"
        ),
        mysql: concat!(
            "INSERT IGNORE INTO mainstay_group (name, events, created_us) VALUES ($1, '[]', ",
            now!(mysql),
            ")"
        ),
    };
    check_queue(group)?;
    if group.len() > NAME_MAX {
        let what = format!("`{group}` can't be a group's name");
        return Err(
            Error::new(Code::JobOption, what).why(format!("it may have {NAME_MAX} characters"))
        );
    }
    short(db)
        .run(|tx| async move {
            tx.query(INSERT.on(tx.engine())).bind(group).execute().await?;
            let before = locked(&tx, group).await?;
            let mut after = before.clone();
            after.extend(events.iter().map(|event| (*event).to_owned()));
            if after != before {
                set(&tx, group, &after).await?;
            }
            Ok(())
        })
        .await
}

/// Takes events away from a group; with none given, the group itself. What it was given already stays in
/// its queue.
///
/// Errors: JOB-011.
pub async fn unsubscribe(db: &Db, group: &str, events: &[&str]) -> Result<()> {
    short(db)
        .run(|tx| async move {
            let known: i64 = tx
                .query("SELECT COUNT(*) FROM mainstay_group WHERE name = $1")
                .bind(group)
                .scalar()
                .await?;
            if known == 0 {
                return Err(Error::new(Code::JobNotFound, format!("there is no group `{group}`")));
            }
            if events.is_empty() {
                let delete = tx.query("DELETE FROM mainstay_group WHERE name = $1").bind(group);
                return delete.execute().await.map(drop);
            }
            let mut wanted = locked(&tx, group).await?;
            wanted.retain(|event| !events.contains(&event.as_str()));
            set(&tx, group, &wanted).await
        })
        .await
}

async fn locked(tx: &Db, group: &str) -> Result<BTreeSet<String>> {
    let sql = match tx.engine() {
        Engine::Sqlite => "SELECT events FROM mainstay_group WHERE name = $1",
        Engine::Postgres | Engine::MySql => {
            "SELECT events FROM mainstay_group WHERE name = $1 FOR UPDATE"
        }
    };
    let events: String = tx.query(sql).bind(group).scalar().await?;
    Ok(serde_json::from_str(&events).unwrap_or_default())
}

async fn set(tx: &Db, group: &str, events: &BTreeSet<String>) -> Result<()> {
    let text = serde_json::to_string(events).unwrap_or_default();
    let update = tx.query("UPDATE mainstay_group SET events = $2 WHERE name = $1");
    update.bind(group).bind(text).execute().await.map(drop)
}
