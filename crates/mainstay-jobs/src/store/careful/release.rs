//! Letting go of keys, by whoever ends a job: the keys, and a note of each for the next claim. It reads no
//! other job and takes no lock of the queue, so that ends never wait for claims.

use mainstay_core::Result;
use mainstay_db::{Db, Engine};

use crate::store::{Sql, ids, json};

/// One statement on PostgreSQL; elsewhere this, and then [`DELETE`].
const NOTE: Sql = Sql {
    sqlite: concat!(
        "INSERT INTO mainstay_freed (queue, key_text) SELECT DISTINCT h.queue, h.key_text FROM ",
        ids!(sqlite, "$1"),
        " AS g JOIN mainstay_holding AS h ON h.id = g.id WHERE $2 = 0 OR h.key_text NOT LIKE 'o:%'"
    ),
    postgres: concat!(
        "WITH gone AS (DELETE FROM mainstay_holding WHERE id = ANY(ARRAY",
        ids!(postgres, "$1"),
        ") AND ($2 = 0 OR key_text NOT LIKE 'o:%') RETURNING queue, key_text) \
         INSERT INTO mainstay_freed (queue, key_text) SELECT DISTINCT queue, key_text FROM gone"
    ),
    mysql: concat!(
        "INSERT INTO mainstay_freed (queue, key_text) SELECT DISTINCT h.queue, h.key_text FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_holding AS h ON h.id = g.id WHERE $2 = 0 OR h.key_text NOT LIKE 'o:%'"
    ),
};

const DELETE: Sql = Sql {
    sqlite: concat!(
        "DELETE FROM mainstay_holding WHERE id IN ",
        ids!(sqlite, "$1"),
        " AND ($2 = 0 OR key_text NOT LIKE 'o:%')"
    ),
    postgres: "",
    mysql: concat!(
        "DELETE h FROM ",
        ids!(mysql, "$1"),
        " AS g JOIN mainstay_holding AS h ON h.id = g.id WHERE $2 = 0 OR h.key_text NOT LIKE 'o:%'"
    ),
};

/// Lets go of the keys of a JSON list of jobs and notes that they are free; with `keep_order` they keep
/// their turn by ordering key, since they are run again. In the transaction that ends them; the queue is
/// to be woken once that is committed.
pub(crate) async fn release_all(tx: &Db, ids: &str, keep_order: bool) -> Result<()> {
    let keep = i64::from(keep_order);
    tx.query(NOTE.on(tx.engine())).bind(ids).bind(keep).execute().await?;
    if tx.engine() != Engine::Postgres {
        tx.query(DELETE.on(tx.engine())).bind(ids).bind(keep).execute().await?;
    }
    Ok(())
}

/// As [`release_all`], of one job.
pub(crate) async fn release_keys(tx: &Db, id: i64, keep_order: bool) -> Result<()> {
    release_all(tx, &json([id]), keep_order).await
}
