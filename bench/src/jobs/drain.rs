//! Jobs that do nothing, drained from PostgreSQL; each system three times, in turns.

use crate::report::{Better, Case, median};
use crate::servers::{Engine, fresh};

use super::{peers, worker};

const COUNT: usize = 1_000_000;
/// apalis does some hundreds a second.
const COUNT_APALIS: usize = 5_000;
const ROUNDS: usize = 3;

pub(crate) async fn run() -> Vec<Case> {
    let (mut ours, mut graphile, mut awa, mut apalis) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let database = fresh(Engine::Postgres).await;
        let db = worker::open(&database.url).await;
        worker::fill(&db, COUNT, 500).await;
        ours.push(worker::drain(&db, COUNT, None).await);
        let _ = db.close(std::time::Duration::from_secs(5)).await;
        for (case, count, all) in [
            ("graphile-drain", COUNT, &mut graphile),
            ("awa-drain", COUNT / 4, &mut awa),
            ("apalis-postgres-drain", COUNT_APALIS, &mut apalis),
        ] {
            let database = fresh(Engine::Postgres).await;
            all.extend(peers::rate(case, &database.url, count).await);
        }
    }
    let case =
        Case::new("1 M jobs that do nothing, PostgreSQL", "jobs/s", Better::Higher, median(ours));
    let peers = [("graphile_worker", graphile), ("awa", awa), ("apalis", apalis)];
    let with = |case: Case, (name, all): (&str, Vec<f64>)| {
        if all.is_empty() { case } else { case.peer(name, median(all)) }
    };
    vec![peers.into_iter().fold(case, with)]
}
