//! Jobs of which there may be one at a time: a row by their key, which the first one has.

use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use super::enqueue::{New, Unique, insert_all};
use super::{Sql, ids, now};
use crate::enqueue::Enqueued;
use crate::job::JobId;

/// How often a key that is let go of at the same moment is asked for again.
const TRIES: u32 = 5;

/// Takes the key unless it is taken; -1 stands for the job that is yet to be inserted.
const TAKE: Sql = Sql {
    sqlite: "INSERT INTO mainstay_unique (key_text, id, until_us) VALUES ($1, -1, NULL) \
             ON CONFLICT (key_text) DO NOTHING",
    postgres: "INSERT INTO mainstay_unique (key_text, id, until_us) VALUES ($1, -1, NULL) \
               ON CONFLICT (key_text) DO NOTHING",
    mysql: "INSERT IGNORE INTO mainstay_unique (key_text, id, until_us) VALUES ($1, -1, NULL)",
};

const RETAKE: Sql = Sql {
    sqlite: concat!(
        "UPDATE mainstay_unique SET id = -1 WHERE key_text = $1 AND until_us <= ",
        now!(sqlite)
    ),
    postgres: concat!(
        "UPDATE mainstay_unique SET id = -1 WHERE key_text = $1 AND until_us <= ",
        now!(postgres)
    ),
    mysql: concat!(
        "UPDATE mainstay_unique SET id = -1 WHERE key_text = $1 AND until_us <= ",
        now!(mysql)
    ),
};

/// A window is counted from now.
const NAME_IT: Sql = Sql {
    sqlite: concat!(
        "UPDATE mainstay_unique SET id = $2, until_us = ",
        now!(sqlite),
        " + $3 WHERE key_text = $1"
    ),
    postgres: concat!(
        "UPDATE mainstay_unique SET id = $2, until_us = ",
        now!(postgres),
        " + CAST($3 AS BIGINT) WHERE key_text = $1"
    ),
    mysql: concat!(
        "UPDATE mainstay_unique SET id = $2, until_us = ",
        now!(mysql),
        " + $3 WHERE key_text = $1"
    ),
};

/// Inserts the job, unless one with its key is there. In a transaction.
pub(super) async fn insert(db: &Db, new: &New, unique: Unique) -> Result<Enqueued> {
    let key = new.options.unique.as_deref().unwrap_or_default();
    for _ in 0..TRIES {
        let engine = db.engine();
        let mut taken = db.query(TAKE.on(engine)).bind(key).execute().await?.rows_affected() == 1;
        if !taken {
            taken = db.query(RETAKE.on(engine)).bind(key).execute().await?.rows_affected() == 1;
        }
        if taken {
            let id = insert_all(db, &[new]).await?[0];
            let name = db.query(NAME_IT.on(engine)).bind(key).bind(id).bind(unique.window_us);
            name.execute().await?;
            return Ok(Enqueued::New(JobId(id)));
        }
        let found: Option<(i64,)> = db
            .query("SELECT id FROM mainstay_unique WHERE key_text = $1")
            .bind(key)
            .optional()
            .await?;
        if let Some((id,)) = found {
            return Ok(Enqueued::Duplicate(JobId(id)));
        }
    }
    let what =
        format!("the unique key of `{}` was let go of and taken again {TRIES} times", new.name);
    Err(Error::new(Code::Serialization, what)
        .why("other transactions enqueue and end the same job"))
}

/// Lets go of the keys of jobs that have ended, save those that have a time of their own.
pub(crate) const RELEASE: Sql = Sql {
    sqlite: concat!(
        "DELETE FROM mainstay_unique WHERE until_us IS NULL AND id IN ",
        ids!(sqlite, "$1")
    ),
    postgres: concat!(
        "DELETE FROM mainstay_unique WHERE until_us IS NULL AND id IN ",
        ids!(postgres, "$1")
    ),
    mysql: concat!(
        "DELETE u FROM mainstay_unique AS u JOIN ",
        ids!(mysql, "$1"),
        " AS g ON g.id = u.id WHERE u.until_us IS NULL"
    ),
};
