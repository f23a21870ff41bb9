//! Maps: their spread, their changes, and what is refused.

use mainstay_core::{Code, Error};
use uuid::Uuid;

use super::*;

fn refused(map: Result<Map>) -> Error {
    map.expect_err("such a map must be refused")
}

/// The largest distance from an equal share, as a part of it.
fn unevenness<K: ToKey>(shards: usize, keys: impl Iterator<Item = K>) -> f64 {
    let map = Map::even((0..shards).map(|n| format!("s{n:02}"))).unwrap();
    let routes = Routes::new(&map);
    let (mut counts, mut all) = (vec![0_u32; shards], 0);
    for key in keys {
        counts[routes.shard_of(&key.to_key()).unwrap()] += 1;
        all += 1;
    }
    let fair = f64::from(all) / shards as f64;
    counts.iter().map(|n| (f64::from(*n) / fair - 1.0).abs()).fold(0.0, f64::max)
}

#[test]
fn keys_of_each_kind_are_spread_within_five_percent() {
    let rng = mainstay_core::rng::Rng::seeded(7);
    let names = ["ada", "grace", "edsger", "barbara", "donald"];
    for shards in [3, 4, 8, 16] {
        let worst = [
            unevenness(shards, 0..200_000_i64),
            unevenness(shards, 10_000_000_000..10_000_200_000_i64),
            unevenness(shards, (0..200_000_i64).map(|n| n * 1000)),
            unevenness(
                shards,
                (0..200_000).map(|_| {
                    let (high, low) = (rng.u64(0..u64::MAX), rng.u64(0..u64::MAX));
                    uuid::Builder::from_random_bytes(
                        ((u128::from(high) << 64) | u128::from(low)).to_be_bytes(),
                    )
                    .into_uuid()
                }),
            ),
            unevenness(shards, (0..200_000).map(|n| format!("{}.{n}@example.org", names[n % 5]))),
            unevenness(shards, (0..200_000_i64).map(|n| (["DE", "FR"][n as usize % 2], n))),
        ];
        assert!(worst.iter().all(|w| *w <= 0.05), "{shards} shards: {worst:?}");
    }
}

#[test]
fn one_more_shard_moves_its_own_share_and_nothing_else() {
    for n in 1..40 {
        let map = Map::even((0..n).map(|n| format!("s{n:02}"))).unwrap();
        let more = map.with("zz").unwrap();
        let (before, after) = (Routes::new(&map), Routes::new(&more));
        let name = |map: &Map, at: usize| map.names().nth(at).unwrap().to_owned();
        let mut moved = 0;
        for logical in 0..4096 {
            let old = name(&map, before.shard_at(logical).unwrap());
            let new = name(&more, after.shard_at(logical).unwrap());
            if old != new {
                assert_eq!(new, "zz", "nothing moves between those that were there");
                moved += 1;
            }
        }
        assert_eq!(moved, 4096 / (n + 1));
        let counts: Vec<_> = more.names().map(|name| more.logical_count(name)).collect();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 2, "{counts:?}");
        assert_eq!(more.epoch(), map.epoch() + 1);
    }
}

#[test]
fn a_shard_that_goes_leaves_what_it_had_to_the_others() {
    let map = Map::even(["a", "b", "c", "d"]).unwrap().pin("acme", "b").unwrap();
    let less = map.without("b").unwrap();
    assert_eq!(less.names().collect::<Vec<_>>(), ["a", "c", "d"]);
    let counts: Vec<_> = less.names().map(|name| less.logical_count(name)).collect();
    assert!(counts.iter().all(|n| (1365..=1366).contains(n)), "{counts:?}");
    assert_ne!(less.shard_of("acme").unwrap(), "b");
    let alone = Map::even(["a"]).unwrap();
    assert_eq!(refused(alone.without("a")).code(), Code::ShardMap);
    assert_eq!(refused(map.without("x")).code(), Code::ShardMap);
}

#[test]
fn what_is_no_key_has_no_shard() {
    let map = Map::even(["a", "b"]).unwrap();
    let tenant = |name: Option<&'static str>| map.shard_of(&(name, 7)).map(str::to_owned);
    assert_eq!(tenant(Some("acme")).unwrap(), map.shard_of(&("acme", 7)).unwrap());
    let missing = [tenant(None), tenant(Some("")), map.shard_of("").map(str::to_owned)];
    for shard in missing {
        assert_eq!(shard.unwrap_err().code(), Code::ShardKeyMissing);
    }
}

