//! What ends a statement and what only looks like it; `props` holds the rules for any text.

mod mysql;
mod postgres;
mod props;
mod sqlite;

use mainstay_core::Code;
use mainstay_db::Engine;

use super::split;

const ENGINES: [Engine; 3] = [Engine::Sqlite, Engine::Postgres, Engine::MySql];

/// The texts of the statements.
fn texts(sql: &str, engine: Engine) -> Vec<String> {
    match split(sql, engine) {
        Ok(statements) => statements.into_iter().map(|s| s.text).collect(),
        Err(e) => panic!("{e}: {sql}"),
    }
}

/// What the error says.
fn refused(sql: &str, engine: Engine) -> String {
    let error = split(sql, engine).unwrap_err();
    assert_eq!(error.code(), Code::MigrationSplit);
    error.what().to_owned()
}

/// Asserts that `sql`, and a statement after it, are one each.
fn one(sql: &str, engine: Engine) {
    let next = "SELECT 'next; one'";
    assert_eq!(texts(&format!("{sql};\n{next};\n"), engine), [sql, next], "{engine}");
    assert_eq!(texts(sql, engine), [sql], "{engine}");
}

#[test]
fn the_last_statement_needs_no_semicolon() {
    for engine in ENGINES {
        assert_eq!(texts("SELECT 1; SELECT 2", engine), ["SELECT 1", "SELECT 2"]);
        assert_eq!(texts(" SELECT 1 ;\n\n SELECT 2 \n", engine), ["SELECT 1", "SELECT 2"]);
    }
}

#[test]
fn nothing_but_comments_is_no_statement() {
    for engine in ENGINES {
        for sql in ["", ";", " ;; \n;", "-- a; b", "/* a; b */", "-- a\n;/* b */;\n", "\u{feff}"] {
            assert!(split(sql, engine).unwrap().is_empty(), "{engine} {sql:?}");
        }
        assert_eq!(texts("SELECT 1;; ;SELECT 2;;", engine), ["SELECT 1", "SELECT 2"]);
    }
}

#[test]
fn comments_around_a_statement_stay_out_and_those_inside_stay_in() {
    for engine in ENGINES {
        let sql = "-- it's; first\nSELECT /* a;b */ 1 -- it's\n + 2 -- last;\n;\n/* end; */";
        assert_eq!(texts(sql, engine), ["SELECT /* a;b */ 1 -- it's\n + 2"]);
    }
}

#[test]
fn places_count_lines_and_characters() {
    for engine in ENGINES {
        let sql = "\u{feff}SELECT 'é';  SELECT 2;\r\n-- ü\r\n  SELECT\n3; /* ä */ SELECT 4";
        let places: Vec<_> =
            split(sql, engine).unwrap().iter().map(|s| (s.line, s.column)).collect();
        assert_eq!(places, [(1, 1), (1, 14), (3, 3), (4, 12)]);
    }
}

#[test]
fn bytes_lead_back_to_the_text() {
    let sql = "\u{feff} SELECT 'é'; SELECT 2 ;";
    for statement in split(sql, Engine::Postgres).unwrap() {
        assert_eq!(sql[statement.bytes.clone()], statement.text);
    }
}

#[test]
fn line_ends_of_windows_are_kept_inside_and_dropped_outside() {
    for engine in ENGINES {
        assert_eq!(
            texts("SELECT 1,\r\n2;\r\n-- a\r\nSELECT 3;\r\n", engine),
            ["SELECT 1,\r\n2", "SELECT 3"]
        );
    }
}

#[test]
fn transactions_are_statements_of_their_own() {
    for engine in ENGINES {
        assert_eq!(
            texts("BEGIN; INSERT INTO a VALUES (1); COMMIT;\nbegin;end;", engine),
            ["BEGIN", "INSERT INTO a VALUES (1)", "COMMIT", "begin", "end"]
        );
    }
}

#[test]
fn what_is_not_closed_is_named_where_it_began() {
    for engine in ENGINES {
        assert_eq!(
            refused("SELECT 1;\n  SELECT 'a;\n", engine),
            "line 2, column 10: the string that begins here is not closed"
        );
        // SQLite takes the end of the text for the end of the comment.
        if engine == Engine::Sqlite {
            assert_eq!(split("SELECT 1; /* a", engine).unwrap().len(), 1);
            continue;
        }
        assert_eq!(
            refused("SELECT 1; /* a", engine),
            "line 1, column 11: the comment that begins here is not closed"
        );
    }
    assert!(refused("SELECT \"a", Engine::Postgres).contains("quoted name"));
    assert!(refused("SELECT [a", Engine::Sqlite).contains("quoted name"));
    assert!(refused("SELECT `a", Engine::MySql).contains("quoted name"));
    let error = split("DO $b$ BEGIN END $c$;", Engine::Postgres).unwrap_err();
    assert_eq!(
        error.what(),
        "line 1, column 4: the dollar-quoted string that begins here is not closed"
    );
    assert!(error.report().contains("`$b$`"));
}
