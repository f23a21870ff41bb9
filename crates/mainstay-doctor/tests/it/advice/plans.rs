//! Sixty plans on three databases, each with what an expert would say of it: what is said must be that.

use mainstay_core::Code;
use mainstay_doctor::advice::{Options, Query};
use mainstay_doctor::plan::explain;
use mainstay_testkit::Engine;

use super::judged::{MARIADB, ON_MARIADB, ON_POSTGRES, ON_SQLITE, POSTGRES, SQLITE, tally};
use super::support::{done, fresh};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_plans_are_judged_as_an_expert_would() {
    let (mut right, mut said, mut wanted, mut plans) = (0, 0, 0, 0);
    for (engine, schema, labels) in [
        (Engine::Postgres, POSTGRES, ON_POSTGRES),
        (Engine::MariaDb, MARIADB, ON_MARIADB),
        (Engine::Sqlite, SQLITE, ON_SQLITE),
    ] {
        let (place, db) = fresh(engine, schema).await;
        let (r, s, w) = tally(&db, labels).await;
        println!("{engine:?}: {r} right of {s} said and {w} wanted");
        (right, said, wanted) = (right + r, said + s, wanted + w);
        plans += labels.len();
        done(place, db).await;
    }
    assert_eq!(plans, 60);
    assert!(right * 100 >= said * 95 && right * 100 >= wanted * 95, "{right} {said} {wanted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_that_is_far_off_is_told_where_it_begins() {
    let schema = "CREATE TABLE pairs (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL);
INSERT INTO pairs SELECT i, i % 100, i % 100 FROM generate_series(1, 200000) i;
ANALYZE pairs";
    let (place, db) = fresh(Engine::Postgres, schema).await;
    let sql = "SELECT count(*) FROM (SELECT DISTINCT id FROM pairs WHERE a = 7 AND b = 7) x";
    let explained = explain(&db, &Query::new(sql), true, &Options::default()).await.unwrap();
    let off: Vec<_> =
        explained.findings.iter().filter(|f| f.code == Code::PlanMisestimate).collect();
    assert_eq!(off.len(), 1, "{}", explained.drawn());
    assert!(off[0].what.contains("pairs has"), "{}", off[0].what);
    done(place, db).await;
}

/// On the engines without hypothetical indexes, advice is tried on a copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn advice_on_mariadb_and_sqlite_is_verified_on_a_copy() {
    for (engine, schema) in [(Engine::Sqlite, SQLITE), (Engine::MariaDb, MARIADB)] {
        let (place, db) = fresh(engine, schema).await;
        let queries = [
            Query::new("SELECT t FROM big WHERE a = $1 ORDER BY b"),
            Query::new("SELECT * FROM big WHERE id = 7"),
            Query::new("SELECT count(*) FROM small WHERE a = 3"),
        ];
        let advice =
            mainstay_doctor::advice::advise(&db, &queries, &Options::default()).await.unwrap();
        let [suggestion] = advice.suggestions.as_slice() else { panic!("{engine:?} {advice:#?}") };
        assert!(suggestion.key().starts_with('a'), "{engine:?} {}", suggestion.ddl);
        assert_eq!(suggestion.verified_by, "a scratch copy");
        super::support::run(&db, &suggestion.ddl).await;
        let again =
            mainstay_doctor::advice::advise(&db, &queries, &Options::default()).await.unwrap();
        assert!(again.suggestions.is_empty(), "{engine:?} {again:#?}");
        done(place, db).await;
    }
}
