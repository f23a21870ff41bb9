//! PostgreSQL's streaming replication.

use std::process::Command;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use super::{Kind, Node, of_replica, same_kind, with_settings};
use crate::options::Options;
use crate::postgres::{PROGRAMS, Postgres, USER, start_with};
use crate::process::{run, wait_until};
use crate::server::{START_LIMIT, Server};

/// Of a primary that is flushed: no more than that is sent.
pub(super) const POSITION: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
     ELSE pg_current_wal_flush_lsn() END";

/// The same on all, since each may become the primary, and since a replica may not have less of some than it.
/// What a replica that is gone holds back is bounded. Commits are written before they are answered even where
/// they are not forced to the disk: they survive a kill, and are sent at once.
const SETTINGS: [&str; 9] = [
    "wal_level=replica",
    "hot_standby=on",
    "max_prepared_transactions=50",
    "max_wal_senders=20",
    "max_replication_slots=20",
    "wal_keep_size=256MB",
    "max_slot_wal_keep_size=1GB",
    "wal_retrieve_retry_interval=200ms",
    "synchronous_commit=on",
];

impl Postgres {
    /// Runs a PostgreSQL that replicas can follow in `options.folder`, as [`start`](Postgres::start) does. It
    /// needs a password. Its settings go before those of `options`, which prevail.
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start, no password), LOCAL-003 (folder).
    pub fn primary(options: &Options) -> Result<Node> {
        let options = with_settings(options, SETTINGS.map(String::from));
        Node::first(Kind::Postgres, options, Postgres::start)
    }

    /// Copies a running `primary` into `options.folder` and starts a replica there, with the primary's password
    /// and a replication slot; waits until it has what the primary had. Both the slot and the replica's name
    /// in `pg_stat_replication` are `replica_PORT`. `max_connections` and the like must not be less than
    /// the primary's.
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start), LOCAL-003 (folder).
    pub fn replica(options: &Options, primary: &Node) -> Result<Node> {
        same_kind(Kind::Postgres, primary)?;
        let options = with_settings(&of_replica(options, primary), SETTINGS.map(String::from));
        replica(options, primary)
    }
}

pub(super) fn replica(options: Options, primary: &Node) -> Result<Node> {
    let mut node = Node::first(Kind::Postgres, options, |options| {
        let name = name(options.port.unwrap_or_default());
        start_with(options, |half, _, account| {
            make_slot(primary, &name)?;
            let mut copy = Command::new(PROGRAMS.find("pg_basebackup")?);
            copy.arg("-D").arg(half).args(["-h", "127.0.0.1", "-U", USER, "-w", "-R"]);
            copy.args(["-X", "stream", "-c", "fast", "--no-sync", "-S", &name]);
            copy.args(["-p", &primary.port().to_string()]);
            copy.arg("-d").arg(format!("application_name={name}"));
            // It notes the password where only the server reads it; an argument, everybody could.
            copy.env("PGPASSWORD", primary.password());
            run(&mut copy, account)
        })
    })?;
    node.replica = true;
    node.wait_for(&primary.position()?)?;
    Ok(node)
}

fn name(port: u16) -> String {
    format!("replica_{port}")
}

/// What is not yet received stays on the primary, from now on. One that held back too much holds nothing, and
/// is made anew.
fn make_slot(primary: &Node, name: &str) -> Result<()> {
    let of_name = format!("FROM pg_replication_slots WHERE slot_name = '{name}'");
    let sql = format!(
        "SELECT pg_drop_replication_slot(slot_name) {of_name} AND wal_status = 'lost';\n\
         SELECT pg_create_physical_replication_slot('{name}', true) WHERE NOT EXISTS (SELECT {of_name});"
    );
    primary.execute(&sql).map(drop)
}

pub(super) fn promote(node: &Node) -> Result<()> {
    // One that is no replica is an error by itself; one that takes too long divides by zero.
    let sql = "SELECT 1 / (pg_promote(true, 30))::int";
    node.execute(sql).map(drop)
}

pub(super) fn follow(node: &Node, primary: &Node) -> Result<()> {
    let name = name(node.port());
    make_slot(primary, &name)?;
    let password = primary.password().replace('\\', "\\\\").replace('\'', "\\'");
    let target = format!(
        "host=127.0.0.1 port={} user={USER} password='{password}' application_name={name}",
        primary.port()
    );
    node.execute(&format!(
        "ALTER SYSTEM SET primary_conninfo = '{}';\n\
         ALTER SYSTEM SET primary_slot_name = '{name}';\n\
         SELECT pg_reload_conf();",
        target.replace('\'', "''")
    ))
    .map(drop)
}

pub(super) fn delay(node: &Node, by: Duration) -> Result<()> {
    node.execute(&format!(
        "ALTER SYSTEM SET recovery_min_apply_delay = '{}ms';\nSELECT pg_reload_conf();",
        by.as_millis()
    ))
    .map(drop)
}

pub(super) fn pause_apply(node: &Node) -> Result<()> {
    node.execute("SELECT pg_wal_replay_pause()")?;
    // One that waits out a delay pauses after it, and applies nothing until then.
    let sql = "SELECT pg_get_wal_replay_pause_state() = 'paused' \
               OR current_setting('recovery_min_apply_delay') <> '0'";
    let mut failed = Ok(String::new());
    let paused = wait_until(START_LIMIT, || {
        failed = node.execute(sql);
        failed.as_ref().map_or(true, |said| said == "t")
    });
    failed?;
    paused.ok_or_else(|| {
        let what = format!("the replica on port {} goes on applying", node.port());
        Error::new(Code::LocalStart, what)
    })
}

pub(super) fn resume_apply(node: &Node) -> Result<()> {
    node.execute("SELECT pg_wal_replay_resume()").map(drop)
}

pub(super) fn reaches(node: &Node, position: &str, limit: Duration) -> Result<bool> {
    let sql = format!("SELECT ({POSITION}) >= '{}'", position.replace('\'', "''"));
    let mut failed = Ok(String::new());
    let reached = wait_until(limit, || {
        failed = node.execute(&sql);
        failed.as_ref().map_or(true, |said| said == "t")
    });
    failed?;
    Ok(reached.is_some())
}

pub(super) fn client(node: &Node, server: &Server) -> Result<Command> {
    let mut client = Command::new(PROGRAMS.find("psql")?);
    client.arg("-h").arg(server.socket_folder()).args(["-p", &node.port().to_string()]);
    client.args(["-U", USER, "-d", "postgres", "-XAtqw", "-F", "\t"]);
    client.args(["-v", "ON_ERROR_STOP=1", "-f", "-"]).env("PGCONNECT_TIMEOUT", "10");
    Ok(client)
}
