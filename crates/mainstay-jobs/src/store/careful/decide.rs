//! What becomes of a job that may have to wait, decided over plain data.

use std::collections::BTreeMap;

use super::interval_us;
use crate::options::Options;
use crate::worker::queue::Limits;

/// The key of a queue as a whole.
pub(super) const WHOLE: &str = "q";

/// A job that is ready and may have to wait.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) id: i64,
    pub(super) lane: i16,
    pub(super) priority: i16,
    pub(super) crashes: i32,
    pub(super) options: Options,
}

/// What a job needs in order to run.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// With how many may have each.
    pub(super) held: Vec<(String, u32)>,
    /// With the time between two starts.
    pub(super) rates: Vec<(String, i64)>,
}

impl Keys {
    /// The names of all that are held.
    pub(super) fn all(self) -> impl Iterator<Item = String> {
        self.held.into_iter().map(|(key, _)| key)
    }

    /// The names of those with a rate.
    pub(super) fn rated(&self) -> impl Iterator<Item = String> + '_ {
        self.rates.iter().map(|(key, _)| key.clone())
    }
}

impl Candidate {
    /// What it needs: its turn by ordering key, then the limits.
    pub(super) fn keys(&self, limits: &Limits) -> Keys {
        let mut keys = Keys::default();
        if let Some(key) = &self.options.ordering_key {
            keys.held.push((format!("o:{key}"), 1));
        }
        if let Some(key) = &self.options.limit_key {
            let key = format!("l:{key}");
            if let Some(most) = limits.key_concurrency {
                keys.held.push((key.clone(), most));
            }
            if let Some(rate) = limits.key_rate {
                keys.rates.push((key, interval_us(rate)));
            }
        }
        if let Some(most) = limits.global_concurrency {
            keys.held.push((WHOLE.to_owned(), most));
        }
        if let Some(rate) = limits.rate {
            keys.rates.push((WHOLE.to_owned(), interval_us(rate)));
        }
        keys
    }
}

/// Who has a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders {
    pub(super) ids: Vec<i64>,
    /// The oldest job that waits for it.
    pub(super) parked: Option<i64>,
}

/// What becomes of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Run,
    /// It stays where it is.
    Leave,
    /// It waits for this key.
    Park(String),
    /// Its place in a rate is at this time.
    Slot(i64),
}

