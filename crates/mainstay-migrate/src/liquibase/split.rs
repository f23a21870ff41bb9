//! Takes SQL of an author's own apart into statements, where Liquibase would.
//!
//! Without a delimiter a statement ends at `;`, and at a line with nothing but `/` or `go`; blocks
//! from `begin` to `end` stay whole. It understands quotes and comments, and nothing else of SQL.

use mainstay_db::Engine;

use super::model::Sql;

/// The statements, without what ended them, and without those that are empty or comments alone.
pub(crate) fn statements(sql: &Sql, engine: Engine) -> Vec<String> {
    let text = sql.text.replace('\r', "");
    let ends = match sql.delimiter.as_deref() {
        _ if !sql.split => Ends::Never,
        None => Ends::Usual,
        Some(delimiter) => Ends::read(delimiter),
    };
    let mut splitter = Splitter {
        rest: &text,
        before: None,
        engine,
        ends,
        strip: sql.strip_comments,
        out: Vec::new(),
        current: String::new(),
        code: false,
        depth: 0,
    };
    splitter.run();
    splitter.out
}

/// What ends a statement.
enum Ends {
    Never,
    Usual,
    Semicolon,
    /// This text, wherever it stands; the flag: only if a line ends after it.
    Text(String, bool),
    /// This word, in any case.
    Word(String),
}

impl Ends {
    /// A delimiter is a pattern to Liquibase: `\n` is a new line, and `\` takes the rest literally.
    fn read(delimiter: &str) -> Self {
        let mut text = String::new();
        let mut chars = delimiter.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') | None => {}
                Some(other) => text.push(other),
            }
        }
        if let Some(line) = text.strip_prefix('\n') {
            let line = line.strip_suffix('$').filter(|l| !l.is_empty()).unwrap_or(line);
            return Self::Text(format!("\n{line}"), true);
        }
        match text.as_str() {
            ";" => Self::Semicolon,
            "/" => Self::Text("\n/".to_owned(), true),
            word if !word.is_empty() && word.chars().all(in_word) => Self::Word(text),
            _ => Self::Text(text, false),
        }
    }
}

struct Splitter<'a> {
    rest: &'a str,
    /// The character before the rest.
    before: Option<char>,
    engine: Engine,
    ends: Ends,
    strip: bool,
    out: Vec<String>,
    current: String,
    /// Whether the current statement is more than comments.
    code: bool,
    /// How many blocks are open.
    depth: usize,
}

