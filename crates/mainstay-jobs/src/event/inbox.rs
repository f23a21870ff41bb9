//! The inbox: messages of others that were processed, so that a second delivery has no second effect.

use std::time::Duration;

use mainstay_core::Result;
use mainstay_db::Db;

use crate::options::micros;
use crate::store::{Sql, now};

/// How long a message is remembered.
pub(crate) const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whether this is the first time that `consumer` sees `message`; remembered with the transaction.
pub(crate) async fn first(tx: &Db, consumer: &str, message: &str) -> Result<bool> {
    const INSERT: Sql = Sql {
        sqlite: concat!(
            "INSERT INTO mainstay_inbox (consumer, message, at_us) VALUES ($1, $2, ",
            now!(sqlite),
            ") ON CONFLICT DO NOTHING"
        ),
        postgres: concat!(
            "INSERT INTO mainstay_inbox (consumer, message, at_us) VALUES ($1, $2, ",
            now!(postgres),
            ") ON CONFLICT DO NOTHING"
        ),
        mysql: concat!(
            "INSERT IGNORE INTO mainstay_inbox (consumer, message, at_us) VALUES ($1, $2, ",
            now!(mysql),
            ")"
        ),
    };
    let insert = tx.query(INSERT.on(tx.engine())).bind(consumer).bind(message);
    Ok(insert.execute().await?.rows_affected() == 1)
}

/// Statements of one [`clean`].
const ROUNDS_MAX: usize = 20;

/// Forgets what is older than `retention`, `max` in a statement and up to 20 statements.
pub(crate) async fn clean(db: &Db, retention: Duration, max: i64) -> Result<()> {
    const DELETE: Sql = Sql {
        sqlite: concat!(
            "DELETE FROM mainstay_inbox WHERE (consumer, message) IN \
             (SELECT consumer, message FROM mainstay_inbox WHERE at_us < ",
            now!(sqlite),
            " - $1 ORDER BY at_us LIMIT $2)"
        ),
        postgres: concat!(
            "DELETE FROM mainstay_inbox WHERE ctid = ANY(ARRAY( \
             SELECT ctid FROM mainstay_inbox WHERE at_us < ",
            now!(postgres),
            " - CAST($1 AS BIGINT) ORDER BY at_us LIMIT $2))"
        ),
        mysql: concat!(
            "DELETE FROM mainstay_inbox WHERE at_us < ",
            now!(mysql),
            " - $1 ORDER BY at_us, consumer, message LIMIT $2"
        ),
    };
    for _ in 0..ROUNDS_MAX {
        let delete = db.query(DELETE.on(db.engine())).bind(micros(retention)).bind(max);
        if delete.execute().await?.rows_affected() < max as u64 {
            break;
        }
    }
    Ok(())
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use mainstay_core::Error;

    use super::*;

    #[tokio::test]
    async fn a_message_is_new_once_and_again_when_it_is_forgotten() {
        let db = Db::connect("sqlite::memory:").await.unwrap();
        crate::install(&db).await.unwrap();
        let rolled_back: Result<()> = db
            .transaction(|tx| async move {
                assert!(first(&tx, "a", "1").await?);
                Err(Error::user("no"))
            })
            .await;
        rolled_back.unwrap_err();
        assert!(first(&db, "a", "1").await.unwrap());
        assert!(!first(&db, "a", "1").await.unwrap());
        assert!(first(&db, "b", "1").await.unwrap());
        clean(&db, RETENTION, 1).await.unwrap();
        assert!(!first(&db, "a", "1").await.unwrap());
        db.query("UPDATE mainstay_inbox SET at_us = 0 WHERE consumer = 'a'")
            .execute()
            .await
            .unwrap();
        clean(&db, RETENTION, 1).await.unwrap();
        assert!(first(&db, "a", "1").await.unwrap());
        assert!(!first(&db, "b", "1").await.unwrap());
    }
}
