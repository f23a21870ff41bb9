//! Where statements may run, as it is told.

use crate::command::{run, text};

const FILE: &str = "\
-- what the report reads
SELECT status, count(*)
  FROM orders
 GROUP BY status;
/* primary */ SELECT balance FROM accounts WHERE id = $1;
SELECT id FROM jobs FOR UPDATE SKIP LOCKED LIMIT 1;
SELECT 'it''s; not two', price_of(id) FROM items WHERE sku IN (SELECT sku FROM stock WHERE note = 'a long one: …');
WITH gone AS (DELETE FROM carts RETURNING id) SELECT count(*) FROM gone;
SELECT nextval('invoices');
";

#[test]
fn each_statement_of_a_file_is_told_with_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.sql");
    std::fs::write(&path, FILE).unwrap();
    let path = path.to_str().unwrap();
    let output = run(&["explain", "--route", "--file", path, "--engine", "postgres"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    insta::assert_snapshot!(text(&output.stdout), @r"
    replica  SELECT status, count(*) FROM orders GROUP BY status                       it only reads
    primary  SELECT balance FROM accounts WHERE id = $1                                the hint /* primary */ says so
    primary  SELECT id FROM jobs FOR UPDATE SKIP LOCKED LIMIT 1                        FOR UPDATE locks rows
    primary  SELECT 'it''s; not two', price_of(id) FROM items WHERE sku IN (SELECT s…  it calls price_of(), which is not known to only read
    primary  WITH gone AS (DELETE FROM carts RETURNING id) SELECT count(*) FROM gone   DELETE inside of it writes
    primary  SELECT nextval('invoices')                                                nextval() changes a sequence

    1 of 6 may run on a replica
    ");
    let output = run(&["explain", "--route", "--file", path, "--engine", "postgres", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told.as_array().unwrap().len(), 6);
    assert_eq!(told[0]["to"], "replica");
    assert_eq!(told[0]["line"], 2);
    assert_eq!(told[2]["to"], "primary");
    assert_eq!(told[2]["why"], "FOR UPDATE locks rows");
    assert_eq!(told[2]["sql"], "SELECT id FROM jobs FOR UPDATE SKIP LOCKED LIMIT 1");
}

#[test]
fn the_url_tells_whose_sql_it_is_and_nothing_is_connected_to() {
    let sql = "SELECT GET_LOCK('a', 1)";
    for (url, why) in [
        ("mysql://nobody@127.0.0.1:1/x", "get_lock() is a lock of the primary"),
        ("postgres://nobody@127.0.0.1:1/x", "get_lock() is a lock of the primary"),
        ("sqlite:/no/such/folder/a.db", "SQLite has no replicas"),
    ] {
        let output = run(&["explain", "--route", sql, "--url", url]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), format!("primary  {sql}  {why}\n"));
    }
}

#[test]
fn what_is_missing_is_told() {
    for (arguments, says) in [
        (&["explain", "--route", "SELECT 1"][..], "whose SQL it is, is not known"),
        (&["explain", "--route", "--engine", "mysql"], "--route has no statement"),
        (&["explain", "--route", "--file", "/no/such/file", "--engine", "mysql"], "can't be read"),
        (&["explain", "--engine", "mysql", "SELECT 1"], "--route"),
    ] {
        let output = run(arguments);
        assert!(!output.status.success());
        let said = text(&output.stderr);
        assert!(said.contains(says), "{said}");
    }
}
