//! How numbers, times and statements are shown to people. A statement's values are never shown.

use std::time::Duration;

use mainstay_db::Engine;
use mainstay_db::lex::{Lexer, Token};

/// Longer statements are cut.
const SHOWN_MAX: usize = 120;
/// What is read of one to be shown.
const READ_MAX: usize = 4_000;

/// Such as `12 MB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 10.0 && unit > 0);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// With commas, such as `12,345`.
pub(super) fn number(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(0).to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Such as `1 index` and `3 indexes`.
pub(super) fn count(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {many}", number(n as u64)) }
}

/// In the unit that suits it, such as `3 min`.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", (s * 1000.0).max(0.0)),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

pub(super) fn duration(time_: Duration) -> String {
    time(time_.as_secs_f64())
}

/// Such as `37 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Whether a share of `part` in `whole`, and how much.
pub(super) fn share(part: i64, whole: i64) -> f64 {
    if whole <= 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A statement in a line, with `?` for each string and number that it holds: they may be secrets.
pub(super) fn statement(sql: &str, engine: Engine) -> String {
    let sql = &sql[..sql.floor_char_boundary(READ_MAX)];
    let mut out = String::new();
    let mut gap = false;
    for (token, range) in Lexer::new(sql, engine) {
        let text = match token {
            Token::Space | Token::Comment => {
                gap = !out.is_empty();
                continue;
            }
            Token::String | Token::Number => "?",
            _ => &sql[range],
        };
        if std::mem::take(&mut gap) {
            out.push(' ');
        }
        out.push_str(text);
        if out.len() > SHOWN_MAX {
            out.truncate(out.floor_char_boundary(SHOWN_MAX));
            out.push_str("...");
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_statements_are_not_shown() {
        let sql = "SELECT  *\n FROM u -- the user's\n WHERE mail = 'ada@example.org' AND pin=1234";
        let shown = statement(sql, Engine::Postgres);
        assert_eq!(shown, "SELECT * FROM u WHERE mail = ? AND pin=?");
        // As a server cuts it off.
        assert_eq!(statement("SELECT 'secr", Engine::MySql), "SELECT ?");
        let long = format!("SELECT {}", "é, ".repeat(2_000));
        assert!(statement(&long, Engine::Sqlite).len() <= SHOWN_MAX + 3);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1_536), "1.5 kB");
        assert_eq!(bytes(12 << 20), "12 MB");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(12), "12");
        assert_eq!(count(1, "index", "indexes"), "1 index");
        assert_eq!(time(0.25), "250 ms");
        assert_eq!(time(600.0), "10 min");
        assert_eq!(percent(share(3, 4)), "75 %");
        assert!(share(1, 0).abs() < 1e-9);
    }
}
