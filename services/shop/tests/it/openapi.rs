//! The documents of the API's versions are what was agreed on: a change is seen in `services/shop/openapi`, and
//! what would break a client has a new version.

use std::path::Path;
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::http::{Version, openapi};
use shop::api::{self, Api};

/// 2026-08-01: version 1 is deprecated.
const DAY: Duration = Duration::from_secs(1_785_542_400);

fn documents() -> openapi::Documents {
    let (clock, hand) = Clock::manual();
    hand.advance(DAY);
    api::documents(&api::versions(&Api::default(), clock).unwrap()).unwrap()
}

/// MAINSTAY_UPDATE_DOCS=1 writes them anew.
#[test]
fn documents_are_as_agreed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi");
    let update = std::env::var_os("MAINSTAY_UPDATE_DOCS").is_some();
    documents().golden(folder, update).unwrap_or_else(|error| panic!("{}", error.report()));
}

#[test]
fn version_2_breaks_what_it_was_made_for() {
    let documents = documents();
    let value = |n| documents.value(Version::number(n)).unwrap();
    let differences = openapi::diff(&value(1), &value(2)).unwrap();
    let broken: Vec<_> = differences.breaking().map(|d| d.operation.as_str()).collect();
    assert!(!broken.is_empty() && broken.iter().all(|o| o.contains("/users")), "{broken:?}");
}
