//! When schedules are due, across what time zones do, and how wrong ones are refused.

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
    assert!(first >= at("2026-03-29T01:00:00Z") && first <= at("2026-03-29T01:30:00Z"), "{first}");
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

/// The times in a zone after one and until another.
fn between(text: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
    let schedule = Schedule::cron(text).unwrap().zone(zone).unwrap();
    std::iter::successors(schedule.next_after(at(after)), |time| schedule.next_after(*time))
        .take_while(|time| *time <= at(until))
        .map(|time| time.format("%dT%H:%M").to_string())
        .collect()
}

#[test]
fn several_times_in_a_gap_are_one_right_after_it() {
    // 29 March 2026, 01:00 UTC: 02:00 becomes 03:00.
    let times =
        |text| between(text, "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
    assert_eq!(times("30 2 * * *"), ["29T01:00"]);
    assert_eq!(times("15,45 2 * * *"), ["29T01:00"]);
    assert_eq!(times("* 2 * * *"), ["29T01:00"]);
    assert_eq!(times("30 1,2,3 * * *"), ["29T00:30", "29T01:00", "29T01:30"]);
    assert_eq!(times("0 2,3 * * *"), ["29T01:00"]);
    assert_eq!(times("0 */4 * * *")[3..], ["29T02:00", "29T06:00", "29T10:00"]);
    let midnight =
        between("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-25T12:00:00Z");
    assert_eq!(midnight, ["23T22:00", "24T21:00"]);
    let interval =
        between("0 */24 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-25T12:00:00Z");
    assert_eq!(interval, midnight);
}

#[test]
fn a_doubled_time_runs_once_unless_it_goes_by_intervals() {
    // 25 October 2026, 01:00 UTC: 03:00 becomes 02:00.
    let times =
        |text| between(text, "Europe/Berlin", "2026-10-24T22:59:00Z", "2026-10-25T02:59:00Z");
    assert_eq!(times("15,45 2 * * *"), ["25T00:15", "25T00:45"]);
    assert_eq!(times("30 1,2,3 * * *"), ["24T23:30", "25T00:30", "25T02:30"]);
    assert_eq!(times("0 3 * * *"), ["25T02:00"]);
    assert_eq!(times("30 * * * *"), ["24T23:30", "25T00:30", "25T01:30", "25T02:30"]);
    assert_eq!(times("30 0-23 * * *"), times("30 * * * *"));
    assert_eq!(times("0 */2 * * *"), ["25T00:00", "25T01:00"]);
    assert_eq!(times("*/30 * * * *").len(), 8);
    // From within the second pass.
    let late =
        between("45 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T02:00:00Z");
    assert_eq!(late, ["26T01:45"]);
}

#[test]
fn a_day_that_is_left_out_stops_nothing() {
    // Samoa had no 30 December 2011: the 29th ended at 10:00 UTC on the 30th.
    let times =
        |text| between(text, "Pacific/Apia", "2011-12-29T12:00:00Z", "2012-01-01T00:00:00Z");
    assert_eq!(times("0 12 * * *"), ["29T22:00", "30T10:00", "30T22:00", "31T22:00"]);
    assert_eq!(
        times("0 */8 * * *"),
        ["29T18:00", "30T02:00", "30T10:00", "30T18:00", "31T02:00", "31T10:00", "31T18:00"]
    );
}

#[test]
fn no_number_of_passed_times_hides_the_latest() {
    let secondly = Schedule::cron("* * * * * *").unwrap().zone("Europe/Berlin").unwrap();
    let rare = Schedule::cron("* * * * 1 *").unwrap();
    let (planned, now) = (at("2020-01-01T00:00:00Z"), at("2026-10-25T12:00:00.5Z"));
    let last = at("2026-10-25T12:00:00Z");
    for schedule in [secondly, Schedule::every(Duration::from_secs(1))] {
        let runs = |missed| schedule.clone().missed(missed).due(planned, now).runs;
        assert_eq!(runs(Missed::Skip), [last]);
        assert_eq!(runs(Missed::Once), [last]);
        assert_eq!(runs(Missed::All { max: 2 }), [last - TimeDelta::seconds(1), last]);
        let most = runs(Missed::All { max: u32::MAX });
        assert_eq!((most.len(), most.last()), (10_000, Some(&last)));
    }
    assert_eq!(rare.due(planned, now).runs, [at("2026-01-31T23:59:59Z")]);
}

#[test]
fn a_field_that_is_wrong_is_named_with_its_bounds() {
    let report = |text| {
        let error = Schedule::cron(text).unwrap_err();
        assert_eq!(error.code(), Code::JobSchedule);
        error.report()
    };
    for (text, named, bounds) in [
        ("0 25 * * *", "the hour `25`", "0 to 23"),
        ("61 * * * *", "the minute `61`", "0 to 59"),
        ("99 * * * * *", "the second `99`", "0 to 59"),
        ("0 0 32 * *", "the day of month `32`", "1 to 31"),
        ("0 0 * JANUARY *", "the month `JANUARY`", "1 to 12"),
        ("0 0 * * 8", "the day of week `8`", "0 to 7"),
        ("5/15 * * * *", "the minute `5/15`", "are not allowed"),
        ("0 , * * *", "the hour `,`", "an item of the list is empty"),
        ("0 9 * *", "4 fields", "five fields"),
        ("@reboot", "`@reboot`", "@hourly"),
    ] {
        let report = report(text);
        assert!(report.contains(named) && report.contains(bounds), "{report}");
    }
    let year = report("0 0 0 1 1 * 2027");
    assert!(year.contains("the year `2027`") && year.contains("leave the year out"), "{year}");
}

#[test]
fn a_spec_never_outgrows_its_column() {
    let text = |items| vec!["1"; items].join(",") + " * * * *";
    let longest =
        chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).max_by_key(|name| name.len());
    let schedule = Schedule::cron(&text(71)).unwrap().zone(longest.unwrap()).unwrap();
    assert_eq!(text(71).len(), 149);
    assert!(schedule.spec().len() < 200, "{}", schedule.spec());
    let error = Schedule::cron(&text(72)).unwrap_err();
    assert_eq!(error.code(), Code::JobSchedule);
    assert!(error.report().contains("151 bytes"), "{error:?}");
}

