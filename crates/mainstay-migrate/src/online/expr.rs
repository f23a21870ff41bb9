//! SQL expressions and definitions as texts: which names stand in them, and the same text with other
//! names. It knows tokens, and no grammar.

use std::ops::Range;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};

use super::ground::Column;

/// The tokens that mean something, with their places.
pub(crate) fn tokens(sql: &str, engine: Engine) -> Vec<(Token, Range<usize>)> {
    Lexer::new(sql, engine)
        .filter(|(token, _)| !matches!(token, Token::Space | Token::Comment))
        .collect()
}

/// Whether two names are one to `engine`.
pub(crate) fn same(engine: Engine, a: &str, b: &str) -> bool {
    match engine {
        Engine::Postgres => a == b,
        Engine::Sqlite | Engine::MySql => a.eq_ignore_ascii_case(b),
    }
}

/// What a token names, without quotes and folded as the engine folds; `None` if it can't be a name.
pub(crate) fn name_of(token: Token, text: &str, engine: Engine) -> Option<String> {
    match token {
        Token::Word if engine == Engine::Postgres => Some(text.to_lowercase()),
        Token::Word => Some(text.to_owned()),
        Token::Name => {
            let close = if text.starts_with('[') { ']' } else { text.chars().next()? };
            let inner = text.get(1..)?;
            let inner = inner.strip_suffix(close).unwrap_or(inner);
            Some(inner.replace(&format!("{close}{close}"), &close.to_string()))
        }
        _ => None,
    }
}

/// Whether a name equal to `name` stands in `sql`, whatever it names there.
pub(crate) fn mentions(sql: &str, engine: Engine, name: &str) -> bool {
    tokens(sql, engine).into_iter().any(|(token, range)| {
        name_of(token, &sql[range], engine).is_some_and(|found| same(engine, &found, name))
    })
}

/// `sql` with each name `old` made `new`.
pub(crate) fn renamed(sql: &str, engine: Engine, old: &str, new: &str) -> String {
    let found = tokens(sql, engine).into_iter().filter(|(token, range)| {
        name_of(*token, &sql[range.clone()], engine).is_some_and(|n| same(engine, &n, old))
    });
    replaced(sql, found.map(|(_, range)| (range, engine.quote(new))))
}

/// `sql` with other texts at some places, which are in order.
fn replaced(sql: &str, with: impl IntoIterator<Item = (Range<usize>, String)>) -> String {
    let (mut out, mut at) = (String::with_capacity(sql.len()), 0);
    for (range, text) in with {
        out.push_str(&sql[at..range.start]);
        out.push_str(&text);
        at = range.end;
    }
    out.push_str(&sql[at..]);
    out
}

/// `expr` with `prefix` before each name of a column of the row, as a trigger needs it. A name with a
/// point before it is somebody else's, and so are types and functions.
pub(crate) fn prefixed(expr: &str, engine: Engine, columns: &[Column], prefix: &str) -> String {
    let all = tokens(expr, engine);
    let mut with = Vec::new();
    for (n, (token, range)) in all.iter().enumerate() {
        let Some(name) = name_of(*token, &expr[range.clone()], engine) else { continue };
        let Some(column) = columns.iter().find(|c| same(engine, &c.name, &name)) else { continue };
        let text = |n: usize| all.get(n).map_or("", |(_, range)| &expr[range.clone()]);
        let before = n.checked_sub(1).map_or("", &text);
        let two_before = n.checked_sub(2).map_or("", &text);
        let of_another = before == "." || text(n + 1) == "." || text(n + 1) == "(";
        // `x::date`, `CAST(x AS date)`, `date '2020-01-01'`, `extract(year FROM x)`.
        let a_type = *token == Token::Word
            && (before == ":"
                || before.eq_ignore_ascii_case("as")
                || all.get(n + 1).is_some_and(|(next, _)| *next == Token::String)
                || (before == "(" && two_before.eq_ignore_ascii_case("extract")));
        if !of_another && !a_type {
            with.push((range.clone(), format!("{prefix}{}", engine.quote(&column.name))));
        }
    }
    replaced(expr, with)
}

