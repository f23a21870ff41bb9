//! That the doctor makes nothing worse: it changes nothing, waits for nobody, sees what it may, and ends in time.

use std::time::Duration;

use mainstay_core::Code;
use mainstay_doctor::Severity;
use mainstay_doctor::exam::{Check, Examination, Options, Outcome};
use mainstay_testkit::{Broker, Engine};

use super::{Here, quick};

/// All that the catalogue has, but what others count.
const CATALOGUE: &str = "SELECT md5(string_agg(x, ',' ORDER BY x)) FROM ( \
     SELECT oid::text || relname || relkind::text || relfilenode || relpages || reltuples || relfrozenxid::text AS x FROM pg_class \
       WHERE relnamespace = 'public'::regnamespace \
     UNION ALL SELECT starelid::text || staattnum || stanullfrac FROM pg_statistic WHERE starelid > 16383 \
     UNION ALL SELECT xmin::text || setconfig::text FROM pg_db_role_setting) y";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_as_it_was() {
    let here = Here::new(Engine::Postgres).await;
    here.run("CREATE TABLE t (id serial PRIMARY KEY, a int REFERENCES t) WITH (autovacuum_enabled = off); INSERT INTO t SELECT FROM generate_series(1, 5000)").await;
    let before = here.texts(CATALOGUE).await;
    let report = here.report(quick()).await;
    assert_eq!(report.stopped, None);
    assert_eq!(report.checks.len(), Check::of(mainstay_db::Engine::Postgres).len());
    assert_eq!(here.texts(CATALOGUE).await, before);
    assert_eq!(here.texts("SELECT last_value::text FROM t_id_seq").await, ["5000"]);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_as_it_was() {
    let here = Here::new(Engine::Sqlite).await;
    here.run("CREATE TABLE t (id INTEGER PRIMARY KEY, a INT REFERENCES t)").await;
    here.db.close(Duration::from_secs(5)).await.unwrap();
    let path = here.fresh.url().trim_start_matches("sqlite:").to_owned();
    // The last of its connections ends on a thread of its own, and moves the WAL into the file.
    for _ in 0..500 {
        if !std::path::Path::new(&format!("{path}-wal")).exists() {
            break;
        }
        mainstay_core::clock::Clock::system().sleep(Duration::from_millis(10)).await;
    }
    let before = std::fs::read(&path).unwrap();
    let report = here.report(Options::default()).await;
    assert_eq!(report.stopped, None);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // Nor is one made that is not there.
    let gone = format!("sqlite:{path}.gone");
    let error = Examination::new(&gone).run().await.unwrap_err();
    assert_eq!(error.code(), Code::File, "{error:?}");
    assert!(!std::path::Path::new(&format!("{path}.gone")).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_is_not_waited_for() {
    let here = Here::new(Engine::Postgres).await;
    here.run("CREATE TABLE t (id serial PRIMARY KEY, a int REFERENCES t); CREATE INDEX i ON t ((a + 1)) WHERE a > 0").await;
    let mut holder = here.session().await;
    holder.run("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let report = here.report(Options { skip: vec![Check::Transactions], ..quick() }).await;
    assert_eq!(report.stopped, None);
    for checked in &report.checks {
        let expected = matches!(
            checked.check,
            Check::Statements | Check::Checksums | Check::Cache | Check::Locks
        );
        assert!(checked.outcome != Outcome::Unknown || expected, "{checked:?}");
    }
    holder.run("ROLLBACK").await.unwrap();
    // A sequence that is being altered can't be read: that alone is not known.
    holder.run("BEGIN; ALTER SEQUENCE t_id_seq MAXVALUE 1000").await.unwrap();
    let why = here.unknown(Check::Sequences, quick()).await;
    assert!(why.contains("a lock was in the way"), "{why}");
    drop(holder);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_rights_learns_what_it_may() {
    let here = Here::new(Engine::Postgres).await;
    let role = format!("r_{}", here.fresh.name());
    here.run("CREATE TABLE t (id serial PRIMARY KEY, a int REFERENCES t); INSERT INTO t SELECT FROM generate_series(1, 5000)").await;
    here.run(
        "CREATE TABLE big (a bigint); INSERT INTO big SELECT generate_series(1, 100000); ANALYZE",
    )
    .await;
    here.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'p'")).await;
    let (_, rest) = here.fresh.url().split_once('@').unwrap();
    let url = format!("postgres://{role}:p@{rest}");
    let options = Options { bytes_min: 1 << 20, ..quick() };
    let report = Examination::new(&url).options(options).run().await.unwrap();
    assert_eq!(report.stopped, None);
    let why = |check| {
        let checked = report.check(check).unwrap();
        assert_eq!(checked.outcome, Outcome::Unknown, "{checked:?}");
        checked.detail.clone()
    };
    assert!(why(Check::Locks).contains("GRANT pg_monitor"));
    assert!(why(Check::Transactions).contains("GRANT pg_monitor"));
    assert!(why(Check::Sequences).contains("no right to read 1 sequence"));
    assert!(why(Check::BloatedTables).contains("no right"));
    // The catalogue is everybody's.
    assert_eq!(report.check(Check::ForeignKeys).unwrap().outcome, Outcome::Found);
    here.run(&format!("DROP ROLE {role}")).await;
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_read_only_is_examined_as_well() {
    let here = Here::new(Engine::Postgres).await;
    here.run("CREATE TABLE t (a int)").await;
    here.run(&format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        here.fresh.name()
    ))
    .await;
    let report = here.report(quick()).await;
    assert_eq!(report.stopped, None);
    assert_eq!(report.check(Check::PrimaryKeys).unwrap().findings.len(), 1);
    here.fresh.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_pooler_it_is_the_same() {
    let here = Here::new(Engine::PgBouncer).await;
    here.db.query("CREATE TABLE t (a int)").execute().await.unwrap();
    let report = here.report(Options { skip: vec![Check::Settings], ..Options::default() }).await;
    assert_eq!(report.stopped, None);
    assert_eq!(report.check(Check::PrimaryKeys).unwrap().findings.len(), 1);
    // Nothing of what it set is left for the next one.
    assert_eq!(here.texts("SELECT current_setting('lock_timeout')").await, ["0"]);
    here.done().await;
}

async fn many_tables(here: &Here, sql: impl Fn(usize) -> String) {
    let mut session = here.session().await;
    for from in (0..5000).step_by(500) {
        let batch: Vec<_> = (from..from + 500).map(&sql).collect();
        if here.fresh.engine() == Engine::MariaDb {
            for one in batch {
                session.run(&one).await.unwrap();
            }
        } else {
            session.run(&format!("BEGIN; {}; COMMIT", batch.join("; "))).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_tables_are_within_the_budget() {
    let postgres = Here::new(Engine::Postgres).await;
    many_tables(&postgres, |n| {
        format!("CREATE TABLE t{n} (id serial PRIMARY KEY, a int REFERENCES t{n})")
    })
    .await;
    let report = postgres.report(Options { prod: true, ..Options::default() }).await;
    assert_eq!(report.stopped, None);
    let keys = report.check(Check::ForeignKeys).unwrap();
    assert_eq!(keys.outcome, Outcome::Found, "{}", keys.detail);
    assert_eq!(keys.findings.len(), 50);
    assert_ne!(report.check(Check::Sequences).unwrap().outcome, Outcome::Unknown);
    println!("PostgreSQL, 5,000 tables, --prod: {:?}", report.took);
    postgres.done().await;
    let sqlite = Here::new(Engine::Sqlite).await;
    many_tables(&sqlite, |n| {
        format!("CREATE TABLE t{n} (id INTEGER PRIMARY KEY, a INT REFERENCES t{n})")
    })
    .await;
    let report = sqlite.report(Options { prod: true, ..Options::default() }).await;
    assert_eq!(report.stopped, None);
    assert_eq!(report.check(Check::ForeignKeys).unwrap().findings.len(), 50);
    println!("SQLite, 5,000 tables, --prod: {:?}", report.took);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_tables_of_mariadb() {
    let here = Here::new(Engine::MariaDb).await;
    many_tables(&here, |n| {
        format!(
            "CREATE TABLE t{n} (id INT AUTO_INCREMENT PRIMARY KEY, a INT, KEY one (a), KEY two (a))"
        )
    })
    .await;
    let report = here.report(Options { prod: true, ..Options::default() }).await;
    println!("MariaDB, 5,000 tables, --prod: {:?} {:?}", report.took, report.stopped);
    for checked in &report.checks {
        println!("{} {:?} {}", checked.check, checked.outcome, checked.detail);
    }
    assert!(report.tells_anything());
    // Within the budget and the time to hear that a statement took too long, however slow the machine.
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_left_alone() {
    let broker = Broker::postgres().await;
    let examination = || Examination::new(&broker.url()).options(Options { prod: true, ..quick() });
    let whole = examination().run().await.unwrap();
    assert_eq!(whole.stopped, None);
    // Silence falls at another moment each time, until one is in the middle.
    for part in 1..=30 {
        let examining = tokio::spawn(examination().run());
        mainstay_core::clock::Clock::system().sleep(whole.took * part / 20).await;
        broker.freeze().await;
        let outcome = examining.await.unwrap();
        broker.thaw().await;
        match outcome {
            Ok(report) => {
                let Some(stopped) = &report.stopped else { continue };
                assert_eq!(stopped.code, Code::DoctorStopped, "{stopped}");
                assert_eq!(stopped.severity, Severity::Error, "{stopped}");
                let last = report.checks.last().unwrap();
                assert_ne!(last.outcome, Outcome::Good, "{last:?}");
                return;
            }
            // Before it was connected.
            Err(error) => assert_eq!(error.code(), Code::Unreachable, "{error:?}"),
        }
    }
    panic!("it never fell silent in the middle");
}
