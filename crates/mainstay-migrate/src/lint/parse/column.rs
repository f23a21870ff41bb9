//! Columns and constraints, as CREATE TABLE and ALTER TABLE define them.

use std::ops::Range;

use mainstay_db::Engine;
use mainstay_db::lex::Token;

use super::tokens::{Cursor, Name, Tok, contains, items, joined, span};

/// What a column holds where nothing is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultValue {
    /// None is declared, or NULL is.
    None,
    /// The same in every row, now and later.
    Constant,
    /// The same in every row of one statement, such as `now()`.
    Stable,
    /// Another in each row, as far as can be told.
    Volatile,
}

/// Whether a column is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generated {
    No,
    Virtual,
    Stored,
}

/// A column's definition.
#[derive(Clone, Debug)]
pub(crate) struct ColumnDef {
    pub(crate) name: Name,
    /// In one spelling: lower case, `numeric(10,2)`.
    pub(crate) kind: String,
    pub(crate) not_null: bool,
    pub(crate) default: DefaultValue,
    /// Its text in one spelling.
    pub(crate) default_text: String,
    pub(crate) generated: Generated,
    pub(crate) primary_key: bool,
    pub(crate) unique: bool,
    pub(crate) check: bool,
    pub(crate) references: Option<Reference>,
    /// IDENTITY or AUTO_INCREMENT.
    pub(crate) identity: bool,
    pub(crate) charset: Option<String>,
    pub(crate) collation: Option<String>,
    /// FIRST or AFTER.
    pub(crate) positioned: bool,
}

/// What a column refers to.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) table: Name,
    /// Where the statement says so, from REFERENCES to the last of what is done ON DELETE and the like.
    pub(crate) span: Range<usize>,
}

/// What a constraint demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConstraintKind {
    PrimaryKey,
    Unique,
    Foreign(Name),
    /// With the column, where all it says is `column IS NOT NULL`.
    Check(Option<Name>),
    Exclude,
    NotNull,
}

/// A constraint of a table.
#[derive(Clone, Debug)]
pub(crate) struct Constraint {
    pub(crate) name: Option<Name>,
    pub(crate) kind: ConstraintKind,
    pub(crate) columns: Vec<Name>,
    pub(crate) using_index: bool,
    pub(crate) not_valid: bool,
    /// With nothing besides its keys: comparable with others.
    pub(crate) ordinary: bool,
    /// Where the statement says so, its name left out.
    pub(crate) span: Range<usize>,
}

/// Words that end a type or a default: what follows is said of the column.
const AFTER_TYPE: &str = "NOT NULL DEFAULT GENERATED AS PRIMARY UNIQUE REFERENCES CHECK \
    CONSTRAINT COLLATE AUTO_INCREMENT AUTOINCREMENT COMMENT CHARSET FIRST AFTER ON KEY VISIBLE \
    INVISIBLE STORAGE COMPRESSION USING VIRTUAL STORED PERSISTENT DEFERRABLE INITIALLY";

/// Functions that give one value for all rows of a statement. Any other is taken for volatile,
/// which is what PostgreSQL itself assumes of a function that does not say otherwise.
const STABLE: &str = "now transaction_timestamp statement_timestamp current_timestamp \
    current_date current_time localtimestamp localtime current_setting timezone date_trunc \
    to_timestamp to_char make_interval make_date date datetime strftime";

/// Functions whose value depends on their arguments alone, and types, which look like functions.
const CONSTANT: &str = "lower upper coalesce md5 encode decode concat length abs repeat \
    json_build_object jsonb_build_object json_build_array jsonb_build_array json_object \
    json_array numeric decimal varchar char character varying bit interval timestamp time cast \
    array row";

fn listed(list: &str, word: &str) -> bool {
    list.split(' ').any(|known| known.eq_ignore_ascii_case(word))
}

/// A column's definition; none where it does not begin with a name.
pub(crate) fn column(at: &mut Cursor<'_>, engine: Engine) -> Option<ColumnDef> {
    let _ = at.eat("IF NOT EXISTS") || at.eat("IF EXISTS");
    let name = at.name(engine)?;
    let kind = kind(at);
    let mut column = ColumnDef {
        name,
        kind,
        not_null: false,
        default: DefaultValue::None,
        default_text: String::new(),
        generated: Generated::No,
        primary_key: false,
        unique: false,
        check: false,
        references: None,
        identity: false,
        charset: None,
        collation: None,
        positioned: false,
    };
    while at.peek().is_some() {
        attribute(at, engine, &mut column);
    }
    Some(column)
}