#[test]
fn a_pin_holds_for_a_tenant_and_for_pairs_of_it() {
    let map = Map::even(["a", "b", "vip"]).unwrap();
    let (own, other) = (("acme", 7), ("other", 7));
    let before = map.shard_of(&other).unwrap().to_owned();
    let map = map.pin("acme", "vip").unwrap();
    assert_eq!(map.shard_of("acme").unwrap(), "vip");
    for n in 0..50 {
        assert_eq!(map.shard_of(&("acme", n)).unwrap(), "vip");
    }
    assert_eq!(map.shard_of(&own).unwrap(), "vip");
    assert_eq!(map.shard_of(&other).unwrap(), before);
    let again = map.pin("acme", "a").unwrap();
    assert_eq!(again.shard_of("acme").unwrap(), "a");
    assert_eq!(again.parts().slots.len(), 1);
    assert!(again.unpin("acme").unwrap().parts().slots.is_empty());
    assert_eq!(refused(map.pin("acme", "nowhere")).code(), Code::ShardMap);
}

#[test]
fn gaps_overlaps_and_strangers_are_named() {
    let what = |map: Result<Map>| {
        let error = refused(map);
        assert_eq!(error.code(), Code::ShardMap);
        error.what().to_owned()
    };
    assert_eq!(what(Map::hash([("a", 0..100), ("b", 120..4096)])), "logical 100..120 is nobody's");
    assert_eq!(what(Map::hash([("a", 0..4000)])), "logical 4000..4096 is nobody's");
    assert_eq!(
        what(Map::hash([("a", 0..100), ("b", 90..4096)])),
        "logical 90..100 is both a's and b's"
    );
    assert!(what(Map::hash([("a", 0..4097)])).contains("ends after 4,096"));
    assert_eq!(what(Map::even(Vec::<String>::new())), "the map has no shards");
    assert!(what(Map::even(["a"; 2]).unwrap().with("a")).contains("already"));
    let json = r#"{"epoch":1,"logical":[{"from":0,"to":4096,"shard":"x"}],
        "placement":{"kind":"hash"},"shards":{"a":{}}}"#;
    assert!(what(Map::from_json(json)).contains("on \"x\", which is not among the shards"));
    let json =
        r#"{"epoch":1,"placement":{"kind":"directory","keys":{"acme":3}},"shards":{"a":{}}}"#;
    assert!(what(Map::from_json(json)).contains("has slot 3"));
    assert_eq!(what(Map::from_json("{")), "the map can't be read");
}

#[test]
fn segments_are_in_order_and_of_one_kind() {
    let map = Map::range("a", [(10_i64, "b"), (20, "c")]).unwrap();
    let of = |n: i64| map.shard_of(&n).unwrap().to_owned();
    assert_eq!([of(i64::MIN), of(9), of(10), of(19), of(20)], ["a", "a", "b", "b", "c"]);
    assert_eq!(map.shard_of(&u64::MAX).unwrap(), "c");
    assert_eq!(refused(map.shard_of("text").map(|_| map.clone())).code(), Code::ShardUnplaced);
    let texts = Map::range("a", [("m", "b")]).unwrap();
    assert_eq!(texts.shard_of("lz").unwrap(), "a");
    assert_eq!(texts.shard_of(&("m", 1)).unwrap(), "b");
    assert!(refused(Map::range("a", [(20_i64, "b"), (20, "c")])).what().contains("segment 3"));
    let mixed = [(Bound::Int(1), "b"), (Bound::Text("x".to_owned()), "c")];
    assert!(refused(Map::range("a", mixed)).what().contains("another kind"));
}

#[test]
fn a_directory_has_what_is_put_in_it_alone() {
    let map = Map::directory([("acme", "a"), ("globex", "b")]).unwrap();
    assert_eq!(map.shard_of("globex").unwrap(), "b");
    assert_eq!(map.shard_of(&("acme", 9)).unwrap(), "a");
    assert_eq!(map.shard_of("nobody").unwrap_err().code(), Code::ShardUnplaced);
    let map = map.put("initech", "b").unwrap().put("acme", "b").unwrap();
    assert_eq!(map.shard_of("acme").unwrap(), "b");
    assert_eq!(map.shard_of("initech").unwrap(), "b");
    assert_eq!(refused(Map::even(["a"]).unwrap().put("x", "a")).code(), Code::ShardMap);
}

