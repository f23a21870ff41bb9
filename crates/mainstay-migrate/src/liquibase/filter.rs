//! Which change sets are meant: by contexts, labels and databases, as Liquibase tells it.
//!
//! A context's expression stands at the change set and the run names contexts; with labels it is the
//! other way about.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::location::Location;

/// The database that a changelog is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) engine: Engine,
    /// Whether MySQL's engine is MariaDB, which changelogs tell apart.
    pub(crate) mariadb: bool,
}

impl Target {
    /// Liquibase's short name.
    pub(crate) fn name(self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgresql",
            Engine::MySql if self.mariadb => "mariadb",
            Engine::MySql => "mysql",
        }
    }
}

/// Whether a list such as `postgresql, !mysql` means the database of that name.
pub(crate) fn dbms(list: Option<&str>, name: &str) -> bool {
    let words = || list.unwrap_or_default().split(',').map(str::trim).filter(|w| !w.is_empty());
    if words().next().is_none() {
        return true;
    }
    if words().any(|w| w == "none") {
        return false;
    }
    if words().any(|w| w == "all" || w == name) {
        return true;
    }
    let mut others = words().filter_map(|w| w.strip_prefix('!')).map(str::trim).peekable();
    others.peek().is_some() && !others.any(|w| w == name)
}

/// Whether a change set with this expression of contexts runs, with the contexts given; it does
/// where none are given, unless the expression has an `@`.
pub(crate) fn contexts(expression: &str, given: &[String], at: &Location) -> Result<bool> {
    if expression.trim().is_empty() {
        return Ok(true);
    }
    if given.is_empty() && !expression.contains('@') {
        return Ok(true);
    }
    holds(expression, at, &|word| {
        let word = word.strip_prefix('@').unwrap_or(word);
        given.iter().any(|g| g.trim().eq_ignore_ascii_case(word))
    })
}

/// Whether a change set with these labels runs, with the expression of labels given.
pub(crate) fn labels(given: &str, labels: &str, at: &Location) -> Result<bool> {
    let has: Vec<_> = labels.split(',').map(str::trim).filter(|l| !l.is_empty()).collect();
    if given.trim().is_empty() || has.is_empty() {
        return Ok(true);
    }
    holds(given, at, &|word| has.iter().any(|l| l.eq_ignore_ascii_case(word)))
}

/// Refuses an expression that can't be read, whatever is given.
pub(super) fn check(expression: &str, at: &Location) -> Result<()> {
    if expression.trim().is_empty() {
        return Ok(());
    }
    holds(expression, at, &|_| true).map(drop)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Not,
    And,
    /// The word `or`, or a comma.
    Or,
    Word(String),
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    let end = |word: &mut String, tokens: &mut Vec<Token>| {
        let word = std::mem::take(word);
        match word.to_lowercase().as_str() {
            "" => {}
            "and" => tokens.push(Token::And),
            "or" => tokens.push(Token::Or),
            "not" => tokens.push(Token::Not),
            _ => tokens.push(Token::Word(word)),
        }
    };
    for c in expression.chars() {
        let token = match c {
            '(' => Token::Open,
            ')' => Token::Close,
            '!' => Token::Not,
            ',' => Token::Or,
            c if c.is_whitespace() => {
                end(&mut word, &mut tokens);
                continue;
            }
            c => {
                word.push(c);
                continue;
            }
        };
        end(&mut word, &mut tokens);
        tokens.push(token);
    }
    end(&mut word, &mut tokens);
    tokens
}

/// How deep parentheses may nest.
const DEPTH: usize = 64;

fn holds(expression: &str, at: &Location, known: &dyn Fn(&str) -> bool) -> Result<bool> {
    let mut tokens = tokens(expression);
    tokens.reverse();
    let mut parser = Parser { tokens, known, depth: 0 };
    match parser.any() {
        Some(holds) if parser.tokens.is_empty() => Ok(holds),
        _ => Err(at
            .error(format_args!("the expression '{expression}' can't be read"))
            .fix("write names joined by and, or, not, !, commas and parentheses")),
    }
}

/// Reads an expression; what comes next is the last of its tokens.
struct Parser<'a> {
    tokens: Vec<Token>,
    known: &'a dyn Fn(&str) -> bool,
    /// Parentheses that are open.
    depth: usize,
}

