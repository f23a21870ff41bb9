//! `mainstay shards` as its user calls it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use mainstay_db::Db;
use mainstay_route::shard::{Map, MapStore};
use mainstay_testkit::{Engine, Fresh};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mainstay"))
        .arg("shards")
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env_remove("RUST_LOG")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn err(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

const TABLES: &str = "CREATE TABLE users (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL);
    CREATE TABLE orders (id BIGINT PRIMARY KEY, user_id BIGINT NOT NULL, cents BIGINT NOT NULL,
        FOREIGN KEY (user_id) REFERENCES users (id))";

async fn a_shard_is_looked_at_moved_and_checked(engine: Engine) {
    let mut fresh = Vec::new();
    for _ in 0..4 {
        fresh.push(Fresh::new(engine).await);
    }
    let folder = tempfile::tempdir().unwrap();
    let config = |third: &str| {
        let [main, a, b, _] = fresh
            .iter()
            .map(Fresh::url)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or_else(|_| panic!());
        let text = format!(
            "[database]\nurl = \"{main}\"\n[shards.tables]\norders = [\"user_id\"]\nusers = [\"id\"]\n\
             [shards.databases]\na.url = \"{a}\"\nb.url = \"{b}\"\n{third}"
        );
        std::fs::write(folder.path().join("mainstay.toml"), text).unwrap();
    };
    config("");
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let mut dbs = Vec::new();
    for one in &fresh[1..] {
        let db = Db::connect(one.url()).await.unwrap();
        db.script(TABLES).await.unwrap();
        dbs.push(db);
    }
    // 42 is in the logical shard 802, which is a's at first.
    let fill = "INSERT INTO users (id, name) VALUES (42, 'Ada'); INSERT INTO orders (id, user_id, cents) VALUES (1, 42, 900), (2, 42, 700)";
    dbs[0].script(fill).await.unwrap();

    let status = out(&run(&["status"]));
    assert!(
        status.starts_with("map of epoch 1\n") && status.contains("no moves are open"),
        "{status}"
    );
    assert!(status.lines().any(|l| l.starts_with('a') && l.contains("2048")), "{status}");
    config(&format!("c.url = \"{}\"\n", fresh[3].url()));
    assert!(out(&run(&["status"])).contains("not in the map"));
    let plan = out(&run(&["plan", "--with", "c"]));
    assert!(plan.contains("1365 of 4096 logical shards move"), "{plan}");
    let plan: serde_json::Value =
        serde_json::from_str(&out(&run(&["plan", "--without", "b", "--json"]))).unwrap();
    assert_eq!(plan["moves"][0]["logical"].as_array().unwrap().len(), 2048);
    assert_eq!(out(&run(&["verify"])), "all rows of 2 tables are where the map has them\n");

    let moved = run(&["move", "802", "--to", "c"]);
    assert_eq!(
        String::from_utf8_lossy(&moved.stderr),
        "looking at both sides\nwhat it needs is on both sides\nusers: changes are logged\norders: changes are logged\n\
         3 rows copied\nboth sides are the same\nthe old shard is shut\nthe map leads to the new shard\n"
    );
    let text = out(&moved);
    assert!(text.starts_with("802 is on c: 3 rows, writes waited for"), "{text}");
    assert!(text.contains("map of epoch 3") && text.contains("--finish"), "{text}");
    assert_eq!(
        dbs[2]
            .query("SELECT SUM(cents) FROM orders")
            .scalar::<Option<mainstay_db::Decimal>>()
            .await
            .unwrap()
            .unwrap()
            .to_string(),
        "1600"
    );
    let status = out(&run(&["status"]));
    assert!(
        status.lines().any(|l| l.split_whitespace().eq(["802", "a", "c", "done", "3"])),
        "{status}"
    );
    let verified = out(&run(&["verify"]));
    assert!(verified.contains("of an open move"), "{verified}");
    let early = err(&run(&["move", "802", "--finish"]));
    assert!(early.contains("ROUTE-050") && early.contains("the old rows stay for"), "{early}");
    let back = err(&run(&["move", "802", "--rollback"]));
    assert!(back.contains("ROUTE-05"), "{back}");
    assert_eq!(
        out(&run(&["move", "802", "--finish", "--grace", "0"])),
        "802 is on c alone: nothing of it is left on a\n"
    );

    dbs[0].script("INSERT INTO users (id, name) VALUES (42, 'stray')").await.unwrap();
    let stray = run(&["verify"]);
    assert!(err(&stray).contains("1 rows are not where the map has them"), "{stray:?}");
    let told = String::from_utf8(stray.stdout).unwrap();
    assert!(
        told.lines().any(|l| l.split_whitespace().eq(["a", "users", "802", "c", "1", "1", "42"])),
        "{told}"
    );

    assert!(err(&run(&["move", "7", "--to", "nowhere"])).contains("there are a, b, c"));
    assert!(err(&run(&["move", "9000", "--to", "c"])).contains("4096 to 8191"));
    assert!(err(&run(&["move", "7", "--resume"])).contains("no open move"));
    for db in dbs {
        db.close(std::time::Duration::from_secs(5)).await.unwrap();
    }
}

mod postgres {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_shard_is_looked_at_moved_and_checked() {
        super::a_shard_is_looked_at_moved_and_checked(mainstay_testkit::Engine::Postgres).await;
    }
}

mod mariadb {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_shard_is_looked_at_moved_and_checked() {
        super::a_shard_is_looked_at_moved_and_checked(mainstay_testkit::Engine::MariaDb).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_joins_is_in_the_region_of_what_it_takes() {
    let mut fresh = Vec::new();
    for _ in 0..4 {
        fresh.push(Fresh::new(Engine::Postgres).await);
    }
    let folder = tempfile::tempdir().unwrap();
    let config = |tables: &str| {
        let urls: Vec<&str> = fresh.iter().map(Fresh::url).collect();
        let text = format!(
            "[database]\nurl = \"{}\"\n{tables}[shards.databases]\na.url = \"{}\"\nb.url = \"{}\"\nc.url = \"{}\"\n",
            urls[0], urls[1], urls[2], urls[3]
        );
        std::fs::write(folder.path().join("mainstay.toml"), text).unwrap();
    };
    let run = |arguments: &[&str]| run(folder.path(), arguments);
    let mut dbs = Vec::new();
    for one in &fresh {
        let db = Db::connect(one.url()).await.unwrap();
        db.script(TABLES).await.unwrap();
        dbs.push(db);
    }
    let store = MapStore::new(dbs[0].clone());
    store.create().await.unwrap();
    let map = Map::list([("a", "eu"), ("b", "us")], [("DE", "eu"), ("US", "us")]).unwrap();
    let logical =
        (0..4096).find(|n| map.owner(*n) == Some("a")).map(|n: u16| n.to_string()).unwrap();
    store.save(&map, 0).await.unwrap();

    // Nothing is looked at, and nothing is right, where no tables are named.
    config("");
    for said in [err(&run(&["verify"])), err(&run(&["move", &logical, "--to", "c"]))] {
        assert!(said.contains("no sharded tables are configured"), "{said}");
    }
    assert!(store.load().await.unwrap().unwrap().shard("c").is_none());
    config("[shards.tables]\nusers = [\"id\"]\norders = [\"user_id\"]\n");
    out(&run(&["move", &logical, "--to", "c"]));
    let map = store.load().await.unwrap().unwrap();
    assert_eq!(map.shard("c").unwrap().region.as_deref(), Some("eu"));
    assert_eq!(map.owner(logical.parse().unwrap()), Some("c"));
    for db in dbs {
        db.close(std::time::Duration::from_secs(5)).await.unwrap();
    }
}

#[test]
fn without_shards_it_says_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mainstay.toml"), "[database]\nurl = \"sqlite::memory:\"\n")
        .unwrap();
    let said = err(&run(folder.path(), &["status"]));
    assert!(
        said.contains("no shards are configured") && said.contains("[shards.databases]"),
        "{said}"
    );
}