#[test]
fn the_ends_of_time_are_none() {
    let daily = Schedule::cron("@daily").unwrap().zone("Pacific/Apia").unwrap();
    assert_eq!(daily.next_after(DateTime::<Utc>::MAX_UTC), None);
    assert_eq!(daily.next_after(DateTime::<Utc>::MIN_UTC), None);
    assert_eq!(daily.last_until(DateTime::<Utc>::MIN_UTC), None);
}

/// By the minute, what `by_clock` has to give: the first minute at which the clock shows at least as much.
fn by_clock(
    cron: &croner::Cron,
    zone: Tz,
    from: DateTime<Utc>,
    minutes: i64,
) -> Vec<DateTime<Utc>> {
    let clock = |time: DateTime<Utc>| time.with_timezone(&zone).naive_local();
    let mut shown = clock(from);
    let mut times = Vec::new();
    for time in (1..minutes).map(|minute| from + TimeDelta::minutes(minute)) {
        let mut new = false;
        while shown < clock(time) {
            shown += TimeDelta::minutes(1);
            new |= cron.is_time_matching(&shown).unwrap();
        }
        if new {
            times.push(time);
        }
    }
    times
}

proptest! {
    #[test]
    fn both_ways_give_what_the_clock_shows(
        minutes in prop::sample::select(vec!["0", "30", "15,45", "*/20", "*", "7-9"]),
        hours in prop::sample::select(vec!["0", "1,2,3", "2", "23,0", "0-12", "3", "*", "*/2"]),
        (zone, day) in prop::sample::select(vec![
            ("Europe/Berlin", "2026-03-28"), ("Europe/Berlin", "2026-10-24"),
            ("Australia/Lord_Howe", "2026-04-03"), ("Australia/Lord_Howe", "2026-10-02"),
            ("Africa/Cairo", "2026-04-22"), ("Africa/Cairo", "2026-10-28"),
            ("America/Havana", "2026-03-07"), ("America/Havana", "2026-10-31"),
            ("Pacific/Apia", "2011-12-28"), ("Pacific/Kwajalein", "1969-09-29"),
        ]),
        start in 0i64..1440,
    ) {
        let text = format!("{minutes} {hours} * * *");
        let schedule = Schedule::cron(&text).unwrap().zone(zone).unwrap();
        let from = at(&format!("{day}T00:00:00Z")) + TimeDelta::minutes(start);
        let until = from + TimeDelta::minutes(4 * 1440 - 1);
        let forward: Vec<_> =
            std::iter::successors(schedule.next_after(from), |time| schedule.next_after(*time))
                .take_while(|time| *time <= until)
                .collect();
        prop_assert_eq!(&schedule.passed(from, until, u32::MAX)[1..], &forward[..]);
        let cron: croner::Cron = text.parse().unwrap();
        let zone: Tz = zone.parse().unwrap();
        let shown = if hours.starts_with('*') {
            (1..4 * 1440).map(|minute| from + TimeDelta::minutes(minute))
                .filter(|time| cron.is_time_matching(&time.with_timezone(&zone)).unwrap())
                .collect()
        } else {
            by_clock(&cron, zone, from, 4 * 1440)
        };
        prop_assert_eq!(forward, shown, "{} in {}", text, zone);
    }

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
