//! Processes that are killed with -9 while they work on keys.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::config;
use mainstay_core::rng::Rng;
use mainstay_db::Db;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::shop::{Here, Shop, on_every_engine, until};

/// Tells a victim where the database is.
const VICTIM: &str = "MAINSTAY_TEST_VICTIM";
/// Keys that victims work on, one after the other.
const KEYS: usize = 60;
/// Duplicates of each that a victim has at once.
const DUPLICATES: usize = 8;

/// Duplicates of one key, and how many of them are asked at a time, over sockets.
const THRONG: usize = 1000;
const SOCKETS: usize = 100;
/// The service is killed this often; the work takes 300 ms.
const KILLS: usize = 5;
/// Whoever is not answered by then asks again.
const PATIENCE: Duration = Duration::from_secs(10);

on_every_engine!(
    what_was_killed_in_the_middle_runs_again,
    kills_leave_one_effect_each,
    a_throng_of_duplicates_leaves_one_effect_whatever_is_killed,
);

/// A service of its own process, with clients that ask for the same as those of other processes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is started by other tests, as a process of its own"]
async fn victim() {
    let what = config::variable(VICTIM).expect("started by another test");
    let (url, marker) = what.split_once('\n').unwrap();
    let shop = Shop::new(&Db::connect(url).await.unwrap());
    if let Ok(address) = marker.parse::<SocketAddr>() {
        let listener = TcpListener::bind(address).await.unwrap();
        axum::serve(listener, shop.app.clone()).await.unwrap();
    }
    if !marker.is_empty() {
        let seen = Arc::clone(&shop.seen);
        tokio::join!(shop.post("\"k\"", "slow"), async {
            until("it works", async || seen.calls() == 1).await;
            // Its writes are on their way.
            tokio::time::sleep(Duration::from_millis(100)).await;
            std::fs::write(marker, "").unwrap();
        });
    }
    for key in 0..KEYS {
        let clients = (0..DUPLICATES).map(|_| order(&shop, key));
        futures_util::future::join_all(clients).await;
    }
}

async fn order(shop: &Shop, key: usize) {
    let answer = shop.post_until_done(&format!("\"key {key}\""), &format!("item {key}")).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// With a marker, one that hangs in the middle of its work, and makes that file then; with an address, one
/// that serves there.
fn start(here: &Here, marker: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "idempotency::crash::victim"])
        .env(VICTIM, format!("{}\n{marker}", here.url()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().unwrap();
}

async fn what_was_killed_in_the_middle_runs_again(here: &Here) {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("in the middle");
    let mut victim = start(here, &marker.display().to_string());
    until("it is in the middle", async || marker.exists()).await;
    end(&mut victim);
    let shop = here.shop();
    shop.gate.add_permits(1);
    let answer = shop.post_until_done("\"k\"", "slow").await;
    assert_eq!((answer.status.as_u16(), &*answer.header("idempotency-replayed")), (201, ""));
    assert_eq!(here.effects().await, 1);
}

async fn kills_leave_one_effect_each(here: &Here) {
    let rng = Rng::seeded(7);
    let mut victims = [start(here, ""), start(here, "")];
    until("they work", async || here.effects().await > 0).await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(rng.u64(20..250))).await;
        let victim = &mut victims[rng.u64(0..2) as usize];
        end(victim);
        *victim = start(here, "");
    }
    let shop = here.shop();
    for key in 0..KEYS {
        order(&shop, key).await;
    }
    victims.iter_mut().for_each(end);
    let (effects, items) =
        (here.effects().await, here.count("(SELECT DISTINCT item FROM effects) d").await);
    assert_eq!((effects, items), (KEYS as i64, KEYS as i64));
    assert_eq!(here.count("mainstay_idempotency").await, KEYS as i64);
    assert_eq!(here.count("mainstay_outbox").await, KEYS as i64);
}

async fn a_throng_of_duplicates_leaves_one_effect_whatever_is_killed(here: &Here) {
    let address = free().await;
    let mut service = start(here, &address.to_string());
    let (sockets, done) = (Arc::new(Semaphore::new(SOCKETS)), Arc::new(AtomicUsize::new(0)));
    let mut throng = JoinSet::new();
    for _ in 0..THRONG {
        let (sockets, done) = (Arc::clone(&sockets), Arc::clone(&done));
        throng.spawn(async move {
            loop {
                let socket = sockets.acquire().await.unwrap();
                let answer = Clock::system().timeout(PATIENCE, over_socket(address)).await;
                let answer = answer.flatten();
                drop(socket);
                match answer {
                    Some((201, body)) => {
                        done.fetch_add(1, Ordering::SeqCst);
                        return body;
                    }
                    // Nobody is there, it was killed meanwhile, or another works on it.
                    None | Some((409 | 503, _)) => {}
                    Some(other) => panic!("a duplicate was answered {other:?}"),
                }
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
    }
    for kill in 0..KILLS {
        let there = async || TcpStream::connect(address).await.is_ok();
        until("it serves", there).await;
        // In the middle of the work at first, and of its replays in the end.
        let some = if kill < KILLS - 2 { 150 } else { 600 };
        tokio::time::sleep(Duration::from_millis(some)).await;
        end(&mut service);
        service = start(here, &address.to_string());
    }
    let mut bodies = HashSet::new();
    while let Some(body) = throng.join_next().await {
        bodies.insert(body.unwrap());
    }
    end(&mut service);
    assert_eq!(done.load(Ordering::SeqCst), THRONG);
    assert_eq!(bodies.len(), 1, "all of them got the one answer: {bodies:?}");
    let (effects, keys) = (here.effects().await, here.count("mainstay_idempotency").await);
    assert_eq!((effects, keys, here.count("mainstay_outbox").await), (1, 1, 1));
}

/// A port below those that the kernel gives to callers: while nobody listens there, none of them can be
/// given it and be connected to itself.
async fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).await.is_ok() {
            return address;
        }
    }
}

/// The status and body of one duplicate, if it was answered whole.
async fn over_socket(address: SocketAddr) -> Option<(u16, String)> {
    const REQUEST: &[u8] = b"POST /orders HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\
        x-api-key: one\r\nidempotency-key: \"throng\"\r\ncontent-length: 7\r\n\r\nlasting";
    let mut socket = TcpStream::connect(address).await.ok()?;
    socket.write_all(REQUEST).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let whole = length.and_then(|length| length.parse().ok()) == Some(body.len());
    let status = head.split(' ').nth(1)?.parse().ok()?;
    whole.then(|| (status, body.to_owned()))
}
