//! The cache beside what it stands on: moka in this process, a bare GET on Redis.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mainstay::cache::store::Store;
use mainstay::cache::{Cache, Memory, Redis, Tiered};
use mainstay::clock::Clock;
use redis::aio::ConnectionManager;
use tokio::sync::Barrier;

use crate::limit::order;
use crate::report::{Better, Case, median, micros};
use crate::servers::address;

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 3] = ["hit", "flight", "redis"];

/// Hits in a measurement without I/O, and in one with it.
const HITS: usize = 2_000_000;
const HITS_REDIS: usize = 20_000;
const ROUNDS: usize = 5;
/// Ours by default, and moka's, which weighs an entry as ours does.
const CAPACITY: u64 = 64 << 20;
const ENTRY_BYTES: usize = 160;
/// Ours always has one, and this by default.
const TTL: Duration = Duration::from_secs(300);
/// Who miss a key at the same time, and how long its load takes.
const CROWD: usize = 1_000;
const LOAD: Duration = Duration::from_millis(100);
/// How often they do.
const CROWDS: usize = 15;
/// As processes that share a Redis.
const HANDLES: usize = 4;

pub(crate) async fn run(part: Option<&str>) -> Vec<Case> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let mut cases = Vec::new();
    if wanted("hit") {
        cases.push(hit("a hit, a hot key", &keys(1)).await);
        cases.push(hit("a hit, 100,000 keys", &keys(100_000)).await);
    }
    if wanted("flight") {
        cases.extend(flight().await);
    }
    if wanted("redis") {
        let server = address("redis");
        cases.push(hit_redis(&server).await);
        cases.extend(flight_redis(&server).await);
        cases.push(hit_tiered("a hit, a hot key, tiered", &server, &keys(1)).await);
        cases.push(hit_tiered("a hit, 1,000 keys, tiered", &server, &keys(1_000)).await);
    }
    cases
}

async fn hit(name: &str, keys: &[String]) -> Case {
    let ours = cache(Memory::new());
    let (sync, sync_ttl) = (moka_sync(None), moka_sync(Some(TTL)));
    let (future, future_ttl) = (moka_future(None), moka_future(Some(TTL)));
    for key in keys {
        ours.put(key, value()).await.expect("it is kept");
        let value = Arc::new(value());
        sync.insert(key.clone(), Arc::clone(&value));
        sync_ttl.insert(key.clone(), Arc::clone(&value));
        future.insert(key.clone(), Arc::clone(&value)).await;
        future_ttl.insert(key.clone(), value).await;
    }
    let order = order(keys.len());
    let key = |n: usize| keys[order[n % order.len()]].as_str();
    let mut all: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        all[0].push(time(async |n| ours.get(key(n)).await.is_some()).await);
        all[1].push(time(async |n| sync.get(key(n)).is_some()).await);
        all[2].push(time(async |n| sync_ttl.get(key(n)).is_some()).await);
        all[3].push(time(async |n| future.get(key(n)).await.is_some()).await);
        all[4].push(time(async |n| future_ttl.get(key(n)).await.is_some()).await);
    }
    let [ours, sync, sync_ttl, future, future_ttl] = all.map(median);
    Case::new(name, "ns", Better::Lower, ours)
        .peer("moka::sync", sync)
        .peer("moka::sync, with a TTL", sync_ttl)
        .peer("moka::future", future)
        .peer("moka::future, with a TTL", future_ttl)
}

/// One load, however many ask; and how soon all have what it brought.
async fn flight() -> Vec<Case> {
    let ours = cache(Memory::new());
    let moka = moka_future(Some(TTL));
    let (mut own, mut peers) = (Crowds::default(), Crowds::default());
    for round in 0..CROWDS {
        let key = format!("key:{round}");
        own.add(crowd(|_, load| get_or_load(&ours, &key, load)).await);
        let get_with = |_: usize, load: Loader| {
            let (moka, key) = (moka.clone(), key.clone());
            let load = async move { Arc::new(load.run().await) };
            async move { !moka.get_with(key, load).await.is_empty() }
        };
        peers.add(crowd(get_with).await);
    }
    let name = "1,000 misses of a key";
    vec![
        Case::new(format!("{name}: loads"), "loads", Better::Lower, own.loads())
            .peer("moka::future, get_with", peers.loads()),
        Case::new(format!("{name}: loaded until all have it"), "us", Better::Lower, own.took())
            .peer("moka::future, get_with", peers.took()),
    ]
}