/// A type, up to the first word that says something else.
pub(crate) fn kind(at: &mut Cursor<'_>) -> String {
    let tokens = at.rest();
    let mut n = 0;
    let mut inner = at.clone();
    while let Some(token) = inner.peek() {
        let charset = n > 0 && inner.looking_at("CHARACTER SET");
        if charset || is_after_type(token) {
            break;
        }
        if inner.group().is_none() {
            inner.take();
        }
        n = tokens.len() - inner.rest().len();
    }
    *at = inner;
    joined(tokens.get(..n).unwrap_or(&[]))
}

fn is_after_type(token: Tok<'_>) -> bool {
    token.kind == Token::Word && listed(AFTER_TYPE, token.text)
}

/// One thing that is said of a column; passes a token at least.
fn attribute(at: &mut Cursor<'_>, engine: Engine, column: &mut ColumnDef) {
    if at.eat("SET DEFAULT") {
        // What a foreign key does; no default of this column.
    } else if at.eat("NOT NULL") {
        column.not_null = true;
    } else if at.eat("DEFAULT") {
        (column.default, column.default_text) = default(at);
    } else if at.eat("PRIMARY KEY") {
        column.primary_key = true;
    } else if at.eat("UNIQUE") {
        column.unique = true;
    } else if at.looking_at("REFERENCES") {
        column.references = reference(at, engine);
    } else if at.eat("CHECK") {
        column.check = true;
        at.group();
    } else if at.eat("CONSTRAINT") {
        at.name(engine);
    } else if at.eat("AUTO_INCREMENT")
        || at.eat("GENERATED BY DEFAULT AS IDENTITY")
        || at.eat("IDENTITY")
    {
        column.identity = true;
    } else if at.eat("GENERATED ALWAYS AS") || at.eat("AS") {
        generated(at, column);
    } else if at.eat("CHARACTER SET") || at.eat("CHARSET") {
        at.eat_char('=');
        column.charset = at.take().map(|token| Name::of(token.text).key);
    } else if at.eat("COLLATE") {
        column.collation = at.name(engine).map(|name| name.key);
    } else if at.eat("FIRST") || at.eat("AFTER") {
        column.positioned = true;
    } else if at.group().is_none() {
        at.take();
    }
}

/// A REFERENCES with all that belongs to it.
fn reference(at: &mut Cursor<'_>, engine: Engine) -> Option<Reference> {
    let tokens = at.rest();
    at.take();
    let table = at.name(engine)?;
    at.group();
    loop {
        if at.eat("ON DELETE") || at.eat("ON UPDATE") {
            let two = ["NO ACTION", "SET NULL", "SET DEFAULT"].iter().any(|words| at.eat(words));
            if !two {
                at.take();
            }
            at.group();
        } else if at.eat("MATCH") || at.eat("INITIALLY") {
            at.take();
        } else if !at.eat("NOT DEFERRABLE") && !at.eat("DEFERRABLE") {
            break;
        }
    }
    let taken = tokens.len() - at.rest().len();
    Some(Reference { table, span: span(tokens.get(..taken).unwrap_or(&[])) })
}

/// What follows `AS`: an expression and where its value is kept.
fn generated(at: &mut Cursor<'_>, column: &mut ColumnDef) {
    if at.group().is_none() {
        return;
    }
    let stored = at.eat("STORED") || at.eat("PERSISTENT");
    column.generated = if stored { Generated::Stored } else { Generated::Virtual };
}

/// The default's class and text.
fn default(at: &mut Cursor<'_>) -> (DefaultValue, String) {
    let tokens = at.rest();
    let mut n = 0;
    while let Some(token) = at.peek() {
        // NULL is a default when it comes first, and an attribute later.
        if n > 0 && (is_after_type(token) || at.looking_at("CHARACTER SET")) {
            break;
        }
        if at.group().is_none() {
            at.take();
        }
        n = tokens.len() - at.rest().len();
    }
    let tokens = tokens.get(..n).unwrap_or(&[]);
    (class(tokens), joined(tokens))
}

