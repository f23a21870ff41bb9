//! Idempotency keys on PostgreSQL: what the first request and a replay cost, and ten thousand duplicates of one
//! key against a service that is killed again and again.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt, Full};
use mainstay::Db;
use mainstay::clock::Clock;
use mainstay::http::{Answer, IdempotencyLayer, Idempotent, Key, ScopeLayer, idempotency};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::backend::{Bare, bare};
use crate::report::{Better, Case, median, micros};
use crate::servers::{Engine, fresh};

const DUPLICATES: usize = 10_000;
/// Sockets of theirs at a time.
const SOCKETS: usize = 500;
const KILLS: usize = 8;
/// How long the work takes whose effect is counted: most kills are to find it in the middle.
const WORK_S: &str = "SELECT pg_sleep(0.4)";
/// Whoever is not answered by then asks again.
const PATIENCE: Duration = Duration::from_secs(10);
const EACH: usize = 200;
const ROUNDS: usize = 7;

pub(crate) async fn run() -> Vec<Case> {
    let mut cases = vec![latency().await];
    cases.extend(duplicates().await);
    cases
}

fn app(db: &Db, work: Option<&'static str>) -> Router {
    let layer = IdempotencyLayer::by(Key::global()).expect("a layer").required();
    let order = move |State(db): State<Db>, once: Idempotent| async move {
        let answer: Answer<Response> = once.run(&db, move |tx| effect(tx, work)).await;
        answer
    };
    let plain = async |State(db): State<Db>| {
        let done = db.transaction(|tx| effect(tx, None)).await;
        done.expect("a transaction").into_response()
    };
    Router::new()
        .route("/orders", post(order).layer(layer))
        .route("/plain", post(plain))
        .layer(ScopeLayer::new())
        .with_state(db.clone())
}

async fn effect(tx: Db, work: Option<&'static str>) -> mainstay::Result<(StatusCode, String)> {
    let sql = "INSERT INTO effects (item) VALUES ($1) RETURNING id";
    let id: i64 = tx.query(sql).bind("an order").scalar().await?;
    if let Some(work) = work {
        tx.query(work).execute().await?;
    }
    Ok((StatusCode::CREATED, format!("order {id}")))
}

async fn install(db: &Db) {
    idempotency::install(db).await.expect("the table of keys");
    let sql = "CREATE TABLE effects (id BIGINT GENERATED ALWAYS AS IDENTITY, item TEXT NOT NULL)";
    db.query(sql).execute().await.expect("the table of effects");
}

/// Sends one; the status, or `None` where there is no answer.
async fn send(client: &Bare, url: &str, key: &str) -> Option<StatusCode> {
    let request = Request::post(url).header("idempotency-key", format!("\"{key}\""));
    let request = request.body(Full::new(Bytes::from_static(b"{}"))).expect("a request");
    let answer = Clock::system().timeout(PATIENCE, client.request(request)).await?.ok()?;
    let status = answer.status();
    answer.into_body().collect().await.ok()?;
    Some(status)
}

async fn latency() -> Case {
    let fresh = fresh(Engine::Postgres).await;
    let db = Db::connect(&fresh.url).await.expect("a database");
    install(&db).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    let app = app(&db, None);
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let (orders, plain) = (format!("{base}/orders"), format!("{base}/plain"));
    let (client, clock) = (bare(), Clock::system());
    let [mut firsts, mut replays, mut plains] = [const { Vec::new() }; 3];
    for round in 0..ROUNDS {
        for (url, into, differ) in [
            (&plain, &mut plains, false),
            (&orders, &mut firsts, true),
            (&orders, &mut replays, false),
        ] {
            let mut times = Vec::with_capacity(EACH);
            for n in 0..EACH {
                let key = if differ { format!("{round} {n}") } else { format!("{round} 0") };
                let begun = clock.now();
                assert_eq!(send(&client, url, &key).await, Some(StatusCode::CREATED));
                times.push(micros(clock.now() - begun));
            }
            into.push(median(times));
        }
    }
    server.abort();
    let _ = db.close(Duration::from_secs(5)).await;
    Case::new("an idempotent POST, PostgreSQL, the first, p50", "us", Better::Lower, median(firsts))
        .peer("its replay", median(replays))
        .peer("the handler without a key", median(plains))
}

async fn duplicates() -> Vec<Case> {
    let fresh = fresh(Engine::Postgres).await;
    let db = Db::connect(&fresh.url).await.expect("a database");
    install(&db).await;
    let address = free().await;
    let mut service = start(&fresh.url, address);
    let url: Arc<str> = format!("http://{address}/orders").into();
    let client = bare();
    let sockets = Arc::new(tokio::sync::Semaphore::new(SOCKETS));
    let (sent, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..DUPLICATES {
        let (client, url, sockets) = (client.clone(), Arc::clone(&url), Arc::clone(&sockets));
        let (sent, done) = (Arc::clone(&sent), Arc::clone(&done));
        tasks.spawn(async move {
            loop {
                let socket = sockets.acquire().await.expect("it is never closed");
                sent.fetch_add(1, SeqCst);
                let status = send(&client, &url, "one").await;
                drop(socket);
                match status {
                    Some(StatusCode::CREATED) => break,
                    // It is under way, the database could not be asked, or nobody was there.
                    Some(StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE) | None => {}
                    Some(other) => panic!("a duplicate was answered {other}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            done.fetch_add(1, SeqCst);
        });
    }
    let mut in_the_middle = 0;
    for kill in 0..KILLS {
        // The first half find the work in the middle; the others the answers to those who waited.
        while send(&client, &url, "one").await.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let some = if kill < KILLS / 2 { 150 } else { 900 };
        tokio::time::sleep(Duration::from_millis(some)).await;
        in_the_middle += usize::from(done.load(SeqCst) == 0);
        service.kill().await.expect("it is killed");
        service = start(&fresh.url, address);
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("every duplicate is answered");
    }
    service.kill().await.expect("it is killed");
    let effects: i64 = db.query("SELECT COUNT(*) FROM effects").scalar().await.expect("a count");
    let _ = db.close(Duration::from_secs(5)).await;
    assert_eq!(done.load(SeqCst), DUPLICATES);
    let name = |what: &str| format!("10,000 duplicates of one key, {KILLS} kills -9: {what}");
    vec![
        Case::new(name("effects"), "effects", Better::Lower, effects as f64),
        Case::new(
            name("requests that it took"),
            "requests",
            Better::Lower,
            sent.load(SeqCst) as f64,
        ),
        Case::new(
            name("kills before the first answer"),
            "kills",
            Better::Higher,
            in_the_middle as f64,
        ),
    ]
}

/// A port below those that the kernel gives to callers: while nobody listens there, none of them can be
/// given it and be connected to itself.
async fn free() -> SocketAddr {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    for port in first.. {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).await.is_ok() {
            return address;
        }
    }
    unreachable!("some port is free")
}

fn start(url: &str, address: SocketAddr) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["edge-victim", url, &address.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a service")
}

/// `bench edge-victim URL ADDRESS`: the service that is killed.
pub(crate) async fn serve(url: &str, address: &str) {
    let db = Db::connect(url).await.expect("a database");
    let listener = TcpListener::bind(address).await.expect("its port is free again");
    let _ = axum::serve(listener, app(&db, Some(WORK_S))).await;
}