async fn hit_redis(server: &str) -> Case {
    let keys = keys(1_000);
    let ours = cache(redis_at(server, "hit"));
    let client = redis::Client::open(server).expect("a URL");
    let bare = ConnectionManager::new(client).await.expect("the rig's Redis");
    for key in &keys {
        ours.put(key, value()).await.expect("it is kept");
        let mut set = redis::cmd("SET");
        set.arg(bare_key(key)).arg(value()).arg("EX").arg(TTL.as_secs());
        set.exec_async(&mut bare.clone()).await.expect("it is kept");
    }
    let (mut own, mut peers) = (vec![], vec![]);
    for _ in 0..ROUNDS {
        let begun = Clock::system().now();
        for n in 0..HITS_REDIS {
            assert!(ours.get(&keys[n % keys.len()]).await.is_some(), "it was put there");
        }
        own.push(micros(since(begun)) / HITS_REDIS as f64);
        let begun = Clock::system().now();
        for n in 0..HITS_REDIS {
            let mut get = redis::cmd("GET");
            get.arg(bare_key(&keys[n % keys.len()]));
            let found: Option<String> =
                get.query_async(&mut bare.clone()).await.expect("an answer");
            assert!(found.is_some(), "it was set");
        }
        peers.push(micros(since(begun)) / HITS_REDIS as f64);
    }
    Case::new("a hit on Redis", "us", Better::Lower, median(own))
        .peer("GET, redis::aio::ConnectionManager", median(peers))
}

/// Handles that share nothing but the server.
async fn flight_redis(server: &str) -> Vec<Case> {
    let handles: Vec<_> = (0..HANDLES).map(|_| cache(redis_at(server, "flight"))).collect();
    // A process that has run for a while is connected.
    for handle in &handles {
        handle.put("connect", value()).await.expect("it is kept");
    }
    let mut all = Crowds::default();
    for round in 0..CROWDS {
        let key = format!("key:{round}");
        all.add(crowd(|n, load| get_or_load(&handles[n % HANDLES], &key, load)).await);
    }
    let name = "1,000 misses, 4 handles, Redis";
    vec![
        Case::new(format!("{name}: loads"), "loads", Better::Lower, all.loads()),
        Case::new(format!("{name}: loaded until all have it"), "us", Better::Lower, all.took()),
    ]
}

async fn hit_tiered(name: &str, server: &str, keys: &[String]) -> Case {
    let near_ttl = Duration::from_secs(3_600);
    let ours = cache(Tiered::new(redis_at(server, "tiered")).near_ttl(near_ttl));
    for key in keys {
        ours.put(key, value()).await.expect("it is kept");
    }
    // Its channel stands by then, and what was put is heard of, which empties the near tier.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for key in keys {
        assert!(ours.get(key).await.is_some(), "it was put there");
    }
    let order = order(keys.len());
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let get = async |n: usize| ours.get(&keys[order[n % order.len()]]).await.is_some();
        all.push(time(get).await);
    }
    Case::new(name, "ns", Better::Lower, median(all))
}

/// Nanoseconds a hit.
async fn time(hit: impl AsyncFn(usize) -> bool) -> f64 {
    let begun = Clock::system().now();
    let mut hits = 0;
    for n in 0..HITS {
        hits += usize::from(black_box(hit(n).await));
    }
    let took = since(begun);
    assert_eq!(hits, HITS, "a key that was there is gone");
    took.as_nanos() as f64 / HITS as f64
}

