//! Limits on a real Redis: each rule against a simple model, all or nothing, and a server that freezes, dies,
//! forgets its scripts or is full. Time is Redis' own: the model knows it between two readings of the wall.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error};
use mainstay_limit::redis::{Decided, RedisStore};
use mainstay_limit::{Ask, By, Limits, Policy, Rule};
use mainstay_testkit::Broker;
use tokio::sync::OnceCell;

const MS: Duration = Duration::from_millis(1);

/// The server of all tests that leave it alone.
async fn server() -> &'static Broker {
    static SERVER: OnceCell<Broker> = OnceCell::const_new();
    SERVER.get_or_init(quick).await
}

/// One that does not wait for its disk: nothing here asks whether limits outlive a power failure.
async fn quick() -> Broker {
    let server = Broker::redis().await;
    assert!(command(&server.url(), &["CONFIG", "SET", "appendfsync", "no"]).contains("OK"));
    server
}

/// With keys of its own, and time enough for a busy machine.
async fn store() -> RedisStore {
    let prefix = format!("t{:x}", Rng::system().u64(0..u64::MAX));
    patient(&server().await.url()).await.prefix(&prefix)
}

async fn patient(url: &str) -> RedisStore {
    RedisStore::connect(url).await.unwrap().timeout(Duration::from_secs(5))
}

fn policy(text: &str) -> Policy {
    text.parse().unwrap()
}

fn ask<'a>(policy: &'a Policy, key: &'a str, cost: u32) -> Ask<'a> {
    Ask { policy, key, cost }
}

async fn sleep(time: Duration) {
    Clock::system().sleep(time).await;
}

/// Until it is allowed again.
async fn allowed_again(store: &RedisStore, ask: Ask<'_>) -> Decided {
    for _ in 0..500 {
        match store.decide(&[ask]).await {
            Ok(decided) if decided.verdict.allowed() => return decided,
            _ => sleep(20 * MS).await,
        }
    }
    panic!("never allowed again");
}

/// One command, past the client that is tested; the answer's lines, as they are.
fn command(url: &str, words: &[&str]) -> String {
    let (password, address) = url.strip_prefix("redis://:").unwrap().split_once('@').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "AUTH {password}\r\n{}\r\nECHO over-and-out\r\n", words.join(" ")).unwrap();
    let mut answer = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if line == "over-and-out" {
            break;
        }
        answer += &format!("{line}\n");
    }
    answer
}

/// Scripts that have run so far.
fn scripts(url: &str) -> u64 {
    let stats = command(url, &["INFO", "commandstats"]);
    let calls = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_eval"));
    let calls = calls
        .filter_map(|line| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok());
    calls.sum()
}

fn wall_us() -> f64 {
    let wall = Clock::system().wall().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    wall.as_micros() as f64
}

/// What was counted, each between two times.
type Past = Vec<(f64, f64, f64)>;

/// The least and the most units that may stand in the way between `a` and `b`; `None` where a window turns.
fn used(rule: Rule, past: &[(f64, f64, f64)], a: f64, b: f64) -> Option<(f64, f64)> {
    let us = |window: Duration| window.as_micros() as f64;
    let sum = |is: &dyn Fn(f64, f64) -> bool| -> f64 {
        past.iter().filter(|(from, to, _)| is(*from, *to)).map(|(_, _, cost)| cost).sum()
    };
    Some(match rule {
        Rule::SlidingLog { window, .. } => {
            let w = us(window);
            (sum(&|from, _| from > b - w), sum(&|_, to| to > a - w))
        }
        Rule::FixedWindow { window, .. } | Rule::SlidingCounter { window, .. } => {
            let w = us(window);
            let (start, end) = ((a / w).floor() * w, (b / w).floor() * w);
            if start.to_bits() != end.to_bits() {
                return None;
            }
            let surely = |start: f64| sum(&|from, to| from >= start && to < start + w);
            let maybe = |start: f64| sum(&|from, to| to >= start && from < start + w);
            if matches!(rule, Rule::FixedWindow { .. }) {
                (surely(start), maybe(start))
            } else {
                let share = |at: f64| (start + w - at) / w;
                let (before, most) = (surely(start - w), maybe(start - w));
                (surely(start) + before * share(b), maybe(start) + most * share(a))
            }
        }
        Rule::Gcra { limit, per, .. } | Rule::TokenBucket { refill: limit, per, .. } => {
            let interval = us(per) / f64::from(limit);
            let fold = |now: f64, at: fn(&(f64, f64, f64)) -> f64| {
                let full_at = past.iter().fold(0.0_f64, |t, p| t.max(at(p)) + p.2 * interval);
                (full_at - now).max(0.0) / interval
            };
            (fold(b, |p| p.0), fold(a, |p| p.1))
        }
        Rule::Concurrency { .. } => (sum(&|_, _| true), sum(&|_, _| true)),
    })
}

