//! The embedded database: enqueueing 100 a transaction, and draining.

use mainstay::clock::Clock;

use crate::report::{Better, Case, median};
use crate::servers::{Engine, fresh};

use super::{peers, worker};

const COUNT: usize = 200_000;
const COUNT_APALIS: usize = 5_000;
const ROUNDS: usize = 3;

pub(crate) async fn run() -> Vec<Case> {
    let (mut enqueued, mut drained) = (vec![], vec![]);
    let (mut apalis_enqueued, mut apalis_drained) = (vec![], vec![]);
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
        for (case, all) in [
            ("apalis-sqlite-enqueue", &mut apalis_enqueued),
            ("apalis-sqlite-drain", &mut apalis_drained),
        ] {
            let database = fresh(Engine::Sqlite).await;
            let url = format!("{}?mode=rwc", database.url);
            all.extend(peers::rate(case, &url, COUNT_APALIS).await);
        }
    }
    let cases = [
        ("enqueued, 100 a transaction, SQLite", enqueued, apalis_enqueued),
        ("claimed and done, SQLite", drained, apalis_drained),
    ];
    let case = |(name, ours, apalis): (&str, Vec<f64>, Vec<f64>)| {
        let case = Case::new(name, "jobs/s", Better::Higher, median(ours));
        if apalis.is_empty() { case } else { case.peer("apalis", median(apalis)) }
    };
    cases.into_iter().map(case).collect()
}