/// A load that takes its time, is counted, and notes when it was over.
#[derive(Clone, Default)]
struct Loader(Arc<(AtomicUsize, OnceLock<Instant>)>);

impl Loader {
    async fn run(self) -> String {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(LOAD).await;
        let _ = self.0.1.set(Clock::system().now());
        value()
    }
}

/// `CROWD` tasks that ask at once for what is not there: the loads, and the microseconds from the end of
/// the first of them until the last task has it.
async fn crowd<Fut>(ask: impl Fn(usize, Loader) -> Fut) -> (usize, f64)
where
    Fut: Future<Output = bool> + Send + 'static,
{
    let (loader, start) = (Loader::default(), Arc::new(Barrier::new(CROWD)));
    let task = |n| {
        let (start, asked) = (Arc::clone(&start), ask(n, loader.clone()));
        tokio::spawn(async move {
            start.wait().await;
            assert!(asked.await, "it was loaded");
            Clock::system().now()
        })
    };
    let tasks: Vec<_> = (0..CROWD).map(task).collect();
    let mut last: Option<Instant> = None;
    for task in tasks {
        last = last.max(Some(task.await.expect("no panic")));
    }
    let (loads, loaded) = &*loader.0;
    let took = last.zip(loaded.get()).map(|(last, loaded)| last.saturating_duration_since(*loaded));
    (loads.load(Ordering::SeqCst), took.map_or(f64::NAN, micros))
}

/// What came of crowds: the most loads of any, and the times.
#[derive(Default)]
struct Crowds(usize, Vec<f64>);

impl Crowds {
    fn add(&mut self, (loads, took): (usize, f64)) {
        self.0 = self.0.max(loads);
        self.1.push(took);
    }

    fn loads(&self) -> f64 {
        self.0 as f64
    }

    fn took(self) -> f64 {
        median(self.1)
    }
}

fn get_or_load(
    cache: &Cache<String>,
    key: &str,
    load: Loader,
) -> impl Future<Output = bool> + Send + use<> {
    let (cache, key) = (cache.clone(), key.to_owned());
    async move {
        let found =
            cache.get_or_load(&key, move || async move { Ok(Some(load.run().await)) }).await;
        found.expect("it was loaded").is_some()
    }
}

fn cache(store: impl Store) -> Cache<String> {
    let cache = Cache::builder("bench", store).ttl(TTL).capacity_bytes(CAPACITY);
    cache.build().expect("its options are good")
}

/// With a connection and keys of its own; what is measured is the answer, not how late it may be.
fn redis_at(server: &str, prefix: &str) -> Redis {
    let redis = Redis::new(server).expect("a URL").answer_within(Duration::from_secs(1));
    redis.prefix(format!("bench:{}:{prefix}:", std::process::id())).expect("a short one")
}

fn bare_key(key: &str) -> String {
    format!("bench:{}:bare:{key}", std::process::id())
}

fn moka_sync(ttl: Option<Duration>) -> moka::sync::Cache<String, Arc<String>> {
    let weigh = |key: &String, value: &Arc<String>| weight(key, value);
    let all = moka::sync::Cache::builder().max_capacity(CAPACITY).weigher(weigh);
    match ttl {
        Some(ttl) => all.time_to_live(ttl).build(),
        None => all.build(),
    }
}

fn moka_future(ttl: Option<Duration>) -> moka::future::Cache<String, Arc<String>> {
    let weigh = |key: &String, value: &Arc<String>| weight(key, value);
    let all = moka::future::Cache::builder().max_capacity(CAPACITY).weigher(weigh);
    match ttl {
        Some(ttl) => all.time_to_live(ttl).build(),
        None => all.build(),
    }
}

fn weight(key: &str, value: &str) -> u32 {
    (key.len() + value.len() + ENTRY_BYTES) as u32
}

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user:{n:08}")).collect()
}

fn value() -> String {
    "x".repeat(100)
}

fn since(begun: Instant) -> Duration {
    Clock::system().now().saturating_duration_since(begun)
}
