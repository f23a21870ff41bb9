//! Histories of other tools, made as those make them, and gone on with.
//!
//! The checksums were worked out by another program, from the definitions of SHA-384 and SipHash.

use std::path::Path;

use mainstay_core::Code;
use mainstay_db::Engine;
use mainstay_migrate::{Migrations, Options, Takeover, Target, Tool, Version};

use crate::support::{Here, on_every_engine, refused, write};

on_every_engine!(
    sqlx_is_gone_on_with,
    sqlx_files_are_written_under_our_names,
    an_edited_file_is_refused,
    a_file_that_is_missing_is_named,
    a_migration_that_failed_is_named,
    refinery_is_gone_on_with,
    diesel_is_gone_on_with,
    flyway_under_another_name_is_gone_on_with,
    flyways_own_table_needs_nothing,
    liquibase_gets_a_baseline_alone,
    several_histories_must_be_told_apart,
    a_history_of_ours_is_not_added_to,
);

const A: &str = "CREATE TABLE a (id INT);\n";
const B: &str = "CREATE TABLE b (id INT);\n";
const C: &str = "CREATE TABLE c (id INT);\n";
const SHA_A: &str = "3fe175e6046ef43f222e00f4e37eb3334e080326914e01e8\
                     1c3002088a2d0ead3325ebc38815da90fe87a4f23f2f933a";
const SHA_B: &str = "66eaa3fdd0175a434384eb88fa1644883dd7e6f95c015f10\
                     4de9129536d70b8c51c21e98e270509833415153771d544b";
const SIP_A: &str = "4813833768892989519";
const SIP_B: &str = "5521121113104552524";

const OURS: [(&str, &str); 3] = [("V1__a.sql", A), ("V2__b.sql", B), ("V3__c.sql", C)];

/// As sqlx has it after a and b.
async fn sqlx(here: &Here, second_succeeded: bool) {
    let (time, bytes) = match here.db.engine() {
        Engine::Postgres => ("TIMESTAMPTZ NOT NULL DEFAULT now()", "BYTEA"),
        Engine::MySql | Engine::Sqlite => ("TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "BLOB"),
    };
    let hex = |sum: &str| match here.db.engine() {
        Engine::Postgres => format!("decode('{sum}', 'hex')"),
        Engine::MySql | Engine::Sqlite => format!("X'{sum}'"),
    };
    here.run(&format!(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on {time}, success BOOLEAN NOT NULL, checksum {bytes} NOT NULL, \
         execution_time BIGINT NOT NULL); {A} {B} \
         INSERT INTO _sqlx_migrations VALUES \
         (2, 'b', '2024-02-03 04:05:06', {second_succeeded}, {}, -1), \
         (1, 'a', '2024-01-02 03:04:05', TRUE, {}, 7000000);",
        hex(SHA_B),
        hex(SHA_A)
    ))
    .await;
}

async fn installed(here: &Here) -> Vec<(i64, String)> {
    let q = |name: &str| here.db.engine().quote(name);
    let on = match here.db.engine() {
        Engine::Postgres => "to_char(installed_on, 'YYYY-MM-DD HH24:MI:SS')".to_owned(),
        Engine::MySql => "DATE_FORMAT(installed_on, '%Y-%m-%d %H:%i:%s')".to_owned(),
        Engine::Sqlite => "substr(installed_on, 1, 19)".to_owned(),
    };
    let sql = format!("SELECT {}, {on} FROM flyway_schema_history ORDER BY 1", q("installed_rank"));
    let mut session = here.db.session().await.unwrap();
    let rows = session.rows(&sql, Vec::new()).await.unwrap();
    rows.iter().map(|row| (i64::from(row.at::<i32>(0).unwrap()), row.at(1).unwrap())).collect()
}

async fn sqlx_is_gone_on_with(here: Here) {
    sqlx(&here, true).await;
    // Before, the database is somebody else's.
    let report = refused(here.of(&OURS).up(Target::Latest).await, Code::MigrationNotEmpty);
    assert!(report.contains("mainstay migrate takeover"), "{report}");
    let done = here.of(&OURS).takeover(&Takeover::default()).await.unwrap();
    assert_eq!((done.tool, done.table.as_str()), (Tool::Sqlx, "_sqlx_migrations"));
    assert_eq!(done.rows, ["V1__a.sql", "V2__b.sql"]);
    let expected = [(1, "2024-01-02 03:04:05".to_owned()), (2, "2024-02-03 04:05:06".to_owned())];
    assert_eq!(installed(&here).await, expected);
    // The second time there is nothing to do, also once more was applied.
    assert_eq!(here.of(&OURS).takeover(&Takeover::default()).await.unwrap().rows, [""; 0]);
    let report = here.of(&OURS).up(Target::Latest).await.unwrap();
    assert_eq!(report.applied.len(), 1);
    assert_eq!(report.version.as_deref(), Some("3"));
    assert_eq!(here.of(&OURS).takeover(&Takeover::default()).await.unwrap().rows, [""; 0]);
    let found = here.of(&OURS).validate().await.unwrap();
    assert!(found.problems.is_empty() && found.warnings.is_empty(), "{found:?}");
    assert_eq!(here.count("SELECT COUNT(*) FROM _sqlx_migrations").await, 2);
}

