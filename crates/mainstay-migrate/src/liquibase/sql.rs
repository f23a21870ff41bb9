//! Formatted SQL: a file of SQL in which comments tell the change sets apart.
//!
//! Properties are found here and not yet replaced: a change set is [expanded](expand) once those
//! before it are defined.

use std::sync::Arc;

use mainstay_core::Result;

use super::location::Location;
use super::model::{Change, ChangeSet, Sql};
use super::precondition::{Condition, Object, Preconditions, Reaction};
use super::properties::Property;
use super::sql_header::{self, Header, attributes, word};

/// What a file holds, in its order.
pub(super) enum Piece {
    Property(Property),
    Set(Box<ChangeSet>),
}

/// Whether the text begins as formatted SQL does.
pub(super) fn is_formatted(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let first = text.lines().map(str::trim).find(|l| !l.is_empty());
    first.is_some_and(|line| first_line(line).is_some())
}

/// What follows `--liquibase formatted`.
fn first_line(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("--")?;
    word(word(rest, "liquibase")?, "formatted")
}

/// The pieces of a file; `path` is what the history calls it, unless it says otherwise itself.
pub(super) fn parse(text: &str, file: &Arc<str>, path: &str) -> Result<Vec<Piece>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { path: path.to_owned(), pieces: Vec::new(), open: None };
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    while let Some((number, line)) = lines.next() {
        let at = Location::new(file, number);
        if let Some(rest) = first_line(line) {
            if let Some(logical) = logical_path(rest) {
                reader.path = logical;
            }
        } else if let Some(rest) = sql_header::directive(line, "ignoreLines") {
            ignore(rest, &at, &mut lines)?;
        } else if sql_header::opens_rollback(line) {
            reader.rollback_block(&at, &mut lines)?;
        } else {
            reader.line(line, at)?;
        }
    }
    reader.finish(true)?;
    Ok(reader.pieces)
}

/// The path in what follows `--liquibase formatted sql`.
fn logical_path(rest: &str) -> Option<String> {
    let start = rest.to_lowercase().find("logicalfilepath:")? + "logicalFilePath:".len();
    let path = rest.get(start..)?.split_whitespace().next()?;
    Some(path.to_owned())
}

/// Passes over lines: a number of them, or those up to `--ignoreLines:end`.
fn ignore<'a>(
    rest: &str,
    at: &Location,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<()> {
    let what = rest.trim().trim_start_matches(':').trim();
    if what.eq_ignore_ascii_case("start") {
        for (_, line) in lines {
            let ends = sql_header::directive(line, "ignoreLines");
            if ends.is_some_and(|w| w.trim_start_matches(':').trim().eq_ignore_ascii_case("end")) {
                return Ok(());
            }
        }
        let error = at.error("nothing ends the lines to be ignored");
        return Err(error.fix("write --ignoreLines:end after them"));
    }
    let count: usize = what.parse().map_err(|_| {
        at.error(format_args!("'ignoreLines:{what}' names no lines"))
            .fix("write ignoreLines:start and ignoreLines:end, or how many lines follow")
    })?;
    lines.take(count).for_each(drop);
    Ok(())
}

/// The change set being read.
struct Open {
    set: ChangeSet,
    header: Header,
    sql: String,
    rollback: String,
}

struct Reader {
    path: String,
    pieces: Vec<Piece>,
    open: Option<Open>,
}

impl Reader {
    fn line(&mut self, line: &str, at: Location) -> Result<()> {
        sql_header::refuse_one_dash(line, &at)?;
        if let Some(rest) = sql_header::directive(line, "property") {
            self.pieces.push(Piece::Property(property(rest, at)?));
            return Ok(());
        }
        if let Some(rest) = sql_header::directive(line, "changeset") {
            self.finish(false)?;
            let (set, header) = sql_header::change_set(rest, &at, &self.path)?;
            let (sql, rollback) = (String::new(), String::new());
            self.open = Some(Open { set, header, sql, rollback });
            return Ok(());
        }
        let Some(open) = &mut self.open else {
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with("--") {
                return Ok(());
            }
            return Err(at
                .error("SQL stands before the first change set")
                .fix("write --changeset author:id before it"));
        };
        open.line(line, &at)
    }

