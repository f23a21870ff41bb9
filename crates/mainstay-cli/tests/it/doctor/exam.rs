//! `mainstay doctor` as its user calls it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use mainstay_db::Db;
use mainstay_testkit::{Engine, Fresh};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .arg("doctor")
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env_remove("RUST_LOG")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn status(output: &Output, status: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    (text(&output.stdout), text(&output.stderr))
}

/// A file with one thing of each severity wrong but an error.
async fn file(folder: &Path) {
    let db = Db::connect(&format!("sqlite:{}/shop.db", folder.display())).await.unwrap();
    for sql in [
        "CREATE TABLE users (id INTEGER PRIMARY KEY, mail TEXT)",
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users)",
        "CREATE TABLE notes (text TEXT)",
    ] {
        db.session().await.unwrap().run(sql).await.unwrap();
    }
    db.close(std::time::Duration::from_secs(5)).await.unwrap();
    std::fs::write(folder.join("mainstay.toml"), "[database]\nurl = \"sqlite:shop.db\"\n").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticks_crosses_and_fixes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    file(at).await;
    // How long the WAL is, is the run's chance.
    let (out, err) = status(&run(at, &["--skip", "settings"]), 1);
    let out: String = out.lines().skip(1).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(out, @r#"
    ✓ duplicate-indexes      0 indexes, none makes another superfluous
    ✗ foreign-keys           1 found
        warning[DOC-057] no index on orders begins with user_id, which refers to users
          why each delete in users, and each change of its key, reads all of orders
          fix CREATE INDEX "orders_user_id" ON "orders" ("user_id");
    ✗ primary-keys           1 found
        hint[DOC-070] notes has no primary key
          why its rows have a rowid, which VACUUM may change
          fix make it anew with id INTEGER PRIMARY KEY, and copy the rows
    ✓ sequences              there is no AUTOINCREMENT
    ✓ statistics             too small for them to matter
    ✓ types                  each means what it says
    ✓ bloated-tables         0 % of 16 kB are free
    ✓ integrity              it is whole
    ✓ references             each row refers to one that exists

    7 good, 2 with findings, 0 not known
    "#);
    insta::assert_snapshot!(err, @r"
    error[APP-001]: 1 finding at or above warning
      fix: mend what is above, or leave a check out with --skip CHECK
    ");
    // What is worth less than asked for is printed, and no failure.
    status(&run(at, &["--fail-on", "error"]), 0);
    status(&run(at, &["--skip", "foreign-keys"]), 0);
    status(&run(at, &["--skip", "foreign-keys", "--fail-on", "hint"]), 1);
    let (out, _) = status(&run(at, &["--only", "foreign-keys,locks"]), 1);
    assert!(out.contains("- locks                  not on SQLite"), "{out}");
    std::fs::write(at.join("work.sql"), "SELECT 1;").unwrap();
    status(&run(at, &["--workload", "work.sql", "--fail-on", "error"]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_has_the_shape_of_the_guide() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    file(at).await;
    let (out, _) = status(&run(at, &["--json", "--prod"]), 1);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["engine"], "sqlite");
    assert_eq!(json["stopped"], serde_json::Value::Null);
    let checks = json["checks"].as_array().unwrap();
    let keys = checks.iter().find(|check| check["check"] == "foreign-keys").unwrap();
    assert_eq!(keys["outcome"], "found");
    assert_eq!(keys["findings"][0]["code"], "DOC-057");
    assert_eq!(keys["findings"][0]["severity"], "warning");
    assert_eq!(
        keys["findings"][0]["fix"],
        "CREATE INDEX \"orders_user_id\" ON \"orders\" (\"user_id\");"
    );
    let integrity = checks.iter().find(|check| check["check"] == "integrity").unwrap();
    assert_eq!(integrity["outcome"], "unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_examined_has_a_status_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (_, err) = status(&run(at, &[]), 2);
    assert!(err.contains("no database is configured"), "{err}");
    let (_, err) = status(&run(at, &["--url", "sqlite:gone.db"]), 2);
    assert!(err.contains("DB-026"), "{err}");
    assert!(!at.join("gone.db").exists());
    let (_, err) = status(&run(at, &["--url", "postgres://u:s3cret@127.0.0.1:1/d"]), 2);
    assert!(err.contains("DB-022") && !err.contains("s3cret"), "{err}");
    let (_, err) = status(&run(at, &["--only", "indices"]), 2);
    assert!(err.contains("unused-indexes"), "{err}");
    file(at).await;
    let (_, err) = status(&run(at, &["--only", "locks"]), 2);
    assert!(err.contains("DOC-050"), "{err}");
    let (_, err) = status(&run(at, &["--workload", "gone.sql"]), 2);
    assert!(err.contains("gone.sql can't be read"), "{err}");
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_is_examined() {
        let fresh = Fresh::new(Engine::Postgres).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        let mut session = db.session().await.unwrap();
        session.run("CREATE TABLE t (a int)").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (out, _) =
            status(&run(folder.path(), &["--url", fresh.url(), "--only", "primary-keys"]), 1);
        assert!(out.contains("warning[DOC-070] public.t has no primary key"), "{out}");
        assert!(!out.contains("@127.0.0.1"), "{out}");
        fresh.remove().await;
    }
}

mod mariadb {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_is_examined() {
        let fresh = Fresh::new(Engine::MariaDb).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        db.session().await.unwrap().run("CREATE TABLE t (a INT)").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (out, _) = status(&run(folder.path(), &["--url", fresh.url()]), 1);
        assert!(out.starts_with("MariaDB at 127.0.0.1:"), "{out}");
        assert!(out.contains("✗ primary-keys"), "{out}");
        fresh.remove().await;
    }
}

/// A workload's advice stands beside the checks; one that can't be read is told, and its file named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_is_advised_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    file(at).await;
    let db = Db::connect(&format!("sqlite:{}/shop.db", at.display())).await.unwrap();
    for sql in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
         INSERT INTO users SELECT i, 'u' || i FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000) \
         INSERT INTO orders SELECT i, 1 + i % 500 FROM n",
        "ANALYZE",
    ] {
        db.session().await.unwrap().run(sql).await.unwrap();
    }
    db.close(std::time::Duration::from_secs(5)).await.unwrap();
    let text =
        "-- binds: [7]\nSELECT id FROM orders WHERE user_id = $1;\nSELECT nothing FROM nowhere;";
    std::fs::write(at.join("load.sql"), text).unwrap();
    let (out, _) = status(&run(at, &["--workload", "load.sql", "--json"]), 1);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(told["checks"].as_array().is_some_and(|checks| !checks.is_empty()), "{out}");
    let suggestions = told["advice"]["suggestions"].as_array().unwrap();
    assert_eq!(suggestions.len(), 1, "{out}");
    assert_eq!(suggestions[0]["table"], "orders");
    assert_eq!(suggestions[0]["columns"][0]["name"], "user_id");
    assert_eq!(told["advice"]["passed_over"].as_array().map(Vec::len), Some(1), "{out}");
    let (out, _) = status(&run(at, &["--workload", "load.sql"]), 1);
    assert!(out.contains("foreign-keys") && out.contains("1 index is missing for"), "{out}");
    let (_, err) = status(&run(at, &["--workload", "missing.sql"]), 2);
    assert!(err.contains("missing.sql can't be read"), "{err}");
}
