//! `shop up`: five real processes on PostgreSQL and RabbitMQ, each killed with -9 in the middle of orders.
//! Nothing may be half-done when all has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::rng::Rng;
use mainstay::{Db, FromRow};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::cli::shop;
use crate::load;

const SERVICES: [&str; 5] = ["users", "orders", "inventory", "notifications", "analytics"];
const USERS: i64 = 8;
const CLIENTS: u64 = 8;
/// Whoever has little can't pay for all that they order.
const BALANCES: [i64; 2] = [10_000_000, 9_000];
const TEA: i64 = 100_000;

/// `shop up`, and which service is where, as it says itself.
struct Up {
    child: Child,
    told: Arc<Mutex<BTreeMap<String, (String, i32)>>>,
}

impl Up {
    fn start(folder: &Path, database: &str, broker: &str) -> Self {
        let mut command = shop(folder);
        command.args(["up", "--port", "0", "--database-url", database]);
        command.env("RABBITMQ_URL", broker).env("MAINSTAY_LIMITS__REQUESTS", "100000/s");
        command.env("MAINSTAY_LIMITS__ORDERS", "100000/s");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let told = Arc::new(Mutex::new(BTreeMap::new()));
        let (lines, known) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&told));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let words: Vec<&str> = line.split_whitespace().collect();
                if let [name, url, "pid", pid, _log] = words[..] {
                    let row = (url.to_owned(), pid.parse().unwrap());
                    known.lock().unwrap().insert(name.to_owned(), row);
                }
            }
        });
        Self { child, told }
    }

    /// Waits until it is said to be ready, as another process than `before`.
    async fn ready(&self, name: &str, before: i32) -> (String, i32) {
        for _ in 0..3_000 {
            let row = self.told.lock().unwrap().get(name).cloned();
            if let Some(row) = row.filter(|(_, pid)| *pid != before) {
                return row;
            }
            Clock::system().sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} is not ready after a minute");
    }

    async fn all_ready(&self) -> BTreeMap<&'static str, (String, i32)> {
        let mut all = BTreeMap::new();
        for name in SERVICES {
            all.insert(name, self.ready(name, 0).await);
        }
        all
    }

    fn pids(&self) -> Vec<i32> {
        self.told.lock().unwrap().values().map(|(_, pid)| *pid).collect()
    }
}

/// A test that fails leaves no processes.
impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// A zombie is gone: only its parent has not heard of it.
fn is_gone(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if done().await {
            return;
        }
        Clock::system().sleep(Duration::from_millis(20)).await;
    }
    panic!("after a minute: {what}");
}

async fn people(url: &str) {
    for n in 1..=USERS {
        let user = json!({"name": format!("U{n}"), "email": format!("u{n}@example.com")});
        let balance = BALANCES[(n % 2) as usize];
        let account = json!({"owner_id": n, "balance": balance}).to_string();
        let user = load::ask(url, "POST /api/users", "", &user.to_string()).await.unwrap();
        let account = load::ask(url, "POST /api/accounts", "", &account).await.unwrap();
        assert_eq!((user.0, &user.1["id"], account.0), (201, &json!(n), 201));
    }
}

/// Kills each of them once, at moments that the seed gives, and waits for each to be back. The orders taken.
async fn under_fire(up: &Up, seed: u64) -> Vec<i64> {
    let all = up.all_ready().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for client in 1..=CLIENTS {
        let (url, stop) = (all["orders"].0.clone(), Arc::clone(&stop));
        clients.push(tokio::spawn(async move { load::order(url, client, USERS, &stop).await }));
    }
    let (url, ended) = (all["users"].0.clone(), Arc::clone(&stop));
    let mover = tokio::spawn(async move { load::transfer(url, USERS, &ended).await });
    let rng = Rng::seeded(seed);
    let mut left: Vec<&str> = SERVICES.to_vec();
    while !left.is_empty() {
        let name = left.swap_remove(rng.u64(0..left.len() as u64) as usize);
        Clock::system().sleep(Duration::from_millis(rng.u64(300..1_500))).await;
        let (_, pid) = up.ready(name, 0).await;
        signal(pid, Signal::KILL);
        up.ready(name, pid).await;
    }
    stop.store(true, Ordering::Relaxed);
    mover.await.unwrap();
    let mut taken = Vec::new();
    for client in clients {
        taken.extend(client.await.unwrap());
    }
    taken
}

async fn number(db: &Db, sql: &'static str) -> i64 {
    db.query(sql).scalar().await.unwrap()
}

async fn at_rest(db: &Db) {
    const OPEN: &str = "SELECT (SELECT COUNT(*) FROM mainstay_outbox) \
        + (SELECT COUNT(*) FROM mainstay_job WHERE state = 0) + (SELECT COUNT(*) FROM orders \
        WHERE status = 'pending' OR (status = 'confirmed' AND account_id IS NOT NULL))";
    until("something is still to be done", async || number(db, OPEN).await == 0).await;
}

#[derive(Debug, FromRow)]
struct Product {
    sku: String,
    stock: i64,
    reserved: i64,
    sold: i64,
}

