//! What is written is read right after, with replicas that are 0, 50 ms and 2 s behind: how often the read is stale, and
//! how many reads the replicas take.

use std::time::Duration;

use mainstay::Db;
use mainstay::scope::{Kind, Scope};

use super::policy::{Policy, TIMER};
use super::servers::Replicated;
use super::wire::Wire;
use super::workload::{Seen, USERS, Write, pair, pairs};
use super::{chosen, shown};
use crate::report::{Better, Case};
use crate::servers::Engine;

/// Pairs of ours over all engines and delays.
const PAIRS: u64 = 300_000;
/// Of each peer at each delay: by then it shows.
const PEER_SHARE: u64 = 10;
/// In case a machine is far slower: of ours, and of a peer, at each delay.
const LIMIT: Duration = Duration::from_secs(60);
const DELAYS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(50), Duration::from_secs(2)];

/// Later than a timer of others.
const LATE: Duration = Duration::from_secs(4);

pub(super) async fn run() -> Vec<Case> {
    let each = chosen("MAINSTAY_BENCH_PAIRS", PAIRS) / (2 * DELAYS.len() as u64);
    let mut cases = Vec::new();
    for engine in [Engine::Postgres, Engine::MariaDb] {
        let rig = Replicated::new(engine, |_| {}).await;
        // A replica's share after a start is part of a second's ramp: not what is measured here.
        tokio::time::sleep(Duration::from_secs(10)).await;
        // The way that the replicas follow now goes when they follow the next.
        let mut way = None;
        for delay in DELAYS {
            way = set_delay(&rig, delay, way).await;
            cases.extend(behind(&rig, delay, each).await);
        }
        set_delay(&rig, LATE, way).await;
        cases.push(long_after(&rig).await);
    }
    cases
}

/// What one way of choosing shows.
struct Figures {
    seen: Seen,
    /// Of reads, those that replicas served, in %.
    by_replicas: f64,
}

impl Figures {
    fn stale_per_million(&self) -> f64 {
        self.seen.stale as f64 * 1e6 / self.seen.pairs.max(1) as f64
    }

    fn per_second(&self) -> f64 {
        self.seen.pairs as f64 / self.seen.took.as_secs_f64()
    }
}

async fn measured(rig: &Replicated, handle: impl Fn() -> Db, write: Write, count: u64) -> Figures {
    let before = rig.reads();
    let seen = pairs(handle, write, count, LIMIT).await;
    let after = rig.reads();
    let (primary, replicas) = (after.0 - before.0, after.1 - before.1);
    let by_replicas = replicas as f64 * 100.0 / (primary + replicas).max(1) as f64;
    Figures { seen, by_replicas }
}

async fn behind(rig: &Replicated, delay: Duration, count: u64) -> Vec<Case> {
    let engine = rig.servers.engine.name();
    let ours = measured(rig, || rig.cluster.db(), Write::Transaction, count).await;
    let mut peers = Vec::new();
    for policy in Policy::ALL {
        let handle = || policy.handle(&rig.plain);
        let figures = measured(rig, handle, Write::Transaction, count / PEER_SHARE).await;
        peers.push((policy, figures));
    }
    let at = format!("replicas {} ms behind, {engine}", delay.as_millis());
    let pairs = shown(ours.seen.pairs);
    let case = |name: String, unit, better, of: fn(&Figures) -> f64| {
        let case = Case::new(name, unit, better, of(&ours));
        peers.iter().fold(case, |case, (policy, figures)| case.peer(policy.name(), of(figures)))
    };
    let stale = format!("stale reads of {pairs} right after a write, {at}");
    let mut cases = vec![
        case(stale, "per million", Better::Lower, Figures::stale_per_million),
        case(format!("reads by replicas right after a write, {at}"), "%", Better::Higher, |f| {
            f.by_replicas
        }),
        case(
            format!("writes, each with its read, {at}"),
            "/s",
            Better::Higher,
            Figures::per_second,
        ),
    ];
    if delay.is_zero() {
        let ours = measured(rig, || rig.cluster.db(), Write::Statement, count / PEER_SHARE).await;
        let pairs = shown(ours.seen.pairs);
        let what = format!("right after a statement outside a transaction, {at}");
        let stale = format!("stale reads of {pairs} {what}");
        cases.push(Case::new(stale, "per million", Better::Lower, ours.stale_per_million()));
        cases.push(Case::new(
            format!("reads by replicas {what}"),
            "%",
            Better::Higher,
            ours.by_replicas,
        ));
    }
    cases
}

/// From now on the replicas are so far behind. MariaDB counts whole seconds: for less, its primary is farther away.
async fn set_delay(rig: &Replicated, delay: Duration, old: Option<Wire>) -> Option<Wire> {
    let servers = &rig.servers;
    servers.caught_up().await;
    let port = servers.port(0);
    let wire = match servers.engine {
        Engine::MariaDb if delay.subsec_nanos() > 0 => Some(Wire::to(port, delay).await),
        _ => None,
    };
    for at in 1..servers.len() {
        if servers.engine == Engine::MariaDb {
            let port = wire.as_ref().map_or(port, Wire::port);
            let by = if wire.is_some() { Duration::ZERO } else { delay };
            let sql = format!(
                "STOP SLAVE;\nCHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, \
                 MASTER_USE_GTID=slave_pos, MASTER_DELAY={};\nSTART SLAVE;",
                by.as_secs()
            );
            servers.with(at, move |node| node.execute(&sql)).await;
        } else {
            servers.with(at, move |node| node.delay(delay)).await;
        }
    }
    servers.caught_up().await;
    drop(old);
    wire
}

/// A user who comes back when a timer has run out, and the replicas are later than that.
async fn long_after(rig: &Replicated) -> Case {
    let pause = TIMER + Duration::from_millis(200);
    let stale = async |handle: &dyn Fn() -> Db| {
        let user = |user: usize| {
            let db = handle();
            tokio::spawn(async move {
                let session = Scope::new(Kind::Request, "GET /pairs");
                session.run(pair(&db, user as i64, Write::Transaction, pause)).await
            })
        };
        let all: Vec<_> = (0..USERS).map(user).collect();
        let mut stale = 0;
        for user in all {
            stale += u32::from(!user.await.expect("no panic"));
        }
        f64::from(stale)
    };
    let ours = stale(&|| rig.cluster.db()).await;
    let engine = rig.servers.engine.name();
    let name = format!(
        "stale reads of {USERS}, {pause:?} after the write, replicas {LATE:?} behind, {engine}"
    );
    let mut case = Case::new(name, "count", Better::Lower, ours);
    for policy in Policy::ALL {
        case = case.peer(policy.name(), stale(&|| policy.handle(&rig.plain)).await);
    }
    case
}
