//! What a text of SQL is made of, as far as detectors ask: its fingerprint, what it reads and writes, and
//! what each of its values is compared with. Found out once a text, off the hot path.
//!
//! It knows no grammar beyond clauses and brackets: what it can't tell is [`Use::Other`].

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use super::lex::{Token, tokens};
use super::value::Bind;

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// It reads.
    Select,
    /// It adds rows.
    Insert,
    /// It changes rows.
    Update,
    /// It removes rows.
    Delete,
    /// Anything else.
    Other,
}

impl Verb {
    pub(crate) fn writes(self) -> bool {
        matches!(self, Verb::Insert | Verb::Update | Verb::Delete)
    }
}

/// What a value in a statement is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A column must be equal to it.
    Equal,
    /// One of a list.
    In,
    /// It is an array of keys.
    Any,
    /// An argument of a function.
    Call,
    /// Below, above or between.
    Range,
    /// How many rows, or from where.
    Limit,
    /// What a column is set to.
    Set,
    /// A value of a row that is inserted.
    Insert,
    Other,
}

/// A value in a statement: bound, or written in its text.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) role: Use,
    /// The column that it is compared with, without its table.
    pub(crate) column: Option<String>,
    pub(crate) source: Source,
    /// Where it stands in the text.
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The bound value of this index.
    Bound(usize),
    Literal(Bind),
}

/// A text of SQL, and what is known of it.
#[derive(Debug)]
pub struct Sql {
    /// As it was written.
    pub text: String,
    /// The same for texts that differ in values, spaces, comments and the lengths of lists alone.
    pub fingerprint: u64,
    /// What it does.
    pub verb: Verb,
    /// The table that it is about, in small letters, without its schema.
    pub table: Option<String>,
    pub(crate) slots: Vec<Slot>,
    /// How many values it is bound with, as far as the text tells.
    pub(crate) params: usize,
    /// It has a LIMIT, or can have but one row.
    pub(crate) limited: bool,
    /// It is about many keys or rows at once.
    pub(crate) batch: bool,
}

/// A bracket, and what stands before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bracket {
    In(usize),
    Any,
    Values,
    Call,
    /// `(a, b) = ($1, $2)`, or a comparison of rows.
    Row(Use),
    Group,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Clause {
    Head,
    Condition,
    Set,
    Limit,
    Other,
}

/// Functions that make many rows of one value.
const SPREADS: &[&str] = &[
    "unnest",
    "json_each",
    "json_table",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "json_array_elements",
    "json_array_elements_text",
    "string_to_array",
    "string_to_table",
    "find_in_set",
    "openjson",
    "string_split",
    "generate_series",
];

const AGGREGATES: &[&str] = &["count", "sum", "min", "max", "avg", "exists", "bool_or", "bool_and"];

impl Sql {
    /// Looks through `text`.
    pub fn new(text: &str) -> Self {
        let found = tokens(text);
        let mut reader = Reader::new(&found);
        for at in 0..found.len() {
            reader.see(at);
        }
        reader.finish(text)
    }

    /// The text on one line, cut where it is long.
    pub fn shown(&self) -> String {
        const MAX: usize = 120;
        let line = self.text.split_whitespace().collect::<Vec<_>>().join(" ");
        match line.char_indices().nth(MAX) {
            Some((at, _)) => format!("{}...", &line[..at]),
            None => line,
        }
    }

    /// The text with its literals replaced by further placeholders, and the literals.
    pub(crate) fn without_literals(&self) -> (String, Vec<Bind>) {
        let (mut out, mut taken) = (String::with_capacity(self.text.len()), Vec::new());
        let mut from = 0;
        for slot in &self.slots {
            let Source::Literal(value) = slot.source else { continue };
            taken.push(value);
            out.push_str(self.text.get(from..slot.span.start).unwrap_or_default());
            out.push_str(&format!("${}", self.params + taken.len()));
            from = slot.span.end;
        }
        out.push_str(self.text.get(from..).unwrap_or_default());
        (out, taken)
    }
}

