//! What changes between versions cost, by the kilobyte of JSON: read as the caller's version, lifted, lowered
//! and written, beside the same by hand; and the lifting and lowering alone.

use std::hint::black_box;

use mainstay::http::{Answer, Change, Changes, Reader, Version, Writer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::time;
use crate::report::{Better, Case, median};

/// Short rounds, and many: on a busy machine most of them are not interrupted.
const ROUNDS: usize = 301;

#[derive(Clone, Serialize, Deserialize)]
struct OldLine {
    product: String,
    amount: u32,
    euros: u64,
    note: Option<String>,
}

/// Prices are in cents.
#[derive(Clone, Serialize, Deserialize)]
struct Line {
    product: String,
    amount: u32,
    cents: u64,
    note: Option<String>,
}

/// A line without a note has an empty one.
#[derive(Clone, Serialize, Deserialize)]
struct NewLine {
    product: String,
    amount: u32,
    cents: u64,
    note: String,
}

struct InCents;
struct NotesAreText;

impl Change for InCents {
    const SINCE: Version = Version::number(2);
    type OldRequest = Vec<OldLine>;
    type NewRequest = Vec<Line>;
    type OldResponse = Vec<OldLine>;
    type NewResponse = Vec<Line>;

    fn lift(old: Vec<OldLine>) -> Answer<Vec<Line>> {
        Ok(old.into_iter().map(cents).collect())
    }

    fn lower(new: Vec<Line>) -> Answer<Vec<OldLine>> {
        Ok(new.into_iter().map(euros).collect())
    }
}

impl Change for NotesAreText {
    const SINCE: Version = Version::number(3);
    type OldRequest = Vec<Line>;
    type NewRequest = Vec<NewLine>;
    type OldResponse = Vec<Line>;
    type NewResponse = Vec<NewLine>;

    fn lift(old: Vec<Line>) -> Answer<Vec<NewLine>> {
        Ok(old.into_iter().map(noted).collect())
    }

    fn lower(new: Vec<NewLine>) -> Answer<Vec<Line>> {
        Ok(new.into_iter().map(bare).collect())
    }
}

fn cents(OldLine { product, amount, euros, note }: OldLine) -> Line {
    Line { product, amount, cents: euros * 100, note }
}

fn euros(Line { product, amount, cents, note }: Line) -> OldLine {
    OldLine { product, amount, euros: cents / 100, note }
}

fn noted(Line { product, amount, cents, note }: Line) -> NewLine {
    NewLine { product, amount, cents, note: note.unwrap_or_default() }
}

fn bare(NewLine { product, amount, cents, note }: NewLine) -> Line {
    Line { product, amount, cents, note: Some(note).filter(|note| !note.is_empty()) }
}

struct Json<'a>(&'a [u8]);

impl Reader for Json<'_> {
    fn read<T: DeserializeOwned>(self) -> Answer<T> {
        Ok(serde_json::from_slice(self.0).expect("a body"))
    }
}

impl Writer for Json<'_> {
    type Written = Vec<u8>;

    fn write<T: Serialize>(self, value: &T) -> Answer<Vec<u8>> {
        Ok(serde_json::to_vec(value).expect("a body"))
    }
}

pub(crate) fn run() -> Vec<Case> {
    [1, 10, 100].into_iter().flat_map(sized).collect()
}

/// Bodies of so many kilobytes.
fn sized(kb: usize) -> [Case; 3] {
    let line = |n: usize| OldLine {
        product: format!("a product of usual length, number {n:04}"),
        amount: 3,
        euros: 12,
        note: Some("leave it at the door".to_owned()),
    };
    let lines: Vec<OldLine> = (0..kb * 8).map(line).collect();
    let body = serde_json::to_vec(&lines).expect("a body");
    let per_kb = 1e3 * body.len() as f64 / 1e3;
    let count = 100 / kb;
    let [mut one, mut hand, mut two, mut hand_two, mut alone] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        one.push(time(count, || through::<(InCents,)>(&body)));
        hand.push(time(count, || {
            let read: Vec<OldLine> = serde_json::from_slice(black_box(&body)).expect("a body");
            let lifted: Vec<Line> = read.into_iter().map(cents).collect();
            let lowered: Vec<OldLine> = black_box(lifted).into_iter().map(euros).collect();
            black_box(serde_json::to_vec(&lowered).expect("a body"));
        }));
        two.push(time(count, || through::<(InCents, NotesAreText)>(&body)));
        hand_two.push(time(count, || {
            let read: Vec<OldLine> = serde_json::from_slice(black_box(&body)).expect("a body");
            let lifted: Vec<NewLine> = read.into_iter().map(cents).map(noted).collect();
            let lowered: Vec<OldLine> =
                black_box(lifted).into_iter().map(bare).map(euros).collect();
            black_box(serde_json::to_vec(&lowered).expect("a body"));
        }));
        let mut kept = lines.clone();
        alone.push(time(count, || {
            let lifted = InCents::lift(black_box(std::mem::take(&mut kept))).expect("lifted");
            kept = InCents::lower(black_box(lifted)).expect("lowered");
        }));
    }
    let case = |name: &str, all: Vec<f64>| {
        let name = format!("{name}, {kb} KB");
        Case::new(name, "us/KB", Better::Lower, median(all) / per_kb)
    };
    let by_hand = "serde by hand";
    [
        case("read, one change both ways, written", one).peer(by_hand, median(hand) / per_kb),
        case("read, two changes both ways, written", two).peer(by_hand, median(hand_two) / per_kb),
        case("one change both ways alone", alone),
    ]
}

fn through<C: Changes<Request: Into<C::Response>>>(body: &[u8]) {
    let oldest = Version::number(1);
    let read = C::read(oldest, Json(black_box(body))).expect("lifted");
    black_box(C::write(oldest, black_box(read.into()), Json(&[])).expect("lowered"));
}
