//! A topology by configuration alone: what is read, what is refused and by which key, and what runs.

use std::time::Duration;

use mainstay_core::config::Loader;
use mainstay_core::inspect::Inspect;
use mainstay_core::{Code, Error};
use mainstay_db::Db;
use mainstay_route::shard::Map;
use mainstay_route::topology::Database;
use mainstay_route::{Databases, Topology};
use mainstay_testkit::Fresh;

use crate::shard_support::Engine;

fn load(text: &str) -> Result<Topology, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mainstay.toml");
    std::fs::write(&path, text).unwrap();
    Loader::new().file(&path).environment([]).load::<Topology>().map(|loaded| loaded.value)
}

#[test]
fn all_of_it_is_read() {
    let topology = load(
        r#"
        [database]
        url = "postgres://me:secret@10.0.0.1/shop"
        replicas = ["postgres://me:secret@10.0.0.2/shop"]
        [pool]
        max_size = 3
        [shards]
        catalogue = "postgres://me:secret@10.0.0.9/catalogue"
        watch = "250ms"
        reference = ["products"]
        [shards.tables]
        orders = ["user_id"]
        order_lines = ["user_id"]
        [shards.databases.a]
        url = "postgres://me:secret@10.0.1.1/shop"
        replicas = ["postgres://me:secret@10.0.1.2/shop", "postgres://me:secret@10.0.1.3/shop"]
        [shards.databases.b]
        url = "postgres://me:secret@10.0.2.1/shop"
        statement_timeout = "5s"
        "#,
    )
    .unwrap();
    topology.check().unwrap();
    assert_eq!(topology.shards.watch, Duration::from_millis(250));
    assert_eq!(topology.shards.databases["a"].replicas.len(), 2);
    assert_eq!(topology.shards.databases["b"].statement_timeout, Some(Duration::from_secs(5)));
    assert_eq!(topology.shards.tables["orders"], ["user_id"]);
    let shown = format!("{topology:?}");
    assert!(!shown.contains("secret") && !shown.contains("10.0."), "{shown}");
}