struct Reader<'t> {
    tokens: &'t [(usize, Token<'t>)],
    brackets: Vec<(Bracket, Clause)>,
    clause: Clause,
    verb: Option<Verb>,
    table: Option<String>,
    slots: Vec<Slot>,
    params: usize,
    unnumbered: usize,
    named: Vec<&'t str>,
    limited: bool,
    batch: bool,
    rows: usize,
    between: u8,
    normal: Vec<String>,
}

impl<'t> Reader<'t> {
    fn new(tokens: &'t [(usize, Token<'t>)]) -> Self {
        Self {
            tokens,
            brackets: Vec::new(),
            clause: Clause::Head,
            verb: None,
            table: None,
            slots: Vec::new(),
            params: 0,
            unnumbered: 0,
            named: Vec::new(),
            limited: false,
            batch: false,
            rows: 0,
            between: 0,
            normal: Vec::new(),
        }
    }

    fn token(&self, at: usize) -> Option<Token<'t>> {
        self.tokens.get(at).map(|(_, t)| *t)
    }

    fn word(&self, at: usize) -> Option<String> {
        match self.token(at)? {
            Token::Word(w) => Some(w.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn see(&mut self, at: usize) {
        match self.tokens[at].1 {
            Token::Word(word) => {
                let lower = word.to_ascii_lowercase();
                self.keyword(at, &lower);
                self.normal.push(lower);
            }
            Token::Name(name) => self.normal.push(name.to_ascii_lowercase()),
            Token::Open => {
                let bracket = self.bracket(at);
                if bracket == Bracket::Values {
                    self.rows += 1;
                    self.batch |= self.rows > 1;
                }
                self.brackets.push((bracket, self.clause));
                self.normal.push("(".into());
            }
            Token::Close => {
                if let Some((bracket, clause)) = self.brackets.pop() {
                    self.batch |= matches!(bracket, Bracket::In(n) if n > 1);
                    self.clause = clause;
                }
                self.normal.push(")".into());
            }
            Token::Literal(text) => self.slot(at, Source::Literal(Bind::literal(text))),
            Token::Param(text, number) => {
                let index = self.index(text, number);
                self.params = self.params.max(index + 1);
                self.slot(at, Source::Bound(index));
            }
            Token::Operator(o) => self.normal.push(o.to_owned()),
            Token::Comma => self.normal.push(",".into()),
            Token::Dot => self.normal.push(".".into()),
            Token::Semicolon => self.normal.push(";".into()),
        }
    }

    fn index(&mut self, text: &'t str, number: Option<usize>) -> usize {
        if let Some(number) = number {
            return number.saturating_sub(1).min(u16::MAX.into());
        }
        if text.len() > 1 && text != "%s" {
            return self.named.iter().position(|n| *n == text).unwrap_or_else(|| {
                self.named.push(text);
                self.named.len() - 1
            });
        }
        self.unnumbered += 1;
        self.unnumbered - 1
    }

    fn keyword(&mut self, at: usize, word: &str) {
        let verb = match word {
            "select" | "values" | "call" | "show" => Some(Verb::Select),
            "insert" | "replace" | "merge" | "copy" => Some(Verb::Insert),
            "update" => Some(Verb::Update),
            "delete" => Some(Verb::Delete),
            _ => None,
        };
        let outermost = self.brackets.is_empty();
        let for_update = word == "update"
            && matches!(self.word(at.wrapping_sub(1)).as_deref(), Some("for" | "key" | "do"));
        let first = self.verb.is_none() || self.word(0).as_deref() == Some("with");
        if let Some(verb) = verb.filter(|_| !for_update) {
            // A CTE that writes makes the whole one that writes.
            let stronger = verb.writes() && !self.verb.is_some_and(Verb::writes) && first;
            if (outermost && self.verb.is_none()) || stronger {
                self.verb = Some(verb);
                if verb.writes() {
                    self.table = None;
                }
            }
            self.clause = Clause::Head;
        }
        let target = matches!(word, "from" | "into")
            || (word == "update" && !for_update && self.verb == Some(Verb::Update));
        if target && self.table.is_none() && self.of_the_main_table(word) {
            self.table = self.name_after(at);
        }
        match word {
            "where" | "on" | "having" | "when" => self.clause = Clause::Condition,
            "set" => self.clause = Clause::Set,
            "limit" | "offset" | "fetch" | "top" => {
                self.clause = Clause::Limit;
                self.limited |= word != "offset" && outermost;
            }
            "from" | "order" | "group" | "join" | "union" | "returning" => {
                self.clause = Clause::Other;
            }
            "between" => self.between = 2,
            _ => {}
        }
    }

    /// Of a statement that writes, the table that it writes.
    fn of_the_main_table(&self, word: &str) -> bool {
        match self.verb {
            Some(Verb::Insert) => word == "into",
            Some(Verb::Update) => word == "update",
            _ => true,
        }
    }

    fn name_after(&self, mut at: usize) -> Option<String> {
        at += 1;
        while matches!(
            self.word(at).as_deref(),
            Some("only" | "lateral" | "low_priority" | "ignore")
        ) {
            at += 1;
        }
        let mut name = None;
        loop {
            match self.token(at)? {
                Token::Word(n) | Token::Name(n) => name = Some(n.to_ascii_lowercase()),
                _ => return name,
            }
            if self.token(at + 1) != Some(Token::Dot) {
                return name;
            }
            at += 2;
        }
    }

    fn bracket(&self, at: usize) -> Bracket {
        let before = at.checked_sub(1).and_then(|b| self.token(b));
        match before {
            Some(Token::Word(_)) => match self.word(at - 1).as_deref() {
                Some("in") => Bracket::In(0),
                Some("any" | "some" | "array") => Bracket::Any,
                Some("values" | "row") => Bracket::Values,
                Some(
                    "and" | "or" | "not" | "where" | "on" | "as" | "exists" | "from" | "join"
                    | "all",
                ) => Bracket::Group,
                Some(name) if SPREADS.contains(&name) => Bracket::Any,
                _ if self.clause == Clause::Head && self.verb == Some(Verb::Insert) => {
                    Bracket::Group
                }
                _ => Bracket::Call,
            },
            Some(Token::Comma) if self.rows > 0 && self.brackets.is_empty() => Bracket::Values,
            // The second and later rows of a list of rows.
            Some(Token::Operator(o)) => Bracket::Row(compared(o)),
            // What a list or a comparison of rows is made of.
            Some(Token::Open | Token::Comma) => {
                self.brackets.last().map_or(Bracket::Group, |(b, _)| *b)
            }
            _ => Bracket::Group,
        }
    }

    fn slot(&mut self, at: usize, source: Source) {
        let (role, column) = self.role(at);
        if let Some((Bracket::In(n), _)) = self.brackets.last_mut() {
            *n += 1;
        }
        self.batch |= role == Use::Any;
        let start = self.tokens[at].0;
        let len = match self.tokens[at].1 {
            Token::Literal(t) | Token::Param(t, _) => t.len(),
            _ => 0,
        };
        self.slots.push(Slot { role, column, source, span: start..start + len });
        self.normal.push("?".into());
    }

    fn role(&mut self, at: usize) -> (Use, Option<String>) {
        if self.between > 0 {
            self.between -= 1;
            return (Use::Range, None);
        }
        let bracket = self.brackets.last().map(|(b, _)| *b);
        let before = at.checked_sub(1).and_then(|b| self.token(b));
        match bracket {
            Some(Bracket::In(_)) => {
                // `col IN (`: the column is before the bracket.
                let open = (0..at).rev().find(|i| self.token(*i) == Some(Token::Open));
                return (Use::In, open.and_then(|o| self.column_before(o.checked_sub(2)?)));
            }
            Some(Bracket::Any) => return (Use::Any, None),
            Some(Bracket::Values) => return (Use::Insert, None),
            Some(Bracket::Row(role)) => return (role, None),
            _ => {}
        }
        if self.clause == Clause::Limit {
            return (Use::Limit, None);
        }
        if let Some(Token::Operator(o)) = before
            && matches!(compared(o), Use::Equal | Use::Range)
        {
            let column = at.checked_sub(2).and_then(|b| self.column_before(b));
            return match (compared(o), self.clause) {
                (Use::Equal, Clause::Set) => (Use::Set, column),
                (role, _) => (role, column),
            };
        }
        // `$1 = column`, and what is said of its type.
        let mut next = at + 1;
        while self.token(next) == Some(Token::Operator("::")) {
            next += 2;
        }
        if let Some(Token::Operator(o)) = self.token(next)
            && matches!(compared(o), Use::Equal | Use::Range)
        {
            return (compared(o), self.column_at(next + 1));
        }
        match bracket {
            Some(Bracket::Call) if self.clause != Clause::Set => (Use::Call, None),
            _ => (Use::Other, None),
        }
    }

    /// The name that ends at `at`.
    fn column_before(&self, at: usize) -> Option<String> {
        let at = if self.word(at).as_deref() == Some("not") { at.checked_sub(1)? } else { at };
        match self.token(at)? {
            Token::Word(n) | Token::Name(n) => Some(n.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// The name that begins at `at`.
    fn column_at(&self, at: usize) -> Option<String> {
        self.name_after(at.checked_sub(1)?)
    }

    fn finish(self, text: &str) -> Sql {
        let verb = self.verb.unwrap_or(Verb::Other);
        let aggregate = self.tokens.len() > 2
            && self.word(1).is_some_and(|w| AGGREGATES.contains(&w.as_str()))
            && !self.normal.windows(2).any(|w| w[0] == "group" && w[1] == "by");
        let locks_one = self.limited || aggregate;
        Sql {
            fingerprint: fingerprint(&self.normal),
            text: text.to_owned(),
            verb,
            table: self.table,
            slots: self.slots,
            params: self.params,
            limited: locks_one,
            batch: self.batch,
        }
    }
}

fn compared(operator: &str) -> Use {
    match operator {
        "=" | "==" | "<=>" => Use::Equal,
        "<" | ">" | "<=" | ">=" => Use::Range,
        _ => Use::Other,
    }
}

/// Of the words, with each list of values as one value.
fn fingerprint(normal: &[String]) -> u64 {
    let mut out: Vec<&str> = Vec::with_capacity(normal.len());
    for word in normal {
        // `?, ?` is `?`, and so are `(?), (?)` as `(?)`.
        if word == "?" && out.ends_with(&["?", ","]) {
            out.pop();
            continue;
        }
        out.push(word);
        if out.ends_with(&["(", "?", ")", ",", "(", "?", ")"]) {
            out.truncate(out.len() - 4);
        }
    }
    while out.last() == Some(&";") {
        out.pop();
    }
    let mut hasher = DefaultHasher::new();
    out.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(sql: &str) -> Vec<(Use, Option<String>)> {
        Sql::new(sql).slots.into_iter().map(|s| (s.role, s.column)).collect()
    }

    fn one(sql: &str) -> (Use, Option<String>) {
        roles(sql).into_iter().next().unwrap()
    }

    #[test]
    fn what_a_value_is_compared_with_is_told() {
        let column = |name: &str| Some(name.to_owned());
        assert_eq!(one("SELECT * FROM a WHERE a.b_id = $1"), (Use::Equal, column("b_id")));
        assert_eq!(one("SELECT * FROM a WHERE `b_id`=?"), (Use::Equal, column("b_id")));
        assert_eq!(one("SELECT * FROM a WHERE $1::int = x.b_id"), (Use::Equal, column("b_id")));
        assert_eq!(one("SELECT * FROM a WHERE b_id IN ($1)"), (Use::In, column("b_id")));
        assert_eq!(one("SELECT * FROM a WHERE b_id = ANY($1)").0, Use::Any);
        assert_eq!(one("SELECT * FROM a WHERE id > $1 LIMIT 5").0, Use::Range);
        assert_eq!(one("SELECT * FROM a WHERE (x, id) > ($1, $2)").0, Use::Range);
        assert_eq!(one("SELECT * FROM a WHERE (x, id) = ($1, $2)").0, Use::Equal);
        assert_eq!(one("SELECT * FROM a WHERE id BETWEEN $1 AND $2").0, Use::Range);
        assert_eq!(one("SELECT * FROM a LIMIT $1").0, Use::Limit);
        assert_eq!(one("SELECT f($1)").0, Use::Call);
        assert_eq!(one("SELECT * FROM a WHERE id IN (SELECT unnest($1::int[]))").0, Use::Any);
        assert_eq!(one("INSERT INTO a (b) VALUES ($1)").0, Use::Insert);
        assert_eq!(
            roles("UPDATE a SET n = $1 WHERE id = $2"),
            [(Use::Set, column("n")), (Use::Equal, column("id"))]
        );
        assert_eq!(one("SELECT * FROM a WHERE id = 'x'"), (Use::Equal, column("id")));
    }

    #[test]
    fn what_it_does_and_to_what_is_told() {
        let of = |sql| {
            let sql = Sql::new(sql);
            (sql.verb, sql.table.unwrap_or_default())
        };
        assert_eq!(of("SELECT 1 FROM public.\"Users\" u"), (Verb::Select, "users".into()));
        assert_eq!(of("INSERT INTO a (b) SELECT c FROM d"), (Verb::Insert, "a".into()));
        assert_eq!(of("UPDATE a SET b = 1 FROM c"), (Verb::Update, "a".into()));
        assert_eq!(of("DELETE FROM a WHERE id = 1"), (Verb::Delete, "a".into()));
        assert_eq!(of("SELECT * FROM a FOR UPDATE"), (Verb::Select, "a".into()));
        assert_eq!(of("WITH x AS (INSERT INTO a (b) VALUES (1) RETURNING id) SELECT * FROM x"), {
            (Verb::Insert, "a".into())
        });
        assert_eq!(of("WITH x AS (SELECT 1 FROM a) SELECT * FROM b").0, Verb::Select);
    }

    #[test]
    fn batches_and_bounds_are_told() {
        for sql in [
            "SELECT * FROM a WHERE id IN ($1, $2)",
            "SELECT * FROM a WHERE id = ANY($1)",
            "INSERT INTO a (b) VALUES (1), (2)",
            "SELECT * FROM a JOIN json_each($1) j ON j.value = a.id",
        ] {
            assert!(Sql::new(sql).batch, "{sql}");
        }
        for sql in ["SELECT * FROM a WHERE id IN (?)", "INSERT INTO a (b, c) VALUES (?, ?)"] {
            assert!(!Sql::new(sql).batch, "{sql}");
        }
        assert!(Sql::new("SELECT * FROM a LIMIT 5").limited);
        assert!(Sql::new("SELECT count(*) FROM a").limited);
        assert!(!Sql::new("SELECT * FROM a WHERE x IN (SELECT 1 LIMIT 1)").limited);
    }

    #[test]
    fn a_fingerprint_leaves_values_spaces_and_lengths_out() {
        let same = |a: &str, b: &str| Sql::new(a).fingerprint == Sql::new(b).fingerprint;
        assert!(same("SELECT  a FROM b WHERE c = 5", "select a from b where c = $1 -- x"));
        assert!(same("SELECT a FROM b WHERE c IN (1,2,3)", "SELECT a FROM b WHERE c IN (?)"));
        assert!(same("INSERT INTO a VALUES (1, 2), (3, 4)", "INSERT INTO a VALUES ($1, $2)"));
        assert!(same("SELECT a FROM \"b\"", "SELECT a FROM b;"));
        assert!(!same("SELECT a FROM b WHERE c = 5", "SELECT a FROM b WHERE d = 5"));
    }

    #[test]
    fn literals_are_taken_out() {
        let sql = Sql::new("SELECT * FROM a WHERE mail = 'me@home' AND n = 5 AND x = $1");
        let (text, literals) = sql.without_literals();
        assert_eq!(text, "SELECT * FROM a WHERE mail = $2 AND n = $3 AND x = $1");
        assert_eq!(literals, [Bind::literal("'me@home'"), Bind::literal("5")]);
    }
}
