//! MySQL's and MariaDB's error numbers as codes.

use mainstay_core::{Code, Error};
use sqlx::mysql::MySqlDatabaseError;

use super::violation::{Violation, ViolationKind, between};
use super::with_place;

pub(super) fn map(error: &MySqlDatabaseError, sql: Option<&str>) -> Error {
    let (number, message) = (error.number(), error.message());
    let violated = match number {
        1062 | 1169 | 1586 => Some(unique(message)),
        1216 | 1217 | 1451 | 1452 => Some(foreign_key(message)),
        1048 | 1364 => Some(not_null(message)),
        3819 | 4025 => Some(check(message)),
        _ => None,
    };
    if let Some(violation) = violated {
        return violation.into_error();
    }
    let code = code(number);
    let shown =
        if code == Code::Data { data(number, message) } else { first_sentence(message, code) };
    with_place(Error::new(code, shown), sql, sql.and_then(|sql| place(message, sql)))
}

/// The server quotes the value in these; its column is told without it.
fn data(number: u16, message: &str) -> String {
    let what = match number {
        1406 => "a value is too long for its column",
        1264 | 1690 => "a number is out of the range of its type",
        1292 | 1366 | 1411 => "a value can't be read as the type it is used as",
        1265 => "a value was cut off",
        _ => "a value is not valid where it is used",
    };
    match message.rsplit_once("for column ").and_then(|(_, rest)| rest.split(" at row").next()) {
        Some(column) if column.len() < 200 => {
            let name = column.rsplit('.').next().unwrap_or(column);
            format!("{what}: {}", name.trim_matches(['`', '\'']))
        }
        _ => what.to_owned(),
    }
}

/// Not after a farewell: shutdown, a killed or an idle connection.
pub(super) fn leaves_connection_usable(error: &MySqlDatabaseError) -> bool {
    !matches!(error.number(), 1053 | 1077 | 1078 | 1079 | 1080 | 1152..=1161 | 1184 | 1927 | 4031)
}

/// The victim of a deadlock, of a changed record under snapshot isolation, or of a full table of locks
/// is rolled back whole.
pub(super) fn ends_transaction(error: &MySqlDatabaseError) -> bool {
    matches!(error.number(), 1020 | 1206 | 1213)
}

fn code(number: u16) -> Code {
    match number {
        1064 | 1149 => Code::Syntax,
        1146 | 1054 | 1051 | 1109 | 1305 | 1091 | 1008 | 1360 => Code::Undefined,
        1050 | 1060 | 1061 | 1304 | 1359 | 1007 | 1826 | 1022 => Code::Exists,
        1264 | 1265 | 1292 | 1366 | 1367 | 1406 | 1411 | 1525 | 1526 | 1690 | 1761 | 3140 => {
            Code::Data
        }
        1044 | 1045 | 1698 => Code::Auth,
        1049 => Code::NoDatabase,
        1040 | 1203 => Code::TooManyConnections,
        // 3058 is of locks by name.
        1213 | 3058 => Code::Deadlock,
        1205 | 3572 => Code::LockTimeout,
        1020 => Code::Serialization,
        1317 | 1969 | 3024 => Code::StatementCancelled,
        1053 | 1927 | 4031 => Code::ConnectionLost,
        1142 | 1143 | 1227 | 1290 | 1792 | 1370 => Code::Denied,
        1021 | 1041 | 1114 | 1037 | 1038 => Code::Resources,
        1235 | 1295 => Code::Unsupported,
        // Raised by our own triggers, while a logical shard moves and after.
        31026 => Code::ShardStale,
        _ => Code::Server,
    }
}

/// The advice to read a manual is no help, and the text it quotes is shown with its place anyway.
fn first_sentence(message: &str, code: Code) -> String {
    match message.split_once("; check the manual") {
        Some((head, _)) if code == Code::Syntax => head.to_owned(),
        _ => message.to_owned(),
    }
}

/// Where the text that the server quotes begins in ours.
fn place(message: &str, sql: &str) -> Option<usize> {
    let near = between(message, "near '", "' at line").filter(|n| !n.is_empty());
    let name =
        || between(message, "nown column '", "'").or_else(|| between(message, "Table '", "'"));
    // The quoted text may hold a `?` for our `$n`, and tables are named with their database.
    let quoted = near.or_else(name)?;
    let head = quoted.split('?').next()?.trim_end();
    let head = if near.is_some() { head } else { head.rsplit('.').next()? };
    if head.is_empty() { None } else { sql.find(head) }
}

/// `Duplicate entry 'x' for key 'users.email'`: only what follows the value.
fn unique(message: &str) -> Violation {
    let key = message.rsplit_once(" for key '").map(|(_, key)| key.trim_end_matches('\''));
    let (table, constraint) = match key.and_then(|k| k.split_once('.')) {
        Some((table, key)) => (Some(table.to_owned()), Some(key.to_owned())),
        None => (None, key.map(str::to_owned)),
    };
    Violation { constraint, table, ..Violation::new(ViolationKind::Unique) }
}

/// ``(`db`.`orders`, CONSTRAINT `fk` FOREIGN KEY (`user_id`) REFERENCES ...``.
fn foreign_key(message: &str) -> Violation {
    let table = between(message, "(`", ",").and_then(|t| t.rsplit('`').nth(1));
    let columns = between(message, "FOREIGN KEY (", ")").into_iter().flat_map(|c| c.split(", "));
    Violation {
        constraint: between(message, "CONSTRAINT `", "`").map(str::to_owned),
        table: table.map(str::to_owned),
        columns: columns.map(|c| c.trim_matches('`').to_owned()).collect(),
        ..Violation::new(ViolationKind::ForeignKey)
    }
}

/// `Column 'name' cannot be null` and `Field 'name' doesn't have a default value`.
fn not_null(message: &str) -> Violation {
    let column = between(message, "'", "'").map(str::to_owned);
    Violation { columns: column.into_iter().collect(), ..Violation::new(ViolationKind::NotNull) }
}

/// ``CONSTRAINT `positive` failed for `db`.`accounts` ``, or MySQL's `Check constraint 'positive'`.
fn check(message: &str) -> Violation {
    let constraint =
        between(message, "CONSTRAINT `", "`").or_else(|| between(message, "constraint '", "'"));
    let table = between(message, "failed for `", "` ")
        .or_else(|| message.split_once("failed for `").map(|(_, t)| t));
    Violation {
        // A check of one column is named after its column, with its table before.
        constraint: constraint.map(|c| c.rsplit('.').next().unwrap_or(c).to_owned()),
        table: table.and_then(|t| t.trim_end_matches('`').rsplit('`').next()).map(str::to_owned),
        ..Violation::new(ViolationKind::Check)
    }
}