fn from(folder: &Path) -> Takeover {
    let (from, to) = (folder.join("old"), folder.join("new"));
    Takeover { from: Some(from), write: Some(to), ..Takeover::default() }
}

async fn sqlx_files_are_written_under_our_names(here: Here) {
    sqlx(&here, true).await;
    let folder = tempfile::tempdir().unwrap();
    // Checked out with other line endings since.
    write(folder.path(), "old/0001_a.up.sql", &A.replace('\n', "\r\n"));
    write(folder.path(), "old/0001_a.down.sql", "DROP TABLE a");
    write(folder.path(), "old/2_b.sql", B);
    write(folder.path(), "old/3_c.sql", &format!("-- no-transaction\n{C}"));
    let migrator = here.migrator(Migrations::new().folder(folder.path().join("new")));
    let done = migrator.takeover(&from(folder.path())).await.unwrap();
    let files = ["V0001__a.sql", "U0001__a.sql", "V2__b.sql", "V3__c.sql", "V3__c.sql.conf"];
    assert_eq!(done.files, files);
    assert_eq!(done.rows, ["V0001__a.sql", "V2__b.sql"]);
    let again = migrator.takeover(&from(folder.path())).await.unwrap();
    assert!(again.files.is_empty() && again.rows.is_empty(), "{again:?}");
    assert_eq!(migrator.up(Target::Latest).await.unwrap().applied.len(), 1);
    assert!(migrator.validate().await.unwrap().problems.is_empty());
}

async fn an_edited_file_is_refused(here: Here) {
    sqlx(&here, true).await;
    let edited = [("V1__a.sql", "CREATE TABLE a (id BIGINT);\n"), OURS[1]];
    let done = here.of(&edited).takeover(&Takeover::default()).await;
    let report = refused(done, Code::MigrationChanged);
    assert!(report.contains("V1__a.sql is not what sqlx applied as version 1 (a)"), "{report}");
    assert!(!here.exists("flyway_schema_history").await);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "old/1_a.sql", edited[0].1);
    write(folder.path(), "old/2_b.sql", B);
    let done = here.of(&[]).takeover(&from(folder.path())).await;
    assert!(refused(done, Code::MigrationChanged).contains("1_a.sql"));
    assert!(!folder.path().join("new").exists());
}

async fn a_file_that_is_missing_is_named(here: Here) {
    sqlx(&here, true).await;
    let report =
        refused(here.of(&OURS[..1]).takeover(&Takeover::default()).await, Code::MigrationMissing);
    assert!(report.contains("version 2 (b) was applied by sqlx"), "{report}");
    assert!(!here.exists("flyway_schema_history").await);
}

async fn a_migration_that_failed_is_named(here: Here) {
    sqlx(&here, false).await;
    let report = refused(here.of(&OURS).takeover(&Takeover::default()).await, Code::MigrationHalf);
    assert!(report.contains("version 2 (b) failed under sqlx"), "{report}");
    assert!(!here.exists("flyway_schema_history").await);
}

async fn refinery_is_gone_on_with(here: Here) {
    here.run(&format!(
        "CREATE TABLE refinery_schema_history (version INT PRIMARY KEY, name VARCHAR(255), \
         applied_on VARCHAR(255), checksum VARCHAR(255)); {A} {B} \
         INSERT INTO refinery_schema_history VALUES \
         (1, 'a', '2024-01-02T03:04:05.123456789Z', '{SIP_A}'), \
         (2, 'b', 'unknown', '{SIP_B}');"
    ))
    .await;
    // Its U takes nothing back, and ours would.
    let late = [OURS[0], ("U2__b.sql", B)];
    let report =
        refused(here.of(&late).takeover(&Takeover::default()).await, Code::MigrationMissing);
    assert!(report.contains("rename its U file"), "{report}");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "old/V1__a.sql", A);
    write(folder.path(), "old/deep/U2__b.sql", B);
    let migrator = here.migrator(Migrations::new().folder(folder.path().join("new")));
    let done = migrator.takeover(&from(folder.path())).await.unwrap();
    assert_eq!((done.tool, done.rows.len()), (Tool::Refinery, 2));
    assert_eq!(done.files, ["V1__a.sql", "V2__b.sql"]);
    write(folder.path(), "new/V3__c.sql", C);
    assert_eq!(migrator.up(Target::Latest).await.unwrap().applied.len(), 1);
}