impl Parser<'_> {
    fn eat(&mut self, token: &Token) -> bool {
        let next = self.tokens.last() == Some(token);
        if next {
            self.tokens.pop();
        }
        next
    }

    fn any(&mut self) -> Option<bool> {
        let mut holds = self.all()?;
        while self.eat(&Token::Or) {
            holds |= self.all()?;
        }
        Some(holds)
    }

    fn all(&mut self) -> Option<bool> {
        let mut holds = self.one()?;
        while self.eat(&Token::And) {
            holds &= self.one()?;
        }
        Some(holds)
    }

    fn one(&mut self) -> Option<bool> {
        let mut negated = false;
        while self.eat(&Token::Not) {
            negated = !negated;
        }
        let holds = match self.tokens.pop()? {
            Token::Word(word) => (self.known)(&word),
            Token::Open if self.depth < DEPTH => {
                self.depth += 1;
                let holds = self.any()?;
                self.depth -= 1;
                self.eat(&Token::Close).then_some(holds)?
            }
            _ => return None,
        };
        Some(holds != negated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Location {
        Location::new(&"a.sql".into(), 1)
    }

    #[test]
    fn parentheses_nest_so_deep_and_no_deeper() {
        let nested = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
        assert!(check(&nested(DEPTH), &at()).is_ok());
        assert!(check(&nested(DEPTH + 1), &at()).is_err());
        assert!(check(&nested(100_000), &at()).is_err());
    }

    /// What a real Liquibase answered, for the contexts `-`, `a`, `b`, `a,b`, `c` and `a,c`.
    #[test]
    fn contexts_as_a_real_liquibase_tells() {
        let table = [
            ("", "tttttt"),
            ("a", "tt.t.t"),
            ("a,b", "tttt.t"),
            ("a and b", "t..t.."),
            ("a or b", "tttt.t"),
            ("!a", "t.t.t."),
            ("not a", "t.t.t."),
            ("a and !b", "tt...t"),
            ("(a or b) and c", "t....t"),
            ("a and (b or c)", "t..t.t"),
            ("A", "tt.t.t"),
            ("!a and !b", "t...t."),
            ("a, !b", "tt.ttt"),
            ("@a", ".t.t.t"),
            ("!@a", "t.t.t."),
            ("a:b", "t....."),
        ];
        for (expression, want) in table {
            for (given, want) in ["", "a", "b", "a,b", "c", "a,c"].iter().zip(want.chars()) {
                let given: Vec<_> =
                    given.split(',').filter(|g| !g.is_empty()).map(str::to_owned).collect();
                let holds = contexts(expression, &given, &at()).unwrap();
                assert_eq!(holds, want == 't', "{expression} with {given:?}");
            }
        }
    }

    #[test]
    fn labels_as_a_real_liquibase_tells() {
        let given = ["", "a", "b", "a,b", "a and b", "!a", "a or c", "(a and b) or c", "A"];
        for (of_set, want) in [("", "ttttttttt"), ("a", "tt.t..t.t"), ("a,b", "ttttt.ttt")] {
            for (given, want) in given.iter().zip(want.chars()) {
                let holds = labels(given, of_set, &at()).unwrap();
                assert_eq!(holds, want == 't', "{of_set} with {given}");
            }
        }
    }

    #[test]
    fn databases_as_a_real_liquibase_tells() {
        let names = ["postgresql", "mysql", "mariadb"];
        let table = [
            ("postgresql", "t.."),
            ("mysql", ".t."),
            ("!mysql", "t.t"),
            ("all", "ttt"),
            ("none", "..."),
            ("", "ttt"),
            ("postgresql, mysql", "tt."),
            ("POSTGRESQL", "..."),
            ("!mysql,!postgresql", "..t"),
            ("mysql,mariadb", ".tt"),
            ("!none", "ttt"),
            ("all,!mysql", "ttt"),
        ];
        for (list, want) in table {
            for (name, want) in names.iter().zip(want.chars()) {
                assert_eq!(dbms(Some(list), name), want == 't', "{list} on {name}");
            }
        }
        assert!(dbms(None, "sqlite"));
    }

    #[test]
    fn what_can_not_be_read_is_refused() {
        for expression in ["a and", "(a", "a b", ")", "and", "a,,b"] {
            assert!(check(expression, &at()).is_err(), "{expression}");
        }
    }
}
