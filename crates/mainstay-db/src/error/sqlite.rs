//! SQLite's extended result codes as codes.

use mainstay_core::{Code, Error};
use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

use super::violation::{Violation, ViolationKind};
use super::with_place;

pub(super) fn map(error: &SqliteError, sql: Option<&str>) -> Error {
    let number: i32 = error.code().and_then(|c| c.parse().ok()).unwrap_or(0);
    let message = DatabaseError::message(error);
    let violated = match number {
        2067 | 1555 | 2579 => Some(columns(ViolationKind::Unique, message)),
        787 => Some(Violation::new(ViolationKind::ForeignKey)),
        // A trigger's own refusal has the text that its author gave it.
        1811 if message == "FOREIGN KEY constraint failed" => {
            Some(Violation::new(ViolationKind::ForeignKey))
        }
        1299 => Some(columns(ViolationKind::NotNull, message)),
        275 => Some(Violation {
            constraint: message.split_once(": ").map(|(_, name)| name.to_owned()),
            ..Violation::new(ViolationKind::Check)
        }),
        _ => None,
    };
    if let Some(violation) = violated {
        return violation.into_error();
    }
    // Full-text search quotes what was searched for.
    if message.starts_with("fts5:") {
        return Error::new(Code::Data, "the full-text query is malformed");
    }
    let code = code(number, message);
    let built = Error::new(code, message.to_owned());
    with_place(built, sql, sql.and_then(|sql| place(message, sql)))
}

/// SQLite rolls back by itself where it ran out of something or was interrupted in a write.
pub(super) fn ends_transaction(error: &SqliteError) -> bool {
    let number: i32 = error.code().and_then(|c| c.parse().ok()).unwrap_or(0);
    matches!(number & 0xff, 7 | 9 | 10 | 13)
}

fn code(number: i32, message: &str) -> Code {
    match number & 0xff {
        19 if number == 1811 => Code::Check,
        1 if message.contains("syntax error")
            || message.contains("incomplete input")
            || message.contains("unrecognized token") =>
        {
            Code::Syntax
        }
        1 if message.contains("already exists") || message.starts_with("duplicate column") => {
            Code::Exists
        }
        1 if message.starts_with("no such") || message.contains("has no column") => Code::Undefined,
        // Another process holds the file: our own connections queue in the pool.
        5 | 6 => Code::LockTimeout,
        8 | 3 | 23 => Code::Denied,
        9 | 4 => Code::StatementCancelled,
        10 | 13 | 7 => Code::Resources,
        14 | 26 | 11 => Code::File,
        18..=20 => Code::Data,
        _ => Code::Server,
    }
}

/// `UNIQUE constraint failed: users.email, users.name`.
fn columns(kind: ViolationKind, message: &str) -> Violation {
    let list = message.split_once(": ").map_or("", |(_, list)| list);
    let pairs: Vec<_> = list.split(", ").filter_map(|c| c.split_once('.')).collect();
    Violation {
        table: pairs.first().map(|(table, _)| (*table).to_owned()),
        columns: pairs.iter().map(|(_, column)| (*column).to_owned()).collect(),
        ..Violation::new(kind)
    }
}

/// Where the name or token that SQLite quotes is in the text, if it is there once.
fn place(message: &str, sql: &str) -> Option<usize> {
    let token = match message.split_once("near \"") {
        Some((_, rest)) => rest.rsplit_once('"')?.0,
        None => message.strip_prefix("no such ")?.split_once(": ")?.1.rsplit('.').next()?,
    };
    let mut found = sql.match_indices(token);
    let first = found.next()?.0;
    found.next().is_none().then_some(first)
}
