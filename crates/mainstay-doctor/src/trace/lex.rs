//! SQL of any dialect cut into tokens, for texts whose engine nobody told: what quotes, comments and
//! placeholders look like in all of them at once.
//!
//! `mainstay_db::lex` knows each engine exactly; this one guesses where they differ, and never fails.

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'s> {
    /// A keyword or a plain name.
    Word(&'s str),
    /// A quoted name, without its quotes.
    Name(&'s str),
    /// A string or a number, as it was written.
    Literal(&'s str),
    /// `$3`, `?`, `:name`, `@name`, `%s`; with its number from 1, where it has one.
    Param(&'s str, Option<usize>),
    /// `=`, `<=`, `::` and the like.
    Operator(&'s str),
    Open,
    Close,
    Comma,
    Dot,
    Semicolon,
}

/// The tokens of `sql` with where each begins; comments and spaces are left out.
pub(crate) fn tokens(sql: &str) -> Vec<(usize, Token<'_>)> {
    let bytes = sql.as_bytes();
    let mut out: Vec<(usize, Token<'_>)> = Vec::with_capacity(sql.len() / 4);
    let mut at = 0;
    while at < bytes.len() {
        let (end, token) = next(sql, at, out.last().map(|(_, t)| *t));
        let end = end.max(at + 1);
        // Never within a character.
        let end = (end..=sql.len()).find(|i| sql.is_char_boundary(*i)).unwrap_or(sql.len());
        if let Some(token) = token {
            out.push((at, token));
        }
        at = end;
    }
    out
}

fn next<'s>(sql: &'s str, at: usize, before: Option<Token<'s>>) -> (usize, Option<Token<'s>>) {
    let bytes = sql.as_bytes();
    let peek = |n: usize| bytes.get(at + n).copied().unwrap_or(0);
    let text = |end: usize| sql.get(at..end).unwrap_or_default();
    let run = |from: usize, of: fn(u8) -> bool| {
        from + bytes[from.min(bytes.len())..].iter().take_while(|c| of(**c)).count()
    };
    let until = |from: usize, what: &str| {
        sql.get(from..)
            .and_then(|rest| rest.find(what))
            .map_or(sql.len(), |p| from + p + what.len())
    };
    match peek(0) {
        b'-' if peek(1) == b'-' => (until(at, "\n"), None),
        b'/' if peek(1) == b'*' => (until(at + 2, "*/"), None),
        c if c.is_ascii_whitespace() => (run(at, |c| c.is_ascii_whitespace()), None),
        b'\'' => quoted(sql, at, b'\''),
        b'e' | b'E' | b'n' | b'N' | b'x' | b'X' | b'b' | b'B' if peek(1) == b'\'' => {
            let (end, _) = quoted(sql, at + 1, b'\'');
            (end, Some(Token::Literal(text(end))))
        }
        q @ (b'"' | b'`') => {
            let (end, _) = quoted(sql, at, q);
            (end, Some(Token::Name(sql.get(at + 1..end - 1).unwrap_or_default())))
        }
        b'$' if peek(1).is_ascii_digit() => {
            let end = run(at + 1, |c| c.is_ascii_digit());
            (end, Some(Token::Param(text(end), text(end)[1..].parse().ok())))
        }
        b'$' => dollars(sql, at),
        b'?' => {
            let end = run(at + 1, |c| c.is_ascii_digit());
            (end, Some(Token::Param(text(end), text(end)[1..].parse().ok())))
        }
        b'%' if peek(1) == b's' && !is_word(peek(2)) => (at + 2, Some(Token::Param("%s", None))),
        b':' if peek(1) == b':' => (at + 2, Some(Token::Operator("::"))),
        b':' | b'@' if is_word(peek(1)) || (peek(0) == b':' && peek(1).is_ascii_digit()) => {
            let end = run(at + 1, is_word);
            (end, Some(Token::Param(text(end), None)))
        }
        c if c.is_ascii_digit() => number(sql, at),
        // A sign belongs to the number where no value stands before it.
        b'-' if peek(1).is_ascii_digit()
            && matches!(before, Some(Token::Operator(_) | Token::Open | Token::Comma)) =>
        {
            let (end, _) = number(sql, at + 1);
            (end, Some(Token::Literal(text(end))))
        }
        c if is_word(c) => {
            let end = run(at, |c| is_word(c) || c == b'$');
            (end, Some(Token::Word(text(end))))
        }
        b'[' if matches!(before, Some(Token::Word(w)) if !w.eq_ignore_ascii_case("array"))
            && peek(1).is_ascii_alphabetic() =>
        {
            let end = until(at, "]");
            (end, Some(Token::Name(sql.get(at + 1..end - 1).unwrap_or_default())))
        }
        b'(' | b'[' => (at + 1, Some(Token::Open)),
        b')' | b']' => (at + 1, Some(Token::Close)),
        b',' => (at + 1, Some(Token::Comma)),
        b'.' => (at + 1, Some(Token::Dot)),
        b';' => (at + 1, Some(Token::Semicolon)),
        b'=' | b'<' | b'>' | b'!' => {
            let end = run(at, |c| matches!(c, b'=' | b'<' | b'>' | b'!'));
            (end, Some(Token::Operator(text(end))))
        }
        _ => (at + 1, Some(Token::Operator(text(at + 1)))),
    }
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c >= 0x80
}

fn number(sql: &str, at: usize) -> (usize, Option<Token<'_>>) {
    let bytes = sql.as_bytes();
    let mut end = at;
    while end < bytes.len()
        && (bytes[end].is_ascii_alphanumeric() || matches!(bytes[end], b'.' | b'_'))
    {
        end += 1;
    }
    (end, Some(Token::Literal(&sql[at..end])))
}

/// A doubled quote stands for itself, and so does one behind a backslash, where the string goes on.
fn quoted(sql: &str, at: usize, quote: u8) -> (usize, Option<Token<'_>>) {
    let bytes = sql.as_bytes();
    let mut n = at + 1;
    while n < bytes.len() {
        match bytes[n] {
            b'\\' if quote == b'\'' && bytes.get(n + 1) == Some(&quote) => n += 2,
            c if c == quote && bytes.get(n + 1) == Some(&quote) => n += 2,
            c if c == quote => {
                n += 1;
                return (n, Some(Token::Literal(&sql[at..n])));
            }
            _ => n += 1,
        }
    }
    (sql.len(), Some(Token::Literal(&sql[at..])))
}

fn dollars(sql: &str, at: usize) -> (usize, Option<Token<'_>>) {
    let rest = &sql[at + 1..];
    let tag = rest.bytes().take_while(|c| is_word(*c)).count();
    if rest.as_bytes().get(tag) != Some(&b'$') {
        return (at + 1, Some(Token::Operator("$")));
    }
    let mark = &sql[at..at + tag + 2];
    let end = sql[at + mark.len()..].find(mark).map_or(sql.len(), |p| at + p + 2 * mark.len());
    (end, Some(Token::Literal(&sql[at..end])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &str) -> String {
        let all = tokens(sql);
        all.iter().map(|(_, t)| format!("{t:?}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_dialect_is_cut_as_it_is_meant() {
        assert_eq!(
            text("a=$12 -- $3\n/* ? */"),
            "Word(\"a\") Operator(\"=\") Param(\"$12\", Some(12))"
        );
        assert_eq!(text("`a b`.\"c\""), "Name(\"a b\") Dot Name(\"c\")");
        assert_eq!(text("'it''s; ?'"), "Literal(\"'it''s; ?'\")");
        assert_eq!(text("$x$ ? $x$"), "Literal(\"$x$ ? $x$\")");
        assert_eq!(text("? :id @p1 %s"), {
            "Param(\"?\", None) Param(\":id\", None) Param(\"@p1\", None) Param(\"%s\", None)"
        });
        assert_eq!(text("a = -5"), "Word(\"a\") Operator(\"=\") Literal(\"-5\")");
        assert_eq!(text("$1::bigint"), {
            "Param(\"$1\", Some(1)) Operator(\"::\") Word(\"bigint\")"
        });
    }

    #[test]
    fn nothing_makes_it_fail() {
        for sql in ["'", "\"", "`", "$a$", "/*", "--", "ä'ö", "'\\", "[", "$", "\"ä", ":", "-"] {
            let _ = tokens(sql);
        }
    }
}
