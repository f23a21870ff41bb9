//! The statements, in each engine's words. Times are the database's own.

use mainstay_db::Engine;

/// What an engine is asked with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts {
    /// `{ids}` stands for the placeholders.
    pub(super) read: &'static str,
    /// `$1` the id, `$2` the bytes, `$3` the life: the bytes stay where there are some.
    pub(super) generation: &'static str,
    /// As `read` of one, held until the transaction ends.
    pub(super) lock: &'static str,
    /// `$1` the id, `$2` the bytes, `$3` the life.
    pub(super) write: &'static str,
    /// `$1` the id.
    pub(super) remove: &'static str,
    /// Up to 500 that are over.
    pub(super) clean: &'static str,
}

const REMOVE: &str = "DELETE FROM mainstay_cache_entry WHERE id = $1";

macro_rules! texts {
    ($now:literal, $greatest:literal, $lock:literal) => {
        Texts {
            read: concat!(
                "SELECT id, body, expires_us - ", $now, " FROM mainstay_cache_entry ",
                "WHERE id IN ({ids}) AND expires_us > ", $now
            ),
            generation: concat!(
                "INSERT INTO mainstay_cache_entry (id, body, expires_us) VALUES ($1, $2, ", $now, " + $3) ",
                "ON CONFLICT (id) DO UPDATE SET body = CASE WHEN mainstay_cache_entry.expires_us <= ", $now,
                " THEN excluded.body ELSE mainstay_cache_entry.body END, ",
                "expires_us = ", $greatest, "(mainstay_cache_entry.expires_us, excluded.expires_us)"
            ),
            lock: concat!(
                "SELECT body FROM mainstay_cache_entry WHERE id = $1 AND expires_us > ", $now, $lock
            ),
            write: concat!(
                "INSERT INTO mainstay_cache_entry (id, body, expires_us) VALUES ($1, $2, ", $now, " + $3) ",
                "ON CONFLICT (id) DO UPDATE SET body = excluded.body, expires_us = excluded.expires_us"
            ),
            remove: REMOVE,
            clean: concat!(
                "DELETE FROM mainstay_cache_entry WHERE id IN ",
                "(SELECT id FROM mainstay_cache_entry WHERE expires_us <= ", $now, " LIMIT 500)"
            ),
        }
    };
}

const SQLITE: Texts = texts!("CAST(unixepoch('subsec') * 1000000 AS INTEGER)", "MAX", "");

const POSTGRES: Texts = texts!(
    "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
    "GREATEST",
    " FOR SHARE"
);

const MYSQL: Texts = Texts {
    read: "SELECT id, body, expires_us - CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED) \
           FROM mainstay_cache_entry WHERE id IN ({ids}) \
           AND expires_us > CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)",
    generation: "INSERT INTO mainstay_cache_entry (id, body, expires_us) \
                 VALUES ($1, $2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED) + $3) \
                 ON DUPLICATE KEY UPDATE \
                 body = IF(expires_us <= CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED), VALUES(body), body), \
                 expires_us = GREATEST(expires_us, VALUES(expires_us))",
    lock: "SELECT body FROM mainstay_cache_entry WHERE id = $1 \
           AND expires_us > CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED) LOCK IN SHARE MODE",
    write: "INSERT INTO mainstay_cache_entry (id, body, expires_us) \
            VALUES ($1, $2, CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED) + $3) \
            ON DUPLICATE KEY UPDATE body = VALUES(body), expires_us = VALUES(expires_us)",
    remove: REMOVE,
    clean: "DELETE FROM mainstay_cache_entry \
            WHERE expires_us <= CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED) LIMIT 500",
};

impl Texts {
    pub(super) fn of(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => SQLITE,
            Engine::Postgres => POSTGRES,
            Engine::MySql => MYSQL,
        }
    }
}
