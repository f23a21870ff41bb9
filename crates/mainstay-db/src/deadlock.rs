//! Deadlocks, told as both sides' statements and places in the program where both are this process's,
//! and with what the server says of them always.

use std::time::{Duration, Instant};

use mainstay_core::{Code, Error, Place, Result};
use mainstay_pool::What;

use crate::connection::Activity;
use crate::db::Db;
use crate::engine::Engine;
use crate::hold::Hold;
use crate::trail::{Taken, Trail};

/// MySQL says what it was in a long text that takes locks of its own: it is asked this seldom.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long that may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// A deadlock: the [detail](Error::detail) of the error with the code DB-031 that a statement ends in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlock {
    /// The sides that this process knows, the victim first.
    pub sides: Vec<DeadlockSide>,
    /// What the server says: who waited for whose lock. Empty where the account may not ask.
    pub server: String,
}

/// One of the transactions in a deadlock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlockSide {
    /// Where its transaction was begun; `None` for a statement by itself.
    pub transaction: Option<Place>,
    /// The statement that waited for a lock of the other's, without values.
    pub waited: DeadlockStep,
    /// What it had run before in the transaction, as far as it is remembered (16 statements): the
    /// locks that the other waited for are of these.
    pub before: Vec<DeadlockStep>,
}

/// A statement with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadlockStep {
    /// Its text, without values.
    pub sql: String,
    /// Where the program asked for it.
    pub place: Place,
}

/// What the server's error itself tells.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) server: String,
    /// Its numbers of the sessions that took part.
    pub(crate) sessions: Vec<u64>,
}

impl Hold {
    /// Adds to the error of a deadlock what is known of it. Where it is no deadlock, nothing is done.
    pub(crate) async fn explain<T>(&mut self, db: &Db, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(error) if error.code() == Code::Deadlock => Err(self.explained(db, error).await),
            outcome => outcome,
        }
    }

    async fn explained(&mut self, db: &Db, error: Error) -> Error {
        let own = self.trail.clone();
        let Some((own, (victim, before))) = own.and_then(|own| own.last().map(|last| (own, last)))
        else {
            // Behind a pooler, where a session is nobody's for long.
            let server = error.detail::<Told>().map(|told| told.server.clone()).unwrap_or_default();
            let deadlock = Deadlock { sides: Vec::new(), server };
            return error.why(deadlock.to_string()).with_detail(deadlock);
        };
        // Taken before anything is waited for: the other side goes on meanwhile.
        let now = db.shared.clock.now();
        let mut told = error
            .detail::<Told>()
            .map(|told| Told { server: told.server.clone(), sessions: told.sessions.clone() });
        if db.engine() == Engine::MySql {
            told = self.ask_server(db, now).await;
        }
        let told = told.unwrap_or_default();
        let mut sides = vec![side(&victim, &before)];
        sides.extend(others(db, &own, &told.sessions, victim.begun(), now));
        let deadlock = Deadlock { sides, server: told.server };
        error.why(deadlock.to_string()).with_detail(deadlock)
    }

    /// MySQL's and MariaDB's word, if there is one that is not of another deadlock.
    async fn ask_server(&mut self, db: &Db, now: Instant) -> Option<Told> {
        if self.state.activity != Activity::Idle || !db.shared.may_ask(now) {
            return None;
        }
        let asks = self.ask("SHOW ENGINE INNODB STATUS".to_owned());
        let row = db.shared.clock.timeout(ASK_TIMEOUT, asks).await?.ok()??;
        let status: String = row.get("Status").ok()?;
        let told = parse_innodb(&status)?;
        let trails = db.shared.driver().trails()?;
        let own = self.trail.as_ref()?;
        let is_ours = |session: &u64| {
            trails.find(*session).is_some_and(|trail| std::sync::Arc::ptr_eq(&trail, own))
        };
        told.sessions.iter().any(is_ours).then_some(told)
    }
}

fn others(
    db: &Db,
    own: &std::sync::Arc<Trail>,
    sessions: &[u64],
    since: Instant,
    now: Instant,
) -> Vec<DeadlockSide> {
    let Some(trails) = db.shared.driver().trails() else { return Vec::new() };
    let mut known: Vec<_> = sessions.iter().filter_map(|session| trails.find(*session)).collect();
    known.dedup_by(|a, b| std::sync::Arc::ptr_eq(a, b));
    known
        .iter()
        .filter(|trail| !std::sync::Arc::ptr_eq(trail, own))
        .filter_map(|trail| trail.waited(since, now))
        .map(|(waited, before)| side(&waited, &before))
        .collect()
}

fn side(waited: &Taken, before: &[Taken]) -> DeadlockSide {
    let step = |taken: &Taken| DeadlockStep {
        sql: What::shortened(taken.sql.as_str()),
        place: taken.place,
    };
    DeadlockSide {
        transaction: waited.transaction.map(|(_, place)| place),
        waited: step(waited),
        before: before.iter().map(step).collect(),
    }
}

