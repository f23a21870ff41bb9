//! The first hundred of sixteen shards: how much longer than the slowest of them it takes, beside asking and sorting by hand;
//! and whether the answers are those of one database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use mainstay::observe::{Observer, Statement, Subscriber};
use mainstay::route::Shards;
use mainstay::route::shard::Map;
use mainstay::{Db, pool};

use super::wire::Wire;
use super::world::World;
use super::{chosen, millis, now, quantile, shown, since};
use crate::report::{Better, Case};
use crate::servers::{Engine, Fresh, address, fresh};

const SHARDS: usize = 16;
const ROWS: i64 = 2_000;
const ROUNDS: u64 = 2_000;
const FAR_ROUNDS: u64 = 500;
/// One way, to shards that are elsewhere.
const FAR: Duration = Duration::from_millis(2);
const QUESTIONS: u64 = 10_000;
const SQL: &str = "SELECT id, score, name FROM scores ORDER BY score DESC, id LIMIT 100";
/// In case a machine is far slower: of questions.
const LIMIT: Duration = Duration::from_secs(180);

type Row = (i64, i64, String);

pub(super) async fn run() -> Vec<Case> {
    let rounds = chosen("MAINSTAY_BENCH_SCATTERS", ROUNDS).max(100);
    let sixteen = Sixteen::new().await;
    let near = sixteen.connect(|url| url.to_owned()).await;
    near.fill().await;
    let mut cases = near.measure(rounds, "16 shards of one machine").await;
    let port = address("postgres").rsplit(':').next().and_then(|port| port.parse().ok());
    let wire = Wire::to(port.expect("the rig's address ends with its port"), FAR).await;
    let far = sixteen.connect(|url| wire.through(url)).await;
    let name = "16 shards 4 ms away and back";
    cases.extend(far.measure(rounds.min(FAR_ROUNDS), name).await);
    cases.push(equal(&near, chosen("MAINSTAY_BENCH_QUESTIONS", QUESTIONS)).await);
    cases
}

struct Sixteen(Vec<Fresh>);

/// Handles of them.
struct Near {
    shards: Shards,
    dbs: Vec<Db>,
    slowest: Arc<AtomicU64>,
}

/// Keeps the longest of the statements since it was last looked at.
struct Slowest(Arc<AtomicU64>);

impl Subscriber for Slowest {
    fn statement(&self, event: &Statement<'_>) {
        self.0.fetch_max((event.wait + event.duration).as_nanos() as u64, SeqCst);
    }
}

impl Sixteen {
    async fn new() -> Self {
        let mut all = Vec::new();
        for _ in 0..SHARDS {
            all.push(fresh(Engine::Postgres).await);
        }
        Self(all)
    }

    async fn connect(&self, way: impl Fn(&str) -> String) -> Near {
        let names: Vec<String> = (0..SHARDS).map(|n| format!("s{n:02}")).collect();
        let mut builder = Shards::builder(Map::even(names.clone()).expect("a map"));
        let (mut dbs, slowest) = (Vec::new(), Arc::<AtomicU64>::default());
        for (name, fresh) in names.iter().zip(&self.0) {
            let observer = Observer::new();
            observer.subscribe(Slowest(Arc::clone(&slowest)));
            let pool = pool::Options { max_size: 2, ..pool::Options::default() };
            let connect = Db::builder(&way(&fresh.url)).name(name.as_str()).pool(pool);
            let db = connect.observer(observer).connect().await.expect("a shard");
            builder = builder.shard(name, db.clone());
            dbs.push(db);
        }
        Near { shards: builder.build().expect("all have a database"), dbs, slowest }
    }
}

/// Milliseconds of each round.
#[derive(Default)]
struct Times {
    whole: Vec<f64>,
    slowest: Vec<f64>,
    over: Vec<f64>,
}

impl Times {
    fn add(&mut self, whole: Duration, slowest: Duration) {
        self.whole.push(millis(whole));
        self.slowest.push(millis(slowest));
        self.over.push(whole.as_secs_f64() / slowest.as_secs_f64());
    }
}

