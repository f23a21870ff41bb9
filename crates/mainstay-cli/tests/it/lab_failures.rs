//! The labs of n-plus-one, pool-exhaustion and leak: what they show is what really happened. Of times nothing is said.

use mainstay_cli::lab::{leak, n_plus_one, pool_exhaustion, small_pool};
use mainstay_db::Db;
use mainstay_doctor::Finding;
use mainstay_pool::Options;
use mainstay_testkit::{Engine, Fresh};

const ENGINES: [Engine; 3] = [Engine::Postgres, Engine::MariaDb, Engine::Sqlite];

pub(crate) async fn on(engine: Engine, pool: Options) -> (Fresh, Db) {
    let fresh = Fresh::new(engine).await;
    let db = Db::builder(fresh.url()).name("lab").pool(pool).connect().await.unwrap();
    (fresh, db)
}

/// Nothing is left in the database.
pub(crate) async fn done(fresh: Fresh, db: Db) {
    let tables = match db.engine() {
        mainstay_db::Engine::Sqlite => "SELECT COUNT(*) FROM sqlite_schema",
        mainstay_db::Engine::Postgres => {
            "SELECT COUNT(*) FROM pg_class WHERE relname LIKE '%mainstay_lab%'"
        }
        mainstay_db::Engine::MySql => {
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()"
        }
    };
    assert_eq!(db.query(tables).scalar::<i64>().await.unwrap(), 0, "its tables are dropped");
    db.close(std::time::Duration::from_secs(10)).await.unwrap();
    fresh.remove().await;
}

fn of<'f>(findings: &'f [Finding], code: &str) -> &'f Finding {
    let found = findings.iter().find(|f| f.code.as_str() == code);
    found.unwrap_or_else(|| panic!("no {code} in {findings:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_for_each_row_becomes_one_for_all() {
    for engine in ENGINES {
        let (fresh, db) = on(engine, Options::default()).await;
        let report = n_plus_one(&db, |_| {}).await.unwrap();
        assert_eq!((report.parents, report.same), (200, true));
        assert_eq!((report.before.statements, report.after.statements), (201, 2));
        assert_eq!((report.before.rows, report.after.rows), (1200, 1200));
        let trips = if engine == Engine::Sqlite { (0, 0) } else { (201, 2) };
        assert_eq!((report.before.round_trips, report.after.round_trips), trips);
        let found = of(&report.before.findings, "DOC-001");
        assert!(found.place.as_deref().is_some_and(|p| p.contains("lab/nplusone.rs:")), "{found}");
        assert_eq!((found.scope.as_deref(), found.cost.round_trips), (Some("GET /authors"), 199));
        assert!(report.after.findings.is_empty(), "{:?}", report.after.findings);
        done(fresh, db).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_inside_a_transaction_exhausts_the_pool() {
    for engine in ENGINES {
        let (fresh, db) = on(engine, small_pool()).await;
        let report = pool_exhaustion(&db, |_| {}).await.unwrap();
        assert_eq!(report.connections, if engine == Engine::Sqlite { 1 } else { 4 });
        let (before, after) = (&report.before, &report.after);
        for orders in [before, after] {
            assert_eq!(orders.served + orders.timeouts, orders.requests);
        }
        assert!(before.timeouts > 0, "{before:?}");
        assert!(after.served > before.served, "{after:?}");
        let error = before.error.as_deref().unwrap();
        assert!(error.contains("POOL-002") && error.contains("POST /orders"), "{error}");
        assert!(error.contains("lab/exhaustion.rs:"), "it says where: {error}");
        let call = of(&before.findings, "DOC-012");
        assert!(call.place.as_deref().is_some_and(|p| p.contains("exhaustion.rs:")), "{call}");
        let small = of(&before.findings, "DOC-016");
        let pool = if engine == Engine::Sqlite { "`lab.writer` of 1" } else { "`lab` of 4" };
        assert!(small.what.contains(pool), "{small}");
        assert!(after.findings.iter().all(|f| f.code.as_str() != "DOC-012"), "{after:?}");
        done(fresh, db).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_cursors_are_leaks_and_dropped_ones_are_not() {
    for engine in ENGINES {
        let (fresh, db) = on(engine, small_pool()).await;
        let report = leak(&db, |_| {}).await.unwrap();
        let (before, after) = (&report.before, &report.after);
        assert_eq!((before.requests, before.answered, before.in_use.len()), (5, 4, 4));
        assert_eq!(before.reports.len(), 4);
        for held in &before.in_use {
            assert!(
                held.who.contains("GET /users") && held.who.contains("lab/leak.rs:"),
                "{held:?}"
            );
            assert!(
                held.last.as_deref().is_some_and(|sql| sql.starts_with("SELECT id")),
                "{held:?}"
            );
        }
        for told in &before.reports {
            assert!(told.contains("POOL-007") && told.contains("lab/leak.rs:"), "{told}");
            assert!(told.contains("last: SELECT id"), "{told}");
        }
        assert!(before.error.as_deref().is_some_and(|e| e.contains("POOL-002")), "{before:?}");
        let found = of(&before.findings, "DOC-006");
        assert!(found.place.as_deref().is_some_and(|p| p.contains("lab/leak.rs:")), "{found}");
        assert_eq!(found.count, 4);
        assert_eq!((after.requests, after.answered, after.in_use.len()), (20, 20, 0));
        assert!(after.reports.is_empty() && after.findings.is_empty(), "{after:?}");
        done(fresh, db).await;
    }
}
