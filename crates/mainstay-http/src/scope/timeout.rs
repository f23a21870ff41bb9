//! `X-Request-Timeout`, read exactly: what is not understood is refused, never guessed at.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use mainstay_core::Code;

use super::REQUEST_TIMEOUT;
use crate::problem::Problem;

/// Digits before the point, at most: over 30 years.
const WHOLE_MAX: usize = 9;
/// Digits after the point, at most: nanoseconds.
const FRACTION_MAX: usize = 9;

/// How long the caller waits, if it says so.
pub(super) fn requested(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let mut values = headers.get_all(REQUEST_TIMEOUT).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed("it is there more than once"));
    }
    let time = value.to_str().ok().and_then(|text| parse(text.trim()));
    match time {
        None => Err(malformed("write seconds, such as 2 or 1.5, or milliseconds, such as 250ms")),
        Some(Duration::ZERO) => Err(malformed("no time at all is left for an answer")),
        time => Ok(time),
    }
}

fn malformed(why: &str) -> Problem {
    let detail = format!("the header X-Request-Timeout can't be used: {why}");
    Problem::new(StatusCode::BAD_REQUEST, "Malformed header", detail)
        .with_code(Code::HttpHeader)
        .with("header", "X-Request-Timeout")
}

fn parse(text: &str) -> Option<Duration> {
    if let Some(ms) = text.strip_suffix("ms") {
        return digits(ms, WHOLE_MAX).map(Duration::from_millis);
    }
    let text = text.strip_suffix('s').unwrap_or(text);
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let nanos = match fraction {
        None => 0,
        Some(fraction) => {
            let scale = 10_u64.pow(u32::try_from(FRACTION_MAX.checked_sub(fraction.len())?).ok()?);
            digits(fraction, FRACTION_MAX)? * scale
        }
    };
    Some(Duration::from_secs(digits(whole, WHOLE_MAX)?) + Duration::from_nanos(nanos))
}

/// Digits and nothing else: `u64`'s own parser takes a sign.
fn digits(text: &str, max: usize) -> Option<u64> {
    let fits = (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_milliseconds_are_read_and_nothing_else() {
        for (text, ms) in [("2", 2000), ("2s", 2000), ("1.5", 1500), ("0.25s", 250), ("250ms", 250)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("0.000000001"), Some(Duration::from_nanos(1)));
        assert_eq!(parse("999999999"), Some(Duration::from_secs(999_999_999)));
        let wrong = [
            "",
            "s",
            "ms",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "inf",
            "NaN",
            "1 s",
            "1m",
            "1.5ms",
            "0x10",
            "1,5",
            "9999999999",
            "0.0000000001",
            "1.-5",
            "1.+5",
            "٣",
            "1sms",
            "2ss",
        ];
        for text in wrong {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