    /// The SQL of a rollback in a comment of several lines.
    fn rollback_block<'a>(
        &mut self,
        at: &Location,
        lines: &mut impl Iterator<Item = (usize, &'a str)>,
    ) -> Result<()> {
        let Some(open) = &mut self.open else {
            let error = at.error("a rollback stands before the first change set");
            return Err(error.fix("write --changeset author:id before it"));
        };
        for (_, line) in lines {
            if let Some(last) = line.trim_end().strip_suffix("*/") {
                open.rollback += last;
                open.rollback.push('\n');
                return Ok(());
            }
            open.rollback += line;
            open.rollback.push('\n');
        }
        Err(at.error("nothing closes the rollback").fix("end its comment with */"))
    }

    /// Closes the change set that is open.
    fn finish(&mut self, last: bool) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.pieces.push(Piece::Set(Box::new(open.finish(last)?)));
        }
        Ok(())
    }
}

impl Open {
    fn line(&mut self, line: &str, at: &Location) -> Result<()> {
        if let Some(rest) = sql_header::directive(line, "comment") {
            let comment = rest.strip_prefix(':').unwrap_or(rest);
            self.set.comment = Some(comment.trim().to_owned());
        } else if sql_header::directive(line, "comments").is_some() {
            return Err(at.error("comments is no directive").fix("write --comment"));
        } else if let Some(rest) = sql_header::directive(line, "validCheckSum") {
            let sum = rest.trim_start_matches(':').trim();
            self.set.valid_checksums.push(sum.to_owned());
        } else if let Some(rest) = sql_header::directive(line, "rollback").filter(|r| !r.is_empty())
        {
            self.rollback += rest.trim_start();
            self.rollback.push('\n');
        } else if let Some(rest) = sql_header::directive(line, "preconditions") {
            self.preconditions(rest, at)?;
        } else if let Some((name, rest)) = sql_header::precondition(line) {
            let condition = condition(name, rest, at)?;
            let all = self.set.preconditions.get_or_insert_with(|| Preconditions::new(at.clone()));
            all.conditions.push(condition);
        } else {
            self.sql += line;
            self.sql.push('\n');
        }
        Ok(())
    }

    fn preconditions(&mut self, rest: &str, at: &Location) -> Result<()> {
        let mut read = Preconditions::new(at.clone());
        for (key, value) in attributes(rest, at)? {
            match key.to_lowercase().as_str() {
                "onfail" => read.on_fail = Reaction::read(&value, at)?,
                "onerror" => read.on_error = Reaction::read(&value, at)?,
                "onupdatesql" | "onsqloutput" => {}
                _ => {
                    let known = ["onFail", "onError", "onUpdateSQL", "onSqlOutput"];
                    return Err(at.unknown("the attribute of preconditions", &key, known));
                }
            }
        }
        self.set.preconditions = Some(read);
        Ok(())
    }

    fn finish(self, last: bool) -> Result<ChangeSet> {
        let Self { mut set, header, sql, rollback } = self;
        let at = set.at.clone();
        if sql.trim().is_empty() {
            return Err(at
                .error(format_args!("the change set {}:{} has no SQL", set.author, set.id))
                .fix("write its SQL after it, or take it out"));
        }
        let mut change = Sql::new(sql.trim(), at.clone());
        change.split = header.split;
        change.strip_comments = header.strip_comments;
        // As in Liquibase, a lone slash at the very end of a file says how its statements end.
        let slash = last && change.text.ends_with("\n/");
        change.delimiter = header.delimiter.or_else(|| slash.then(|| "\\n/".to_owned()));
        set.changes.push(Change::Sql(change));

        let undo = rollback.trim();
        let lower = undo.to_lowercase();
        if lower.starts_with("not required") || lower.starts_with("empty") {
            set.rollback = Some(Vec::new());
        } else if lower.contains("changesetid:") {
            return Err(at
                .error("a rollback names another change set")
                .fix("write the SQL that undoes this one after --rollback"));
        } else if !undo.is_empty() {
            let mut change = Sql::new(undo, at);
            change.split = header.rollback_split;
            change.delimiter = header.rollback_delimiter;
            set.rollback = Some(vec![Change::Sql(change)]);
        }
        Ok(set)
    }
}

