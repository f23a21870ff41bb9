//! Advice on a workload that an expert has labelled: what is missing is found, what is told is worth it when it is really
//! built, and nothing is told where nothing is missing.

use mainstay_doctor::advice::{Options, Query, Scratch, advise};
use mainstay_testkit::Engine;

use super::labelled::{SHOP, built, compare, labelled};
use super::support::{done, fresh, run};

async fn assert_as_an_expert(hypopg: bool) {
    let (place, db) = fresh(Engine::Postgres, SHOP).await;
    if hypopg {
        run(&db, "CREATE EXTENSION hypopg").await;
    }
    let labelled = labelled();
    let queries: Vec<Query> = labelled.iter().map(|(query, _)| query.clone()).collect();
    let clock = mainstay_core::clock::Clock::system();
    let begun = clock.now();
    let advice = advise(&db, &queries, &Options::default()).await.unwrap();
    println!("{:?}", clock.now() - begun);
    for suggestion in &advice.suggestions {
        let lines: Vec<_> = suggestion.serves.iter().map(|s| s.statement).collect();
        println!(
            "{} {lines:?} {:?} {:?} {}",
            suggestion.ddl, suggestion.cost, suggestion.buffers, suggestion.verified_by
        );
    }
    println!("{:?} {:?}", advice.notes, advice.passed_over);
    assert!(advice.passed_over.is_empty());
    let (wanted, found, wrong) = compare(&advice, &labelled);
    println!("{found} of {wanted} found");
    assert!(found * 10 >= wanted * 9, "{found} of {wanted}");
    assert!(wrong.is_empty(), "told of controls: {wrong:#?}");
    let (served, good) = built(&db, &advice, &labelled).await;
    println!("{good} of {served} halved");
    assert!(good * 100 >= served * 95, "{good} of {served}");
    // With them there is next to nothing left to say.
    // How little depends on the rows that ANALYZE happened to look at.
    run(&db, "VACUUM ANALYZE").await;
    let again = advise(&db, &queries, &Options::default()).await.unwrap();
    let left: Vec<_> = again.suggestions.iter().map(|s| s.ddl.clone()).collect();
    assert!(left.len() <= 4, "{left:#?}");
    done(place, db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_labelled_workload_by_hypopg() {
    assert_as_an_expert(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_labelled_workload_on_a_copy() {
    assert_as_an_expert(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_in_the_wrong_order_is_named() {
    let schema = "CREATE TABLE log (id int PRIMARY KEY, who int NOT NULL, at int NOT NULL, what text);
INSERT INTO log SELECT i, i % 3000, i * 7919::bigint % 100000, repeat('x', 50) FROM generate_series(1, 100000) i;
CREATE INDEX log_at_who ON log (at, who);
CREATE EXTENSION hypopg;
VACUUM ANALYZE log";
    let (place, db) = fresh(Engine::Postgres, schema).await;
    let query = Query::new("SELECT what FROM log WHERE who = 7 AND at > 90000 ORDER BY at");
    let advice = advise(&db, &[query], &Options { scratch: Scratch::Off, ..Options::default() })
        .await
        .unwrap();
    let [suggestion] = advice.suggestions.as_slice() else { panic!("{advice:?}") };
    assert_eq!(suggestion.key(), "who, at");
    assert_eq!(suggestion.wrong_order, ["log_at_who"]);
    assert_eq!(suggestion.verified_by, "HypoPG");
    let clock = mainstay_core::clock::Clock::system();
    assert_eq!(advice.findings(&clock)[0].code.as_str(), "DOC-021");
    done(place, db).await;
}