fn class(tokens: &[Tok<'_>]) -> DefaultValue {
    if tokens.first().is_none_or(|token| token.is("NULL")) {
        return DefaultValue::None;
    }
    let mut class = DefaultValue::Constant;
    for (n, token) in tokens.iter().enumerate() {
        if !matches!(token.kind, Token::Word | Token::Name) {
            continue;
        }
        let word = token.text.trim_matches(['"', '`']).to_ascii_lowercase();
        let called = tokens.get(n + 1).is_some_and(|next| next.is_char('('));
        let stable = listed(STABLE, &word);
        if stable && (called || word.contains('_') || word.starts_with("localtime")) {
            class = DefaultValue::Stable;
        } else if called && !stable && !listed(CONSTANT, &word) {
            return DefaultValue::Volatile;
        }
    }
    class
}

/// Whether what follows is a constraint of the table and no column.
pub(crate) fn is_constraint(at: &Cursor<'_>) -> bool {
    ["CONSTRAINT", "PRIMARY KEY", "UNIQUE", "FOREIGN KEY", "CHECK", "EXCLUDE USING", "NOT NULL"]
        .iter()
        .any(|words| at.looking_at(words))
}

/// A constraint of the table.
pub(crate) fn constraint(at: &mut Cursor<'_>, engine: Engine) -> Option<Constraint> {
    let whole = at.rest();
    let mut name = None;
    if at.eat("CONSTRAINT") {
        at.eat("IF NOT EXISTS");
        let unnamed = ["PRIMARY KEY", "UNIQUE", "FOREIGN KEY", "CHECK"];
        if !unnamed.iter().any(|words| at.looking_at(words)) {
            name = at.name(engine);
        }
    }
    let body = span(at.rest());
    let mut columns = Vec::new();
    let kind = if at.eat("PRIMARY KEY") {
        ConstraintKind::PrimaryKey
    } else if at.eat("UNIQUE") {
        ConstraintKind::Unique
    } else if at.eat("FOREIGN KEY") {
        columns = key_columns(at, engine);
        at.skip_past("REFERENCES");
        ConstraintKind::Foreign(at.name(engine)?)
    } else if at.eat("CHECK") {
        ConstraintKind::Check(at.group().and_then(|test| not_null_of(test, engine)))
    } else if at.eat("EXCLUDE") {
        ConstraintKind::Exclude
    } else if at.eat("NOT NULL") {
        columns.extend(at.name(engine));
        ConstraintKind::NotNull
    } else {
        return None;
    };
    let using_index = contains(at.rest(), "USING INDEX");
    if matches!(kind, ConstraintKind::PrimaryKey | ConstraintKind::Unique) && !using_index {
        columns = key_columns(at, engine);
    }
    let not_valid = contains(whole, "NOT VALID") || contains(whole, "NOT ENFORCED");
    let ordinary = !contains(whole, "INCLUDE") && !contains(whole, "NULLS NOT DISTINCT");
    Some(Constraint { name, kind, columns, using_index, not_valid, ordinary, span: body })
}

/// The columns in the brackets that follow; MySQL lets a name and USING stand before them.
pub(crate) fn key_columns(at: &mut Cursor<'_>, engine: Engine) -> Vec<Name> {
    while at.peek().is_some_and(|token| !token.is_char('(')) {
        at.take();
    }
    at.group().map(|group| index_columns(group, engine)).unwrap_or_default()
}

/// The columns of an index. What is no plain column keeps its text, so that it equals only itself.
pub(crate) fn index_columns(group: &[Tok<'_>], engine: Engine) -> Vec<Name> {
    let column = |item: &&[Tok<'_>]| {
        let mut at = Cursor::new(item);
        match at.name(engine) {
            Some(name) if at.rest().is_empty() || at.looking_at("ASC") => name,
            _ => Name::of(&joined(item)),
        }
    };
    items(group).iter().map(column).collect()
}

/// The column of `column IS NOT NULL`, if that is all there is.
fn not_null_of(test: &[Tok<'_>], engine: Engine) -> Option<Name> {
    let mut at = Cursor::new(test);
    // As many parentheses as there are, and no call for each.
    while let Some(inner) = at.group() {
        if !at.rest().is_empty() {
            return None;
        }
        at = Cursor::new(inner);
    }
    let name = at.name(engine)?;
    (at.eat("IS NOT NULL") && at.rest().is_empty()).then_some(name)
}
