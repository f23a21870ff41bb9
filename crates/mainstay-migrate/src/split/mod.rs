//! Cuts a text of SQL into the statements that are sent one by one, by each engine's rules and with
//! what its command-line client adds: `DELIMITER`, `COPY ... FROM stdin` with its data, psql's
//! commands.
//!
//! It knows only as much grammar as tells which semicolons end a statement: bodies in `BEGIN ...
//! END`, and parentheses on PostgreSQL. It checks nothing else, runs nothing and puts in no
//! variables: what is wrong inside a statement is for the server to say.

mod blocks;
mod body;
mod client;
mod fault;
mod mysql;
mod place;
mod postgres;
mod sqlite;
#[cfg(test)]
mod tests;

use std::ops::Range;

use mainstay_core::Result;
use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};

use blocks::Blocks;
use place::Place;

/// One statement as it would be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// From the first token to the last, without the delimiter; spaces and comments around it stay
    /// out, those inside stay in.
    pub text: String,
    /// Where `text` is in the source.
    pub bytes: Range<usize>,
    /// The line where `text` begins, from 1.
    pub line: usize,
    /// The column where `text` begins, from 1, in characters.
    pub column: usize,
    /// The lines of data after PostgreSQL's `COPY ... FROM stdin`, without the `\.` that ends them.
    pub copy: Option<String>,
}

/// The statements of `sql`, in order.
///
/// An error says where in the text it is, and does not know the file.
pub fn split(sql: &str, engine: Engine) -> Result<Vec<Statement>> {
    Splitter::new(sql, engine).run()
}

struct Splitter<'a> {
    sql: &'a str,
    engine: Engine,
    lexer: Lexer<'a>,
    /// Where the next token begins.
    at: usize,
    /// What `DELIMITER` said, unless that is `;`.
    delimiter: Option<&'a str>,
    /// Where the open statement begins, and where its latest token ends.
    start: Option<usize>,
    end: usize,
    /// Where the comment that MySQL runs, and that is being read, begins.
    executable: Option<usize>,
    blocks: Blocks,
    /// Of the latest statement's beginning, so that each line is counted once.
    place: Place,
    out: Vec<Statement>,
}

