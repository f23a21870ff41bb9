//! The text of a cron expression: which is refused, and why, and which local times fit one that is not.
//! The grammar is the `croner` crate's; its treatment of time zones is not used (see `instants`).

use chrono::{DateTime, NaiveDateTime};
use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Direction};
use mainstay_core::{Code, Error, Result};

/// Bytes of an expression, at most: with the name of its zone it has to fit `mainstay_cron.spec`.
pub(super) const TEXT_MAX: usize = 150;

const NICKNAMES: [&str; 6] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly"];

/// The fields in order: the name, the bounds, examples.
const FIELDS: [(&str, &str, &str); 6] = [
    ("second", "0 to 59", "`30`, `0,30` or `*/10`"),
    ("minute", "0 to 59", "`30`, `0,30`, `0-29` or `*/15`"),
    ("hour", "0 to 23", "`9`, `9,17`, `9-17` or `*/6`"),
    ("day of month", "1 to 31", "`1`, `1,15`, or `L` for the last"),
    ("month", "1 to 12, or JAN to DEC", "`1`, `JAN,JUL` or `*/3`"),
    ("day of week", "0 to 7 with Sunday as 0 and 7, or SUN to SAT", "`MON`, `MON-FRI` or `SUN#1`"),
];

/// A cron expression that is due at some time.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    pub(super) text: String,
    cron: Box<Cron>,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.len() > TEXT_MAX {
            let what = format!("the schedule has {} bytes", text.len());
            return Err(Error::new(Code::JobSchedule, what)
                .why(format!("it may have {TEXT_MAX}"))
                .fix("write it with ranges and steps, such as `0-30/5`, or as several schedules"));
        }
        let parser =
            CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        check_fields(text, parser)?;
        let cron = parser.parse(text).map_err(|e| not_understood(text).cause(e))?;
        let expression = Self { text: text.to_owned(), cron: Box::new(cron) };
        // An expression such as 30 February is well formed and never due.
        if expression.fit(DateTime::UNIX_EPOCH.naive_utc(), Direction::Forward).is_none() {
            let what = format!("the schedule `{text}` is never due");
            return Err(Error::new(Code::JobSchedule, what)
                .why("no year has a day that fits")
                .fix("give a day that there is, such as 29 February instead of 30"));
        }
        Ok(expression)
    }

    /// The local time that fits at `from` or first beyond it, in whole seconds.
    pub(super) fn fit(&self, from: NaiveDateTime, way: Direction) -> Option<NaiveDateTime> {
        match way {
            Direction::Forward => self.cron.find_next_occurrence(&from, true),
            Direction::Backward => self.cron.find_previous_occurrence(&from, true),
        }
        .ok()
    }

    /// Whether it tells the hours as an interval, `*` or `*/n`, or names them all: then it is meant to run
    /// at a distance of time, whatever the clock on the wall does. `*/24` is a time of day.
    pub(super) fn by_interval(&self) -> bool {
        let hours = &self.cron.pattern.hours;
        match hours.values().len() {
            24 => true,
            1 => false,
            _ => hours.from_wildcard,
        }
    }
}

fn not_understood(text: &str) -> Error {
    Error::new(Code::JobSchedule, format!("the schedule `{text}` can't be understood"))
}

fn check_fields(text: &str, parser: CronParser) -> Result<()> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    match fields[..] {
        [name] if name.starts_with('@') => {
            if NICKNAMES.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                return Ok(());
            }
            let known = NICKNAMES.join(", ");
            Err(not_understood(text).why(format!("there is no nickname `{name}`, only {known}")))
        }
        [_, _, _, _, _, _, year] => Err(not_understood(text)
            .why(format!("a seventh field, the year `{year}`, is not known here"))
            .fix(
                "leave the year out: six fields are second, minute, hour, day, month, day of week",
            )),
        [_, _, _, _, _] | [_, _, _, _, _, _] => {
            let left_out = FIELDS.len() - fields.len();
            (left_out..)
                .zip(fields)
                .try_for_each(|(at, field)| check_field(text, at, field, parser))
        }
        _ => {
            Err(not_understood(text)
                .why(format!("it has {} fields, not five or six", fields.len())))
        }
    }
}

/// Each field is tried alone, since croner does not tell which of them it refuses.
fn check_field(text: &str, at: usize, field: &str, parser: CronParser) -> Result<()> {
    let mut alone = ["*"; FIELDS.len()];
    alone[at] = field;
    let refused = parser.parse(&alone.join(" ")).err();
    // croner passes over an item that is not there: `,` would be an hour that never is.
    if refused.is_none() && !field.trim_start_matches('+').split(',').any(str::is_empty) {
        return Ok(());
    }
    let (name, bounds, examples) = FIELDS[at];
    let what = format!("the {name} `{field}` of the schedule `{text}` can't be understood");
    let error = Error::new(Code::JobSchedule, what)
        .why(format!("the {name} is {bounds}, as numbers, ranges and steps with commas between"))
        .fix(format!("write `*`, or such as {examples}"));
    Err(match refused {
        Some(cause) => error.cause(cause),
        None => error.note("an item of the list is empty"),
    })
}
