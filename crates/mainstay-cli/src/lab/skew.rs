//! `mainstay lab shard-skew`: the same keys placed by hash and by range, which shard the next rows go to, and what is done
//! about a tenant that is larger than all others. Keys are made from a seed; where they go is asked of the handle that
//! routes them.

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use std::collections::BTreeMap;
use std::time::SystemTime;

use mainstay_core::Result;
use mainstay_db::Db;
use mainstay_route::shard::{Bound, Builder, Map, Shards, ToKey};
use serde::Serialize;

/// Rows that are there, and rows that come next.
const ROWS: u64 = 100_000;
const NEXT: u64 = 10_000;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Of tenants that are of a size, and how many of a hundred rows are the large one's.
const TENANTS: u64 = 500;
const LARGE: u64 = 40;
/// The parts of a thousand that a country has of all users.
const COUNTRIES: [(&str, u64); 12] = [
    ("US", 340),
    ("DE", 160),
    ("GB", 120),
    ("FR", 90),
    ("IN", 80),
    ("BR", 60),
    ("ES", 45),
    ("IT", 35),
    ("PL", 25),
    ("NL", 20),
    ("SE", 15),
    ("CH", 10),
];
/// How many of a thousand addresses begin with each letter, a to z.
const LETTERS: [u64; 26] = [
    97, 42, 66, 57, 52, 22, 31, 28, 17, 116, 55, 59, 103, 38, 12, 36, 2, 53, 88, 51, 4, 21, 17, 2,
    9, 22,
];

/// How rows are spread, case by case.
#[derive(Clone, Debug, Serialize)]
pub struct Skew {
    /// What the keys were made from: the same makes the same.
    pub seed: u64,
    /// Rows of each case, and of those that come next.
    pub rows: u64,
    /// See `rows`.
    pub next: u64,
    /// Each kind of key, placed in one way or another.
    pub cases: Vec<Case>,
}

/// Keys of one kind, placed in one way.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// The keys.
    pub keys: String,
    /// How they are placed.
    pub placement: String,
    /// Rows on each shard.
    pub shards: Vec<(String, u64)>,
    /// Rows of the largest, by the mean.
    pub max_by_mean: f64,
    /// Of the rows that come next, the shard that gets most, and how many of a hundred.
    pub hottest: (String, f64),
    /// Whether it is what should be done.
    pub cure: bool,
}

/// Makes and places the keys. `say` is told what is about to happen.
///
/// Errors: ROUTE-021, were a map wrong.
pub async fn shard_skew(seed: u64, say: impl Fn(&str) + Sync) -> Result<Skew> {
    let mut dbs = Dbs::new();
    for name in NAMES.into_iter().chain(["e"]) {
        dbs.insert(name, Db::builder("sqlite::memory:").name(name).connect().await?);
    }
    let rng = Rng::seeded(seed);
    let mut cases = Vec::new();
    for (what, made) in [
        ("numbers, one after the other", numbers as fn(&Dbs, &Rng) -> Result<Vec<Case>>),
        ("UUIDs of version 7, which begin with the time", uuids),
        ("email addresses", emails),
        ("countries", countries),
        ("tenants, of which one is large", tenants),
    ] {
        say(what);
        cases.extend(made(&dbs, &rng)?);
        tokio::task::yield_now().await;
    }
    Ok(Skew { seed, rows: ROWS, next: NEXT, cases })
}

/// The shards: databases that are told apart by their names, and never asked for anything.
type Dbs = BTreeMap<&'static str, Db>;

/// A way to place keys.
struct Way<'a> {
    dbs: &'a Dbs,
    keys: &'a str,
    placement: &'a str,
    map: Map,
    cure: bool,
}

impl Way<'_> {
    fn place<K: ToKey>(self, there: &[K], next: &[K]) -> Result<Case> {
        let builder = Shards::builder(self.map);
        let add = |all: Builder, (name, db): (&&str, &Db)| all.shard(name, db.clone());
        let shards = self.dbs.iter().fold(builder, add).build()?;
        let (all, soon) = (count(&shards, there)?, count(&shards, next)?);
        let most = all.values().copied().max().unwrap_or_default();
        let mean = there.len() as f64 / all.len().max(1) as f64;
        let hottest = soon.iter().max_by_key(|(_, rows)| **rows);
        let (name, rows) = hottest.map_or((String::new(), 0), |(n, rows)| (n.clone(), *rows));
        Ok(Case {
            keys: self.keys.to_owned(),
            placement: self.placement.to_owned(),
            shards: all.into_iter().collect(),
            max_by_mean: most as f64 / mean,
            hottest: (name, rows as f64 * 100.0 / next.len() as f64),
            cure: self.cure,
        })
    }
}

/// Rows by shard, as the handle sends them.
fn count<K: ToKey>(shards: &Shards, keys: &[K]) -> Result<BTreeMap<String, u64>> {
    let mut all: BTreeMap<String, u64> = shards.names().into_iter().map(|n| (n, 0)).collect();
    for key in keys {
        if let Some(rows) = all.get_mut(shards.of(key)?.name()) {
            *rows += 1;
        }
    }
    Ok(all)
}

/// The quarters of what is there, as whoever chose the bounds would have seen them.
fn quarters<K: Clone + Into<Bound>>(sorted: &[K]) -> Result<Map> {
    let at = |n: usize| sorted[sorted.len() * n / 4].clone();
    Map::range("a", [(at(1), "b"), (at(2), "c"), (at(3), "d")])
}

