//! On Redis: our script beside redis-cell's algorithm in Lua, called as plainly as can be.

use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::limit::redis::RedisStore;
use mainstay::limit::{Ask, Limits, Policy};
use redis::Script;
use redis::aio::ConnectionManager;

use crate::report::{Better, Case, median};
use crate::servers::address;

const CALLS: usize = 20_000;
const ROUNDS: usize = 5;

/// GCRA as redis-cell has it, which is a module, on Redis's clock: the time at which all would be back.
const CELL: &str = r"
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local new = tat + interval * cost
local allow_at = new - interval * burst
if now < allow_at then return {1, burst, 0, allow_at - now, tat - now} end
redis.call('SET', KEYS[1], string.format('%.0f', new), 'PX', math.ceil((new - now) / 1000))
return {0, burst, math.floor((now - allow_at) / interval), -1, new - now}
";

pub(crate) async fn run() -> Vec<Case> {
    let url = address("redis");
    let store = RedisStore::connect(&url).await.expect("the rig's Redis").prefix("bench");
    // What is measured is the decision, not how late it may be.
    let store = store.timeout(Duration::from_secs(1));
    let client = redis::Client::open(url.as_str()).expect("a URL");
    let cell = ConnectionManager::new(client).await.expect("the rig's Redis");
    let script = Script::new(CELL);
    let policy = |name: &'static str| Policy::per_second(1_000_000).named(name);
    let (one, three) = ([policy("a")], [policy("a"), policy("b"), policy("c")]);
    let known = "1/h".parse::<Policy>().expect("a policy").named("known");
    let (mut ours, mut peers, mut stacked, mut denied) = (vec![], vec![], vec![], vec![]);
    let keys: Vec<String> = (0..1_000).map(|n| format!("user:{n}")).collect();
    for _ in 0..ROUNDS {
        ours.push(decide(&store, &one, &keys).await);
        let begun = Clock::system().now();
        for n in 0..CALLS {
            let mut call = script.prepare_invoke();
            call.key(format!("bench:cell:{}", keys[n % keys.len()]));
            call.arg(1).arg(1_000_000).arg(1);
            let _: Vec<i64> = call.invoke_async(&mut cell.clone()).await.expect("an answer");
        }
        peers.push(each(begun));
        stacked.push(decide(&store, &three, &keys).await);
        denied.push(decide(&store, std::slice::from_ref(&known), &keys[..1]).await);
    }
    let (ours, peers) = (median(ours), median(peers));
    vec![
        Case::new("a decision on Redis", "us", Better::Lower, ours)
            .peer("redis-cell's algorithm in Lua", peers),
        Case::new("three limits stacked on Redis", "us", Better::Lower, median(stacked))
            .peer("redis-cell's, three calls", peers * 3.0),
        Case::new("a known denial", "us", Better::Lower, median(denied))
            .peer("redis-cell's algorithm in Lua", peers),
        Case::new(
            "a decision while Redis is silent, longest of 200",
            "ms",
            Better::Lower,
            silent().await,
        ),
    ]
}

/// Milliseconds of the slowest decision by a server that takes connections and never answers.
async fn silent() -> f64 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let taken = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok(one) = listener.accept().await {
            all.push(one);
        }
    });
    let policy = Policy::per_second(1_000).named("local");
    let store = RedisStore::lazy(&url).expect("a URL");
    let limits = Limits::builder(vec![policy]).redis(store).build().expect("a policy");
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let begun = Clock::system().now();
        assert!(limits.decide(&["somebody"], 1).await.allowed(), "decided in this process");
        longest = longest.max(Clock::system().now().saturating_duration_since(begun));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    taken.abort();
    longest.as_secs_f64() * 1e3
}

async fn decide(store: &RedisStore, policies: &[Policy], keys: &[String]) -> f64 {
    let begun = Clock::system().now();
    for n in 0..CALLS {
        let key = keys[n % keys.len()].as_str();
        let asks: Vec<Ask<'_>> =
            policies.iter().map(|policy| Ask { policy, key, cost: 1 }).collect();
        store.decide(&asks).await.expect("a decision");
    }
    each(begun)
}

/// Microseconds a call since then.
fn each(begun: std::time::Instant) -> f64 {
    Clock::system().now().saturating_duration_since(begun).as_secs_f64() * 1e6 / CALLS as f64
}
