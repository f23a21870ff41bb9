//! Triggers, quoted names and the shell's commands.

use mainstay_db::Engine;

use super::{one, refused, texts};

#[test]
fn a_triggers_body_is_one_statement() {
    for sql in [
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END",
        "create temp trigger if not exists t after insert on a begin select 1; select 2; end",
        "CREATE TEMPORARY TRIGGER t DELETE ON a WHEN old.x > 1 BEGIN\n  DELETE FROM b;\n END",
        "CREATE TRIGGER t AFTER UPDATE ON a BEGIN\n  UPDATE b SET c = CASE WHEN new.d THEN 1 ELSE \
         CASE new.e WHEN 2 THEN 3 END END;\n  SELECT CASE WHEN 1 THEN 2 END; -- end;\nEND",
        "CREATE TRIGGER t INSERT ON a BEGIN SELECT new.begin, new.end AS end; SELECT 'END;'; END",
        "CREATE TRIGGER \"begin\" INSERT ON [end;] BEGIN SELECT 1; /* END; */ END",
        "CREATE TRIGGER t INSERT ON begin WHEN new.end BEGIN SELECT end FROM begin; END",
        "CREATE /* a */ TRIGGER t INSERT ON a BEGIN SELECT 1 ; /* b */ END",
    ] {
        one(sql, Engine::Sqlite);
    }
}

#[test]
fn other_statements_end_at_each_semicolon() {
    for sql in [
        "BEGIN IMMEDIATE",
        "BEGIN EXCLUSIVE TRANSACTION",
        "END TRANSACTION",
        "SELECT [a;b], `c;d`, \"e;f\", 'it''s; g'",
        "SELECT '\\'",
        "CREATE TABLE trigger_log (begin, \"end\", x DEFAULT (CASE WHEN 1 THEN 2 END))",
        "CREATE TABLE trigger (begin TEXT)",
        "DROP TRIGGER t",
        "SELECT $1, ?, :a, @b, .5",
        "CREATE VIEW v AS SELECT CASE WHEN 1 THEN 2 END AS end",
    ] {
        one(sql, Engine::Sqlite);
    }
    assert_eq!(
        texts("CREATE TRIGGER t; SELECT 1", Engine::Sqlite),
        ["CREATE TRIGGER t", "SELECT 1"]
    );
}

#[test]
fn a_trigger_without_end_is_named() {
    let sql = "SELECT 1;\nCREATE TRIGGER t INSERT ON a\nBEGIN SELECT 1; SELECT 2;\n";
    assert_eq!(
        refused(sql, Engine::Sqlite),
        "line 3, column 1: the BEGIN block that begins here has no END"
    );
}

#[test]
fn the_shells_commands_are_named() {
    let what = refused("SELECT 1;\n.read other.sql\n", Engine::Sqlite);
    assert_eq!(
        what,
        "line 2, column 1: `.read` is a command of SQLite's shell and can't be run here"
    );
    assert!(refused(".mode csv", Engine::Sqlite).contains("`.mode`"));
    one("SELECT a\n.b FROM a", Engine::Sqlite);
}