impl<'a> Splitter<'a> {
    fn run(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            if let Some(length) = self.end() {
                self.take(length);
                self.finish();
            } else if let Some(length) = comment(self.rest, self.engine) {
                let comment = self.take(length);
                if !self.strip {
                    self.current += comment;
                }
            } else if let Some(length) = quoted(self.rest, self.before, self.engine) {
                self.keep(length);
            } else if in_word(c) {
                let length = self.rest.find(|c| !in_word(c)).unwrap_or(self.rest.len());
                self.block(length);
                self.keep(length);
            } else if c.is_whitespace() {
                let space = self.take(c.len_utf8());
                self.current += space;
            } else {
                self.keep(c.len_utf8());
            }
        }
        self.finish();
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.before = taken.chars().next_back().or(self.before);
        self.rest = rest;
        taken
    }

    fn keep(&mut self, length: usize) {
        let taken = self.take(length);
        self.current += taken;
        self.code = true;
    }

    fn finish(&mut self) {
        let statement = std::mem::take(&mut self.current);
        if std::mem::take(&mut self.code) {
            self.out.push(statement.trim().to_owned());
        }
        self.depth = 0;
    }

    /// How long what ends the statement here is.
    fn end(&self) -> Option<usize> {
        let semicolon = (self.depth == 0 && self.rest.starts_with(';')).then_some(1);
        match &self.ends {
            Ends::Never => None,
            Ends::Semicolon => semicolon,
            Ends::Usual => semicolon.or_else(|| self.line_alone()),
            Ends::Word(word) => {
                let length = self.rest.find(|c| !in_word(c)).unwrap_or(self.rest.len());
                let starts = !self.before.is_some_and(in_word);
                (starts && self.rest[..length].eq_ignore_ascii_case(word)).then_some(length)
            }
            Ends::Text(text, line) => {
                let start = self.rest.get(..text.len())?;
                let after = self.rest[text.len()..].trim_start_matches([' ', '\t']);
                let ends = !line || after.is_empty() || after.starts_with('\n');
                (ends && start.eq_ignore_ascii_case(text)).then_some(text.len())
            }
        }
    }

    /// A line with nothing but `/` or `go`.
    fn line_alone(&self) -> Option<usize> {
        if !matches!(self.before, None | Some('\n')) {
            return None;
        }
        let line = self.rest.split('\n').next()?;
        let word = line.trim_end();
        (word == "/" || word.eq_ignore_ascii_case("go")).then_some(line.len())
    }

    /// Counts the blocks that a word opens or closes.
    fn block(&mut self, length: usize) {
        let next = self.rest[length..].trim_start();
        let next_word = next.split(|c| !in_word(c)).next().unwrap_or_default().to_lowercase();
        match self.rest[..length].to_lowercase().as_str() {
            "begin" => {
                let transaction = next.is_empty()
                    || next.starts_with(';')
                    || matches!(next_word.as_str(), "transaction" | "work" | "tran");
                self.depth += usize::from(!transaction);
            }
            // A case has an end of its own, which must not close the block around it.
            "case" if self.depth > 0 && !self.ends_before() => self.depth += 1,
            "end" if !matches!(next_word.as_str(), "if" | "loop" | "while" | "repeat") => {
                self.depth = self.depth.saturating_sub(1);
            }
            _ => {}
        }
    }

    /// Whether the word before is `end`, as in `end case`.
    fn ends_before(&self) -> bool {
        let before = self.current.trim_end().to_lowercase();
        before.strip_suffix("end").is_some_and(|rest| !rest.ends_with(in_word))
    }
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How long the comment is that begins here.
fn comment(rest: &str, engine: Engine) -> Option<usize> {
    if rest.starts_with("--") || (engine == Engine::MySql && rest.starts_with('#')) {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    // What MySQL runs by its version is no comment.
    if !rest.starts_with("/*") || rest.starts_with("/*!") || rest.starts_with("/*+") {
        return None;
    }
    Some(rest[2..].find("*/").map_or(rest.len(), |end| end + 4))
}

/// How long the quoted text is that begins here, up to the end if nothing closes it.
fn quoted(rest: &str, before: Option<char>, engine: Engine) -> Option<usize> {
    let quote = rest.chars().next()?;
    // A dollar within a name begins no quote.
    if quote == '$' && engine == Engine::Postgres && !before.is_some_and(in_word) {
        let tag = rest[1..].find('$').map(|end| &rest[..end + 2])?;
        if !tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        let body = &rest[tag.len()..];
        return Some(body.find(tag).map_or(rest.len(), |end| tag.len() + end + tag.len()));
    }
    if !matches!(quote, '\'' | '"' | '`') {
        return None;
    }
    let escapes = engine == Engine::MySql && quote != '`';
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((i, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_none_or(|(_, next)| *next != quote) {
                return Some(i + 1);
            }
            chars.next();
        }
    }
    Some(rest.len())
}

#[cfg(test)]
mod tests {
    use super::super::location::Location;
    use super::*;

    fn split(text: &str, delimiter: Option<&str>, strip: bool) -> Vec<String> {
        let at = Location::new(&"a.sql".into(), 1);
        let delimiter = delimiter.map(str::to_owned);
        let sql = Sql { delimiter, strip_comments: strip, ..Sql::new(text, at) };
        statements(&sql, Engine::Postgres)
    }

    /// What a real Liquibase made of these.
    #[test]
    fn statements_as_a_real_liquibase_splits() {
        let table: &[(&str, Option<&str>, &[&str])] = &[
            ("a;b", None, &["a", "b"]),
            ("a; b; ", None, &["a", "b"]),
            ("a\ngo\nb\nGO", None, &["a", "b"]),
            ("a\n/\nb", None, &["a", "b"]),
            ("a\n  go  \nb", None, &["a\n  go  \nb"]),
            ("a go b", None, &["a go b"]),
            ("go", None, &[]),
            ("a ';' ; b", None, &["a ';'", "b"]),
            ("-- x;y\na;", None, &["-- x;y\na"]),
            ("/* ; */ a; b", None, &["/* ; */ a", "b"]),
            ("select \"x;y\"; b", None, &["select \"x;y\"", "b"]),
            ("select 'it''s;'; b", None, &["select 'it''s;'", "b"]),
            ("select `a;b`; c", None, &["select `a;b`", "c"]),
            ("BEGIN a; b; END; c", None, &["BEGIN a; b; END", "c"]),
            (
                "create trigger x begin a; b; end; c",
                None,
                &["create trigger x begin a; b; end", "c"],
            ),
            ("BEGIN TRANSACTION; a; COMMIT", None, &["BEGIN TRANSACTION", "a", "COMMIT"]),
            ("select case when x then y end; b", None, &["select case when x then y end", "b"]),
            ("DO $$ BEGIN a; END $$; b", None, &["DO $$ BEGIN a; END $$", "b"]),
            ("a//b//", Some("//"), &["a", "b"]),
            ("a\n/\nb\n/", Some("/"), &["a", "b"]),
            ("a/b/", Some("/"), &["a/b/"]),
            ("a\n/\nb\n/", Some("\\n/"), &["a", "b"]),
            ("a GO\nb", Some("GO"), &["a", "b"]),
            ("aENDb", Some("END"), &["aENDb"]),
            ("a\ngo\n", Some(";"), &["a\ngo"]),
            ("a;;\nb;;", Some(";;"), &["a", "b"]),
            ("a\n$$\nb", Some("$$"), &["a", "b"]),
            ("a |\nb|", Some("|"), &["a", "b"]),
            ("a END$$ b$$", Some("$$"), &["a END", "b"]),
        ];
        for &(text, delimiter, want) in table {
            assert_eq!(split(text, delimiter, false), want, "{text}");
        }
        assert_eq!(split("-- x;y\na; -- tail\nb /* c */", None, true), ["a", "b"]);
    }

    #[test]
    fn blocks_stay_whole() {
        let text = "create procedure p()\nbegin\n if x then case y when 1 then z; end case; end if;\n \
                    select case when a then b end;\nend;\nnext;";
        let statements = split(text, None, false);
        assert_eq!(statements.len(), 2, "{statements:?}");
        assert_eq!(split("begin; a; commit;", None, false), ["begin", "a", "commit"]);
        assert_eq!(split("a; -- only a comment", None, false), ["a"]);
    }

    #[test]
    fn what_is_not_to_be_split_stays_whole() {
        let at = Location::new(&"a.sql".into(), 1);
        let sql = Sql { split: false, ..Sql::new(" a; b;\n", at) };
        assert_eq!(statements(&sql, Engine::Sqlite), ["a; b;"]);
    }
}
