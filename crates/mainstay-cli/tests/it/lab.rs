//! What the lab finds is what Hermitage has published, where that has it.

use mainstay_cli::lab::{ANOMALIES, Matrix, Verdict, deadlock, isolation, parts};
use mainstay_db::Db;
use mainstay_pool::Options;
use mainstay_testkit::{Engine, Fresh};

async fn on(engine: Engine) -> (Fresh, Db) {
    let fresh = Fresh::new(engine).await;
    let options = Options { max_size: 12, ..Options::default() };
    let db = Db::builder(fresh.url()).pool(options).connect().await.unwrap();
    (fresh, db)
}

async fn found(engine: Engine) -> Matrix {
    let (fresh, db) = on(engine).await;
    let last = std::sync::atomic::AtomicUsize::new(0);
    let seen = |done| last.store(done, std::sync::atomic::Ordering::SeqCst);
    let matrix = isolation(&db, seen).await.unwrap();
    assert_eq!(last.into_inner(), parts(&db), "the progress comes to its end");
    let tables = match db.engine() {
        mainstay_db::Engine::Sqlite => "SELECT COUNT(*) FROM sqlite_schema",
        mainstay_db::Engine::Postgres => {
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE 'mainstay_lab%'"
        }
        // The catalogue is the server's, where other tests have databases of their own.
        mainstay_db::Engine::MySql => {
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'mainstay_lab%'"
        }
    };
    let left: i64 = db.query(tables).scalar().await.unwrap();
    assert_eq!(left, 0, "its tables are dropped again");
    db.close(std::time::Duration::from_secs(10)).await.unwrap();
    fresh.remove().await;
    matrix
}

/// In Hermitage's signs: `v` prevented, `-` not, `r` prevented for reads.
fn signs(matrix: &Matrix, level: &str) -> String {
    let row = matrix.levels.iter().find(|row| row.level == level).expect("the level was run");
    row.cells
        .iter()
        .map(|cell| match cell.verdict {
            Verdict::Prevented => 'v',
            Verdict::PreventedForReads => 'r',
            Verdict::Possible => '-',
        })
        .collect()
}

/// The order of the published tables, with the non-repeatable read between OTV and PMP.
#[test]
fn the_order_is_hermitages() {
    let ids: Vec<&str> = ANOMALIES.iter().map(|anomaly| anomaly.id).collect();
    assert_eq!(
        ids,
        ["G0", "G1a", "G1b", "G1c", "OTV", "P2", "PMP", "P4", "G-single", "G2-item", "G2"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_as_published() {
    let matrix = found(Engine::Postgres).await;
    assert!(matrix.server.starts_with("PostgreSQL 15"), "{}", matrix.server);
    // READ UNCOMMITTED is READ COMMITTED by another name.
    assert_eq!(signs(&matrix, "READ UNCOMMITTED"), "vvvvv------");
    assert_eq!(signs(&matrix, "READ COMMITTED"), "vvvvv------");
    assert_eq!(signs(&matrix, "REPEATABLE READ"), "vvvvvvvvv--");
    assert_eq!(signs(&matrix, "SERIALIZABLE"), "vvvvvvvvvvv");
    let default: Vec<_> = matrix.levels.iter().filter(|r| r.default).map(|r| r.level).collect();
    assert_eq!(default, ["READ COMMITTED"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_is_as_published_for_mysql() {
    let matrix = found(Engine::MariaDb).await;
    assert!(matrix.server.starts_with("MariaDB 10.11"), "{}", matrix.server);
    assert_eq!(signs(&matrix, "READ UNCOMMITTED"), "v----------");
    assert_eq!(signs(&matrix, "READ COMMITTED"), "vvvvv------");
    assert_eq!(signs(&matrix, "REPEATABLE READ"), "vvvvvvr-r--");
    assert_eq!(signs(&matrix, "SERIALIZABLE"), "vvvvvvvvvvv");
    let default: Vec<_> = matrix.levels.iter().filter(|r| r.default).map(|r| r.level).collect();
    assert_eq!(default, ["REPEATABLE READ"]);
}

/// Hermitage does not have it: with one writer at a time, which takes its lock when it begins, nothing
/// happens at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_prevents_all() {
    let matrix = found(Engine::Sqlite).await;
    assert_eq!(matrix.levels.len(), 1);
    assert_eq!(signs(&matrix, "SERIALIZABLE"), "vvvvvvvvvvv");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_is_shown_and_retried() {
    for engine in [Engine::Postgres, Engine::MariaDb, Engine::Sqlite] {
        let (fresh, db) = on(engine).await;
        let report = deadlock(&db, |_| {}).await.unwrap();
        assert_eq!(report.rows, [(1, 10), (2, 20)]);
        if engine == Engine::Sqlite {
            assert!(report.deadlock.is_none());
            assert_eq!(report.attempts, 2);
        } else {
            // InnoDB knows the server's latest deadlock alone, which may be another test's by then.
            let shown = report.deadlock.unwrap();
            let other = shown.contains("the other, a transaction begun at");
            assert!(other || engine == Engine::MariaDb, "{shown}");
            // Where both are slow, each may have been the victim once.
            assert!((3..=4).contains(&report.attempts), "{}", report.attempts);
        }
        db.close(std::time::Duration::from_secs(10)).await.unwrap();
        fresh.remove().await;
    }
}