impl<'a> Splitter<'a> {
    fn new(sql: &'a str, engine: Engine) -> Self {
        // Windows editors begin a file with a byte order mark; no server wants it.
        let at = if sql.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut lexer = Lexer::new(sql, engine);
        lexer.seek(at);
        Self {
            sql,
            engine,
            lexer,
            at,
            delimiter: None,
            start: None,
            end: at,
            executable: None,
            blocks: Blocks::new(engine),
            place: Place::beginning(at),
            out: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Vec<Statement>> {
        loop {
            if let Some(len) = self.at_delimiter() {
                self.seek(self.at + len);
                self.end()?;
                continue;
            }
            let Some((token, range)) = self.lexer.next() else { return self.finish() };
            if self.lexer.is_unclosed() {
                let rest = &self.sql[range.start..];
                return Err(fault::unclosed(self.place_of(range.start), token, rest));
            }
            self.at = range.end;
            self.token(token, &range)?;
        }
    }

    fn seek(&mut self, at: usize) {
        self.lexer.seek(at);
        self.at = at;
    }

    fn place_of(&self, at: usize) -> Place {
        let mut place = self.place;
        place.forward(self.sql, at);
        place
    }

    fn token(&mut self, token: Token, range: &Range<usize>) -> Result<()> {
        if matches!(token, Token::Space | Token::Comment) {
            return Ok(());
        }
        if token == Token::Semicolon {
            return self.semicolon();
        }
        if matches!(token, Token::Other | Token::Word) && self.client(token, range)? {
            return Ok(());
        }
        let sql = self.sql;
        match self.delimiter {
            None => self.blocks.token(token, &sql[range.clone()], range.start),
            Some(delimiter) if self.executable.is_none() => {
                // A word may hold a `$`, so `END$$` is one to the lexer.
                if let Some(end) = client::cut(sql, range, delimiter) {
                    self.seek(end);
                    self.extend(range.start, end);
                    return Ok(());
                }
            }
            Some(_) => {}
        }
        self.extend(range.start, range.end);
        Ok(())
    }

    fn extend(&mut self, start: usize, end: usize) {
        self.start.get_or_insert(start);
        self.end = end;
    }

    /// The length of the delimiter, where another than `;` comes next.
    fn at_delimiter(&self) -> Option<usize> {
        let delimiter = self.delimiter.filter(|_| self.executable.is_none())?;
        client::begins_with(self.sql.get(self.at..)?, delimiter).then_some(delimiter.len())
    }

    fn semicolon(&mut self) -> Result<()> {
        let ends = self.delimiter.is_none() && self.blocks.semicolon();
        if ends && self.executable.is_none() { self.end() } else { Ok(()) }
    }

    /// Deals with what is more than SQL; says whether the token was that.
    fn client(&mut self, token: Token, range: &Range<usize>) -> Result<bool> {
        let sql = self.sql;
        let text = &sql[range.clone()];
        let first = self.start.is_none();
        match (self.engine, token) {
            (Engine::Postgres, Token::Other) if text == "\\" => self.meta_command(range.start),
            (Engine::Sqlite, Token::Other)
                if first && client::is_dot_command(&sql[range.start..]) =>
            {
                Err(fault::dot_command(self.place_of(range.start), &sql[range.start..]))
            }
            (Engine::MySql, Token::Word) if first && client::is_delimiter(text) => {
                self.delimiter_line(range.start)
            }
            // Longer than a character: a comment that the server runs.
            (Engine::MySql, Token::Other) if text.len() > 1 => {
                self.enter_executable(range);
                Ok(true)
            }
            (Engine::MySql, Token::Other)
                if text == "*"
                    && self.executable.is_some()
                    && sql[range.end..].starts_with('/') =>
            {
                self.executable = None;
                self.seek(range.end + 1);
                self.extend(range.start, range.end + 1);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Goes on inside a comment that the server runs: it may hold strings, comments and the words
    /// that open a body.
    fn enter_executable(&mut self, range: &Range<usize>) {
        if self.executable.is_some() {
            return;
        }
        if let Some(len) = client::executable_opening(&self.sql[range.clone()]) {
            self.executable = Some(range.start);
            self.seek(range.start + len);
            self.extend(range.start, range.start + len);
        }
    }

    fn meta_command(&mut self, at: usize) -> Result<bool> {
        let line = client::line(&self.sql[at..]);
        if self.start.is_some() || !client::is_harmless(line) {
            return Err(fault::meta_command(self.place_of(at), line));
        }
        self.seek(at + line.len());
        Ok(true)
    }

    fn delimiter_line(&mut self, at: usize) -> Result<bool> {
        let sql = self.sql;
        let rest = client::line(&sql[at + client::DELIMITER.len()..]);
        let delimiter =
            client::delimiter(rest).map_err(|why| fault::delimiter(self.place_of(at), why))?;
        self.delimiter = (delimiter != ";").then_some(delimiter);
        self.seek(at + client::DELIMITER.len() + rest.len());
        Ok(true)
    }

    /// Puts the open statement out, if there is one.
    fn end(&mut self) -> Result<()> {
        let copies = self.blocks.copies();
        self.blocks = Blocks::new(self.engine);
        let Some(start) = self.start.take() else { return Ok(()) };
        self.place.forward(self.sql, start);
        let copy = if copies { Some(self.copy_data()?) } else { None };
        self.out.push(Statement {
            text: self.sql[start..self.end].to_owned(),
            bytes: start..self.end,
            line: self.place.line,
            column: self.place.column,
            copy,
        });
        Ok(())
    }

    fn copy_data(&mut self) -> Result<String> {
        let sql = self.sql;
        let rest = client::line(&sql[self.at..]).trim();
        if !rest.is_empty() && !rest.starts_with("--") {
            return Err(fault::copy_line(self.place));
        }
        let Some((data, next)) = client::copy_data(sql, self.at) else {
            return Err(fault::copy_open(self.place));
        };
        self.seek(next);
        Ok(sql[data].to_owned())
    }

    /// The text is over; its last statement needs no delimiter.
    fn finish(mut self) -> Result<Vec<Statement>> {
        if let Some(began) = self.executable {
            let rest = &self.sql[began..];
            return Err(fault::unclosed(self.place_of(began), Token::Comment, rest));
        }
        if let Some(began) = self.blocks.unfinished() {
            let rest = &self.sql[began..];
            return Err(fault::block(self.place_of(began), rest, self.engine));
        }
        self.end()?;
        Ok(self.out)
    }
}
