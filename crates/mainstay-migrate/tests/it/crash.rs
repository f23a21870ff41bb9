//! Processes that end half-way, and many at once.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicI64;

use mainstay_db::{Db, Engine as Sql};
use mainstay_migrate::{Migrations, Migrator, Target};
use mainstay_testkit::Fresh;

use crate::support::{Engine, Here, Kill, write};

/// Not a test: the process that others start, kill, and start again.
#[tokio::test]
#[ignore = "started by the tests of this file"]
async fn victim() {
    let variable = |name: &str| mainstay_core::config::variable(name).unwrap();
    let (url, folder) = (variable("MAINSTAY_TEST_URL"), variable("MAINSTAY_TEST_FOLDER"));
    let after: i64 = variable("MAINSTAY_TEST_KILL").parse().unwrap();
    let db = Db::connect(&url).await.unwrap();
    if after > 0 {
        db.observer().subscribe(Kill(AtomicI64::new(after)));
    }
    let migrator = Migrator::new(&db, Migrations::new().folder(folder));
    migrator.up(Target::Latest).await.unwrap();
}

pub fn start(url: &str, folder: &Path, kill_after: i64) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::victim", "--ignored", "--nocapture"])
        .env("MAINSTAY_TEST_URL", url)
        .env("MAINSTAY_TEST_FOLDER", folder)
        .env("MAINSTAY_TEST_KILL", kill_after.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn end(child: std::process::Child) -> ExitStatus {
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || killed, "{text}");
    output.status
}

fn scripts(engine: Engine, folder: &Path) {
    write(
        folder,
        "V1__a.sql",
        "CREATE TABLE a (id INT NOT NULL PRIMARY KEY, n INT);\nINSERT INTO a VALUES (1, 1);",
    );
    let mixed = match engine {
        Engine::Sqlite => {
            "INSERT INTO a VALUES (2, 2);
             PRAGMA foreign_keys = OFF;
             BEGIN;
             CREATE TABLE b (id INT NOT NULL PRIMARY KEY, n INT NOT NULL DEFAULT 0);
             INSERT INTO b SELECT id, n FROM a;
             DROP TABLE a;
             ALTER TABLE b RENAME TO a;
             COMMIT;
             INSERT INTO a VALUES (3, 3);
             VACUUM;
             INSERT INTO a VALUES (4, 4);"
        }
        Engine::Postgres | Engine::PgBouncer => {
            "INSERT INTO a VALUES (2, 2);
             CREATE INDEX CONCURRENTLY a_n ON a (n);
             SET work_mem = '8MB';
             BEGIN;
             INSERT INTO a VALUES (3, 3);
             ALTER TABLE a ADD COLUMN m INT;
             COMMIT;
             VACUUM a;
             CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a_m ON a (m);
             DROP INDEX CONCURRENTLY a_n;
             INSERT INTO a VALUES (4, 4);"
        }
        Engine::MariaDb => {
            "INSERT INTO a VALUES (2, 2);
             ALTER TABLE a ADD COLUMN m INT;
             ALTER TABLE a ADD INDEX (n);
             BEGIN;
             INSERT INTO a (id, n) VALUES (3, 3);
             UPDATE a SET n = n + 1 WHERE id = 3;
             COMMIT;
             BEGIN;
             UPDATE a SET n = n + 1 WHERE id = 3;
             CREATE TABLE c (id INT);
             RENAME TABLE c TO d;
             UPDATE a SET n = n - 2 WHERE id = 3;
             DROP TABLE d;
             ALTER TABLE a ADD CHECK (n < 100);
             INSERT INTO a (id, n) VALUES (4, 4);"
        }
    };
    write(folder, "V2__mixed.sql", mixed);
    write(folder, "R__v.sql", "DROP VIEW IF EXISTS v;\nCREATE VIEW v AS SELECT id FROM a;");
}

