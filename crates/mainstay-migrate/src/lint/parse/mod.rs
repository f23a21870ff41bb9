//! What a statement does, as far as the rules ask. It accepts any text: what it does not know is
//! `Other`, and the server has the last word on syntax.

mod alter;
mod column;
mod create;
mod tables;
mod tokens;

use mainstay_db::Engine;
use mainstay_db::lex::Token;

pub(crate) use column::{ColumnDef, Constraint, ConstraintKind, DefaultValue, Generated};
pub(crate) use tables::{indexes, tables};
use tokens::{Cursor, contains, joined};
pub(crate) use tokens::{Name, Tok, significant, span, unquoted};

/// A statement.
#[derive(Clone, Debug)]
pub(crate) enum Statement {
    CreateTable(CreateTable),
    CreateIndex(CreateIndex),
    CreateTrigger {
        table: Name,
    },
    /// CREATE MATERIALIZED VIEW.
    CreateMaterialized {
        name: Name,
        if_not_exists: bool,
    },
    CreateDatabase,
    AlterTable(AlterTable),
    AddEnumValue {
        kind: Name,
        value: String,
    },
    AlterSystem,
    DropTable {
        names: Vec<Name>,
    },
    DropIndex {
        names: Vec<Name>,
        table: Option<Name>,
        concurrently: bool,
    },
    DropDatabase {
        name: Name,
        schema: bool,
    },
    RenameTables(Vec<(Name, Name)>),
    Truncate {
        names: Vec<Name>,
        cascade: bool,
    },
    Update {
        table: Name,
        filtered: bool,
    },
    Delete {
        table: Name,
        filtered: bool,
    },
    InsertSelect {
        from: Vec<Name>,
    },
    LockTable {
        names: Vec<Name>,
        /// In upper case; none is PostgreSQL's strongest.
        mode: Option<String>,
    },
    Vacuum {
        full: bool,
        table: Option<Name>,
    },
    Cluster {
        table: Option<Name>,
    },
    Optimize {
        names: Vec<Name>,
    },
    Reindex {
        object: String,
        name: Name,
        concurrently: bool,
    },
    RefreshView {
        name: Name,
        concurrently: bool,
    },
    /// A setting of the session, and what it is set to, in lower case.
    Set {
        name: String,
        value: String,
    },
    Pragma {
        name: String,
        value: String,
    },
    /// BEGIN, COMMIT, ROLLBACK: with whether a transaction is open after it.
    Control {
        open: bool,
    },
    Other,
}

/// CREATE TABLE.
#[derive(Clone, Debug)]
pub(crate) struct CreateTable {
    pub(crate) name: Name,
    pub(crate) if_not_exists: bool,
    pub(crate) temporary: bool,
    /// Whether the columns stand in the statement: not for AS, LIKE and PARTITION OF.
    pub(crate) defined: bool,
    pub(crate) columns: Vec<ColumnDef>,
    pub(crate) constraints: Vec<Constraint>,
    /// In lower case.
    pub(crate) storage: Option<String>,
    pub(crate) charset: Option<String>,
    pub(crate) strict: bool,
}

/// What an index is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexKind {
    Plain,
    FullText,
    Spatial,
}

/// An index inside a table's definition, which MySQL has.
#[derive(Clone, Debug)]
pub(crate) struct TableIndex {
    pub(crate) name: Option<Name>,
    pub(crate) kind: IndexKind,
    pub(crate) columns: Vec<Name>,
    /// As [`CreateIndex::ordinary`].
    pub(crate) ordinary: bool,
}

/// CREATE INDEX.
#[derive(Clone, Debug)]
pub(crate) struct CreateIndex {
    pub(crate) name: Option<Name>,
    pub(crate) table: Name,
    pub(crate) kind: IndexKind,
    pub(crate) unique: bool,
    pub(crate) concurrently: bool,
    pub(crate) columns: Vec<Name>,
    /// Neither partial nor of another method than B-tree, and with nothing besides its keys: comparable
    /// with others.
    pub(crate) ordinary: bool,
    pub(crate) online: Online,
}

