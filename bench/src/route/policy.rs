//! How others choose a server, as routes of the same handle: what is told apart is the choice alone.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay::Db;
use mainstay::route::{Classifier, Where};
use mainstay_db::{Choice, Route, Work};

use super::now;

/// For so long after a write Rails reads from the primary.
pub(super) const TIMER: Duration = Duration::from_secs(2);

/// A choice of others. What may write goes to the primary with each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Reads in turns.
    RoundRobin,
    /// The same, but for two seconds after a write of the same user: Rails' way.
    Timer,
    /// Nothing is left to the replicas.
    PrimaryOnly,
}

impl Policy {
    pub(super) const ALL: [Policy; 3] = [Policy::RoundRobin, Policy::Timer, Policy::PrimaryOnly];

    pub(super) fn name(self) -> &'static str {
        match self {
            Policy::RoundRobin => "round robin",
            Policy::Timer => "2 s timer",
            Policy::PrimaryOnly => "primary only",
        }
    }

    /// The handle of one user.
    pub(super) fn handle(self, servers: &[Db]) -> Db {
        let chooser = Chooser {
            policy: self,
            servers: servers.to_vec(),
            classifier: classifier(&servers[0]),
            turn: AtomicUsize::new(fastrand::usize(..1000)),
            wrote: Mutex::new(None),
        };
        servers[0].routed(Arc::new(chooser))
    }
}

/// One for all users: a decision is kept over them, as with ours.
fn classifier(db: &Db) -> Arc<Classifier> {
    static POSTGRES: std::sync::OnceLock<Arc<Classifier>> = std::sync::OnceLock::new();
    static MARIADB: std::sync::OnceLock<Arc<Classifier>> = std::sync::OnceLock::new();
    let of = if db.is_mariadb() { &MARIADB } else { &POSTGRES };
    Arc::clone(of.get_or_init(|| Arc::new(Classifier::new(db.engine()))))
}

struct Chooser {
    policy: Policy,
    servers: Vec<Db>,
    classifier: Arc<Classifier>,
    turn: AtomicUsize,
    wrote: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Chooser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chooser").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Chooser {
    fn reads(&self, work: Work<'_>) -> bool {
        match work {
            Work::Statement(sql) => self.classifier.of(sql) == Where::Replica,
            Work::ReadOnly => true,
            _ => false,
        }
    }

    fn wrote_lately(&self) -> bool {
        let wrote = self.wrote.lock().unwrap_or_else(PoisonError::into_inner);
        wrote.is_some_and(|at| now().saturating_duration_since(at) < TIMER)
    }
}

impl Route for Chooser {
    fn choose<'a>(&'a self, work: Work<'a>) -> Choice<'a> {
        let to_replica = self.reads(work)
            && match self.policy {
                Policy::RoundRobin => true,
                Policy::Timer => !self.wrote_lately(),
                Policy::PrimaryOnly => false,
            };
        let (primary, replicas) = self.servers.split_at(1);
        let turn = self.turn.fetch_add(1, Relaxed);
        let of = if to_replica { replicas } else { primary };
        Choice::There(of[turn % of.len()].clone())
    }

    fn wants_positions(&self) -> bool {
        false
    }

    fn done(&self, work: Work<'_>, _: Option<&str>) {
        if !self.reads(work) {
            *self.wrote.lock().unwrap_or_else(PoisonError::into_inner) = Some(now());
        }
    }
}
