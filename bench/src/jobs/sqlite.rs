//! The embedded database: enqueueing 100 a transaction, and draining.

use mainstay::clock::Clock;

use crate::report::{Better, Case, median};
use crate::servers::{Engine, fresh};

use super::{peers, worker};

const COUNT: usize = 200_000;
const COUNT_APALIS: usize = 5_000;
const ROUNDS: usize = 3;
/// Ways to drain.
const WAYS: [&str; 2] = ["apalis-sqlite-drain-100", "apalis-sqlite-drain-1000"];

pub(crate) async fn run() -> Vec<Case> {
    let (mut enqueued, mut drained) = (vec![], vec![]);
    let mut apalis_enqueued = Vec::new();
    let mut apalis_drained = WAYS.map(|_| ("apalis", Vec::new()));
    for _ in 0..ROUNDS {
        let database = fresh(Engine::Sqlite).await;
        let db = worker::open(&database.url).await;
        let begun = Clock::system().now();
        worker::fill(&db, COUNT, 100).await;
        enqueued.push(
            COUNT as f64 / Clock::system().now().saturating_duration_since(begun).as_secs_f64(),
        );
        drained.push(worker::drain(&db, COUNT, None).await);
        let _ = db.close(std::time::Duration::from_secs(5)).await;
        apalis_enqueued.extend(apalis("apalis-sqlite-enqueue", COUNT).await);
        for (way, (_, all)) in WAYS.iter().zip(&mut apalis_drained) {
            all.extend(apalis(way, COUNT_APALIS).await);
        }
    }
    let case = |name, all| Case::new(name, "jobs/s", Better::Higher, median(all));
    let enqueued = case("200,000 enqueued, 100 a transaction, SQLite", enqueued);
    let drained = case("200,000 claimed and done (apalis: 5,000), SQLite", drained);
    vec![peers::best(enqueued, [("apalis", apalis_enqueued)]), peers::best(drained, apalis_drained)]
}

async fn apalis(case: &str, count: usize) -> Option<f64> {
    let database = fresh(Engine::Sqlite).await;
    peers::rate(case, &format!("{}?mode=rwc", database.url), count).await
}
