//! The statement's own text, cut where something is put in or left out: what is not touched reaches the shards as it was
//! written, hints and all.

use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};

/// Where the clauses of the outermost SELECT begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) from: usize,
    pub(crate) order: Option<usize>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: Option<usize>,
    pub(crate) end: usize,
}

/// Finds them. A word within parentheses is another's; the last LIMIT and OFFSET are the clauses, since no name comes after.
pub(crate) fn marks(sql: &str, engine: Engine) -> Option<Marks> {
    let mut marks = Marks::default();
    let (mut depth, mut from, mut last) = (0_i32, None, "");
    for (token, at) in Lexer::new(sql, engine) {
        let text = &sql[at.clone()];
        match (token, text) {
            (Token::Other, "(") => depth += 1,
            (Token::Other, ")") => depth -= 1,
            (Token::Word, word) if depth == 0 => {
                let is = |other: &str| word.eq_ignore_ascii_case(other);
                if is("FROM") && from.is_none() && !last.eq_ignore_ascii_case("DISTINCT") {
                    from = Some(at.start);
                } else if is("ORDER") {
                    marks.order = Some(at.start);
                } else if is("LIMIT") {
                    marks.limit = Some(at.start);
                } else if is("OFFSET") {
                    marks.offset = Some(at.start);
                }
            }
            _ => {}
        }
        if !matches!(token, Token::Space | Token::Comment | Token::Semicolon) {
            marks.end = at.end;
            last = text;
        }
    }
    marks.from = from?;
    Some(marks)
}

/// Where a value of the new text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The value bound at this place, from 0.
    Bound(usize),
    /// How many rows each shard is to give.
    Rows,
}

/// The highest of `$1, $2, ...`.
pub(crate) fn bound(sql: &str, engine: Engine) -> usize {
    let params = Lexer::new(sql, engine).filter_map(|(token, _)| match token {
        Token::Param(n) => Some(n),
        _ => None,
    });
    params.max().unwrap_or_default()
}

/// Numbers the values anew, since some may be gone; above `bound` it is how many rows each shard is to give.
pub(crate) fn renumbered(sql: &str, engine: Engine, bound: usize) -> (String, Vec<Source>) {
    let (mut out, mut sources) = (String::with_capacity(sql.len()), Vec::new());
    for (token, at) in Lexer::new(sql, engine) {
        let Token::Param(n) = token else {
            out += &sql[at];
            continue;
        };
        let source = if n > bound { Source::Rows } else { Source::Bound(n.saturating_sub(1)) };
        let place = sources.iter().position(|s| *s == source).unwrap_or_else(|| {
            sources.push(source);
            sources.len() - 1
        });
        out += &format!("${}", place + 1);
    }
    (out, sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_are_found_outside_parentheses_and_texts() {
        let sql = "WITH x AS (SELECT 1 FROM y LIMIT 1) SELECT a IS DISTINCT FROM b, ' FROM ', \
            (SELECT c FROM d ORDER BY e) FROM x ORDER BY 1 LIMIT 5 OFFSET 2 ; -- LIMIT";
        let marks = marks(sql, Engine::Postgres).unwrap();
        assert!(sql[marks.from..].starts_with("FROM x ORDER"));
        assert!(sql[marks.order.unwrap()..].starts_with("ORDER BY 1"));
        assert!(sql[marks.limit.unwrap()..].starts_with("LIMIT 5"));
        assert!(sql[marks.offset.unwrap()..].starts_with("OFFSET 2"));
        assert!(sql[..marks.end].ends_with("OFFSET 2"));
    }

    #[test]
    fn values_are_numbered_by_their_first_use() {
        let (sql, sources) = renumbered("a = $3 OR b = $1 AND c = $3 LIMIT $4", Engine::Sqlite, 3);
        assert_eq!(sql, "a = $1 OR b = $2 AND c = $1 LIMIT $3");
        assert_eq!(sources, [Source::Bound(2), Source::Bound(0), Source::Rows]);
    }
}
