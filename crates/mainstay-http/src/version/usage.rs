//! Who uses which version of which route, and since when. What was counted lives in this process: a
//! report can be kept elsewhere and given back, or given to another.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use mainstay_core::clock::Clock;
use serde::{Deserialize, Serialize};

use super::Version;
use super::when::Moment;

/// Those who could not be counted one by one.
pub(super) const OTHERS: &str = "(others)";
const SHARDS: usize = 16;
/// Longer names are cut.
const NAME_MAX: usize = 64;
/// Routes are the program's own; a report that is given back may say anything.
const ROUTES_MAX: usize = 10_000;

/// Counts requests by version, route and client. Made by [`Versions`](super::Versions).
#[derive(Debug)]
pub struct Usage {
    shards: [Mutex<Versions>; SHARDS],
    hasher: RandomState,
    clients: AtomicUsize,
    clients_max: usize,
    routes: AtomicUsize,
    clock: Clock,
    since: Moment,
}

type Versions = HashMap<Version, HashMap<Box<str>, HashMap<Box<str>, Count>>>;

#[derive(Clone, Copy, Debug)]
struct Count {
    requests: u64,
    refused: u64,
    first: Moment,
    last: Moment,
}

/// Who used what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// The version.
    pub version: Version,
    /// `METHOD /route` as the router has it, or `METHOD unknown`.
    pub route: String,
    /// The client, or `(others)`.
    pub client: String,
    /// How many requests, those refused included.
    pub requests: u64,
    /// How many of them were refused because the version has ended or was switched off.
    pub refused: u64,
    /// The first, in seconds since the Unix epoch.
    pub first_s: i64,
    /// The last, likewise.
    pub last_s: i64,
}

/// What was counted, as JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReport {
    /// Since when, in seconds since the Unix epoch.
    pub since_s: i64,
    /// By version, then by the number of requests, the most first.
    pub used: Vec<Used>,
}

impl Usage {
    pub(super) fn new(clients_max: usize, clock: Clock) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            clients: AtomicUsize::new(0),
            clients_max,
            routes: AtomicUsize::new(0),
            since: Moment::now(&clock),
            clock,
        }
    }

    pub(super) fn count(&self, version: Version, route: &str, client: &str, refused: bool) {
        let now = Moment::now(&self.clock);
        let count = Count { requests: 1, refused: u64::from(refused), first: now, last: now };
        self.add(version, route, client, count);
    }

    fn add(&self, version: Version, route: &str, client: &str, count: Count) {
        let client = cut(client);
        if !self.add_to(version, route, client, count, false) {
            self.add_to(version, route, OTHERS, count, true);
        }
    }

    /// Says whether there was room.
    fn add_to(
        &self,
        version: Version,
        route: &str,
        client: &str,
        count: Count,
        always: bool,
    ) -> bool {
        // By client, so that the busy ones do not wait for each other.
        let shard = &self.shards[self.hasher.hash_one(client) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let routes = shard.entry(version).or_default();
        if !routes.contains_key(route) {
            if self.routes.fetch_add(1, Ordering::Relaxed) >= ROUTES_MAX * SHARDS {
                return false;
            }
            routes.insert(route.into(), HashMap::new());
        }
        let Some(clients) = routes.get_mut(route) else { return false };
        if let Some(known) = clients.get_mut(client) {
            known.merge(count);
            return true;
        }
        if !always {
            let room = |clients: usize| (clients < self.clients_max).then(|| clients + 1);
            let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
            if self.clients.fetch_update(set, get, room).is_err() {
                return false;
            }
        }
        clients.insert(client.into(), count);
        true
    }

    /// What was counted so far.
    pub fn report(&self) -> UsageReport {
        let mut used = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (version, routes) in &*shard {
                for (route, clients) in routes {
                    used.extend(clients.iter().map(|(client, count)| Used {
                        version: *version,
                        route: route.to_string(),
                        client: client.to_string(),
                        requests: count.requests,
                        refused: count.refused,
                        first_s: count.first.0,
                        last_s: count.last.0,
                    }));
                }
            }
        }
        sort(&mut used);
        UsageReport { since_s: self.since.0, used }
    }

    /// Adds what was counted before this process began, or in another one, within the same bounds.
    pub fn absorb(&self, report: &UsageReport) {
        for used in &report.used {
            let count = Count {
                requests: used.requests,
                refused: used.refused,
                first: Moment(used.first_s),
                last: Moment(used.last_s),
            };
            self.add(used.version, &used.route, &used.client, count);
        }
    }

    /// How many are counted by name.
    pub fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }
}

impl Count {
    fn merge(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.refused = self.refused.saturating_add(other.refused);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl UsageReport {
    /// Adds what another process counted, as of another replica. It is as large as both together.
    pub fn absorb(&mut self, other: &Self) {
        self.since_s = self.since_s.min(other.since_s);
        let key = |used: &Used| (used.version, used.route.clone(), used.client.clone());
        let mut places: HashMap<_, usize> =
            self.used.iter().enumerate().map(|(place, used)| (key(used), place)).collect();
        for used in &other.used {
            let place = *places.entry(key(used)).or_insert(self.used.len());
            match self.used.get_mut(place) {
                Some(known) => known.merge(used),
                None => self.used.push(used.clone()),
            }
        }
        sort(&mut self.used);
    }
}

fn sort(used: &mut [Used]) {
    used.sort_by(|a, b| {
        let order = |u: &Used| (u.version, std::cmp::Reverse(u.requests));
        order(a).cmp(&order(b)).then_with(|| (&a.route, &a.client).cmp(&(&b.route, &b.client)))
    });
}

impl Used {
    fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.refused = self.refused.saturating_add(other.refused);
        self.first_s = self.first_s.min(other.first_s);
        self.last_s = self.last_s.max(other.last_s);
    }

    /// The first request.
    pub fn first(&self) -> SystemTime {
        Moment(self.first_s).system()
    }

    /// The last request.
    pub fn last(&self) -> SystemTime {
        Moment(self.last_s).system()
    }
}

fn cut(name: &str) -> &str {
    let end = name.len().min(NAME_MAX);
    &name[..name.floor_char_boundary(end)]
}