/// Calls of random costs at random times. What the model is sure of must be so.
async fn agrees(text: &str) {
    let (store, policy) = (store().await, policy(text));
    let rng = Rng::seeded(7);
    let mut past = Past::new();
    let (mut sure, mut allowed, mut denied) = (0, 0, 0);
    for call in 0..150 {
        let cost = rng.u64(0..4) as u32;
        let a = wall_us();
        let decided = store.decide(&[ask(&policy, "k", cost)]).await.unwrap();
        let b = wall_us() + 1.0;
        let decision = decided.verdict.decisions()[0];
        if let Some((least, most)) = used(policy.rule(), &past, a, b) {
            let room = f64::from(policy.limit()) - f64::from(cost);
            if most <= room - 0.01 || least > room + 0.01 {
                assert_eq!(
                    decision.allowed,
                    most <= room || cost == 0,
                    "{text}: call {call}, {decision:?}"
                );
                sure += 1;
            }
        }
        if decision.allowed {
            allowed += 1;
            past.push((a, b, f64::from(cost)));
        } else {
            denied += 1;
            assert!(
                decision.retry_after.is_some_and(|after| after > Duration::ZERO),
                "{decision:?}"
            );
        }
        sleep(MS * rng.u64(0..25) as u32).await;
    }
    assert!(sure > 50 && allowed > 20 && denied > 10, "{text}: {sure} {allowed} {denied}");
}

#[tokio::test]
async fn a_fixed_window_agrees_with_the_model() {
    agrees("fixed 7/200ms").await;
}

#[tokio::test]
async fn a_sliding_log_agrees_with_the_model() {
    agrees("log 7/200ms").await;
}

#[tokio::test]
async fn a_sliding_counter_agrees_with_the_model() {
    agrees("sliding 7/200ms").await;
}

#[tokio::test]
async fn gcra_agrees_with_the_model() {
    agrees("gcra 7/200ms burst 5").await;
}

#[tokio::test]
async fn a_token_bucket_agrees_with_the_model() {
    agrees("bucket 7/200ms burst 5").await;
}

#[tokio::test]
async fn after_retry_after_a_call_is_allowed_and_what_never_fits_has_none() {
    let store = store().await;
    for text in [
        "fixed 5/300ms",
        "log 5/300ms",
        "sliding 5/300ms",
        "gcra 5/300ms burst 5",
        "bucket 5/300ms burst 5",
    ] {
        let policy = policy(text);
        for cost in [5, 3, 1, 5, 4] {
            let decision =
                store.decide(&[ask(&policy, text, cost)]).await.unwrap().verdict.decisions()[0];
            if let Some(after) = decision.retry_after {
                sleep(after).await;
                let again = store.decide(&[ask(&policy, text, cost)]).await.unwrap();
                assert!(again.verdict.allowed(), "{text}, {cost} after {after:?}: {again:?}");
            }
        }
        let never = store.decide(&[ask(&policy, "new", 6)]).await.unwrap().verdict.decisions()[0];
        assert_eq!((never.allowed, never.retry_after, never.remaining), (false, None, 5), "{text}");
        let whole = store.decide(&[ask(&policy, "new", 5)]).await.unwrap().verdict.decisions()[0];
        assert!(
            whole.allowed && whole.remaining == 0 && whole.reset > Duration::ZERO,
            "{text}: {whole:?}"
        );
    }
}

