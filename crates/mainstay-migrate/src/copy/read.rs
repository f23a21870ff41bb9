//! Reads a table in batches, every value as a text that each engine can give, in the order of a key:
//! a batch begins after the last row of the one before, so that no row is passed over or read twice.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Row};

use super::form;
use super::pair::{Pair, Which};
use super::schema::{Column, Keyset, Table};
use super::side::Side;
use super::value::{Class, Raw};
use crate::checksum::hex;
use crate::database::literal;

/// One part of a row's key, as a literal is made from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyPart {
    pub(super) class: Class,
    pub(super) text: String,
}

/// A row with what the next batch begins after.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) values: Vec<Raw>,
    /// Empty where the table has no key.
    pub(super) key: Vec<KeyPart>,
}

/// Up to `rows` rows after `after`; all of them where there is no key. Errors: COPY-001 where a value
/// can't be read as a text.
pub(super) async fn batch(
    side: &mut Side,
    pair: &Pair,
    which: Which,
    after: Option<&[KeyPart]>,
    rows: usize,
) -> Result<Vec<Read>> {
    let table = pair.table(which);
    let rowid = rowid_column(table);
    let mut columns: Vec<&Column> = pair.columns.iter().map(|c| c.column(which)).collect();
    let values = columns.len();
    match &table.order {
        Keyset::Rowid(_) => columns.extend(&rowid),
        Keyset::Columns(names) => {
            columns.extend(names.iter().filter_map(|name| table.column(name)));
        }
        Keyset::None => {}
    }
    let sql = select(side.engine, table, &columns, after, rows);
    let found = side.session.rows(&sql, Vec::new()).await?;
    let mut out = Vec::with_capacity(found.len());
    for row in &found {
        let mut all = raws(row, side.engine, &columns).map_err(|error| unreadable(pair, error))?;
        let key = all.split_off(values);
        let key = key
            .into_iter()
            .zip(&columns[values..])
            .map(|(raw, column)| part(side.engine, column, raw));
        out.push(Read { values: all, key: key.collect() });
    }
    Ok(out)
}

fn unreadable(pair: &Pair, error: Error) -> Error {
    if error.code() != Code::Decode {
        return error;
    }
    let what = format!("a value of {} can't be read as a text", pair.name());
    Error::new(Code::CopySource, what)
        .why("most likely it is not UTF-8")
        .fix("correct it in the source, and run the copy again: it goes on there")
}

fn rowid_column(table: &Table) -> Option<Column> {
    let Keyset::Rowid(name) = table.order else { return None };
    Some(Column {
        name: name.to_owned(),
        declared: "integer".to_owned(),
        kind: super::kind::Kind::Raw,
        required: false,
        generated: false,
    })
}

fn select(
    engine: Engine,
    table: &Table,
    columns: &[&Column],
    after: Option<&[KeyPart]>,
    rows: usize,
) -> String {
    let name = |column: &str| match table.order {
        // Without quotes, since it is no column's name.
        Keyset::Rowid(rowid) if rowid == column => format!("t.{rowid}"),
        _ => format!("t.{}", engine.quote(column)),
    };
    let shown: Vec<_> = columns.iter().map(|c| expression(engine, c, &name(&c.name))).collect();
    let keys: Vec<String> = match &table.order {
        Keyset::Rowid(rowid) => vec![name(rowid)],
        Keyset::Columns(columns) => columns.iter().map(|column| name(column)).collect(),
        Keyset::None => Vec::new(),
    };
    let mut sql = format!("SELECT {} FROM {} t", shown.join(", "), engine.quote(&table.name));
    if keys.is_empty() {
        return sql;
    }
    if let Some(after) = after {
        sql += &format!(" WHERE {}", beyond(engine, &keys, after));
    }
    sql + &format!(" ORDER BY {} LIMIT {rows}", keys.join(", "))
}

/// What shows a column as a text; on SQLite with the type of what is stored before it.
fn expression(engine: Engine, column: &Column, name: &str) -> String {
    use super::kind::Kind;
    match (engine, &column.kind) {
        (Engine::Postgres, _) => format!("{name}::text"),
        (Engine::MySql, Kind::Bytes { .. }) => format!("HEX({name})"),
        (Engine::MySql, Kind::Float { .. }) => format!("CAST({name} + 0e0 AS CHAR)"),
        (Engine::MySql, _) if column.declared.starts_with("bit") => {
            format!("CAST({name} + 0 AS CHAR)")
        }
        (Engine::MySql, _) => format!("CAST({name} AS CHAR)"),
        (Engine::Sqlite, _) => format!(
            "typeof({name}), CASE typeof({name}) WHEN 'blob' THEN hex({name}) \
             WHEN 'real' THEN printf('%!.17g', {name}) ELSE CAST({name} AS TEXT) END"
        ),
    }
}

