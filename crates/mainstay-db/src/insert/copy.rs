//! PostgreSQL's COPY in its text format, which the server reads by each column's own rules.
//!
//! The format: PostgreSQL's documentation of COPY, "Text Format"; of arrays, "Array Input and Output
//! Syntax".

use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;

use mainstay_core::Result;

use super::Target;
use crate::connection::{Activity, Connection, Raw};
use crate::db::Db;
use crate::error::from_driver;
use crate::record::Record;
use crate::statement::Sql;
use crate::text::Text;
use crate::value::{Value, unsupported};

/// Sent when the buffer has grown to this.
const BUFFER_BYTES: usize = 256 * 1024;

pub(super) async fn insert(
    db: &Db,
    target: &Target,
    text: &Text,
    rows: impl Iterator<Item = Vec<Value>> + Send,
    record: &mut Record<'_>,
) -> Result<u64> {
    let mut hold = record.held(pin!(db.hold(false, false, target.place))).await?;
    let sql = Sql::Dynamic(Arc::clone(&target.sql));
    let _ran = hold.begins(db, text, &sql, target.place)?;
    let Connection { raw, state, .. } = &mut *hold;
    #[allow(irrefutable_let_patterns, reason = "refutable only with several engines")]
    let Raw::Postgres(postgres, _) = raw else { unreachable!("COPY is sent to PostgreSQL alone") };
    state.activity = Activity::Waiting;
    // The driver does not count the answers that a COPY owes: cut off half-way, nobody knows which
    // answer is whose. So it is broken until it has ended in order.
    state.broken = true;
    let work = async { Ok(send(postgres, target, rows).await) };
    let outcome = db.in_time(db.deadline(), work).await?;
    match &outcome {
        Ok(_) | Err(Failed::Server(sqlx::Error::Database(_))) => state.broken = false,
        Err(Failed::Row(_)) => {
            state.broken = false;
            state.failed_in_transaction |= state.in_transaction;
        }
        Err(Failed::Server(_) | Failed::Stop(_)) => {}
    }
    state.note(match &outcome {
        Ok(_) | Err(Failed::Row(_)) => Ok(false),
        Err(Failed::Server(error) | Failed::Stop(error)) => Err(error),
    });
    outcome.map_err(|failed| match failed {
        Failed::Server(error) | Failed::Stop(error) => from_driver(error, Some(&target.sql)),
        Failed::Row(error) => error,
    })
}

enum Failed {
    /// By the server; the driver has read its answer to the end.
    Server(sqlx::Error),
    /// A row could not be encoded; the copy was called off and the server has said so.
    Row(mainstay_core::Error),
    /// While it was called off: the driver leaves the rest of that answer unread.
    Stop(sqlx::Error),
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Failed::Server(error)
    }
}

async fn send(
    postgres: &mut sqlx::PgConnection,
    target: &Target,
    rows: impl Iterator<Item = Vec<Value>> + Send,
) -> Result<u64, Failed> {
    let mut copy = postgres.copy_in_raw(&target.sql).await?;
    let mut buffer = String::with_capacity(BUFFER_BYTES + 1024);
    for values in rows {
        if let Err(error) = target.check(&values).and_then(|()| line(&mut buffer, values)) {
            copy.abort("a row could not be encoded").await.map_err(Failed::Stop)?;
            return Err(Failed::Row(error));
        }
        if buffer.len() >= BUFFER_BYTES {
            copy.send(buffer.as_bytes()).await?;
            buffer.clear();
        }
    }
    copy.send(buffer.as_bytes()).await?;
    Ok(copy.finish().await?)
}

fn line(out: &mut String, values: Vec<Value>) -> Result<()> {
    for (n, value) in values.into_iter().enumerate() {
        if n > 0 {
            out.push('\t');
        }
        match text(value)? {
            None => out.push_str("\\N"),
            Some(text) => escape(out, &text),
        }
    }
    out.push('\n');
    Ok(())
}

/// The value as the server's input functions read it; `None` is NULL.
fn text(value: Value) -> Result<Option<String>> {
    Ok(match value {
        Value::Bool(v) => v.map(|v| if v { "t" } else { "f" }.to_owned()),
        Value::TinyInt(v) => v.map(|v| v.to_string()),
        Value::SmallInt(v) => v.map(|v| v.to_string()),
        Value::Int(v) => v.map(|v| v.to_string()),
        Value::BigInt(v) => v.map(|v| v.to_string()),
        Value::TinyUnsigned(v) => v.map(|v| v.to_string()),
        Value::SmallUnsigned(v) => v.map(|v| v.to_string()),
        Value::Unsigned(v) => v.map(|v| v.to_string()),
        Value::BigUnsigned(v) => v.map(|v| v.to_string()),
        // Rust's shortest form that reads back the same; the names of the others agree too.
        Value::Float(v) => v.map(|v| v.to_string()),
        Value::Double(v) => v.map(|v| v.to_string()),
        Value::String(v) => v,
        Value::Char(v) => v.map(String::from),
        Value::Bytes(v) => v.map(|v| hex(&v)),
        Value::Json(v) => v.map(|v| v.to_string()),
        Value::ChronoDate(v) => v.map(|v| v.to_string()),
        Value::ChronoTime(v) => v.map(|v| v.to_string()),
        Value::ChronoDateTime(v) => v.map(|v| v.to_string()),
        Value::ChronoDateTimeUtc(v) => v.map(|v| v.to_rfc3339()),
        Value::ChronoDateTimeLocal(v) => v.map(|v| v.to_rfc3339()),
        Value::ChronoDateTimeWithTimeZone(v) => v.map(|v| v.to_rfc3339()),
        Value::Uuid(v) => v.map(|v| v.to_string()),
        Value::Decimal(v) => v.map(|v| v.to_string()),
        Value::Array(_, items) => items.map(|items| array(*items)).transpose()?,
        other @ Value::Enum(_) => return Err(unsupported(&other, "COPY")),
    })
}

/// `{"a","b",NULL}`.
fn array(items: Vec<Value>) -> Result<String> {
    let mut out = String::from("{");
    for (n, item) in items.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        match text(item)? {
            None => out.push_str("NULL"),
            Some(text) => {
                let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = write!(out, "\"{quoted}\"");
            }
        }
    }
    out.push('}');
    Ok(out)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(2 + bytes.len() * 2);
    out.push_str("\\x");
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)].into());
        out.push(DIGITS[usize::from(byte & 15)].into());
    }
    out
}

fn escape(out: &mut String, text: &str) {
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'\\' => "\\\\",
            b'\t' => "\\t",
            b'\n' => "\\n",
            b'\r' => "\\r",
            _ => continue,
        };
        out.push_str(&text[copied..at]);
        out.push_str(escaped);
        copied = at + 1;
    }
    out.push_str(&text[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::insert::IntoValues;

    #[test]
    fn a_line_escapes_what_would_end_it() {
        let mut out = String::new();
        let row = ("a\tb\\c\nd", None::<i64>, vec![1u8, 0xab], true);
        line(&mut out, row.into_values()).unwrap();
        assert_eq!(out, "a\\tb\\\\c\\nd\t\\N\t\\\\x01ab\tt\n");
    }

    #[test]
    fn an_array_quotes_its_elements() {
        let value: Value = vec!["a\"b".to_owned(), "c\\d".to_owned()].into();
        assert_eq!(text(value).unwrap().unwrap(), r#"{"a\"b","c\\d"}"#);
    }
}
