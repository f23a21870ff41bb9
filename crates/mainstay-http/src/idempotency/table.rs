//! The table, and its statements in each engine's words. Times are the database's own.

use std::time::Duration;

use axum::body::Bytes;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Engine};

use super::answer::{Kept, Stored};
use super::guard::Keyed;
use super::request::Id;
use super::schema::named;

/// How often a claim is tried anew that a cleaning came between.
const CLAIMS: usize = 3;

/// What an engine is asked with.
#[derive(Clone, Copy)]
pub(super) struct Table {
    /// `$1` the id: if it is not over.
    find: &'static str,
    /// The same of a row that nobody is changing, whatever the transaction has seen before.
    find_now: &'static str,
    /// `$1` the id, `$2` the fingerprint, `$3` the life: nothing, where the id is there.
    insert: &'static str,
    /// As `insert`, of one that is over.
    take_over: &'static str,
    /// Up to 500 that are over.
    clean: &'static str,
}

/// Whose a key is.
pub(super) enum Claim {
    Mine,
    Stored(Stored),
    InFlight,
}

const STORE: &str =
    "UPDATE mainstay_idempotency SET status = $2, headers = $3, body = $4 WHERE id = $1";

macro_rules! table {
    ($now:literal, find $find:literal, $insert:literal $or:literal, clean $clean:literal $end:literal) => {
        Table {
            find: table!(@find $now, ""),
            find_now: table!(@find $now, $find),
            insert: concat!(
                $insert, " INTO mainstay_idempotency (id, fingerprint, status, headers, body, expires_us) ",
                "VALUES ($1, $2, 0, '', '', ", $now, " + $3)", $or
            ),
            take_over: concat!(
                "UPDATE mainstay_idempotency SET fingerprint = $2, status = 0, headers = '', body = '', ",
                "expires_us = ", $now, " + $3 WHERE id = $1 AND expires_us <= ", $now
            ),
            clean: concat!($clean, " WHERE expires_us <= ", $now, " ORDER BY expires_us LIMIT 500", $end),
        }
    };
    (@find $now:literal, $end:literal) => {
        concat!(
            "SELECT fingerprint, status, headers, body FROM mainstay_idempotency ",
            "WHERE id = $1 AND expires_us > ", $now, $end
        )
    };
}

const SQLITE: Table = table!(
    "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    find "",
    "INSERT" " ON CONFLICT (id) DO NOTHING",
    clean "DELETE FROM mainstay_idempotency WHERE id IN (SELECT id FROM mainstay_idempotency" ")"
);

// Others who clean, or take a key over, at the same time are not waited for.
const POSTGRES: Table = table!(
    "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    find "",
    "INSERT" " ON CONFLICT (id) DO NOTHING",
    clean "DELETE FROM mainstay_idempotency WHERE id = ANY(ARRAY(SELECT id FROM mainstay_idempotency"
        " FOR UPDATE SKIP LOCKED))"
);

// The transaction's snapshot may be older than the row; and UTC has no hour twice.
const MYSQL: Table = table!(
    "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))",
    find " LOCK IN SHARE MODE",
    "INSERT IGNORE" "",
    clean "DELETE FROM mainstay_idempotency" ""
);

impl Table {
    pub(super) fn of(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => SQLITE,
            Engine::Postgres => POSTGRES,
            Engine::MySql => MYSQL,
        }
    }

    /// What was stored for a key, as the pool's handle sees it.
    pub(super) async fn find(self, db: &Db, id: &Id) -> Result<Option<Stored>> {
        found(db, self.find, id).await
    }

    /// Makes the key this transaction's, or tells whose it is, without a wait for others of the same key.
    pub(super) async fn claim(self, tx: &Db, keyed: &Keyed, keep: Duration) -> Result<Claim> {
        let life_us = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX / 4);
        // SQLite's transaction has the only write lock there is. Elsewhere the INSERT would wait for that
        // of a duplicate in flight until its end: the lock by name says at once that there is one.
        if tx.engine() != Engine::Sqlite {
            let name = format!("mainstay idempotency {}", keyed.id);
            if tx.advisory_lock(name).try_acquire().await?.is_none() {
                // Not by `find_now`, which waits for the row.
                let stored = found(tx, self.find, &keyed.id).await?;
                return Ok(stored.map_or(Claim::InFlight, Claim::Stored));
            }
        }
        for _ in 0..CLAIMS {
            if changed(tx, self.insert, keyed, life_us).await? {
                return Ok(Claim::Mine);
            }
            if let Some(stored) = found(tx, self.find_now, &keyed.id).await? {
                return Ok(Claim::Stored(stored));
            }
            if changed(tx, self.take_over, keyed, life_us).await? {
                return Ok(Claim::Mine);
            }
        }
        Err(Error::new(Code::LockBusy, "an idempotency key was cleaned away again and again"))
    }

    /// Writes the answer to a key that this transaction has.
    pub(super) async fn store(self, tx: &Db, id: &Id, kept: Kept) -> Result<()> {
        let Kept { status, headers, body } = kept;
        let query = tx.query(STORE).bind(id.bytes()).bind(status).bind(headers).bind(body.to_vec());
        if query.execute().await?.rows_affected() == 1 {
            return Ok(());
        }
        let what = "the idempotency key is gone from its own transaction";
        Err(Error::new(Code::TxRollbackOnly, what).why("the work deleted it, or rolled it back"))
    }
}

async fn changed(tx: &Db, sql: &'static str, keyed: &Keyed, life_us: i64) -> Result<bool> {
    let query = tx.query(sql).bind(keyed.id.bytes()).bind(keyed.fingerprint.bytes()).bind(life_us);
    Ok(query.execute().await.map_err(named)?.rows_affected() == 1)
}

async fn found(db: &Db, sql: &'static str, id: &Id) -> Result<Option<Stored>> {
    type Row = (Vec<u8>, i32, Vec<u8>, Vec<u8>);
    let row: Option<Row> = db.query(sql).bind(id.bytes()).optional().await.map_err(named)?;
    Ok(row.map(|(fingerprint, status, headers, body)| {
        let answer = Kept { status, headers, body: Bytes::from(body) };
        Stored { fingerprint, answer }
    }))
}

/// Removes up to 500 keys that are over: how many. It is done by the way too, about every hundredth key and
/// at most a minute after the last one, in which something is stored: call it where that is not enough.
///
/// Errors: HTTP-025, and those of a statement.
pub async fn clean(db: &Db) -> Result<u64> {
    let query = db.query(Table::of(db.engine()).clean);
    Ok(query.execute().await.map_err(named)?.rows_affected())
}
