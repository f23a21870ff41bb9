//! Each rule on a text that it is for and on one that it leaves alone.

mod allows;
mod mysql;
mod parse;
mod postgres;
mod sqlite;

use mainstay_core::Code;
use mainstay_db::Engine;

use super::{Catalogue, Column, Finding, Index, LintOptions, Linter, Server, Table};

/// Where a text runs.
#[derive(Clone, Copy)]
struct On {
    engine: Engine,
    mariadb: bool,
    version: (u32, u32, u32),
    transaction: bool,
}

const POSTGRES: On =
    On { engine: Engine::Postgres, mariadb: false, version: (16, 0, 0), transaction: true };
const POSTGRES_OUTSIDE: On = On { transaction: false, ..POSTGRES };
const POSTGRES_10: On = On { version: (10, 0, 0), ..POSTGRES };
const MYSQL: On =
    On { engine: Engine::MySql, mariadb: false, version: (8, 4, 0), transaction: false };
const MYSQL_57: On = On { version: (5, 7, 40), ..MYSQL };
const MARIADB: On = On { mariadb: true, version: (11, 4, 0), ..MYSQL };
const SQLITE: On =
    On { engine: Engine::Sqlite, mariadb: false, version: (3, 46, 0), transaction: true };

fn column(name: &str, kind: &str, nullable: bool) -> Column {
    Column { name: name.to_owned(), kind: kind.to_owned(), nullable, ..Column::default() }
}

fn index(name: &str, columns: &[&str], valid: bool) -> Index {
    let columns = columns.iter().map(|column| (*column).to_owned()).collect();
    Index { name: name.to_owned(), columns, plain: true, unique: false, valid }
}

/// `orders` is large, `customers` is too, `flags` is small.
fn catalogue(engine: Engine) -> Catalogue {
    let mysql = engine == Engine::MySql;
    let text = if mysql { "varchar(50)" } else { "character varying(50)" };
    let collation = mysql.then(|| "utf8mb4_general_ci".to_owned());
    let primary = index("PRIMARY", &["id"], true);
    let orders = Table {
        rows: 12_000_000,
        columns: vec![
            column("id", "bigint", false),
            Column { collation: collation.clone(), ..column("note", text, true) },
            column("at", "timestamp without time zone", true),
            Column { checked_not_null: true, ..column("checked", "bigint", true) },
        ],
        indexes: vec![
            index("orders_note_at", &["note", "at"], true),
            index("orders_broken", &["at"], false),
        ]
        .into_iter()
        .chain(mysql.then_some(primary))
        .collect(),
        referenced_by: 2,
        collation,
    };
    let customers = Table { rows: 500_000, ..Table::default() };
    let flags =
        Table { rows: 12, columns: vec![column("on", "boolean", true)], ..Table::default() };
    let mut catalogue = Catalogue::default();
    catalogue.insert("orders", orders);
    catalogue.insert("customers", customers);
    catalogue.insert("flags", flags);
    catalogue
}

/// What is found in the statements of one file, which are separated by `;`.
fn lint_with(on: On, sql: &str, options: LintOptions) -> Vec<Finding> {
    let server = Server { engine: on.engine, mariadb: on.mariadb, version: on.version };
    let mut linter = Linter::new(server, catalogue(on.engine), options);
    let mut found = Vec::new();
    for (n, text) in sql.split(';').enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        found.extend(linter.statement(text, n + 1, 1, on.transaction));
    }
    found.extend(linter.finish_file());
    found
}

fn lint(on: On, sql: &str) -> Vec<Finding> {
    lint_with(on, sql, LintOptions::default())
}

#[track_caller]
fn fires(on: On, code: Code, sql: &str) -> Finding {
    let found = lint(on, sql);
    let finding = found.iter().find(|finding| finding.code == code).cloned();
    finding.unwrap_or_else(|| panic!("{code} is missing for {sql}: {found:#?}"))
}

#[track_caller]
fn silent(on: On, code: Code, sql: &str) {
    let found = lint(on, sql);
    assert!(found.iter().all(|finding| finding.code != code), "{code} for {sql}: {found:#?}");
}
