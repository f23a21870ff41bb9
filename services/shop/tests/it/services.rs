//! The orders service alone: what it asks of the others, and what becomes of orders while they are away. In
//! one process here, over real sockets; `five.rs` has the real processes.

use std::net::TcpListener;

use mainstay_testkit::{Engine, Fresh};
use serde_json::json;
use shop::config::Config;
use shop::part::Part;

use crate::cli::{fails, shop as binary};
use crate::client::Shop;

fn orders(users: &str, inventory: &str) -> Config {
    let mut config = Config::default();
    config.services.run = Part::Orders;
    config.services.users = Some(users.to_owned());
    config.services.inventory = Some(inventory.to_owned());
    config
}

/// A shop with a user, an account, and another user.
async fn whole() -> Shop {
    let shop = Shop::start(Fresh::new(Engine::Sqlite).await).await;
    for name in ["a", "b"] {
        let user = json!({"name": name, "email": format!("{name}@example.com")});
        assert_eq!(shop.post("/api/users", &user.to_string()).await.0, 201);
    }
    assert_eq!(shop.post("/api/accounts", r#"{"owner_id":1,"balance":9000}"#).await.0, 201);
    shop
}

fn order(user: i64, account: Option<i64>, sku: &str) -> String {
    let items = json!([{"sku": sku, "quantity": 2}, {"sku": "tea", "quantity": 1}]);
    json!({"user_id": user, "account_id": account, "items": items}).to_string()
}

async fn taken(shop: &Shop) -> i64 {
    shop.db.query("SELECT COUNT(*) FROM orders").scalar().await.unwrap()
}

/// Of a port at which nobody listens any more.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_answer_keeps_its_meaning() {
    let whole = whole().await;
    let alone = whole.beside(orders(&whole.url(), &format!("{}/", whole.url()))).await;
    let (status, placed) = alone.post("/api/orders", &order(1, Some(1), "cup")).await;
    assert_eq!((status, &placed["total"]), (201, &json!(2 * 1250 + 790)));
    assert_eq!(alone.post("/api/orders", &order(2, None, "cup")).await.0, 201);
    for (body, status, detail) in [
        (order(9, None, "cup"), 404, "there is no user 9"),
        (order(9, Some(1), "cup"), 404, "there is no user 9"),
        (order(1, Some(7), "cup"), 404, "there is no account 7"),
        (order(2, Some(1), "cup"), 422, "account 1 is not user 2's"),
        (order(1, None, "mug"), 422, "there is no product mug"),
        (order(9, None, "mug"), 404, "there is no user 9"),
    ] {
        let (got, problem) = alone.post("/api/orders", &body).await;
        assert_eq!((got, &problem["detail"]), (status, &json!(detail)), "{body}");
        let (got, problem) = whole.post("/api/orders", &body).await;
        assert_eq!((got, &problem["detail"]), (status, &json!(detail)), "{body}");
    }
    assert_eq!(taken(&whole).await, 2);
    for elsewhere in ["/api/users/1", "/api/products", "/api/best-sellers", "/api/accounts/1"] {
        assert_eq!(alone.get(elsewhere).await.0, 404, "{elsewhere}");
    }
    assert_eq!(alone.get("/readyz").await.0, 200);
    assert_eq!(alone.get("/api/orders/1").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prices_are_asked_a_hundred_at_a_time() {
    let whole = whole().await;
    let skus = |n: usize| json!({"skus": (0..n).map(|n| n.to_string()).collect::<Vec<_>>()});
    assert_eq!(
        whole.post("/api/prices", &skus(100).to_string()).await,
        (200, json!({"prices": {}}))
    );
    assert_eq!(whole.post("/api/prices", &skus(101).to_string()).await.0, 422);
    let some = json!({"skus": ["tea", "mug", "pot"]}).to_string();
    let (_, answer) = whole.post("/api/prices", &some).await;
    assert_eq!(answer, json!({"prices": {"tea": 790, "pot": 6900}}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_one_is_away_nothing_is_half_done() {
    let whole = whole().await;
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = format!("http://{}", silent.local_addr().unwrap());
    for (users, inventory, status) in [
        (nobody(), whole.url(), 503),
        (whole.url(), nobody(), 503),
        (hangs.clone(), whole.url(), 504),
        (whole.url(), hangs, 504),
    ] {
        let alone = whole.beside(orders(&users, &inventory)).await;
        let (got, problem) = alone.post("/api/orders", &order(1, Some(1), "cup")).await;
        assert_eq!(got, status, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("does not answer; nothing was done"), "{problem}");
        assert_eq!(alone.get("/api/orders").await.0, 200, "what needs nobody is answered");
    }
    let events: i64 = whole.db.query("SELECT COUNT(*) FROM mainstay_event").scalar().await.unwrap();
    assert_eq!((taken(&whole).await, events), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_answered_is_answered_again_while_the_others_are_away() {
    let whole = whole().await;
    let key = "POST /api/orders HTTP/1.1\r\nidempotency-key: \"k-1\"\r\nx-padding:";
    let body = order(1, None, "cup");
    let away = whole.beside(orders(&nobody(), &nobody())).await;
    assert_eq!(away.call(key, None, &body).await.0, 503, "nothing is kept of it");
    let there = whole.beside(orders(&whole.url(), &whole.url())).await;
    let (status, _, first) = there.call(key, None, &body).await;
    assert_eq!(status, 201);
    let (status, head, again) = away.call(key, None, &body).await;
    assert_eq!((status, again), (201, first));
    assert!(head.contains("idempotency-replayed: true"), "{head}");
    assert_eq!(away.call(key, None, &order(2, None, "cup")).await.2["code"], "HTTP-023");
    assert_eq!(taken(&whole).await, 1);
}

#[test]
fn mistakes_about_services_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let text = fails(binary(dir.path()).args(["--service", "user"]));
    assert!(text.contains("error[CFG-003]") && text.contains("--service"), "{text}");
    assert!(text.contains("notifications"), "the names are told: {text}");
    let text = fails(binary(dir.path()).args(["--service", "orders"]));
    assert!(text.contains("error[CFG-003]: `services.users` is not set"), "{text}");
    assert!(text.contains("MAINSTAY_SERVICES__USERS"), "{text}");
    let alone = |users: &str| {
        let mut command = binary(dir.path());
        command.args(["--service", "orders", "--port", "0"]).env("MAINSTAY_SERVICES__USERS", users);
        fails(&mut command)
    };
    let text = alone("127.0.0.1:8081");
    assert!(text.contains("error[CFG-003]: `services.users` is no service's URL"), "{text}");
    let text = alone("http://127.0.0.1:8081");
    assert!(text.contains("error[CFG-003]: `services.inventory` is not set"), "{text}");
    assert!(!dir.path().join("data").exists(), "it is told before anything is made");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for call in [vec!["--service", "users"], vec!["up"]] {
        let text = fails(binary(dir.path()).args(call).args(["--port", &port.to_string()]));
        let told = format!("error[APP-002]: can't listen on 127.0.0.1:{port}");
        assert!(text.contains(&told) && text.contains("fix: "), "{text}");
    }
    assert!(!dir.path().join("data").exists());
}
