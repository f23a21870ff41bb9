//! Windows of time: which one a moment is in, and which ones are kept. It asks no clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime};
use chrono_tz::Tz;

/// What is added to how long a window is kept.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a leaderboard counts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Window {
    /// Everything.
    #[default]
    AllTime,
    /// A day.
    Day,
    /// A week, from Monday on.
    Week,
    /// A month of the calendar.
    Month,
}

/// A time as a zone's wall shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(NaiveDateTime);

impl Moment {
    /// `None` outside of the years 1970 to 9999, whose dates sort as text.
    pub(super) fn of(time: SystemTime, zone: Tz) -> Option<Self> {
        let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
        let utc = DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0)?;
        let local = utc.with_timezone(&zone).naive_local();
        (1..=9999).contains(&local.year()).then_some(Self(local))
    }
}

impl Window {
    /// What labels of this kind of window begin with; `None` where there is one window for ever.
    fn kind(self) -> Option<&'static str> {
        match self {
            Window::AllTime => None,
            Window::Day => Some("d"),
            Window::Week => Some("w"),
            Window::Month => Some("m"),
        }
    }

    /// The first day of the window that `date` is in.
    fn first(self, date: NaiveDate) -> NaiveDate {
        let back = match self {
            Window::AllTime | Window::Day => 0,
            Window::Week => date.weekday().num_days_from_monday(),
            Window::Month => date.day0(),
        };
        date.checked_sub_days(Days::new(u64::from(back))).unwrap_or(date)
    }

    /// The first day `windows` windows after the one that begins on `first`.
    fn after(self, first: NaiveDate, windows: u32) -> NaiveDate {
        let moved = match self {
            Window::AllTime => None,
            Window::Day => first.checked_add_days(Days::new(windows.into())),
            Window::Week => first.checked_add_days(Days::new(u64::from(windows) * 7)),
            Window::Month => first.checked_add_months(Months::new(windows)),
        };
        moved.unwrap_or(NaiveDate::MAX)
    }

    /// The first day `windows` windows before the one that begins on `first`.
    fn earlier(self, first: NaiveDate, windows: u32) -> NaiveDate {
        let moved = match self {
            Window::AllTime => None,
            Window::Day => first.checked_sub_days(Days::new(windows.into())),
            Window::Week => first.checked_sub_days(Days::new(u64::from(windows) * 7)),
            Window::Month => first.checked_sub_months(Months::new(windows)),
        };
        moved.unwrap_or(NaiveDate::MIN)
    }

    /// What a store calls the window: labels of one kind sort by time.
    pub(super) fn label(self, then: Moment) -> String {
        match self.kind() {
            None => "all".to_owned(),
            Some(kind) => format!("{kind}{}", self.first(then.0.date())),
        }
    }

    /// Labels from the first on and before the second are of windows that are kept no more.
    pub(super) fn oldest(self, now: Moment, keep: u32) -> Option<(&'static str, String)> {
        let kind = self.kind()?;
        let oldest = self.earlier(self.first(now.0.date()), keep.saturating_sub(1));
        // Before the year 0 there is a sign, and nothing is that old.
        let oldest = oldest.max(NaiveDate::from_ymd_opt(1, 1, 1).unwrap_or(oldest));
        Some((kind, format!("{kind}{oldest}")))
    }

    pub(super) fn is_kept(self, then: Moment, now: Moment, keep: u32) -> bool {
        self.oldest(now, keep).is_none_or(|(_, oldest)| self.label(then) >= oldest)
    }

    /// How long the window is still kept, and up to a day longer: clocks are moved in between.
    pub(super) fn ttl(self, then: Moment, now: Moment, keep: u32) -> Option<Duration> {
        self.kind()?;
        let end = self.after(self.first(then.0.date()), keep);
        let left = end.and_time(chrono::NaiveTime::MIN).signed_duration_since(now.0);
        Some(left.to_std().unwrap_or_default() + DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str, zone: Tz) -> Moment {
        let time = DateTime::parse_from_rfc3339(text).unwrap();
        Moment::of(time.into(), zone).unwrap()
    }

    #[test]
    fn a_window_begins_at_the_zone_s_midnight() {
        let late = "2026-11-30T23:30:00Z";
        let (utc, berlin) = (moment(late, Tz::UTC), moment(late, Tz::Europe__Berlin));
        assert_eq!(Window::AllTime.label(utc), "all");
        assert_eq!(
            (Window::Day.label(utc), Window::Day.label(berlin)),
            ("d2026-11-30".into(), "d2026-12-01".into())
        );
        assert_eq!(
            (Window::Week.label(utc), Window::Week.label(berlin)),
            ("w2026-11-30".into(), "w2026-11-30".into())
        );
        assert_eq!(
            (Window::Month.label(utc), Window::Month.label(berlin)),
            ("m2026-11-01".into(), "m2026-12-01".into())
        );
    }

    #[test]
    fn so_many_windows_are_kept_with_the_present_one() {
        let now = moment("2026-03-15T12:00:00Z", Tz::UTC);
        for (window, kept, gone) in [
            (Window::Day, "2026-03-13T00:00:00Z", "2026-03-12T23:59:59Z"),
            (Window::Week, "2026-02-23T00:00:00Z", "2026-02-22T23:59:59Z"),
            (Window::Month, "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z"),
        ] {
            assert!(window.is_kept(moment(kept, Tz::UTC), now, 3), "{window:?}");
            assert!(!window.is_kept(moment(gone, Tz::UTC), now, 3), "{window:?}");
        }
        assert!(Window::AllTime.is_kept(moment("1970-01-01T00:00:00Z", Tz::UTC), now, 1));
        assert_eq!(Window::Day.ttl(now, now, 1), Some(Duration::from_secs(36 * 3600)));
        assert_eq!(Window::AllTime.ttl(now, now, 1), None);
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        let first = Moment::of(UNIX_EPOCH, Tz::Pacific__Honolulu).unwrap();
        assert!(Window::Month.is_kept(first, first, 1000));
        assert!(Moment::of(UNIX_EPOCH - Duration::from_secs(1), Tz::UTC).is_none());
        assert!(Moment::of(UNIX_EPOCH + Duration::from_secs(1 << 40), Tz::UTC).is_none());
    }
}
