//! `mainstay migrate` as its user calls it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .arg("migrate")
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env_remove("RUST_LOG")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn out(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn err(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.split_once("error[").map(|(_, rest)| format!("error[{rest}")).unwrap_or(text)
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A folder with a configuration, two migrations and their undo.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(
        at,
        "mainstay.toml",
        "[database]\nurl = \"sqlite:shop.db\"\n[migrate.placeholders]\nwho = \"Ada\"\n",
    );
    write(
        at,
        "migrations/V1__users.sql",
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);\nINSERT INTO users VALUES (1, '${who}');\n",
    );
    write(at, "migrations/V2__index.sql", "CREATE INDEX users_name ON users (name);\n");
    write(at, "migrations/U2__index.sql", "DROP INDEX users_name;\n");
    folder
}

#[test]
fn the_life_of_a_schema() {
    let folder = project();
    let at = folder.path();
    insta::assert_snapshot!(out(&run(at, &["up", "--dry-run"])), @r"
    -- migrations/V1__users.sql: in one transaction
    CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO users VALUES (1, 'Ada');

    -- migrations/V2__index.sql: in one transaction
    CREATE INDEX users_name ON users (name);
    ");
    assert_eq!(out(&run(at, &["up"])), "2 migrations applied; version 2\n");
    assert_eq!(out(&run(at, &["up"])), "nothing to do; version 2\n");
    assert_eq!(out(&run(at, &["validate"])), "what was applied is what the files say\n");
    assert_eq!(out(&run(at, &["undo"])), "1 migration undone; version 1\n");
    let info = out(&run(at, &["info"]));
    // The times are the machine's.
    let info: String = info
        .lines()
        .map(|line| {
            line.split_once("20")
                .filter(|_| line.contains(':'))
                .map_or(line.to_owned(), |(a, b)| {
                    format!("{a}TIME               {}", b.get(17..).unwrap_or_default())
                })
                + "\n"
        })
        .collect();
    insta::assert_snapshot!(info, @r"
    Schema version: 1

    +-----------+---------+-------------+----------+---------------------+---------+----------+
    | Category  | Version | Description | Type     | Installed On        | State   | Undoable |
    +-----------+---------+-------------+----------+---------------------+---------+----------+
    | Versioned | 1       | users       | SQL      | TIME                | Success | No       |
    | Versioned | 2       | index       | SQL      | TIME                | Undone  |          |
    | Undo      | 2       | index       | UNDO_SQL | TIME                | Success |          |
    | Versioned | 2       | index       | SQL      |                     | Pending | Yes      |
    +-----------+---------+-------------+----------+---------------------+---------+----------+
    ");
    assert_eq!(out(&run(at, &["repair"])), "nothing to repair\n");
    assert_eq!(
        out(&run(at, &["new", "Add orders!", "--undo"])),
        "migrations/V3__add_orders.sql\nmigrations/U3__add_orders.sql\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&out(&run(at, &["info", "--json"]))).unwrap();
    assert_eq!(json["version"], "1");
}

#[test]
fn mistakes_say_where_and_what_next() {
    let folder = project();
    let at = folder.path();
    write(
        at,
        "migrations/V3__bad.sql",
        "INSERT INTO users VALUES (2, 'x');\n\nINSERT INTO nowhere VALUES (1);\n",
    );
    insta::assert_snapshot!(err(&run(at, &["up"])), @r"
    error[MIG-005]: migrations/V3__bad.sql:3:1: no such table: nowhere
      why: INSERT INTO nowhere VALUES (1)
           line 1, column 13
           INSERT INTO nowhere VALUES (1)
                       ^
           nothing of it stays: it was rolled back
       by: DB-011: no such table: nowhere
      fix: correct the statement and run it again
           correct the name, or run the migration that creates it
      see: mainstay explain MIG-005
    ");
    std::fs::remove_file(at.join("migrations/V3__bad.sql")).unwrap();
    write(at, "migrations/V3_bad.sql", "");
    insta::assert_snapshot!(err(&run(at, &["info"])), @r"
    error[MIG-001]: migrations/V3_bad.sql is not named as a migration
      why: migrations are V<version>__<description>.sql, R__<description>.sql, U<version>__..., B<version>__..., or a callback's name
      fix: rename it to V3__bad.sql
      see: mainstay explain MIG-001
    ");
    std::fs::remove_file(at.join("migrations/V3_bad.sql")).unwrap();
    write(at, "migrations/V1__users.sql", "CREATE TABLE users (id INTEGER PRIMARY KEY);\n");
    insta::assert_snapshot!(err(&run(at, &["up"])), @r"
    error[MIG-002]: the checksum of version 1 (users) was -564348291 when it was applied, and is -7233374 in migrations/V1__users.sql
      fix: put the file back as it was and write the change as a new migration; mainstay migrate repair accepts it as it is
      see: mainstay explain MIG-002
    ");
    insta::assert_snapshot!(err(&run(at, &["--dir", "nowhere", "up"])), @r"
    error[MIG-001]: the folder nowhere can't be read
       by: No such file or directory (os error 2)
      fix: make it, or name another with --dir or migrate.dir
      see: mainstay explain MIG-001
    ");
    insta::assert_snapshot!(err(&run(at, &["--placeholder", "x", "up"])), @r"
    error[APP-003]: --placeholder x is no NAME=VALUE
      fix: run the command with --help
      see: mainstay explain APP-003
    ");
    std::fs::remove_file(at.join("mainstay.toml")).unwrap();
    insta::assert_snapshot!(err(&run(at, &["info"])), @r"
    error[CFG-004]: no database is named
      fix: give --url, set DATABASE_URL, or write url under [database] in mainstay.toml
      see: mainstay explain CFG-004
    ");
}

#[test]
fn statements_are_shown_with_their_places() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "x.sql", "SELECT ';';\n\nDO $$ BEGIN; END $$;\nCOPY t FROM stdin;\n1\ta;b\n\\.\n");
    let json = out(&run(at, &["split", "x.sql", "--engine", "postgres", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = serde_json::json!([
        {"line": 1, "column": 1, "sql": "SELECT ';'"},
        {"line": 3, "column": 1, "sql": "DO $$ BEGIN; END $$"},
        {"line": 4, "column": 1, "sql": "COPY t FROM stdin", "copy": "1\ta;b\n"},
    ]);
    assert_eq!(json, expected);
    write(at, "y.sql", "SELECT 'open");
    insta::assert_snapshot!(err(&run(at, &["split", "y.sql", "--engine", "mysql"])), @r"
    error[MIG-013]: y.sql:1:8: the string that begins here is not closed
      why: no `'` that closes it comes before the end of the text
      fix: close it with `'`, or look for a quote too many before it
      see: mainstay explain MIG-013
    ");
}

#[test]
fn lint_speaks_to_people_and_to_github() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "migrations/V1__i.sql", "-- an index\nCREATE INDEX i ON orders (user_id);\n");
    let text = run(at, &["lint", "--engine", "postgres"]);
    insta::assert_snapshot!(String::from_utf8_lossy(&text.stdout), @r"
    migrations/V1__i.sql:2:1: LINT-001: builds an index on orders, whose size is not known, and lets nobody write meanwhile
      why: every INSERT, UPDATE and DELETE of the table waits until all rows have been read and sorted
      fix: CREATE INDEX CONCURRENTLY i ON orders (user_id);
    ");
    assert!(!text.status.success());
    let github = run(at, &["lint", "--engine", "postgres", "--format", "github"]);
    insta::assert_snapshot!(String::from_utf8_lossy(&github.stdout), @r"
    ::warning file=migrations/V1__i.sql,line=2,col=1,title=LINT-001::builds an index on orders, whose size is not known, and lets nobody write meanwhile%0Awhy: every INSERT, UPDATE and DELETE of the table waits until all rows have been read and sorted%0Afix: CREATE INDEX CONCURRENTLY i ON orders (user_id);
    ");
    write(
        at,
        "migrations/V1__i.sql",
        "-- mainstay:allow LINT-001 the table is empty still\nCREATE INDEX i ON orders (user_id);\n",
    );
    assert_eq!(out(&run(at, &["lint", "--engine", "postgres"])), "");
}