#[tokio::test]
async fn units_of_a_concurrency_limit_are_held_until_they_are_dropped() {
    let (store, three, shadow) =
        (store().await, policy("concurrency 3"), policy("concurrency 1 shadow"));
    let two = store.decide(&[ask(&three, "k", 2)]).await.unwrap();
    let one = store.decide(&[ask(&three, "k", 1)]).await.unwrap();
    assert!(two.held.is_some() && one.verdict.decisions()[0].remaining == 0);
    let denied = store.decide(&[ask(&three, "k", 1)]).await.unwrap();
    assert!(!denied.verdict.allowed() && denied.held.is_none());
    assert_eq!(denied.verdict.decisions()[0].retry_after, None);
    drop(two);
    let again = allowed_again(&store, ask(&three, "k", 2)).await;
    assert!(again.held.is_some());
    let first = store.decide(&[ask(&shadow.clone().named("s"), "k", 1)]).await.unwrap();
    let second = store.decide(&[ask(&shadow.named("s"), "k", 1)]).await.unwrap();
    assert!(
        first.held.is_some() && second.held.is_none() && second.verdict.decisions()[0].shadowed
    );
}

#[tokio::test]
async fn limits_are_decided_all_or_nothing_and_a_shared_one_is_counted_once_for_all() {
    let store = store().await;
    let (user, all) = (policy("10/min").named("user"), policy("fixed 12/d").named("all"));
    let call = async |key: &str, cost| {
        let asks = [ask(&user, key, cost), ask(&all, "", cost)];
        store.decide(&asks).await.unwrap().verdict
    };
    assert!(call("alice", 10).await.allowed());
    let denied = call("bob", 3).await;
    assert!(!denied.allowed() && denied.decisions()[0].allowed && denied.binding() == Some(1));
    assert_eq!(denied.decisions()[0].remaining, 10, "nothing of bob's was counted");
    let last = call("bob", 2).await;
    assert_eq!((last.allowed(), last.decisions()[1].remaining), (true, 0));
}

#[tokio::test]
async fn a_limit_in_shadow_mode_never_denies_and_counts_what_fits() {
    let store = store().await;
    let (hard, soft) = (policy("5/min").named("hard"), policy("3/min shadow").named("soft"));
    let call = async |cost| {
        let asks = [ask(&hard, "k", cost), ask(&soft, "k", cost)];
        store.decide(&asks).await.unwrap().verdict
    };
    assert!(!call(2).await.decisions()[1].shadowed);
    let over = call(2).await;
    assert!(over.allowed() && over.decisions()[1].shadowed && over.decisions()[1].remaining == 1);
    assert!(!call(2).await.allowed(), "the other one denies");
    assert_eq!(
        call(1).await.decisions()[1].remaining,
        0,
        "it was not counted when that one denied"
    );
}