async fn diesel_is_gone_on_with(here: Here) {
    here.run(&format!(
        "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
         run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP); {A} \
         INSERT INTO __diesel_schema_migrations VALUES \
         ('00000000000000', '2024-01-02 03:04:05'), ('20240102030405', '2024-01-02 03:04:06');"
    ))
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| write(folder.path(), &format!("old/{name}"), text);
    file("00000000000000_diesel_initial_setup/up.sql", "SELECT 1;\n");
    file("2024-01-02-030405_add_a/up.sql", A);
    file("2024-01-02-030405_add_a/down.sql", "DROP TABLE a;\n");
    file("2024-01-03-000000_add_b/up.sql", B);
    let migrator = here.migrator(Migrations::new().folder(folder.path().join("new")));
    let done = migrator.takeover(&from(folder.path())).await.unwrap();
    assert_eq!(done.tool, Tool::Diesel);
    let rows = ["V00000000000000__diesel_initial_setup.sql", "V20240102030405__add_a.sql"];
    assert_eq!(done.rows, rows);
    assert_eq!(migrator.up(Target::Latest).await.unwrap().applied.len(), 1);
    let undone = migrator.undo(Version::parse("20240103000000")).await;
    refused(undone, Code::MigrationUndo);
    assert!(here.exists("a").await && here.exists("b").await);
}

async fn flyway_under_another_name_is_gone_on_with(here: Here) {
    let old = Options { table: "schema_version".to_owned(), ..Options::default() };
    let all = [OURS[0], OURS[1], ("R__r.sql", "SELECT 1")];
    here.of(&all).options(old).up(Target::Latest).await.unwrap();
    let missing = here.of(&all[..1]).takeover(&Takeover::default()).await.unwrap_err();
    assert!(
        matches!(missing.code(), Code::MigrationMissing | Code::MigrationFuture),
        "{missing:?}"
    );
    assert!(!here.exists("flyway_schema_history").await);
    let done = here.of(&all).takeover(&Takeover::default()).await.unwrap();
    assert_eq!((done.tool, done.table.as_str()), (Tool::Flyway, "schema_version"));
    assert_eq!(done.rows, ["V1__a.sql", "V2__b.sql", "R__r.sql"]);
    let more = [all[0], all[1], all[2], OURS[2]];
    assert_eq!(here.of(&more).up(Target::Latest).await.unwrap().applied.len(), 1);
    assert_eq!(here.of(&more).takeover(&Takeover::default()).await.unwrap().rows, [""; 0]);
}

async fn flyways_own_table_needs_nothing(here: Here) {
    here.of(&OURS[..2]).up(Target::Latest).await.unwrap();
    let done = here.of(&OURS).takeover(&Takeover::default()).await.unwrap();
    assert_eq!((done.tool, done.rows.len()), (Tool::Flyway, 0));
    assert_eq!(here.of(&OURS).up(Target::Latest).await.unwrap().applied.len(), 1);
}

async fn liquibase_gets_a_baseline_alone(here: Here) {
    let none = here.of(&OURS).takeover(&Takeover::default()).await;
    refused(none, Code::MigrationHistory);
    here.run(&format!("CREATE TABLE databasechangelog (ID VARCHAR(255) NOT NULL); {A}")).await;
    let report =
        refused(here.of(&OURS).takeover(&Takeover::default()).await, Code::MigrationHistory);
    assert!(report.contains("nothing to take over") && report.contains("--baseline"), "{report}");
    let how = Takeover { baseline: Version::parse("1"), ..Takeover::default() };
    assert_eq!(here.of(&OURS).takeover(&how).await.unwrap().rows.len(), 1);
    assert_eq!(here.of(&OURS).takeover(&how).await.unwrap().rows.len(), 0);
    assert_eq!(here.history().await, [(Some("1".to_owned()), "BASELINE".to_owned(), true)]);
    assert_eq!(here.of(&OURS).up(Target::Latest).await.unwrap().applied.len(), 2);
}

async fn several_histories_must_be_told_apart(here: Here) {
    sqlx(&here, true).await;
    here.run("CREATE TABLE databasechangelog (ID VARCHAR(255) NOT NULL)").await;
    let report =
        refused(here.of(&OURS).takeover(&Takeover::default()).await, Code::MigrationHistory);
    assert!(report.contains("_sqlx_migrations (sqlx)"), "{report}");
    assert!(report.contains("databasechangelog (liquibase)"), "{report}");
    let how = Takeover { tool: Some(Tool::Sqlx), ..Takeover::default() };
    assert_eq!(here.of(&OURS).takeover(&how).await.unwrap().rows.len(), 2);
    let how = Takeover { tool: Some(Tool::Diesel), ..Takeover::default() };
    let report = refused(here.of(&OURS).takeover(&how).await, Code::MigrationHistory);
    assert!(report.contains("there is no history of diesel"), "{report}");
}

async fn a_history_of_ours_is_not_added_to(here: Here) {
    here.of(&[("V1__z.sql", "CREATE TABLE z (id INT)")]).up(Target::Latest).await.unwrap();
    sqlx(&here, true).await;
    let how = Takeover { tool: Some(Tool::Sqlx), ..Takeover::default() };
    let report = refused(here.of(&OURS).takeover(&how).await, Code::MigrationHistory);
    assert!(report.contains("has migrations already"), "{report}");
    assert_eq!(here.history().await.len(), 1);
}
