//! Going on with what was left half done, and not with what must not be.

use std::time::Duration;

use mainstay_core::Code;
use mainstay_db::{Db, Engine as Sql};
use mainstay_migrate::{Migrations, Migrator, Options, Target, Version};
use mainstay_testkit::Fresh;

use crate::support::{Engine, Here, on_every_engine, refused, write};

on_every_engine!(
    a_half_goes_on_when_its_file_has_come_to_fit_a_transaction,
    a_repeatable_that_fails_at_its_second_run_begins_where_it_failed,
    a_half_is_not_undone_and_a_half_undo_not_gone_on_with,
    a_half_without_its_file_is_told,
    what_after_connect_sets_holds_where_migrations_run,
    a_secret_is_not_shown,
    a_dump_runs,
    a_session_that_the_server_ends_is_gone_on_from,
);

/// A folder of scripts that can be rewritten.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let files_ = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            files_.write(name, text);
        }
        files_
    }

    fn write(&self, name: &str, text: &str) {
        write(self.0.path(), name, text);
    }

    fn of(&self, here: &Here) -> Migrator {
        here.migrator(Migrations::new().folder(self.0.path()))
    }
}

const OUTSIDE: &str = "executeInTransaction=false";

async fn a_half_goes_on_when_its_file_has_come_to_fit_a_transaction(here: Here) {
    let files = Files::new(&[
        ("V1__t.sql", "CREATE TABLE t (n INT)"),
        ("V2__x.sql", "INSERT INTO t VALUES (1);\nINSERT INTO u VALUES (1);"),
        ("V2__x.sql.conf", OUTSIDE),
    ]);
    refused(files.of(&here).up(Target::Latest).await, Code::MigrationFailed);
    files.write("V2__x.sql.conf", "");
    files.write("V2__x.sql", "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);");
    files.of(&here).up(Target::Latest).await.unwrap();
    assert_eq!(here.count("SELECT COUNT(*) FROM t").await, 2);
    assert!(here.history().await.iter().all(|(_, _, success)| *success));
}

async fn a_repeatable_that_fails_at_its_second_run_begins_where_it_failed(here: Here) {
    let script = |second: &str| {
        format!(
            "DELETE FROM t;\nBEGIN;\nINSERT INTO t VALUES (1);\n{second};\nCOMMIT;\nINSERT INTO t VALUES (3);"
        )
    };
    let files = Files::new(&[
        ("V1__t.sql", "CREATE TABLE t (n INT)"),
        ("R__r.sql", &script("INSERT INTO t VALUES (2)")),
    ]);
    files.of(&here).up(Target::Latest).await.unwrap();
    files.write("R__r.sql", &script("INSERT INTO nowhere VALUES (2)"));
    refused(files.of(&here).up(Target::Latest).await, Code::MigrationFailed);
    assert_eq!(here.count("SELECT COUNT(*) FROM t").await, 0);
    files.write("R__r.sql", &script("INSERT INTO t VALUES (22)"));
    files.of(&here).up(Target::Latest).await.unwrap();
    assert_eq!(here.count("SELECT COUNT(*) FROM t WHERE n IN (1, 22, 3)").await, 3);
}

async fn a_half_is_not_undone_and_a_half_undo_not_gone_on_with(here: Here) {
    let files = Files::new(&[
        ("V1__t.sql", "CREATE TABLE t (n INT)"),
        ("U1__t.sql", "DROP TABLE t"),
        ("V2__x.sql", "INSERT INTO t VALUES (1);\nINSERT INTO u VALUES (1);"),
        ("V2__x.sql.conf", OUTSIDE),
        ("U2__x.sql", "DELETE FROM t;\nDELETE FROM u;"),
        ("U2__x.sql.conf", OUTSIDE),
    ]);
    refused(files.of(&here).up(Target::Latest).await, Code::MigrationFailed);
    refused(files.of(&here).undo(None).await, Code::MigrationHalf);
    files.write("V2__x.sql", "INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2);");
    files.of(&here).up(Target::Latest).await.unwrap();
    refused(files.of(&here).undo(None).await, Code::MigrationFailed);
    assert_eq!(here.count("SELECT COUNT(*) FROM t").await, 0);
    // A start of the service leaves it alone, and says so.
    refused(files.of(&here).up(Target::Latest).await, Code::MigrationHalf);
    files.write("U2__x.sql", "DELETE FROM t;\nINSERT INTO t VALUES (9);");
    assert_eq!(files.of(&here).undo(None).await.unwrap().version.as_deref(), Some("1"));
    assert_eq!(here.count("SELECT COUNT(*) FROM t WHERE n = 9").await, 1);
    files.of(&here).up(Target::Latest).await.unwrap();
    files.of(&here).undo(Version::parse("1")).await.unwrap();
}

