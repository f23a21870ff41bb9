//! What an operator sees of the versions: how each of them stands, who still uses what is on its way
//! out, and since when.

use mainstay_core::inspect::{Fact, Health, Snapshot, Table};

use super::known::Known;
use super::usage::{OTHERS, Used};
use super::versions::Inner;
use super::when::Moment;
use super::{Stage, Version};

/// A page is for a person: the whole is in the report.
const ROWS_MAX: usize = 100;
/// From when on a use is worth a word before the sunset.
const SOON_DAYS: i64 = 30;
/// A client that was not seen for this long has moved.
const STILL_DAYS: i64 = 7;

pub(super) fn snapshot(versions: &Inner) -> Snapshot {
    let now = versions.now();
    let report = versions.usage.report();
    let mut snapshot = Snapshot::new("versions", versions.name.clone())
        .fact(Fact::count("versions", versions.known.len()))
        .fact(Fact::count("clients", versions.usage.clients()))
        .table(lives(versions, &report.used, now))
        .table(old_uses(versions, &report.used, now));
    for known in &versions.known {
        let users = users(&report.used, known.version, now);
        if let Some(note) = ending(known, users, now) {
            snapshot = snapshot.note(note).health(Health::Degraded);
        }
        for window in known.windows.iter().filter(|window| window.is_aborted()) {
            let from = window.from.told();
            snapshot = snapshot.note(format!(
                "the brownout of version {} at {from} was ended: errors rose",
                known.version
            ));
        }
    }
    snapshot
}

/// Who used `version` lately.
fn users(used: &[Used], version: Version, now: Moment) -> usize {
    let mut clients: Vec<&str> = used
        .iter()
        .filter(|used| used.version == version && Moment(used.last_s).days_until(now) < STILL_DAYS)
        .map(|used| used.client.as_str())
        .collect();
    clients.sort_unstable();
    clients.dedup();
    clients.len()
}

fn ending(known: &Known, users: usize, now: Moment) -> Option<String> {
    let sunset = known.sunset.filter(|_| users > 0)?;
    let (version, told) = (known.version, sunset.told());
    match now.days_until(sunset) {
        _ if sunset <= now => {
            Some(format!("version {version} ended on {told}, and {users} clients still ask for it"))
        }
        days if days <= SOON_DAYS => {
            Some(format!("version {version} ends on {told}, and {users} clients still use it"))
        }
        _ => None,
    }
}

fn lives(versions: &Inner, used: &[Used], now: Moment) -> Table {
    let date = |date: Option<Moment>| date.map(Moment::told).unwrap_or_default();
    let rows = versions.known.iter().map(|known| {
        let of = || used.iter().filter(|used| used.version == known.version);
        vec![
            known.version.to_string(),
            match known.brownout(now) {
                Some(_) => "brownout".to_owned(),
                None => known.stage(now).as_str().to_owned(),
            },
            date(known.deprecated),
            date(known.sunset),
            of().map(|used| used.requests).sum::<u64>().to_string(),
            of().map(|used| used.refused).sum::<u64>().to_string(),
            users(used, known.version, now).to_string(),
        ]
    });
    Table {
        title: "Versions",
        columns: vec!["version", "stage", "deprecated", "sunset", "requests", "refused", "clients"],
        rows: rows.collect(),
    }
}

/// Of those that are deprecated, ended, or have an end.
fn old_uses(versions: &Inner, used: &[Used], now: Moment) -> Table {
    let leaving = |version| {
        let known = versions.known.iter().find(|known| known.version == version);
        known.is_some_and(|known| known.ages() || known.stage(now) == Stage::Deprecated)
    };
    let rows = used.iter().filter(|used| leaving(used.version)).take(ROWS_MAX).map(|used| {
        let client = if used.client == OTHERS { "others" } else { &used.client };
        vec![
            used.version.to_string(),
            client.to_owned(),
            used.route.clone(),
            used.requests.to_string(),
            Moment(used.first_s).told(),
            Moment(used.last_s).told(),
        ]
    });
    Table {
        title: "Who still uses what is leaving",
        columns: vec!["version", "client", "route", "requests", "since", "last"],
        rows: rows.collect(),
    }
}
