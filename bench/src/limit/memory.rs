//! What keys cost in memory, and what keys that never come again do to it.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::{Quota, RateLimiter};
use mainstay::clock::Clock;
use mainstay::limit::{Limiter, Policy};

use crate::report::{Better, Case};

const ROTATING: u64 = 100_000_000;
/// It keeps them all: fewer, or the machine would be full.
const ROTATING_GOVERNOR: u64 = 10_000_000;

pub(crate) fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for keys in [1_000_000_u64, 10_000_000] {
        cases.push(
            Case::new(
                format!("memory a key, {keys} keys"),
                "bytes",
                Better::Lower,
                apart("ours", keys).0,
            )
            .peer("governor", apart("governor", keys).0),
        );
    }
    let (grown, longest) = rotate();
    let (per_key, sweep) = apart("governor", ROTATING_GOVERNOR);
    let governor_grown = per_key * ROTATING_GOVERNOR as f64 / 1e6;
    cases.push(
        Case::new("memory grown by 100 M rotating keys", "MB", Better::Lower, grown)
            .peer("governor (10 M)", governor_grown),
    );
    cases.push(
        Case::new("longest pause for eviction", "us", Better::Lower, longest)
            .peer("governor (retain_recent, 10 M)", sweep.as_secs_f64() * 1e6),
    );
    cases
}

/// In a process of its own: what this one has freed would be used again unseen.
fn apart(kind: &str, keys: u64) -> (f64, Duration) {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program)
        .args(["resident", kind, &keys.to_string()])
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("two numbers");
    let mut numbers = text.split_whitespace().map(|n| n.parse::<f64>().expect("a number"));
    let (bytes, seconds) = (numbers.next().expect("bytes"), numbers.next().expect("seconds"));
    (bytes / keys as f64, Duration::from_secs_f64(seconds))
}

/// `bench resident KIND KEYS`: the bytes by which a process grows by so many keys, and the seconds of a sweep.
pub(crate) fn resident_of(kind: &str, keys: u64) {
    let before = resident();
    if kind == "ours" {
        let limiter = Limiter::with_keys_max(policy(), keys as usize);
        for key in 0..keys {
            limiter.check(&key);
        }
        println!("{} 0", resident().saturating_sub(before));
    } else {
        let limiter = RateLimiter::keyed(Quota::per_hour(NonZeroU32::new(100).expect("not 0")));
        for key in 0..keys {
            let _ = limiter.check_key(&key);
        }
        let grown = resident().saturating_sub(before);
        let begun = Clock::system().now();
        limiter.retain_recent();
        let took = Clock::system().now().saturating_duration_since(begun);
        println!("{grown} {}", took.as_secs_f64());
    }
}

/// Megabytes by which the process grew, and the longest decision in microseconds: the 99.99th percentile of
/// a hundred thousand, since what is longer is the scheduler's.
fn rotate() -> (f64, f64) {
    let limiter = Limiter::with_keys_max(policy(), 1_000_000);
    for key in 0..2_000_000_u64 {
        limiter.check(&key);
    }
    let clock = Clock::system();
    let mut took = vec![0.0; ROTATING as usize / 1_000];
    let before = resident();
    for stretch in 0..ROTATING / 1_000 {
        for key in 0..999 {
            limiter.check(&(stretch * 1_000 + key));
        }
        let begun = clock.now();
        limiter.check(&(stretch * 1_000 + 999));
        took[stretch as usize] = clock.now().saturating_duration_since(begun).as_secs_f64() * 1e6;
    }
    took.sort_by(f64::total_cmp);
    let grown = resident().saturating_sub(before);
    (grown as f64 / 1e6, took[took.len() * 9_999 / 10_000])
}

fn policy() -> Policy {
    Policy::per_hour(100)
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
    pages * 4096
}