fn property(rest: &str, at: Location) -> Result<Property> {
    let (mut name, mut value) = (None, None);
    let (mut contexts, mut labels, mut dbms, mut global) = (None, None, None, true);
    for (key, text) in attributes(rest, &at)? {
        match key.to_lowercase().as_str() {
            "name" => name = Some(text),
            "value" => value = Some(text),
            "context" | "contextfilter" => contexts = Some(text),
            "labels" => labels = Some(text),
            "dbms" => dbms = Some(text),
            "global" => global = text.eq_ignore_ascii_case("true"),
            _ => {
                let known =
                    ["name", "value", "context", "contextFilter", "labels", "dbms", "global"];
                return Err(at.unknown("the property's attribute", &key, known));
            }
        }
    }
    let (Some(name), Some(value)) = (name, value) else {
        let error = at.error("the property has no name or no value");
        return Err(error.fix("write --property name:<name> value:<value>"));
    };
    Ok(Property { at, name, value, contexts, labels, dbms, global })
}

/// One precondition: `sql-check`, `table-exists` or `view-exists`.
fn condition(name: &str, rest: &str, at: &Location) -> Result<Condition> {
    let named = |key: &str| -> Result<Object> {
        let attributes = attributes(rest, at)?;
        let get = |key: &str| {
            let found = attributes.iter().find(|(k, _)| k.eq_ignore_ascii_case(key));
            found.map(|(_, value)| value.clone())
        };
        let name = get(key).ok_or_else(|| {
            at.error(format_args!("the precondition has no {key}"))
                .fix(format!("write {key}:<name>"))
        })?;
        Ok(Object { schema: get("schema"), name })
    };
    match name.to_lowercase().as_str() {
        "sql-check" => sql_check(rest, at),
        "table-exists" => Ok(Condition::TableExists(named("table")?)),
        "view-exists" => Ok(Condition::ViewExists(named("view")?)),
        _ => {
            Err(at.unknown("the precondition", name, ["sql-check", "table-exists", "view-exists"]))
        }
    }
}

fn sql_check(rest: &str, at: &Location) -> Result<Condition> {
    let wrong = || {
        at.error("the sql-check can't be read")
            .fix("write --precondition-sql-check expectedResult:<value> <query>")
    };
    let rest = rest.trim();
    let label = "expectedResult:";
    let body = match rest.get(..label.len()) {
        Some(start) if start.eq_ignore_ascii_case(label) => &rest[label.len()..],
        _ => rest,
    };
    let (expected, sql) = match body.chars().next() {
        Some(quote @ ('\'' | '"')) => body[1..].split_once(quote).ok_or_else(wrong)?,
        _ => body.split_once(' ').ok_or_else(wrong)?,
    };
    let sql = sql.trim().trim_end_matches(';');
    if expected.is_empty() || sql.is_empty() {
        return Err(wrong());
    }
    Ok(Condition::SqlCheck { expected: expected.to_owned(), sql: sql.to_owned() })
}

/// Replaces the properties in a change set of formatted SQL.
pub(super) fn expand(set: &mut ChangeSet, replace: &dyn Fn(&str) -> String) {
    for text in [&mut set.id, &mut set.author] {
        *text = replace(text);
    }
    set.file = super::path::normal(&replace(&set.file));
    for text in [&mut set.contexts, &mut set.labels, &mut set.dbms].into_iter().flatten() {
        *text = replace(text);
    }
    for change in set.changes.iter_mut().chain(set.rollback.iter_mut().flatten()) {
        if let Change::Sql(sql) = change {
            sql.text = replace(&sql.text);
        }
    }
    for condition in set.preconditions.iter_mut().flat_map(|p| &mut p.conditions) {
        match condition {
            Condition::SqlCheck { expected, sql } => {
                (*expected, *sql) = (replace(expected), replace(sql));
            }
            Condition::TableExists(object) | Condition::ViewExists(object) => {
                object.name = replace(&object.name);
                object.schema = object.schema.as_deref().map(replace);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
