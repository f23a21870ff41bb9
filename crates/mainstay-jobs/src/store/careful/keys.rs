//! Keys as rows: who has one, who waits for one, which came free. Each statement does it for a list.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_core::Result;
use mainstay_db::Db;

use super::decide::{Holders, ROOM_MAX, is_order, room};
use crate::store::{Sql, ids, json, worker};
use crate::worker::queue::Limits;

/// Texts as a parameter.
pub(super) fn list(keys: &BTreeSet<String>) -> String {
    serde_json::to_string(keys).expect("texts")
}

/// The keys that came free, which are this claim's to look at.
pub(super) async fn take_freed(tx: &Db, queue: &str, max: usize) -> Result<BTreeSet<String>> {
    const FIND: &str =
        "SELECT id, key_text FROM mainstay_freed WHERE queue = $1 ORDER BY id LIMIT $2";
    const DELETE: Sql = Sql {
        sqlite: concat!("DELETE FROM mainstay_freed WHERE id IN ", ids!(sqlite, "$1")),
        postgres: concat!(
            "DELETE FROM mainstay_freed WHERE id = ANY(ARRAY",
            ids!(postgres, "$1"),
            ")"
        ),
        mysql: concat!(
            "DELETE f FROM ",
            ids!(mysql, "$1"),
            " AS g JOIN mainstay_freed AS f ON f.id = g.id"
        ),
    };
    let found: Vec<(i64, String)> = tx.query(FIND).bind(queue).bind(max as i64).all().await?;
    if !found.is_empty() {
        let ids = json(found.iter().map(|(id, _)| *id));
        tx.query(DELETE.on(tx.engine())).bind(ids).execute().await?;
    }
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// Gives keys that have room to those that wait for them, the oldest first: they are ready again, and have
/// their turn by ordering key from now on, so that nobody takes it before they are claimed. Tells how
/// many. Under the queue's lock.
pub(super) async fn hand_on(
    tx: &Db,
    queue: &str,
    limits: &Limits,
    keys: &BTreeSet<String>,
) -> Result<usize> {
    const DELETE: Sql = Sql {
        sqlite: concat!("DELETE FROM mainstay_parked WHERE id IN ", ids!(sqlite, "$1")),
        postgres: concat!(
            "DELETE FROM mainstay_parked WHERE id = ANY(ARRAY",
            ids!(postgres, "$1"),
            ")"
        ),
        mysql: concat!(
            "DELETE p FROM ",
            ids!(mysql, "$1"),
            " AS g JOIN mainstay_parked AS p ON p.id = g.id"
        ),
    };
    let (mut found, mut turns, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for (key, holders) in holders(tx, queue, keys).await? {
        let Some(oldest) = holders.parked else { continue };
        match room(limits, &key, holders.ids.len()) {
            0 => continue,
            1 => found.push(oldest),
            room => {
                let parked = parked(tx, queue, &key, room).await?;
                if parked.len() == ROOM_MAX {
                    again.push(key.clone());
                }
                found.extend(parked);
            }
        }
        if is_order(&key) {
            turns.push((key, oldest));
        }
    }
    if found.is_empty() {
        return Ok(0);
    }
    let ids = json(found.iter().copied());
    tx.query(DELETE.on(tx.engine())).bind(ids.as_str()).execute().await?;
    worker::give_back(tx, &ids).await?;
    let turns: Vec<(&str, i64)> =
        turns.iter().map(|(key, id): &(String, i64)| (key.as_str(), *id)).collect();
    hold(tx, queue, &turns).await?;
    for key in again {
        // The rest of them is the next claim's.
        let note = tx.query("INSERT INTO mainstay_freed (queue, key_text) VALUES ($1, $2)");
        note.bind(queue).bind(key).execute().await?;
    }
    Ok(found.len())
}

async fn parked(tx: &Db, queue: &str, key: &str, max: usize) -> Result<Vec<i64>> {
    const PARKED: &str =
        "SELECT id FROM mainstay_parked WHERE queue = $1 AND key_text = $2 ORDER BY id LIMIT $3";
    let query = tx.query(PARKED).bind(queue).bind(key).bind(max as i64);
    Ok(query.all::<(i64,)>().await?.into_iter().map(|(id,)| id).collect())
}

/// Who has these keys, and who waits for them longest.
pub(super) async fn holders(
    tx: &Db,
    queue: &str,
    keys: &BTreeSet<String>,
) -> Result<BTreeMap<String, Holders>> {
    const HOLDING: Sql = Sql {
        sqlite: "SELECT h.key_text, h.id FROM json_each($2) AS g JOIN mainstay_holding AS h \
                 ON h.queue = $1 AND h.key_text = g.value",
        postgres: "SELECT h.key_text, h.id FROM json_array_elements_text(CAST($2 AS JSON)) AS g(value) \
                   JOIN mainstay_holding AS h ON h.queue = $1 AND h.key_text = g.value",
        mysql: "SELECT h.key_text, h.id FROM JSON_TABLE($2, '$[*]' COLUMNS (value VARCHAR(200) PATH '$')) AS g \
                JOIN mainstay_holding AS h ON h.queue = $1 AND h.key_text = CAST(g.value AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin",
    };
    // One look in the index for each key, however many wait for it.
    const PARKED: Sql = Sql {
        sqlite: "SELECT p.key_text, p.id FROM json_each($2) AS g JOIN mainstay_parked AS p \
                 ON p.id = (SELECT m.id FROM mainstay_parked AS m WHERE m.queue = $1 AND m.key_text = g.value ORDER BY m.id LIMIT 1)",
        postgres: "SELECT p.key_text, p.id FROM json_array_elements_text(CAST($2 AS JSON)) AS g(value) \
                   CROSS JOIN LATERAL (SELECT m.key_text, m.id FROM mainstay_parked AS m \
                   WHERE m.queue = $1 AND m.key_text = g.value ORDER BY m.id LIMIT 1) AS p",
        mysql: "SELECT p.key_text, p.id FROM (SELECT (SELECT m.id FROM mainstay_parked AS m WHERE m.queue = $1 \
                AND m.key_text = CAST(g.value AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin ORDER BY m.id LIMIT 1) AS id \
                FROM JSON_TABLE($2, '$[*]' COLUMNS (value VARCHAR(200) PATH '$')) AS g) AS f \
                JOIN mainstay_parked AS p ON p.id = f.id",
    };
    let mut out: BTreeMap<String, Holders> = BTreeMap::new();
    if keys.is_empty() {
        return Ok(out);
    }
    let keys = list(keys);
    let query = tx.query(HOLDING.on(tx.engine())).bind(queue).bind(keys.as_str());
    for (key, id) in query.all::<(String, i64)>().await? {
        out.entry(key).or_default().ids.insert(id);
    }
    let query = tx.query(PARKED.on(tx.engine())).bind(queue).bind(keys);
    for (key, id) in query.all::<(String, i64)>().await? {
        out.entry(key).or_default().parked = Some(id);
    }
    Ok(out)
}

/// Parks `(key, job, priority)`.
pub(super) async fn park(tx: &Db, queue: &str, rows: &[(&str, i64, i16)]) -> Result<()> {
    const PARK: Sql = Sql {
        sqlite: "INSERT OR IGNORE INTO mainstay_parked (queue, key_text, id, priority) \
                 SELECT $1, value->>0, value->>1, value->>2 FROM json_each($2)",
        postgres: "INSERT INTO mainstay_parked (queue, key_text, id, priority) \
                   SELECT $1, g.value->>0, CAST(g.value->>1 AS BIGINT), CAST(g.value->>2 AS SMALLINT) \
                   FROM json_array_elements(CAST($2 AS JSON)) AS g(value) ON CONFLICT DO NOTHING",
        mysql: "INSERT IGNORE INTO mainstay_parked (queue, key_text, id, priority) \
                SELECT $1, g.k, g.id, g.priority FROM JSON_TABLE($2, '$[*]' COLUMNS (\
                k VARCHAR(200) PATH '$[0]', id BIGINT PATH '$[1]', priority SMALLINT PATH '$[2]')) AS g",
    };
    if rows.is_empty() {
        return Ok(());
    }
    let rows = serde_json::to_string(rows).expect("texts and numbers");
    tx.query(PARK.on(tx.engine())).bind(queue).bind(rows).execute().await?;
    Ok(())
}

/// Gives `(key, job)`; nothing where it has it already.
pub(super) async fn hold(tx: &Db, queue: &str, rows: &[(&str, i64)]) -> Result<()> {
    const HOLD: Sql = Sql {
        sqlite: "INSERT OR IGNORE INTO mainstay_holding (queue, key_text, id) \
                 SELECT $1, value->>0, value->>1 FROM json_each($2)",
        postgres: "INSERT INTO mainstay_holding (queue, key_text, id) \
                   SELECT $1, g.value->>0, CAST(g.value->>1 AS BIGINT) \
                   FROM json_array_elements(CAST($2 AS JSON)) AS g(value) ON CONFLICT DO NOTHING",
        mysql: "INSERT IGNORE INTO mainstay_holding (queue, key_text, id) SELECT $1, g.k, g.id \
                FROM JSON_TABLE($2, '$[*]' COLUMNS (k VARCHAR(200) PATH '$[0]', id BIGINT PATH '$[1]')) AS g",
    };
    if rows.is_empty() {
        return Ok(());
    }
    let rows = serde_json::to_string(rows).expect("texts and numbers");
    tx.query(HOLD.on(tx.engine())).bind(queue).bind(rows).execute().await?;
    Ok(())
}