/// Decides, and counts what that takes. The rates follow the generic cell rate algorithm (ITU-T I.371)
/// without a burst: each start moves the time of the next one on by an interval.
pub(super) fn decide(
    one: &Candidate,
    limits: &Limits,
    held: &mut BTreeMap<String, Holders>,
    rates: &mut BTreeMap<String, i64>,
    now_us: i64,
    may_suspect: bool,
) -> Decision {
    if one.crashes > 0 && !may_suspect {
        return Decision::Leave;
    }
    let keys = one.keys(limits);
    for (key, most) in &keys.held {
        let holders = held.entry(key.clone()).or_default();
        if holders.ids.contains(&one.id) {
            continue;
        }
        if key == WHOLE && holders.ids.len() >= *most as usize {
            // So is everybody else: there is nothing to be gained by moving it.
            return Decision::Leave;
        }
        let passes = key.starts_with("o:") && holders.parked.is_some_and(|id| id < one.id);
        if holders.ids.len() >= *most as usize || passes {
            holders.parked = Some(holders.parked.map_or(one.id, |id| id.min(one.id)));
            return Decision::Park(key.clone());
        }
    }
    if !one.options.rate_paid {
        let slot =
            keys.rates.iter().map(|(key, _)| rates.get(key).copied().unwrap_or(now_us)).max();
        if let Some(slot) = slot {
            let slot = slot.max(now_us);
            for (key, interval) in &keys.rates {
                rates.insert(key.clone(), slot.saturating_add(*interval));
            }
            if slot > now_us {
                return Decision::Slot(slot);
            }
        }
    }
    for (key, _) in &keys.held {
        let holders = held.entry(key.clone()).or_default();
        if !holders.ids.contains(&one.id) {
            holders.ids.push(one.id);
        }
    }
    Decision::Run
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::worker::queue::Rate;

    fn job(id: i64, ordering: Option<u8>, limit: Option<u8>) -> Candidate {
        let options = Options {
            ordering_key: ordering.map(|key| key.to_string()),
            limit_key: limit.map(|key| key.to_string()),
            ..Options::default()
        };
        Candidate { id, lane: 1, priority: 0, crashes: 0, options }
    }

    #[test]
    fn a_key_has_one_holder_and_the_next_waits() {
        let (limits, mut held, mut rates) = (Limits::default(), BTreeMap::new(), BTreeMap::new());
        let mut ask = |one: &Candidate| decide(one, &limits, &mut held, &mut rates, 0, true);
        assert_eq!(ask(&job(1, Some(7), None)), Decision::Run);
        assert_eq!(ask(&job(2, Some(7), None)), Decision::Park("o:7".to_owned()));
        assert_eq!(ask(&job(1, Some(7), None)), Decision::Run, "its own key");
        assert_eq!(ask(&job(3, Some(8), None)), Decision::Run);
    }

    #[test]
    fn nobody_passes_an_older_one_of_its_key() {
        let holders = Holders { ids: Vec::new(), parked: Some(3) };
        let mut held = BTreeMap::from([("o:7".to_owned(), holders)]);
        let limits = Limits::default();
        let mut rates = BTreeMap::new();
        let younger = decide(&job(5, Some(7), None), &limits, &mut held, &mut rates, 0, true);
        assert_eq!(younger, Decision::Park("o:7".to_owned()));
        let older = decide(&job(2, Some(7), None), &limits, &mut held, &mut rates, 0, true);
        assert_eq!(older, Decision::Run);
    }

    #[test]
    fn a_rate_gives_each_its_time() {
        let rate = Rate { count: 10, per: Duration::from_secs(1) };
        let limits = Limits { rate: Some(rate), ..Limits::default() };
        let (mut held, mut rates) = (BTreeMap::new(), BTreeMap::new());
        let mut ask =
            |id| decide(&job(id, None, None), &limits, &mut held, &mut rates, 1_000, true);
        assert_eq!(ask(1), Decision::Run);
        assert_eq!(ask(2), Decision::Slot(101_000));
        assert_eq!(ask(3), Decision::Slot(201_000));
    }

    #[test]
    fn a_suspect_waits_until_it_may_be_alone() {
        let one = Candidate { crashes: 1, ..job(1, None, None) };
        let (mut held, mut rates) = (BTreeMap::new(), BTreeMap::new());
        let limits = Limits::default();
        assert_eq!(decide(&one, &limits, &mut held, &mut rates, 0, false), Decision::Leave);
        assert_eq!(decide(&one, &limits, &mut held, &mut rates, 0, true), Decision::Run);
    }

    proptest! {
        #[test]
        fn no_key_has_more_than_its_holders(
            jobs in prop::collection::vec((prop::option::of(0u8..4), prop::option::of(0u8..4)), 1..60),
            most in 1u32..4, whole in 1u32..9,
        ) {
            let limits = Limits {
                key_concurrency: Some(most),
                global_concurrency: Some(whole),
                ..Limits::default()
            };
            let (mut held, mut rates) = (BTreeMap::new(), BTreeMap::new());
            let mut running = 0;
            for (id, (ordering, limit)) in jobs.into_iter().enumerate() {
                let one = job(id as i64, ordering, limit);
                let decision = decide(&one, &limits, &mut held, &mut rates, 0, true);
                running += u32::from(decision == Decision::Run);
            }
            prop_assert!(running <= whole);
            for (key, holders) in &held {
                let most = match &key[..1] { "o" => 1, "l" => most, _ => whole };
                prop_assert!(holders.ids.len() <= most as usize, "{key}");
            }
        }
    }
}
