//! Calls: how many requests a dead backend gets for one call, and what a call costs where all is well.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Extensions, Request};
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use mainstay::clock::Clock;
use mainstay::http::service::{Breaker, Failure, Service};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Middleware, Next};
use reqwest_retry::RetryTransientMiddleware;
use reqwest_retry::policies::ExponentialBackoff;
use tower::ServiceExt;
use tower::retry::budget::{Budget, TpsBudget};
use tower::retry::{Policy, Retry};
use tower::util::BoxCloneService;

use super::backend::{Backend, Bare, Mood, bare, nobody};
use crate::report::{Better, Case, median, micros};

/// Calls to a backend that is dead, and how many at once.
const CALLS: usize = 2_000;
const SILENT_CALLS: usize = 1_000;
const AT_ONCE: usize = 100;
const ATTEMPT: Duration = Duration::from_millis(100);
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));
/// After the first attempt.
const RETRIES: u32 = 3;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, mood) in [
        ("never answers", Some(Mood::Silent)),
        ("refuses connections", None),
        ("answers 503", Some(Mood::Unavailable)),
    ] {
        cases.push(dead(name, mood).await);
    }
    cases.push(overhead().await);
    cases
}

/// Requests for each call.
async fn dead(name: &str, mood: Option<Mood>) -> Case {
    let calls = if mood == Some(Mood::Silent) { SILENT_CALLS } else { CALLS };
    let own = |breaker| async move {
        let backend = Target::new(mood).await;
        let service = ours(&backend.url(), breaker);
        let attempts = AtomicUsize::new(0);
        at_once(calls, || async {
            let error = service.get("/x").await.expect_err("it is dead");
            let failure = error.detail::<Failure>().expect("its failure");
            attempts.fetch_add(failure.attempts as usize, SeqCst);
        })
        .await;
        backend.asked(attempts.load(SeqCst)) as f64 / calls as f64
    };
    let bare_budget = own(None).await;
    let with_breaker = own(Some(Breaker::new())).await;
    let case = Case::new(
        format!("requests a call, the backend {name}"),
        "requests",
        Better::Lower,
        bare_budget,
    );
    case.peer("ours with its breaker", with_breaker)
        .peer("reqwest-retry, 3 retries", reqwest(mood, calls).await)
        .peer("tower retry, its budget", tower(mood, calls).await)
}

fn ours(url: &str, breaker: Option<Breaker>) -> Service {
    let service = Service::builder("backend", [url]).breaker(breaker);
    let service = service.attempts(1 + RETRIES).attempt_timeout(ATTEMPT);
    let service = service.concurrency(AT_ONCE * 2, AT_ONCE * 2).backoff(PAUSES.0, PAUSES.1);
    service.build().expect("a service")
}

async fn reqwest(mood: Option<Mood>, calls: usize) -> f64 {
    let backend = Target::new(mood).await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let client = retrying(Arc::clone(&attempts));
    let url = backend.url();
    at_once(calls, || async {
        let answer = client.get(&url).send().await;
        assert!(answer.map_or(true, |answer| answer.status().is_server_error()));
    })
    .await;
    backend.asked(attempts.load(SeqCst)) as f64 / calls as f64
}

/// As its documentation has it, with pauses as short as ours.
pub(super) fn retrying(attempts: Arc<AtomicUsize>) -> ClientWithMiddleware {
    let backoff = ExponentialBackoff::builder().retry_bounds(PAUSES.0, PAUSES.1);
    let retry = RetryTransientMiddleware::new_with_policy(backoff.build_with_max_retries(RETRIES));
    let client = reqwest::Client::builder().timeout(ATTEMPT).build().expect("a client");
    ClientBuilder::new(client).with(retry).with(Count(attempts)).build()
}

/// Counts attempts, inside the retries.
struct Count(Arc<AtomicUsize>);

type Answered = reqwest_middleware::Result<reqwest::Response>;