/// MySQL's clauses that say how a change is to be made: it refuses what it can't do so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Online {
    /// In upper case.
    pub(crate) algorithm: Option<String>,
    pub(crate) lock: Option<String>,
}

/// ALTER TABLE.
#[derive(Clone, Debug)]
pub(crate) struct AlterTable {
    pub(crate) table: Name,
    pub(crate) actions: Vec<Action>,
    pub(crate) online: Online,
}

/// One change of an ALTER TABLE.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    AddColumn(ColumnDef),
    DropColumn {
        name: Name,
    },
    RenameColumn {
        from: Name,
        to: Name,
    },
    RenameTable {
        to: Name,
    },
    AlterType {
        column: Name,
        kind: String,
        using: bool,
    },
    SetNotNull(Name),
    DropNotNull,
    /// SET DEFAULT and DROP DEFAULT.
    SetDefault,
    AddConstraint(Constraint),
    ValidateConstraint(Name),
    DropConstraint,
    DropPrimaryKey,
    AddIndex(TableIndex),
    /// MODIFY and CHANGE.
    Modify {
        old: Name,
        column: ColumnDef,
    },
    ConvertCharset(String),
    /// ENGINE, in lower case.
    Storage(String),
    /// FORCE, and options that have the table written anew.
    Rebuild(&'static str),
    Partition,
    DetachPartition {
        concurrently: bool,
    },
    Other,
}