async fn a_half_without_its_file_is_told(here: Here) {
    let files = Files::new(&[
        ("V1__t.sql", "CREATE TABLE t (n INT);\nINSERT INTO u VALUES (1);"),
        ("V1__t.sql.conf", OUTSIDE),
    ]);
    refused(files.of(&here).up(Target::Latest).await, Code::MigrationFailed);
    let other = here.of(&[("V2__u.sql", "CREATE TABLE u (n INT)")]);
    let options = Options { validate: false, ignore: vec!["*:*".to_owned()], ..Options::default() };
    refused(other.options(options).up(Target::Latest).await, Code::MigrationHalf);
    assert!(!here.exists("u").await);
}

async fn what_after_connect_sets_holds_where_migrations_run(here: Here) {
    let (set, ask) = match here.db.engine() {
        Sql::Sqlite => (
            "PRAGMA recursive_triggers = ON",
            "SELECT recursive_triggers FROM pragma_recursive_triggers",
        ),
        Sql::Postgres => (
            "SET work_mem = '7MB'",
            "SELECT CASE current_setting('work_mem') WHEN '7MB' THEN 1 ELSE 0 END",
        ),
        Sql::MySql => {
            ("SET @@session.div_precision_increment = 1", "SELECT @@div_precision_increment")
        }
    };
    let script = format!("CREATE TABLE t (n INT);\nINSERT INTO t {ask};");
    here.of(&[("afterConnect.sql", set), ("V1__t.sql", &script)]).up(Target::Latest).await.unwrap();
    assert_eq!(here.count("SELECT COUNT(*) FROM t WHERE n = 1").await, 1);
}

async fn a_secret_is_not_shown(here: Here) {
    let mut options = Options::default();
    options.placeholders.insert("password".to_owned(), "hunter22".to_owned());
    let migrator = here.of(&[("V1__u.sql", "INSERT INTO nowhere VALUES ('${password}')")]);
    let outcome = migrator.options(options).up(Target::Latest).await;
    let report = refused(outcome, Code::MigrationFailed);
    assert!(report.contains("'${password}'") && !report.contains("hunter22"), "{report}");
}

/// As the engines' own tools write them.
async fn a_dump_runs(here: Here) {
    let dump = match here.db.engine() {
        Sql::Sqlite => {
            "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE t (n INT);\n\
             INSERT INTO t VALUES(1);\nCOMMIT;"
        }
        Sql::Postgres => {
            "SET statement_timeout = 0;\nSELECT pg_catalog.set_config('search_path', '', false);\n\
             CREATE TABLE public.t (n integer);\nCOPY public.t (n) FROM stdin;\n1\n\\.\n"
        }
        Sql::MySql => {
            "/*!40101 SET NAMES utf8mb4 */;\n/*!40014 SET FOREIGN_KEY_CHECKS=0 */;\n\
             CREATE TABLE `t` (`n` int(11) DEFAULT NULL);\nLOCK TABLES `t` WRITE;\n\
             /*!40000 ALTER TABLE `t` DISABLE KEYS */;\nINSERT INTO `t` VALUES (1);\n\
             /*!40000 ALTER TABLE `t` ENABLE KEYS */;\nUNLOCK TABLES;"
        }
    };
    let all = [("V1__dump.sql", dump), ("V2__more.sql", "CREATE TABLE u AS SELECT n FROM t")];
    here.of(&all).up(Target::Latest).await.unwrap();
    assert_eq!(here.count("SELECT COUNT(*) FROM u").await, 1);
}

