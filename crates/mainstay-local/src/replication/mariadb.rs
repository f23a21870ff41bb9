//! MariaDB's replication by GTID.

use std::process::Command;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use super::{Kind, Node, STATEMENT_LIMIT, of_replica, same_kind, with_settings};
use crate::mariadb::{MariaDb, PROGRAMS, USER, account, accounts, start_with};
use crate::options::Options;
use crate::process::ask;
use crate::server::Server;

/// A replica's too, since it logs what it applies.
pub(super) const POSITION: &str = "SELECT @@global.gtid_binlog_pos";

impl MariaDb {
    /// Runs a MariaDB that replicas can follow in `options.folder`, as [`start`](MariaDb::start) does. It
    /// needs a password, and its user may not write where `read_only` is set. Its settings go before those of
    /// `options`, which prevail. With semi-synchronous replication, tell the primary alone to wait: a replica
    /// that is told so too waits for replicas of its own.
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start, no password), LOCAL-003 (folder).
    pub fn primary(options: &Options) -> Result<Node> {
        Node::first(Kind::MariaDb, settings(options), |options| start(options, 0, false))
    }

    /// Starts a replica of a running `primary` in `options.folder`, read only, with the primary's password, and
    /// waits until it has what the primary had. It reads the primary's log from its beginning: long for one
    /// that has written much, and wrong for one whose log does not go back to its empty state.
    ///
    /// Errors: LOCAL-001 (not installed), LOCAL-002 (did not start), LOCAL-003 (folder).
    pub fn replica(options: &Options, primary: &Node) -> Result<Node> {
        same_kind(Kind::MariaDb, primary)?;
        replica(settings(&of_replica(options, primary)), 0, primary)
    }
}

/// Of a new data folder, whose number says how many were there before.
pub(super) fn replica(options: Options, times: u16, primary: &Node) -> Result<Node> {
    let mut node = Node::first(Kind::MariaDb, options, |options| start(options, times, true))?;
    (node.replica, node.times) = (true, times);
    follow(&node, primary)?;
    node.wait_for(&primary.position()?)?;
    Ok(node)
}

/// Each has a log of its own, since each may become the primary. Commits are written before they are answered
/// even where they are not forced to the disk: they survive a kill.
fn settings(options: &Options) -> Options {
    let own = [
        "log-bin=binlog".to_owned(),
        "relay-log=relay".to_owned(),
        "log-slave-updates=ON".to_owned(),
        "gtid-strict-mode=ON".to_owned(),
        "binlog-format=ROW".to_owned(),
        "log-bin-trust-function-creators=ON".to_owned(),
        "slave-net-timeout=10".to_owned(),
        format!("sync-binlog={}", u8::from(options.durable)),
        format!("innodb-flush-log-at-trx-commit={}", if options.durable { 1 } else { 2 }),
    ];
    with_settings(options, own)
}

/// The accounts are each server's own affair, and no part of what is replicated. Our user has every right but
/// that to write where `read_only` is set, and so sees a replica as a service does.
///
/// Its number among the servers is of its port and of `times`: a replica leaves out what came from one of its
/// own number, and so one that begins anew would miss what it had written before.
pub(super) fn start(options: &Options, times: u16, replica: bool) -> Result<Server> {
    let mut sql = format!("SET sql_log_bin=0;\n{}", accounts(options));
    for host in ["localhost", "127.0.0.1"] {
        sql += &format!("REVOKE READ_ONLY ADMIN, SUPER ON *.* FROM '{USER}'@'{host}';\n");
    }
    let number = u32::from(times) << 16 | u32::from(options.port.unwrap_or_default());
    let own = [format!("server-id={number}"), format!("read-only={}", u8::from(replica))];
    start_with(&with_settings(options, own), &sql)
}

pub(super) fn promote(node: &Node) -> Result<()> {
    // What it has received is applied first. In this order: one of whose threads none runs forgets it at a
    // start, to ask its primary for it again.
    node.execute("START SLAVE SQL_THREAD;\nSTOP SLAVE IO_THREAD;")?;
    node.wait_for(&received(node)?)?;
    node.execute("STOP SLAVE;\nRESET SLAVE ALL;\nSET GLOBAL read_only=0;").map(drop)
}

/// Up to where it has received, by the column of that name.
fn received(node: &Node) -> Result<String> {
    let server = node.running()?;
    let mut client = client(server)?;
    client.arg("--column-names");
    let said = ask(&mut client, "SHOW SLAVE STATUS;", STATEMENT_LIMIT, account()?)?;
    let mut lines = said.lines().map(|line| line.split('\t'));
    let (names, values) = (lines.next().into_iter().flatten(), lines.next().into_iter().flatten());
    let at = names.zip(values).find(|(name, _)| *name == "Gtid_IO_Pos");
    at.map(|(_, position)| position.to_owned()).ok_or_else(|| {
        let what = format!("the server on port {} is no replica", node.port());
        Error::new(Code::LocalStart, what)
    })
}

pub(super) fn follow(node: &Node, primary: &Node) -> Result<()> {
    let password = primary.password().replace('\\', "\\\\").replace('\'', "''");
    node.execute(&format!(
        "STOP SLAVE;\n\
         CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={}, MASTER_USER='{USER}', \
         MASTER_PASSWORD='{password}', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1;\n\
         START SLAVE;",
        primary.port()
    ))
    .map(drop)
}

pub(super) fn delay(node: &Node, by: Duration) -> Result<()> {
    let seconds = by.as_secs() + u64::from(by.subsec_nanos() > 0);
    node.execute(&format!("STOP SLAVE;\nCHANGE MASTER TO MASTER_DELAY={seconds};\nSTART SLAVE;"))
        .map(drop)
}

pub(super) fn pause_apply(node: &Node) -> Result<()> {
    node.execute("STOP SLAVE SQL_THREAD;").map(drop)
}

pub(super) fn resume_apply(node: &Node) -> Result<()> {
    node.execute("START SLAVE SQL_THREAD;").map(drop)
}

pub(super) fn reaches(node: &Node, position: &str, limit: Duration) -> Result<bool> {
    let position = position.replace('\'', "''");
    let said =
        node.execute(&format!("SELECT MASTER_GTID_WAIT('{position}', {})", limit.as_secs()))?;
    Ok(said == "0")
}

/// As root, which over the socket has no password: only who may open its folder can be it.
pub(super) fn client(server: &Server) -> Result<Command> {
    let mut client = Command::new(PROGRAMS.find("mariadb")?);
    client.arg("--no-defaults").arg(format!("--socket={}", server.socket().display()));
    client.args(["--user=root", "--batch", "--skip-column-names", "--connect-timeout=10"]);
    Ok(client)
}
