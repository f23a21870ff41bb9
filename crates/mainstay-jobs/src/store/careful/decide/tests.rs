//! Decisions one by one, and many of them in a world of plain data.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn job(id: i64, ordering: Option<u8>, limit: Option<u8>) -> Candidate {
    let options = Options {
        ordering_key: ordering.map(|key| key.to_string()),
        limit_key: limit.map(|key| key.to_string()),
        ..Options::default()
    };
    Candidate { id, lane: 1, priority: 0, live: true, crashes: 0, options }
}

fn decide(one: Candidate, limits: &Limits, book: &mut Book, suspects: bool) -> Decision {
    decide_all(vec![one], limits, book, 1, suspects).remove(0).decision
}

fn parked_by(key: &str) -> Decision {
    Decision::Park(key.to_owned())
}

#[test]
fn a_key_has_one_holder_and_the_next_waits() {
    let (limits, mut book) = (Limits::default(), Book::default());
    let mut ask = |one| decide(one, &limits, &mut book, true);
    assert_eq!(ask(job(1, Some(7), None)), Decision::Run);
    assert_eq!(ask(job(2, Some(7), None)), parked_by("o:7"));
    assert_eq!(ask(job(1, Some(7), None)), Decision::Run, "its own key");
    assert_eq!(ask(job(3, Some(8), None)), Decision::Run);
}

#[test]
fn nobody_passes_an_older_one_that_waits_for_its_key() {
    let holders = Holders { parked: Some(3), ..Holders::default() };
    let mut book = Book { held: BTreeMap::from([("o:7".to_owned(), holders)]), ..Book::default() };
    let mut ask = |one| decide(one, &Limits::default(), &mut book, true);
    assert_eq!(ask(job(5, Some(7), None)), parked_by("o:7"));
    assert_eq!(ask(job(2, Some(7), None)), Decision::Run);
}

#[test]
fn nobody_passes_an_older_one_that_waits_for_something_else() {
    let limits = Limits { key_concurrency: Some(1), ..Limits::default() };
    let mut book = Book::default();
    let mut ask = |one| decide(one, &limits, &mut book, true);
    assert_eq!(ask(job(1, None, Some(1))), Decision::Run);
    assert_eq!(ask(job(2, Some(7), Some(1))), parked_by("l:1"));
    assert_eq!(ask(job(3, Some(7), None)), parked_by("o:7"));
}

#[test]
fn one_that_waits_for_room_in_the_queue_keeps_its_turn() {
    let limits =
        Limits { key_concurrency: Some(1), global_concurrency: Some(1), ..Limits::default() };
    let mut book = Book::default();
    let mut ask = |one| decide(one, &limits, &mut book, true);
    assert_eq!(ask(job(1, None, Some(1))), Decision::Run);
    assert_eq!(ask(job(2, Some(7), None)), Decision::Wait);
    assert_eq!(ask(job(3, Some(7), Some(1))), parked_by("o:7"));
}

fn per_second(count: u32) -> Rate {
    Rate { count, per: Duration::from_secs(1) }
}

fn later(at_us: i64, paid_all: bool) -> Decision {
    Decision::Later(Slot { at_us, paid_all })
}

#[test]
fn a_rate_gives_each_its_time() {
    let limits = Limits { rate: Some(per_second(10)), ..Limits::default() };
    let mut book = Book { now_us: 1_000, ..Book::default() };
    let mut ask = |one| decide(one, &limits, &mut book, true);
    assert_eq!(ask(job(1, None, None)), Decision::Run);
    assert_eq!(ask(job(2, None, None)), later(101_000, true));
    assert_eq!(ask(job(3, None, None)), later(201_000, true));
    let mut paid = job(4, None, None);
    paid.options.rate_paid = true;
    assert_eq!(ask(paid), Decision::Run);
}

#[test]
fn a_key_with_a_low_rate_does_not_keep_other_keys_back() {
    let limits = Limits {
        rate: Some(per_second(1_000)),
        key_rate: Some(per_second(1)),
        ..Limits::default()
    };
    let mut book = Book { now_us: 0, ..Book::default() };
    for id in 1..=100 {
        decide(job(id, None, Some(1)), &limits, &mut book, true);
    }
    assert_eq!(decide(job(101, None, Some(2)), &limits, &mut book, true), later(1_000, true));
    // The one whose time by key has come asks for its place in the queue's rate then.
    book.now_us = 1_000_000;
    let mut due = job(2, None, Some(1));
    due.options.key_rate_paid = true;
    assert_eq!(decide(due, &limits, &mut book, true), Decision::Run);
}

#[test]
fn suspects_run_in_groups_and_then_alone() {
    let suspect = |id, crashes| Candidate { crashes, ..job(id, None, None) };
    let limits = Limits::default();
    let decided = |all: Vec<Candidate>, suspects| -> Vec<bool> {
        let decided = decide_all(all, &limits, &mut Book::default(), 100, suspects);
        decided.into_iter().map(|done| done.decision == Decision::Run).collect()
    };
    let group = |crashes| vec![suspect(1, crashes), suspect(2, crashes), job(3, None, None)];
    assert_eq!(decided(group(1), true), [true, true, true]);
    assert_eq!(decided(group(2), true), [true, false, true]);
    assert_eq!(decided(group(1), false), [false, false, true]);
    assert_eq!(
        decided(vec![suspect(1, 1), suspect(2, 2), suspect(3, 1)], true),
        [true, false, true]
    );
    let many = (0..60).map(|id| suspect(id, 1)).collect();
    assert_eq!(decided(many, true).into_iter().filter(|runs| *runs).count(), GROUP);
}

