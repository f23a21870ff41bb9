//! Values in one form that all engines' own forms lead to. `None` is always: it is no such value.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use serde::de::IgnoredAny;
use serde_json::Value;

/// A decimal number of more digits is none that any engine holds.
const EXPONENT_MAX: u64 = 20_000;

/// `1.50`, `+1.5` and `15e-1` are `1.5`.
pub(super) fn decimal(text: &str) -> Option<String> {
    let text = text.trim();
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0
        || !is_digits(whole)
        || !is_digits(fraction)
        || exponent.unsigned_abs() > EXPONENT_MAX
    {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i64 + exponent;
    let (whole, fraction) = if point <= 0 {
        (String::new(), format!("{}{digits}", "0".repeat(point.unsigned_abs() as usize)))
    } else if point as usize >= digits.len() {
        let zeros = "0".repeat(point as usize - digits.len());
        (format!("{digits}{zeros}"), String::new())
    } else {
        let (whole, fraction) = digits.split_at(point as usize);
        (whole.to_owned(), fraction.to_owned())
    };
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let is_zero = whole == "0" && fraction.is_empty();
    let sign = if negative && !is_zero { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// How many digits stand before the point, and after it, in what [`decimal`] gave.
pub(super) fn digits(decimal: &str) -> (usize, usize) {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    (whole.trim_start_matches(['-', '0']).len(), fraction.len())
}

/// The shortest text that reads back as the same number; `-0` is `0`.
pub(super) fn float(text: &str, single: bool) -> Option<String> {
    let number: f64 = text.trim().parse().ok()?;
    let number = if single { f64::from(number as f32) } else { number };
    let shown = if single { format!("{:?}", number as f32) } else { format!("{number:?}") };
    Some(if shown == "-0.0" { "0.0".to_owned() } else { shown })
}

/// `2024-01-02`, or a time at midnight of it.
pub(super) fn date(text: &str) -> Option<String> {
    let time = timestamp(text)?;
    time.strip_suffix(" 00:00:00.000000").map(str::to_owned)
}

/// `03:04:05.000000`.
pub(super) fn time(text: &str) -> Option<String> {
    clock(text.trim()).map(|time| time.format("%H:%M:%S%.6f").to_string())
}

/// `2024-01-02 03:04:05.000000`, in UTC.
pub(super) fn timestamp(text: &str) -> Option<String> {
    let text = text.trim();
    let (date, rest) = text.split_at_checked(10)?;
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    let rest = rest.strip_prefix(['T', 't', ' ']).unwrap_or(rest);
    let (time, behind) = match rest.find(['+', '-', 'Z', 'z', ' ']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let time = if time.is_empty() { NaiveTime::MIN } else { clock(time)? };
    let utc = NaiveDateTime::new(date, time).checked_sub_signed(offset(behind.trim())?)?;
    Some(utc.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

fn clock(text: &str) -> Option<NaiveTime> {
    // A leap second is none of the engines' times.
    let second = text.split(':').nth(2).unwrap_or_default();
    if second.starts_with('6') {
        return None;
    }
    let formats = ["%H:%M:%S%.f", "%H:%M"];
    formats.into_iter().find_map(|format| NaiveTime::parse_from_str(text, format).ok())
}

/// `Z`, `UTC`, `+02`, `+0200`, `+02:00` or `-02:00:30`; nothing is UTC.
fn offset(text: &str) -> Option<TimeDelta> {
    if ["", "z", "utc"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
        return Some(TimeDelta::zero());
    }
    let negative = text.starts_with('-');
    let digits: String = text.strip_prefix(['+', '-'])?.split(':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |text| text.parse::<i64>().ok());
    let seconds = part(0)? * 3600 + part(2)? * 60 + part(4)?;
    TimeDelta::try_seconds(if negative { -seconds } else { seconds })
}

/// How many digits of the second of what [`timestamp`] or [`time`] gave are not zero at the end.
pub(super) fn second_digits(text: &str) -> usize {
    let fraction = text.rsplit_once('.').map_or("", |(_, fraction)| fraction);
    fraction.trim_end_matches('0').len()
}

/// `text` with so many digits of its second.
pub(super) fn with_digits(text: &str, digits: usize) -> &str {
    match text.find('.') {
        Some(at) if digits == 0 => &text[..at],
        Some(at) => text.get(..=at + digits).unwrap_or(text),
        None => text,
    }
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in lower case.
pub(super) fn uuid(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches("urn:uuid:").trim_matches(['{', '}']);
    let digits = text.replace('-', "").to_ascii_lowercase();
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    Some(parts.join("-"))
}

/// JSON without spaces, keys in order; its numbers by their digits, of which no float has all.
pub(super) fn json(text: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len());
    write_json(&mut out, &mut text.trim_start(), 0)?;
    Some(out)
}

/// Writes the value that `rest` begins with, and goes past it.
fn write_json(out: &mut String, rest: &mut &str, depth: usize) -> Option<()> {
    const DEPTH_MAX: usize = 500;
    if depth > DEPTH_MAX {
        return None;
    }
    match rest.chars().next()? {
        '{' => write_object(out, rest, depth)?,
        '[' => {
            let mut open = '[';
            while let Some(()) = accept(rest, open) {
                out.push(open);
                if open == '[' && rest.starts_with(']') {
                    break;
                }
                write_json(out, rest, depth + 1)?;
                open = ',';
            }
            accept(rest, ']')?;
            out.push(']');
        }
        '"' => *out += &Value::String(string(rest)?).to_string(),
        _ => {
            let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
            let word = &rest[..end];
            // PostgreSQL writes `1e2` as `100`.
            match word {
                "true" | "false" | "null" => *out += word,
                number => *out += &decimal(number)?,
            }
            *rest = rest[end..].trim_start();
        }
    }
    Some(())
}

fn write_object(out: &mut String, rest: &mut &str, depth: usize) -> Option<()> {
    let mut fields = BTreeMap::new();
    let mut open = '{';
    while let Some(()) = accept(rest, open) {
        if open == '{' && rest.starts_with('}') {
            break;
        }
        let key = string(rest)?;
        accept(rest, ':')?;
        let mut value = String::new();
        write_json(&mut value, rest, depth + 1)?;
        // Of a key that is there twice the last counts.
        fields.insert(key, value);
        open = ',';
    }
    accept(rest, '}')?;
    out.push('{');
    for (n, (key, value)) in fields.into_iter().enumerate() {
        out.push_str(if n > 0 { "," } else { "" });
        *out += &Value::String(key).to_string();
        out.push(':');
        *out += &value;
    }
    out.push('}');
    Some(())
}

/// Goes past `c` and the space behind it, if that comes next.
fn accept(rest: &mut &str, c: char) -> Option<()> {
    *rest = rest.strip_prefix(c)?.trim_start();
    Some(())
}

/// The string that `rest` begins with; goes past it.
fn string(rest: &mut &str) -> Option<String> {
    let (mut escaped, mut end) = (false, None);
    for (n, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => {
                end = Some(n + 1);
                break;
            }
            _ => {}
        }
    }
    let (shown, behind) = rest.split_at_checked(end?)?;
    *rest = behind.trim_start();
    serde_json::from_str(shown).ok()
}

/// Whether a string in what [`json`] gave has a NUL, which is written as `\u0000` there.
pub(super) fn json_has_nul(form: &str) -> bool {
    let mut rest = form;
    while let Some((_, behind)) = rest.split_once('\\') {
        if behind.starts_with("u0000") {
            return true;
        }
        // What is escaped may be a backslash itself.
        let mut chars = behind.chars();
        chars.next();
        rest = chars.as_str();
    }
    false
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let pairs = text.as_bytes().chunks_exact(2);
    pairs.map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for (text, form) in [
            ("1.50", "1.5"),
            ("+007", "7"),
            ("-0.00", "0"),
            ("15e-1", "1.5"),
            ("1E3", "1000"),
            ("-.25", "-0.25"),
            ("12345678901234567890.123456789", "12345678901234567890.123456789"),
            ("5e-3", "0.005"),
        ] {
            assert_eq!(decimal(text).as_deref(), Some(form), "{text}");
        }
        for text in ["", ".", "1.2.3", "abc", "1e999999", "NaN", "--1"] {
            assert_eq!(decimal(text), None, "{text}");
        }
        assert_eq!((digits("-0.25"), digits("120.5"), digits("0")), ((0, 2), (3, 1), (0, 0)));
        assert_eq!(float("0.10000000000000001", false).as_deref(), Some("0.1"));
        assert_eq!(float("0.10000000149011612", true).as_deref(), Some("0.1"));
        assert_eq!(float("-0", false).as_deref(), Some("0.0"));
    }

    #[test]
    fn times_have_one_form() {
        let noon = "2024-01-02 12:00:00.000000";
        for text in [
            "2024-01-02 12:00",
            "2024-01-02T12:00:00Z",
            "2024-01-02 12:00:00 UTC",
            "2024-01-02 14:00:00+02",
            "2024-01-02T07:30:00.000000000-04:30",
            "2024-01-02 12:00:00.0000009",
        ] {
            assert_eq!(timestamp(text).as_deref(), Some(noon), "{text}");
        }
        for text in ["", "2024-13-01", "0000-00-00 00:00:00", "2024-01-02 25:00", "1704196800"] {
            assert_eq!(timestamp(text), None, "{text}");
        }
        assert_eq!(date("2024-01-02 00:00:00").as_deref(), Some("2024-01-02"));
        assert_eq!(date(noon), None);
        assert_eq!(time("01:02:03.5").as_deref(), Some("01:02:03.500000"));
        assert_eq!((second_digits("01:02:03.500000"), second_digits(noon)), (1, 0));
        assert_eq!(with_digits("01:02:03.500000", 3), "01:02:03.500");
        assert_eq!(with_digits(noon, 0), "2024-01-02 12:00:00");
    }

    #[test]
    fn the_others_too() {
        let id = "0189f7ee-1c2d-7a3b-8c4d-5e6f70819203";
        assert_eq!(uuid("{0189F7EE1C2D7A3B8C4D5E6F70819203}").as_deref(), Some(id));
        assert_eq!(uuid("0189"), None);
        let form = r#"{"a":[100,1.5,null],"b":"x"}"#;
        assert_eq!(json(r#"{ "b": "x", "a": [1e2, 1.50, null] }"#).as_deref(), Some(form));
        assert_eq!(json("{"), None);
        // No float has these digits, and none is so great.
        let digits = "[12345678901234567890123,0.1000000000000000000001]";
        assert_eq!(json(digits).as_deref(), Some(digits));
        assert!(json("1e400").is_some_and(|all| all.len() == 401));
        let nested = r#" { "b" : [ ] , "a\"" : { } , "b" : [ "\u00e4\\" , true ] } "#;
        assert_eq!(json(nested).as_deref(), Some(r#"{"a\"":{},"b":["ä\\",true]}"#));
        assert_eq!(json(&"[".repeat(100_000)), None);
        assert!(json_has_nul(&json(r#"["a\u0000"]"#).unwrap()));
        assert!(!json_has_nul(&json(r#"["a\\u0000"]"#).unwrap()));
        assert_eq!(from_hex("00ff"), Some(vec![0, 255]));
        assert_eq!(from_hex("0"), None);
    }
}
