//! Values of columns: what is written into rows, and what a column has where nothing is written.

use mainstay_core::Result;
use mainstay_db::Engine;

use super::dialect::Dialect;
use super::types::Class;
use crate::liquibase::location::Location;
use crate::liquibase::model::{Column, Fields};

/// The value that a column of an insert or update is given; null if it is given none.
pub(super) fn of_row(column: &Column, dialect: Dialect, at: &Location) -> Result<String> {
    if let Some(text) = column.get("value") {
        let null = text.eq_ignore_ascii_case("null");
        return Ok(if null { "NULL".to_owned() } else { dialect.text(text) });
    }
    if let Some(number) = column.get("valueNumeric") {
        return Ok(number.to_owned());
    }
    if let Some(value) = column.get("valueBoolean") {
        return Ok(dialect.boolean(value == "true").to_owned());
    }
    if let Some(date) = column.get("valueDate") {
        return Ok(moment(date, dialect));
    }
    if let Some(expression) = column.get("valueComputed") {
        return Ok(function(expression, dialect));
    }
    if let Some(sequence) = column.get("valueSequenceNext") {
        return next(sequence, dialect, at);
    }
    for field in ["valueClobFile", "valueBlobFile", "valueSequenceCurrent"] {
        if column.get(field).is_some() {
            let error = at.error(format_args!("{field} is not supported"));
            return Err(error.fix("write the row as SQL in a sqlFile"));
        }
    }
    Ok("NULL".to_owned())
}

/// Whether a column is given a value.
pub(super) fn is_given(column: &Column) -> bool {
    column.fields.keys().any(|field| field.starts_with("value"))
}

/// What stands after `DEFAULT`, if the fields name one.
pub(super) fn default(
    fields: &Fields,
    class: Class,
    dialect: Dialect,
    at: &Location,
) -> Result<Option<String>> {
    let get = |field: &str| fields.get(field).map(String::as_str);
    if let Some(text) = get("defaultValue") {
        return Ok(Some(default_text(text, class, dialect)));
    }
    if let Some(number) = get("defaultValueNumeric") {
        let truth = match number {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        };
        let flag = truth.filter(|_| matches!(class, Class::Boolean | Class::Bit));
        return Ok(Some(match flag {
            Some(value) => truth_value(value, class, dialect),
            None => number.to_owned(),
        }));
    }
    if let Some(value) = get("defaultValueBoolean") {
        return Ok(Some(truth_value(value == "true", class, dialect)));
    }
    if let Some(date) = get("defaultValueDate") {
        return Ok(Some(moment(date, dialect)));
    }
    if let Some(expression) = get("defaultValueComputed") {
        return Ok(Some(default_function(expression, dialect)));
    }
    get("defaultValueSequenceNext").map(|sequence| next(sequence, dialect, at)).transpose()
}

fn default_text(text: &str, class: Class, dialect: Dialect) -> String {
    let lower = text.trim().to_lowercase();
    match (class, lower.as_str()) {
        (_, "null") => "NULL".to_owned(),
        (Class::Boolean | Class::Bit, "true" | "1") => truth_value(true, class, dialect),
        (Class::Boolean | Class::Bit, "false" | "0") => truth_value(false, class, dialect),
        (Class::Number, number) if number.parse::<f64>().is_ok() => number.to_owned(),
        (Class::Time, word) if word.starts_with("current_") || word.ends_with(')') => {
            default_function(text.trim(), dialect)
        }
        _ => dialect.text(text),
    }
}

fn truth_value(value: bool, class: Class, dialect: Dialect) -> String {
    let digit = if value { '1' } else { '0' };
    match (class, dialect.engine()) {
        (Class::Bit, Engine::Postgres) => format!("B'{digit}'"),
        (Class::Number, _) => digit.to_string(),
        _ => dialect.boolean(value).to_owned(),
    }
}

/// A date or time as the engines write it.
fn moment(date: &str, dialect: Dialect) -> String {
    dialect.text(&date.replacen('T', " ", 1))
}

/// An expression; the time has another name on SQLite.
fn function(expression: &str, dialect: Dialect) -> String {
    let now = matches!(expression.trim().to_lowercase().as_str(), "now()" | "current_timestamp()");
    match dialect.engine() {
        Engine::Sqlite if now => "CURRENT_TIMESTAMP".to_owned(),
        _ => expression.to_owned(),
    }
}

/// As [`function`], where an engine wants parentheses around all but the simplest.
fn default_function(expression: &str, dialect: Dialect) -> String {
    let written = function(expression.trim(), dialect);
    let lower = written.to_lowercase();
    let time = match dialect.engine() {
        Engine::Postgres => return written,
        Engine::Sqlite => ["current_timestamp", "current_date", "current_time"].contains(&&*lower),
        Engine::MySql => {
            let times = ["current_timestamp", "now", "localtime", "localtimestamp", "next value"];
            times.iter().any(|t| lower.starts_with(t))
        }
    };
    let literal = lower.parse::<f64>().is_ok()
        || matches!(lower.as_str(), "null" | "true" | "false")
        || (lower.starts_with('\'') && lower.ends_with('\''));
    let enclosed = lower.starts_with('(') && lower.ends_with(')');
    if time || literal || enclosed { written } else { format!("({written})") }
}

/// The next number of a sequence.
fn next(sequence: &str, dialect: Dialect, at: &Location) -> Result<String> {
    match dialect.engine() {
        Engine::Postgres => Ok(format!("nextval({})", dialect.text(&dialect.name(sequence)))),
        Engine::MySql if dialect.target.mariadb => {
            Ok(format!("NEXT VALUE FOR {}", dialect.name(sequence)))
        }
        Engine::MySql | Engine::Sqlite => {
            let error = at.error(format_args!("{} has no sequences", dialect.target.name()));
            Err(error.fix("let the column count up by itself with autoIncrement"))
        }
    }
}