#[test]
fn what_has_ended_is_dropped_and_takes_no_key() {
    let (limits, mut book) = (Limits::default(), Book::default());
    let ended = Candidate { live: false, ..job(1, Some(7), None) };
    assert_eq!(decide(ended, &limits, &mut book, true), Decision::Drop);
    assert_eq!(decide(job(2, Some(7), None), &limits, &mut book, true), Decision::Run);
}

/// The tables, as far as claims look at them.
#[derive(Default)]
struct World {
    jobs: BTreeMap<i64, Candidate>,
    ready: BTreeSet<i64>,
    parked: BTreeMap<String, BTreeSet<i64>>,
    held: BTreeMap<String, BTreeSet<i64>>,
    freed: BTreeSet<String>,
    running: BTreeSet<i64>,
    /// Jobs in the order in which they first ran, by ordering key.
    begun: BTreeMap<String, Vec<i64>>,
}

impl World {
    fn holders(&self, key: &str) -> Holders {
        let ids = self.held.get(key).cloned().unwrap_or_default();
        let parked = self.parked.get(key).and_then(|all| all.first().copied());
        Holders { ids, parked }
    }

    /// As `keys::hand_on`.
    fn hand_on(&mut self, limits: &Limits) {
        for key in std::mem::take(&mut self.freed) {
            let room = room(limits, &key, self.holders(&key).ids.len());
            for _ in 0..room {
                let Some(id) = self.parked.get_mut(&key).and_then(BTreeSet::pop_first) else {
                    break;
                };
                self.ready.insert(id);
                if is_order(&key) {
                    self.held.entry(key.clone()).or_default().insert(id);
                }
            }
        }
    }

    fn claim(&mut self, limits: &Limits, max: usize) {
        self.hand_on(limits);
        let all: Vec<Candidate> =
            self.ready.iter().take(max + 3).map(|id| self.jobs[id].clone()).collect();
        let keys = all.iter().flat_map(|one| one.keys(limits).held);
        let held = keys.map(|(key, _)| (key.clone(), self.holders(&key))).collect();
        let mut book = Book { held, ..Book::default() };
        for Decided { one, decision, keys } in decide_all(all, limits, &mut book, max, true) {
            for key in keys {
                self.held.entry(key).or_default().insert(one.id);
            }
            match decision {
                Decision::Run => {
                    self.running.insert(one.id);
                    if let Some(key) = &one.options.ordering_key {
                        let begun = self.begun.entry(key.clone()).or_default();
                        if !begun.contains(&one.id) {
                            begun.push(one.id);
                        }
                    }
                }
                Decision::Park(key) => {
                    self.parked.entry(key).or_default().insert(one.id);
                }
                Decision::Leave | Decision::Wait => continue,
                Decision::Later(_) | Decision::Drop => unreachable!("no rates, all live"),
            }
            self.ready.remove(&one.id);
        }
    }

    /// The job that has run longest ends, or is tried again at once.
    fn end(&mut self, nth: usize, again: bool) {
        let Some(id) = self.running.iter().nth(nth % self.running.len().max(1)).copied() else {
            return;
        };
        self.running.remove(&id);
        for (key, ids) in &mut self.held {
            if !(again && is_order(key)) && ids.remove(&id) {
                self.freed.insert(key.clone());
            }
        }
        if again {
            self.ready.insert(id);
        }
    }

    fn check(&self, limits: &Limits) -> Result<(), TestCaseError> {
        for (key, ids) in &self.held {
            let most = match &key[..1] {
                "o" => 1,
                "l" => limits.key_concurrency.unwrap_or(u32::MAX),
                _ => limits.global_concurrency.unwrap_or(u32::MAX),
            };
            prop_assert!(ids.len() <= most as usize, "{key}: {ids:?}");
        }
        for (key, ids) in &self.begun {
            prop_assert!(ids.is_sorted(), "{key}: {ids:?}");
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Act {
    Enqueue(Option<u8>, Option<u8>),
    Claim(usize),
    End(usize, bool),
}

fn act() -> impl Strategy<Value = Act> {
    let key = || prop::option::of(0u8..3);
    prop_oneof![
        (key(), key()).prop_map(|(ordering, limit)| Act::Enqueue(ordering, limit)),
        (1usize..5).prop_map(Act::Claim),
        (0usize..8, any::<bool>()).prop_map(|(nth, again)| Act::End(nth, again)),
    ]
}

proptest! {
    /// No key has more than its holders, each order is kept, and once nothing is added any more,
    /// everything ends.
    #[test]
    fn limits_and_order_hold_and_nobody_is_stranded(
        acts in prop::collection::vec(act(), 1..120),
        most in prop::option::of(1u32..3), whole in prop::option::of(1u32..5),
    ) {
        let limits =
            Limits { key_concurrency: most, global_concurrency: whole, ..Limits::default() };
        let mut world = World::default();
        for act in acts {
            match act {
                Act::Enqueue(ordering, limit) => {
                    let id = world.jobs.len() as i64 + 1;
                    world.jobs.insert(id, job(id, ordering, limit));
                    world.ready.insert(id);
                }
                Act::Claim(max) => world.claim(&limits, max),
                Act::End(nth, again) => world.end(nth, again),
            }
            world.check(&limits)?;
        }
        for _ in 0..4 * world.jobs.len() {
            world.claim(&limits, 2);
            world.check(&limits)?;
            world.end(0, false);
        }
        let waiting: usize = world.parked.values().map(BTreeSet::len).sum();
        prop_assert!(world.ready.is_empty() && waiting == 0 && world.running.is_empty());
    }
}
