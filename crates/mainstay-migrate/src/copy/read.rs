//! Reads a table in batches, every value as a text that each engine can give, in the order of a key:
//! a batch begins after the last row of the one before, so that no row is passed over or read twice.

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Engine, Row};

use super::form;
use super::kind::Kind;
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

/// A batch is to have about so many bytes at most.
const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// Of the first batch, of which nothing is known.
const ROWS_FIRST: usize = 100;

/// How many rows a batch has: as many as have about 16 MB, by the batch before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) rows: usize,
    max: usize,
}

impl Size {
    pub(super) fn new(max: usize) -> Self {
        Self { rows: max.min(ROWS_FIRST), max }
    }

    pub(super) fn learn(&mut self, batch: &[Read]) {
        if batch.is_empty() {
            return;
        }
        let bytes: usize = batch.iter().map(Read::bytes).sum();
        let fitting = BATCH_BYTES / (bytes / batch.len()).max(1);
        // Those to come may be longer.
        let most = (self.rows * 4).min(self.max);
        self.rows = fitting.clamp(1, most);
    }
}

impl Read {
    /// About so many are held.
    fn bytes(&self) -> usize {
        let held = |raw: &Raw| match raw {
            Raw::Null | Raw::Real(_) => 0,
            Raw::Int(text) | Raw::Text(text) => text.len(),
            Raw::Bytes(bytes) => bytes.len(),
        };
        self.values.iter().map(|raw| held(raw) + size_of::<Raw>()).sum()
    }
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
    let keys = key_columns(side.engine, table);
    let mut columns: Vec<&Column> = pair.columns.iter().map(|c| c.column(which)).collect();
    let values = columns.len();
    columns.extend(&keys);
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

/// What the rows are ordered by, as it is compared.
fn key_columns(engine: Engine, table: &Table) -> Vec<Column> {
    match &table.order {
        Keyset::Rowid(name) => vec![Column {
            name: (*name).to_owned(),
            declared: "integer".to_owned(),
            kind: Kind::Raw,
            required: false,
            generated: false,
        }],
        Keyset::Columns(names) => {
            let columns = names.iter().filter_map(|name| table.column(name));
            let numbered = Kind::Int { min: 0, max: i128::from(u64::MAX) };
            let mut keys: Vec<Column> = columns.cloned().collect();
            for key in keys.iter_mut().filter(|key| is_listed(engine, key)) {
                key.kind = numbered.clone();
            }
            keys
        }
        Keyset::None => Vec::new(),
    }
}

/// Whether it is one of MySQL's ENUM or SET: those are put in order by a number, and compared with a
/// text by another order.
fn is_listed(engine: Engine, column: &Column) -> bool {
    let declared = column.declared.to_ascii_lowercase();
    engine == Engine::MySql && (declared.starts_with("enum") || declared.starts_with("set"))
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
        Keyset::Columns(columns) => {
            let listed = |key: &str| table.column(key).is_some_and(|c| is_listed(engine, c));
            let key = |key: &String| match name(key) {
                name if listed(key) => format!("({name} + 0)"),
                name => name,
            };
            columns.iter().map(key).collect()
        }
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

/// What shows a column as a text, save MySQL's bytes; on SQLite with the type of what is stored before
/// it, and a float after it.
fn expression(engine: Engine, column: &Column, name: &str) -> String {
    let declared = column.declared.to_ascii_lowercase();
    let begins = |with: &str| declared.starts_with(with);
    match (engine, &column.kind) {
        (Engine::Postgres, _) => format!("{name}::text"),
        // As they are: of more than half a packet HEX() makes NULL.
        (Engine::MySql, Kind::Bytes { .. })
            if declared.contains("blob") || begins("binary") || begins("varbinary") =>
        {
            name.to_owned()
        }
        (Engine::MySql, Kind::Bytes { .. }) => format!("CAST({name} AS BINARY)"),
        (Engine::MySql, Kind::Float { .. }) => format!("CAST({name} + 0e0 AS CHAR)"),
        (Engine::MySql, Kind::Int { .. }) if begins("bit") || is_listed(engine, column) => {
            format!("CAST({name} + 0 AS CHAR)")
        }
        (Engine::MySql, _) => format!("CAST({name} AS CHAR)"),
        (Engine::Sqlite, _) => format!(
            "typeof({name}), CASE typeof({name}) WHEN 'blob' THEN hex({name}) \
             WHEN 'real' THEN NULL ELSE CAST({name} AS TEXT) END, \
             CASE typeof({name}) WHEN 'real' THEN {name} END"
        ),
    }
}

/// Errors: DB-015 where a value can't be read; none is taken for NULL.
fn raws(row: &Row, engine: Engine, columns: &[&Column]) -> Result<Vec<Raw>> {
    columns.iter().enumerate().map(|(n, column)| raw(row, engine, n, column)).collect()
}

fn raw(row: &Row, engine: Engine, n: usize, column: &Column) -> Result<Raw> {
    let is_bytes = matches!(column.kind, Kind::Bytes { .. });
    match engine {
        Engine::Sqlite => stored(row, 3 * n),
        Engine::MySql if is_bytes => {
            Ok(row.at::<Option<Vec<u8>>>(n)?.map_or(Raw::Null, Raw::Bytes))
        }
        Engine::Postgres | Engine::MySql => match row.at::<Option<String>>(n)? {
            None => Ok(Raw::Null),
            Some(shown) if is_bytes => bytes(shown.strip_prefix("\\x").unwrap_or(&shown)),
            Some(shown) => Ok(Raw::Text(shown)),
        },
    }
}

/// What SQLite has: its type, its text and its float are from `n` on.
fn stored(row: &Row, n: usize) -> Result<Raw> {
    let of_type = row.at::<String>(n)?;
    if of_type == "real" {
        return row.at::<f64>(n + 2).map(Raw::Real);
    }
    match (of_type.as_str(), row.at::<Option<String>>(n + 1)?) {
        ("null", _) => Ok(Raw::Null),
        ("integer", Some(shown)) => Ok(Raw::Int(shown)),
        ("blob", Some(shown)) => bytes(&shown),
        (_, Some(shown)) => Ok(Raw::Text(shown)),
        (_, None) => Err(Error::new(Code::Decode, "a value came as NULL that is none")),
    }
}

fn bytes(shown: &str) -> Result<Raw> {
    let unread = || Error::new(Code::Decode, "bytes came as no hexadecimal digits");
    form::from_hex(shown).map(Raw::Bytes).ok_or_else(unread)
}

fn part(engine: Engine, column: &Column, raw: Raw) -> KeyPart {
    let (class, text) = match raw {
        Raw::Null => (Class::Text, String::new()),
        Raw::Int(text) => (Class::Number, text),
        Raw::Real(real) if real.is_infinite() => {
            (Class::Number, if real > 0.0 { "9e999" } else { "-9e999" }.to_owned())
        }
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
        (Class::Number, Engine::Sqlite) => sqlite_number(text),
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

/// A number in a statement of SQLite's. That reads the digits of a float nearly, and not always as the
/// nearest: what is not whole is made of a whole number and powers of two, which it reckons exactly.
fn sqlite_number(text: &str) -> String {
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    let real = match (text.parse::<i64>(), text.parse::<f64>()) {
        (Err(_), Ok(real)) if real.is_finite() => real,
        _ => return text.to_owned(),
    };
    if real.fract() == 0.0 && real.abs() < WHOLE_MAX {
        return text.to_owned();
    }
    let bits = real.abs().to_bits();
    let (fraction, exponent) = (bits & ((1 << 52) - 1), (bits >> 52) as i32);
    let (mut whole, mut power) = match exponent {
        0 => (fraction, -1074),
        _ => (fraction | (1 << 52), exponent - 1075),
    };
    let even = whole.trailing_zeros();
    whole >>= even;
    power += even as i32;
    let sign = if real < 0.0 { "-" } else { "" };
    let mut out = format!("({sign}{whole} * 1.0");
    let (operator, mut left) = (if power < 0 { '/' } else { '*' }, power.unsigned_abs());
    while left > 0 {
        // The greatest that is a whole number there.
        let step = left.min(62);
        out += &format!(" {operator} {}", 1_u64 << step);
        left -= step;
    }
    out + ")"
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
    fn sqlites_floats_are_written_exactly() {
        assert_eq!(sqlite_number("7"), "7");
        assert_eq!(sqlite_number("-3.0"), "-3.0");
        assert_eq!(sqlite_number("9e999"), "9e999");
        assert_eq!(sqlite_number("0.75"), "(3 * 1.0 / 4)");
        assert_eq!(sqlite_number("-0.1"), "(-3602879701896397 * 1.0 / 36028797018963968)");
        // By the same steps as SQLite reckons.
        for number in [0.1_f64, 1e300, 1.7e308, 5e-324, 2.2e-308, 123.456, 1e16 + 2.0] {
            let shown = sqlite_number(&format!("{number:?}"));
            let mut parts = shown.trim_matches(['(', ')']).split(' ');
            let mut reckoned: f64 = parts.next().unwrap().parse().unwrap();
            while let (Some(operator), Some(by)) = (parts.next(), parts.next()) {
                let by: f64 = by.parse().unwrap();
                reckoned = if operator == "/" { reckoned / by } else { reckoned * by };
            }
            assert_eq!(reckoned.to_bits(), number.to_bits(), "{shown}");
        }
    }

    #[test]
    fn an_enum_is_gone_through_by_its_number() {
        let column = |name: &str, declared: &str| Column {
            name: name.to_owned(),
            declared: declared.to_owned(),
            kind: Kind::of(Engine::MySql, declared),
            required: true,
            generated: false,
        };
        let key = vec!["e".to_owned(), "id".to_owned()];
        let table = Table {
            name: "t".to_owned(),
            columns: vec![column("e", "enum('z','a')"), column("id", "int(11)")],
            key: key.clone(),
            order: Keyset::Columns(key),
            references: Vec::new(),
        };
        let keys = key_columns(Engine::MySql, &table);
        let columns: Vec<_> = table.columns.iter().chain(&keys).collect();
        let sql = select(Engine::MySql, &table, &columns, None, 10);
        assert_eq!(
            sql,
            "SELECT CAST(t.`e` AS CHAR), CAST(t.`id` AS CHAR), CAST(t.`e` + 0 AS CHAR), \
             CAST(t.`id` AS CHAR) FROM `t` t ORDER BY (t.`e` + 0), t.`id` LIMIT 10"
        );
        let part = part(Engine::MySql, &keys[0], Raw::Text("2".to_owned()));
        assert_eq!(part.class, Class::Number);
    }

    #[test]
    fn no_text_ends_a_literal() {
        let text = |engine, text| literal_of(engine, Class::Text, text);
        assert_eq!(text(Engine::MySql, "a\\'\0"), "'a\\\\''\\0'");
        assert_eq!(text(Engine::Sqlite, "a\0"), "CAST(X'6100' AS TEXT)");
        assert_eq!(literal_of(Engine::Postgres, Class::Bytes, "00ff"), "'\\x00ff'");
    }
}
