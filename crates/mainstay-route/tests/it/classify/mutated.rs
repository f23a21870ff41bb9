//! Texts that nobody would write.

use mainstay_db::Engine;
use mainstay_route::{Where, classify};
use proptest::prelude::*;

use super::labelled::corpus;

const ENGINES: [Engine; 2] = [Engine::Postgres, Engine::MySql];

/// What is put into a text, or a part of it replaced by.
const PIECES: &[&str] = &[
    "'",
    "\"",
    "`",
    "\\",
    "$$",
    "$a$",
    "/*",
    "*/",
    "/*!",
    "--",
    "-- ",
    "#",
    "\n",
    ";",
    "(",
    ")",
    "[",
    "]",
    "::",
    "@",
    ":=",
    ",",
    ".",
    "\0",
    "é",
    "\u{a0}",
    "FOR UPDATE",
    "INTO",
    "$1",
    "?",
    "E'",
    "U&\"",
    "SELECT",
    "AS",
    "WITH",
    "OVER",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_text_makes_it_panic(sql in "\\PC{0,80}|[-a-z0-9'\"`$/*!#;()@:=, \\n\\\\]{0,120}") {
        for engine in ENGINES {
            let _ = classify(&sql, engine);
        }
    }

    #[test]
    fn no_mutation_makes_it_panic(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..PIECES.len(), 0..6_usize), 1..6),
    ) {
        for engine in ENGINES {
            let all = corpus(engine);
            let mut sql: Vec<char> = which.get(&all).sql.chars().collect();
            for (at, piece, removed) in &edits {
                let at = at.index(sql.len() + 1);
                let end = (at + removed).min(sql.len());
                sql.splice(at..end, PIECES[*piece].chars());
            }
            let _ = classify(&sql.iter().collect::<String>(), engine);
        }
    }

    /// However a write is put before a read, or behind it, all of it is the primary's.
    #[test]
    fn a_read_beside_a_write_is_none(
        read in any::<prop::sample::Index>(),
        write in any::<prop::sample::Index>(),
        between in prop::sample::select(vec![";", " ; ", ";\n", "; /* a */ ", ";\n-- a\n"]),
    ) {
        for engine in ENGINES {
            let all = corpus(engine);
            let (reads, writes): (Vec<_>, Vec<_>) =
                all.iter().filter(|one| one.to == Where::Replica || one.note == "write")
                    .partition(|one| one.to == Where::Replica);
            let (read, write) = (&read.get(&reads).sql, &write.get(&writes).sql);
            // A comment up to the end of the line must not take the rest with it.
            for sql in [format!("{write}{between}{read}"), format!("{read}\n{between}{write}")] {
                let decision = classify(&sql, engine);
                prop_assert_eq!(decision.to, Where::Primary, "{}", sql);
            }
        }
    }

    /// A write in the place of an expression makes a read none, whatever the rest is.
    #[test]
    fn a_call_that_writes_is_found_in_every_place(which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        for (engine, call) in [(Engine::Postgres, "nextval('invoices')"), (Engine::MySql, "audit('x')")] {
            let all = corpus(engine);
            let reads: Vec<_> = all.iter().filter(|one| one.to == Where::Replica).collect();
            let sql = &which.get(&reads).sql;
            let numbers: Vec<usize> = sql
                .char_indices()
                .filter(|(at, c)| *c == '1' && alone(sql, *at))
                .map(|(at, _)| at)
                .collect();
            if numbers.is_empty() {
                continue;
            }
            let at = *at.get(&numbers);
            let changed = format!("{}{call}{}", &sql[..at], &sql[at + 1..]);
            // In a string or a comment it is no call.
            if classify(sql, engine).to == Where::Replica && in_code(&changed, at, engine) {
                prop_assert_eq!(classify(&changed, engine).to, Where::Primary, "{}", changed);
            }
        }
    }
}

fn alone(sql: &str, at: usize) -> bool {
    let other = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || "$._".contains(c));
    other(sql[..at].chars().next_back()) && other(sql[at + 1..].chars().next())
}

fn in_code(sql: &str, at: usize, engine: Engine) -> bool {
    mainstay_db::lex::Lexer::new(sql, engine)
        .any(|(token, span)| span.start == at && token == mainstay_db::lex::Token::Word)
}

/// Texts that would be left by a recursion too deep, or looked through for ever, on a small stack.
#[test]
fn deep_and_long_texts_end() {
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let looked = small.spawn(|| {
        for engine in ENGINES {
            for (open, inner, close) in [
                ("(", "1", ")"),
                ("lower(", "1", ")"),
                ("(SELECT ", "1", ")"),
                ("CASE WHEN 1 = 1 THEN ", "1", " END"),
                ("CAST(", "1", " AS int)"),
                ("ARRAY[", "1", "]"),
                ("NOT ", "true", ""),
                ("- ", "1", ""),
                ("", "1", " + 1"),
                ("", "1", " AND 1"),
                ("", "1", " IS NULL"),
                ("", "1", "::int"),
                ("", "1", " UNION SELECT 1"),
                ("", "1", " IN (1)"),
                ("1 + (", "1", ")"),
                ("1 = ANY(", "1", ")"),
                ("EXISTS(SELECT * FROM (", "SELECT 1", ") x)"),
                ("", "a", " -> 'a'"),
                ("", "a", "[1]"),
                ("x BETWEEN 1 AND ", "1", ""),
                ("interval ", "'1'", ""),
                ("f(a => ", "1", ")"),
            ] {
                for n in [10, 25, 48, 100, 400, 1000, 30_000] {
                    let sql = format!("SELECT {}{inner}{}", open.repeat(n), close.repeat(n));
                    let _ = classify(&sql, engine);
                    let from =
                        format!("SELECT * FROM {}{inner}{}", open.repeat(n), close.repeat(n));
                    let _ = classify(&from, engine);
                }
            }
        }
    });
    looked.unwrap().join().unwrap();
}

#[test]
fn a_long_list_is_still_a_read() {
    let numbers = (0..5000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT * FROM users WHERE id IN ({numbers})");
    assert_eq!(classify(&sql, Engine::Postgres).to, Where::Replica);
    assert_eq!(classify(&sql.repeat(4), Engine::Postgres).to, Where::Primary);
}
