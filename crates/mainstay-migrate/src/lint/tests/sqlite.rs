//! SQLite's rules.

use super::{Code, On, SQLITE, fires, silent};

#[test]
fn alter_table_knows_little() {
    let alter = |rest: &str| format!("ALTER TABLE orders {rest}");
    let finding = fires(SQLITE, Code::LintSqliteNoAlter, &alter("ALTER COLUMN note SET NOT NULL"));
    assert!(finding.fix.contains("SELECT id, note, at, checked FROM orders;"), "{}", finding.fix);
    let newer = On { version: (3, 53, 0), ..SQLITE };
    silent(newer, Code::LintSqliteNoAlter, &alter("ALTER COLUMN note SET NOT NULL"));
    fires(SQLITE, Code::LintSqliteNoAlter, &alter("ADD CONSTRAINT c UNIQUE (note)"));
    silent(SQLITE, Code::LintSqliteNoAlter, &alter("ADD COLUMN c TEXT"));
}

#[test]
fn new_columns() {
    let add = |rest: &str| format!("ALTER TABLE orders ADD COLUMN c {rest}");
    let refused = [
        "INTEGER PRIMARY KEY",
        "TEXT UNIQUE",
        "TEXT NOT NULL",
        "TEXT DEFAULT CURRENT_TIMESTAMP",
        "TEXT DEFAULT (random())",
        "INTEGER DEFAULT (1 + 2)",
        "TEXT DEFAULT (lower('X'))",
        "INTEGER REFERENCES customers (id) DEFAULT 1",
        "INTEGER AS (id + 1) STORED",
    ];
    for rest in refused {
        fires(SQLITE, Code::LintSqliteAddColumn, &add(rest));
    }
    let taken = [
        "TEXT",
        "TEXT NOT NULL DEFAULT ''",
        "INTEGER REFERENCES customers (id)",
        "INTEGER DEFAULT (-1)",
        "TEXT DEFAULT (('it''s'))",
    ];
    for rest in taken {
        silent(SQLITE, Code::LintSqliteAddColumn, &add(rest));
    }
}

#[test]
fn drops() {
    fires(SQLITE, Code::LintSqliteDropColumn, "ALTER TABLE orders DROP COLUMN note");
    silent(SQLITE, Code::LintSqliteDropColumn, "ALTER TABLE orders DROP COLUMN checked");
    let freed = "DROP INDEX orders_note_at; ALTER TABLE orders DROP COLUMN note";
    silent(SQLITE, Code::LintSqliteDropColumn, freed);
    fires(SQLITE, Code::LintSqliteDropReferenced, "DROP TABLE orders");
    silent(SQLITE, Code::LintSqliteDropReferenced, "DROP TABLE flags");
    let outside = On { transaction: false, ..SQLITE };
    let off = "PRAGMA foreign_keys = OFF; DROP TABLE orders";
    silent(outside, Code::LintSqliteDropReferenced, off);
    fires(SQLITE, Code::LintSqliteDropReferenced, off);
    fires(SQLITE, Code::LintForeignKeysPragma, off);
    silent(outside, Code::LintForeignKeysPragma, off);
    let rebuilt = "CREATE TABLE o (id INTEGER PRIMARY KEY); INSERT INTO o SELECT id FROM orders;
        DROP TABLE orders; ALTER TABLE o RENAME TO orders";
    silent(outside, Code::LintDropTable, rebuilt);
    silent(outside, Code::LintRename, rebuilt);
}

#[test]
fn kinds_of_columns() {
    fires(SQLITE, Code::LintSqliteType, "CREATE TABLE t (a STRING)");
    silent(SQLITE, Code::LintSqliteType, "CREATE TABLE t (a VARCHAR(20))");
    fires(SQLITE, Code::LintSqliteType, "CREATE TABLE t (a VARCHAR(20)) STRICT");
    silent(SQLITE, Code::LintSqliteType, "CREATE TABLE t (a TEXT) STRICT");
    fires(SQLITE, Code::LintNotInTransaction, "VACUUM");
}
