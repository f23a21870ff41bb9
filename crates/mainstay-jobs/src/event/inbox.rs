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

/// Forgets what is older than `retention`, some at a time.
pub(crate) async fn clean(db: &Db, retention: Duration, max: i64) -> Result<()> {
    const FIND: Sql = Sql {
        sqlite: concat!(
            "SELECT consumer, message FROM mainstay_inbox WHERE at_us < ",
            now!(sqlite),
            " - $1 ORDER BY at_us LIMIT $2"
        ),
        postgres: concat!(
            "SELECT consumer, message FROM mainstay_inbox WHERE at_us < ",
            now!(postgres),
            " - CAST($1 AS BIGINT) ORDER BY at_us LIMIT $2"
        ),
        mysql: concat!(
            "SELECT consumer, message FROM mainstay_inbox WHERE at_us < ",
            now!(mysql),
            " - $1 ORDER BY at_us LIMIT $2"
        ),
    };
    let query = db.query(FIND.on(db.engine())).bind(micros(retention)).bind(max);
    let old: Vec<(String, String)> = query.all().await?;
    for (consumer, message) in old {
        db.query("DELETE FROM mainstay_inbox WHERE consumer = $1 AND message = $2")
            .bind(consumer)
            .bind(message)
            .execute()
            .await?;
    }
    Ok(())
}