impl std::fmt::Display for Deadlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, side) in self.sides.iter().enumerate() {
            let who = if n == 0 { "this side" } else { "the other" };
            match side.transaction {
                Some(place) => writeln!(f, "{who}, a transaction begun at {place}")?,
                None => writeln!(f, "{who}, a statement by itself")?,
            }
            for step in &side.before {
                writeln!(f, "  had run {} ({})", step.sql, step.place)?;
            }
            writeln!(f, "  waited in {} ({})", side.waited.sql, side.waited.place)?;
        }
        if self.sides.len() < 2 {
            writeln!(f, "the other side is not known to this process")?;
        }
        match self.server.as_str() {
            "" => write!(f, "the server does not say more"),
            server => write!(f, "the server: {server}"),
        }
    }
}

/// The numbers of the sessions in PostgreSQL's detail, in whatever language it is: on each line the
/// first number is who waits and the last is whom for; between them are transactions and tables.
#[cfg(feature = "postgres")]
pub(crate) fn parse_postgres(detail: &str) -> Told {
    let mut sessions: Vec<u64> = Vec::new();
    for line in detail.lines() {
        let mut numbers =
            line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok());
        let first = numbers.next();
        sessions.extend(first.into_iter().chain(numbers.next_back()));
    }
    sessions.sort_unstable();
    sessions.dedup();
    Told { server: detail.split_whitespace().collect::<Vec<_>>().join(" "), sessions }
}

/// InnoDB's status on its latest deadlock: the threads, and the index and table of what each waited
/// for. Its statements are left out, since they have values in them, and the records too.
fn parse_innodb(status: &str) -> Option<Told> {
    let section = status.split_once("LATEST DETECTED DEADLOCK")?.1;
    let section = section.split_once("\nTRANSACTIONS\n").map_or(section, |(head, _)| head);
    let mut told = Told::default();
    let (mut thread, mut waits) = (0, false);
    for line in section.lines() {
        if let Some(number) = line.split("thread id ").nth(1)
            && let Some(id) = number.split(',').next().and_then(|n| n.trim().parse().ok())
        {
            thread = id;
            told.sessions.push(id);
        }
        if line.starts_with("*** ") {
            waits = line.contains("WAITING FOR THIS LOCK");
        } else if waits && let Some((_, lock)) = line.split_once(" index ") {
            let lock = lock.split(" trx id").next().unwrap_or(lock);
            told.server += &format!("session {thread} waited for index {lock}; ");
            waits = false;
        } else if line.starts_with("WE ROLL BACK") || line.contains("*** WE ROLL BACK") {
            break;
        }
    }
    let rolled = section.lines().find_map(|line| line.strip_prefix("*** WE ROLL BACK "));
    told.server += &rolled.map_or_else(String::new, |which| format!("rolled back {which}"));
    told.server =
        told.server.trim_end_matches([' ', ';']).replace("TRANSACTION (", "transaction (");
    (!told.sessions.is_empty()).then_some(told)
}

impl crate::db::Shared {
    /// Whether the server may be asked about a deadlock now: once a second, whoever asks first.
    fn may_ask(&self, now: Instant) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let may = asked.is_none_or(|at| now.saturating_duration_since(at) >= ASK_EVERY);
        if may {
            *asked = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "postgres")]
    fn postgres_detail_is_read_in_any_language() {
        let told = parse_postgres(
            "Prozess 21 wartet auf ShareLock-Sperre auf Transaktion 768; blockiert von Prozess 22.\n\
             Prozess 22 wartet auf ShareLock-Sperre auf Transaktion 767; blockiert von Prozess 21.",
        );
        assert_eq!(told.sessions, [21, 22]);
        assert!(!told.server.contains('\n'));
    }

    #[test]
    fn innodbs_status_is_read_without_its_statements() {
        let status = "\
=====================================
------------------------
LATEST DETECTED DEADLOCK
------------------------
2026-11-25 12:00:00 0x7f
*** (1) TRANSACTION:
TRANSACTION 100, ACTIVE 1 sec starting index read
MariaDB thread id 11, OS thread handle 140, query id 50 localhost root Updating
UPDATE accounts SET secret = 'hunter2' WHERE id = 2
*** WAITING FOR THIS LOCK TO BE GRANTED:
RECORD LOCKS space id 9 page no 3 n bits 8 index PRIMARY of table `shop`.`accounts` trx id 100 lock_mode X waiting
Record lock, heap no 3
*** CONFLICTING WITH:
RECORD LOCKS space id 9 page no 3 n bits 8 index PRIMARY of table `shop`.`accounts` trx id 101 lock_mode X
*** (2) TRANSACTION:
TRANSACTION 101, ACTIVE 1 sec starting index read
MariaDB thread id 12, OS thread handle 141, query id 51 localhost root Updating
UPDATE accounts SET secret = 'hunter3' WHERE id = 1
*** WAITING FOR THIS LOCK TO BE GRANTED:
RECORD LOCKS space id 9 page no 3 n bits 8 index name of table `shop`.`accounts` trx id 101 lock_mode X waiting
*** WE ROLL BACK TRANSACTION (2)
------------
TRANSACTIONS
------------
MariaDB thread id 99, OS thread handle
";
        let told = parse_innodb(status).unwrap();
        assert_eq!(told.sessions, [11, 12]);
        assert_eq!(
            told.server,
            "session 11 waited for index PRIMARY of table `shop`.`accounts`; session 12 waited for \
             index name of table `shop`.`accounts`; rolled back transaction (2)"
        );
        assert!(parse_innodb("no deadlock yet").is_none());
    }
}
