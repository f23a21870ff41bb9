//! Schedules: when a job is due by a cron expression or at an interval, in a time zone, and what becomes
//! of times at which nobody was there. The expressions themselves are the `croner` crate's.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use mainstay_core::{Code, Error, Result};

/// Passed times that are looked at, at most: of a clock that jumped by years, the first of them.
const PASSED_MAX: u32 = 10_000;

/// When a job is due.
///
/// ```
/// use std::time::Duration;
/// use mainstay_jobs::{Missed, Schedule};
///
/// let report = Schedule::cron("0 9 * * MON-FRI")?.zone("Europe/Berlin")?.missed(Missed::Skip);
/// let poll = Schedule::every(Duration::from_secs(30));
/// # Ok::<(), mainstay_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    zone: Tz,
    missed: Missed,
}

#[derive(Clone, Debug)]
enum Rule {
    Cron { text: String, parsed: Box<croner::Cron> },
    Every(Duration),
}

/// What becomes of times that passed while no worker ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// Nothing: it goes on with the next time. One that is late by less than a minute is no missed one.
    Skip,
    /// One run for all of them.
    #[default]
    Once,
    /// A run for each, at most so many: the latest ones.
    All {
        /// How many.
        max: u32,
    },
}

/// What is to be enqueued now, and when the next is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The times for which there is a run now, in order.
    pub runs: Vec<DateTime<Utc>>,
    /// The next time; later than now.
    pub next: DateTime<Utc>,
}

/// Later than this is missed, for [`Missed::Skip`].
const LATE: TimeDelta = TimeDelta::minutes(1);

