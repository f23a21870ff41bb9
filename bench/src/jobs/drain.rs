//! Jobs that do nothing, drained from PostgreSQL; each system three times, in turns.

use crate::report::{Better, Case, median};
use crate::servers::{Engine, fresh};

use super::{peers, worker};

const COUNT: usize = 300_000;
/// apalis does some hundreds a second.
const COUNT_APALIS: usize = 5_000;
const ROUNDS: usize = 3;
const NAME: &str = "300,000 jobs that do nothing (apalis: 5,000), PostgreSQL";
/// A peer, a way to run it, and its jobs.
const WAYS: [(&str, &str, usize); 5] = [
    ("graphile_worker", "graphile-drain", COUNT),
    ("graphile_worker", "graphile-drain-2-queues", COUNT),
    ("awa", "awa-drain", COUNT),
    ("apalis", "apalis-postgres-drain-100", COUNT_APALIS),
    ("apalis", "apalis-postgres-drain-1000", COUNT_APALIS),
];

pub(crate) async fn run() -> Vec<Case> {
    let mut ours = Vec::new();
    let mut theirs = WAYS.map(|(peer, ..)| (peer, Vec::new()));
    for _ in 0..ROUNDS {
        let database = fresh(Engine::Postgres).await;
        let db = worker::open(&database.url).await;
        worker::fill(&db, COUNT, 500).await;
        ours.push(worker::drain(&db, COUNT, None).await);
        let _ = db.close(std::time::Duration::from_secs(5)).await;
        for ((_, case, count), (_, all)) in WAYS.iter().zip(&mut theirs) {
            let database = fresh(Engine::Postgres).await;
            all.extend(peers::rate(case, &database.url, *count).await);
        }
    }
    let case = Case::new(NAME, "jobs/s", Better::Higher, median(ours));
    vec![peers::best(case, theirs)]
}
