//! The loader beside async-graphql's, dataloader-rs and ultra-batch, each by its defaults but for the size
//! of a batch; and eager loading beside a query for each parent and an IN list.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mainstay::Db;
use mainstay::clock::Clock;
use mainstay::load::{Loader, load_many};
use sqlx::AssertSqlSafe;

use crate::report::{Better, Case, median, micros};
use crate::servers::{Engine, connect, fresh};

/// What can be measured by itself.
pub(crate) const PARTS: [&str; 2] = ["loader", "eager"];

const KEYS: u64 = 1_000;
const SEQUENTIAL: u64 = 5_000;
/// A peer that waits for a millisecond each is not waited for as often.
const SEQUENTIAL_SLOW: u64 = 500;
const ROUNDS: usize = 21;
/// How long a fetch takes where a load is to be under way.
const SLOW: Duration = Duration::from_millis(10);
const PARENTS: i64 = 1_000;
const CHILDREN: i64 = 5;

pub(crate) async fn run(part: Option<&str>) -> Vec<Case> {
    let wanted = |name: &str| part.is_none_or(|part| part == name);
    let mut cases = Vec::new();
    if wanted("loader") {
        // On a worker of the runtime, as a service runs it.
        cases.extend(tokio::spawn(loaders()).await.expect("no panic"));
    }
    if wanted("eager") {
        for engine in Engine::ALL {
            cases.push(eager(engine).await);
        }
    }
    cases
}

/// What all fetch from: it counts, and takes its time where that is asked for.
#[derive(Clone, Default)]
struct Source {
    batches: Arc<AtomicUsize>,
    keys: Arc<AtomicUsize>,
    takes: Duration,
}

impl Source {
    async fn fetch(&self, keys: &[u64]) -> HashMap<u64, u64> {
        self.batches.fetch_add(1, SeqCst);
        self.keys.fetch_add(keys.len(), SeqCst);
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        keys.iter().map(|key| (*key, *key)).collect()
    }

    fn batches(&self) -> usize {
        self.batches.load(SeqCst)
    }
}

/// A loader of any make.
trait Subject: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    const SLOW: bool = false;

    fn new(source: Source) -> Self;
    fn load(&self, key: u64) -> impl Future<Output = u64> + Send;
}

#[derive(Clone)]
struct Ours(Loader<u64, u64>);

impl Subject for Ours {
    const NAME: &'static str = "ours";

    fn new(source: Source) -> Self {
        Self(Loader::new(move |keys: Vec<u64>| {
            let source = source.clone();
            async move { Ok(source.fetch(&keys).await) }
        }))
    }

    async fn load(&self, key: u64) -> u64 {
        self.0.load(key).await.expect("no error").expect("a value")
    }
}

type Graphql =
    async_graphql::dataloader::DataLoader<Source, async_graphql::dataloader::HashMapCache>;

#[derive(Clone)]
struct AsyncGraphql(Arc<Graphql>);

impl async_graphql::dataloader::Loader<u64> for Source {
    type Value = u64;
    type Error = Arc<str>;

    async fn load(&self, keys: &[u64]) -> Result<HashMap<u64, u64>, Arc<str>> {
        Ok(self.fetch(keys).await)
    }
}

impl Subject for AsyncGraphql {
    const NAME: &'static str = "async-graphql";
    const SLOW: bool = true;

    fn new(source: Source) -> Self {
        let cache = async_graphql::dataloader::HashMapCache::default();
        Self(Arc::new(Graphql::with_cache(source, tokio::spawn, cache)))
    }

    async fn load(&self, key: u64) -> u64 {
        self.0.load_one(key).await.expect("no error").expect("a value")
    }
}

#[derive(Clone)]
struct DataloaderRs(dataloader::cached::Loader<u64, u64, Source>);

impl dataloader::BatchFn<u64, u64> for Source {
    async fn load(&mut self, keys: &[u64]) -> HashMap<u64, u64> {
        self.fetch(keys).await
    }
}

impl Subject for DataloaderRs {
    const NAME: &'static str = "dataloader-rs";

    fn new(source: Source) -> Self {
        let loader = dataloader::cached::Loader::new(source);
        Self(loader.with_max_batch_size(KEYS as usize))
    }

    async fn load(&self, key: u64) -> u64 {
        self.0.load(key).await
    }
}

