//! What a decision costs in one process, by how many keys there are and of what type.

use std::hash::Hash;
use std::hint::black_box;
use std::num::NonZeroU32;

use governor::{Quota, RateLimiter};
use mainstay::clock::Clock;
use mainstay::limit::{Limiter, Policy};

use crate::report::{Better, Case, median};

/// Decisions in a measurement, and how often it is made.
const DECISIONS: usize = 2_000_000;
const ROUNDS: usize = 5;
/// A hot key is mostly denied, as under an attack; of many keys nearly every call is allowed.
const RATE: u32 = 1_000_000;

pub(crate) fn run() -> Vec<Case> {
    let mut cases = vec![direct()];
    for (name, count) in
        [("a hot key", 1), ("100,000 keys", 100_000), ("1,000,000 keys", 1_000_000)]
    {
        let numbers: Vec<u64> = (0..count as u64).collect();
        let texts: Vec<String> = numbers.iter().map(|n| format!("user:{n:08}")).collect();
        cases.push(keyed(&format!("{name}, u64"), &numbers));
        cases.push(keyed(&format!("{name}, String"), &texts));
    }
    cases.push(two_threads());
    cases
}

/// A limiter without keys, which others have apart: ours has a key all the same.
fn direct() -> Case {
    let ours = Limiter::with_keys_max(Policy::per_second(RATE), 1);
    let governor = RateLimiter::direct(Quota::per_second(rate()));
    let ratelimit = ratelimit::Ratelimiter::builder(u64::from(RATE))
        .max_tokens(u64::from(RATE))
        .initial_available(u64::from(RATE))
        .build()
        .expect("a rate limit");
    let leaky = leaky_bucket::RateLimiter::builder()
        .initial(RATE as usize)
        .max(RATE as usize)
        .refill(RATE as usize / 1_000)
        .interval(std::time::Duration::from_millis(1))
        .build();
    let runtime = tokio::runtime::Handle::try_current();
    let _inside = runtime.as_ref().map(tokio::runtime::Handle::enter);
    let mut all = [vec![], vec![], vec![], vec![]];
    for _ in 0..ROUNDS {
        all[0].push(time(|_| ours.check(&()).allowed));
        all[1].push(time(|_| governor.check().is_ok()));
        all[2].push(time(|_| ratelimit.try_wait().is_ok()));
        all[3].push(time(|_| leaky.try_acquire(1)));
    }
    let [ours, governor, ratelimit, leaky] = all.map(median);
    Case::new("a decision, one key", "ns", Better::Lower, ours)
        .peer("governor (no keys)", governor)
        .peer("ratelimit (no keys)", ratelimit)
        .peer("leaky-bucket (no keys)", leaky)
}

fn keyed<K: Hash + Eq + Clone + ToString>(name: &str, keys: &[K]) -> Case {
    let ours = Limiter::with_keys_max(Policy::per_second(RATE), keys.len());
    let governor = RateLimiter::keyed(Quota::per_second(rate()));
    let order = order(keys.len());
    let (mut own, mut peers) = (vec![], vec![]);
    for key in keys {
        ours.check(key);
        let _ = governor.check_key(key);
    }
    for _ in 0..ROUNDS {
        own.push(time(|n| ours.check(&keys[order[n % order.len()]]).allowed));
        peers.push(time(|n| governor.check_key(&keys[order[n % order.len()]]).is_ok()));
    }
    let case = Case::new(format!("a decision, {name}"), "ns", Better::Lower, median(own))
        .peer("governor", median(peers));
    // It asks for a text for each call; a tenth of the calls is enough to see.
    if keys.len() == 100_000 { case.peer("limitador", limitador(keys, &order)) } else { case }
}

fn limitador<K: ToString>(keys: &[K], order: &[usize]) -> f64 {
    use limitador::limit::{Context, Limit};
    let limiter = limitador::RateLimiter::new(keys.len() as u64 * 2);
    let variable = vec!["user".try_into().expect("an expression")];
    limiter.add_limit(Limit::new("bench", u64::from(RATE), 1, vec![], variable));
    let namespace = "bench".into();
    let contexts: Vec<Context<'_>> = keys
        .iter()
        .map(|key| {
            let values = std::collections::HashMap::from([("user".to_owned(), key.to_string())]);
            Context::from(values)
        })
        .collect();
    let call = |n: usize| {
        let context = &contexts[order[n % order.len()]];
        limiter.check_rate_limited_and_update(&namespace, context, 1).is_ok()
    };
    let begun = Clock::system().now();
    for n in 0..DECISIONS / 10 {
        black_box(call(n));
    }
    let took = Clock::system().now().saturating_duration_since(begun);
    took.as_nanos() as f64 / (DECISIONS / 10) as f64
}

/// Both processors on the same thousand keys.
fn two_threads() -> Case {
    let ours = Limiter::with_keys_max(Policy::per_second(RATE), 1_000);
    let governor = RateLimiter::keyed(Quota::per_second(rate()));
    let both = |call: &(dyn Fn(u64) + Sync)| {
        let begun = Clock::system().now();
        std::thread::scope(|scope| {
            for seed in 0..2_u64 {
                scope.spawn(move || {
                    (0..DECISIONS as u64 / 2).for_each(|n| call((n * 7 + seed) % 1_000));
                });
            }
        });
        let took = Clock::system().now().saturating_duration_since(begun);
        took.as_nanos() as f64 / DECISIONS as f64
    };
    let (mut own, mut peers) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        own.push(both(&|key| {
            black_box(ours.check(&key));
        }));
        peers.push(both(&|key| {
            let _ = black_box(governor.check_key(&key));
        }));
    }
    Case::new("a decision, 1,000 keys from two threads", "ns", Better::Lower, median(own))
        .peer("governor", median(peers))
}

fn rate() -> NonZeroU32 {
    NonZeroU32::new(RATE).expect("not 0")
}

/// Nanoseconds a decision.
fn time(call: impl Fn(usize) -> bool) -> f64 {
    let begun = Clock::system().now();
    for n in 0..DECISIONS {
        black_box(call(n));
    }
    let took = Clock::system().now().saturating_duration_since(begun);
    took.as_nanos() as f64 / DECISIONS as f64
}

/// The keys in an order that no processor foresees.
pub(crate) fn order(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let rng = mainstay::rng::Rng::seeded(5);
    for at in (1..count).rev() {
        order.swap(at, rng.u64(0..at as u64 + 1) as usize);
    }
    order
}
