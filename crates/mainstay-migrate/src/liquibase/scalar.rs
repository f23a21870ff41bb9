//! What a plain scalar of YAML means to Liquibase: its reader knows YAML 1.1, and turns the numbers
//! and booleans back into text as Java prints them.
//!
//! That text is what checksums are made of, so `1.50` without quotes is `1.5` here too.

/// The text, or none for null, and whether it was a date.
pub(super) fn plain(text: &str) -> (Option<String>, bool) {
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => return (None, false),
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => "true".to_owned(),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            "false".to_owned()
        }
        _ if date(text) => return (Some(text.to_owned()), true),
        _ => integer(text).or_else(|| float(text)).unwrap_or_else(|| text.to_owned()),
    };
    (Some(value), false)
}

/// Whether it begins as a date does: four digits, two, and two.
fn date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = |i: usize, b: &u8| match i {
        4 | 7 => *b == b'-',
        _ => b.is_ascii_digit(),
    };
    bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(i, b)| shape(i, b))
        && (bytes.len() == 10 || matches!(bytes[10], b'T' | b't' | b' '))
}

fn sign(text: &str) -> (&str, &str) {
    match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    }
}

fn integer(text: &str) -> Option<String> {
    let (sign, rest) = sign(text);
    let digits: String = rest.chars().filter(|c| *c != '_').collect();
    if rest.starts_with('_') || digits.is_empty() {
        return None;
    }
    let radix = |digits: &str, radix| i128::from_str_radix(digits, radix).ok();
    let value = if let Some(binary) = digits.strip_prefix("0b") {
        radix(binary, 2)?
    } else if let Some(hex) = digits.strip_prefix("0x") {
        radix(hex, 16)?
    } else if digits.contains(':') {
        sixty(&digits)?
    } else if digits.len() > 1 && digits.starts_with('0') {
        radix(&digits, 8)?
    } else if digits.bytes().all(|b| b.is_ascii_digit()) {
        match radix(&digits, 10) {
            Some(value) => value,
            None => return Some(format!("{sign}{digits}")),
        }
    } else {
        return None;
    };
    Some(if value == 0 { "0".to_owned() } else { format!("{sign}{value}") })
}

/// `1:30` counts by sixties, in YAML 1.1.
fn sixty(digits: &str) -> Option<i128> {
    let mut parts = digits.split(':');
    let first = parts.next().filter(|p| !p.starts_with('0'))?;
    let mut value: i128 = first.parse().ok()?;
    for part in parts {
        let part: i128 = part.parse().ok().filter(|p| (0..60).contains(p))?;
        value = value.checked_mul(60)?.checked_add(part)?;
    }
    Some(value)
}

fn float(text: &str) -> Option<String> {
    let (sign, rest) = sign(text);
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(format!("{sign}Infinity")),
        ".nan" | ".NaN" | ".NAN" => return Some("NaN".to_owned()),
        _ => {}
    }
    let shaped = rest.starts_with(|c: char| c.is_ascii_digit())
        || (rest.starts_with('.') && rest[1..].starts_with(|c: char| c.is_ascii_digit()));
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '.' | '_' | 'e' | 'E' | '+' | '-');
    if !shaped || !rest.contains(['.', 'e', 'E']) || !rest.chars().all(allowed) {
        return None;
    }
    let clean: String = text.chars().filter(|c| *c != '_').collect();
    clean.parse().ok().map(java)
}

/// A number as Java prints a `double`.
fn java(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_a_real_liquibase_reads() {
        let values = [
            ("1", "1"),
            ("1.50", "1.5"),
            ("yes", "true"),
            ("off", "false"),
            ("0x1F", "31"),
            ("010", "8"),
            ("08", "08"),
            ("1e3", "1000.0"),
            ("1.0e+3", "1000.0"),
            ("12345678901234567890", "12345678901234567890"),
            ("1_000", "1000"),
            ("+5", "5"),
            ("-3", "-3"),
            ("12345678.5", "1.23456785E7"),
            ("0.0001", "1.0E-4"),
            (".5", "0.5"),
            ("5.", "5.0"),
            ("1:30", "90"),
            ("n", "n"),
            ("0o17", "0o17"),
            (".inf", "Infinity"),
            ("1.0", "1.0"),
            ("now()", "now()"),
            ("1.2.3", "1.2.3"),
            ("10-abc", "10-abc"),
        ];
        for (text, want) in values {
            assert_eq!(plain(text), (Some(want.to_owned()), false), "{text}");
        }
        assert_eq!(plain("~"), (None, false));
        assert_eq!(plain("2020-01-02"), (Some("2020-01-02".to_owned()), true));
    }
}
