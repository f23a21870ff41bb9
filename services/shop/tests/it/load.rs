//! Clients of the five processes: each asks again, with the same key, until it is answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::rng::Rng;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// For one answer; then it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(30);

/// An answer, if there was a whole one.
pub(crate) async fn ask(url: &str, what: &str, head: &str, body: &str) -> Option<(u16, Value)> {
    let asked = async {
        let mut stream = TcpStream::connect(url.strip_prefix("http://")?).await.ok()?;
        let length = body.len();
        let request = format!(
            "{what} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?))
    };
    Clock::system().timeout(PATIENCE, asked).await?
}

/// Asks until it is done, whoever dies meanwhile; the answer, and how often it was asked.
async fn insist(url: &str, what: &str, key: &str, body: &str) -> (u16, Value) {
    let head = format!("idempotency-key: \"{key}\"\r\n");
    for _ in 0..3_000 {
        match ask(url, what, &head, body).await {
            Some((409, problem)) if problem["code"] == "HTTP-022" => {}
            None | Some((500..=599, _)) => {}
            Some(answer) => return answer,
        }
        Clock::system().sleep(PAUSE).await;
    }
    panic!("{what} {key} was not answered");
}

/// Orders, one after the other, until it is told to stop: the numbers of those that were taken, one a key.
pub(crate) async fn order(url: String, client: u64, users: i64, stop: &AtomicBool) -> Vec<i64> {
    let rng = Rng::seeded(client);
    let mut taken = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let user = 1 + rng.u64(0..users.cast_unsigned()).cast_signed();
        let account = (rng.u64(0..2) == 0).then_some(user);
        let sku = ["tea", "cup"][rng.u64(0..2) as usize];
        let items = json!([{"sku": sku, "quantity": 1 + rng.u64(0..3)}]);
        let body = json!({"user_id": user, "account_id": account, "items": items}).to_string();
        let key = format!("order-{client}-{}", taken.len());
        let (status, order) = insist(&url, "POST /api/orders", &key, &body).await;
        assert_eq!(status, 201, "{order}");
        taken.push(order["id"].as_i64().unwrap());
    }
    taken
}

/// Moves money about meanwhile, and nothing is lost of it.
pub(crate) async fn transfer(url: String, users: i64, stop: &AtomicBool) {
    let rng = Rng::seeded(0);
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let from = 1 + rng.u64(0..users.cast_unsigned()).cast_signed();
        let body = json!({"from": from, "to": 1 + from % users, "amount": 1 + n % 300});
        let key = format!("transfer-{n}");
        let (status, answer) = insist(&url, "POST /api/transfers", &key, &body.to_string()).await;
        assert!([201, 409].contains(&status), "{answer}");
        n += 1;
        Clock::system().sleep(PAUSE).await;
    }
}
