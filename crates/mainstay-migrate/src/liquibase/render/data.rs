//! Rows: inserted, updated, deleted.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::dialect::Dialect;
use super::types::column_type;
use super::value;
use crate::liquibase::model::{Column, Defined};

pub(super) fn insert(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let table = dialect.object(change, "tableName");
    let names: Vec<_> = change.columns.iter().map(|c| dialect.name(c.name())).collect();
    let values = change.columns.iter().map(|c| value::of_row(c, dialect, &change.at));
    let values: Vec<_> = values.collect::<Result<_>>()?;
    let (names, values) = (names.join(", "), values.join(", "));
    Ok(vec![format!("INSERT INTO {table} ({names}) VALUES ({values})")])
}

pub(super) fn update(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let table = dialect.object(change, "tableName");
    let set = |column: &Column| -> Result<String> {
        let value = value::of_row(column, dialect, &change.at)?;
        Ok(format!("{} = {value}", dialect.name(column.name())))
    };
    let sets: Vec<_> = change.columns.iter().map(set).collect::<Result<_>>()?;
    let condition = condition(change, dialect)?;
    Ok(vec![format!("UPDATE {table} SET {}{condition}", sets.join(", "))])
}

pub(super) fn delete(change: &Defined, dialect: Dialect) -> Result<Vec<String>> {
    let table = dialect.object(change, "tableName");
    Ok(vec![format!("DELETE FROM {table}{}", condition(change, dialect)?)])
}

/// `WHERE` and the condition, in which each `:name` and `:value` is that of the next parameter.
fn condition(change: &Defined, dialect: Dialect) -> Result<String> {
    let Some(text) = change.get("where").map(str::trim).filter(|t| !t.is_empty()) else {
        return Ok(String::new());
    };
    let mut names = change.params.iter().filter(|p| !p.name().is_empty());
    let mut values = change.params.iter();
    let lacks = || {
        let error = change.at.error("the where has more places than parameters");
        error.fix("give whereParams one param for each :value")
    };
    let mut out = String::from(" WHERE ");
    let mut rest = text;
    while let Some(colon) = rest.find(':').filter(|_| !change.params.is_empty()) {
        out += &rest[..colon];
        rest = &rest[colon..];
        if let Some(after) = word(rest, ":name") {
            out += &dialect.name(names.next().ok_or_else(lacks)?.name());
            rest = after;
        } else if let Some(after) = word(rest, ":value") {
            out += &value::of_row(values.next().ok_or_else(lacks)?, dialect, &change.at)?;
            rest = after;
        } else {
            out.push(':');
            rest = &rest[1..];
        }
    }
    Ok(out + rest)
}

fn word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let after = text.strip_prefix(word)?;
    (!after.starts_with(|c: char| c.is_alphanumeric() || c == '_')).then_some(after)
}

pub(super) fn merge_columns(change: &Defined, dialect: Dialect) -> Vec<String> {
    let get = |field: &str| change.get(field).unwrap_or_default();
    let table = dialect.object(change, "tableName");
    let name = |field: &str| dialect.name(get(field));
    let (first, second) = (name("column1Name"), name("column2Name"));
    let merged = name("finalColumnName");
    let kind = column_type(get("finalColumnType"), dialect.target).sql;
    let between = dialect.text(get("joinString"));
    let joined = match dialect.engine() {
        Engine::MySql => format!("CONCAT_WS({between}, {first}, {second})"),
        Engine::Postgres | Engine::Sqlite => format!("{first} || {between} || {second}"),
    };
    vec![
        format!("ALTER TABLE {table} ADD COLUMN {merged} {kind}"),
        format!("UPDATE {table} SET {merged} = {joined}"),
        format!("ALTER TABLE {table} DROP COLUMN {first}"),
        format!("ALTER TABLE {table} DROP COLUMN {second}"),
    ]
}
