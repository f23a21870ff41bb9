//! How far each table has come, kept in the target and changed in one transaction with the rows, so
//! that a run goes on exactly where the one before was cut off.

use std::collections::HashMap;

use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;

use super::read::KeyPart;
use super::side::Side;
use super::value::Class;

/// The table in the target.
pub(super) const TABLE: &str = "mainstay_copy";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Where it was copied from, as a hash of its place.
    pub(super) source: String,
    /// Of the last row that is in the target.
    pub(super) key: Option<Vec<KeyPart>>,
    pub(super) rows: u64,
    pub(super) started: String,
    /// When all rows were there.
    pub(super) done: Option<String>,
}

/// Makes the table unless it is there.
pub(super) async fn create(target: &mut Side) -> Result<()> {
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {TABLE} (table_name VARCHAR(200) NOT NULL PRIMARY KEY, \
         source VARCHAR(64) NOT NULL, last_key TEXT, rows_done BIGINT NOT NULL, \
         started VARCHAR(40) NOT NULL, done VARCHAR(40))"
    );
    target.run(&sql).await.map(drop)
}

/// All of them, by table.
pub(super) async fn read(target: &mut Side) -> Result<HashMap<String, Cursor>> {
    let sql = format!("SELECT table_name, source, last_key, rows_done, started, done FROM {TABLE}");
    let rows = target.session.rows(&sql, Vec::new()).await?;
    let mut out = HashMap::new();
    for row in rows {
        let name: String = row.at(0)?;
        let key = match row.at::<Option<String>>(2)? {
            None => None,
            Some(text) => Some(parse(&text).ok_or_else(|| {
                let what = format!("{TABLE} has no key for {name} that can be read");
                Error::new(Code::CopySource, what).fix("empty that table and remove its row")
            })?),
        };
        let cursor = Cursor {
            source: row.at(1)?,
            key,
            rows: row.at::<i64>(3)?.unsigned_abs(),
            started: row.at(4)?,
            done: row.at(5)?,
        };
        out.insert(name, cursor);
    }
    Ok(out)
}

/// The statement that writes a cursor down, in place of what was there.
pub(super) fn write_sql(target: &Side, table: &str, cursor: &Cursor) -> String {
    let optional =
        |text: Option<&str>| text.map_or_else(|| "NULL".to_owned(), |text| target.literal(text));
    let key = cursor.key.as_deref().map(shown);
    let values = format!(
        "{}, {}, {}, {}, {}, {}",
        target.literal(table),
        target.literal(&cursor.source),
        optional(key.as_deref()),
        cursor.rows,
        target.literal(&cursor.started),
        optional(cursor.done.as_deref()),
    );
    let columns = "table_name, source, last_key, rows_done, started, done";
    match target.engine {
        Engine::MySql => format!("REPLACE INTO {TABLE} ({columns}) VALUES ({values})"),
        Engine::Sqlite | Engine::Postgres => format!(
            "INSERT INTO {TABLE} ({columns}) VALUES ({values}) ON CONFLICT (table_name) DO UPDATE \
             SET source = excluded.source, last_key = excluded.last_key, \
             rows_done = excluded.rows_done, started = excluded.started, done = excluded.done"
        ),
    }
}

/// A key as JSON: each part a text, its class before it.
pub(super) fn shown(key: &[KeyPart]) -> String {
    let part = |part: &KeyPart| {
        let class = match part.class {
            Class::Number => 'n',
            Class::Text => 't',
            Class::Bytes => 'b',
        };
        format!("{class}{}", part.text)
    };
    serde_json::Value::from(key.iter().map(part).collect::<Vec<_>>()).to_string()
}

fn parse(text: &str) -> Option<Vec<KeyPart>> {
    let parts: Vec<String> = serde_json::from_str(text).ok()?;
    parts.iter().map(|part| parse_part(part)).collect()
}

/// Numbers and bytes go into a statement without quotes: they are looked at first.
fn parse_part(part: &str) -> Option<KeyPart> {
    let mut rest = part.chars();
    let class = match rest.next()? {
        'n' => Class::Number,
        't' => Class::Text,
        'b' => Class::Bytes,
        _ => return None,
    };
    let text = rest.as_str().to_owned();
    let sound = match class {
        Class::Number => text.parse::<f64>().is_ok(),
        Class::Bytes => text.bytes().all(|b| b.is_ascii_hexdigit()),
        Class::Text => true,
    };
    sound.then_some(KeyPart { class, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_as_it_was() {
        let part = |class, text: &str| KeyPart { class, text: text.to_owned() };
        let key =
            vec![part(Class::Number, "-7"), part(Class::Text, "a\"b"), part(Class::Bytes, "00ff")];
        assert_eq!(parse(&shown(&key)), Some(key));
        assert_eq!(parse("[\"n1 OR 1=1\"]"), None);
        assert_eq!(parse("[\"x1\"]"), None);
    }
}
