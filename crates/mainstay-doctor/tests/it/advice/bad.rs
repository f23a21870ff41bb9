//! What the doctor meets in bad places: no rights, replicas, missing extensions, statements that are refused, names from
//! everywhere, and schemas with thousands of tables. It tells what it can, and never makes anything worse.

use mainstay_db::Db;
use mainstay_doctor::advice::{Options, Query, Scratch, advise, workload};
use mainstay_doctor::plan::explain;
use mainstay_testkit::Engine;

use super::support::{done, fresh, rows, run};

const BIG: &str = "CREATE TABLE big (id int PRIMARY KEY, a int NOT NULL, b text);
INSERT INTO big SELECT i, i % 5000, repeat('x', 60) FROM generate_series(1, 50000) i;
VACUUM ANALYZE big";

fn careful() -> Options {
    Options { scratch: Scratch::Off, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_hypopg_and_without_a_copy_nothing_is_told_but_why() {
    let (place, db) = fresh(Engine::Postgres, BIG).await;
    let advice =
        advise(&db, &[Query::new("SELECT b FROM big WHERE a = 7")], &careful()).await.unwrap();
    assert!(advice.suggestions.is_empty());
    assert!(advice.notes.iter().any(|note| note.contains("DOC-023")), "{:?}", advice.notes);
    done(place, db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_passed_over_and_the_rest_is_advised_on() {
    let (place, db) = fresh(Engine::Postgres, BIG).await;
    run(&db, "CREATE EXTENSION hypopg").await;
    let file = "SELECT nothing FROM big; SELEC 1; DROP TABLE big; SELECT * FROM missing; -- binds: [1]\nSELECT $1, $2;\n\
                SELECT b FROM big WHERE a = $1";
    let queries = workload(file, mainstay_db::Engine::Postgres);
    let advice = advise(&db, &queries, &careful()).await.unwrap();
    let passed: Vec<usize> = advice.passed_over.iter().map(|p| p.statement).collect();
    let mut sorted = passed.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 3, 4, 5], "{:#?}", advice.passed_over);
    assert_eq!(advice.suggestions.len(), 1);
    assert_eq!(rows(&db, "SELECT 1 FROM big LIMIT 1").await.unwrap().len(), 1, "it is still there");
    done(place, db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_all_kinds_come_out_as_they_must_be_written() {
    let schema = "CREATE SCHEMA \"Größe\";
CREATE TABLE \"Größe\".\"Order \"\"x\"\"\" (id int PRIMARY KEY, \"Straße\" int NOT NULL, \"select\" int NOT NULL, \"Zeit\" int NOT NULL);
INSERT INTO \"Größe\".\"Order \"\"x\"\"\" SELECT i, i % 900, i % 7, i * 7919::bigint % 60000 FROM generate_series(1, 60000) i;
VACUUM ANALYZE";
    let (place, db) = fresh(Engine::Postgres, schema).await;
    let sql = "SELECT o.* FROM \"Größe\".\"Order \"\"x\"\"\" o WHERE o.\"Straße\" = 5 AND o.\"select\" = 3 ORDER BY o.\"Zeit\" DESC LIMIT 3";
    let advice = advise(&db, &[Query::new(sql)], &Options::default()).await.unwrap();
    let [suggestion] = advice.suggestions.as_slice() else { panic!("{advice:#?}") };
    assert!(suggestion.columns.iter().any(|c| c.name == "Straße"));
    run(&db, &suggestion.ddl).await;
    assert!(advise(&db, &[Query::new(sql)], &careful()).await.unwrap().suggestions.is_empty());
    done(place, db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_rights_is_told_so_and_a_read_only_one_is_enough() {
    let (place, db) = fresh(Engine::Postgres, BIG).await;
    let role = format!("r_{}", place.name());
    run(&db, &format!("CREATE EXTENSION hypopg;\nCREATE ROLE {role} LOGIN PASSWORD 'p'")).await;
    let url = place.url().replacen("mainstay:", &format!("{role}:"), 1);
    let (before, at) = url.split_once(&format!("{role}:")).unwrap();
    let url = format!("{before}{role}:p@{}", at.split_once('@').unwrap().1);
    let poor = Db::connect(&url).await.unwrap();
    let query = [Query::new("SELECT b FROM big WHERE a = 7")];
    let advice = advise(&poor, &query, &careful()).await.unwrap();
    assert_eq!(advice.passed_over.len(), 1, "{advice:#?}");
    run(&db, &format!("GRANT SELECT ON big TO {role};\nALTER ROLE {role} SET default_transaction_read_only = on")).await;
    let poor = Db::connect(&url).await.unwrap();
    let advice = advise(&poor, &query, &careful()).await.unwrap();
    assert_eq!(advice.suggestions.len(), 1, "{advice:#?}");
    drop(poor);
    run(&db, &format!("DROP OWNED BY {role};\nDROP ROLE {role}")).await;
    done(place, db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_is_not_waited_for_and_time_has_an_end() {
    let (place, db) = fresh(Engine::Postgres, BIG).await;
    run(&db, "CREATE EXTENSION hypopg").await;
    let mut holder = db.session().await.unwrap();
    holder.run("BEGIN; LOCK TABLE big IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let options = Options { lock_timeout: std::time::Duration::from_millis(50), ..careful() };
    let advice =
        advise(&db, &[Query::new("SELECT b FROM big WHERE a = 7")], &options).await.unwrap();
    assert_eq!(advice.passed_over.len(), 1, "{advice:#?}");
    holder.run("ROLLBACK").await.unwrap();
    drop(holder);
    let options = Options { budget: std::time::Duration::ZERO, ..careful() };
    let advice =
        advise(&db, &[Query::new("SELECT b FROM big WHERE a = 7")], &options).await.unwrap();
    assert!(advice.notes.iter().any(|n| n.contains("the time is over")), "{:?}", advice.notes);
    done(place, db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_tables_are_not_looked_at() {
    let (place, db) = fresh(Engine::Postgres, BIG).await;
    run(&db, "CREATE EXTENSION hypopg").await;
    for part in 0..10 {
        run(
            &db,
            &format!(
                "DO $$ BEGIN FOR i IN {}..{} LOOP EXECUTE 'CREATE TABLE many_' || i || ' (a int, b int)'; END LOOP; END $$",
                part * 500 + 1,
                part * 500 + 500
            ),
        )
        .await;
    }
    let advice =
        advise(&db, &[Query::new("SELECT b FROM big WHERE a = 7")], &careful()).await.unwrap();
    assert_eq!(advice.suggestions.len(), 1);
    done(place, db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_writes_is_planned_and_not_run_and_two_statements_are_refused() {
    let (place, db) = fresh(Engine::Postgres, BIG).await;
    let options = Options::default();
    for sql in [
        "DELETE FROM big",
        "WITH d AS (DELETE FROM big RETURNING a) SELECT count(*) FROM d",
        "SELECT a FROM big FOR UPDATE",
    ] {
        let explained = explain(&db, &Query::new(sql), true, &options).await.unwrap();
        assert!(!explained.plan.is_analyzed() && explained.notes.len() == 1, "{sql}");
    }
    assert!(explain(&db, &Query::new("SELECT 1; DELETE FROM big"), true, &options).await.is_err());
    let left: i64 = rows(&db, "SELECT count(*) FROM big").await.unwrap()[0].at(0).unwrap();
    assert_eq!(left, 50_000);
    done(place, db).await;
}
