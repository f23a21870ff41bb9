//! A workload: the statements of a file, each with the line that it begins on and its sample values.
//!
//! It does not read SQL beyond where a statement ends.

use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};
use serde_json::Value;

use crate::guard;

/// A statement to advise on.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The line of the file that it begins on, from 1; 0 if it is of none.
    pub line: usize,
    /// Its text, with `$1, $2, ...` where values are bound.
    pub sql: String,
    /// Sample values, one for each of `$1, $2, ...`; empty where none were given.
    pub binds: Vec<Value>,
    /// What is wrong with what stands above it.
    pub(crate) wrong: Option<String>,
}

impl Query {
    /// A statement without sample values.
    pub fn new(sql: impl Into<String>) -> Self {
        Self { line: 1, sql: sql.into(), binds: Vec::new(), wrong: None }
    }

    /// One that the program ran, and that has no place in a file.
    pub(crate) fn unplaced(sql: impl Into<String>) -> Self {
        Self { line: 0, ..Self::new(sql) }
    }

    /// With sample values for `$1, $2, ...`.
    #[must_use]
    pub fn binds(mut self, values: Vec<Value>) -> Self {
        self.binds = values;
        self
    }
}

/// Reads the statements of `text`, one per `;`. A comment `-- binds: [..]` before a statement, or in it, has its
/// sample values as a JSON array.
///
/// ```
/// use mainstay_doctor::advice::workload;
/// use mainstay_db::Engine;
///
/// let file = "-- binds: [\"a@example.org\"]\nSELECT id FROM users WHERE email = $1;\nSELECT 1";
/// let queries = workload(file, Engine::Postgres);
/// assert_eq!(queries.len(), 2);
/// assert_eq!((queries[0].line, queries[0].binds.len()), (2, 1));
/// ```
pub fn workload(text: &str, engine: Engine) -> Vec<Query> {
    let mut out = Vec::new();
    let mut query = Query::new("");
    let mut begun = false;
    let mut line = 1;
    for (token, range) in Lexer::new(text, engine) {
        let part = &text[range];
        match token {
            Token::Semicolon => {
                finish(&mut out, std::mem::replace(&mut query, Query::new("")), engine);
                begun = false;
            }
            Token::Comment => binds(part, &mut query),
            Token::Space if !begun => {}
            _ => {
                if !begun {
                    (begun, query.line) = (true, line);
                }
                query.sql += part;
            }
        }
        // A comment to the end of its line has the line's end in it.
        if token == Token::Comment && begun {
            query.sql.push(if part.contains('\n') { '\n' } else { ' ' });
        }
        line += part.matches('\n').count();
    }
    finish(&mut out, query, engine);
    out
}

fn finish(out: &mut Vec<Query>, mut query: Query, engine: Engine) {
    query.sql.truncate(query.sql.trim_end().len());
    if query.sql.is_empty() {
        return;
    }
    let needed = guard::parameters(&query.sql, engine);
    if query.wrong.is_none() && !query.binds.is_empty() && query.binds.len() != needed {
        let given = query.binds.len();
        query.wrong = Some(format!("{given} sample values are given for {needed} placeholders"));
    }
    out.push(query);
}

fn binds(comment: &str, query: &mut Query) {
    let text = comment.trim_start_matches(['-', '#', '/', '*', ' ', '\t']);
    let Some(json) = text.strip_prefix("binds:") else { return };
    match serde_json::from_str::<Vec<Value>>(json.trim_end_matches("*/").trim()) {
        Ok(values) => query.binds = values,
        Err(e) => query.wrong = Some(format!("`binds:` is no JSON array: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_their_lines_and_their_own_values() {
        let file = "\n-- head\nSELECT ';' ; \n-- binds: [1, \"x\"]\nSELECT $1, -- why\n $2;\n\n/* binds: [] */ SELECT 3";
        let all = workload(file, Engine::Postgres);
        let lines: Vec<_> = all.iter().map(|q| (q.line, q.binds.len())).collect();
        assert_eq!(lines, [(3, 0), (5, 2), (8, 0)]);
        assert_eq!(all[1].sql, "SELECT $1, \n $2");
        assert!(all.iter().all(|q| q.wrong.is_none()));
    }

    #[test]
    fn values_that_do_not_fit_are_told() {
        let wrong = |text: &str| workload(text, Engine::Postgres)[0].wrong.clone();
        assert!(wrong("-- binds: [1]\nSELECT $1, $2").unwrap().contains("1 sample values"));
        assert!(wrong("-- binds: 1\nSELECT $1").unwrap().contains("no JSON array"));
        assert_eq!(wrong("SELECT $1"), None);
    }
}