/// What the tokens of one statement say.
pub(crate) fn statement(tokens: &[Tok<'_>], engine: Engine) -> Statement {
    let tokens = match tokens {
        [rest @ .., last] if last.kind == Token::Semicolon => rest,
        _ => tokens,
    };
    read(&mut Cursor::new(tokens), engine).unwrap_or(Statement::Other)
}

fn read(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    let first = at.take()?.keyword();
    match first.as_str() {
        "CREATE" => create::create(at, engine),
        "ALTER" => alter::alter(at, engine),
        "DROP" => drop(at, engine),
        "RENAME" => rename(at, engine),
        "TRUNCATE" => {
            at.eat("TABLE");
            at.eat("ONLY");
            let names = at.names(engine);
            Some(Statement::Truncate { names, cascade: contains(at.rest(), "CASCADE") })
        }
        "UPDATE" | "DELETE" => write(at, engine, first == "DELETE"),
        "INSERT" | "REPLACE" => insert(at, engine),
        "LOCK" => {
            let _ = at.eat("TABLES") || at.eat("TABLE");
            at.eat("ONLY");
            let names = at.names(engine);
            let mode = at.eat("IN").then(|| {
                let words = at.rest().iter().take_while(|token| !token.is("MODE"));
                words.map(Tok::keyword).collect::<Vec<_>>().join(" ")
            });
            Some(Statement::LockTable { names, mode })
        }
        "VACUUM" => vacuum(at, engine),
        "CLUSTER" => {
            at.eat("VERBOSE");
            Some(Statement::Cluster { table: at.name(engine) })
        }
        "OPTIMIZE" => {
            at.skip_past("TABLE");
            Some(Statement::Optimize { names: at.names(engine) })
        }
        "REINDEX" => reindex(at, engine),
        "REFRESH" => {
            at.skip_past("VIEW");
            let concurrently = at.eat("CONCURRENTLY");
            Some(Statement::RefreshView { name: at.name(engine)?, concurrently })
        }
        "SET" => set(at, engine),
        "PRAGMA" => {
            let name = at.name(engine)?.bare().to_owned();
            at.eat_char('=');
            let value = at.group().unwrap_or(at.rest());
            Some(Statement::Pragma { name, value: joined(value).to_lowercase() })
        }
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" => control(at, &first),
        _ => None,
    }
}

fn drop(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    at.eat("TEMPORARY");
    let object = at.take()?.keyword();
    let concurrently = at.eat("CONCURRENTLY");
    at.eat("IF EXISTS");
    match object.as_str() {
        "TABLE" => Some(Statement::DropTable { names: at.names(engine) }),
        "INDEX" => {
            let names = at.names(engine);
            let table = if at.eat("ON") { at.name(engine) } else { None };
            Some(Statement::DropIndex { names, table, concurrently })
        }
        "DATABASE" | "SCHEMA" => {
            let schema = object == "SCHEMA" && engine == Engine::Postgres;
            Some(Statement::DropDatabase { name: at.name(engine)?, schema })
        }
        _ => None,
    }
}

fn rename(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    at.take().filter(|token| token.is("TABLE") || token.is("TABLES"))?;
    let mut pairs = Vec::new();
    while let Some(from) = at.name(engine) {
        if at.eat("TO") {
            pairs.push((from, at.name(engine)?));
        }
        if !at.eat_char(',') {
            break;
        }
    }
    Some(Statement::RenameTables(pairs))
}

fn write(at: &mut Cursor<'_>, engine: Engine, delete: bool) -> Option<Statement> {
    if delete {
        at.skip_past("FROM");
    }
    while ["ONLY", "LOW_PRIORITY", "IGNORE", "OR"].iter().any(|word| at.looking_at(word)) {
        // SQLite's `OR REPLACE` and its like are two words.
        at.eat("OR");
        at.take();
    }
    let table = at.name(engine)?;
    let filtered = contains(at.rest(), "WHERE") || contains(at.rest(), "LIMIT");
    Some(if delete {
        Statement::Delete { table, filtered }
    } else {
        Statement::Update { table, filtered }
    })
}

fn insert(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    if !at.skip_past("SELECT") {
        return None;
    }
    let mut from = Vec::new();
    while at.skip_past("FROM") || at.skip_past("JOIN") {
        from.extend(at.name(engine));
    }
    Some(Statement::InsertSelect { from })
}

fn vacuum(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    let mut full = at.group().is_some_and(|options| contains(options, "FULL"));
    while ["FULL", "FREEZE", "VERBOSE", "ANALYZE"].iter().any(|word| at.looking_at(word)) {
        full |= at.take()?.is("FULL");
    }
    Some(Statement::Vacuum { full, table: at.name(engine) })
}

fn reindex(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    let option = at.group().is_some_and(|options| contains(options, "CONCURRENTLY"));
    let objects = ["INDEX", "TABLE", "SCHEMA", "DATABASE", "SYSTEM"];
    let object = objects.iter().find(|object| at.eat(object)).copied().unwrap_or("INDEX");
    let concurrently = at.eat("CONCURRENTLY") || option;
    Some(Statement::Reindex { object: object.to_owned(), name: at.name(engine)?, concurrently })
}

fn set(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    let _ = at.eat("SESSION") || at.eat("LOCAL") || at.eat("GLOBAL");
    while at.eat_char('@') {}
    let name = if at.eat("TIME ZONE") {
        "timezone".to_owned()
    } else {
        at.name(engine)?.bare().to_owned()
    };
    at.eat("TO");
    at.eat_char(':');
    at.eat_char('=');
    let value = at.rest().first().map(|token| unquoted(token.text)).unwrap_or_default();
    Some(Statement::Set { name, value: value.to_lowercase() })
}

fn control(at: &mut Cursor<'_>, word: &str) -> Option<Statement> {
    // A savepoint is the transaction's own affair, and START is also said of a replica.
    let savepoint = word == "ROLLBACK" && contains(at.rest(), "TO");
    let start = word == "START" && !at.looking_at("TRANSACTION");
    if savepoint || start {
        return None;
    }
    let open = matches!(word, "BEGIN" | "START");
    Some(Statement::Control { open })
}
