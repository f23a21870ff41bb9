//! Liquibase's checksums of version 9, by which its history tells whether a change set was edited.
//!
//! SQL of the author's own counts without its white space; every other change as a text of its
//! fields in their order, which Liquibase prints just so.

use md5::{Digest, Md5};
use unicode_normalization::UnicodeNormalization;

use super::filter;
use super::kind::Kind;
use super::model::{Change, ChangeSet, Column, Defined, Fields, Sql};
use crate::checksum::hex;

/// The checksum of a change set for the database of that short name: changes that are for other
/// databases do not count.
pub(crate) fn set(set: &ChangeSet, dbms: &str) -> String {
    let mut text = String::new();
    for change in set.changes.iter().filter(|c| filter::dbms(c.dbms(), dbms)) {
        text += &self::change(change);
        text.push(':');
    }
    version(&text)
}

/// The checksum of one change.
pub(crate) fn change(change: &Change) -> String {
    match change {
        Change::Sql(Sql { raw: Some(raw), .. }) => sql(raw),
        Change::Sql(text) => sql(&text.text),
        Change::Defined(defined) => match code(defined.kind) {
            Some(body) => {
                let rest = version(&serialize(defined));
                version(&format!("{rest}:{}", sql(defined.get(body).unwrap_or_default())))
            }
            None => version(&serialize(defined)),
        },
    }
}

/// The field that holds SQL, in the changes that count it apart.
fn code(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::CreateView => Some("selectQuery"),
        Kind::CreateProcedure => Some("procedureText"),
        _ => None,
    }
}

/// The fields that do not count.
fn excluded(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::CreateTable => &["ifNotExists"],
        Kind::CreateIndex => &["associatedWith"],
        Kind::CreateView => &["path", "relativeToChangelogFile", "selectQuery", "encoding"],
        Kind::CreateProcedure => {
            &["path", "dbms", "relativeToChangelogFile", "procedureText", "encoding", "comments"]
        }
        _ => &[],
    }
}

fn version(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let known: String = lines.chars().filter(|c| *c != '\u{fffd}').nfc().collect();
    format!("9:{}", hex(Md5::digest(known.as_bytes()).as_slice()))
}

fn sql(text: &str) -> String {
    let dense: String = text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')).collect();
    format!("9:{}", hex(Md5::digest(dense.as_bytes()).as_slice()))
}

/// The text that Liquibase makes of a change.
pub(super) fn serialize(change: &Defined) -> String {
    let excluded = excluded(change.kind);
    let fields = change.fields.iter().filter(|(name, _)| !excluded.contains(name));
    let mut lines: Vec<_> = fields.map(|(name, value)| field(name, value, 1)).collect();
    if !change.columns.is_empty() {
        let columns: Vec<_> = change.columns.iter().map(column).collect();
        lines.push(format!("    columns=[\n{}\n    ]", columns.join(",\n")));
    }
    format!("{}:{}", change.kind.name(), block(lines, 0))
}

fn column(column: &Column) -> String {
    let mut lines: Vec<_> = column.fields.iter().map(|(n, v)| field(n, v, 3)).collect();
    if let Some(constraints) = &column.constraints {
        lines.push(format!("{}{}", indent(3), constraint(constraints)));
    }
    format!("{}{}", indent(2), block(lines, 2))
}

fn constraint(constraints: &Fields) -> String {
    block(constraints.iter().map(|(n, v)| field(n, v, 4)).collect(), 3)
}

/// Lines in brackets, in the order of their text.
fn block(mut lines: Vec<String>, level: usize) -> String {
    lines.sort();
    let inner = if lines.is_empty() { String::new() } else { format!("\n{}\n", lines.join("\n")) };
    format!("[{inner}{}]", indent(level))
}

fn field(name: &str, value: &str, level: usize) -> String {
    format!("{}{name}=\"{value}\"", indent(level))
}

fn indent(level: usize) -> String {
    "    ".repeat(level)
}

#[cfg(test)]
mod tests;
