//! MySQL's and MariaDB's rules.

use super::{Code, MARIADB, MYSQL, MYSQL_57, fires, silent};

#[test]
fn copies_lock_writers_out() {
    let alter = |rest: &str| format!("ALTER TABLE orders {rest}");
    let blocked = Code::LintMySqlWritersBlocked;
    let finding = fires(MYSQL, blocked, &alter("MODIFY note INT"));
    assert!(finding.fix.contains("ADD COLUMN note_new int, ALGORITHM=INSTANT"), "{}", finding.fix);
    silent(MYSQL, blocked, &alter("MODIFY note INT, ALGORITHM=INPLACE"));
    silent(MYSQL, blocked, &alter("MODIFY note VARCHAR(60)"));
    fires(MYSQL, blocked, &alter("MODIFY note VARCHAR(200)"));
    // What is left out is the table's default, which the column has; this is another.
    fires(MYSQL, blocked, &alter("MODIFY note VARCHAR(50) CHARACTER SET latin1"));
    fires(MYSQL, blocked, &alter("MODIFY note VARCHAR(50) COLLATE utf8mb4_bin"));
    silent(MYSQL, blocked, &alter("MODIFY note VARCHAR(50) CHARACTER SET utf8mb4"));
    silent(MARIADB, blocked, &alter("MODIFY note INT"));
    fires(MYSQL, blocked, &alter("CONVERT TO CHARACTER SET utf8mb4"));
    fires(MYSQL, blocked, &alter("DROP PRIMARY KEY"));
    silent(MYSQL, blocked, &alter("DROP PRIMARY KEY, ADD PRIMARY KEY (id, note)"));
    fires(MYSQL, blocked, "CREATE FULLTEXT INDEX f ON orders (note)");
    silent(MYSQL, blocked, "CREATE INDEX f ON orders (at)");
    let foreign = alter("ADD FOREIGN KEY (note) REFERENCES customers (id)");
    fires(MYSQL, blocked, &foreign);
    silent(MYSQL, blocked, &format!("SET foreign_key_checks = 0; {foreign}"));
    silent(MYSQL, blocked, "ALTER TABLE flags CONVERT TO CHARACTER SET utf8mb4");
}

#[test]
fn rebuilds_are_told() {
    let add = "ALTER TABLE orders ADD COLUMN a INT";
    fires(MYSQL_57, Code::LintMySqlRebuild, add);
    silent(MYSQL, Code::LintMySqlRebuild, add);
    fires(MYSQL, Code::LintMySqlRebuild, "OPTIMIZE TABLE orders");
    fires(MYSQL, Code::LintMySqlRebuild, "ALTER TABLE orders MODIFY note VARCHAR(50) NOT NULL");
    silent(MYSQL, Code::LintMySqlRebuild, "ALTER TABLE orders MODIFY note VARCHAR(50)");
    // The primary key takes no NULL, whatever is said of it.
    silent(MYSQL, Code::LintMySqlRebuild, "ALTER TABLE orders MODIFY id BIGINT");
}

#[test]
fn tables_and_keys() {
    let table = |rest: &str| format!("CREATE TABLE t (id BIGINT PRIMARY KEY) {rest}");
    fires(MYSQL, Code::LintUtf8mb3, &table("DEFAULT CHARSET=utf8"));
    silent(MYSQL, Code::LintUtf8mb3, &table("DEFAULT CHARSET=utf8mb4"));
    fires(MYSQL, Code::LintMySqlEngine, &table("ENGINE=MyISAM"));
    silent(MYSQL, Code::LintMySqlEngine, &table("ENGINE = InnoDB"));
    fires(MYSQL, Code::LintRandomKey, "CREATE TABLE t (id CHAR(36) PRIMARY KEY)");
    let ordered =
        "CREATE TABLE t (id BINARY(16) DEFAULT (uuid_to_bin(uuid(), 1)), PRIMARY KEY (id))";
    silent(MYSQL, Code::LintRandomKey, ordered);
    fires(MYSQL, Code::LintNarrowKey, "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY)");
    silent(
        MYSQL,
        Code::LintForeignKeyNoIndex,
        "ALTER TABLE flags ADD FOREIGN KEY (a) REFERENCES b (c)",
    );
    fires(MYSQL, Code::LintNotNullColumn, "ALTER TABLE flags ADD a INT NOT NULL");
}

#[test]
fn names_that_change() {
    fires(MYSQL, Code::LintRename, "RENAME TABLE flags TO marks");
    fires(MYSQL, Code::LintRename, "ALTER TABLE flags CHANGE a b INT");
}
