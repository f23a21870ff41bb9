//! At which instants a cron expression is due in a time zone: its local times are found as if the zone
//! never changed, and then laid on the line of real time, with its gaps and its doubled hours.

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use croner::Direction;

use super::expression::Expression;

const SECOND: TimeDelta = TimeDelta::seconds(1);
/// No zone is further from UTC than this, nor a gap longer.
const DAY: TimeDelta = TimeDelta::days(1);

/// The instant at which it is due, at `from` or first beyond it. `from` is a whole second.
pub(super) fn find(
    expression: &Expression,
    zone: Tz,
    from: DateTime<Utc>,
    way: Direction,
) -> Option<DateTime<Utc>> {
    // croner knows the years 1 to 5000; chrono could not tell the local time of its own ends.
    if !(2..5000).contains(&from.year()) {
        return None;
    }
    if expression.by_interval() {
        by_interval(expression, zone, from, way)
    } else {
        by_clock(expression, zone, from, way)
    }
}

/// Each local time once. Only those of one doubled hour are passed over: no more than its seconds.
fn by_clock(
    expression: &Expression,
    zone: Tz,
    from: DateTime<Utc>,
    way: Direction,
) -> Option<DateTime<Utc>> {
    // The furthest local time that may be at `from` or beyond it: a gap that ends at `from` counts as
    // before it, and in the second pass of a doubled hour, the rest of the hour has been.
    let (mut local, step) = match way {
        Direction::Forward => (local_at(zone, from - SECOND) + SECOND, SECOND),
        Direction::Backward => {
            let local = local_at(zone, from);
            let both = zone.from_local_datetime(&local);
            let doubled = both.latest().zip(both.earliest()).map(|(late, early)| late - early);
            (local + doubled.unwrap_or_default(), -SECOND)
        }
    };
    loop {
        let fit = expression.fit(local, way)?;
        let time = instant(zone, fit);
        let reached = match way {
            Direction::Forward => time >= from,
            Direction::Backward => time <= from,
        };
        if reached {
            return Some(time);
        }
        local = fit + step;
    }
}

/// Every instant whose local time fits. Each round leaves one change of the zone's offset behind.
fn by_interval(
    expression: &Expression,
    zone: Tz,
    mut from: DateTime<Utc>,
    way: Direction,
) -> Option<DateTime<Utc>> {
    loop {
        let offset = offset_at(zone, from);
        let time = (expression.fit(from.naive_utc() + offset, way)? - offset).and_utc();
        let changed = |time| offset_at(zone, time) != offset;
        if !changed(time) {
            return Some(time);
        }
        from = turn(from, time, changed);
    }
}

/// When the clock on the wall first shows `local`, or, if it leaves it out, what comes next.
fn instant(zone: Tz, local: NaiveDateTime) -> DateTime<Utc> {
    zone.from_local_datetime(&local).earliest().map_or_else(
        || {
            let near = local.and_utc();
            turn(near - DAY, near + DAY, |time| local_at(zone, time) > local)
        },
        |time| time.to_utc(),
    )
}

fn offset_at(zone: Tz, time: DateTime<Utc>) -> TimeDelta {
    let offset = zone.offset_from_utc_datetime(&time.naive_utc()).fix();
    TimeDelta::seconds(i64::from(offset.local_minus_utc()))
}

fn local_at(zone: Tz, time: DateTime<Utc>) -> NaiveDateTime {
    time.naive_utc() + offset_at(zone, time)
}

/// Where between `near`, at which it has not, and `far`, at which it has, something has `turned`: the
/// first whole second on the way.
fn turn(
    mut near: DateTime<Utc>,
    mut far: DateTime<Utc>,
    turned: impl Fn(DateTime<Utc>) -> bool,
) -> DateTime<Utc> {
    loop {
        let half = TimeDelta::seconds((far - near).num_seconds() / 2);
        if half.is_zero() {
            return far;
        }
        let middle = near + half;
        if turned(middle) { far = middle } else { near = middle }
    }
}
