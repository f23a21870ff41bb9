//! Which shard a key is on: nanoseconds, how even the shards are, and what one more of them moves; beside hash rings.

use std::hash::{BuildHasherDefault, DefaultHasher, Hash};
use std::hint::black_box;

use hash_rings::{jump, rendezvous};
use hashring::HashRing;
use mainstay::Db;
use mainstay::route::Shards;
use mainstay::route::shard::{Map, ToKey};
use uuid::Uuid;

use super::{chosen, nanos, shown};
use crate::report::{Better, Case};

const KEYS: u64 = 1_000_000;
/// Shards where the number of them is not what is measured.
const SHARDS: usize = 16;
/// Shards that get one more.
const GROWN: [usize; 4] = [2, 5, 16, 48];
/// Points of each shard on a ring, without which it is far from even.
const POINTS: usize = 128;
const CALLS: usize = 500_000;

pub(super) async fn run() -> Vec<Case> {
    let count = chosen("MAINSTAY_BENCH_KEYS", KEYS);
    let ids: Vec<i64> = (1..=count as i64).collect();
    let uuids: Vec<Uuid> = (0..count).map(|_| Uuid::now_v7()).collect();
    let emails: Vec<String> = ids.iter().map(|id| format!("user{id}@example.org")).collect();
    let ours = shards(SHARDS).await;
    let rings = Rings::new(SHARDS);
    let mut cases = vec![
        times("an id", &ids, &ours, &rings),
        times("a UUIDv7", &uuids, &ours, &rings),
        times("an email address", &emails, &ours, &rings),
        spread("ids in sequence", &ids, &ours, &rings),
        spread("UUIDv7", &uuids, &ours, &rings),
        spread("email addresses", &emails, &ours, &rings),
    ];
    let hashed = nanos(CALLS, each(&ids, |id| id.to_key().logical()));
    cases.insert(3, Case::new("the hash of an id alone", "ns", Better::Lower, hashed));
    for shards in GROWN {
        cases.extend(grown(shards, &ids).await);
    }
    cases
}

/// Shards that are called 0, 1, 2 ..., each with a database of its own.
async fn shards(count: usize) -> Shards {
    let map = Map::even((0..count).map(|n| n.to_string())).expect("a map");
    let mut builder = Shards::builder(map);
    for n in 0..count {
        builder = builder.shard(&n.to_string(), database(n).await);
    }
    builder.build().expect("all have a database")
}

async fn database(n: usize) -> Db {
    Db::builder("sqlite::memory:").name(n.to_string()).connect().await.expect("a database")
}

/// The same in each ring, as it must be where several processes are to agree.
type Fixed = BuildHasherDefault<DefaultHasher>;

/// The peers.
struct Rings {
    jump: jump::Ring<Fixed>,
    ring: HashRing<(usize, usize)>,
    rendezvous: rendezvous::Ring<'static, usize, Fixed>,
}

/// Numbers that live long enough for a ring that borrows its nodes.
static NUMBERS: [usize; 64] = {
    let mut all = [0; 64];
    let mut n = 0;
    while n < all.len() {
        all[n] = n;
        n += 1;
    }
    all
};

impl Rings {
    fn new(count: usize) -> Self {
        let mut rings = Self {
            jump: jump::Ring::with_hasher(Fixed::default(), count as u32),
            ring: HashRing::new(),
            rendezvous: rendezvous::Ring::with_hasher(Fixed::default()),
        };
        for shard in &NUMBERS[..count] {
            rings.ring.batch_add((0..POINTS).map(|point| (*shard, point)).collect());
            rings.rendezvous.insert_node(shard, 1);
        }
        rings
    }

    fn jump<K: Hash>(&self, key: &K) -> usize {
        self.jump.get_node(key) as usize
    }

    fn ring<K: Hash>(&self, key: &K) -> usize {
        self.ring.get(key).expect("it is not empty").0
    }

    fn rendezvous<K: Hash>(&self, key: &K) -> usize {
        *self.rendezvous.get_node(key)
    }
}

/// A call for one key after the other.
fn each<K, T>(keys: &[K], of: impl Fn(&K) -> T) -> impl FnMut() {
    // Few enough that it is not the keys' own memory that is waited for.
    let mut few = keys[..keys.len().min(2048)].iter().cycle();
    move || {
        black_box(of(black_box(few.next().expect("there are some"))));
    }
}

