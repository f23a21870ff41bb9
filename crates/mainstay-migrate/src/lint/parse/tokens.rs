//! A cursor over the words of a statement. It knows brackets and names, and no grammar.

use std::ops::Range;

use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};

/// A token with its text; white space and comments are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tok<'a> {
    pub(crate) kind: Token,
    pub(crate) text: &'a str,
    /// Where it begins in the statement.
    pub(crate) start: usize,
}

impl Tok<'_> {
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(crate) fn is(&self, word: &str) -> bool {
        self.kind == Token::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(crate) fn is_char(&self, c: char) -> bool {
        self.kind == Token::Other && self.text.chars().eq([c])
    }

    fn is_name(&self) -> bool {
        matches!(self.kind, Token::Word | Token::Name)
    }

    /// Upper case, for a `match`; empty for what is no word.
    pub(crate) fn keyword(&self) -> String {
        if self.kind == Token::Word { self.text.to_ascii_uppercase() } else { String::new() }
    }
}

/// The tokens that mean something.
pub(crate) fn significant(sql: &str, engine: Engine) -> Vec<Tok<'_>> {
    Lexer::new(sql, engine)
        .filter(|(kind, _)| !matches!(kind, Token::Space | Token::Comment))
        .map(|(kind, range)| Tok { kind, start: range.start, text: sql.get(range).unwrap_or("") })
        .collect()
}

/// A name of a table, a column, an index, possibly qualified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// As it is written, quotes included: for SQL that is proposed.
    pub(crate) raw: String,
    /// As the engine understands it: without quotes, and folded where the engine folds.
    pub(crate) real: String,
    /// Without quotes and in lower case: for comparing.
    pub(crate) key: String,
}

impl Name {
    pub(crate) fn of(raw: &str) -> Self {
        let real = unquoted(raw);
        Name { raw: raw.to_owned(), key: real.to_lowercase(), real }
    }

    /// The schema as it is written, if one is.
    pub(crate) fn schema(&self) -> Option<&str> {
        let (mut close, mut dot) = (None, None);
        for (n, c) in self.raw.char_indices() {
            match (close, c) {
                (Some(end), c) if c == end => close = None,
                (None, '"' | '`') => close = Some(c),
                (None, '[') => close = Some(']'),
                (None, '.') => dot = Some(n),
                _ => {}
            }
        }
        dot.and_then(|n| self.raw.get(..n))
    }

    /// For comparing tables: the schemas that a name without one is looked for in are left out.
    pub(crate) fn place(&self) -> &str {
        let key = self.key.as_str();
        key.strip_prefix("public.").or(key.strip_prefix("main.")).unwrap_or(key)
    }

    /// The last part, for comparing.
    pub(crate) fn bare(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or(&self.key)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.raw)
    }
}

