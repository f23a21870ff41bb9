//! Which table goes where, and each column: by name, before anything is copied.

use std::collections::BTreeSet;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use super::kind::Kind;
use super::order::order;
use super::schema::{Column, Table};
use super::side::Side;
use super::value::Way;
use crate::takeover::Tool;

/// A table on both sides.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) source: Table,
    pub(super) target: Table,
    pub(super) columns: Vec<Joined>,
    /// Those that a row is named by.
    pub(super) key: Vec<usize>,
}

/// A column on both sides.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    pub(super) source: Column,
    pub(super) target: Column,
    pub(super) way: Way,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Source,
    Target,
}

impl Pair {
    /// As messages name it.
    pub(super) fn name(&self) -> &str {
        &self.target.name
    }

    pub(super) fn table(&self, which: Which) -> &Table {
        match which {
            Which::Source => &self.source,
            Which::Target => &self.target,
        }
    }
}

impl Joined {
    pub(super) fn column(&self, which: Which) -> &Column {
        match which {
            Which::Source => &self.source,
            Which::Target => &self.target,
        }
    }
}

/// All pairs in the order in which they are copied.
#[derive(Debug)]
pub(super) struct Pairs {
    pub(super) all: Vec<Pair>,
    /// The tables that refer to each other in a circle.
    pub(super) circle: Vec<String>,
    /// Those that refer to themselves.
    pub(super) to_itself: Vec<String>,
}

impl Pairs {
    /// Whether its rows may come before those that they refer to.
    pub(super) fn is_loose(&self, table: &str) -> bool {
        self.circle.iter().chain(&self.to_itself).any(|name| name == table)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// All, where none is named.
    pub(super) tables: &'a [String],
    pub(super) history: &'a str,
}

impl Wanted<'_> {
    fn has(self, name: &str) -> bool {
        let ours = [self.history.to_owned(), format!("{}_mainstay", self.history)];
        let histories = Tool::ALL.iter().map(|tool| tool.table());
        let more =
            histories.chain([super::cursor::TABLE, "databasechangeloglock", "mainstay_change"]);
        let mut left_out = ours.iter().map(String::as_str).chain(more);
        let left_out = left_out.any(|table| table.eq_ignore_ascii_case(name));
        let named = |table: &String| table.eq_ignore_ascii_case(name);
        !left_out && (self.tables.is_empty() || self.tables.iter().any(named))
    }
}

/// Errors: COPY-001 with everything that does not match.
pub(super) fn pair(source: &Side, target: &Side, wanted: Wanted<'_>) -> Result<Pairs> {
    let mut wrong = Vec::new();
    for name in wanted.tables {
        if !source.tables.iter().any(|table| table.name.eq_ignore_ascii_case(name)) {
            wrong.push(format!("the source has no table {name}"));
        }
    }
    let engines = (source.engine, target.engine);
    let mut pairs = Vec::new();
    for table in source.tables.iter().filter(|table| wanted.has(&table.name)) {
        match find(&target.tables, &table.name, |table| &table.name) {
            Some(other) => pairs.push(join(table, other, engines, &mut wrong)),
            None => wrong.push(format!("the target has no table {}", table.name)),
        }
    }
    for table in target.tables.iter().filter(|table| wanted.has(&table.name)) {
        if find(&source.tables, &table.name, |table| &table.name).is_none() {
            wrong.push(format!("the target has the table {}, and the source has not", table.name));
        }
    }
    let names: BTreeSet<_> = pairs.iter().map(|pair| pair.target.name.clone()).collect();
    if names.len() < pairs.len() {
        wrong.push("two tables of the source differ in upper and lower case alone".to_owned());
    }
    if !wrong.is_empty() {
        return Err(Error::new(Code::CopySource, "the target's tables are not the source's")
            .why(wrong.join("\n"))
            .fix("run the same migrations on both, or name the tables that are wanted"));
    }
    Ok(in_order(pairs))
}

/// By the very name, or else the only one that differs in upper and lower case alone.
fn find<'a, T>(all: &'a [T], name: &str, of: impl Fn(&T) -> &String) -> Option<&'a T> {
    let mut close = all.iter().filter(|one| of(one).eq_ignore_ascii_case(name));
    match (all.iter().find(|one| of(one) == name), close.next(), close.next()) {
        (Some(same), ..) => Some(same),
        (None, only, None) => only,
        _ => None,
    }
}

fn join(
    source: &Table,
    target: &Table,
    (from, to): (Engine, Engine),
    wrong: &mut Vec<String>,
) -> Pair {
    let mut columns = Vec::new();
    for column in &source.columns {
        match find(&target.columns, &column.name, |column| &column.name) {
            Some(other) if other.generated => {}
            Some(other) => {
                let way = way(column, other, from, to);
                columns.push(Joined { source: column.clone(), target: other.clone(), way });
            }
            None => wrong.push(format!("the target's {} lacks {}", target.name, column.name)),
        }
    }
    for column in target.columns.iter().filter(|column| column.required) {
        if find(&source.columns, &column.name, |column| &column.name).is_none() {
            let what = format!(
                "the target's {} has {}, which must be given, and the source has not",
                target.name, column.name
            );
            wrong.push(what);
        }
    }
    let place = |name: &String| columns.iter().position(|joined| joined.target.name == *name);
    let mut key: Option<Vec<usize>> = target.key.iter().map(place).collect();
    if target.key.is_empty() {
        let place = |name: &String| columns.iter().position(|joined| joined.source.name == *name);
        key = source.key.iter().map(place).collect();
    }
    let key = key.unwrap_or_default();
    Pair { source: source.clone(), target: target.clone(), columns, key }
}

/// The target's column says what a value is to be; SQLite's says nothing, and then the source's does.
fn way(source: &Column, target: &Column, from: Engine, to: Engine) -> Way {
    let kind = match (to, from) {
        (Engine::Sqlite, Engine::Sqlite) => Kind::Raw,
        (Engine::Sqlite, _) => source.kind.clone(),
        _ => target.kind.clone(),
    };
    Way { kind, from: source.kind.clone(), engine: to, same: from == to }
}

fn in_order(pairs: Vec<Pair>) -> Pairs {
    let place =
        |name: &String| pairs.iter().position(|pair| pair.target.name.eq_ignore_ascii_case(name));
    let references: Vec<Vec<usize>> = pairs
        .iter()
        .map(|pair| pair.target.references.iter().filter_map(place).collect())
        .collect();
    let to_itself = references.iter().enumerate().filter(|(n, all)| all.contains(n));
    let to_itself = to_itself.map(|(n, _)| pairs[n].target.name.clone()).collect();
    let (order, circle) = order(&references);
    let circle = circle.into_iter().map(|n| pairs[n].target.name.clone()).collect();
    let mut pairs: Vec<_> = pairs.into_iter().map(Some).collect();
    let all = order.into_iter().filter_map(|n| pairs[n].take()).collect();
    Pairs { all, circle, to_itself }
}
