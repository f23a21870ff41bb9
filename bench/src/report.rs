//! The figures: a table for people, JSON for the record.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// One figure of ours beside the peers'.
#[derive(Debug, Serialize)]
pub(crate) struct Case {
    /// What was measured.
    #[expect(clippy::struct_field_names, reason = "the name it has in the results")]
    pub(crate) case: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    pub(crate) ours: f64,
    pub(crate) peers: BTreeMap<String, f64>,
}

impl Case {
    pub(crate) fn new(
        case: impl Into<String>,
        unit: &'static str,
        better: Better,
        ours: f64,
    ) -> Self {
        Self { case: case.into(), unit, better, ours: round(ours), peers: BTreeMap::new() }
    }

    pub(crate) fn peer(mut self, name: &str, value: f64) -> Self {
        self.peers.insert(name.to_owned(), round(value));
        self
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The value in the middle.
pub(crate) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn micros(d: Duration) -> f64 {
    d.as_secs_f64() * 1e6
}

/// Ratios are ours to the peer: below 1 is faster where lower is better.
pub(crate) fn print(cases: &[Case]) {
    println!("{:<52} {:>10} {:>12}  peers (ours / peer)", "case", "unit", "ours");
    for case in cases {
        let peers: Vec<_> = case
            .peers
            .iter()
            .map(|(name, value)| format!("{name} {value} ({:.2}x)", case.ours / value))
            .collect();
        println!("{:<52} {:>10} {:>12}  {}", case.case, case.unit, case.ours, peers.join(", "));
    }
}

/// Writes them, in place of those of the same names; `anew`, in place of all that were there.
pub(crate) fn write(name: &str, cases: &[Case], anew: bool) {
    // Of the checkout that it is run in, not the one that it was built in.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let path = Path::new(&own).join("results").join(format!("{name}.json"));
    let old = std::fs::read_to_string(&path).ok().filter(|_| !anew);
    let mut all: Vec<Value> =
        old.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    for case in cases {
        let new = serde_json::to_value(case).expect("numbers and names");
        match all.iter_mut().find(|old| old["case"] == new["case"]) {
            Some(old) => *old = new,
            None => all.push(new),
        }
    }
    let text = serde_json::to_string_pretty(&all).expect("numbers and names");
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("the results folder");
    std::fs::write(&path, text + "\n").expect("the results are written");
    println!("\nwritten to bench/results/{name}.json");
}
