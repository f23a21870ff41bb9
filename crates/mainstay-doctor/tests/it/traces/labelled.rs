//! The labelled traces, and how what is said of them is counted. The benchmarks share it.

use std::collections::BTreeSet;

use mainstay_core::Code;
use mainstay_doctor::Finding;

use super::make::{Kind, Maker};
use super::{negative, positive};

pub const POSITIVES: usize = 120;
pub const NEGATIVES: usize = 80;
/// Each is a set of 200 of its own.
pub const SEEDS: u64 = 5;

/// A trace with the places of its N+1.
pub struct Labelled {
    pub kind: &'static str,
    pub lines: String,
    pub sites: BTreeSet<String>,
}

/// The set of `seed`.
pub fn all(seed: u64) -> Vec<Labelled> {
    let make = |kind: &Kind, n: usize| {
        let mut maker = Maker::new(seed * 10_000 + n as u64);
        kind.1(&mut maker);
        let sites = maker.expected.clone();
        Labelled { kind: kind.0, lines: maker.lines(), sites }
    };
    let positive = (0..POSITIVES).map(|n| make(&positive::KINDS[n % positive::KINDS.len()], n));
    let negative =
        (0..NEGATIVES).map(|n| make(&negative::KINDS[n % negative::KINDS.len()], POSITIVES + n));
    positive.chain(negative).collect()
}

/// Where an N+1 is said to be.
pub fn places(findings: &[Finding]) -> BTreeSet<String> {
    let n_plus_one = findings.iter().filter(|f| f.code == Code::DoctorNPlusOne);
    n_plus_one.map(|f| f.place.clone().unwrap_or_default()).collect()
}

/// What was said of traces, beside what should have been.
#[derive(Default)]
pub struct Tally {
    /// Traces with an N+1; those of them, and those of all, that were said to have one.
    pub expected: usize,
    found: usize,
    told: usize,
    /// Found, at just its places.
    right: usize,
    pub wrong: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, labelled: &Labelled, places: &BTreeSet<String>) {
        let positive = !labelled.sites.is_empty();
        self.expected += usize::from(positive);
        self.found += usize::from(positive && !places.is_empty());
        self.told += usize::from(!places.is_empty());
        self.right += usize::from(positive && *places == labelled.sites);
        if *places != labelled.sites {
            self.wrong.push(format!("{}: {places:?} for {:?}", labelled.kind, labelled.sites));
        }
    }

    pub fn recall(&self) -> f64 {
        self.found as f64 / self.expected as f64
    }

    pub fn precision(&self) -> f64 {
        self.found as f64 / self.told as f64
    }

    /// The share of the found whose places are right.
    pub fn site(&self) -> f64 {
        self.right as f64 / self.found as f64
    }
}
