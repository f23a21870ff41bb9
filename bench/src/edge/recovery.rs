//! How soon callers notice that a dead backend is back: under a steady load, until the first success, and
//! until 99 of 100 calls succeed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay::clock::Clock;
use mainstay::http::service::{Breaker, Service};
use tower::ServiceExt;

use super::backend::{Backend, Mood, bare};
use super::calls::{budgeted, retrying};
use crate::report::{Better, Case, median};

const CALLERS: usize = 20;
/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(10);
const DEAD: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(8);
const ROUNDS: usize = 3;
/// Calls in a row of which 99 % succeed.
const WINDOW: usize = 200;

pub(crate) async fn run() -> Vec<Case> {
    let default = ours(Breaker::new()).await;
    let short = ours(Breaker::new().open_for(Duration::from_millis(500))).await;
    let reqwest = watch(|url| {
        let client = retrying(Arc::new(AtomicUsize::new(0)));
        move || {
            let (client, url) = (client.clone(), url.clone());
            async move { client.get(&url).send().await.is_ok_and(|a| a.status().is_success()) }
        }
    })
    .await;
    let tower = watch(|url| {
        let service = Mutex::new(budgeted(bare(), Arc::new(AtomicUsize::new(0))));
        move || {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let url = url.clone();
            async move { service.oneshot(url).await.unwrap_or(false) }
        }
    })
    .await;
    let case = |name: &str, of: fn(&Recovered) -> f64| {
        Case::new(format!("back after 3 s of 503: {name}"), "ms", Better::Lower, of(&short))
            .peer("ours, breaker open for 5 s (the default)", of(&default))
            .peer("reqwest-retry (no breaker)", of(&reqwest))
            .peer("tower retry (no breaker)", of(&tower))
    };
    vec![
        case("the first success, breaker open for 0.5 s", |r| r.first),
        case("99 % succeed, breaker open for 0.5 s", |r| r.all),
        Case::new(
            "requests a call while it is dead, 2,000 a second",
            "requests",
            Better::Lower,
            short.load,
        )
        .peer("ours, breaker open for 5 s (the default)", default.load)
        .peer("reqwest-retry (no breaker)", reqwest.load)
        .peer("tower retry (no breaker)", tower.load),
    ]
}

async fn ours(breaker: Breaker) -> Recovered {
    watch(|url| {
        let service = Service::builder("backend", [url]).breaker(breaker);
        let service = service.attempt_timeout(Duration::from_millis(100)).build();
        let service = service.expect("a service");
        move || {
            let service = service.clone();
            async move { service.get("/x").await.is_ok() }
        }
    })
    .await
}

/// Milliseconds from the backend's return; and requests a call before that.
struct Recovered {
    first: f64,
    all: f64,
    load: f64,
}

async fn watch<C, Fut>(client: impl Fn(String) -> C) -> Recovered
where
    C: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = bool> + Send + 'static,
{
    let (mut firsts, mut alls, mut loads) = (vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let backend = Backend::start(Mood::Unavailable).await;
        let (back, ended) = round(&backend, client(backend.url()), &mut loads).await;
        let ms = |at: Instant| at.saturating_duration_since(back).as_secs_f64() * 1e3;
        let after: Vec<_> = ended.into_iter().filter(|(begun, ..)| *begun >= back).collect();
        firsts.push(after.iter().find(|(.., good)| *good).map_or(f64::NAN, |(_, at, _)| ms(*at)));
        let good = |window: &[(Instant, Instant, bool)]| {
            window.iter().filter(|(.., good)| *good).count() * 100 >= WINDOW * 99
        };
        let all = after.windows(WINDOW).find(|window| good(window));
        alls.push(all.map_or(f64::NAN, |window| ms(window[0].1)));
    }
    Recovered { first: median(firsts), all: median(alls), load: median(loads) }
}

type Ended = Vec<(Instant, Instant, bool)>;

/// When it came back, and how each call ended, in the order of their ends.
async fn round<C, Fut>(backend: &Backend, call: C, loads: &mut Vec<f64>) -> (Instant, Ended)
where
    C: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = bool> + Send + 'static,
{
    let clock = Clock::system();
    let (call, stop) = (Arc::new(call), Arc::new(AtomicBool::new(false)));
    let ended = Arc::new(Mutex::new(Vec::new()));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (call, stop) = (Arc::clone(&call), Arc::clone(&stop));
            let (ended, clock) = (Arc::clone(&ended), clock.clone());
            tokio::spawn(async move {
                while !stop.load(SeqCst) {
                    let begun = clock.now();
                    let good = call().await;
                    let end = (begun, clock.now(), good);
                    ended.lock().unwrap_or_else(PoisonError::into_inner).push(end);
                    clock.sleep(PAUSE).await;
                }
            })
        })
        .collect();
    clock.sleep(DEAD).await;
    let calls = ended.lock().unwrap_or_else(PoisonError::into_inner).len();
    loads.push(backend.asked() as f64 / calls as f64);
    let back = clock.now();
    backend.becomes(Mood::Good);
    clock.sleep(WATCHED).await;
    stop.store(true, SeqCst);
    for caller in callers {
        caller.await.expect("a caller");
    }
    let ended = std::mem::take(&mut *ended.lock().unwrap_or_else(PoisonError::into_inner));
    (back, ended)
}
