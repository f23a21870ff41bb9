//! A loader on a cluster's handle, and shards each of which is a cluster.

use mainstay_core::inspect::{Health, Inspect};
use mainstay_core::scope::{Kind, Scope};
use mainstay_load::load_one;
use mainstay_route::Shards;
use mainstay_route::shard::Map;
use mainstay_testkit::Engine;

use super::{Pair, Tried, add, read};

async fn loaded(tried: &Tried) -> i64 {
    let sql = "SELECT id, n FROM pairs WHERE id IN ($keys)";
    let rows: Vec<Option<(i64, i64)>> =
        load_one(&tried.db(), &[1_i64, 7], |id| *id, sql).await.unwrap();
    assert_eq!((rows.len(), rows[1]), (2, None));
    rows[0].unwrap().1
}

/// In a task of the loader's own.
async fn gathered(tried: &Tried) -> i64 {
    let sql = "SELECT id, n FROM pairs WHERE id IN ($keys)";
    let loader = mainstay_load::Loader::<i64, std::sync::Arc<(i64, i64)>>::row(&tried.db(), sql);
    let (one, none) = tokio::try_join!(loader.load(1), loader.load(7)).unwrap();
    assert!(none.is_none());
    one.unwrap().1
}

async fn a_loader_reads_from_replicas_and_sees_its_own_writes(engine: Engine) {
    let pair = Pair::of(engine).await;
    let tried = pair.cluster("loaded").await;
    let before = tried.on_replica();
    let reads = async { (loaded(&tried).await, gathered(&tried).await) };
    assert_eq!(Scope::new(Kind::Request, "GET /n").run(reads).await, (0, 0));
    assert_eq!(tried.on_replica(), before + 2, "both on the replica");
    tried.hold().await;
    let writes = async {
        let wrote = add(&tried.db()).await;
        assert_eq!((loaded(&tried).await, gathered(&tried).await), (wrote, wrote));
    };
    Scope::new(Kind::Request, "POST /n").run(writes).await;
    tried.resume().await;
}

/// MariaDB's clusters are told apart by their names: here two on the same servers.
async fn shards_of_clusters_have_a_token_each(engine: Engine) {
    let pair = Pair::of(engine).await;
    let (north, south) = (pair.cluster("north").await, pair.cluster("south").await);
    let shards = Shards::builder(Map::even(["north", "south"]).unwrap())
        .shard("north", north.db())
        .shard("south", south.db())
        .build()
        .unwrap();
    north.hold().await;
    let scope = Scope::new(Kind::Request, "POST /both");
    let tokens = scope
        .run(async {
            for name in ["north", "south"] {
                add(&shards.shard(name).unwrap()).await;
            }
            Scope::current().unwrap().tokens().await
        })
        .await
        .to_string();
    assert_eq!(tokens.split('~').count(), 2, "{tokens}");
    let all = || async {
        let sums = shards.scatter().query("SELECT n FROM pairs").all::<(i64,)>().await.unwrap();
        let (north, south) = (shards.shard("north").unwrap(), shards.shard("south").unwrap());
        let one_each = (read(&north).await.unwrap(), read(&south).await.unwrap());
        (sums.rows.iter().map(|(n,)| n).sum::<i64>(), one_each)
    };
    assert_eq!(Scope::new(Kind::Request, "GET /other").run(all()).await, (0, (0, 0)));
    let again = Scope::new(Kind::Request, "GET /both");
    let given: mainstay_core::token::Tokens = tokens.parse().unwrap();
    given.iter().for_each(|token| again.observe(token));
    assert_eq!(again.run(all()).await, (2, (1, 1)));
    north.resume().await;
}

async fn a_cluster_shows_itself(engine: Engine) {
    let pair = Pair::of(engine).await;
    let tried = pair.cluster("shown").await;
    let shown = tried.cluster.inspect();
    assert_eq!((shown.kind, shown.name.as_str(), shown.health), ("cluster", "shown", Health::Good));
    let roles: Vec<&str> = shown.tables[0].rows.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(roles, ["primary", "replica"]);
    assert!(
        shown.tables[0].rows.iter().all(|row| row[2].contains("127.0.0.1") && !row[4].is_empty())
    );
    assert!(shown.notes[0].contains("no standby is synchronous"), "{:?}", shown.notes);
}

crate::on_servers!(a_loader_reads_from_replicas_and_sees_its_own_writes, a_cluster_shows_itself);

mod only_mariadb {
    mod mariadb {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn shards_of_clusters_have_a_token_each() {
            let engine = mainstay_testkit::Engine::MariaDb;
            super::super::shards_of_clusters_have_a_token_each(engine).await;
        }
    }
}
