//! Schedules: when a job is due by a cron expression or at an interval, in a time zone, and what becomes
//! of times at which nobody was there.

mod expression;
mod instants;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use chrono_tz::Tz;
use croner::Direction;
use mainstay_core::{Code, Error, Result};

use self::expression::Expression;

/// Runs for passed times, at most.
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
    Cron(Expression),
    Every(Duration),
}

/// What becomes of times that passed while no worker ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// Nothing: it goes on with the next time. The latest one is not missed if it is late by no more than
    /// a minute.
    Skip,
    /// One run for all of them.
    #[default]
    Once,
    /// A run for each, at most so many: the latest ones.
    All {
        /// How many: at least 1, at most 10,000.
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
    /// seconds first, or a nickname such as `@daily`; at most 150 bytes. In UTC, unless a
    /// [zone](Self::zone) is given.
    ///
    /// A time that a change to summer time leaves out runs right after the gap, once for all that the gap
    /// leaves out; one that is there twice runs the first time only. An expression whose hour is `*` or
    /// `*/n`, or names each of the 24, goes by intervals instead: it runs whenever the clock shows a time
    /// that fits, in a doubled hour both times, and nothing stands in for a time left out.
    ///
    /// Errors: JOB-015, naming the field that can't be understood; also if it is due at no time at all.
    pub fn cron(text: &str) -> Result<Self> {
        let rule = Rule::Cron(Expression::parse(text)?);
        Ok(Self { rule, zone: Tz::UTC, missed: Missed::default() })
    }

    /// At the multiples of an interval since 1970, in UTC. At least a second and at most 366 days;
    /// whole milliseconds.
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

    /// The first time after `after` at which it is due; none if there is none until the year 5000.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Cron(expression) => {
                let from = after.trunc_subsecs(0).checked_add_signed(TimeDelta::seconds(1))?;
                instants::find(expression, self.zone, from, Direction::Forward)
            }
            Rule::Every(interval) => multiple(*interval, after, 1),
        }
    }

    /// The latest time at which it was due until `until`, which may be one.
    fn last_until(&self, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.rule {
            Rule::Cron(expression) => {
                instants::find(expression, self.zone, until.trunc_subsecs(0), Direction::Backward)
            }
            Rule::Every(interval) => multiple(*interval, until, 0),
        }
    }

    /// What is to be enqueued at `now`, where `next` was planned. Goes back from `now` by as many times as
    /// there are runs: a clock that jumped far ahead costs runs according to [`missed`](Self::missed), not
    /// time; one that jumped back costs nothing, since `next` stays.
    pub fn due(&self, next: DateTime<Utc>, now: DateTime<Utc>) -> Due {
        if next > now {
            return Due { runs: Vec::new(), next };
        }
        let runs = match self.missed {
            Missed::Skip => {
                let mut latest = self.passed(next, now, 1);
                latest.retain(|time| now - *time <= LATE);
                latest
            }
            Missed::Once => self.passed(next, now, 1),
            Missed::All { max } => self.passed(next, now, max.clamp(1, PASSED_MAX)),
        };
        Due { runs, next: self.next_after(now).unwrap_or(DateTime::<Utc>::MAX_UTC) }
    }

    /// The latest times from `next` on, which is one whatever the rule says, until `now`; in order.
    fn passed(&self, next: DateTime<Utc>, now: DateTime<Utc>, max: u32) -> Vec<DateTime<Utc>> {
        let before = |time: &DateTime<Utc>| self.last_until(*time - TimeDelta::nanoseconds(1));
        let mut passed: Vec<_> = std::iter::successors(self.last_until(now), before)
            .take_while(|time| *time > next)
            .chain([next])
            .take(max as usize)
            .collect();
        passed.reverse();
        passed
    }

    /// What tells it from another schedule, in less than 200 bytes.
    pub(crate) fn spec(&self) -> String {
        match &self.rule {
            Rule::Cron(expression) => format!("{} {}", expression.text, self.zone.name()),
            Rule::Every(interval) => format!("every {interval:?}"),
        }
    }
}

/// The multiple of `interval` since 1970 that is the last until `time`, or so many further.
fn multiple(interval: Duration, time: DateTime<Utc>, further: i64) -> Option<DateTime<Utc>> {
    let interval = i64::try_from(interval.as_millis()).ok()?;
    let passed = time.timestamp_millis().div_euclid(interval);
    DateTime::from_timestamp_millis((passed + further).checked_mul(interval)?)
}
