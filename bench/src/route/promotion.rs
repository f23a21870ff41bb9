//! The primary is killed and a replica promoted: how long until writes go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use mainstay::Db;
use mainstay::route::Role;
use mainstay_local::Node;

use super::servers::Replicated;
use super::{chosen, millis, now, quantile};
use crate::report::{Better, Case};
use crate::servers::Engine;

const ROUNDS: u64 = 5;
const WRITERS: usize = 4;

pub(super) async fn run() -> Vec<Case> {
    let rounds = chosen("MAINSTAY_BENCH_PROMOTIONS", ROUNDS).max(1);
    let mut cases = Vec::new();
    for engine in [Engine::Postgres, Engine::MariaDb] {
        let rig = Replicated::new(engine, |_| {}).await;
        let (mut after, mut outage) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (promoted, whole) = promote(&rig).await;
            let name = engine.name();
            eprintln!("{name}: {promoted:?} after the promotion, {whole:?} after the kill");
            after.push(millis(promoted));
            outage.push(millis(whole));
        }
        let of = format!("of {rounds} promotions, {}", engine.name());
        for (share, which) in [(0.5, "median"), (1.0, "longest")] {
            let name = format!("from a promoted server to the first write there, {which} {of}");
            cases.push(Case::new(name, "ms", Better::Lower, quantile(&mut after, share)));
            let name = format!("from kill -9 of the primary to the first write, {which} {of}");
            cases.push(Case::new(name, "ms", Better::Lower, quantile(&mut outage, share)));
        }
    }
    cases
}

/// From the moment that the promoted server takes writes, and from the kill, to the first write through the handle.
async fn promote(rig: &Replicated) -> (Duration, Duration) {
    let old = primary(rig);
    let (mut new, mut other) = ((old + 1) % 3, (old + 2) % 3);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = |user| tokio::spawn(write(rig.cluster.db(), user, Arc::clone(&stop)));
    let writers: Vec<_> = (0..WRITERS).map(writer).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let killed = now();
    rig.servers.with(old, Node::kill).await;
    // What was answered before is the old one's.
    let gone = now();
    // The one that has more is promoted: the other could not follow it otherwise.
    if far(rig, new).await < far(rig, other).await {
        (new, other) = (other, new);
    }
    rig.servers.with(new, Node::promote).await;
    let promoted = now();
    rig.servers.beside(other, new, Node::follow).await;
    rig.until(|roles| roles[new] == Role::Primary && roles[other] == Role::Replica).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, SeqCst);
    let mut first: Option<Instant> = None;
    for writer in writers {
        let wrote = writer.await.expect("no panic");
        let its = wrote.into_iter().find(|at| *at > gone);
        first = [first, its].into_iter().flatten().min();
    }
    let first = first.expect("a write went through");
    rig.servers.beside(old, new, Node::rejoin).await;
    rig.until(|roles| roles[new] == Role::Primary && roles[old] == Role::Replica).await;
    (first.saturating_duration_since(promoted), first.saturating_duration_since(killed))
}

fn primary(rig: &Replicated) -> usize {
    let status = rig.cluster.status();
    status.iter().position(|server| server.role == Role::Primary).expect("there is one")
}

/// How far it has come, as a number: of an LSN's two halves, or of a GTID's last part.
async fn far(rig: &Replicated, at: usize) -> u64 {
    let position = rig.servers.with(at, |node| node.position()).await;
    let lsn = position.split_once('/').and_then(|(high, low)| {
        let (high, low) = (u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?);
        Some(high << 32 | low)
    });
    let gtid = || position.rsplit('-').next().and_then(|n| n.parse().ok());
    lsn.or_else(gtid).expect("a position")
}

/// When each of its writes was done; what fails is tried again.
async fn write(db: Db, user: usize, stop: Arc<AtomicBool>) -> Vec<Instant> {
    let mut wrote = Vec::new();
    while !stop.load(SeqCst) {
        let done = db.transaction(|tx| async move {
            let sql = "UPDATE pairs SET n = n + 1 WHERE id = $1";
            tx.query(sql).bind(user as i64).execute().await.map(drop)
        });
        match done.await {
            Ok(()) => wrote.push(now()),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    wrote
}
