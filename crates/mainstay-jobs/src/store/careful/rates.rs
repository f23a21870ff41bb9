//! Rates as rows: when the next start of each key may be.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_core::Result;
use mainstay_db::Db;

use super::keys::list;
use crate::store::{Sql, now};

/// When the next of each may start; nothing where that was never limited, or is past.
pub(super) async fn read(
    tx: &Db,
    queue: &str,
    keys: &BTreeSet<String>,
) -> Result<BTreeMap<String, i64>> {
    const READ: Sql = Sql {
        sqlite: "SELECT r.key_text, r.next_us FROM json_each($2) AS g JOIN mainstay_rate AS r \
                 ON r.queue = $1 AND r.key_text = g.value",
        postgres: "SELECT r.key_text, r.next_us FROM json_array_elements_text(CAST($2 AS JSON)) AS g(value) \
                   JOIN mainstay_rate AS r ON r.queue = $1 AND r.key_text = g.value",
        mysql: "SELECT r.key_text, r.next_us FROM JSON_TABLE($2, '$[*]' COLUMNS (value VARCHAR(200) PATH '$')) AS g \
                JOIN mainstay_rate AS r ON r.queue = $1 AND r.key_text = CAST(g.value AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin",
    };
    let query = tx.query(READ.on(tx.engine())).bind(queue).bind(list(keys));
    Ok(query.all::<(String, i64)>().await?.into_iter().collect())
}

/// Writes what has changed.
pub(super) async fn set(
    tx: &Db,
    queue: &str,
    before: &BTreeMap<String, i64>,
    after: &BTreeMap<String, i64>,
) -> Result<()> {
    // `WHERE true` tells SQLite that what follows is no join's ON.
    const SET: Sql = Sql {
        sqlite: "INSERT INTO mainstay_rate (queue, key_text, next_us) \
                 SELECT $1, value->>0, value->>1 FROM json_each($2) WHERE true \
                 ON CONFLICT (queue, key_text) DO UPDATE SET next_us = excluded.next_us",
        postgres: "INSERT INTO mainstay_rate (queue, key_text, next_us) \
                   SELECT $1, g.value->>0, CAST(g.value->>1 AS BIGINT) \
                   FROM json_array_elements(CAST($2 AS JSON)) AS g(value) \
                   ON CONFLICT (queue, key_text) DO UPDATE SET next_us = excluded.next_us",
        mysql: "INSERT INTO mainstay_rate (queue, key_text, next_us) SELECT $1, g.k, g.us \
                FROM JSON_TABLE($2, '$[*]' COLUMNS (k VARCHAR(200) PATH '$[0]', us BIGINT PATH '$[1]')) AS g \
                ON DUPLICATE KEY UPDATE next_us = VALUES(next_us)",
    };
    let changed: Vec<(&String, &i64)> =
        after.iter().filter(|(key, us)| before.get(*key) != Some(*us)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let changed = serde_json::to_string(&changed).expect("texts and numbers");
    tx.query(SET.on(tx.engine())).bind(queue).bind(changed).execute().await?;
    Ok(())
}

/// Forgets those whose next start may be now, which is what no row says as well: there may be a key for
/// each of a service's customers.
pub(super) async fn forget(tx: &Db, queue: &str) -> Result<()> {
    const FORGET: Sql = Sql {
        sqlite: concat!("DELETE FROM mainstay_rate WHERE queue = $1 AND next_us <= ", now!(sqlite)),
        postgres: concat!(
            "DELETE FROM mainstay_rate WHERE queue = $1 AND next_us <= ",
            now!(postgres)
        ),
        mysql: concat!("DELETE FROM mainstay_rate WHERE queue = $1 AND next_us <= ", now!(mysql)),
    };
    tx.query(FORGET.on(tx.engine())).bind(queue).execute().await?;
    Ok(())
}
