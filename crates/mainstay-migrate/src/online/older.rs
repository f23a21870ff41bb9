//! Sessions that are older than the expand phase's end: whoever holds one may run old code still. It is
//! a hint for people, and decides nothing: a session may be old and its program new.

use mainstay_core::Result;
use mainstay_db::Engine;

use crate::database::Database;

/// The server's time, where it tells since when sessions are there.
pub(super) async fn now(database: &mut Database) -> Result<String> {
    if database.facts.engine != Engine::Postgres {
        return Ok(super::run::now());
    }
    let sql =
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'";
    Ok(database.text(sql).await?.unwrap_or_default())
}

/// How many sessions of this database are older than `expanded_at`, as a line for people.
pub(super) async fn sessions(database: &mut Database, expanded_at: &str) -> Result<String> {
    if database.facts.engine != Engine::Postgres {
        let engine = database.facts.engine;
        return Ok(format!("{engine} does not tell since when its sessions are there"));
    }
    let sql = format!(
        "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() \
         AND backend_type = 'client backend' AND pid <> pg_backend_pid() \
         AND backend_start < {}::timestamptz",
        database.facts.literal(expanded_at)
    );
    let count = database.text(&sql).await?.unwrap_or_default();
    let (s, are) = if count == "1" { ("", "is") } else { ("s", "are") };
    Ok(format!("{count} session{s} of this database {are} older than the expand phase's end"))
}
