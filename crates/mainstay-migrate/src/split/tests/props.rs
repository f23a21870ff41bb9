//! What holds for any text: it ends, the pieces are where they say, and nothing is lost between.

use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};
use proptest::prelude::*;
use proptest::sample::select;

use super::{ENGINES, split};

/// Characters that mean something, any characters, and words that mean something.
const ANY: &str = "[a$0-9'\"`\\\\/*#?!;.()\\[\\]\r\n -]{0,80}|\\PC{0,40}|\
                   (DELIMITER|COPY|FROM|stdin|[;$\n .\\\\]){0,20}";

/// Pieces of statements, each complete in itself.
fn fragments(engine: Engine) -> Vec<&'static str> {
    let mut all = vec![
        "'a;''b'",
        "/* ;' */",
        "-- it's;\n",
        "begin",
        "end",
        "t.case",
        "(a)",
        "1.5",
        "é",
        "=",
        "$1",
        "CASE WHEN a THEN b END",
        "IF(a, b, c)",
    ];
    all.extend(match engine {
        Engine::Postgres => [
            "$$;'$$",
            "$a$ $b$; $a$",
            "e'it\\'s;'",
            "'\\'",
            "/* /* ; */ ; */",
            "(a; 'b;')",
            "a$b",
            "\"c;\"\"d\"",
        ],
        Engine::MySql => [
            "'it\\'s;'",
            "\"a;\"\"b\"",
            "`c;``d`",
            "# it's;\n",
            "2--1",
            "/*!50000 a; ';' */",
            "/*+ b; */",
            "@end",
        ],
        Engine::Sqlite => ["[a;'b]", "`c;``d`", "\"e;\"\"f\"", "'\\'", "?", ":a", "@b", "x'1f'"],
    });
    all
}

/// Pieces of a file, which may or may not fit together.
fn pieces(engine: Engine) -> Vec<&'static str> {
    let mut all = fragments(engine);
    all.extend([";", ";\n", "\n", " ", "SELECT", "CREATE TRIGGER t ", "BEGIN ", "END;", "END"]);
    all.extend(match engine {
        Engine::Postgres => [
            ";\n\\echo it's\n",
            ";\nCOPY a FROM stdin;\n1;'\t2\n\\.\n",
            "CREATE FUNCTION f() ",
            "BEGIN ATOMIC ",
            "(",
            ")",
        ],
        Engine::MySql => [
            ";\nDELIMITER //\n",
            "//\nDELIMITER ;\n",
            "//",
            "FOR EACH ROW ",
            "IF a THEN ",
            "END IF;",
        ],
        Engine::Sqlite => ["INSERT ON a ", "END;", ";;", "\t", "(", ")"],
    });
    all
}

fn engine() -> impl Strategy<Value = Engine> {
    select(ENGINES.to_vec())
}

/// A file of random pieces.
fn file() -> impl Strategy<Value = (Engine, String)> {
    engine().prop_flat_map(|engine| {
        let pieces = prop::collection::vec(select(pieces(engine)), 0..24);
        (Just(engine), pieces.prop_map(|pieces| pieces.join(" ")))
    })
}

/// Statements, none of which ends with a comment.
fn statements() -> impl Strategy<Value = (Engine, Vec<String>)> {
    engine().prop_flat_map(|engine| {
        let parts = prop::collection::vec(select(fragments(engine)), 0..8);
        let one = parts.prop_map(|parts| format!("SELECT {} x", parts.join(" ")));
        (Just(engine), prop::collection::vec(one, 0..8))
    })
}

/// Whether `gap`, what is between two statements, holds nothing that a server should have got.
fn is_empty(gap: &str, engine: Engine, copy: Option<&str>) -> bool {
    let gap = gap.replacen(copy.unwrap_or_default(), "", 1).replace("//\n", "\n");
    let client = |line: &str| {
        let line = line.trim_start();
        match engine {
            Engine::Postgres => line.starts_with('\\'),
            Engine::MySql => line.starts_with("DELIMITER"),
            Engine::Sqlite => false,
        }
    };
    let sql: String = gap.split_inclusive('\n').filter(|line| !client(line)).collect();
    let sql = sql.replace("//", "");
    Lexer::new(&sql, engine)
        .all(|(token, _)| matches!(token, Token::Space | Token::Comment | Token::Semicolon))
}

proptest! {
    #[test]
    fn any_text_ends(sql in ANY) {
        for engine in ENGINES {
            for statement in split(&sql, engine).unwrap_or_default() {
                prop_assert_eq!(&sql[statement.bytes.clone()], &statement.text);
                prop_assert_eq!(statement.text.trim_ascii(), &statement.text);
                prop_assert!(!statement.text.is_empty());
            }
        }
    }

    #[test]
    fn what_was_joined_comes_apart((engine, statements) in statements()) {
        let found = split(&statements.join(";\n"), engine).unwrap();
        let texts: Vec<_> = found.into_iter().map(|s| s.text).collect();
        prop_assert_eq!(texts, statements);
    }

    #[test]
    fn nothing_is_lost_between((engine, sql) in file()) {
        let mut end = 0;
        let mut copy: Option<String> = None;
        if let Ok(statements) = split(&sql, engine) {
            for s in statements {
                prop_assert!(end <= s.bytes.start && s.bytes.start < s.bytes.end);
                let gap = &sql[end..s.bytes.start];
                prop_assert!(is_empty(gap, engine, copy.as_deref()), "{gap:?} in {sql:?}");
                (end, copy) = (s.bytes.end, s.copy);
            }
            let gap = &sql[end..];
            prop_assert!(is_empty(gap, engine, copy.as_deref()), "{gap:?} in {sql:?}");
        }
    }

    #[test]
    fn places_agree_with_a_plain_count((engine, sql) in file()) {
        for s in split(&sql, engine).unwrap_or_default() {
            let before = &sql[..s.bytes.start];
            let line = before.rsplit('\n').next().unwrap_or_default();
            prop_assert_eq!(s.line, before.matches('\n').count() + 1);
            prop_assert_eq!(s.column, line.chars().count() + 1);
        }
    }

    #[test]
    fn line_ends_make_no_difference((engine, sql) in file()) {
        let unix = |text: &str| text.replace("\r\n", "\n");
        let windows = split(&sql.replace('\n', "\r\n"), engine);
        match (split(&sql, engine), windows) {
            (Ok(a), Ok(b)) => {
                prop_assert_eq!(a.len(), b.len());
                for (a, b) in a.into_iter().zip(b) {
                    prop_assert_eq!(a.text, unix(&b.text));
                    prop_assert_eq!((a.line, a.column), (b.line, b.column));
                    prop_assert_eq!(a.copy, b.copy.map(|copy| unix(&copy)));
                }
            }
            (Err(a), Err(b)) => prop_assert_eq!(a.what(), b.what()),
            (a, b) => prop_assert!(false, "{a:?} {b:?}"),
        }
    }
}
