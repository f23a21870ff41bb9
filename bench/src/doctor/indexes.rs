//! Index advice on the workload that an expert has labelled: what is found of it, what is told without need, and
//! what the suggestions are worth once they are really built. With hypothetical indexes and on a copy.

use mainstay::clock::Clock;
use mainstay::doctor::advice::{Options, Query, Suggestion, advise};

use super::advice::labelled::{self, SHOP};
use super::advice::statements;
use super::share;
use crate::report::{Better, Case};
use crate::servers::{Engine, connect, fresh};

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for (by, hypopg) in [("HypoPG", true), ("a copy", false)] {
        cases.extend(advised(by, hypopg).await);
    }
    cases
}

async fn advised(by: &str, hypopg: bool) -> Vec<Case> {
    let database = fresh(Engine::Postgres).await;
    let db = connect(&database).await;
    statements::run(&db, SHOP).await;
    if hypopg {
        statements::run(&db, "CREATE EXTENSION hypopg").await;
    }
    let labelled = labelled::labelled();
    let queries: Vec<Query> = labelled.iter().map(|(query, _)| query.clone()).collect();
    let clock = Clock::system();
    let begun = clock.now();
    let advice = advise(&db, &queries, &Options::default()).await.expect("a database to look at");
    let took = clock.now().saturating_duration_since(begun);
    let (wanted, found, wrong) = labelled::compare(&advice, &labelled);
    for wrong in &wrong {
        println!("told without need: {wrong}");
    }
    let halves = |s: &&Suggestion| s.serves.iter().any(|s| s.cost.after <= s.cost.before / 2.0);
    let halving = advice.suggestions.iter().filter(halves).count();
    let (served, halved) = labelled::built(&db, &advice, &labelled).await;
    let name = |what: &str| format!("indexes by {by}: {what}");
    let ratio = |part: usize, of: usize| part as f64 / of as f64;
    vec![
        share(name("found of the expert's"), ratio(found, wanted)),
        Case::new(name("told for controls"), "count", Better::Lower, wrong.len() as f64),
        share(name("suggestions that halve a cost"), ratio(halving, advice.suggestions.len())),
        share(name("built: statements at half of cost and pages"), ratio(halved, served)),
        Case::new(name("the whole workload"), "s", Better::Lower, took.as_secs_f64()),
    ]
}