#[tokio::test]
async fn a_known_denial_makes_no_round_trip_and_ends_in_time() {
    let server = quick().await;
    let (store, policy) = (patient(&server.url()).await, policy("2/2s"));
    allowed_again(&store, ask(&policy, "k", 2)).await;
    let first = store.decide(&[ask(&policy, "k", 1)]).await.unwrap().verdict.decisions()[0];
    let before = scripts(&server.url());
    assert!(before > 0);
    let mut known = 0;
    for _ in 0..1000 {
        let decision = store.decide(&[ask(&policy, "k", 1)]).await.unwrap().verdict.decisions()[0];
        known += u64::from(decision.by == By::Known && !decision.allowed);
    }
    let after = scripts(&server.url());
    assert!(known > 0 && after - before <= 1000 - known, "{known} known, {} asked", after - before);
    sleep(first.retry_after.unwrap()).await;
    assert!(store.decide(&[ask(&policy, "k", 1)]).await.unwrap().verdict.allowed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_save_round_trips_and_stay_within_their_bound() {
    const LIMIT: u32 = 2000;
    const LEASE: u32 = 50;
    const STORES: u32 = 3;
    let server = quick().await;
    let policy = policy(&format!("fixed {LIMIT}/d lease {LEASE}"));
    let mut tasks = Vec::new();
    for _ in 0..STORES {
        let (store, policy) = (patient(&server.url()).await, policy.clone());
        tasks.push(tokio::spawn(async move {
            let (mut allowed, mut leased) = (0, 0);
            for _ in 0..2 * LIMIT {
                let decision =
                    store.decide(&[ask(&policy, "k", 1)]).await.unwrap().verdict.decisions()[0];
                allowed += u32::from(decision.allowed);
                leased += u32::from(decision.by == By::Lease);
                tokio::task::yield_now().await;
            }
            (allowed, leased)
        }));
    }
    let (mut allowed, mut leased) = (0, 0);
    for task in tasks {
        let (a, l) = task.await.unwrap();
        (allowed, leased) = (allowed + a, leased + l);
    }
    // Of one window nothing was on lease before it began: all that is given out was counted in it.
    assert!(allowed <= LIMIT, "{allowed}");
    assert!(allowed + STORES * LEASE >= LIMIT, "more was lost than was on lease: {allowed}");
    assert!(leased > LIMIT / 2, "{leased}");
    assert!(scripts(&server.url()) < u64::from(LIMIT), "a round trip each");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_turn_of_the_window_no_more_than_the_leases_is_given_besides() {
    const LIMIT: u32 = 400;
    const LEASE: u32 = 40;
    const STORES: u32 = 3;
    let url = server().await.url();
    let prefix = format!("t{:x}", Rng::system().u64(0..u64::MAX));
    let policy = policy(&format!("fixed {LIMIT}/500ms lease {LEASE}"));
    let mut tasks = Vec::new();
    for _ in 0..STORES {
        let (store, policy) = (patient(&url).await.prefix(&prefix), policy.clone());
        tasks.push(tokio::spawn(async move {
            let (start, mut given) = (Clock::system().now(), Vec::new());
            while Clock::system().now() - start < Duration::from_secs(3) {
                let a = wall_us();
                let verdict = store.decide(&[ask(&policy, "k", 1)]).await.unwrap().verdict;
                let b = wall_us();
                // Those of which it is not known in which window they were, are left out.
                if verdict.allowed()
                    && (a / 500e3).floor().to_bits() == (b / 500e3).floor().to_bits()
                {
                    given.push((a / 500e3) as u64);
                }
                // What is known or on lease does not wait for anything.
                if verdict.allowed() {
                    tokio::task::yield_now().await;
                } else {
                    sleep(MS).await;
                }
            }
            given
        }));
    }
    let mut windows = std::collections::BTreeMap::<u64, u32>::new();
    for task in tasks {
        for window in task.await.unwrap() {
            *windows.entry(window).or_default() += 1;
        }
    }
    let most = windows.values().copied().max().unwrap();
    assert!(most > LIMIT / 2 && most <= LIMIT + STORES * LEASE, "{windows:?}");
}

#[tokio::test]
async fn a_frozen_server_is_an_error_in_time_and_goes_on_when_it_is_thawed() {
    let server = quick().await;
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let (policy, clock) = (policy("1000/s"), Clock::system());
    allowed_again(&store, ask(&policy, "k", 1)).await;
    server.freeze().await;
    for _ in 0..50 {
        let began = clock.now();
        let error = store.decide(&[ask(&policy, "k", 1)]).await.unwrap_err();
        assert_eq!(error.code(), Code::LimitStore);
        assert!(clock.now() - began < 250 * MS, "{:?}", clock.now() - began);
        sleep(10 * MS).await;
    }
    // Through the front door, it is decided as the policy says.
    let limits =
        Limits::builder(vec![policy.clone().on_failure(mainstay_limit::OnFailure::Closed)]);
    let denied = limits.redis(store.clone()).build().unwrap().decide(&["k"], 1).await;
    assert!(!denied.allowed() && denied.decisions()[0].by == By::Failure);
    server.thaw().await;
    allowed_again(&store, ask(&policy, "k", 1)).await;
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again_and_learns_the_script_anew() {
    let server = quick().await;
    let (store, policy) = (RedisStore::lazy(&server.url()).unwrap(), policy("1000/s"));
    allowed_again(&store, ask(&policy, "k", 1)).await;
    server.kill().await;
    let error = store.decide(&[ask(&policy, "k", 1)]).await.unwrap_err();
    assert_eq!(error.code(), Code::LimitStore);
    let quick = store.decide(&[ask(&policy, "k", 1)]).await.unwrap_err();
    assert!(quick.report().contains("not asked for the moment"), "{quick:?}");
    server.start().await;
    allowed_again(&store, ask(&policy, "k", 1)).await;
    assert!(command(&server.url(), &["SCRIPT", "FLUSH"]).contains("OK"));
    allowed_again(&store, ask(&policy, "k", 1)).await;
}

#[tokio::test]
async fn what_a_lost_call_held_is_given_back() {
    let server = quick().await;
    let (store, one) = (RedisStore::connect(&server.url()).await.unwrap(), policy("concurrency 1"));
    drop(allowed_again(&store, ask(&one, "k", 1)).await);
    server.freeze().await;
    // Redis counts it when it is thawed, and nobody is there any more.
    assert!(store.decide(&[ask(&one, "k", 1)]).await.is_err());
    server.thaw().await;
    allowed_again(&store, ask(&one, "k", 1)).await;
}

#[tokio::test]
async fn a_server_that_is_away_is_left_alone_by_who_would_give_back() {
    let store = RedisStore::lazy("redis://127.0.0.1:1").unwrap();
    let slots = policy("concurrency 3");
    for _ in 0..1000 {
        assert!(store.decide(&[ask(&slots, "a", 1)]).await.is_err());
    }
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks < 100, "{tasks} tasks give back what was never asked for");
}

#[tokio::test]
async fn a_key_in_shadow_is_let_through_also_while_the_server_is_away() {
    let limits = Limits::builder(vec![policy("10/s closed").named("all")]);
    let limits = limits.redis(RedisStore::lazy("redis://127.0.0.1:1").unwrap()).build().unwrap();
    limits.set_override("all", "ann", Some(policy("10/s shadow"))).unwrap();
    assert!(limits.decide_now(&["bob"], 1).is_none(), "the server would have to be waited for");
    assert!(!limits.decide(&["bob"], 1).await.allowed());
    let ann = limits.decide(&["ann"], 1).await;
    assert!(ann.allowed() && ann.decisions()[0].shadowed, "{ann:?}");
}

#[tokio::test]
async fn a_full_server_is_an_error_and_counts_nothing() {
    let server = quick().await;
    let (store, policy) = (patient(&server.url()).await, policy("fixed 3/d"));
    let url = server.url();
    assert!(command(&url, &["CONFIG", "SET", "maxmemory", "1"]).contains("OK"));
    let error = store.decide(&[ask(&policy, "k", 1)]).await.unwrap_err();
    assert_eq!(error.code(), Code::LimitStore);
    assert!(error.report().contains("OOM"), "{error:?}");
    assert!(command(&url, &["CONFIG", "SET", "maxmemory", "0"]).contains("OK"));
    let decided = allowed_again(&store, ask(&policy, "k", 1)).await;
    assert_eq!(decided.verdict.decisions()[0].remaining, 2);
}

#[tokio::test]
async fn no_error_and_no_debug_text_has_the_password() {
    let told = |error: Error| (error.code(), error.report());
    let url = server().await.url();
    let wrong = url.replace("redis://:", "redis://:s3cret");
    let (code, report) = told(RedisStore::connect(&wrong).await.unwrap_err());
    assert_eq!(code, Code::LimitStore);
    assert!(!report.contains("s3cret"), "{report}");
    let (code, report) =
        told(RedisStore::connect("redis://:s3cret@127.0.0.1:1").await.unwrap_err());
    assert_eq!(code, Code::LimitStore);
    assert!(!report.contains("s3cret"), "{report}");
    let (code, _) = told(RedisStore::lazy("redis://s3cret@h").unwrap_err());
    assert_eq!(code, Code::BrokerUrl);
    let lazy = RedisStore::lazy("redis://:s3cret@127.0.0.1:1").unwrap();
    assert!(!format!("{lazy:?}").contains("s3cret"), "{lazy:?}");
    let policy = policy("1/s");
    let (_, report) = told(lazy.decide(&[ask(&policy, "k", 1)]).await.unwrap_err());
    assert!(!report.contains("s3cret"), "{report}");
    let none = store().await.decide(&[]).await.unwrap_err();
    assert_eq!(none.code(), Code::LimitUse);
}

#[tokio::test]
async fn every_key_expires() {
    let server = quick().await;
    let store = patient(&server.url()).await;
    let policies =
        ["fixed 3/min", "log 3/min", "sliding 3/min", "3/min", "bucket 3/min", "concurrency 3"];
    let policies: Vec<Policy> = policies.iter().map(|text| policy(text)).collect();
    let asks: Vec<Ask<'_>> = policies.iter().map(|policy| ask(policy, "k", 1)).collect();
    let decided = store.decide(&asks).await.unwrap();
    assert!(decided.verdict.allowed());
    let stats = command(&server.url(), &["INFO", "keyspace"]);
    assert!(stats.contains("keys=6,expires=6"), "{stats}");
}