/// The columns of the row that `expr` names.
pub(crate) fn columns_in<'c>(
    expr: &str,
    engine: Engine,
    columns: &'c [Column],
) -> impl Iterator<Item = &'c Column> {
    let expr = expr.to_owned();
    columns.iter().filter(move |column| mentions(&expr, engine, &column.name))
}

/// Whether it is a plain literal, the same for every row and for ever.
pub(crate) fn is_constant(expr: &str, engine: Engine) -> bool {
    let all = tokens(expr, engine);
    let text =
        |n: usize| all.get(n).map_or("", |(_, range): &(Token, Range<usize>)| &expr[range.clone()]);
    let kinds: Vec<_> = all.iter().map(|(token, _)| *token).collect();
    match kinds.as_slice() {
        [Token::String | Token::Number] => true,
        [Token::Other, Token::Number] => matches!(text(0), "-" | "+"),
        [Token::Word] => ["true", "false"].iter().any(|word| text(0).eq_ignore_ascii_case(word)),
        _ => false,
    }
}

/// Makes sure that `expr` ends where it should: it is put between brackets. Errors: MIG-017.
pub(crate) fn check(expr: &str, engine: Engine, key: &str) -> Result<()> {
    let wrong = |what: &str| {
        Err(Error::new(Code::ExpandPlan, format!("{key} {what}")).why(expr.to_owned()))
    };
    let mut lexer = Lexer::new(expr, engine);
    let mut depth = 0_i32;
    while let Some((token, range)) = lexer.next() {
        if lexer.is_unclosed() {
            return wrong("has a string or a comment that is not closed");
        }
        match (token, &expr[range]) {
            (Token::Semicolon, _) => return wrong("has a `;`: it is one expression"),
            (Token::Comment, _) => return wrong("has a comment"),
            (Token::Param(_) | Token::QuestionMark, _) if engine != Engine::Postgres => {
                return wrong("has a placeholder");
            }
            (Token::Other, "(") => depth += 1,
            (Token::Other, ")") => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return wrong("closes a bracket that is not open");
        }
    }
    if depth == 0 { Ok(()) } else { wrong("leaves a bracket open") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<Column> {
        names.iter().map(|n| Column { name: (*n).to_owned(), ..Column::default() }).collect()
    }

    #[test]
    fn columns_get_their_prefix() {
        let all = columns(&["name", "lower", "date", "Total"]);
        let new = |expr| prefixed(expr, Engine::Postgres, &all, "NEW.");
        assert_eq!(new("lower(NAME) || 'name'"), "lower(NEW.\"name\") || 'name'");
        assert_eq!(new("u.name, total, \"Total\""), "u.name, total, NEW.\"Total\"");
        assert_eq!(new("name::date"), "NEW.\"name\"::date");
        assert_eq!(new("CAST(name AS date)"), "CAST(NEW.\"name\" AS date)");
        let mysql = prefixed("`TOTAL` + total", Engine::MySql, &all, "NEW.");
        assert_eq!(mysql, "NEW.`Total` + NEW.`Total`");
    }

    #[test]
    fn only_literals_are_constant() {
        for (expr, constant) in [
            ("'EUR'", true),
            ("-1.5", true),
            ("TRUE", true),
            ("now()", false),
            ("a", false),
            ("1 + 1", false),
        ] {
            assert_eq!(is_constant(expr, Engine::Postgres), constant, "{expr}");
        }
    }

    #[test]
    fn what_would_end_early_is_refused() {
        for expr in ["1; DROP TABLE t", "1)", "(1", "'a", "a -- b"] {
            assert!(check(expr, Engine::Postgres, "fill").is_err(), "{expr}");
        }
        check("coalesce(a, '(')", Engine::Postgres, "fill").unwrap();
    }

    #[test]
    fn names_are_replaced() {
        let sql = "USING btree (a, \"A\", lower(b)) INCLUDE (a)";
        let new = renamed(sql, Engine::Postgres, "a", "n");
        assert_eq!(new, "USING btree (\"n\", \"A\", lower(b)) INCLUDE (\"n\")");
    }
}
