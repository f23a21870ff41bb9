//! N+1 on the labelled traces: five sets of 200, in each 80 that only look like one. Beside it three rules that
//! others publish, each in a few lines, on the same statements with the same fingerprints.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use mainstay::doctor::{replay, trace, trace::Event};

use super::share;
use crate::report::Case;

#[path = "../../../crates/mainstay-doctor/tests/it/traces"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the doctor's tests', which are held to more than is measured"
)]
mod made {
    pub(crate) mod labelled;
    pub(crate) mod make;
    pub(crate) mod negative;
    pub(crate) mod positive;
}

use made::labelled::{self, SEEDS, Tally};

/// Where a rule says that an N+1 is.
type Rule = fn(&[Event]) -> BTreeSet<String>;
type Figure = fn(&Tally) -> f64;

const RULES: [(&str, Rule); 3] = [
    ("rule of Sentry", of_sentry),
    ("rule of Prosopite", of_prosopite),
    ("rule of perf-sentinel", of_perf_sentinel),
];

pub(crate) fn run() -> Vec<Case> {
    let mut ours = Tally::default();
    let mut peers: Vec<Tally> = RULES.iter().map(|_| Tally::default()).collect();
    for labelled in (1..=SEEDS).flat_map(labelled::all) {
        let events = trace::read(labelled.lines.as_bytes()).expect("the format is ours");
        ours.add(&labelled, &labelled::places(&replay(&events)));
        for ((_, rule), tally) in RULES.iter().zip(&mut peers) {
            tally.add(&labelled, &rule(&events));
        }
    }
    for wrong in &ours.wrong {
        println!("not as labelled: {wrong}");
    }
    let figures: [(&str, Figure); 3] = [
        ("N+1 on labelled traces: recall", Tally::recall),
        ("N+1 on labelled traces: precision", Tally::precision),
        ("N+1 on labelled traces: places right, of those found", Tally::site),
    ];
    let case = |(name, figure): (&str, Figure)| {
        let case = share(name, figure(&ours));
        let with = |case: Case, ((name, _), tally): (&(&str, Rule), &Tally)| {
            case.peer(name, 100.0 * figure(tally))
        };
        RULES.iter().zip(&peers).fold(case, with)
    };
    figures.into_iter().map(case).collect()
}

/// What each request did, in its order.
fn requests(events: &[Event]) -> Vec<Vec<&Event>> {
    let mut all: BTreeMap<Option<u64>, Vec<&Event>> = BTreeMap::new();
    for event in events {
        all.entry(event.scope.as_ref().map(|scope| scope.id)).or_default().push(event);
    }
    for request in all.values_mut() {
        request.sort_by_key(|event| event.at_us);
    }
    all.into_values().collect()
}

fn site(event: &Event) -> String {
    event.site.as_deref().unwrap_or_default().to_owned()
}

/// After some other statement at least 5 alike in a row, which take at least 50 ms together.
fn of_sentry(events: &[Event]) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for request in requests(events) {
        let mut runs = request.chunk_by(|a, b| a.sql.fingerprint == b.sql.fingerprint);
        // The first has nothing before it.
        runs.next();
        let is_long = |run: &&[&Event]| run.iter().map(|e| e.dur_us).sum::<u64>() >= 50_000;
        told.extend(runs.filter(|run| run.len() >= 5).filter(is_long).map(|run| site(run[0])));
    }
    told
}

/// At least 2 alike from one place.
fn of_prosopite(events: &[Event]) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for request in requests(events) {
        let mut seen = HashSet::new();
        for event in request {
            if !seen.insert((&event.site, event.sql.fingerprint)) {
                told.insert(site(event));
            }
        }
    }
    told
}

/// At least 5 sets of values of statements alike, within 500 ms.
fn of_perf_sentinel(events: &[Event]) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for request in requests(events) {
        for (at, first) in request.iter().enumerate() {
            let near = request[at..].iter().take_while(|e| e.at_us - first.at_us <= 500_000);
            let alike: Vec<_> =
                near.filter(|e| e.sql.fingerprint == first.sql.fingerprint).collect();
            let values: HashSet<_> = alike.iter().map(|e| (&e.sql.text, &e.binds)).collect();
            if values.len() >= 5 {
                told.extend(alike.iter().map(|event| site(event)));
            }
        }
    }
    told
}
