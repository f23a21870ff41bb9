//! MariaDB, on the run's own server.

use mainstay_core::Code;
use mainstay_doctor::Severity;
use mainstay_doctor::exam::{Check, Options, Outcome};
use mainstay_testkit::Engine;

use super::{Here, only, quick};

async fn here() -> Here {
    Here::new(Engine::MariaDb).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_is_examined() {
    let here = here().await;
    here.run("CREATE TABLE `Bü``cher` (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, a INT, b INT, KEY one (a), KEY wide (a, b))").await;
    here.run("CREATE TABLE near_end (id TINYINT AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT = 120")
        .await;
    here.run("CREATE TABLE no_key (a INT)").await;
    here.run("CREATE TABLE old (id INT PRIMARY KEY) ENGINE = MyISAM").await;
    here.run("CREATE TABLE texts (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET utf8mb3)").await;
    let duplicate = here.found(Check::DuplicateIndexes).await;
    let finding = only(&duplicate, Code::DoctorIndexDuplicate, Severity::Hint);
    assert_eq!(finding.fix, "ALTER TABLE `Bü``cher` DROP INDEX `one`;");
    let ending = here.found(Check::Sequences).await;
    only(&ending, Code::DoctorSequenceEnding, Severity::Error);
    let keyless = here.found(Check::PrimaryKeys).await;
    assert_eq!(
        only(&keyless, Code::DoctorKeyMissing, Severity::Warning).what,
        "no_key has no primary key"
    );
    let engines = here.found(Check::StorageEngines).await;
    only(&engines, Code::DoctorStorageEngine, Severity::Warning);
    let encoding = here.found(Check::Encoding).await;
    assert_eq!(
        only(&encoding, Code::DoctorEncoding, Severity::Warning).what,
        "1 column of texts can't hold every character"
    );
    for found in [duplicate, ending, keyless, engines, encoding] {
        here.mend(&found).await;
    }
    for check in [
        Check::DuplicateIndexes,
        Check::Sequences,
        Check::PrimaryKeys,
        Check::StorageEngines,
        Check::Encoding,
    ] {
        assert_eq!(here.found(check).await, [], "{check}");
    }
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_transaction_and_who_waits_for_it_are_told() {
    let here = here().await;
    here.run("CREATE TABLE t (id INT PRIMARY KEY, secret TEXT)").await;
    here.run("INSERT INTO t VALUES (1, 'x')").await;
    assert_eq!(here.found(Check::Locks).await, []);
    let mut holder = here.session().await;
    holder.run("BEGIN").await.unwrap();
    holder.run("UPDATE t SET secret = 'hunter2' WHERE id = 1").await.unwrap();
    let mut waiter = here.session().await;
    let waits =
        tokio::spawn(async move { waiter.run("UPDATE t SET secret = 'other' WHERE id = 1").await });
    let mut found = Vec::new();
    for _ in 0..200 {
        found = here.found(Check::Locks).await;
        if !found.is_empty() {
            break;
        }
        mainstay_core::clock::Clock::system().sleep(std::time::Duration::from_millis(20)).await;
    }
    let finding = only(&found, Code::DoctorLockBlocking, Severity::Error);
    assert!(finding.what.ends_with("keeps a lock from 1 session"), "{finding}");
    assert!(finding.evidence[1].contains("UPDATE t SET secret = ? WHERE id = ?"), "{finding}");
    let idle = here.found(Check::Transactions).await;
    assert!(
        idle.iter().any(|f| f.code == Code::DoctorTransactionLong && f.what.contains("idle now")),
        "{idle:#?}"
    );
    here.mend(&found).await;
    waits.await.unwrap().unwrap();
    assert_eq!(here.found(Check::Locks).await, []);
    drop(holder);

    // Whoever waits for a table's definition.
    let mut reader = here.session().await;
    reader.run("BEGIN").await.unwrap();
    reader.run("SELECT * FROM t").await.unwrap();
    let mut alters = here.session().await;
    let waits = tokio::spawn(async move { alters.run("ALTER TABLE t ADD COLUMN b INT").await });
    for _ in 0..200 {
        found = here.found(Check::Locks).await;
        if !found.is_empty() {
            break;
        }
        mainstay_core::clock::Clock::system().sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(found[0].what.contains("metadata lock"), "{found:#?}");
    reader.run("COMMIT").await.unwrap();
    waits.await.unwrap().unwrap();
    drop(reader);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_that_was_left_is_told() {
    let here = here().await;
    here.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let mut session = here.session().await;
    for sql in ["XA START 'left'", "INSERT INTO t VALUES (1)", "XA END 'left'", "XA PREPARE 'left'"]
    {
        session.run(sql).await.unwrap();
    }
    drop(session);
    let mut found = Vec::new();
    for _ in 0..200 {
        found = here.found(Check::PreparedTransactions).await;
        if !found.is_empty() {
            break;
        }
        mainstay_core::clock::Clock::system().sleep(std::time::Duration::from_millis(20)).await;
    }
    only(&found, Code::DoctorTransactionPrepared, Severity::Warning);
    // Another session may only do so once the first has ended.
    for _ in 0..200 {
        if here.session().await.run("XA ROLLBACK 'left'").await.is_ok() {
            break;
        }
        mainstay_core::clock::Clock::system().sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(here.found(Check::PreparedTransactions).await, []);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_use_are_told() {
    let here = here().await;
    here.run("CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT, KEY idle (a), KEY busy (b))").await;
    here.run("INSERT INTO t SELECT seq, seq, seq FROM seq_1_to_20000").await;
    here.run("ANALYZE TABLE t").await;
    let options = || Options { rows_min: 1_000, ..quick() };
    here.run("SET GLOBAL userstat = ON").await;
    here.run("SELECT id FROM t FORCE INDEX (busy) WHERE b = 5").await;
    let found = here.found_with(Check::UnusedIndexes, options()).await;
    let finding = only(&found, Code::DoctorIndexUnused, Severity::Warning);
    assert_eq!(finding.fix, "ALTER TABLE `t` DROP INDEX `idle`;");
    // The run's server does not wait for the disk.
    let settings = here.found(Check::Settings).await;
    assert!(
        settings.iter().any(|f| f.what.starts_with("innodb_flush_log_at_trx_commit is ")),
        "{settings:#?}"
    );
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_rights_learns_what_it_may() {
    let here = here().await;
    here.run("CREATE TABLE t (a INT)").await;
    let name = here.fresh.name().to_owned();
    here.run(&format!("CREATE USER u_{name}@'%' IDENTIFIED BY 'p'")).await;
    here.run(&format!("GRANT SELECT ON {name}.* TO u_{name}@'%'")).await;
    let (_, rest) = here.fresh.url().split_once('@').unwrap();
    let url = format!("mysql://u_{name}:p@{rest}");
    let report =
        mainstay_doctor::exam::Examination::new(&url).options(quick()).run().await.unwrap();
    assert_eq!(report.stopped, None);
    let locks = report.check(Check::Locks).unwrap();
    assert_eq!(locks.outcome, Outcome::Unknown, "{locks:?}");
    assert!(locks.detail.starts_with("no right"), "{locks:?}");
    assert_eq!(report.check(Check::PrimaryKeys).unwrap().findings.len(), 1);
    here.run(&format!("DROP USER u_{name}@'%'")).await;
    here.done().await;
}