#[derive(Clone)]
struct UltraBatch(Arc<ultra_batch::BatchFetcher<Source>>);

impl ultra_batch::Fetcher for Source {
    type Key = u64;
    type Value = u64;
    type Error = String;

    async fn fetch(
        &self,
        keys: &[u64],
        values: &mut ultra_batch::Cache<'_, u64, u64>,
    ) -> Result<(), String> {
        for (key, value) in Source::fetch(self, keys).await {
            values.insert(key, value);
        }
        Ok(())
    }
}

impl Subject for UltraBatch {
    const NAME: &'static str = "ultra-batch";
    const SLOW: bool = true;

    fn new(source: Source) -> Self {
        let fetcher = ultra_batch::BatchFetcher::build(source);
        Self(Arc::new(fetcher.eager_batch_size(Some(KEYS as usize)).finish()))
    }

    async fn load(&self, key: u64) -> u64 {
        self.0.load(key).await.expect("a value")
    }
}

/// What each case gives, of one make.
struct Figures {
    name: &'static str,
    values: Vec<f64>,
}

async fn loaders() -> Vec<Case> {
    let all = [
        measure::<Ours>().await,
        measure::<AsyncGraphql>().await,
        measure::<DataloaderRs>().await,
        measure::<UltraBatch>().await,
    ];
    let cases = [
        ("a load by itself, one after the other", "us"),
        ("join_all of 1,000 loads", "us"),
        ("join_all of 1,000 loads: most batches", "count"),
        ("1,000 spawned loads", "us"),
        ("1,000 spawned loads: batches, median", "count"),
        ("1,000 spawned loads: batches, most of 21", "count"),
        ("a hit while a load of 10 ms is under way", "us"),
        ("a key asked for again while under way: fetches", "count"),
        ("a loader made and dropped", "ns"),
    ];
    let case = |(at, (name, unit)): (usize, (&'static str, &'static str))| {
        let [ours, peers @ ..] = &all;
        let case = Case::new(name, unit, Better::Lower, ours.values[at]);
        peers.iter().fold(case, |case, peer| case.peer(peer.name, peer.values[at]))
    };
    cases.into_iter().enumerate().map(case).collect()
}

async fn measure<S: Subject>() -> Figures {
    let mut values = vec![sequential::<S>().await];
    values.extend(joined::<S>().await);
    values.extend(spawned::<S>().await);
    values.push(hit::<S>().await);
    values.push(again::<S>().await);
    values.push(made::<S>());
    Figures { name: S::NAME, values }
}

async fn sequential<S: Subject>() -> f64 {
    let count = if S::SLOW { SEQUENTIAL_SLOW } else { SEQUENTIAL };
    let mut all = Vec::new();
    for _ in 0..5 {
        let loader = S::new(Source::default());
        let begun = now();
        for key in 0..count {
            assert_eq!(loader.load(key).await, key);
        }
        all.push(micros(since(begun)) / count as f64);
    }
    median(all)
}

async fn joined<S: Subject>() -> [f64; 2] {
    let (mut times, mut most) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let source = Source::default();
        let loader = S::new(source.clone());
        let begun = now();
        let found = join_all((0..KEYS).map(|key| loader.load(key))).await;
        times.push(micros(since(begun)));
        assert_eq!(found.len() as u64, KEYS);
        most = most.max(source.batches());
    }
    [median(times), most as f64]
}

async fn spawned<S: Subject>() -> [f64; 3] {
    let (mut times, mut batches) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let source = Source::default();
        let loader = S::new(source.clone());
        let begun = now();
        let task = |key| {
            let loader = loader.clone();
            tokio::spawn(async move { loader.load(key).await })
        };
        let tasks: Vec<_> = (0..KEYS).map(task).collect();
        for (key, task) in (0..KEYS).zip(tasks) {
            assert_eq!(task.await.expect("no panic"), key);
        }
        times.push(micros(since(begun)));
        batches.push(source.batches() as f64);
    }
    let most = batches.iter().copied().fold(0.0, f64::max);
    [median(times), median(batches), most]
}

async fn hit<S: Subject>() -> f64 {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let (loader, slow) = underway::<S>().await;
        let begun = now();
        assert_eq!(loader.load(0).await, 0);
        all.push(micros(since(begun)));
        slow.await.expect("no panic");
    }
    median(all)
}

