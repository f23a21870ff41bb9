//! What the steps of a change say, by engine and server.

use super::*;
use crate::online::ground::{Key, KeyClass};

fn mysql(version: (u32, u32, u32)) -> Facts {
    Facts { version, ..Facts::of_engine(Engine::MySql) }
}

fn ground() -> Ground {
    let column = |name: &str, kind: &str| Column {
        name: name.to_owned(),
        kind: kind.to_owned(),
        ..Column::default()
    };
    let comment = "what it costs".to_owned();
    Ground {
        table: "orders".to_owned(),
        rows: 1234,
        columns: vec![
            Column { primary: true, ..column("id", "bigint") },
            Column { comment, ..column("total", "float") },
            Column { on_update: true, ..column("changed", "timestamp") },
        ],
        key: vec![Key { name: "id".to_owned(), class: KeyClass::Number }],
        ..Ground::default()
    }
}

fn made(facts: &Facts, rest: &str) -> Made {
    let text = format!("name = \"c\"\ntable = \"orders\"\n{rest}");
    let change = Change::parse("c.toml", &text).unwrap();
    super::make(facts, &ground(), &change).unwrap()
}

fn said(works: &[Work]) -> Vec<String> {
    works.iter().flat_map(|work| work.shown().sql).collect()
}

/// The places of statements that have these texts, in the order of the texts.
fn places(all: &[String], texts: &[&str]) -> Vec<usize> {
    let place = |text: &&str| all.iter().position(|sql| sql.contains(*text));
    texts.iter().map(|text| place(text).unwrap_or_else(|| panic!("{text}: {all:#?}"))).collect()
}

const RENAME: &str = "[rename_column]\ncolumn = \"total\"\nto = \"cents\"\n";
const RETYPE: &str = "[retype_column]\ncolumn = \"total\"\ntype = \"double\"\nusing = \"total\"\n";

#[test]
fn mysqls_triggers_go_after_the_column_and_come_in_an_order_that_loses_nothing() {
    let made = made(&mysql((8, 4, 0)), RENAME);
    assert!(made.contract[0].title.contains("begins"), "{:?}", made.contract);
    let contract = said(&made.contract);
    let at = places(&contract, &["LOCK TABLES", "DROP COLUMN", "DROP TRIGGER", "UNLOCK TABLES"]);
    assert!(at.is_sorted(), "{contract:#?}");
    let expand = said(&made.expand);
    let at = places(&expand, &["ADD COLUMN `cents`", "BEFORE UPDATE", "BEFORE INSERT"]);
    assert!(at.is_sorted(), "{expand:#?}");
    assert!(!expand.iter().any(|sql| sql.contains("DROP TRIGGER")), "{expand:#?}");
    assert!(expand[0].contains("COMMENT 'what it costs'"), "{expand:#?}");
    // A FLOAT as bytes has six digits.
    assert!(expand[1].contains("NOT (NEW.`cents` <=> OLD.`cents`)"), "{expand:#?}");
}

#[test]
fn a_server_that_drops_no_column_at_once_does_it_beside_writers() {
    let old = mysql((8, 0, 20));
    let rename = made(&old, RENAME);
    let contract = said(&rename.contract);
    let at = places(
        &contract,
        &["MODIFY COLUMN `cents`", "MODIFY COLUMN `total`", "DROP TRIGGER", "DROP COLUMN `total`"],
    );
    assert!(at.is_sorted(), "{contract:#?}");
    assert!(!contract.iter().any(|sql| sql.contains("LOCK TABLES")), "{contract:#?}");
    assert!(rename.notes.is_empty(), "{:?}", rename.notes);
    let retype = made(&old, RETYPE);
    assert!(said(&retype.contract).iter().any(|sql| sql.contains("LOCK TABLES")));
    assert!(retype.notes[0].contains("1234 rows"), "{:?}", retype.notes);
}

#[test]
fn a_backfill_leaves_mysqls_times_of_change() {
    let add = "[add_column]\ncolumn = \"label\"\ntype = \"text\"\nfill = \"'x'\"\n";
    let fill = made(&mysql((8, 4, 0)), add).fill.unwrap();
    assert_eq!(fill.set, "`label` = ('x'), `changed` = `changed`");
}

#[test]
fn a_row_of_nulls_is_none_to_postgres() {
    let made = made(&Facts::of_engine(Engine::Postgres), RENAME);
    let fill = made.fill.unwrap();
    assert!(fill.needs.contains("\"cents\" IS NOT DISTINCT FROM NULL"), "{}", fill.needs);
    let all = said(&made.expand).join("\n") + &said(&made.contract).join("\n");
    assert!(!all.contains("IS NULL") && !all.contains("IS NOT NULL"), "{all}");
}
