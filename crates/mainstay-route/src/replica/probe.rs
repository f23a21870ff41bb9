//! Asks one server, again and again, what it is and how far it has come, on a connection of its own.

use std::sync::{Arc, Weak};
use std::time::Duration;

use mainstay_core::observe::Observer;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Connect, Db, Engine, Session};
use mainstay_pool::Options;

use super::cluster::Inner;
use super::node::{Node, Role};
use mainstay_core::token::Position;

/// Between two questions while somebody waits for the answer: a question takes some 50 us.
const WANTED_EVERY: Duration = Duration::from_millis(1);

const POSTGRES: &str = "SELECT r, CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text, \
     CASE WHEN r THEN NULL ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END, \
     current_setting('synchronous_standby_names') \
     FROM (SELECT pg_is_in_recovery() AS r) s";
const POSTGRES_CLUSTER: &str = "SELECT system_identifier FROM pg_control_system()";
const MARIADB: &str = "SELECT @@global.read_only, @@global.gtid_slave_pos, @@global.gtid_binlog_pos, @@global.rpl_semi_sync_master_enabled";

/// What a server said.
pub(crate) struct Answer {
    pub(crate) role: Role,
    pub(crate) position: Option<Position>,
    pub(crate) timeline: u64,
    pub(crate) waits: Arc<str>,
}

/// Goes on for as long as there is a cluster.
pub(crate) async fn run(cluster: Weak<Inner>, at: usize) {
    let mut probe: Option<Probe> = None;
    loop {
        let Some(inner) = cluster.upgrade() else { return };
        let node = Arc::clone(&inner.nodes[at]);
        let settings = inner.settings.clone();
        let sample = inner.samples.start();
        drop(inner);
        let asked =
            settings.clock.timeout(settings.probe_timeout, Box::pin(ask(&mut probe, &node)));
        let answer = asked.await.unwrap_or_else(|| {
            let what = format!("it did not answer within {:?}", settings.probe_timeout);
            Err(Error::new(Code::Unreachable, what))
        });
        if answer.is_err() {
            // What is on its way there would be the next one's answer.
            probe = None;
        }
        let Some(inner) = cluster.upgrade() else { return };
        inner.heard(at, sample, answer);
        let kicked = Arc::clone(&inner.kicks[at]);
        let wanted = inner.is_wanted(at);
        drop(inner);
        let pause = if wanted { WANTED_EVERY } else { settings.probe_every };
        let _ = settings.clock.timeout(pause, kicked.notified()).await;
    }
}

struct Probe {
    /// Keeps the pool.
    _db: Db,
    session: Session,
}

async fn ask(probe: &mut Option<Probe>, node: &Node) -> Result<Answer> {
    let probe = match probe {
        Some(probe) => probe,
        None => {
            let db = one(&node.connect).await?;
            let session = db.session().await?;
            session.keep_for("the prober of a cluster");
            if node.db.load().is_none() {
                node.db.store(Some(Arc::new(node.connect.clone().connect().await?)));
            }
            probe.insert(Probe { _db: db, session })
        }
    };
    answer(&mut probe.session).await
}

/// A handle with one connection. Errors: those of connecting.
async fn one(connect: &Connect) -> Result<Db> {
    let options = Options {
        max_size: 1,
        min_idle: 0,
        leak_after: None,
        transaction_idle_after: None,
        ..Options::default()
    };
    connect.clone().name("prober").pool(options).observer(Observer::default()).connect().await
}

async fn answer(session: &mut Session) -> Result<Answer> {
    match session.engine() {
        Engine::Postgres => {
            let rows = session.rows(POSTGRES, Vec::new()).await?;
            let row = rows.first().ok_or_else(nothing)?;
            let position: Option<String> = row.at(1)?;
            let timeline: Option<String> = row.at(2)?;
            Ok(Answer {
                role: if row.at(0)? { Role::Replica } else { Role::Primary },
                position: position.and_then(|p| Position::lsn(&p)),
                timeline: timeline.and_then(|t| u64::from_str_radix(&t, 16).ok()).unwrap_or(0),
                waits: row.at::<String>(3)?.into(),
            })
        }
        Engine::MySql => {
            let rows = session.rows(MARIADB, Vec::new()).await?;
            let row = rows.first().ok_or_else(nothing)?;
            let reads_only: i64 = row.at(0)?;
            let role = if reads_only != 0 { Role::Replica } else { Role::Primary };
            let (followed, written): (String, String) = (row.at(1)?, row.at(2)?);
            let own = Position::gtid(&written);
            let position = match Position::gtid(&followed) {
                // What was applied, or, of a primary that once followed, what it wrote since.
                Some(followed) if role == Role::Primary => own.map(|own| own.and(&followed)),
                followed => followed,
            };
            let waits = if row.at::<i64>(3)? == 0 { "" } else { "rpl_semi_sync_master_enabled" };
            Ok(Answer { role, position, timeline: 0, waits: waits.into() })
        }
        Engine::Sqlite => Err(Error::new(Code::Unsupported, "SQLite has no replicas")),
    }
}

/// What tells one cluster from another. Errors: those of the statement.
pub(crate) async fn cluster_of(db: &Db, name: &str) -> Result<u64> {
    match db.engine() {
        Engine::Postgres => {
            let mut session = db.session().await?;
            let rows = session.rows(POSTGRES_CLUSTER, Vec::new()).await?;
            let id: i64 = rows.first().ok_or_else(nothing)?.at(0)?;
            Ok(id.cast_unsigned())
        }
        // MariaDB has no identity of that kind.
        _ => Ok(mainstay_core::observe::SqlId::of(name).get()),
    }
}

fn nothing() -> Error {
    Error::new(Code::Decode, "the server answered with nothing")
}
