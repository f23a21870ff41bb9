//! A replica is frozen, all of its processes with SIGSTOP: how long until it is out, and what its readers feel of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use mainstay::Db;
use mainstay::route::{Freshness, Role};

use super::policy::Policy;
use super::servers::Replicated;
use super::{chosen, millis, now, quantile, since};
use crate::report::{Better, Case};
use crate::servers::Engine;

const ROUNDS: u64 = 12;
const READERS: usize = 8;
/// A read that takes longer has waited for a server that is frozen.
const SLOW: Duration = Duration::from_millis(200);
/// The peers wait for an answer this long, and have an error then.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long readers go on after the freeze.
const WINDOW: Duration = Duration::from_secs(2);

pub(super) async fn run() -> Vec<Case> {
    let rounds = chosen("MAINSTAY_BENCH_FREEZES", ROUNDS).max(1);
    let mut cases = Vec::new();
    for engine in [Engine::Postgres, Engine::MariaDb] {
        let ramp = Duration::from_millis(500);
        let rig = Replicated::new(engine, |settings| settings.ramp = ramp).await;
        cases.extend(on(&rig, rounds).await);
    }
    cases
}

/// What the readers of a round felt.
#[derive(Clone, Copy, Debug, Default)]
struct Felt {
    /// Of one reader, most.
    slow: u32,
    longest: Duration,
    errors: u32,
    reads: u32,
}

async fn on(rig: &Replicated, rounds: u64) -> Vec<Case> {
    let (mut out, mut ours) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let at = 1 + (round % 2) as usize;
        let (took, felt) = freeze(rig, at, &rig.cluster.db_with(Freshness::Any), true).await;
        eprintln!("{}: out after {took:?}, {felt:?}", rig.servers.engine.name());
        out.push(millis(took));
        ours.push(felt);
    }
    let (_, peer) = freeze(rig, 1, &Policy::RoundRobin.handle(&rig.plain), false).await;
    let of = format!("of {rounds} freezes of a replica, {}", rig.servers.engine.name());
    let worst = |of: fn(&Felt) -> f64| ours.iter().map(of).fold(0.0, f64::max);
    let errors: u32 = ours.iter().map(|felt| felt.errors).sum();
    vec![
        Case::new(
            format!("until it is out, median {of}"),
            "ms",
            Better::Lower,
            quantile(&mut out, 0.5),
        ),
        Case::new(
            format!("until it is out, longest {of}"),
            "ms",
            Better::Lower,
            quantile(&mut out, 1.0),
        ),
        Case::new(
            format!("slow reads of one reader, most {of}"),
            "count",
            Better::Lower,
            worst(|f| f.slow.into()),
        )
        .peer("round robin, 1 s timeout", f64::from(peer.slow)),
        Case::new(format!("longest read {of}"), "ms", Better::Lower, worst(|f| millis(f.longest)))
            .peer("round robin, 1 s timeout", millis(peer.longest)),
        Case::new(format!("read errors {of}"), "count", Better::Lower, f64::from(errors))
            .peer("round robin, 1 s timeout, one freeze", f64::from(peer.errors)),
    ]
}

/// How long until ours has it out, and what readers over `db` felt.
async fn freeze(rig: &Replicated, at: usize, db: &Db, ours: bool) -> (Duration, Felt) {
    let (frozen, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let reader = |_| tokio::spawn(read(db.clone(), Arc::clone(&frozen), Arc::clone(&stop), ours));
    let readers: Vec<_> = (0..READERS).map(reader).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = now();
    frozen.store(true, SeqCst);
    rig.servers.with(at, |node| node.pause()).await;
    rig.until(|roles| roles[at] == Role::Out).await;
    let took = since(begun);
    tokio::time::sleep(WINDOW.saturating_sub(took)).await;
    stop.store(true, SeqCst);
    let mut felt = Felt::default();
    for reader in readers {
        let one = reader.await.expect("no panic");
        felt.slow = felt.slow.max(one.slow);
        felt.longest = felt.longest.max(one.longest);
        felt.errors += one.errors;
        felt.reads += one.reads;
    }
    rig.servers.with(at, |node| node.resume()).await;
    rig.until(|roles| roles[1..].iter().all(|role| *role == Role::Replica)).await;
    // The ramp is over.
    tokio::time::sleep(Duration::from_millis(600)).await;
    (took, felt)
}

/// Reads that end before the freeze are not looked at.
async fn read(db: Db, frozen: Arc<AtomicBool>, stop: Arc<AtomicBool>, ours: bool) -> Felt {
    let mut felt = Felt::default();
    while !stop.load(SeqCst) {
        let begun = now();
        let read = db.query("SELECT n FROM pairs WHERE id = 1").scalar::<i64>();
        // Ours has no timeout: whoever reads waits until it is answered.
        let answered = if ours {
            read.await.is_ok()
        } else {
            tokio::time::timeout(TIMEOUT, read).await.is_ok_and(|read| read.is_ok())
        };
        let took = since(begun);
        if !frozen.load(SeqCst) {
            continue;
        }
        felt.reads += 1;
        felt.errors += u32::from(!answered);
        felt.slow += u32::from(took > SLOW);
        felt.longest = felt.longest.max(took);
    }
    felt
}
