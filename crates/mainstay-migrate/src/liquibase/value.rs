//! Numbers and dates among the values of a change, as Liquibase keeps them: what is no number or no
//! date is an expression of SQL to it.

use super::model::Fields;

/// Sets a field, or that of an expression instead.
pub(super) fn insert(fields: &mut Fields, name: &'static str, value: String, timestamp: bool) {
    let computed = match name {
        "valueNumeric" | "valueDate" => "valueComputed",
        "defaultValueNumeric" | "defaultValueDate" => "defaultValueComputed",
        _ => {
            fields.insert(name, value);
            return;
        }
    };
    if value.eq_ignore_ascii_case("null") {
        return;
    }
    let kept = if name.ends_with("Date") { date(&value, timestamp) } else { number(&value) };
    match kept {
        Some(kept) => fields.insert(name, kept),
        None => fields.insert(computed, value),
    };
}

/// What begins as a number does; parentheses around it go.
fn number(value: &str) -> Option<String> {
    let inner = value.strip_prefix('(').and_then(|v| v.strip_suffix(')')).unwrap_or(value);
    let digits = inner.strip_prefix('-').unwrap_or(inner);
    let digits = digits.strip_prefix('.').unwrap_or(digits);
    digits.starts_with(|c: char| c.is_ascii_digit()).then(|| inner.to_owned())
}

/// A date, a time, or both with a `T` between them. A date of YAML's own is a moment: midnight, and
/// to the second.
fn date(value: &str, timestamp: bool) -> Option<String> {
    let (date, time) = match value.split_once(['T', ' ']) {
        Some((date, time)) => (Some(date), Some(time)),
        None if value.contains(':') => (None, Some(value)),
        None => (Some(value), None),
    };
    if date.is_some_and(|d| !shaped(d, "dddd-dd-dd")) {
        return None;
    }
    let time = match time {
        None => None,
        Some(time) => {
            let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
            let digits = fraction.bytes().all(|b| b.is_ascii_digit());
            if !shaped(seconds, "dd:dd:dd") || !digits || time.ends_with('.') {
                return None;
            }
            let fraction = if timestamp { "" } else { fraction.trim_end_matches('0') };
            let point = if fraction.is_empty() { "" } else { "." };
            Some(format!("{seconds}{point}{fraction}"))
        }
    };
    Some(match (date, time) {
        (Some(date), Some(time)) => format!("{date}T{time}"),
        (Some(date), None) if timestamp => format!("{date}T00:00:00"),
        (date, time) => date.map(str::to_owned).or(time).unwrap_or_default(),
    })
}

/// Whether a text has this shape; `d` stands for a digit.
fn shaped(text: &str, shape: &str) -> bool {
    let fits = |(t, s): (u8, u8)| if s == b'd' { t.is_ascii_digit() } else { t == s };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &'static str, value: &str, timestamp: bool) -> String {
        let mut fields = Fields::new();
        insert(&mut fields, name, value.to_owned(), timestamp);
        let all: Vec<_> = fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        all.join(" ")
    }

    #[test]
    fn values_are_kept_as_a_real_liquibase_keeps_them() {
        let numeric = |value| kept("valueNumeric", value, false);
        for number in ["1", "1.50", "-3", "1e3", "1,000", "-.5", "1.0"] {
            assert_eq!(numeric(number), format!("valueNumeric={number}"));
        }
        for expression in ["abc", "{fn x()}", " 5 ", "a+1"] {
            assert_eq!(numeric(expression), format!("valueComputed={expression}"));
        }
        assert_eq!(numeric("(1+2)"), "valueNumeric=1+2");
        assert_eq!(numeric("NULL"), "");

        let date = |value| kept("valueDate", value, false);
        assert_eq!(date("2020-01-02"), "valueDate=2020-01-02");
        assert_eq!(date("2020-01-02 03:04:05"), "valueDate=2020-01-02T03:04:05");
        assert_eq!(date("2020-01-02T03:04:05.120"), "valueDate=2020-01-02T03:04:05.12");
        assert_eq!(date("2020-01-02T03:04:05.123456"), "valueDate=2020-01-02T03:04:05.123456");
        assert_eq!(date("03:04:05"), "valueDate=03:04:05");
        for expression in ["now()", "2020-01-02T03:04", "2020-1-2", "2020-01-02T03:04:05Z"] {
            assert_eq!(date(expression), format!("valueComputed={expression}"));
        }
        assert_eq!(kept("valueDate", "2020-01-02", true), "valueDate=2020-01-02T00:00:00");
        let moment = kept("valueDate", "2020-01-02T03:04:05.120", true);
        assert_eq!(moment, "valueDate=2020-01-02T03:04:05");
        let default = kept("defaultValueDate", "CURRENT_TIMESTAMP", false);
        assert_eq!(default, "defaultValueComputed=CURRENT_TIMESTAMP");
    }
}
