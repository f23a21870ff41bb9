//! Keys as rows: who has one, who waits for one, which came free.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_core::Result;
use mainstay_db::Db;

use super::decide::{Candidate, Holders, Keys, WHOLE};
use super::list;
use crate::store::claim::short;
use crate::store::{Sql, json, worker};
use crate::worker::queue::Limits;

/// Keys looked at in one sweep.
const SWEEP_MAX: i64 = 1_000;

/// The keys that came free, which are this claim's to look at.
pub(super) async fn take_freed(tx: &Db, queue: &str, max: usize) -> Result<BTreeSet<String>> {
    const FIND: &str =
        "SELECT id, key_text FROM mainstay_freed WHERE queue = $1 ORDER BY id LIMIT $2";
    const DELETE: Sql = Sql {
        sqlite: concat!(
            "DELETE FROM mainstay_freed WHERE id IN ",
            crate::store::ids!(sqlite, "$1")
        ),
        postgres: concat!(
            "DELETE FROM mainstay_freed WHERE id = ANY(ARRAY",
            crate::store::ids!(postgres, "$1"),
            ")"
        ),
        mysql: concat!(
            "DELETE f FROM ",
            crate::store::ids!(mysql, "$1"),
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

/// How many may have a key at present; none where that is not limited any more.
fn most(limits: &Limits, key: &str) -> Option<u32> {
    match key {
        WHOLE => limits.global_concurrency,
        _ if key.starts_with("o:") => Some(1),
        _ => limits.key_concurrency,
    }
}

/// Makes ready again those that wait for a key and may have it now, the oldest first.
pub(super) async fn unpark_one(tx: &Db, queue: &str, limits: &Limits, key: &str) -> Result<usize> {
    const HOLDERS: &str =
        "SELECT COUNT(*) FROM mainstay_holding WHERE queue = $1 AND key_text = $2";
    const PARKED: &str =
        "SELECT id FROM mainstay_parked WHERE queue = $1 AND key_text = $2 ORDER BY id LIMIT $3";
    let room = match most(limits, key) {
        Some(most) => {
            let holders: i64 = tx.query(HOLDERS).bind(queue).bind(key).scalar().await?;
            i64::from(most) - holders
        }
        None => SWEEP_MAX,
    };
    if room <= 0 {
        return Ok(0);
    }
    let parked: Vec<(i64,)> = tx.query(PARKED).bind(queue).bind(key).bind(room).all().await?;
    if parked.is_empty() {
        return Ok(0);
    }
    for (id,) in &parked {
        let delete = tx.query("DELETE FROM mainstay_parked WHERE id = $1").bind(*id);
        delete.execute().await?;
    }
    worker::give_back(tx, &json(parked.iter().map(|(id,)| *id))).await?;
    Ok(parked.len())
}

/// Who has these keys, and who waits for them longest.
pub(super) async fn held(
    tx: &Db,
    queue: &str,
    keys: &[String],
) -> Result<BTreeMap<String, Holders>> {
    const HOLDING: Sql = Sql {
        sqlite: "SELECT h.key_text, h.id FROM json_each($2) AS g JOIN mainstay_holding AS h \
                 ON h.queue = $1 AND h.key_text = g.value",
        postgres: "SELECT h.key_text, h.id FROM json_array_elements_text(CAST($2 AS JSON)) AS g(value) \
                   JOIN mainstay_holding AS h ON h.queue = $1 AND h.key_text = g.value",
        mysql: "SELECT h.key_text, h.id FROM JSON_TABLE($2, '$[*]' COLUMNS (value VARCHAR(200) PATH '$')) AS g \
                JOIN mainstay_holding AS h ON h.queue = $1 AND h.key_text = CAST(g.value AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin",
    };
    const PARKED: Sql = Sql {
        sqlite: "SELECT p.key_text, MIN(p.id) FROM json_each($2) AS g JOIN mainstay_parked AS p \
                 ON p.queue = $1 AND p.key_text = g.value GROUP BY p.key_text",
        postgres: "SELECT g.value, MIN(p.id) FROM json_array_elements_text(CAST($2 AS JSON)) AS g(value) \
                   CROSS JOIN LATERAL (SELECT id FROM mainstay_parked WHERE queue = $1 AND key_text = g.value \
                   ORDER BY id LIMIT 1) AS p GROUP BY g.value",
        mysql: "SELECT p.key_text, MIN(p.id) FROM JSON_TABLE($2, '$[*]' COLUMNS (value VARCHAR(200) PATH '$')) AS g \
                JOIN mainstay_parked AS p ON p.queue = $1 AND p.key_text = CAST(g.value AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin \
                GROUP BY p.key_text",
    };
    let unique: BTreeSet<String> = keys.iter().cloned().collect();
    if unique.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys = list(&unique.into_iter().collect::<Vec<_>>());
    let mut out: BTreeMap<String, Holders> = BTreeMap::new();
    let query = tx.query(HOLDING.on(tx.engine())).bind(queue).bind(keys.as_str());
    for (key, id) in query.all::<(String, i64)>().await? {
        out.entry(key).or_default().ids.push(id);
    }
    let query = tx.query(PARKED.on(tx.engine())).bind(queue).bind(keys);
    for (key, id) in query.all::<(String, i64)>().await? {
        out.entry(key).or_default().parked = Some(id);
    }
    Ok(out)
}

pub(super) async fn park(tx: &Db, queue: &str, key: &str, one: &Candidate) -> Result<()> {
    const PARK: Sql = Sql {
        sqlite: "INSERT OR IGNORE INTO mainstay_parked (queue, key_text, id, priority) VALUES ($1, $2, $3, $4)",
        postgres: "INSERT INTO mainstay_parked (queue, key_text, id, priority) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        mysql: "INSERT IGNORE INTO mainstay_parked (queue, key_text, id, priority) VALUES ($1, $2, $3, $4)",
    };
    let insert = tx.query(PARK.on(tx.engine())).bind(queue).bind(key).bind(one.id);
    insert.bind(one.priority).execute().await?;
    Ok(())
}

pub(super) async fn hold(tx: &Db, queue: &str, id: i64, keys: &Keys) -> Result<()> {
    const HOLD: Sql = Sql {
        sqlite: "INSERT OR IGNORE INTO mainstay_holding (queue, key_text, id) VALUES ($1, $2, $3)",
        postgres: "INSERT INTO mainstay_holding (queue, key_text, id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        mysql: "INSERT IGNORE INTO mainstay_holding (queue, key_text, id) VALUES ($1, $2, $3)",
    };
    for (key, _) in &keys.held {
        let insert = tx.query(HOLD.on(tx.engine())).bind(queue).bind(key.as_str()).bind(id);
        insert.execute().await?;
    }
    Ok(())
}

/// When the next of each may start.
pub(super) async fn rates(tx: &Db, queue: &str, keys: &[String]) -> Result<BTreeMap<String, i64>> {
    let unique: BTreeSet<&String> = keys.iter().collect();
    let mut out = BTreeMap::new();
    for key in unique {
        let found: Option<(i64,)> = tx
            .query("SELECT next_us FROM mainstay_rate WHERE queue = $1 AND key_text = $2")
            .bind(queue)
            .bind(key.as_str())
            .optional()
            .await?;
        if let Some((next_us,)) = found {
            out.insert(key.clone(), next_us);
        }
    }
    Ok(out)
}

pub(super) async fn set_rates(
    tx: &Db,
    queue: &str,
    before: &BTreeMap<String, i64>,
    after: &BTreeMap<String, i64>,
) -> Result<()> {
    const SET: Sql = Sql {
        sqlite: "INSERT INTO mainstay_rate (queue, key_text, next_us) VALUES ($1, $2, $3) \
                 ON CONFLICT (queue, key_text) DO UPDATE SET next_us = excluded.next_us",
        postgres: "INSERT INTO mainstay_rate (queue, key_text, next_us) VALUES ($1, $2, $3) \
                   ON CONFLICT (queue, key_text) DO UPDATE SET next_us = excluded.next_us",
        mysql: "INSERT INTO mainstay_rate (queue, key_text, next_us) VALUES ($1, $2, $3) \
                ON DUPLICATE KEY UPDATE next_us = VALUES(next_us)",
    };
    for (key, next_us) in after {
        if before.get(key) != Some(next_us) {
            let set = tx.query(SET.on(tx.engine())).bind(queue).bind(key.as_str());
            set.bind(*next_us).execute().await?;
        }
    }
    Ok(())
}

/// Lets go of a job's keys and notes that they are free; one that is run again keeps its place in its
/// order. In the transaction that ends it. The queue is to be woken once that is committed.
pub(crate) async fn release_keys(tx: &Db, id: i64, keep_order: bool) -> Result<()> {
    const NOTE: &str = "INSERT INTO mainstay_freed (queue, key_text) \
         SELECT queue, key_text FROM mainstay_holding WHERE id = $1 AND key_text LIKE $2";
    const DELETE: &str = "DELETE FROM mainstay_holding WHERE id = $1 AND key_text LIKE $2";
    let which: &[&str] = if keep_order { &["l:%", "q"] } else { &["%"] };
    for pattern in which {
        tx.query(NOTE).bind(id).bind(*pattern).execute().await?;
        tx.query(DELETE).bind(id).bind(*pattern).execute().await?;
    }
    Ok(())
}

/// Makes ready again whoever waits for a key that has room: where a limit was raised or dropped, nobody
/// would tell. Gives how many.
pub(crate) async fn unpark(db: &Db, queue: &str, limits: &Limits) -> Result<usize> {
    const KEYS: &str =
        "SELECT key_text FROM mainstay_parked WHERE queue = $1 GROUP BY key_text LIMIT $2";
    let keys: Vec<(String,)> = db.query(KEYS).bind(queue).bind(SWEEP_MAX).all().await?;
    if keys.is_empty() {
        return Ok(0);
    }
    let keys = &keys;
    short(db)
        .run(|tx| async move {
            let locked: Option<(i16,)> =
                tx.query(super::LOCK.on(tx.engine())).bind(queue).optional().await?;
            if locked.is_none() {
                return Ok(0);
            }
            let mut count = 0;
            for (key,) in keys {
                count += unpark_one(&tx, queue, limits, key).await?;
            }
            Ok(count)
        })
        .await
}
