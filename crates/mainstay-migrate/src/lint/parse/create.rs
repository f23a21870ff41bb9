//! CREATE TABLE, CREATE INDEX, CREATE TRIGGER.

use mainstay_db::Engine;

use super::column::{column, constraint, index_columns, is_constraint, key_columns};
use super::tokens::{Cursor, Name, Tok, contains, items, position};
use super::{CreateIndex, CreateTable, IndexKind, Online, Statement, TableIndex};

/// What follows CREATE.
pub(super) fn create(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    let (mut unique, mut temporary, mut kind) = (false, false, IndexKind::Plain);
    loop {
        match at.take()?.keyword().as_str() {
            "UNIQUE" => unique = true,
            "FULLTEXT" => kind = IndexKind::FullText,
            "SPATIAL" => kind = IndexKind::Spatial,
            "TEMP" | "TEMPORARY" => temporary = true,
            "OR" | "REPLACE" | "UNLOGGED" | "GLOBAL" | "LOCAL" | "CONSTRAINT" => {}
            "TABLE" => return table(at, engine, temporary),
            "INDEX" => return index(at, engine, unique, kind),
            "TRIGGER" => {
                at.skip_past("ON");
                return Some(Statement::CreateTrigger { table: at.name(engine)? });
            }
            "MATERIALIZED" => {
                at.eat("VIEW");
                let if_not_exists = at.eat("IF NOT EXISTS");
                let name = at.name(engine)?;
                return Some(Statement::CreateMaterialized { name, if_not_exists });
            }
            "DATABASE" => return Some(Statement::CreateDatabase),
            _ => return None,
        }
    }
}

fn table(at: &mut Cursor<'_>, engine: Engine, temporary: bool) -> Option<Statement> {
    let if_not_exists = at.eat("IF NOT EXISTS");
    let name = at.name(engine)?;
    let mut table = CreateTable {
        name,
        if_not_exists,
        temporary,
        defined: false,
        columns: Vec::new(),
        constraints: Vec::new(),
        storage: None,
        charset: None,
        strict: false,
    };
    if let Some(group) = at.group() {
        table.defined = !group.is_empty() && !contains(at.rest(), "SELECT");
        for item in items(group) {
            element(&mut Cursor::new(item), engine, &mut table);
        }
    }
    let options = at.rest();
    table.strict = contains(options, "STRICT");
    table.storage = option(options, "ENGINE");
    table.charset = option(options, "CHARSET").or_else(|| option(options, "CHARACTER SET"));
    Some(Statement::CreateTable(table))
}

fn element(at: &mut Cursor<'_>, engine: Engine, table: &mut CreateTable) {
    if is_constraint(at) {
        table.constraints.extend(constraint(at, engine));
    } else if at.looking_at("LIKE") {
        table.defined = false;
    } else if table_index(at, engine).is_none() {
        table.columns.extend(column(at, engine));
    }
}

/// An index in a definition, which only MySQL knows: elsewhere `key` may be a column.
pub(super) fn table_index(at: &mut Cursor<'_>, engine: Engine) -> Option<TableIndex> {
    if engine != Engine::MySql {
        return None;
    }
    let kind = if at.eat("FULLTEXT") {
        IndexKind::FullText
    } else if at.eat("SPATIAL") {
        IndexKind::Spatial
    } else {
        IndexKind::Plain
    };
    let named = at.eat("INDEX") || at.eat("KEY");
    if !named && kind == IndexKind::Plain {
        return None;
    }
    at.eat("IF NOT EXISTS");
    let name = if at.looking_at("USING") { None } else { at.name(engine) };
    let columns = key_columns(at, engine);
    let ordinary = kind == IndexKind::Plain && !is_special(at.rest());
    Some(TableIndex { name, kind, columns, ordinary })
}

fn index(at: &mut Cursor<'_>, engine: Engine, unique: bool, kind: IndexKind) -> Option<Statement> {
    let concurrently = at.eat("CONCURRENTLY");
    at.eat("IF NOT EXISTS");
    let name = if at.looking_at("ON") { None } else { at.name(engine) };
    at.skip_past("ON");
    at.eat("ONLY");
    let table = at.name(engine)?;
    let btree = !at.eat("USING") || at.take().is_some_and(|method| method.is("BTREE"));
    let columns = at.group().map(|group| index_columns(group, engine)).unwrap_or_default();
    let ordinary = btree && kind == IndexKind::Plain && !is_special(at.rest());
    Some(Statement::CreateIndex(CreateIndex {
        name,
        table,
        kind,
        unique,
        concurrently,
        columns,
        ordinary,
        online: online(at.rest()),
    }))
}

/// Whether what follows an index's columns makes it serve otherwise than its columns say.
fn is_special(rest: &[Tok<'_>]) -> bool {
    ["WHERE", "INCLUDE", "NULLS NOT DISTINCT", "INVISIBLE", "IGNORED", "HASH"]
        .iter()
        .any(|words| contains(rest, words))
}

/// MySQL's ALGORITHM and LOCK among what is left.
pub(super) fn online(rest: &[Tok<'_>]) -> Online {
    let upper = |name: &str| option(rest, name).map(|value| value.to_ascii_uppercase());
    Online { algorithm: upper("ALGORITHM"), lock: upper("LOCK") }
}

/// The value of an option, in lower case; `=` may be left out.
pub(super) fn option(tokens: &[Tok<'_>], name: &str) -> Option<String> {
    let after = position(tokens, name)? + name.split(' ').count();
    let mut rest = tokens.get(after..)?.iter().filter(|token| !token.is_char('='));
    rest.next().map(|token| Name::of(token.text).key)
}
