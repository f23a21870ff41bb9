//! Cut off after each of its steps, by a drop and by a kill -9, a move is resumed or taken back; and writers go on
//! meanwhile, but for the moment between the shutting of the source and the map's change.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::{Code, Result};
use mainstay_db::Db;
use mainstay_route::shard::moves::{Mover, Outcome, Progress, State, Step};
use mainstay_route::shard::{MapStore, Shards};
use mainstay_testkit::Engine;
use tokio::sync::Notify;

use super::support::{LOGICAL, Two, mover, nothing_left, order, orders, shards};

const CALL: &str = "MAINSTAY_MOVE_CALL";

crate::on_servers!(dropped_after_a_step, killed_after_each_step);

/// Where it is cut off: after the n-th time that a step is told of.
type Cut = (Step, u32);

const CUTS: [Cut; 15] = [
    (Step::Entered, 1),
    (Step::Prepared, 1),
    (Step::Captured, 1),
    (Step::Captured, 2),
    (Step::Entered, 2),
    (Step::Copied, 1),
    (Step::Copied, 2),
    (Step::Entered, 3),
    (Step::Compared, 2),
    (Step::Entered, 4),
    (Step::Entered, 5),
    (Step::Locked, 1),
    (Step::Drained, 1),
    (Step::Fenced, 1),
    (Step::Switched, 1),
];

/// Counts the steps, and says once the cut is reached.
fn reaches(cut: Cut) -> impl Fn(&Progress) -> bool + Send + Sync {
    let seen: Mutex<HashMap<Step, u32>> = Mutex::default();
    move |p| {
        let mut seen = seen.lock().unwrap();
        let count = seen.entry(p.step).or_default();
        *count += 1;
        (p.step, *count) == cut
    }
}

async fn dropped_after_a_step(engine: Engine) {
    let two = Two::orders(engine).await;
    let users = two.fill(20).await;
    let mut expected = orders(&two.a).await;
    let (mut home, mut away) = ("a", "b");
    // What a drop leaves is less than what a kill does: every second one.
    for (n, cut) in CUTS.into_iter().step_by(2).enumerate() {
        let reached = Arc::new(Notify::new());
        let is_cut = reaches(cut);
        let cut_off = two.mover().on({
            let reached = Arc::clone(&reached);
            move |p| {
                if is_cut(p) {
                    reached.notify_one();
                }
            }
        });
        tokio::select! {
            biased;
            () = reached.notified() => {}
            done = cut_off.start(LOGICAL, away) => {
                // The last step of all is followed by nothing that it could be dropped at.
                assert!(matches!(cut.0, Step::Switched), "{cut:?}: {done:?}");
            }
        }
        aftermath(&two, cut, n, users[n % users.len()], &mut expected, (&mut home, &mut away))
            .await;
    }
    two.end().await;
}

/// What a cut leaves can be written to, taken back and resumed.
async fn aftermath(
    two: &Two,
    cut: Cut,
    n: usize,
    user: i64,
    expected: &mut std::collections::BTreeMap<i64, (i64, i64)>,
    (home, away): (&mut &'static str, &mut &'static str),
) {
    let mover = two.mover();
    two.shards.refresh(&two.store).await.unwrap();
    let open = mover.moves(false).await.unwrap();
    let state = open.first().map(|m| m.state);
    let (db, id) = (two.shards.of(&user).unwrap(), 1_000_000_000 + n as i64);
    let sql = "INSERT INTO orders (id, user_id, cents) VALUES ($1, $2, 77)";
    // What the dead one's connections have locked comes free in a moment.
    let written = eventually(|| async { db.query(sql).bind(id).bind(user).execute().await }).await;
    match written {
        Ok(_) => drop(expected.insert(id, (user, 77))),
        Err(error) => {
            assert_eq!(
                (error.code(), cut.0),
                (Code::ShardStale, Step::Fenced),
                "{cut:?}: {}",
                error.report()
            );
        }
    }
    let name = |db: &str| if db == "a" { two.a.clone() } else { two.b.clone() };
    let back = n.is_multiple_of(2) && state.is_some_and(|s| s < State::Done);
    let outcome = if back {
        again(|| mover.rollback(LOGICAL)).await
    } else {
        again(|| mover.resume(LOGICAL)).await
    };
    if back {
        assert_eq!(outcome.state, State::RolledBack, "{cut:?}");
    } else {
        assert_eq!(outcome.state, State::Done, "{cut:?}");
        again(|| mover.finish(LOGICAL)).await;
        std::mem::swap(home, away);
    }
    two.shards.refresh(&two.store).await.unwrap();
    assert_eq!(orders(&name(home)).await, *expected, "{cut:?}, taken back: {back}");
    assert!(orders(&name(away)).await.is_empty(), "{cut:?}, taken back: {back}");
    assert_eq!(two.shards.map().owner(LOGICAL), Some(*home));
    nothing_left(two).await;
    // And it is writable.
    order(&name(home), id + 500_000_000, user, 78).await;
    expected.insert(id + 500_000_000, (user, 78));
}

async fn eventually<T, W: Future<Output = Result<T>>>(work: impl Fn() -> W) -> Result<T> {
    for _ in 0..200 {
        match work().await {
            Err(error) if matches!(error.code(), Code::LockTimeout | Code::Deadlock) => {}
            other => return other,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    work().await
}

/// Once the lease of the one that was cut off is over.
async fn again<W: Future<Output = Result<Outcome>>>(work: impl Fn() -> W) -> Outcome {
    for _ in 0..200 {
        match work().await {
            Err(error) if error.code() == Code::MoveUnfinished => {}
            other => return other.unwrap_or_else(|e| panic!("{}", e.report())),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it is worked on for ever");
}

async fn killed_after_each_step(engine: Engine) {
    let two = Two::orders(engine).await;
    let users = two.fill(20).await;
    let mut expected = orders(&two.a).await;
    let (mut home, mut away) = ("a", "b");
    for (n, cut) in CUTS.into_iter().enumerate() {
        let call = format!("{} {away} {n}", two.urls());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "moves::cut_off::victim", "--ignored", "--nocapture"])
            .env(CALL, call)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let reached = out.lines().map_while(std::result::Result::ok).any(|line| line == "reached");
        assert!(reached, "{cut:?} was not reached");
        child.kill().unwrap();
        child.wait().unwrap();
        // The other parity, so that each cut is both resumed and taken back on one of the two ways.
        aftermath(&two, cut, n + 1, users[n % users.len()], &mut expected, (&mut home, &mut away))
            .await;
    }
    two.end().await;
}

/// The process that is killed: it moves, up to the cut that it is told.
#[ignore = "is run by another test, and killed"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Some(call) = mainstay_core::config::variable(CALL) else { return };
    let words: Vec<&str> = call.split(' ').collect();
    let [a, b, catalogue, to, cut] = words.as_slice() else { panic!("{call}") };
    let mut dbs = Vec::new();
    for url in [a, b, catalogue] {
        dbs.push(Db::connect(url).await.unwrap());
    }
    let store = MapStore::new(dbs[2].clone());
    let shards: Shards = shards(&dbs, store.load().await.unwrap().unwrap());
    let is_cut = reaches(CUTS[cut.parse::<usize>().unwrap()]);
    let mover: Mover = mover(&shards, &store).on(move |p| {
        if is_cut(p) {
            println!("\nreached");
            // Until it is killed: what is open stays so.
            loop {
                std::thread::park();
            }
        }
    });
    mover.start(LOGICAL, to).await.unwrap();
}
