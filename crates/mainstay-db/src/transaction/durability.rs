//! What COMMIT waits for.

use std::fmt;

use mainstay_core::{Code, Error, Result};

use crate::engine::Engine;

/// What COMMIT waits for before it is answered: each waits for what those before it wait for, too. Without any, what
/// the server is set to.
///
/// | | PostgreSQL's `synchronous_commit` | MySQL, MariaDB | SQLite |
/// |---|---|---|---|
/// | `Async` | `off` | as the server is set | `synchronous = NORMAL` |
/// | `Local` | `local` | as the server is set | as always |
/// | `Received` | `remote_write` | refused (DB-016) | refused (DB-016) |
/// | `Replicated` | `on` | refused (DB-016) | refused (DB-016) |
/// | `Applied` | `remote_apply` | refused (DB-016) | refused (DB-016) |
///
/// PostgreSQL waits for the standbys that its `synchronous_standby_names` names. **Where that is empty, it waits for
/// none and says nothing**: the last three are `Local` then. Where one is named and does not answer, COMMIT waits for it
/// without end, and no statement timeout ends that; with a [`timeout`](crate::Tx::timeout) or a deadline the caller gets
/// TX-003, and the pool cancels what waits. The transaction is then **most likely committed** on the primary, and no
/// standby may have it; nobody has said so: look, and don't run it again.
///
/// MariaDB's semi-synchronous replication is a setting of the whole server (`rpl_semi_sync_master_enabled`), which
/// one transaction can neither ask for nor leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing: a crash of the machine may forget it, as a whole and with all that was committed after it in the
    /// same way; the end of the process, or of a connection, forgets nothing, and a later durable commit makes it
    /// durable. For what can be done again.
    Async,
    /// The server's own disk.
    Local,
    /// And a standby has it in memory.
    Received,
    /// And a standby has it on its disk: it survives the loss of the primary.
    Replicated,
    /// And a standby shows it to its readers: a read there sees it, without any token.
    Applied,
}

impl Durability {
    /// As messages call it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Durability::Async => "Durability::Async",
            Durability::Local => "Durability::Local",
            Durability::Received => "Durability::Received",
            Durability::Replicated => "Durability::Replicated",
            Durability::Applied => "Durability::Applied",
        }
    }

    /// Whether it waits for another server.
    pub(super) fn waits_for_standby(self) -> bool {
        self >= Durability::Received
    }

    /// PostgreSQL's name of it.
    pub(super) const fn setting(self) -> &'static str {
        match self {
            Durability::Async => "off",
            Durability::Local => "local",
            Durability::Received => "remote_write",
            Durability::Replicated => "on",
            Durability::Applied => "remote_apply",
        }
    }

    /// Errors: DB-016 where `engine` can't.
    pub(super) fn check(self, engine: Engine) -> Result<()> {
        let why = match engine {
            Engine::Postgres => return Ok(()),
            _ if !self.waits_for_standby() => return Ok(()),
            Engine::MySql => {
                "whether its COMMIT waits for a replica is a setting of the whole server, rpl_semi_sync_master_enabled"
            }
            Engine::Sqlite => "it has no replicas",
        };
        Err(Error::new(Code::Unsupported, format!("{engine} has no {self} for one transaction"))
            .why(why)
            .fix("leave durability() out, or ask for Local; to read what was written from replicas, use a Cluster"))
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
