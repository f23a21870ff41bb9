//! The text of a CREATE TABLE of SQLite's, cut into its columns and constraints and changed in place:
//! what is not to be changed stays as its author wrote it, comments included.

use std::ops::Range;

use mainstay_db::Engine;
use mainstay_db::lex::Token;

use super::Edit;
use crate::online::expr::{mentions, name_of, same, tokens};

const SQLITE: Engine = Engine::Sqlite;
/// What a constraint of the table begins with; anything else begins with a column's name.
const CONSTRAINTS: [&str; 5] = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];

/// A definition, in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Definition {
    items: Vec<String>,
    /// What follows the closing bracket.
    options: String,
}

impl Definition {
    /// `None` for a virtual table and for what is none.
    pub(crate) fn parse(sql: &str) -> Option<Self> {
        let all = tokens(sql, SQLITE);
        let word = |n: usize, word: &str| {
            all.get(n).is_some_and(|(_, range)| sql[range.clone()].eq_ignore_ascii_case(word))
        };
        if !word(0, "CREATE") || !word(1, "TABLE") {
            return None;
        }
        let (mut depth, mut items, mut from) = (0_usize, Vec::new(), None);
        for (token, range) in &all {
            let text = if *token == Token::Other { &sql[range.clone()] } else { "" };
            match text {
                "(" => {
                    depth += 1;
                    if depth == 1 && from.is_none() {
                        from = Some(range.end);
                    }
                }
                "," if depth == 1 => {
                    items.push(sql[from?..range.start].to_owned());
                    from = Some(range.end);
                }
                ")" => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        items.push(sql[from?..range.start].to_owned());
                        let options = sql[range.end..].to_owned();
                        return Some(Self { items, options });
                    }
                }
                _ => {}
            }
        }
        None
    }

    pub(crate) fn without_rowid(&self) -> bool {
        tokens(&self.options, SQLITE)
            .iter()
            .any(|(_, range)| self.options[range.clone()].eq_ignore_ascii_case("WITHOUT"))
    }

    /// Whether it has AUTOINCREMENT.
    pub(crate) fn is_numbered(&self) -> bool {
        self.items.iter().any(|item| words(item).iter().any(|w| w == "AUTOINCREMENT"))
    }

    /// What the column is compared by, where it says so.
    pub(crate) fn collation(&self, column: &str) -> Option<String> {
        let item = self.items.iter().find(|item| is(item, column))?;
        let (mut depth, mut named) = (0_usize, false);
        for (token, range) in tokens(item, SQLITE) {
            let text = &item[range];
            if named {
                return name_of(token, text, SQLITE);
            }
            match (token, text) {
                (Token::Other, "(") => depth += 1,
                (Token::Other, ")") => depth = depth.saturating_sub(1),
                (Token::Word, word) => named = depth == 0 && word.eq_ignore_ascii_case("COLLATE"),
                _ => {}
            }
        }
        None
    }

    /// What in it uses `column`: its own UNIQUE, CHECK, REFERENCES and ON CONFLICT, which no other
    /// column takes over, and whatever else names it.
    pub(crate) fn users(&self, column: &str) -> Vec<String> {
        let mut found = Vec::new();
        for item in &self.items {
            match column_of(item) {
                Some(name) if same(SQLITE, &name, column) => {
                    let own = words(item);
                    let uses = [
                        ("UNIQUE", "UNIQUE"),
                        ("CHECK", "CHECK"),
                        ("REFERENCES", "REFERENCES"),
                        ("CONFLICT", "ON CONFLICT"),
                    ];
                    let used = uses.iter().filter(|(w, _)| own.iter().skip(1).any(|o| o == w));
                    found.extend(used.map(|(_, shown)| format!("{shown} in its definition")));
                }
                _ if mentions(item, SQLITE, column) => found.push(item.trim().to_owned()),
                _ => {}
            }
        }
        found
    }

    /// With these changes.
    pub(crate) fn edited(mut self, edits: &[Edit]) -> Self {
        // Renamed last, so that every edit names a column as it is called now.
        let renames = |edit: &&Edit| matches!(edit, Edit::Rename(..));
        let ordered = edits.iter().filter(|e| !renames(e)).chain(edits.iter().filter(renames));
        for edit in ordered {
            match edit {
                Edit::Drop(column) => self.items.retain(|item| !is(item, column)),
                Edit::NotNull(column) => self.change(column, not_null),
                Edit::Default(column, default) => {
                    self.change(column, |item| append(item, &format!(" DEFAULT {default}")));
                }
                Edit::Nullable(column) => self.change(column, nullable),
                Edit::Rename(from, to) => self.change(from, |item| renamed(item, to)),
                Edit::Constraint(sql) => self.items.push(format!(" {sql}")),
            }
        }
        self
    }

    fn change(&mut self, column: &str, change: impl Fn(&str) -> String) {
        for item in &mut self.items {
            if is(item, column) {
                *item = change(item);
            }
        }
    }

    /// As a statement that makes `name`, which is quoted.
    pub(crate) fn sql(&self, name: &str) -> String {
        // A line of its own for each comma: a comment may end the piece before it.
        format!("CREATE TABLE {name} ({}\n){}", self.items.join("\n,"), self.options)
    }
}

