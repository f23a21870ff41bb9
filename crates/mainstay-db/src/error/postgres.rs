//! PostgreSQL's SQLSTATEs as codes.

use mainstay_core::{Code, Error};
use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use super::violation::{Violation, ViolationKind, between};
use super::{with_place, without_values};

pub(super) fn map(error: &PgDatabaseError, sql: Option<&str>) -> Error {
    let state = error.code();
    let kind = match state {
        "23505" => Some(ViolationKind::Unique),
        "23503" => Some(ViolationKind::ForeignKey),
        "23502" => Some(ViolationKind::NotNull),
        "23514" | "23P01" => Some(ViolationKind::Check),
        _ => None,
    };
    if let Some(kind) = kind {
        return violation(error, kind).into_error();
    }
    let code = code(state);
    let message = if state.starts_with("22") {
        without_values(error.message())
    } else {
        error.message().to_owned()
    };
    let built = Error::new(code, message);
    // Of a deadlock it says no more than to look elsewhere; of bad data it may quote the data.
    let helps = matches!(code, Code::Syntax | Code::Undefined | Code::TypeMismatch | Code::Server);
    let built = match error.hint() {
        Some(hint) if helps => built.fix(hint.to_owned()),
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

fn code(state: &str) -> Code {
    match state {
        "42601" | "42P02" | "42000" => Code::Syntax,
        "42P01" | "42703" | "42883" | "42704" | "3F000" | "42P10" => Code::Undefined,
        "42804" | "42846" | "42P18" | "42P08" | "42725" => Code::TypeMismatch,
        "28000" | "28P01" => Code::Auth,
        "3D000" => Code::NoDatabase,
        "53300" => Code::TooManyConnections,
        "40001" => Code::Serialization,
        "40P01" => Code::Deadlock,
        "55P03" => Code::LockTimeout,
        "57014" => Code::StatementCancelled,
        "57P01" | "57P02" | "57P05" | "25P03" => Code::ConnectionLost,
        "57P03" => Code::Unreachable,
        "42501" | "25006" => Code::Denied,
        "25P02" => Code::TxRollbackOnly,
        "0A000" => Code::Unsupported,
        s if s.starts_with("22") => Code::Data,
        s if s.starts_with("53") || s.starts_with("54") => Code::Resources,
        s if s.starts_with("08") => Code::Protocol,
        _ => Code::Server,
    }
}

fn violation(error: &PgDatabaseError, kind: ViolationKind) -> Violation {
    let mut columns: Vec<String> = error.column().map(str::to_owned).into_iter().collect();
    if columns.is_empty() {
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
