//! Placeholders among everything that only looks like one.

use proptest::prelude::*;

use super::*;

fn text(sql: &str, engine: Engine) -> Text {
    Text::of(sql, engine).unwrap()
}

fn mysql(sql: &str) -> (String, Vec<usize>) {
    let (sql, order) = text(sql, Engine::MySql).positional.unwrap();
    (sql.to_string(), order)
}

#[test]
fn mysql_gets_question_marks_in_the_order_of_appearance() {
    assert_eq!(
        mysql("UPDATE a SET b = b - $1 WHERE id = $2 AND b >= $1"),
        ("UPDATE a SET b = b - ? WHERE id = ? AND b >= ?".to_owned(), vec![0, 1, 0])
    );
    assert_eq!(mysql("SELECT 1").1, Vec::<usize>::new());
}

#[test]
fn what_is_quoted_or_commented_is_left_alone() {
    for sql in [
        "SELECT '$1', 'it''s $2', \"$3\", `$4`, 'a\\'$5'",
        "SELECT 1 -- $1\n + 1 # $2 ?\n /* $3 ? */",
    ] {
        assert_eq!(mysql(sql), (sql.to_owned(), vec![]));
    }
    let sql = r#"SELECT '$1', E'it\'s $2', "$3", $$ $4 $$, $a$ $5 $$ $a$ /* /* $6 */ $7 */ -- $8"#;
    assert_eq!(text(sql, Engine::Postgres).params, 0);
    assert_eq!(text("SELECT [$1], '\\', $1", Engine::Sqlite).params, 1);
    assert_eq!(text("SELECT a->'b' ? 'c', $1", Engine::Postgres).params, 1);
    assert_eq!(text("SELECT a$1, $2", Engine::Postgres).params, 2);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let error = Text::of("SELECT a\nFROM t WHERE id = ?", Engine::MySql).unwrap_err();
    assert_eq!(error.code(), Code::Syntax);
    assert!(error.report().contains("line 2, column 19"), "{error:?}");
    assert!(Text::of("SELECT $0", Engine::Sqlite).is_err());
}

#[test]
fn only_sure_reads_are_reads() {
    let reads = |sql| text(sql, Engine::Sqlite).only_reads;
    assert!(reads("SELECT 1"));
    assert!(reads(" /* hi */ with a as (select 1) select * from a"));
    assert!(reads("SELECT 'delete' FROM \"update\""));
    assert!(!reads("WITH a AS (SELECT 1) INSERT INTO b SELECT * FROM a"));
    assert!(!reads("PRAGMA journal_mode = DELETE"));
    assert!(!reads("INSERT INTO a VALUES (1) RETURNING id"));
    assert!(!reads(""));
}

#[test]
fn what_begins_or_ends_a_transaction_is_found() {
    let control = |sql| text(sql, Engine::Sqlite).control;
    for sql in ["BEGIN", "commit;", "SELECT 1; ROLLBACK", "x; end", "ROLLBACK; SELECT * FROM a TO"]
    {
        assert_eq!(control(sql), Control::Transaction, "{sql}");
    }
    assert_eq!(control("SELECT 1; SAVEPOINT a"), Control::Savepoint);
    for sql in [
        "ROLLBACK TO a",
        "ROLLBACK TO SAVEPOINT a; SELECT 1",
        "RELEASE SAVEPOINT a",
        "SELECT 'BEGIN' AS \"COMMIT\"",
        "SELECT CASE WHEN 1 THEN 2 END",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET c = 1; SELECT 1; END",
    ] {
        assert_eq!(control(sql), Control::None, "{sql}");
    }
}

proptest! {
    #[test]
    fn any_text_ends_and_spans_cover_it(sql in "[a$0-9'\"`\\\\/*#?\\[\\]\n -]{0,60}|\\PC{0,40}") {
        for engine in [Engine::Sqlite, Engine::Postgres, Engine::MySql] {
            let spans: Vec<_> = Lexer::new(&sql, engine).map(|(_, s)| s).collect();
            let mut end = 0;
            for span in spans {
                prop_assert_eq!(span.start, end);
                prop_assert!(sql.is_char_boundary(span.start));
                end = span.end;
            }
            prop_assert_eq!(end, sql.len());
            let _ = Text::of(&sql, engine);
        }
    }
}