/// Nothing is half-done: what each service has written agrees with what the others have.
async fn nothing_is_half_done(db: &Db, taken: &[i64], money: i64, folder: &Path, analytics: &str) {
    let distinct: BTreeSet<i64> = taken.iter().copied().collect();
    assert_eq!(distinct.len(), taken.len(), "two keys have one order");
    let orders: Vec<(i64,)> = db.query("SELECT id FROM orders").all().await.unwrap();
    let orders: BTreeSet<i64> = orders.into_iter().map(|(id,)| id).collect();
    assert_eq!(orders, distinct, "each key has its order, and no order is without");
    let products: Vec<Product> = db
        .query(
            "SELECT p.sku, p.stock, \
             CAST(COALESCE(SUM(i.quantity) FILTER (WHERE o.status IN ('confirmed', 'paid')), 0) AS BIGINT) AS reserved, \
             CAST(COALESCE(SUM(i.quantity) FILTER (WHERE e.id IS NOT NULL), 0) AS BIGINT) AS sold \
             FROM products p LEFT JOIN order_items i ON i.sku = p.sku LEFT JOIN orders o ON o.id = i.order_id \
             LEFT JOIN mainstay_event e ON e.name = 'order.confirmed' AND e.key_text = CAST(o.id AS TEXT) \
             GROUP BY p.sku, p.stock",
        )
        .all()
        .await
        .unwrap();
    let (_, board) = load::ask(analytics, "GET /api/best-sellers", "", "").await.unwrap();
    let board = board["items"].as_array().unwrap();
    for Product { sku, stock, reserved, sold } in products {
        let first = [("tea", TEA), ("cup", 200), ("pot", 20)].into_iter().find(|(s, _)| *s == sku);
        assert_eq!(stock + reserved, first.unwrap().1, "{sku}");
        let shown = board.iter().find(|row| row["sku"] == sku.as_str());
        assert_eq!(shown.map_or(0, |row| row["sold"].as_i64().unwrap()), sold, "{sku}: {board:?}");
    }
    let accounts = number(db, "SELECT CAST(SUM(balance) AS BIGINT) FROM accounts").await;
    let paid = number(db, "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM payments").await;
    assert_eq!(accounts + paid, money);
    let unmatched = "SELECT COUNT(*) FROM orders o LEFT JOIN payments p ON p.order_id = o.id \
        WHERE (o.status = 'paid') <> (p.order_id IS NOT NULL) OR p.amount <> o.total \
        OR p.account_id <> o.account_id";
    assert_eq!(number(db, unmatched).await, 0);
    told_once(db, folder).await;
}

/// Each decision is one event, one mail and one more in the counts.
async fn told_once(db: &Db, folder: &Path) {
    let events: Vec<(i64, String, String)> = db
        .query(
            "SELECT id, name, key_text FROM mainstay_event \
             WHERE name IN ('order.confirmed', 'order.cancelled')",
        )
        .all()
        .await
        .unwrap();
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(folder.join("data/mail")).unwrap() {
        files.insert(entry.unwrap().file_name().into_string().unwrap());
    }
    let (mut expected, mut decided) = (BTreeSet::new(), BTreeSet::new());
    expected.extend((1..=USERS).map(|user| format!("welcome-{user}.eml")));
    for (id, name, order) in &events {
        let file = format!("event-{id}.eml");
        let text = std::fs::read_to_string(folder.join("data/mail").join(&file)).unwrap();
        let is = name.strip_prefix("order.").unwrap();
        assert!(text.contains(&format!("Your order {order} is {is}")), "{text}");
        assert!(decided.insert((name, order)), "order {order} is {is} twice");
        expected.insert(file);
    }
    // What a killed process had half written has a hidden name.
    files.retain(|name| !name.starts_with('.'));
    assert_eq!(files, expected);
    for status in ["confirmed", "cancelled"] {
        let name = format!("order.{status}");
        let told = events.iter().filter(|(_, n, _)| *n == name).count() as i64;
        let sql =
            "SELECT CAST(COALESCE(SUM(orders), 0) AS BIGINT) FROM order_counts WHERE status = $1";
        let counted: i64 = db.query(sql).bind(status).scalar().await.unwrap();
        assert_eq!(counted, told, "{status}");
        assert!(told > 0, "no order was {status}");
    }
    let orders = number(db, "SELECT COUNT(*) FROM orders WHERE status = 'cancelled'").await;
    let cancelled = events.iter().filter(|(_, name, _)| name == "order.cancelled").count();
    assert_eq!(cancelled as i64, orders);
}

mod rabbitmq {
    use mainstay_testkit::{Broker, Engine, Fresh};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn orders_survive_the_kill_of_any_service() {
        let (fresh, broker) = tokio::join!(Fresh::new(Engine::Postgres), Broker::rabbitmq());
        let dir = tempfile::tempdir().unwrap();
        let up = Up::start(dir.path(), fresh.url(), &broker.url());
        let all = up.all_ready().await;
        people(&all["users"].0).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        let raised = db.query("UPDATE products SET stock = $1 WHERE sku = 'tea'").bind(TEA);
        raised.execute().await.unwrap();
        let money = number(&db, "SELECT CAST(SUM(balance) AS BIGINT) FROM accounts").await;
        let taken = Box::pin(under_fire(&up, 17)).await;
        at_rest(&db).await;
        let analytics = &all["analytics"].0;
        Box::pin(nothing_is_half_done(&db, &taken, money, dir.path(), analytics)).await;

        // Killed itself, it leaves nobody behind.
        let pids = up.pids();
        drop(up);
        until("its processes run", async || pids.iter().all(|pid| is_gone(*pid))).await;
        // And it goes on where it was.
        let mut up = Up::start(dir.path(), fresh.url(), &broker.url());
        let orders = up.all_ready().await["orders"].0.clone();
        let (status, last) = load::ask(&orders, "GET /api/orders?limit=1", "", "").await.unwrap();
        assert_eq!((status, &last["items"][0]["id"]), (200, &json!(taken.iter().min().unwrap())));
        let pids = up.pids();
        signal(up.child.id().cast_signed(), Signal::TERM);
        assert!(up.child.wait().unwrap().success());
        assert!(pids.iter().all(|pid| is_gone(*pid)), "all have ended before it");
    }
}