impl Schedule {
    /// By a cron expression of five fields (minute, hour, day of month, month, day of week), or six with
    /// seconds first, or a nickname such as `@daily`. In UTC, unless a [zone](Self::zone) is given.
    ///
    /// A time that a change to summer time leaves out runs right after the gap; one that is there twice
    /// runs once, unless the expression runs every hour or more often anyway.
    ///
    /// Errors: JOB-015.
    pub fn cron(text: &str) -> Result<Self> {
        let parser = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Optional)
            .dom_and_dow(false)
            .build();
        let parsed = parser.parse(text).map_err(|e| {
            let what = format!("the schedule `{text}` can't be understood");
            Error::new(Code::JobSchedule, what).why(e.to_string())
        })?;
        let rule = Rule::Cron { text: text.to_owned(), parsed: Box::new(parsed) };
        let schedule = Self { rule, zone: Tz::UTC, missed: Missed::default() };
        // An expression such as 30 February is well formed and never due.
        let some_time = DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
        if schedule.next_after(some_time).is_none() {
            let what = format!("the schedule `{text}` is never due");
            return Err(Error::new(Code::JobSchedule, what).fix("give a day that exists"));
        }
        Ok(schedule)
    }

    /// At the multiples of an interval since 1970, in UTC. At least a second; whole milliseconds.
    pub fn every(interval: Duration) -> Self {
        let interval = interval.max(Duration::from_secs(1)).min(Duration::from_hours(24 * 366));
        let whole = Duration::from_millis(interval.as_millis() as u64);
        Self { rule: Rule::Every(whole), zone: Tz::UTC, missed: Missed::default() }
    }

    /// The time zone of the expression, by its IANA name.
    ///
    /// Errors: JOB-015, naming the nearest zone.
    pub fn zone(mut self, name: &str) -> Result<Self> {
        self.zone = name.parse().map_err(|_| {
            let near = chrono_tz::TZ_VARIANTS
                .iter()
                .map(|zone| (strsim::jaro_winkler(zone.name(), name), zone.name()))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            let error = Error::new(Code::JobSchedule, format!("there is no time zone `{name}`"));
            match near {
                Some((likeness, near)) if likeness > 0.8 => {
                    error.fix(format!("write `{near}`, if that was meant"))
                }
                _ => error.fix("write an IANA name, such as Europe/Berlin"),
            }
        })?;
        Ok(self)
    }

    /// What becomes of times at which no worker ran. Default: [`Missed::Once`].
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// The first time after `after` at which it is due; none if there is none.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Cron { parsed, .. } => {
                let local = after.with_timezone(&self.zone);
                parsed.find_next_occurrence(&local, false).ok().map(|next| next.to_utc())
            }
            Rule::Every(interval) => {
                let interval = i64::try_from(interval.as_millis()).ok()?;
                let passed = after.timestamp_millis().div_euclid(interval);
                DateTime::from_timestamp_millis((passed + 1).checked_mul(interval)?)
            }
        }
    }

    /// What is to be enqueued at `now`, where `next` was planned. Looks at a bounded number of passed times:
    /// a clock that jumped far ahead costs runs according to [`missed`](Self::missed), not time; one that
    /// jumped back costs nothing, since `next` stays.
    pub fn due(&self, next: DateTime<Utc>, now: DateTime<Utc>) -> Due {
        if next > now {
            return Due { runs: Vec::new(), next };
        }
        let mut passed = vec![next];
        let mut last = next;
        while let Some(time) = self.next_after(last).filter(|time| *time <= now)
            && passed.len() < PASSED_MAX as usize
        {
            passed.push(time);
            last = time;
        }
        let after = self.next_after(now).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let latest = *passed.last().unwrap_or(&next);
        let runs = match self.missed {
            Missed::Skip => {
                let in_time = now - latest <= LATE;
                if in_time { vec![latest] } else { Vec::new() }
            }
            Missed::Once => vec![latest],
            Missed::All { max } => {
                let surplus = passed.len().saturating_sub(max.clamp(1, PASSED_MAX) as usize);
                passed.split_off(surplus)
            }
        };
        Due { runs, next: after }
    }

    /// What tells it from another schedule.
    pub(crate) fn spec(&self) -> String {
        match &self.rule {
            Rule::Cron { text, .. } => format!("{text} {}", self.zone.name()),
            Rule::Every(interval) => format!("every {interval:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn next(schedule: &Schedule, after: &str) -> String {
        schedule.next_after(at(after)).unwrap().to_rfc3339()
    }

    #[test]
    fn a_zone_s_summer_time_counts() {
        let nine = Schedule::cron("0 9 * * *").unwrap().zone("Europe/Berlin").unwrap();
        assert_eq!(next(&nine, "2026-01-15T00:00:00Z"), "2026-01-15T08:00:00+00:00");
        assert_eq!(next(&nine, "2026-07-15T00:00:00Z"), "2026-07-15T07:00:00+00:00");
    }

    #[test]
    fn a_time_in_the_gap_runs_once_that_day_and_a_doubled_one_once() {
        let berlin = Schedule::cron("30 2 * * *").unwrap().zone("Europe/Berlin").unwrap();
        // 29 March 2026: 02:00 becomes 03:00.
        let first = berlin.next_after(at("2026-03-28T12:00:00Z")).unwrap();
        assert!(
            first >= at("2026-03-29T01:00:00Z") && first <= at("2026-03-29T01:30:00Z"),
            "{first}"
        );
        let second = berlin.next_after(first).unwrap();
        assert_eq!(second, at("2026-03-30T00:30:00Z"));
        // 25 October 2026: 03:00 becomes 02:00.
        let first = berlin.next_after(at("2026-10-24T12:00:00Z")).unwrap();
        assert_eq!(berlin.next_after(first).unwrap(), at("2026-10-26T01:30:00Z"), "after {first}");
    }

    #[test]
    fn leap_days_and_nicknames_are_known() {
        let leap = Schedule::cron("0 0 29 2 *").unwrap();
        assert_eq!(next(&leap, "2026-01-01T00:00:00Z"), "2028-02-29T00:00:00+00:00");
        let hourly = Schedule::cron("@hourly").unwrap();
        assert_eq!(next(&hourly, "2026-01-01T00:10:00Z"), "2026-01-01T01:00:00+00:00");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = Schedule::cron("61 * * * *").unwrap_err();
        assert_eq!(wrong.code(), Code::JobSchedule);
        assert_eq!(Schedule::cron("0 0 30 2 *").unwrap_err().code(), Code::JobSchedule);
        let zone = Schedule::cron("* * * * *").unwrap().zone("Europe/Berln").unwrap_err();
        assert!(zone.report().contains("Europe/Berlin"), "{zone:?}");
    }

    #[test]
    fn missed_times_are_treated_as_asked() {
        let hourly = Schedule::cron("0 * * * *").unwrap();
        let (planned, now) = (at("2026-01-01T01:00:00Z"), at("2026-01-01T05:30:00Z"));
        let runs = |missed| hourly.clone().missed(missed).due(planned, now).runs;
        assert!(runs(Missed::Skip).is_empty());
        assert_eq!(runs(Missed::Once), [at("2026-01-01T05:00:00Z")]);
        assert_eq!(
            runs(Missed::All { max: 2 }),
            [at("2026-01-01T04:00:00Z"), at("2026-01-01T05:00:00Z")]
        );
        let due = hourly.missed(Missed::Skip).due(planned, planned);
        assert_eq!(due, Due { runs: vec![planned], next: at("2026-01-01T02:00:00Z") });
    }

    #[test]
    fn a_clock_that_jumps_back_runs_nothing_twice() {
        let every = Schedule::every(Duration::from_secs(60));
        let planned = at("2026-01-01T01:00:00Z");
        let due = every.due(planned, at("2025-01-01T00:00:00Z"));
        assert_eq!(due, Due { runs: Vec::new(), next: planned });
    }

    proptest! {
        #[test]
        fn runs_are_past_and_the_next_is_not(
            interval in 1u64..100_000, planned in 0i64..2_000_000_000, late in 0i64..10_000_000, max in 0u32..20,
        ) {
            let every = Schedule::every(Duration::from_secs(interval)).missed(Missed::All { max });
            let planned = every.next_after(DateTime::from_timestamp(planned, 0).unwrap()).unwrap();
            let now = planned + TimeDelta::seconds(late);
            let due = every.due(planned, now);
            prop_assert!(due.next > now);
            prop_assert!(due.runs.len() <= max.max(1) as usize);
            prop_assert!(due.runs.iter().all(|run| *run >= planned && *run <= now));
            prop_assert!(due.runs.is_sorted());
        }
    }
}