async fn again<S: Subject>() -> f64 {
    let source = Source { takes: SLOW, ..Source::default() };
    let loader = S::new(source.clone());
    let first = load_apart(&loader, 1);
    tokio::time::sleep(SLOW / 2).await;
    assert_eq!(loader.load(1).await, 1);
    first.await.expect("no panic");
    source.keys.load(SeqCst) as f64
}

/// A loader that has 0, and a load of 1 that has been under way for a while.
async fn underway<S: Subject>() -> (S, tokio::task::JoinHandle<u64>) {
    let loader = S::new(Source { takes: SLOW, ..Source::default() });
    loader.load(0).await;
    let slow = load_apart(&loader, 1);
    tokio::time::sleep(SLOW / 3).await;
    (loader, slow)
}

fn load_apart<S: Subject>(loader: &S, key: u64) -> tokio::task::JoinHandle<u64> {
    let loader = loader.clone();
    tokio::spawn(async move { loader.load(key).await })
}

fn made<S: Subject>() -> f64 {
    const COUNT: usize = 20_000;
    let source = Source::default();
    let begun = now();
    for _ in 0..COUNT {
        std::hint::black_box(S::new(source.clone()));
    }
    since(begun).as_nanos() as f64 / COUNT as f64
}

/// The children of all parents, whichever way.
async fn eager(engine: Engine) -> Case {
    let database = fresh(engine).await;
    let db = connect(&database).await;
    db.script(
        "CREATE TABLE item (id BIGINT PRIMARY KEY, order_id BIGINT NOT NULL, sku VARCHAR(20) NOT NULL)",
    )
    .await
    .expect("a new table");
    db.script("CREATE INDEX item_order ON item (order_id)").await.expect("a new index");
    // Three times as many as are asked for.
    let rows = (0..3 * PARENTS * CHILDREN).map(|n| (n, n / CHILDREN, format!("sku-{n}")));
    db.bulk_insert("item", &["id", "order_id", "sku"], rows).await.expect("they are new");
    if engine == Engine::Postgres {
        db.query("ANALYZE item").execute().await.expect("statistics");
    }
    let parents: Vec<i64> = (0..PARENTS).collect();
    let (mut ours, mut each, mut list) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        ours.push(timed(many(&db, &parents)).await);
        list.push(timed(in_list(&db, &parents)).await);
    }
    for _ in 0..3 {
        each.push(timed(one_by_one(&db, &parents)).await);
    }
    let name = format!("1,000 parents with 5 children each, {}", engine.name());
    Case::new(name, "us", Better::Lower, median(ours))
        .peer("a query each", median(each))
        .peer("an IN list", median(list))
}

async fn timed(work: impl Future<Output = usize>) -> f64 {
    let begun = now();
    assert_eq!(work.await as i64, PARENTS * CHILDREN);
    micros(since(begun))
}

type Item = (i64, String);

async fn many(db: &Db, parents: &[i64]) -> usize {
    let sql = "SELECT order_id, sku FROM item WHERE order_id IN ($keys)";
    let found: Vec<Vec<Item>> = load_many(db, parents, |id| *id, sql).await.expect("rows");
    found.iter().map(Vec::len).sum()
}

async fn one_by_one(db: &Db, parents: &[i64]) -> usize {
    let mut count = 0;
    for parent in parents {
        let query = db.query("SELECT order_id, sku FROM item WHERE order_id = $1").bind(*parent);
        count += query.all::<Item>().await.expect("rows").len();
    }
    count
}

async fn in_list(db: &Db, parents: &[i64]) -> usize {
    let places: Vec<String> = (1..=parents.len()).map(|n| format!("${n}")).collect();
    let sql = format!("SELECT order_id, sku FROM item WHERE order_id IN ({})", places.join(", "));
    let query = db.query(AssertSqlSafe(sql));
    let query = parents.iter().fold(query, |query, parent| query.bind(*parent));
    let mut of: HashMap<i64, Vec<Item>> = HashMap::new();
    for item in query.all::<Item>().await.expect("rows") {
        of.entry(item.0).or_default().push(item);
    }
    parents.iter().filter_map(|parent| of.get(parent)).map(Vec::len).sum()
}

fn now() -> Instant {
    Clock::system().now()
}

fn since(begun: Instant) -> Duration {
    now().saturating_duration_since(begun)
}
