//! Bad input: each a clear error that names the place, and nothing half-done.

use mainstay_core::Code;
use mainstay_migrate::{Migrations, OnStart, Options, Target};

use crate::support::{Here, on_every_engine, refused, write};

on_every_engine!(
    an_edited_file_is_named,
    a_missing_file_is_named,
    a_renamed_file_is_named,
    a_newer_history_is_told_and_can_be_refused,
    a_half_of_another_tool_needs_repair,
    a_service_says_at_its_start_what_is_pending,
    a_text_that_is_cut_off_is_named,
    the_wrong_table_is_no_history,
);

const ONE: (&str, &str) = ("V1__a.sql", "CREATE TABLE a (id INT)");
const TWO: (&str, &str) = ("V2__b.sql", "CREATE TABLE b (id INT)");

async fn an_edited_file_is_named(here: Here) {
    here.of(&[ONE]).up(Target::Latest).await.unwrap();
    let edited = ("V1__a.sql", "CREATE TABLE a (id BIGINT)");
    let report = refused(here.of(&[edited, TWO]).up(Target::Latest).await, Code::MigrationChanged);
    assert!(report.contains("V1__a.sql") && report.contains("checksum"), "{report}");
    assert!(!here.exists("b").await);
}

async fn a_missing_file_is_named(here: Here) {
    here.of(&[ONE, TWO]).up(Target::Latest).await.unwrap();
    let three = ("V3__c.sql", "SELECT 1");
    let report = refused(here.of(&[TWO, three]).up(Target::Latest).await, Code::MigrationMissing);
    assert!(report.contains("version 1 (a) has no file any more"), "{report}");
}

async fn a_renamed_file_is_named(here: Here) {
    here.of(&[ONE]).up(Target::Latest).await.unwrap();
    let renamed = ("V1__z.sql", ONE.1);
    let report = refused(here.of(&[renamed]).up(Target::Latest).await, Code::MigrationChanged);
    assert!(report.contains("the description of version 1 (a) was `a`"), "{report}");
}

async fn a_newer_history_is_told_and_can_be_refused(here: Here) {
    here.of(&[ONE, TWO]).up(Target::Latest).await.unwrap();
    let report = here.of(&[ONE]).up(Target::Latest).await.unwrap();
    assert_eq!(report.warnings, ["version 2 (b) was applied by a newer program"]);
    let started = here.of(&[ONE]).start().await.unwrap();
    assert_eq!(started.unknown, ["V2__b.sql"]);
    let options = Options { ignore: Vec::new(), ..Options::default() };
    let strict = here.of(&[ONE]).options(options);
    refused(strict.up(Target::Latest).await, Code::MigrationFuture);
    refused(strict.start().await, Code::MigrationFuture);
}

async fn a_half_of_another_tool_needs_repair(here: Here) {
    here.of(&[ONE]).up(Target::Latest).await.unwrap();
    let q = |name: &str| here.db.engine().quote(name);
    here.run(&format!(
        "INSERT INTO flyway_schema_history ({}, {}, {}, {}, {}, {}, {}, {}, {}) \
         VALUES (2, '2', 'b', 'SQL', 'V2__b.sql', 0, 'x', 5, FALSE)",
        q("installed_rank"),
        q("version"),
        q("description"),
        q("type"),
        q("script"),
        q("checksum"),
        q("installed_by"),
        q("execution_time"),
        q("success")
    ))
    .await;
    let report = refused(here.of(&[ONE, TWO]).up(Target::Latest).await, Code::MigrationHalf);
    assert!(report.contains("version 2 (b) failed"), "{report}");
    let repaired = here.of(&[ONE, TWO]).repair().await.unwrap();
    assert_eq!(repaired.removed, ["version 2 (b)"]);
    here.of(&[ONE, TWO]).up(Target::Latest).await.unwrap();
}

async fn a_service_says_at_its_start_what_is_pending(here: Here) {
    let with = |on_start| {
        let lock_wait = std::time::Duration::from_millis(300);
        here.of(&[ONE]).options(Options { on_start, lock_wait, ..Options::default() })
    };
    let report = refused(with(OnStart::Refuse).start().await, Code::MigrationPending);
    assert!(report.contains("V1__a.sql"), "{report}");
    refused(with(OnStart::Wait).start().await, Code::MigrationPending);
    assert_eq!(with(OnStart::Ignore).start().await.unwrap().pending, ["V1__a.sql"]);
    assert!(!here.exists("a").await);
    assert_eq!(with(OnStart::Apply).start().await.unwrap().applied, ["V1__a.sql"]);
    assert_eq!(with(OnStart::Wait).start().await.unwrap().version.as_deref(), Some("1"));
    assert!(with(OnStart::Refuse).start().await.unwrap().pending.is_empty());
}

async fn a_text_that_is_cut_off_is_named(here: Here) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "V1__a.sql", "SELECT 1;\nSELECT 'open;\n");
    let migrator = here.migrator(Migrations::new().folder(folder.path()));
    let report = refused(migrator.up(Target::Latest).await, Code::MigrationSplit);
    assert!(report.contains("V1__a.sql:2:8: "), "{report}");
    assert_eq!(here.history().await, []);
}

async fn the_wrong_table_is_no_history(here: Here) {
    here.run("CREATE TABLE flyway_schema_history (x INT)").await;
    refused(here.of(&[ONE]).up(Target::Latest).await, Code::MigrationHistory);
}
