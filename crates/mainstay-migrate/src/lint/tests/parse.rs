//! Names of tables, and texts that must not be misread.

use super::super::tables_of;
use super::{Code, Engine, POSTGRES, fires, lint};

#[test]
fn tables_of_a_text() {
    let sql = "CREATE TABLE A.b (x int REFERENCES c, FOREIGN KEY (x) REFERENCES \"D\" (e));
        ALTER TABLE ONLY b ADD COLUMN y int; -- CREATE TABLE no (a int)
        UPDATE c SET y = 'DELETE FROM no'; DROP TABLE IF EXISTS e, f CASCADE;
        INSERT INTO g SELECT * FROM h JOIN i ON true";
    let names = tables_of(sql, Engine::Postgres);
    assert_eq!(names, ["a.b", "c", "D", "b", "e", "f", "h", "i"]);
    assert_eq!(tables_of("DELETE FROM `Ab` WHERE 1", Engine::MySql), ["Ab"]);
    assert_eq!(tables_of("SELECT 1", Engine::Sqlite), [""; 0]);
}

#[test]
fn nothing_is_said_of_what_is_not_known() {
    for sql in
        ["", "GRANT ALL ON orders TO x", "ALTER TABLE", "CREATE TABLE t (", "ALTER TABLE t ("]
    {
        assert_eq!(lint(POSTGRES, sql).len(), 0, "{sql}");
    }
}

#[test]
fn quotes_and_schemas_make_no_difference() {
    let quoted = "CREATE INDEX x ON \"public\".\"orders\" (\"at\")";
    assert!(fires(POSTGRES, Code::LintIndexNotConcurrent, quoted).what.contains("12,000,000"));
}
