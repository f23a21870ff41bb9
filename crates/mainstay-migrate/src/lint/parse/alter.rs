//! ALTER TABLE with its changes, and the few other ALTERs that matter.

use mainstay_db::Engine;
use mainstay_db::lex::Token;

use super::column::{column, constraint, is_constraint, kind};
use super::create::{online, option, table_index};
use super::tokens::{Cursor, Name, Tok, contains, items, unquoted};
use super::{Action, AlterTable, Statement};

/// What follows ALTER.
pub(super) fn alter(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    let _ = at.eat("ONLINE") || at.eat("IGNORE");
    match at.take()?.keyword().as_str() {
        "TABLE" => table(at, engine),
        "TYPE" => {
            let kind = at.name(engine)?;
            if !at.eat("ADD VALUE") {
                return None;
            }
            at.eat("IF NOT EXISTS");
            let value = at.take().filter(|token| token.kind == Token::String)?;
            Some(Statement::AddEnumValue { kind, value: unquoted(value.text) })
        }
        "SYSTEM" => Some(Statement::AlterSystem),
        _ => None,
    }
}

fn table(at: &mut Cursor<'_>, engine: Engine) -> Option<Statement> {
    at.eat("IF EXISTS");
    at.eat("ONLY");
    let table = at.name(engine)?;
    at.eat_char('*');
    let online = online(at.rest());
    let mut actions = Vec::new();
    for item in items(at.rest()) {
        columns(&mut Cursor::new(item), engine, &mut actions);
    }
    Some(Statement::AlterTable(AlterTable { table, actions, online }))
}

/// One change, or the several of MySQL's `ADD (a INT, b INT)`.
fn columns(at: &mut Cursor<'_>, engine: Engine, actions: &mut Vec<Action>) {
    let mut inner = at.clone();
    if inner.eat("ADD") {
        inner.eat("COLUMN");
        if let Some(group) = inner.group() {
            let added = items(group)
                .into_iter()
                .filter_map(|item| column(&mut Cursor::new(item), engine).map(Action::AddColumn));
            actions.extend(added);
            return;
        }
    }
    actions.push(action(at, engine).unwrap_or(Action::Other));
}

fn action(at: &mut Cursor<'_>, engine: Engine) -> Option<Action> {
    let whole = at.rest();
    match at.take()?.keyword().as_str() {
        "ADD" => add(at, engine),
        "DROP" => drop(at, engine),
        "RENAME" => rename(at, engine),
        "ALTER" => alter_column(at, engine),
        "MODIFY" => {
            at.eat("COLUMN");
            let column = column(at, engine)?;
            Some(Action::Modify { old: column.name.clone(), column })
        }
        "CHANGE" => {
            at.eat("COLUMN");
            at.eat("IF EXISTS");
            let old = at.name(engine)?;
            Some(Action::Modify { old, column: column(at, engine)? })
        }
        "VALIDATE" if at.eat("CONSTRAINT") => at.name(engine).map(Action::ValidateConstraint),
        "CONVERT" => {
            let charset = option(whole, "CHARACTER SET").or_else(|| option(whole, "CHARSET"));
            charset.map(Action::ConvertCharset)
        }
        "ENGINE" => option(whole, "ENGINE").map(Action::Storage),
        "FORCE" if engine == Engine::MySql => Some(Action::Rebuild("FORCE")),
        "SET" => set(at),
        "PARTITION" if at.eat("BY") => Some(Action::Partition),
        "DETACH" => {
            let concurrently = contains(whole, "CONCURRENTLY");
            Some(Action::DetachPartition { concurrently })
        }
        _ => None,
    }
}

fn add(at: &mut Cursor<'_>, engine: Engine) -> Option<Action> {
    if at.eat("COLUMN") {
        return column(at, engine).map(Action::AddColumn);
    }
    if is_constraint(at) {
        return constraint(at, engine).map(Action::AddConstraint);
    }
    if at.looking_at("PARTITION") && engine == Engine::MySql {
        return None;
    }
    if let Some(index) = table_index(at, engine) {
        return Some(Action::AddIndex(index));
    }
    column(at, engine).map(Action::AddColumn)
}

fn drop(at: &mut Cursor<'_>, engine: Engine) -> Option<Action> {
    if at.eat("PRIMARY KEY") {
        return Some(Action::DropPrimaryKey);
    }
    if at.eat("CONSTRAINT") {
        return Some(Action::DropConstraint);
    }
    let keyed = ["INDEX", "KEY", "FOREIGN KEY", "CHECK", "PARTITION"];
    if engine == Engine::MySql && keyed.iter().any(|words| at.looking_at(words)) {
        return None;
    }
    at.eat("COLUMN");
    at.eat("IF EXISTS");
    Some(Action::DropColumn { name: at.name(engine)? })
}

fn rename(at: &mut Cursor<'_>, engine: Engine) -> Option<Action> {
    if ["CONSTRAINT", "INDEX", "KEY"].iter().any(|word| at.looking_at(word)) {
        return None;
    }
    let column = at.eat("COLUMN");
    if !column && (at.eat("TO") || at.eat("AS")) {
        return Some(Action::RenameTable { to: at.name(engine)? });
    }
    at.eat("IF EXISTS");
    let from = at.name(engine)?;
    if at.eat("TO") {
        return Some(Action::RenameColumn { from, to: at.name(engine)? });
    }
    (!column).then_some(Action::RenameTable { to: from })
}

fn alter_column(at: &mut Cursor<'_>, engine: Engine) -> Option<Action> {
    if ["CONSTRAINT", "INDEX", "CHECK"].iter().any(|word| at.looking_at(word)) {
        return None;
    }
    at.eat("COLUMN");
    let column = at.name(engine)?;
    if at.eat("SET DATA TYPE") || at.eat("TYPE") {
        let kind = kind(at);
        let using = at.skip_past("USING") && converts(at.rest(), &column, engine);
        return Some(Action::AlterType { column, kind, using });
    }
    if at.eat("SET NOT NULL") {
        return Some(Action::SetNotNull(column));
    }
    if at.eat("DROP NOT NULL") {
        return Some(Action::DropNotNull);
    }
    (at.eat("SET DEFAULT") || at.eat("DROP DEFAULT")).then_some(Action::SetDefault)
}

/// Whether the USING clause computes anything: `USING c` and `USING c::text` leave values as they
/// are, as far as the type does.
fn converts(using: &[Tok<'_>], column: &Name, engine: Engine) -> bool {
    let mut at = Cursor::new(using);
    match at.name(engine) {
        Some(name) => name.key != column.key || at.peek().is_some_and(|next| !next.is_char(':')),
        None => !using.is_empty(),
    }
}

fn set(at: &mut Cursor<'_>) -> Option<Action> {
    for option in ["LOGGED", "UNLOGGED", "TABLESPACE", "ACCESS METHOD"] {
        if at.eat(option) {
            return Some(Action::Rebuild(option));
        }
    }
    None
}
