//! The labs of replication-lag and shard-skew. Of times nothing is said.

use mainstay_cli::lab::{Case, replication_lag, shard_skew};
use mainstay_core::Code;
use mainstay_db::Engine;

async fn who_reads_the_replica_is_shown_the_past(engine: Engine) {
    let report = replication_lag(engine, |_| {}).await.unwrap();
    let stale: Vec<bool> = report.timeline.iter().map(|moment| moment.stale).collect();
    assert!(stale[1], "the replica is a second behind: {:?}", report.timeline);
    let read = |what: &str| {
        let found = report.timeline.iter().find(|moment| moment.what.starts_with(what));
        found.unwrap_or_else(|| panic!("no {what} in {:?}", report.timeline))
    };
    assert!(!read("the same request reads its own write: 80").stale);
    assert!(!read("it reads at least the token: 80").stale);
    let later = read("later, with the same token: 80");
    assert_eq!(later.server, "replica");
    assert!(report.timeline.is_sorted_by_key(|moment| moment.at_ms));
    let [any, own, caught_up] = &report.pairs[..] else { panic!("{:?}", report.pairs) };
    assert!(any.stale > 0 && any.by_replica > 0, "{any:?}");
    assert_eq!((own.stale, caught_up.stale), (0, 0), "{own:?} {caught_up:?}");
    for pairs in [any, own, caught_up] {
        assert_eq!(pairs.by_replica + pairs.by_primary, pairs.pairs, "{pairs:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_has_no_replicas() {
    let error = replication_lag(Engine::Sqlite, |_| {}).await.unwrap_err();
    assert_eq!(error.code(), Code::Unsupported);
    assert!(error.report().contains("--engine postgres"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_by_time_is_hot_and_a_hash_is_even() {
    let report = shard_skew(1, |_| {}).await.unwrap();
    let of = |keys: &str, placement: &str| -> &Case {
        let is = |case: &&Case| case.keys == keys && case.placement.starts_with(placement);
        report.cases.iter().find(is).unwrap_or_else(|| panic!("{:?}", report.cases))
    };
    for case in &report.cases {
        assert_eq!(case.shards.iter().map(|(_, rows)| rows).sum::<u64>(), report.rows, "{case:?}");
    }
    for keys in ["1, 2, 3, ...", "UUIDv7"] {
        let range = of(keys, "range");
        assert!(range.max_by_mean < 1.01, "the rows that are there are even: {range:?}");
        assert_eq!(range.hottest, ("d".to_owned(), 100.0), "and all that come now are not");
        let hash = of(keys, "hash");
        assert!(hash.max_by_mean < 1.05 && hash.hottest.1 < 30.0, "{hash:?}");
    }
    assert!(of("emails", "range").max_by_mean > 1.3);
    assert!(of("emails", "hash").max_by_mean < 1.05);
    let (alone, pairs) = (of("countries", "hash"), of("(country, user)", "list"));
    assert!(alone.max_by_mean > pairs.max_by_mean, "{alone:?} {pairs:?}");
    let tenants = of("tenants", "hash");
    assert!(tenants.max_by_mean > 1.8, "{tenants:?}");
    let pinned = of("tenants", "hash, tenant-0 pinned");
    let rest: Vec<u64> = pinned.shards[..4].iter().map(|(_, rows)| *rows).collect();
    let (least, most) = (rest.iter().min().unwrap(), rest.iter().max().unwrap());
    assert!(*most as f64 / (*least as f64) < 1.4, "{pinned:?}");
    assert!(of("(tenant, user)", "hash").max_by_mean < 1.05);
    let again = shard_skew(1, |_| {}).await.unwrap();
    let tenants_again = again.cases.iter().find(|c| c.keys == "tenants").unwrap();
    assert_eq!(tenants_again.shards, tenants.shards, "a seed makes the same keys");
}

mod postgres {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_reads_the_replica_is_shown_the_past() {
        super::who_reads_the_replica_is_shown_the_past(mainstay_db::Engine::Postgres).await;
    }
}

mod mariadb {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_reads_the_replica_is_shown_the_past() {
        super::who_reads_the_replica_is_shown_the_past(mainstay_db::Engine::MySql).await;
    }
}