#[test]
fn what_nobody_reads_is_refused() {
    for (text, at) in [
        ("[database]\nreplica = []", "database.replica"),
        ("[shards]\ncatalog = \"x\"", "shards.catalog"),
        ("[shard]\nwatch = \"1s\"", "shard.watch"),
        ("[shards.databases.a]\nuri = \"postgres://me:secret@x/y\"", "shards.databases.a"),
        ("[shards.databases]\na = \"postgres://me:secret@x/y\"", "shards.databases.a"),
        ("[shards.tables]\norders = \"user_id\"", "shards.tables.orders"),
    ] {
        let error = load(text).unwrap_err();
        assert!(matches!(error.code(), Code::ConfigUnknownKey | Code::ConfigValue), "{error:?}");
        let told = error.report();
        assert!(told.contains(at) && !told.contains("secret"), "{told}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused_by_its_key() {
    let head = "[database]\nurl = \"postgres://me:secret@main/shop\"\n";
    let two = "[shards.databases.a]\nurl = \"postgres://me:secret@a/x\"\n[shards.databases.b]\n";
    for (text, code, told) in [
        (String::new(), Code::ConfigValue, "`database.url` is not set"),
        (format!("{head}[shards]\nwatch = \"1ms\""), Code::ConfigValue, "`shards.watch` is at"),
        (
            "[database]\nurl = \"sqlite:x.db\"\nreplicas = [\"sqlite:y.db\"]".to_owned(),
            Code::ConfigValue,
            "`database.replicas` is set, and SQLite has no replicas",
        ),
        (
            format!("{head}replicas = [\"mysql://me:secret@b/shop\"]"),
            Code::ConfigValue,
            "`database.replicas` has one of MySQL, and the primary is PostgreSQL",
        ),
        (format!("{head}{two}url = \"nope\""), Code::ConfigUrl, "`shards.databases.b.url`: "),
        (format!("{head}{two}"), Code::ConfigValue, "`shards.databases.b.url` is not set"),
        (
            format!("{head}{two}url = \"postgres://me:secret@a/x\""),
            Code::ConfigValue,
            "`shards.databases.b.url` is that of `shards.databases.a` as well",
        ),
        (
            format!("{head}{two}url = \"sqlite:b.db\""),
            Code::ConfigValue,
            "`shards.databases.b.url` is SQLite, and the shards before it are not",
        ),
        (
            format!("{head}[shards.databases.main]\nurl = \"postgres://x/y\""),
            Code::ConfigValue,
            "`shards.databases.main` can't be a shard's name",
        ),
        (
            format!("{head}[shards.databases.\"A B\"]\nurl = \"postgres://x/y\""),
            Code::ConfigValue,
            "`shards.databases.A B` must be",
        ),
        (
            format!("{head}[shards]\nreference = [\"orders\"]\ntables = {{ orders = [\"id\"] }}"),
            Code::ConfigValue,
            "`shards.tables.orders` is in `shards.reference` as well",
        ),
        (
            format!("{head}[shards.tables]\norders = [\"id; DROP\"]"),
            Code::ConfigValue,
            "`shards.tables.orders` must be the columns",
        ),
    ] {
        let error = load(&text).unwrap().check().unwrap_err();
        assert_eq!(error.code(), code, "{text}\n{error:?}");
        assert!(error.what().contains(told), "{text}\n{error:?}");
        assert!(!error.report().contains("secret"), "{error:?}");
    }
}

/// The main database, and two that are shards of it.
struct Three([Fresh; 3]);

impl Three {
    async fn new(engine: Engine) -> Self {
        Self([Fresh::new(engine).await, Fresh::new(engine).await, Fresh::new(engine).await])
    }

    fn topology(&self) -> Topology {
        let [main, a, b] = &self.0;
        let mut topology = Topology { database: Database::at(main.url()), ..Topology::default() };
        topology.shards.watch = Duration::from_millis(10);
        topology.shards.reference = vec!["products".to_owned()];
        topology.shards.databases =
            [("a", a), ("b", b)].map(|(n, db)| (n.to_owned(), Database::at(db.url()))).into();
        topology
    }

    async fn end(self, all: Databases) {
        all.close(Duration::from_secs(10)).await.unwrap();
        for fresh in self.0 {
            fresh.remove().await;
        }
    }
}

const ORDERS: &str = "CREATE TABLE orders (user_id BIGINT NOT NULL, cents BIGINT NOT NULL)";

/// The same work whatever is configured.
async fn order(all: &Databases) -> i64 {
    let shards = all.shards();
    for user in 0..40_i64 {
        let insert = "INSERT INTO orders (user_id, cents) VALUES ($1, $2)";
        let db = shards.of(&user).unwrap();
        db.query(insert).bind(user).bind(user).execute().await.unwrap();
    }
    let sum = shards.scatter().query("SELECT SUM(cents) FROM orders");
    sum.groups::<(i64,)>().await.unwrap().rows[0].0
}

/// A condition with a bound that no test reaches.
pub async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..2000 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to that: {what}");
}

#[tokio::test]
async fn one_database_is_one_shard() {
    let main = Fresh::new(Engine::Sqlite).await;
    let topology = Topology { database: Database::at(main.url()), ..Topology::default() };
    let all = topology.connect().await.unwrap();
    all.main().script(ORDERS).await.unwrap();
    assert_eq!(order(&all).await, 780);
    assert!(!all.is_sharded() && all.store().is_none());
    assert_eq!((all.names(), all.shards().names()), (vec!["main"], vec!["main".to_owned()]));
    let count: i64 = all.main().query("SELECT COUNT(*) FROM orders").scalar().await.unwrap();
    assert_eq!(count, 40);
    all.close(Duration::from_secs(5)).await.unwrap();
}

/// The first map is made once, also where two begin at once; later the saved one holds, and a newer one is followed.
async fn the_map_is_the_catalogues(engine: Engine) {
    let three = Three::new(engine).await;
    let topology = three.topology();
    let (one, two) = tokio::join!(topology.connect(), topology.connect());
    let (all, two) = (one.unwrap(), two.unwrap());
    assert!(all.is_sharded());
    all.shards().each(|_, db| async move { db.script(ORDERS).await }).run().await.unwrap();
    assert_eq!(order(&all).await, 780);
    assert_eq!(all.shards().map(), two.shards().map());
    assert_eq!(all.shards().map().logical_count("a"), 2048);
    two.close(Duration::from_secs(5)).await.unwrap();
    let mut counts = Vec::new();
    for name in ["a", "b"] {
        let db = all.primary(name).unwrap();
        counts.push(db.query("SELECT COUNT(*) FROM orders").scalar::<i64>().await.unwrap());
    }
    assert!(counts[0] + counts[1] == 40 && counts.iter().all(|n| *n > 5), "{counts:?}");

    // Somebody else changes it.
    let store = all.store().unwrap();
    let map = store.load().await.unwrap().unwrap();
    let of = async |db: Db| {
        let sql = "SELECT COUNT(*) FROM orders WHERE user_id = 7";
        db.query(sql).scalar::<i64>().await.unwrap()
    };
    assert_eq!(of(all.shards().of(&7_i64).unwrap()).await, 1);
    let other = if map.shard_of(&7_i64).unwrap() == "a" { "b" } else { "a" };
    store.save(&map.pin(&7_i64, other).unwrap(), map.epoch()).await.unwrap();
    until("the newer map", async || all.shards().epoch() == 2).await;
    assert_eq!(of(all.shards().of(&7_i64).unwrap()).await, 0, "rows are not moved");

    let later = topology.connect().await.unwrap();
    assert_eq!(later.shards().epoch(), 2, "the saved map holds");
    let lines: Vec<String> = later.status().iter().map(ToString::to_string).collect();
    assert!(lines[1].starts_with("a ") && lines[1].ends_with("2048 of 4096"), "{lines:?}");
    let table = &later.inspect().tables[0];
    assert_eq!(table.rows.len(), 3);
    later.close(Duration::from_secs(5)).await.unwrap();

    // A map that names a shard which is not configured leads nowhere.
    let map = store.load().await.unwrap().unwrap();
    store.save(&map.with("c").unwrap(), map.epoch()).await.unwrap();
    let error = topology.connect().await.unwrap_err();
    assert_eq!(error.code(), Code::ShardMap);
    assert_eq!(error.what(), "`shards.databases`: the shard \"c\" has no database");
    three.end(all).await;
}

/// Configured before the map names it: nothing is there yet, and then its part.
async fn one_more_shard_is_used_as_soon_as_the_map_names_it(engine: Engine) {
    let three = Three::new(engine).await;
    let fourth = Fresh::new(engine).await;
    let mut topology = three.topology();
    topology.connect().await.unwrap().close(Duration::from_secs(5)).await.unwrap();
    topology.shards.databases.insert("c".to_owned(), Database::at(fourth.url()));
    let all = topology.connect().await.unwrap();
    assert_eq!((all.shards().names().len(), all.names().len()), (2, 4));
    assert_eq!(all.status()[3].logical, None);
    let store = all.store().unwrap();
    let map: Map = store.load().await.unwrap().unwrap();
    store.save(&map.with("c").unwrap(), map.epoch()).await.unwrap();
    until("the newer map", async || all.shards().names().len() == 3).await;
    assert_eq!(all.status()[3].logical, Some(1365));
    three.end(all).await;
    fourth.remove().await;
}

macro_rules! on {
    ($module:ident, $engine:ident) => {
        mod $module {
            use crate::shard_support::Engine;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn the_map_is_the_catalogues() {
                super::the_map_is_the_catalogues(Engine::$engine).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn one_more_shard_is_used_as_soon_as_the_map_names_it() {
                super::one_more_shard_is_used_as_soon_as_the_map_names_it(Engine::$engine).await;
            }
        }
    };
}
on!(sqlite, Sqlite);
on!(postgres, Postgres);
on!(mariadb, MariaDb);