/// As by a server that goes down: the statement's own session ends under it.
async fn a_session_that_the_server_ends_is_gone_on_from(here: Here) {
    let ends = match here.db.engine() {
        // It has no server; its disk may be full.
        Sql::Sqlite => return a_full_disk_leaves_nothing(here).await,
        Sql::Postgres => "SELECT pg_terminate_backend(pg_backend_pid())",
        Sql::MySql => "KILL CONNECTION_ID()",
    };
    let script = |third: &str| {
        format!(
            "CREATE TABLE t (n INT);\nINSERT INTO t VALUES (1);\n{third};\nINSERT INTO t VALUES (3);"
        )
    };
    let files = Files::new(&[("V1__t.sql", &script(ends)), ("V1__t.sql.conf", OUTSIDE)]);
    let report = refused(files.of(&here).up(Target::Latest).await, Code::MigrationFailed);
    assert!(report.contains("V1__t.sql:3:1: "), "{report}");
    files.write("V1__t.sql", &script("INSERT INTO t VALUES (2)"));
    files.of(&here).up(Target::Latest).await.unwrap();
    assert_eq!(here.count("SELECT COUNT(*) FROM t").await, 3);
}

async fn a_full_disk_leaves_nothing(here: Here) {
    let fills = "CREATE TABLE t (b BLOB);\nINSERT INTO t VALUES (zeroblob(1000000));";
    let full = here.of(&[("afterConnect.sql", "PRAGMA max_page_count = 60"), ("V1__t.sql", fills)]);
    let report = refused(full.up(Target::Latest).await, Code::MigrationFailed);
    assert!(report.contains("V1__t.sql:2:1: ") && report.contains("full"), "{report}");
    assert!(!here.exists("t").await);
    let room = [("afterConnect.sql", "PRAGMA max_page_count = 100000"), ("V1__t.sql", fills)];
    here.of(&room).up(Target::Latest).await.unwrap();
}

/// The process is killed while the server works, and works on: the next run waits for that, and takes
/// what it did as done.
async fn the_server_works_on(engine: Engine, script: &str, hinder: Option<&'static str>) {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    let here = Here { db: db.clone() };
    here.of(&[("V1__t.sql", "CREATE TABLE t (n INT)")]).up(Target::Latest).await.unwrap();
    let files = Files::new(&[("V1__t.sql", "CREATE TABLE t (n INT)"), ("V2__slow.sql", script)]);
    let mut other = db.session().await.unwrap();
    if let Some(sql) = hinder {
        other.run(sql).await.unwrap();
    }
    let mut victim = crate::crash::start(fresh.url(), files.0.path(), 0);
    // It has begun when its note is there.
    let begun = "SELECT COUNT(*) FROM flyway_schema_history_mainstay WHERE doubt_sha256 <> ''";
    while here.count(begun).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    victim.kill().unwrap();
    victim.wait().unwrap();
    let next = tokio::spawn({
        let migrator = files.of(&here);
        async move { migrator.up(Target::Latest).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(other);
    next.await.unwrap().unwrap();
    assert_eq!(here.history().await.len(), 2);
    assert!(here.history().await.iter().all(|(_, _, success)| *success));
    db.close(Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
}

mod orphaned {
    use super::Engine;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mariadb() {
        super::the_server_works_on(
            Engine::MariaDb,
            "CREATE TABLE slow AS SELECT SLEEP(2) AS s",
            None,
        )
        .await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        let script = "CREATE INDEX CONCURRENTLY t_n ON t (n)";
        let hinder = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT COUNT(*) FROM pg_class";
        super::the_server_works_on(Engine::Postgres, script, Some(hinder)).await;
    }
}
