//! Serialization storms: transactions that conflict again and again, with the places that conflict.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use crate::finding::Finding;

/// Conflicts within [`WITHIN`] that are a storm; fewer are what retries are for.
const STORM_MIN: usize = 5;
const WITHIN: Duration = Duration::from_secs(60);
/// Conflicts that are remembered.
const CONFLICTS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct Storms(VecDeque<Finding>);

impl Storms {
    /// One more conflict; a finding once there are many.
    pub(super) fn add(&mut self, conflict: &Finding) -> Option<Finding> {
        let now = conflict.last_seen;
        let old = |at: SystemTime| now.duration_since(at).is_ok_and(|age| age > WITHIN);
        while self.0.front().is_some_and(|c| self.0.len() >= CONFLICTS_MAX || old(c.last_seen)) {
            self.0.pop_front();
        }
        self.0.push_back(conflict.clone());
        if self.0.len() < STORM_MIN {
            return None;
        }
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for place in self.0.iter().filter_map(|c| c.place.as_deref()) {
            *places.entry(place).or_default() += 1;
        }
        let mut out = conflict.clone();
        out.what = format!(
            "{} transactions could not be serialized within {}s and were run again",
            self.0.len(),
            WITHIN.as_secs()
        );
        let own = out.place.clone().unwrap_or_default();
        out.evidence.extend(places.iter().map(|(place, n)| {
            let who = if *place == own { "this one" } else { "beside it" };
            format!("{who}: the transaction begun at {place}, {n} times")
        }));
        Some(out)
    }
}