fn raws(row: &Row, engine: Engine, columns: &[&Column]) -> Result<Vec<Raw>> {
    let text = |n: usize| row.at::<Option<String>>(n);
    let bytes = |text: &str| form::from_hex(text).map_or(Raw::Null, Raw::Bytes);
    let mut out = Vec::with_capacity(columns.len());
    for (n, column) in columns.iter().enumerate() {
        let is_bytes = matches!(column.kind, super::kind::Kind::Bytes { .. });
        let shown = if engine == Engine::Sqlite { text(2 * n + 1)? } else { text(n)? };
        let Some(shown) = shown else {
            out.push(Raw::Null);
            continue;
        };
        out.push(match engine {
            Engine::Postgres if is_bytes => bytes(shown.strip_prefix("\\x").unwrap_or(&shown)),
            Engine::MySql if is_bytes => bytes(&shown),
            Engine::Postgres | Engine::MySql => Raw::Text(shown),
            Engine::Sqlite => match text(2 * n)?.as_deref() {
                Some("integer") => Raw::Int(shown),
                Some("real") => shown.parse().map_or(Raw::Null, Raw::Real),
                Some("blob") => bytes(&shown),
                _ => Raw::Text(shown),
            },
        });
    }
    Ok(out)
}

fn part(engine: Engine, column: &Column, raw: Raw) -> KeyPart {
    let (class, text) = match raw {
        Raw::Null => (Class::Text, String::new()),
        Raw::Int(text) => (Class::Number, text),
        Raw::Real(real) => (Class::Number, format!("{real:?}")),
        Raw::Bytes(bytes) => (Class::Bytes, hex(&bytes)),
        // A number in quotes is compared as a float by MySQL, and by its column's type by PostgreSQL.
        Raw::Text(text) if engine == Engine::MySql && column.kind.is_number() => {
            (Class::Number, text)
        }
        Raw::Text(text) => (Class::Text, text),
    };
    KeyPart { class, text }
}

/// The condition for rows after `after`.
fn beyond(engine: Engine, keys: &[String], after: &[KeyPart]) -> String {
    let values: Vec<_> = after.iter().map(|p| literal_of(engine, p.class, &p.text)).collect();
    match (keys, values.as_slice()) {
        ([key], [value]) => format!("{key} > {value}"),
        // MySQL goes over the whole index for a comparison of rows.
        ([first, ..], [least, ..]) if engine == Engine::MySql => {
            format!("{first} >= {least} AND ({})", spelled_out(keys, &values))
        }
        _ => format!("({}) > ({})", keys.join(", "), values.join(", ")),
    }
}

/// `a > 1 OR (a = 1 AND (b > 2))`.
fn spelled_out(keys: &[String], values: &[String]) -> String {
    match (keys, values) {
        ([key, keys @ ..], [value, values @ ..]) if !keys.is_empty() => {
            format!("{key} > {value} OR ({key} = {value} AND ({}))", spelled_out(keys, values))
        }
        ([key, ..], [value, ..]) => format!("{key} > {value}"),
        _ => "FALSE".to_owned(),
    }
}

/// `text` in a statement of `engine`.
pub(super) fn literal_of(engine: Engine, class: Class, text: &str) -> String {
    match (class, engine) {
        (Class::Number, Engine::Postgres) => literal(engine, text),
        (Class::Number, _) => text.to_owned(),
        (Class::Bytes, Engine::Postgres) => format!("'\\x{text}'"),
        (Class::Bytes, _) => format!("X'{text}'"),
        // A NUL would end the statement.
        (Class::Text, Engine::Sqlite) if text.contains('\0') => {
            format!("CAST(X'{}' AS TEXT)", hex(text.as_bytes()))
        }
        (Class::Text, Engine::MySql) => literal(engine, text).replace('\0', "\\0"),
        (Class::Text, _) => literal(engine, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_two_columns_is_compared_as_each_engine_does_it_well() {
        let keys = ["t.a".to_owned(), "t.b".to_owned()];
        let part = |class, text: &str| KeyPart { class, text: text.to_owned() };
        let after = [part(Class::Number, "1"), part(Class::Text, "it's")];
        assert_eq!(beyond(Engine::Sqlite, &keys, &after), "(t.a, t.b) > (1, 'it''s')");
        assert_eq!(beyond(Engine::Postgres, &keys, &after), "(t.a, t.b) > ('1', 'it''s')");
        let mysql = "t.a >= 1 AND (t.a > 1 OR (t.a = 1 AND (t.b > 'it''s')))";
        assert_eq!(beyond(Engine::MySql, &keys, &after), mysql);
    }

    #[test]
    fn no_text_ends_a_literal() {
        let text = |engine, text| literal_of(engine, Class::Text, text);
        assert_eq!(text(Engine::MySql, "a\\'\0"), "'a\\\\''\\0'");
        assert_eq!(text(Engine::Sqlite, "a\0"), "CAST(X'6100' AS TEXT)");
        assert_eq!(literal_of(Engine::Postgres, Class::Bytes, "00ff"), "'\\x00ff'");
    }
}