/// What tokens span in their statement; nothing for none.
pub(crate) fn span(tokens: &[Tok<'_>]) -> Range<usize> {
    match tokens {
        [first, .., last] => first.start..last.end(),
        [one] => one.start..one.end(),
        [] => 0..0,
    }
}

/// A name or a string without its quotes.
pub(crate) fn unquoted(text: &str) -> String {
    let close = match text.chars().next() {
        Some('[') => ']',
        Some(quote @ ('"' | '`' | '\'')) => quote,
        _ => return text.to_owned(),
    };
    let inner = text.get(1..).unwrap_or("");
    let inner = inner.strip_suffix(close).unwrap_or(inner);
    inner.replace(&format!("{close}{close}"), &close.to_string())
}

/// Reads tokens one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    tokens: &'a [Tok<'a>],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [Tok<'a>]) -> Self {
        Cursor { tokens, at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<Tok<'a>> {
        self.tokens.get(self.at).copied()
    }

    pub(crate) fn take(&mut self) -> Option<Tok<'a>> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    pub(crate) fn rest(&self) -> &'a [Tok<'a>] {
        self.tokens.get(self.at..).unwrap_or(&[])
    }

    pub(crate) fn looking_at(&self, words: &str) -> bool {
        starts_with(self.rest(), words)
    }

    /// Passes `words`, which are separated by a space, if all of them follow.
    pub(crate) fn eat(&mut self, words: &str) -> bool {
        let found = self.looking_at(words);
        if found {
            self.at += words.split(' ').count();
        }
        found
    }

    pub(crate) fn eat_char(&mut self, c: char) -> bool {
        let found = self.peek().is_some_and(|token| token.is_char(c));
        self.at += usize::from(found);
        found
    }

    /// A name with its qualifiers.
    pub(crate) fn name(&mut self, engine: Engine) -> Option<Name> {
        let mut name: Option<Name> = None;
        loop {
            let token = self.peek().filter(Tok::is_name)?;
            self.at += 1;
            let mut real = unquoted(token.text);
            if token.kind == Token::Word && engine == Engine::Postgres {
                real = real.to_lowercase();
            }
            let (raw, real) = match name {
                Some(before) => {
                    (format!("{}.{}", before.raw, token.text), format!("{}.{real}", before.real))
                }
                None => (token.text.to_owned(), real),
            };
            let key = real.to_lowercase();
            let read = Name { raw, real, key };
            if !self.eat_char('.') {
                return Some(read);
            }
            name = Some(read);
        }
    }

    /// Names with commas between them.
    pub(crate) fn names(&mut self, engine: Engine) -> Vec<Name> {
        let mut names = Vec::new();
        while let Some(name) = self.name(engine) {
            names.push(name);
            self.eat_char('*');
            if !self.eat_char(',') {
                break;
            }
        }
        names
    }

    /// What is between the bracket that is next and the one that closes it; passes both.
    pub(crate) fn group(&mut self) -> Option<&'a [Tok<'a>]> {
        self.peek().filter(|token| token.is_char('('))?;
        let start = self.at + 1;
        let mut depth = 0_usize;
        for (n, token) in self.rest().iter().enumerate() {
            depth += usize::from(token.is_char('('));
            depth -= usize::from(token.is_char(')')).min(depth);
            if depth == 0 {
                let end = start + n - 1;
                self.at = end + 1;
                return self.tokens.get(start..end);
            }
        }
        self.at = self.tokens.len();
        self.tokens.get(start..)
    }

    /// Goes past the next `words` that stand outside brackets; stays where there are none.
    pub(crate) fn skip_past(&mut self, words: &str) -> bool {
        let found = position(self.rest(), words);
        if let Some(found) = found {
            self.at += found + words.split(' ').count();
        }
        found.is_some()
    }
}

fn starts_with(tokens: &[Tok<'_>], words: &str) -> bool {
    let mut tokens = tokens.iter();
    words.split(' ').all(|word| tokens.next().is_some_and(|token| token.is(word)))
}

/// Where `words` stand outside brackets.
pub(crate) fn position(tokens: &[Tok<'_>], words: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (n, token) in tokens.iter().enumerate() {
        depth += usize::from(token.is_char('('));
        depth -= usize::from(token.is_char(')')).min(depth);
        if depth == 0 && tokens.get(n..).is_some_and(|rest| starts_with(rest, words)) {
            return Some(n);
        }
    }
    None
}

pub(crate) fn contains(tokens: &[Tok<'_>], words: &str) -> bool {
    position(tokens, words).is_some()
}

/// The parts between the commas that stand outside brackets.
pub(crate) fn items<'a>(tokens: &'a [Tok<'a>]) -> Vec<&'a [Tok<'a>]> {
    let mut depth = 0_usize;
    let parts = tokens.split(|token| {
        depth += usize::from(token.is_char('(') || token.is_char('['));
        depth -= usize::from(token.is_char(')') || token.is_char(']')).min(depth);
        depth == 0 && token.is_char(',')
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// The text in one spelling: lower case, and a space only between words.
pub(crate) fn joined(tokens: &[Tok<'_>]) -> String {
    let mut out = String::new();
    for token in tokens {
        let wordy = !matches!(token.kind, Token::Other);
        let after = out.chars().next_back();
        if wordy && after.is_some_and(|c| !matches!(c, '(' | ',' | '.' | '[' | ':' | '-')) {
            out.push(' ');
        }
        match token.kind {
            Token::Word => out += &token.text.to_ascii_lowercase(),
            _ => out += token.text,
        }
    }
    out
}