/// After a kill at each boundary between two statements the next run ends where an undisturbed one
/// does.
async fn killed_anywhere_the_next_run_converges(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    scripts(engine, folder.path());
    let (expected, mut kills) = (expected(engine, folder.path()).await, 0);
    for after in 1.. {
        assert!(after < 500, "it never ends by itself");
        let fresh = Fresh::new(engine).await;
        let killed = !end(start(fresh.url(), folder.path(), after)).await.success();
        let db = Db::connect(fresh.url()).await.unwrap();
        let migrator = Migrator::new(&db, Migrations::new().folder(folder.path()));
        let outcome = migrator.up(Target::Latest).await;
        outcome.unwrap_or_else(|error| panic!("killed after {after} statements: {error:?}"));
        let here = Here { db: db.clone() };
        assert_eq!(look(&here).await, expected, "killed after {after} statements");
        assert!(migrator.validate().await.unwrap().problems.is_empty());
        db.close(std::time::Duration::from_secs(5)).await.unwrap();
        fresh.remove().await;
        if !killed {
            break;
        }
        kills += 1;
    }
    assert!(kills > 20, "{kills}");
}

async fn expected(engine: Engine, folder: &Path) -> String {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    Migrator::new(&db, Migrations::new().folder(folder)).up(Target::Latest).await.unwrap();
    let seen = look(&Here { db: db.clone() }).await;
    db.close(std::time::Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
    seen
}

/// The rows, the schema and the history.
async fn look(here: &Here) -> String {
    let mut session = here.db.session().await.unwrap();
    let mut out = String::new();
    for row in session.rows("SELECT id, n FROM a ORDER BY id", Vec::new()).await.unwrap() {
        out += &format!("{:?} ", (row.at::<i32>(0).unwrap(), row.at::<Option<i32>>(1).unwrap()));
    }
    let schema = match here.db.engine() {
        Sql::Sqlite => "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name",
        Sql::Postgres => {
            "SELECT indexdef || ' ' || indisvalid FROM pg_indexes JOIN pg_index \
             ON indexrelid = (quote_ident(schemaname) || '.' || quote_ident(indexname))::regclass \
             WHERE schemaname = 'public' ORDER BY 1"
        }
        Sql::MySql => "SHOW CREATE TABLE a",
    };
    let column = usize::from(here.db.engine() == Sql::MySql);
    for row in session.rows(schema, Vec::new()).await.unwrap() {
        out += &row.at::<String>(column).unwrap();
    }
    drop(session);
    format!("{out}\n{:?}", here.history().await)
}

mod killed {
    use super::Engine;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        super::killed_anywhere_the_next_run_converges(Engine::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        super::killed_anywhere_the_next_run_converges(Engine::Postgres).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mariadb() {
        super::killed_anywhere_the_next_run_converges(Engine::MariaDb).await;
    }
}

/// Many processes start at once, each with an index to be built concurrently: each script runs once.
async fn many_processes_apply_once(engine: Engine) {
    const PROCESSES: usize = 12;
    let folder = tempfile::tempdir().unwrap();
    scripts(engine, folder.path());
    let fresh = Fresh::new(engine).await;
    let children: Vec<_> = (0..PROCESSES).map(|_| start(fresh.url(), folder.path(), 0)).collect();
    for child in children {
        assert!(end(child).await.success());
    }
    let db = Db::connect(fresh.url()).await.unwrap();
    let here = Here { db: db.clone() };
    assert_eq!(look(&here).await, expected(engine, folder.path()).await);
    db.close(std::time::Duration::from_secs(5)).await.unwrap();
    fresh.remove().await;
}

mod many {
    use super::Engine;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sqlite() {
        super::many_processes_apply_once(Engine::Sqlite).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn postgres() {
        super::many_processes_apply_once(Engine::Postgres).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn mariadb() {
        super::many_processes_apply_once(Engine::MariaDb).await;
    }
}