fn times<K: Hash + ToKey>(what: &str, keys: &[K], ours: &Shards, rings: &Rings) -> Case {
    let name = format!("the shard of {what}, of {SHARDS}");
    let found = nanos(CALLS, each(keys, |key| ours.of(key).expect("it has a shard")));
    Case::new(name, "ns", Better::Lower, found)
        .peer("hash-rings' jump", nanos(CALLS, each(keys, |key| rings.jump(key))))
        .peer("hashring, 128 points", nanos(CALLS, each(keys, |key| rings.ring(key))))
        .peer("hash-rings' rendezvous", nanos(CALLS / 10, each(keys, |key| rings.rendezvous(key))))
}

fn spread<K: Hash + ToKey>(what: &str, keys: &[K], ours: &Shards, rings: &Rings) -> Case {
    let count = shown(keys.len() as u64);
    let name = format!("the farthest of {SHARDS} shards from an equal part of {count} {what}");
    Case::new(name, "%", Better::Lower, farthest(keys, |key| own(ours, key)))
        .peer("hash-rings' jump", farthest(keys, |key| rings.jump(key)))
        .peer("hashring, 128 points", farthest(keys, |key| rings.ring(key)))
        .peer("hash-rings' rendezvous", farthest(keys, |key| rings.rendezvous(key)))
}

/// The number of a key's shard.
fn own<K: ToKey>(shards: &Shards, key: &K) -> usize {
    let db = shards.of(key).expect("it has a shard");
    db.name().parse().expect("it is called by its number")
}

fn farthest<K>(keys: &[K], of: impl Fn(&K) -> usize) -> f64 {
    let mut counts = [0_u32; SHARDS];
    for key in keys {
        counts[of(key)] += 1;
    }
    let equal = keys.len() as f64 / SHARDS as f64;
    counts.iter().map(|n| (f64::from(*n) - equal).abs() * 100.0 / equal).fold(0.0, f64::max)
}

/// A peer, and the shard that it gives to an id.
type Peer<'a> = (&'a str, &'a dyn Fn(&Rings, &i64) -> usize);

/// What one more shard moves: of all keys, and of those between shards that were there before.
async fn grown(count: usize, ids: &[i64]) -> [Case; 2] {
    let ours = shards(count).await;
    let before: Vec<usize> = ids.iter().map(|id| own(&ours, id)).collect();
    let name = count.to_string();
    ours.add(&name, database(count).await).expect("it is new");
    ours.replace_map(ours.map().with(&name).expect("it is new")).expect("it has its database");
    let after: Vec<usize> = ids.iter().map(|id| own(&ours, id)).collect();
    let (old, new) = (Rings::new(count), Rings::new(count + 1));
    let of = |of: &dyn Fn(&Rings, &i64) -> usize, rings: &Rings| -> Vec<usize> {
        ids.iter().map(|id| of(rings, id)).collect()
    };
    let share = |pairs: &[(usize, usize)]| pairs.len() as f64 * 100.0 / ids.len() as f64;
    let moves = |before: &[usize], after: &[usize]| {
        let pairs = before.iter().copied().zip(after.iter().copied());
        let moved: Vec<_> = pairs.filter(|(before, after)| before != after).collect();
        let among: Vec<_> = moved.iter().copied().filter(|(_, after)| *after != count).collect();
        (share(&moved), share(&among))
    };
    let (moved, among) = moves(&before, &after);
    let least = 100.0 / (count + 1) as f64;
    let name = format!("keys that one more shard of {count} moves, at least {least:.2}");
    let mut all = Case::new(name, "%", Better::Lower, moved);
    let name = format!("keys that it moves between the {count} that were there");
    let mut old_ones = Case::new(name, "%", Better::Lower, among);
    let peers: [Peer<'_>; 3] = [
        ("hash-rings' jump", &|rings, id| rings.jump(id)),
        ("hashring, 128 points", &|rings, id| rings.ring(id)),
        ("hash-rings' rendezvous", &|rings, id| rings.rendezvous(id)),
    ];
    for (name, peer) in peers {
        let (moved, among) = moves(&of(peer, &old), &of(peer, &new));
        (all, old_ones) = (all.peer(name, moved), old_ones.peer(name, among));
    }
    let modulo = |count: usize| ids.iter().map(|id| *id as usize % count).collect::<Vec<_>>();
    let (moved, among) = moves(&modulo(count), &modulo(count + 1));
    [all.peer("id % N", moved), old_ones.peer("id % N", among)]
}