fn countries() -> Map {
    Map::list(
        [("eu1", "eu"), ("eu2", "eu"), ("us1", "us")],
        [("DE", "eu"), ("FR", "eu"), ("US", "us")],
    )
    .unwrap()
}

#[test]
fn countries_stay_in_their_region() {
    let map = countries();
    for n in 0..200 {
        assert!(map.shard_of(&("DE", n)).unwrap().starts_with("eu"));
        assert_eq!(map.shard_of(&("US", n)).unwrap(), "us1");
    }
    let both: std::collections::BTreeSet<_> =
        (0..200).map(|n| map.shard_of(&("FR", n)).unwrap().to_owned()).collect();
    assert_eq!(both.len(), 2);
    assert_eq!(map.shard_of(&("XX", 1)).unwrap_err().code(), Code::ShardUnplaced);
    assert_eq!(map.shard_of(&5).unwrap_err().code(), Code::ShardUnplaced);
}

#[test]
fn what_would_leave_its_region_is_refused() {
    let map = countries();
    let error = refused(map.assign(0, "us1"));
    assert_eq!(error.code(), Code::ShardResidency);
    assert_eq!(error.what(), "logical 0..1 would leave eu");
    assert_eq!(error.reason(), Some("us1 is in us, and the data must stay in eu"));
    assert_eq!(refused(map.pin(&("DE", 7), "us1")).code(), Code::ShardResidency);
    assert_eq!(refused(map.pin("DE", "us1")).code(), Code::ShardResidency);
    assert_eq!(refused(map.pin(&("XX", 7), "us1")).code(), Code::ShardUnplaced);
    assert!(map.pin(&("DE", 7), "eu2").is_ok());
    // Nobody in its region could take what it has.
    assert_eq!(refused(map.without("us1")).code(), Code::ShardMap);
    let json = map.to_json().replace(r#""us1":{"region":"us"}"#, r#""us1":{"region":"eu"}"#);
    assert_eq!(refused(Map::from_json(&json)).code(), Code::ShardResidency);
}

#[test]
fn a_region_grows_by_its_own_logical_shards() {
    let map = countries();
    let more = map.with_in("us2", "us").unwrap();
    assert_eq!(more.logical_count("eu1"), map.logical_count("eu1"));
    let (us1, us2) = (more.logical_count("us1"), more.logical_count("us2"));
    assert!(us1.abs_diff(us2) <= 1 && us1 + us2 == map.logical_count("us1"));
    assert_eq!(more.without("us1").unwrap().logical_count("us2"), map.logical_count("us1"));
    assert_eq!(refused(map.with_in("asia1", "asia")).code(), Code::ShardMap);
}

#[test]
fn a_map_comes_back_from_json_and_toml() {
    let maps = [
        Map::even(["a", "b"]).unwrap().pin(&Uuid::nil(), "a").unwrap(),
        Map::range("a", [("m", "b")]).unwrap(),
        countries().pin(&("DE", 7), "eu1").unwrap(),
        Map::directory([(1_i64, "a")]).unwrap(),
    ];
    for map in maps {
        assert_eq!(Map::from_json(&map.to_json()).unwrap(), map);
    }
    let text = r#"
        epoch = 3
        logical = [{ from = 0, to = 2048, shard = "a" }, { from = 2048, to = 4096, shard = "b" }]
        [placement]
        kind = "hash"
        [shards.a]
        [shards.b]
        region = "eu"
    "#;
    let map: Map = toml::from_str(text).unwrap();
    assert_eq!((map.epoch(), map.logical_count("a")), (3, 2048));
    let error = toml::from_str::<Map>(&text.replace("to = 2048", "to = 2000")).unwrap_err();
    assert!(error.to_string().contains("logical 2000..2048 is nobody's"), "{error}");
}

#[test]
fn a_logical_shard_can_be_given_to_another() {
    let map = Map::even(["a", "b"]).unwrap().pin("acme", "a").unwrap();
    let key = 42_i64;
    let other = if map.shard_of(&key).unwrap() == "a" { "b" } else { "a" };
    let map = map.assign(key.to_key().logical(), other).unwrap();
    assert_eq!(map.shard_of(&key).unwrap(), other);
    assert_eq!(map.assign(4096, "b").unwrap().shard_of("acme").unwrap(), "b");
    assert_eq!(refused(map.assign(4097, "b")).code(), Code::ShardMap);
    assert_eq!(refused(map.assign(0, "x")).code(), Code::ShardMap);
}