impl Near {
    async fn fill(&self) {
        let table = "CREATE TABLE scores (id BIGINT PRIMARY KEY, score BIGINT NOT NULL, name VARCHAR(40) NOT NULL)";
        for (n, db) in (0..).zip(&self.dbs) {
            db.script(table).await.expect("a new table");
            let row = |id: i64| {
                let id = n * ROWS + id;
                (id, fastrand::i64(..100_000), format!("player {id}"))
            };
            let rows = (0..ROWS).map(row);
            db.bulk_insert("scores", &["id", "score", "name"], rows).await.expect("new rows");
            db.script("CREATE INDEX scores_order ON scores (score DESC, id)")
                .await
                .expect("a new index");
            db.query("VACUUM ANALYZE scores").execute().await.expect("statistics");
        }
    }

    async fn scatter(&self) -> Vec<Row> {
        let asked = self.shards.scatter().query(SQL).all::<Row>();
        asked.await.expect("all shards answer").rows
    }

    /// As it is written without: all at once, put together and sorted.
    async fn by_hand(&self) -> Vec<Row> {
        let asked = self.dbs.iter().map(|db| db.query(SQL).all::<Row>());
        let mut all = Vec::new();
        for answer in join_all(asked).await {
            all.extend(answer.expect("all shards answer"));
        }
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(100);
        all
    }

    async fn timed(&self, times: &mut Times, work: impl Future<Output = Vec<Row>>) -> Vec<Row> {
        self.slowest.store(0, SeqCst);
        let begun = now();
        let rows = work.await;
        times.add(since(begun), Duration::from_nanos(self.slowest.load(SeqCst)));
        rows
    }

    async fn measure(&self, rounds: u64, of: &str) -> Vec<Case> {
        let (mut ours, mut hand, mut alone) = (Times::default(), Times::default(), Vec::new());
        for _ in 0..20 {
            assert_eq!(
                self.scatter().await,
                self.by_hand().await,
                "the same rows in the same order"
            );
        }
        for round in 0..rounds {
            let here = self.timed(&mut ours, self.scatter()).await;
            let there = self.timed(&mut hand, self.by_hand()).await;
            assert_eq!(here.len(), there.len());
            let begun = now();
            let one = &self.dbs[round as usize % SHARDS];
            one.query(SQL).all::<Row>().await.expect("it answers");
            alone.push(millis(since(begun)));
        }
        let what = format!("the first 100 of {of}");
        let mut cases = Vec::new();
        for (share, which) in [(0.5, "p50"), (0.99, "p99")] {
            let name = format!("{what}, {which}");
            let case = Case::new(name, "ms", Better::Lower, quantile(&mut ours.whole, share))
                .peer("join_all and a sort", quantile(&mut hand.whole, share))
                .peer("one shard, nothing else running", quantile(&mut alone, share));
            cases.push(case);
            let over = |times: &mut Times| {
                quantile(&mut times.whole, share) / quantile(&mut times.slowest, share)
            };
            let name = format!("{what}, {which} over the {which} of the slowest shard");
            let case = Case::new(name, "x", Better::Lower, over(&mut ours));
            cases.push(case.peer("join_all and a sort", over(&mut hand)));
        }
        let name = format!("{what}, over the slowest shard of the same call, p99");
        let case = Case::new(name, "x", Better::Lower, quantile(&mut ours.over, 0.99));
        cases.push(case.peer("join_all and a sort", quantile(&mut hand.over, 0.99)));
        cases
    }
}

/// Generated questions to the shards and to one database.
async fn equal(near: &Near, questions: u64) -> Case {
    let whole = fresh(Engine::Postgres).await;
    let one = crate::servers::connect(&whole).await;
    let mut world = World::new(near.shards.clone(), one, 7).await;
    let (begun, mut asked, mut wrong) = (now(), 0, 0);
    while asked < questions && since(begun) < LIMIT {
        asked += 1;
        if let Err(why) = world.compare().await {
            wrong += 1;
            eprintln!("{why}");
        }
    }
    let name =
        format!("answers other than one database's, of {} generated questions", shown(asked));
    Case::new(name, "count", Better::Lower, f64::from(wrong))
}
