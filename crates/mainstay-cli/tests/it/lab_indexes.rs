//! The labs of index-left-prefix and covering-index: which queries use the index is what the planner says.

use mainstay_cli::lab::{Access, LeftPrefix, Measured, covering_index, index_left_prefix};
use mainstay_pool::Options;
use mainstay_testkit::Engine;

use super::lab_failures::{done, on};

fn of<'m>(all: &'m [Measured], what: &str) -> &'m Measured {
    all.iter().find(|measured| measured.what == what).unwrap()
}

fn is_whole(measured: &Measured) -> bool {
    matches!(measured.access, Access::Scan | Access::FullIndex)
}

async fn left_prefix(engine: Engine) -> LeftPrefix {
    let (fresh, db) = on(engine, Options::default()).await;
    let report = index_left_prefix(&db, |_| {}).await.unwrap();
    done(fresh, db).await;
    let seeks = ["a = 1100", "a = 1100 AND b = 200", "a = 1100 AND b = 200 AND c = 1900"];
    for what in seeks.into_iter().chain(["a > 6000 AND b = 200"]) {
        let measured = of(&report.before, what);
        assert_eq!(measured.index.as_ref(), Some(&report.index), "{measured:?}");
        assert!(!is_whole(measured), "{measured:?}");
    }
    for what in ["b = 200", "c = 1900"] {
        let measured = of(&report.before, what);
        assert!(is_whole(measured), "it does not begin at the left: {measured:?}");
        let after = of(&report.after, what);
        assert!(!is_whole(after), "{after:?}");
        let built = report.built.iter().find(|built| Some(&built.name) == after.index.as_ref());
        assert!(built.is_some_and(|b| b.key.starts_with(&format!("({}", &what[..1]))), "{after:?}");
        // Where the engine tells them.
        if let (Some(before), Some(after)) = (measured.pages, after.pages) {
            assert!(after * 2 <= before, "{after} of {before} pages");
        }
    }
    assert!(report.advice.iter().all(|f| f.code.as_str() == "DOC-020"), "{:?}", report.advice);
    assert!(report.advice.len() >= 2 && report.advice.len() == report.built.len());
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_serves_queries_from_the_left() {
    let report = left_prefix(Engine::Postgres).await;
    assert!(report.before.iter().all(|measured| measured.pages.is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_serves_queries_from_the_left() {
    let report = left_prefix(Engine::MariaDb).await;
    let scan = of(&report.before, "b = 200");
    assert_eq!(scan.rows_read, Some(100_000), "{scan:?}");
    assert_eq!(of(&report.after, "b = 200").rows_read, Some(56));
    assert!(scan.findings.iter().any(|f| f.code.as_str() == "DOC-030"), "{scan:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_serves_queries_from_the_left() {
    let report = left_prefix(Engine::Sqlite).await;
    let scan = of(&report.before, "c = 1900");
    assert!(scan.findings.iter().any(|f| f.code.as_str() == "DOC-030"), "{scan:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_covers_a_query_answers_it_alone() {
    for engine in [Engine::Postgres, Engine::MariaDb, Engine::Sqlite] {
        let (fresh, db) = on(engine, Options::default()).await;
        let report = covering_index(&db, |_| {}).await.unwrap();
        done(fresh, db).await;
        assert_eq!(report.before.access, Access::Index, "{:?}", report.before);
        assert_eq!(report.after.access, Access::IndexOnly, "{:?}", report.after);
        assert!(report.inserts_before > 0 && report.inserts_after > 0);
        assert_eq!(report.ddl.ends_with("(customer) INCLUDE (total)"), engine == Engine::Postgres);
        if let (Some(before), Some(after)) = (report.before.pages, report.after.pages) {
            assert!(after * 10 < before, "{after} of {before} pages");
        }
        if engine != Engine::Postgres {
            assert!(report.updated.is_none() && report.vacuumed.is_none());
            continue;
        }
        assert_eq!(report.after.heap_fetches, Some(0), "{:?}", report.after);
        let updated = report.updated.unwrap();
        assert!(updated.heap_fetches.is_some_and(|fetches| fetches >= 1500), "{updated:?}");
        assert!(updated.findings.iter().any(|f| f.code.as_str() == "DOC-034"), "{updated:?}");
        assert_eq!(report.vacuumed.unwrap().heap_fetches, Some(0));
    }
}