/// Which of several parts: as often as its weight says.
fn drawn(rng: &Rng, weights: &[u64]) -> usize {
    let mut at = rng.u64(0..weights.iter().sum());
    for (which, weight) in weights.iter().enumerate() {
        if at < *weight {
            return which;
        }
        at -= weight;
    }
    0
}

fn numbers(dbs: &Dbs, _: &Rng) -> Result<Vec<Case>> {
    let there: Vec<i64> = (1..=ROWS.cast_signed()).collect();
    let next: Vec<i64> = (0..NEXT.cast_signed()).map(|n| ROWS.cast_signed() + 1 + n).collect();
    let way = |placement, map, cure| Way { dbs, keys: "1, 2, 3, ...", placement, map, cure };
    Ok(vec![
        way("range", quarters(&there)?, false).place(&there, &next)?,
        way("hash", Map::even(NAMES)?, true).place(&there, &next)?,
    ])
}

fn uuids(dbs: &Dbs, rng: &Rng) -> Result<Vec<Case>> {
    let begin = Clock::system().wall().duration_since(SystemTime::UNIX_EPOCH);
    let begin = begin.unwrap_or_default().as_millis();
    let make = |n: u64| {
        let ms = begin + u128::from(n) * 37;
        let random = u128::from(rng.u64(0..1 << 62));
        let (high, low) = ((ms << 16) | (7 << 12) | u128::from(rng.u64(0..4096)), random);
        let hex = format!("{:032x}", (high << 64) | (0b10 << 62) | low);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    };
    let there: Vec<String> = (0..ROWS).map(make).collect();
    let next: Vec<String> = (ROWS..ROWS + NEXT).map(make).collect();
    let bounds: Vec<Bound> = there.iter().cloned().map(Bound::Text).collect();
    let way = |placement, map, cure| Way { dbs, keys: "UUIDv7", placement, map, cure };
    Ok(vec![
        way("range", quarters(&bounds)?, false).place(&there, &next)?,
        way("hash", Map::even(NAMES)?, true).place(&there, &next)?,
    ])
}

fn emails(dbs: &Dbs, rng: &Rng) -> Result<Vec<Case>> {
    let mut make = |n: u64| {
        let letter = char::from(b'a' + drawn(rng, &LETTERS) as u8);
        format!("{letter}{:05}{n}@example.com", rng.u64(0..100_000))
    };
    let there: Vec<String> = (0..ROWS).map(&mut make).collect();
    let next: Vec<String> = (ROWS..ROWS + NEXT).map(&mut make).collect();
    // A fourth of the alphabet each.
    let map = Map::range("a", [("g", "b"), ("n", "c"), ("t", "d")])?;
    let way = |placement, map, cure| Way { dbs, keys: "emails", placement, map, cure };
    Ok(vec![
        way("range: a, g, n, t", map, false).place(&there, &next)?,
        way("hash", Map::even(NAMES)?, true).place(&there, &next)?,
    ])
}

fn countries(dbs: &Dbs, rng: &Rng) -> Result<Vec<Case>> {
    let weights = COUNTRIES.map(|(_, part)| part);
    let make = |n: u64| (COUNTRIES[drawn(rng, &weights)].0, n.cast_signed());
    let there: Vec<(&str, i64)> = (0..ROWS).map(make).collect();
    let next: Vec<(&str, i64)> = (ROWS..ROWS + NEXT).map(make).collect();
    let alone = |all: &[(&'static str, i64)]| all.iter().map(|(c, _)| *c).collect::<Vec<_>>();
    let way = |keys, placement, map, cure| Way { dbs, keys, placement, map, cure };
    // What must stay in the European Union does, on as many shards as it needs.
    let regions = COUNTRIES.map(|(country, _)| match country {
        "US" | "BR" | "IN" | "GB" | "CH" => (country, "world"),
        _ => (country, "eu"),
    });
    let list = Map::list([("a", "world"), ("b", "world"), ("c", "eu"), ("d", "eu")], regions)?;
    Ok(vec![
        way("countries", "hash", Map::even(NAMES)?, false).place(&alone(&there), &alone(&next))?,
        way("(country, user)", "list: eu, world", list, true).place(&there, &next)?,
    ])
}

fn tenants(dbs: &Dbs, rng: &Rng) -> Result<Vec<Case>> {
    let make = |n: u64| {
        let large = rng.u64(0..100) < LARGE;
        let tenant = if large { 0 } else { 1 + rng.u64(0..TENANTS) };
        (format!("tenant-{tenant}"), n.cast_signed())
    };
    let there: Vec<(String, i64)> = (0..ROWS).map(make).collect();
    let next: Vec<(String, i64)> = (ROWS..ROWS + NEXT).map(make).collect();
    let alone = |all: &[(String, i64)]| all.iter().map(|(t, _)| t.clone()).collect::<Vec<_>>();
    let way = |keys, placement, map, cure| Way { dbs, keys, placement, map, cure };
    // Nothing is hashed to e: the tenant is all it has.
    let alone_on_e = Map::even(NAMES)?.with_empty("e", None)?.pin("tenant-0", "e")?;
    Ok(vec![
        way("tenants", "hash", Map::even(NAMES)?, false).place(&alone(&there), &alone(&next))?,
        way("tenants", "hash, tenant-0 pinned to e", alone_on_e, true)
            .place(&alone(&there), &alone(&next))?,
        way("(tenant, user)", "hash", Map::even(NAMES)?, true).place(&there, &next)?,
    ])
}