impl Middleware for Count {
    fn handle<'a, 'b, 'c, 'e>(
        &'a self,
        request: reqwest::Request,
        extensions: &'b mut Extensions,
        next: Next<'c>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Answered> + Send + 'e>>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        Self: 'e,
    {
        self.0.fetch_add(1, SeqCst);
        Box::pin(next.run(request, extensions))
    }
}

async fn tower(mood: Option<Mood>, calls: usize) -> f64 {
    let backend = Target::new(mood).await;
    let attempts = Arc::new(AtomicUsize::new(0));
    let service = budgeted(bare(), Arc::clone(&attempts));
    let url = backend.url();
    at_once(calls, || async {
        let answer = service.clone().oneshot(url.clone()).await;
        assert!(!answer.unwrap_or(false), "it is dead");
    })
    .await;
    backend.asked(attempts.load(SeqCst)) as f64 / calls as f64
}

/// Given a URL, says whether it answered well.
pub(super) type Asking = BoxCloneService<String, bool, ()>;

/// tower's retries under its own budget (20 % and 10 a second), around hyper's client.
pub(super) fn budgeted(client: Bare, attempts: Arc<AtomicUsize>) -> Asking {
    let ask = tower::service_fn(move |url: String| {
        attempts.fetch_add(1, SeqCst);
        let client = client.clone();
        async move {
            let request = Request::get(url).body(Full::new(Bytes::new())).map_err(drop)?;
            let answer = Clock::system().timeout(ATTEMPT, client.request(request)).await;
            let answer = answer.ok_or(())?.map_err(drop)?;
            let good = answer.status().is_success();
            answer.into_body().collect().await.map_err(drop)?;
            Ok(good)
        }
    });
    let policy = Budgeted { budget: Arc::new(TpsBudget::default()), left: RETRIES };
    BoxCloneService::new(Retry::new(policy, ask))
}

#[derive(Clone)]
struct Budgeted {
    budget: Arc<TpsBudget>,
    left: u32,
}

impl Policy<String, bool, ()> for Budgeted {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, _: &mut String, result: &mut Result<bool, ()>) -> Option<Self::Future> {
        if *result == Ok(true) {
            self.budget.deposit();
            return None;
        }
        if self.left == 0 || !self.budget.withdraw() {
            return None;
        }
        self.left -= 1;
        Some(std::future::ready(()))
    }

    fn clone_request(&mut self, url: &String) -> Option<String> {
        Some(url.clone())
    }
}

/// A dead backend, or a port that refuses: there the attempts are counted by who makes them.
struct Target(Option<Backend>, String);

impl Target {
    async fn new(mood: Option<Mood>) -> Self {
        match mood {
            Some(mood) => {
                let backend = Backend::start(mood).await;
                let url = backend.url();
                Self(Some(backend), url)
            }
            None => Self(None, format!("http://{}", nobody().await)),
        }
    }

    fn url(&self) -> String {
        self.1.clone()
    }

    fn asked(&self, attempts: usize) -> usize {
        self.0.as_ref().map_or(attempts, Backend::asked)
    }
}

async fn at_once<Fut: Future<Output = ()>>(calls: usize, call: impl Fn() -> Fut) {
    let calls = futures_util::stream::iter((0..calls).map(|_| call()));
    calls.buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// A call on loopback, one after the other.
async fn overhead() -> Case {
    const ROUNDS: usize = 15;
    const EACH: usize = 400;
    let backend = Backend::start(Mood::Good).await;
    let url = backend.url();
    let service = Service::builder("backend", [url.as_str()]).build().expect("a service");
    let (hyper, reqwest) = (bare(), reqwest::Client::new());
    let clock = Clock::system();
    let (mut ours, mut hypers, mut reqwests) = (vec![], vec![], vec![]);
    macro_rules! timed {
        ($into:ident, $work:expr) => {{
            let mut times = Vec::with_capacity(EACH);
            for _ in 0..EACH {
                let begun = clock.now();
                $work;
                times.push(micros(clock.now() - begun));
            }
            $into.push(median(times));
        }};
    }
    for _ in 0..ROUNDS {
        timed!(ours, assert_eq!(service.get("/x").await.expect("an answer").bytes().len(), 2));
        timed!(hypers, {
            let request = Request::get(&url).body(Full::new(Bytes::new())).expect("a request");
            let answer = hyper.request(request).await.expect("an answer");
            assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes().len(), 2);
        });
        timed!(reqwests, {
            let answer = reqwest.get(&url).send().await.expect("an answer");
            assert_eq!(answer.bytes().await.expect("a body").len(), 2);
        });
    }
    Case::new("a call on loopback, p50", "us", Better::Lower, median(ours))
        .peer("hyper-util's client, bare", median(hypers))
        .peer("reqwest", median(reqwests))
}
