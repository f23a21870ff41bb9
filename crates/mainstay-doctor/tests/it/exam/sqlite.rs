//! SQLite's files.

use mainstay_core::Code;
use mainstay_db::sqlx::{Connection as _, Executor as _, SqliteConnection};
use mainstay_doctor::Severity;
use mainstay_doctor::exam::{Check, Examination, Options};
use mainstay_testkit::Engine;

use super::{Here, only, quick};

async fn here() -> Here {
    Here::new(Engine::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_is_examined() {
    let here = here().await;
    here.run("CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, mail TEXT UNIQUE)").await;
    here.run("CREATE TABLE \"Bü\"\"cher\" (id INTEGER PRIMARY KEY REFERENCES users, a INT REFERENCES users, b INT, code STRING, at INTERVAL)").await;
    here.run("CREATE TABLE no_key (a INT)").await;
    here.run("CREATE INDEX one ON \"Bü\"\"cher\" (b); CREATE INDEX wide ON \"Bü\"\"cher\" (b, code); \
              CREATE INDEX part ON \"Bü\"\"cher\" (b) WHERE b > 1; CREATE INDEX expr ON \"Bü\"\"cher\" (b + 1); \
              CREATE INDEX descending ON \"Bü\"\"cher\" (b DESC)").await;
    let duplicate = here.found(Check::DuplicateIndexes).await;
    assert_eq!(
        only(&duplicate, Code::DoctorIndexDuplicate, Severity::Hint).fix,
        "DROP INDEX \"one\";"
    );
    let keys = here.found(Check::ForeignKeys).await;
    let finding = only(&keys, Code::DoctorForeignKeyUnindexed, Severity::Warning);
    assert_eq!(finding.what, "no index on Bü\"cher begins with a, which refers to users");
    for found in [duplicate, keys] {
        here.mend(&found).await;
    }
    assert_eq!(here.found(Check::DuplicateIndexes).await, []);
    assert_eq!(here.found(Check::ForeignKeys).await, []);
    let keyless = here.found(Check::PrimaryKeys).await;
    only(&keyless, Code::DoctorKeyMissing, Severity::Hint);
    let types = here.found(Check::Types).await;
    let told: Vec<_> = types.iter().map(|f| (f.code, f.what.as_str())).collect();
    assert_eq!(
        told,
        [
            (Code::DoctorTypeOdd, "Bü\"cher.code is declared STRING"),
            (Code::DoctorTypeOdd, "Bü\"cher.at is declared INTERVAL"),
        ]
    );
    assert_eq!(here.found(Check::Sequences).await, []);
    here.run(&format!("INSERT INTO users (id) VALUES ({})", i64::MAX - 1)).await;
    let ending = here.found(Check::Sequences).await;
    only(&ending, Code::DoctorSequenceEnding, Severity::Error);
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_examined() {
    let here = here().await;
    here.run("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE INDEX t_a ON t (a)").await;
    here.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) \
              INSERT INTO t SELECT i, printf('%0100d', i) FROM n",
    )
    .await;
    let found = here.found(Check::Statistics).await;
    only(&found, Code::DoctorStatisticsMissing, Severity::Warning);
    here.run("ANALYZE").await;
    assert_eq!(here.found(Check::Statistics).await, []);
    let options = || Options { bytes_min: 1 << 20, ..quick() };
    assert_eq!(here.found_with(Check::BloatedTables, options()).await, []);
    here.run("DELETE FROM t").await;
    let found = here.found_with(Check::BloatedTables, options()).await;
    only(&found, Code::DoctorTableBloated, Severity::Hint);
    // Our own connections write in WAL mode.
    assert_eq!(here.found(Check::Settings).await, []);
    here.run("PRAGMA foreign_keys = OFF; CREATE TABLE child (id INTEGER PRIMARY KEY, p INT REFERENCES t); INSERT INTO child VALUES (1, 7), (2, 8)").await;
    let found = here.found(Check::References).await;
    let finding = only(&found, Code::DoctorReferenceBroken, Severity::Error);
    assert_eq!(finding.what, "2 rows of child refer to rows of t that do not exist");
    // A production's data is not read.
    let why = here.unknown(Check::References, Options { prod: true, ..quick() }).await;
    assert!(why.contains("--prod"), "{why}");
    here.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_and_a_healthy_one_are_told_apart() {
    // As another program made it: without WAL.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.db");
    let url = format!("sqlite:{}", path.display());
    let mut made = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
    for sql in [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)",
        "CREATE INDEX t_a ON t (a)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
         INSERT INTO t SELECT i, printf('%0100d', i) FROM n",
        "ANALYZE",
    ] {
        made.execute(sql).await.unwrap();
    }
    made.close().await.unwrap();
    let examine = || Examination::new(&url).run();
    let report = examine().await.unwrap();
    let found: Vec<_> = report.findings().map(|f| (f.code, f.what.as_str())).collect();
    assert_eq!(found, [(Code::DoctorSettingPoor, "journal_mode is delete")]);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 2048].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    let report = examine().await.unwrap();
    let found = &report.check(Check::Integrity).unwrap().findings;
    let finding = only(found, Code::DoctorDataDamaged, Severity::Error);
    assert!(finding.evidence.iter().all(|line| !line.contains('\n')), "{finding:?}");
}