/// The words outside brackets, in upper case.
fn words(item: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut words = Vec::new();
    for (token, range) in tokens(item, SQLITE) {
        match (token, &item[range]) {
            (Token::Other, "(") => depth += 1,
            (Token::Other, ")") => depth = depth.saturating_sub(1),
            (Token::Word, text) if depth == 0 => words.push(text.to_ascii_uppercase()),
            _ => {}
        }
    }
    words
}

/// The column that a piece defines; `None` for a constraint.
fn column_of(item: &str) -> Option<String> {
    let (token, range) = tokens(item, SQLITE).into_iter().next()?;
    let text = &item[range];
    let constraint =
        token == Token::Word && CONSTRAINTS.iter().any(|w| text.eq_ignore_ascii_case(w));
    if token == Token::String {
        // SQLite takes a string for a name where only a name can be.
        return Some(text.trim_matches('\'').replace("''", "'"));
    }
    if constraint { None } else { name_of(token, text, SQLITE) }
}

fn is(item: &str, column: &str) -> bool {
    column_of(item).is_some_and(|name| same(SQLITE, &name, column))
}

fn not_null(item: &str) -> String {
    let has = words(item).windows(2).any(|pair| pair == ["NOT", "NULL"]);
    if has { item.to_owned() } else { append(item, " NOT NULL") }
}

/// After its last token: a comment may follow.
fn append(item: &str, more: &str) -> String {
    let end = tokens(item, SQLITE).last().map_or(item.len(), |(_, range)| range.end);
    format!("{}{more}{}", &item[..end], &item[end..])
}

fn renamed(item: &str, to: &str) -> String {
    let first = tokens(item, SQLITE).into_iter().next();
    let Some((_, Range { start, end })) = first else { return item.to_owned() };
    format!("{}{}{}", &item[..start], SQLITE.quote(to), &item[end..])
}

/// Without NOT NULL and what is to happen where it is violated.
fn nullable(item: &str) -> String {
    let all = tokens(item, SQLITE);
    let word = |n: usize, word: &str| {
        all.get(n).is_some_and(|(token, range)| {
            *token == Token::Word && item[range.clone()].eq_ignore_ascii_case(word)
        })
    };
    let mut depth = 0_usize;
    for (n, (token, range)) in all.iter().enumerate() {
        match (token, &item[range.clone()]) {
            (Token::Other, "(") => depth += 1,
            (Token::Other, ")") => depth = depth.saturating_sub(1),
            _ if depth == 0 && word(n, "NOT") && word(n + 1, "NULL") => {
                let conflict = word(n + 2, "ON") && word(n + 3, "CONFLICT");
                let last = if conflict { n + 4 } else { n + 1 };
                let end = all.get(last).map_or(item.len(), |(_, range)| range.end);
                return format!("{}{}", item[..range.start].trim_end(), &item[end..]);
            }
            _ => {}
        }
    }
    item.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "CREATE TABLE \"t\" (\n  id INTEGER PRIMARY KEY, -- the key\n  \
                       o VARCHAR(10) NOT NULL ON CONFLICT ABORT DEFAULT ('a, b'), -- old\n  n TEXT, \
                       CHECK (id > 0) -- end\n) STRICT";

    fn edited(edits: &[Edit]) -> String {
        Definition::parse(SQL).unwrap().edited(edits).sql("\"x\"")
    }

    #[test]
    fn what_is_not_changed_stays() {
        let same = edited(&[]);
        assert!(
            same.contains("o VARCHAR(10) NOT NULL ON CONFLICT ABORT DEFAULT ('a, b')\n,"),
            "{same}"
        );
        assert!(same.contains("CHECK (id > 0) -- end\n\n) STRICT"), "{same}");
    }

    #[test]
    fn columns_are_changed() {
        let text = |s: &str| s.to_owned();
        let swapped = edited(&[
            Edit::Drop(text("O")),
            Edit::Rename(text("n"), text("o")),
            Edit::NotNull(text("n")),
            Edit::Default(text("n"), text("(1)")),
            Edit::Constraint(text("FOREIGN KEY (o) REFERENCES u (id)")),
        ]);
        assert!(swapped.contains("\"o\" TEXT NOT NULL DEFAULT (1)\n,"), "{swapped}");
        assert!(!swapped.contains("VARCHAR"), "{swapped}");
        assert!(
            swapped.contains("-- end\n\n, FOREIGN KEY (o) REFERENCES u (id)\n) STRICT"),
            "{swapped}"
        );
        let relaxed = edited(&[Edit::Nullable(text("o"))]);
        assert!(relaxed.contains("o VARCHAR(10) DEFAULT ('a, b')"), "{relaxed}");
    }

    #[test]
    fn a_collation_is_found() {
        let sql =
            "CREATE TABLE t (a TEXT DEFAULT ('x' COLLATE RTRIM) COLLATE NoCase NOT NULL, b TEXT)";
        let definition = Definition::parse(sql).unwrap();
        assert_eq!(definition.collation("A").as_deref(), Some("NoCase"));
        assert_eq!(definition.collation("b"), None);
    }

    #[test]
    fn users_are_found() {
        let definition = Definition::parse(SQL).unwrap();
        assert_eq!(definition.users("id"), ["CHECK (id > 0) -- end"]);
        assert_eq!(definition.users("o"), ["ON CONFLICT in its definition"]);
        assert!(definition.users("n").is_empty());
        assert!(Definition::parse("CREATE VIRTUAL TABLE t USING fts5(a)").is_none());
    }
}
