//! PostgreSQL's SQLSTATEs as codes.

use mainstay_core::{Code, Error};
use sqlx::postgres::{PgDatabaseError, PgErrorPosition, PgSeverity};

use super::violation::{Violation, ViolationKind, between};
use super::with_place;
use crate::deadlock::parse_postgres;

pub(super) fn map(error: &PgDatabaseError, sql: Option<&str>) -> Error {
    let state = error.code();
    let kind = match state {
        "23505" => Some(ViolationKind::Unique),
        "23503" | "23001" => Some(ViolationKind::ForeignKey),
        "23502" => Some(ViolationKind::NotNull),
        "23514" | "23P01" => Some(ViolationKind::Check),
        _ => None,
    };
    if let Some(kind) = kind {
        return violation(error, kind).into_error();
    }
    let code = code(state);
    // The server quotes the value in these; what kind of mistake it is, the state tells as well.
    let message = match state {
        s if s.starts_with("22") => data(s).to_owned(),
        _ => error.message().to_owned(),
    };
    let built = Error::new(code, message);
    // Of a deadlock it says no more than to look elsewhere; of bad data it may quote the data.
    let helps = matches!(code, Code::Syntax | Code::Undefined | Code::TypeMismatch | Code::Server);
    let built = match error.hint() {
        Some(hint) if helps => built.fix(hint.to_owned()),
        _ => built,
    };
    let built = match error.detail() {
        Some(detail) if code == Code::Deadlock => built.with_detail(parse_postgres(detail)),
        _ => built,
    };
    let at = match error.position() {
        Some(PgErrorPosition::Original(n)) => {
            sql.and_then(|sql| sql.char_indices().nth(n - 1).map(|(byte, _)| byte))
        }
        _ => None,
    };
    with_place(built, sql, at)
}

fn data(state: &str) -> &'static str {
    match state {
        "22001" => "a text is too long for its column",
        "22003" => "a number is out of the range of its type",
        "22007" | "22008" | "22009" => "a date or time can't be read, or is out of range",
        "22012" => "a division by zero",
        "22021" | "22P05" => "a text has a character that the database's encoding lacks",
        "22P02" | "22P03" => "a value can't be read as the type it is used as",
        "22032" | "22030" | "22033" => "a JSON value is not valid",
        _ => "a value is not valid where it is used",
    }
}

/// An error that ends the session, or one that a statement which this session remembers will get
/// each time from now on.
pub(super) fn leaves_connection_usable(error: &PgDatabaseError) -> bool {
    let stale = error.code() == "26000"
        || (error.code() == "0A000" && error.message().contains("cached plan"));
    !stale && !matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
}

fn code(state: &str) -> Code {
    match state {
        "42601" | "42P02" | "42000" => Code::Syntax,
        "42P01" | "42703" | "42883" | "42704" | "3F000" | "42P10" => Code::Undefined,
        "42P07" | "42710" | "42701" | "42P04" | "42P06" | "42723" => Code::Exists,
        "42804" | "42846" | "42P18" | "42P08" | "42725" => Code::TypeMismatch,
        "28000" | "28P01" => Code::Auth,
        "3D000" => Code::NoDatabase,
        "53300" => Code::TooManyConnections,
        "40001" => Code::Serialization,
        // The server itself does not know how a COMMIT ended.
        "40003" | "08007" => Code::TxAmbiguous,
        "40P01" => Code::Deadlock,
        "55P03" => Code::LockTimeout,
        "57014" => Code::StatementCancelled,
        "57P01" | "57P02" | "57P05" | "25P03" => Code::ConnectionLost,
        "57P03" => Code::Unreachable,
        "42501" | "25006" => Code::Denied,
        "25P02" => Code::TxRollbackOnly,
        // Raised by our own triggers, while a logical shard moves and after.
        "MS026" => Code::ShardStale,
        "0A000" => Code::Unsupported,
        s if s.starts_with("22") => Code::Data,
        s if s.starts_with("53") || s.starts_with("54") => Code::Resources,
        s if s.starts_with("08") => Code::Protocol,
        _ => Code::Server,
    }
}

fn violation(error: &PgDatabaseError, kind: ViolationKind) -> Violation {
    let mut columns: Vec<String> = error.column().map(str::to_owned).into_iter().collect();
    // A check's detail is the whole row.
    if columns.is_empty() && matches!(kind, ViolationKind::Unique | ViolationKind::ForeignKey) {
        // `Key (a, b)=(1, 2) already exists.` in every language: only what comes before `)=(`.
        let key = error.detail().and_then(|d| between(d, "(", ")="));
        columns.extend(key.into_iter().flat_map(|k| k.split(", ")).map(str::to_owned));
    }
    Violation {
        constraint: error.constraint().map(str::to_owned),
        table: error.table().map(str::to_owned),
        columns,
        ..Violation::new(kind)
    }
}
