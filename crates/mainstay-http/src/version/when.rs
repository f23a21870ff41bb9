//! Dates as configurations write them, and as the two headers carry them: RFC 9745 as a structured
//! field, RFC 8594 as an HTTP-date.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use std::time::{Duration, SystemTime};

/// RFC 9651 bounds a date as it bounds an integer.
const DIGITS_MAX: usize = 15;

/// Seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(pub(super) i64);

impl Moment {
    /// `2026-03-01` (its first second, in UTC) or RFC 3339.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let day = || {
            let day: NaiveDate = text.parse().ok()?;
            Some(day.and_time(NaiveTime::MIN).and_utc())
        };
        let moment = day().or_else(|| Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc()));
        // An HTTP-date has room for four digits.
        moment.filter(|moment| (1970..=9999).contains(&moment.year())).map_or_else(
            || {
                Err(Error::new(Code::HttpOption, format!("{text:?} is no date"))
                    .fix("write 2026-03-01, or 2026-03-01T12:00:00Z"))
            },
            |moment| Ok(Self(moment.timestamp())),
        )
    }

    pub(super) fn now(clock: &Clock) -> Self {
        let since = clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// Of RFC 9651: `@1688169599`.
    pub(super) fn structured(self) -> String {
        format!("@{}", self.0)
    }

    /// Of RFC 9110: `Sat, 30 Nov 2024 23:59:59 GMT`.
    pub(super) fn http_date(self) -> String {
        self.format("%a, %d %b %Y %H:%M:%S GMT")
    }

    /// For a person: `2026-03-01 12:00 UTC`.
    pub(super) fn told(self) -> String {
        self.format("%Y-%m-%d %H:%M UTC")
    }

    /// For a program: `2026-03-01T12:00:00Z`.
    #[cfg(feature = "openapi")]
    pub(super) fn rfc3339(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ")
    }

    fn format(self, pattern: &str) -> String {
        let moment = DateTime::<Utc>::from_timestamp(self.0, 0).unwrap_or_default();
        moment.format(pattern).to_string()
    }

    pub(super) fn system(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.max(0).unsigned_abs())
    }

    pub(super) fn days_until(self, later: Moment) -> i64 {
        (later.0 - self.0).div_euclid(24 * 3600)
    }
}

/// What RFC 9745 says of a deprecation, and nothing that its drafts said (`true`, an HTTP-date).
pub(super) fn structured(text: &str) -> Option<Moment> {
    let digits = text.trim().strip_prefix('@')?;
    let bare = digits.strip_prefix('-').unwrap_or(digits);
    let sane = bare.len() <= DIGITS_MAX && bare.bytes().all(|digit| digit.is_ascii_digit());
    sane.then(|| digits.parse().ok().map(Moment))?
}

/// An HTTP-date in any of its three forms. The day of the week is not held against it, since the one
/// in RFC 8594's own example is wrong; nor is `UTC` for `GMT`, as RFC 9745 writes.
pub(super) fn http_date(text: &str) -> Option<Moment> {
    let text = text.trim();
    let parsed = match text.split_once(", ") {
        Some((_, rest)) => {
            let rest = rest.strip_suffix(" GMT").or_else(|| rest.strip_suffix(" UTC"))?;
            let read = |pattern| NaiveDateTime::parse_from_str(rest, pattern).ok();
            read("%d %b %Y %H:%M:%S").or_else(|| read("%d-%b-%y %H:%M:%S"))
        }
        None => {
            let (_, rest) = text.split_once(' ')?;
            NaiveDateTime::parse_from_str(rest.trim_start(), "%b %e %H:%M:%S %Y").ok()
        }
    };
    Some(Moment(parsed?.and_utc().timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_date_is_a_day_or_a_moment() {
        assert_eq!(Moment::parse("2023-06-30T23:59:59Z").unwrap(), Moment(1_688_169_599));
        assert_eq!(Moment::parse("2023-07-01T01:59:59+02:00").unwrap(), Moment(1_688_169_599));
        assert_eq!(Moment::parse("1970-01-02").unwrap(), Moment(86_400));
        for text in [
            "",
            "soon",
            "2026-02-30",
            "2026-1",
            "1969-12-31",
            "@1688169599",
            "2026-01-01T25:00:00Z",
        ] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_three_forms_of_an_http_date_are_one() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " Sun, 06 Nov 1994 08:49:37 GMT ",
        ] {
            assert_eq!(http_date(text), Some(Moment(784_111_777)), "{text}");
        }
        assert_eq!(Moment(784_111_777).http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        for text in ["", "@784111777", "Sun, 06 Nov 1994 08:49:37", "Sun, 31 Feb 1994 08:49:37 GMT"]
        {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_structured_date_is_seconds_alone() {
        assert_eq!(structured("@0"), Some(Moment(0)));
        assert_eq!(structured("@-1"), Some(Moment(-1)));
        for text in ["true", "@", "@1.5", "@+1", "1688169599", "@1688169599;x", "@1234567890123456"]
        {
            assert_eq!(structured(text), None, "{text}");
        }
    }
}
