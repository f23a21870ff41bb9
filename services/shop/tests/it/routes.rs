//! The routes, on every engine.

use futures_util::future::join_all;
use mainstay_testkit::{Engine, Fresh};
use serde_json::json;

use crate::client::Shop;

macro_rules! on_every_engine {
    ($($name:ident),* $(,)?) => {
        on_every_engine!(@engine sqlite Sqlite $($name)*);
        on_every_engine!(@engine postgres Postgres $($name)*);
        on_every_engine!(@engine mariadb MariaDb $($name)*);
    };
    (@engine $module:ident $engine:ident $($name:ident)*) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(Shop::start(Fresh::new(Engine::$engine).await).await).await;
                }
            )*
        }
    };
}

on_every_engine!(
    users_are_made_listed_and_found,
    transfers_move_money_and_never_lose_it,
    orders_take_stock_or_nothing,
    bad_input_is_refused_clearly,
    the_probes_answer,
    a_seeded_shop_goes_on_counting,
);

async fn users_are_made_listed_and_found(shop: Shop) {
    for n in 1..=5 {
        let (status, user) =
            shop.post("/users", &format!(r#"{{"name":"U{n}","email":"u{n}@example.com"}}"#)).await;
        assert_eq!((status, &user["id"]), (201, &json!(n)));
    }
    let (status, problem) = shop.post("/users", r#"{"name":"X","email":"u1@example.com"}"#).await;
    assert_eq!((status, &problem["title"]), (409, &json!("Already exists")));
    let (_, first) = shop.get("/users?limit=2").await;
    assert_eq!((first["items"].as_array().unwrap().len(), &first["next"]), (2, &json!(2)));
    let (_, second) = shop.get("/users?limit=3&after=2").await;
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (3, &json!(null)));
    assert_eq!(shop.get("/users/4").await.1["email"], "u4@example.com");
    assert_eq!(shop.get("/users/99").await.0, 404);
}

async fn accounts(shop: &Shop, balances: &[i64]) {
    shop.post("/users", r#"{"name":"A","email":"a@example.com"}"#).await;
    for balance in balances {
        let (status, _) =
            shop.post("/accounts", &format!(r#"{{"owner_id":1,"balance":{balance}}}"#)).await;
        assert_eq!(status, 201);
    }
}

async fn balance(shop: &Shop, id: i64) -> i64 {
    shop.get(&format!("/accounts/{id}")).await.1["balance"].as_i64().unwrap()
}

async fn transfers_move_money_and_never_lose_it(shop: Shop) {
    accounts(&shop, &[1000, 0, 1_000_000_000_000_000]).await;
    let transfer = |from: i64, to: i64, amount: i64| {
        let body = json!({"from": from, "to": to, "amount": amount}).to_string();
        let shop = &shop;
        async move { shop.post("/transfers", &body).await }
    };
    assert_eq!(transfer(1, 2, 400).await.0, 201);
    let (status, problem) = transfer(1, 2, 601).await;
    assert_eq!((status, &problem["title"]), (409, &json!("Insufficient funds")));
    assert_eq!(transfer(1, 9, 1).await.0, 404);
    assert_eq!(transfer(9, 1, 1).await.0, 404);
    assert_eq!(transfer(1, 3, 1).await.1["title"], "Account full");
    for amount in [0, -5, i64::MAX] {
        assert_eq!(transfer(1, 2, amount).await.0, 422, "amount {amount}");
    }
    assert_eq!(transfer(1, 1, 5).await.0, 422);
    assert_eq!((balance(&shop, 1).await, balance(&shop, 2).await), (600, 400));
    // Forty at once, both ways, more than there is.
    let all = (0..40).map(|n| if n % 2 == 0 { transfer(1, 2, 70) } else { transfer(2, 1, 50) });
    let answers = join_all(all.collect::<Vec<_>>()).await;
    assert!(answers.iter().all(|(status, _)| [201, 409].contains(status)), "{answers:?}");
    assert_eq!(balance(&shop, 1).await + balance(&shop, 2).await, 1000);
}

/// Asks until the order is decided.
async fn decided(shop: &Shop, id: i64) -> serde_json::Value {
    for _ in 0..3_000 {
        let (_, order) = shop.get(&format!("/orders/{id}")).await;
        if order["status"] != "pending" {
            return order;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("order {id} is pending after a minute");
}

async fn orders_take_stock_or_nothing(shop: Shop) {
    shop.post("/users", r#"{"name":"A","email":"a@example.com"}"#).await;
    let stock = |sku: &'static str| {
        let shop = &shop;
        async move {
            let (_, page) = shop.get("/products").await;
            let products = page["items"].as_array().unwrap().clone();
            products.iter().find(|p| p["sku"] == sku).unwrap()["stock"].as_i64().unwrap()
        }
    };
    let body = r#"{"user_id":1,"items":[{"sku":"pot","quantity":2},{"sku":"tea","quantity":1},{"sku":"pot","quantity":1}]}"#;
    let (status, order) = shop.post("/orders", body).await;
    assert_eq!((status, &order["total"]), (201, &json!(3 * 6900 + 790)));
    assert_eq!(shop.get("/orders/1").await.1, order, "without a worker nothing happens");
    assert_eq!((order["status"].as_str(), stock("pot").await), (Some("pending"), 20));
    let mails = tempfile::tempdir().unwrap();
    let worker = shop.worker(mails.path()).await;
    assert_eq!(decided(&shop, 1).await["status"], "confirmed");
    assert_eq!((stock("pot").await, stock("tea").await), (17, 499));
    let short = r#"{"user_id":1,"items":[{"sku":"cup","quantity":5},{"sku":"pot","quantity":18}]}"#;
    let (_, taken) = shop.post("/orders", short).await;
    let cancelled = decided(&shop, taken["id"].as_i64().unwrap()).await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(cancelled["reason"], "there is not enough of pot");
    assert_eq!(stock("cup").await, 200, "what was reserved before is given back");
    let one = |user: i64, sku: &str| {
        json!({"user_id": user, "items": [{"sku": sku, "quantity": 1}]}).to_string()
    };
    assert_eq!(shop.post("/orders", &one(9, "tea")).await.0, 404);
    assert_eq!(shop.post("/orders", &one(1, "nothing")).await.0, 422);
    let bodies: Vec<String> = (0..30).map(|_| one(1, "pot")).collect();
    let answers = join_all(bodies.iter().map(|body| shop.post("/orders", body))).await;
    let mut confirmed = 0;
    for (_, order) in answers {
        let order = decided(&shop, order["id"].as_i64().unwrap()).await;
        confirmed += usize::from(order["status"] == "confirmed");
    }
    assert_eq!((confirmed, stock("pot").await), (17, 0));
    let (_, listed) = shop.get("/orders?user_id=1&limit=10&after=1").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 10);
    assert_eq!(shop.get("/orders?user_id=2").await.1["items"], json!([]));
    worker.drain(std::time::Duration::from_secs(20)).await.unwrap();
    told_of_each_order(&shop, mails.path()).await;
}

/// 32 orders: a mail and a count each, and the welcome.
async fn told_of_each_order(shop: &Shop, mails: &std::path::Path) {
    let worker = shop.worker(mails).await;
    let counted = "SELECT CAST(COALESCE(SUM(orders), 0) AS CHAR(20)) FROM order_counts";
    for _ in 0..3_000 {
        let count: String = shop.db.query(counted).scalar().await.unwrap();
        let written = std::fs::read_dir(mails).unwrap().count();
        if count.trim() == "32" && written == 33 {
            let welcome = std::fs::read_to_string(mails.join("welcome-1.eml")).unwrap();
            assert!(welcome.starts_with("To: a@example.com\n"), "{welcome}");
            let order = std::fs::read_to_string(mails.join("order-2.eml")).unwrap();
            assert!(order.contains("is cancelled: there is not enough of pot"), "{order}");
            worker.drain(std::time::Duration::from_secs(20)).await.unwrap();
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("not every order was told of");
}

async fn bad_input_is_refused_clearly(shop: Shop) {
    for (body, status) in [
        ("{\"name\":", 400),
        (r#"{"name":"A"}"#, 422),
        (r#"{"name":"A","email":"a@b","colour":"red"}"#, 422),
        (r#"{"name":" ","email":"a@b"}"#, 422),
        (r#"{"name":"A","email":"nobody"}"#, 422),
    ] {
        assert_eq!(shop.post("/users", body).await.0, status, "{body}");
    }
    let (status, problem) = shop.post("/accounts", r#"{"owner_id":77,"balance":5}"#).await;
    assert_eq!((status, &problem["detail"]), (404, &json!("there is no user 77")));
    assert_eq!(shop.post("/accounts", r#"{"owner_id":1,"balance":-5}"#).await.0, 422);
    assert_eq!(
        shop.post("/accounts", r#"{"owner_id":1,"balance":99999999999999999999}"#).await.0,
        422
    );
    assert_eq!(shop.post("/orders", r#"{"user_id":1,"items":[]}"#).await.0, 422);
    assert_eq!(shop.get("/users/abc").await.0, 404);
    assert_eq!(shop.get("/users?limit=0").await.0, 422);
    assert_eq!(shop.get("/users?limit=x").await.0, 400);
    assert_eq!(shop.get("/users?page=2").await.0, 400);
    assert_eq!(shop.get("/nowhere").await.0, 404);
    assert_eq!(shop.post("/products", "{}").await.0, 405);
    assert_eq!(shop.get("/users").await.1["items"], json!([]), "nothing was half-written");
}

async fn the_probes_answer(shop: Shop) {
    assert_eq!(shop.get("/livez").await, (200, json!({"status": "ok"})));
    assert_eq!(shop.get("/readyz").await, (200, json!({"status": "ok"})));
}

async fn a_seeded_shop_goes_on_counting(shop: Shop) {
    shop.post("/users", r#"{"name":"A","email":"a@example.com"}"#).await;
    shop::seed::run(&shop.db).await.unwrap();
    let count: i64 = shop.db.query("SELECT COUNT(*) FROM orders").scalar().await.unwrap();
    assert_eq!(count, 100_000);
    let (status, user) = shop.post("/users", r#"{"name":"B","email":"b@example.com"}"#).await;
    assert_eq!((status, &user["id"]), (201, &json!(10_002)));
    let (_, order) = shop.get("/orders/3").await;
    assert!(order["items"].as_array().is_some_and(|items| !items.is_empty()), "{order}");
}
