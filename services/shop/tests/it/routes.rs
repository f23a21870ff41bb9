//! The routes, on every engine.

use futures_util::future::join_all;
use mainstay_testkit::{Engine, Fresh};
use serde_json::json;

use crate::client::{Shop, cookie_of};

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
    orders_are_paid_or_undone,
    whoever_reads_the_mails_logs_in,
    sales_make_best_sellers_and_pages_stay_true,
    what_is_sent_again_is_done_once,
    version_1_knows_no_email,
    bad_input_is_refused_clearly,
    the_probes_answer,
    a_seeded_shop_goes_on_counting,
);

async fn users_are_made_listed_and_found(shop: Shop) {
    for n in 1..=5 {
        let (status, user) = shop
            .post("/api/users", &format!(r#"{{"name":"U{n}","email":"u{n}@example.com"}}"#))
            .await;
        assert_eq!((status, &user["id"]), (201, &json!(n)));
    }
    let (status, problem) =
        shop.post("/api/users", r#"{"name":"X","email":"u1@example.com"}"#).await;
    assert_eq!((status, &problem["title"]), (409, &json!("Already exists")));
    let (_, first) = shop.get("/api/users?limit=2").await;
    assert_eq!((first["items"].as_array().unwrap().len(), &first["next"]), (2, &json!(2)));
    let (_, second) = shop.get("/api/users?limit=3&after=2").await;
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (3, &json!(null)));
    assert_eq!(shop.get("/api/users/4").await.1["email"], "u4@example.com");
    assert_eq!(shop.get("/api/users/99").await.0, 404);
}

async fn version_1_knows_no_email(shop: Shop) {
    let with = |header: &str, path: &str| format!("GET {path} HTTP/1.1\r\n{header}\r\nx-padding:");
    let (status, head, old) = shop.call("POST /api/v1/users", None, r#"{"name":"Old"}"#).await;
    assert_eq!((status, &old), (201, &json!({"id": 1, "name": "Old"})));
    for field in
        ["deprecation: @1782864000", "sunset: ", "</api/v2/users>; rel=\"successor-version\""]
    {
        assert!(head.contains(field), "{head}");
    }
    let (_, both) = shop.post("/api/v2/users", r#"{"name":"New","email":"n@example.com"}"#).await;
    assert_eq!(both, json!({"id": 2, "name": "New", "email": "n@example.com"}));
    // Neither is refused what it knows, nor given what it does not.
    assert!(shop.post("/api/v1/users", r#"{"name":"X","email":"x@example.com"}"#).await.0 >= 400);
    assert!(shop.post("/api/v2/users", r#"{"name":"X"}"#).await.0 >= 400);
    assert!(shop.post("/api/v2/users", r#"{"name":"X","email":null}"#).await.0 >= 400);
    assert_eq!(shop.get("/api/v2/users/1").await.1, json!({"id": 1, "name": "Old", "email": null}));
    assert_eq!(shop.get("/api/v1/users/2").await.1, json!({"id": 2, "name": "New"}));
    assert_eq!(shop.get("/api/v1/users").await.1["items"][1], json!({"id": 2, "name": "New"}));
    // A header and a media type name the version too.
    let (_, _, by_header) = shop.call(&with("api-version: 1", "/api/users/2"), None, "").await;
    assert_eq!(by_header, json!({"id": 2, "name": "New"}));
    let accept = "accept: application/vnd.shop.v1+json";
    let (_, head, by_media) = shop.call(&with(accept, "/api/users/2"), None, "").await;
    assert_eq!(by_media, json!({"id": 2, "name": "New"}));
    assert!(head.contains("content-type: application/vnd.shop.v1+json"), "{head}");
    let (status, _, two) = shop.call(&with("api-version: 1", "/api/v2/users/2"), None, "").await;
    assert_eq!((status, &two["code"]), (400, &json!("HTTP-011")));
    let (status, unknown) = shop.get("/api/v9/users/2").await;
    assert_eq!((status, &unknown["code"]), (400, &json!("HTTP-010")));
    let accept = "accept: application/vnd.shop.v9+json";
    assert_eq!(shop.call(&with(accept, "/api/users/2"), None, "").await.0, 406);
    // What did not change is the same in both.
    assert_eq!(shop.get("/api/v1/products").await, shop.get("/api/v2/products").await);
}

async fn accounts(shop: &Shop, balances: &[i64]) {
    shop.post("/api/users", r#"{"name":"A","email":"a@example.com"}"#).await;
    for balance in balances {
        let (status, _) =
            shop.post("/api/accounts", &format!(r#"{{"owner_id":1,"balance":{balance}}}"#)).await;
        assert_eq!(status, 201);
    }
}

async fn balance(shop: &Shop, id: i64) -> i64 {
    shop.get(&format!("/api/accounts/{id}")).await.1["balance"].as_i64().unwrap()
}

async fn transfers_move_money_and_never_lose_it(shop: Shop) {
    accounts(&shop, &[1000, 0, 1_000_000_000_000_000]).await;
    let transfer = |from: i64, to: i64, amount: i64| {
        let body = json!({"from": from, "to": to, "amount": amount}).to_string();
        let shop = &shop;
        async move { shop.post("/api/transfers", &body).await }
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
    no_longer(shop, id, &["pending"]).await
}

/// Asks until the order is in none of `states`.
async fn no_longer(shop: &Shop, id: i64, states: &[&str]) -> serde_json::Value {
    for _ in 0..3_000 {
        let (_, order) = shop.get(&format!("/api/orders/{id}")).await;
        if !states.contains(&order["status"].as_str().unwrap()) {
            return order;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("order {id} is {states:?} after a minute");
}

async fn orders_are_paid_or_undone(shop: Shop) {
    accounts(&shop, &[8000]).await;
    shop.post("/api/users", r#"{"name":"B","email":"b@example.com"}"#).await;
    let mails = tempfile::tempdir().unwrap();
    let worker = shop.worker(mails.path()).await;
    let order = |user: i64, account: i64| {
        json!({"user_id": user, "account_id": account, "items": [{"sku": "pot", "quantity": 1}]})
            .to_string()
    };
    assert_eq!(shop.post("/api/orders", &order(1, 9)).await.0, 404);
    assert_eq!(shop.post("/api/orders", &order(2, 1)).await.0, 422, "of somebody else");
    let (_, first) = shop.post("/api/orders", &order(1, 1)).await;
    let open = ["pending", "confirmed"];
    let paid = no_longer(&shop, first["id"].as_i64().unwrap(), &open).await;
    assert_eq!((&paid["status"], balance(&shop, 1).await), (&json!("paid"), 1100));
    let (_, second) = shop.post("/api/orders", &order(1, 1)).await;
    let undone = no_longer(&shop, second["id"].as_i64().unwrap(), &open).await;
    assert_eq!(undone["status"], "cancelled");
    assert_eq!(undone["reason"], "it could not be paid");
    let (_, page) = shop.get("/api/products").await;
    let pot = page["items"].as_array().unwrap().iter().find(|p| p["sku"] == "pot").unwrap();
    assert_eq!((&pot["stock"], balance(&shop, 1).await), (&json!(19), 1100));
    let paid: Vec<(i64, i64)> =
        shop.db.query("SELECT order_id, amount FROM payments").all().await.unwrap();
    assert_eq!(paid, [(first["id"].as_i64().unwrap(), 6900)]);
    worker.drain(std::time::Duration::from_secs(20)).await.unwrap();
}

async fn orders_take_stock_or_nothing(shop: Shop) {
    shop.post("/api/users", r#"{"name":"A","email":"a@example.com"}"#).await;
    let stock = |sku: &'static str| {
        let shop = &shop;
        async move {
            let (_, page) = shop.get("/api/products").await;
            let products = page["items"].as_array().unwrap().clone();
            products.iter().find(|p| p["sku"] == sku).unwrap()["stock"].as_i64().unwrap()
        }
    };
    let body = r#"{"user_id":1,"items":[{"sku":"pot","quantity":2},{"sku":"tea","quantity":1},{"sku":"pot","quantity":1}]}"#;
    let (status, order) = shop.post("/api/orders", body).await;
    assert_eq!((status, &order["total"]), (201, &json!(3 * 6900 + 790)));
    assert_eq!(shop.get("/api/orders/1").await.1, order, "without a worker nothing happens");
    assert_eq!((order["status"].as_str(), stock("pot").await), (Some("pending"), 20));
    let mails = tempfile::tempdir().unwrap();
    let worker = shop.worker(mails.path()).await;
    assert_eq!(decided(&shop, 1).await["status"], "confirmed");
    assert_eq!((stock("pot").await, stock("tea").await), (17, 499));
    let short = r#"{"user_id":1,"items":[{"sku":"cup","quantity":5},{"sku":"pot","quantity":18}]}"#;
    let (_, taken) = shop.post("/api/orders", short).await;
    let cancelled = decided(&shop, taken["id"].as_i64().unwrap()).await;
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(cancelled["reason"], "there is not enough of pot");
    assert_eq!(stock("cup").await, 200, "what was reserved before is given back");
    let one = |user: i64, sku: &str| {
        json!({"user_id": user, "items": [{"sku": sku, "quantity": 1}]}).to_string()
    };
    assert_eq!(shop.post("/api/orders", &one(9, "tea")).await.0, 404);
    assert_eq!(shop.post("/api/orders", &one(1, "nothing")).await.0, 422);
    let bodies: Vec<String> = (0..30).map(|_| one(1, "pot")).collect();
    let answers = join_all(bodies.iter().map(|body| shop.post("/api/orders", body))).await;
    let mut confirmed = 0;
    for (_, order) in answers {
        let order = decided(&shop, order["id"].as_i64().unwrap()).await;
        confirmed += usize::from(order["status"] == "confirmed");
    }
    assert_eq!((confirmed, stock("pot").await), (17, 0));
    let (_, listed) = shop.get("/api/orders?user_id=1&limit=10&after=1").await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 10);
    assert_eq!(shop.get("/api/orders?user_id=2").await.1["items"], json!([]));
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
            let told = "Your order 2 is cancelled: there is not enough of pot";
            let mut all = std::fs::read_dir(mails).unwrap().map(|mail| mail.unwrap().path());
            assert!(all.any(|mail| std::fs::read_to_string(mail).unwrap().contains(told)));
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
        assert_eq!(shop.post("/api/users", body).await.0, status, "{body}");
    }
    let (status, problem) = shop.post("/api/accounts", r#"{"owner_id":77,"balance":5}"#).await;
    assert_eq!((status, &problem["detail"]), (404, &json!("there is no user 77")));
    assert_eq!(shop.post("/api/accounts", r#"{"owner_id":1,"balance":-5}"#).await.0, 422);
    assert_eq!(
        shop.post("/api/accounts", r#"{"owner_id":1,"balance":99999999999999999999}"#).await.0,
        422
    );
    assert_eq!(shop.post("/api/orders", r#"{"user_id":1,"items":[]}"#).await.0, 422);
    assert_eq!(shop.get("/api/users/abc").await.0, 404);
    assert_eq!(shop.get("/api/users?limit=0").await.0, 422);
    assert_eq!(shop.get("/api/users?limit=x").await.0, 400);
    assert_eq!(shop.get("/api/users?page=2").await.0, 400);
    assert_eq!(shop.get("/nowhere").await.0, 404);
    assert_eq!(shop.post("/api/products", "{}").await.0, 405);
    assert_eq!(shop.get("/api/users").await.1["items"], json!([]), "nothing was half-written");
}

async fn the_probes_answer(shop: Shop) {
    assert_eq!(shop.get("/livez").await, (200, json!({"status": "ok"})));
    assert_eq!(shop.get("/readyz").await, (200, json!({"status": "ok"})));
}

async fn a_seeded_shop_goes_on_counting(shop: Shop) {
    shop.post("/api/users", r#"{"name":"A","email":"a@example.com"}"#).await;
    shop::seed::run(&shop.databases).await.unwrap();
    let count: i64 = shop.db.query("SELECT COUNT(*) FROM orders").scalar().await.unwrap();
    assert_eq!(count, 100_000);
    let (status, user) = shop.post("/api/users", r#"{"name":"B","email":"b@example.com"}"#).await;
    assert_eq!((status, &user["id"]), (201, &json!(10_002)));
    let (_, order) = shop.get("/api/orders/3").await;
    assert!(order["items"].as_array().is_some_and(|items| !items.is_empty()), "{order}");
}

async fn whoever_reads_the_mails_logs_in(shop: Shop) {
    shop.post("/api/users", r#"{"name":"A","email":"a@example.com"}"#).await;
    let mails = tempfile::tempdir().unwrap();
    let worker = shop.worker(mails.path()).await;
    assert_eq!(shop.call("GET /api/me", None, "").await.0, 401);
    let (status, head, _) =
        shop.call("POST /api/login", None, r#"{"email":"a@example.com"}"#).await;
    assert_eq!(status, 202);
    let visitor = cookie_of(&head);
    let mail = mails.path().join("login-1.eml");
    for _ in 0..3_000 {
        if mail.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let text = std::fs::read_to_string(&mail).unwrap();
    let code = text.split("Your code is ").nth(1).unwrap()[..8].to_owned();
    let (status, head, _) =
        shop.call("POST /api/login/code", Some(&visitor), r#"{"code":"nothing"}"#).await;
    assert_eq!(status, 401);
    let body = json!({"code": code}).to_string();
    let late = shop.call("POST /api/login/code", Some(&visitor), &body).await;
    assert_eq!(late.0, 401, "two guesses for one try");
    let visitor = cookie_of(&head);
    assert_eq!(shop.call("POST /api/login/code", None, &body).await.0, 401, "of another visitor");
    let (status, head, who) = shop.call("POST /api/login/code", Some(&visitor), &body).await;
    assert_eq!((status, &who["user_id"]), (200, &json!(1)));
    let user = cookie_of(&head);
    assert_ne!(user, visitor, "an id that was known before is a user's now");
    assert_eq!(shop.call("GET /api/me", Some(&visitor), "").await.0, 401);
    assert_eq!(shop.call("GET /api/me", Some(&user), "").await.2["user_id"], 1);
    assert_eq!(shop.call("POST /api/login/code", Some(&user), &body).await.0, 401, "a second time");
    let forged = user.replacen(|c: char| c.is_ascii_digit(), "x", 1);
    assert_eq!(shop.call("GET /api/me", Some(&forged), "").await.0, 401);
    assert_eq!(shop.call("DELETE /api/login?everywhere=true", Some(&user), "").await.0, 204);
    assert_eq!(shop.call("GET /api/me", Some(&user), "").await.0, 401);
    let nobody = shop.call("POST /api/login", None, r#"{"email":"nobody@example.com"}"#).await;
    assert_eq!(nobody.0, 202, "it does not tell who is there");
    worker.drain(std::time::Duration::from_secs(20)).await.unwrap();
}

async fn what_is_sent_again_is_done_once(shop: Shop) {
    accounts(&shop, &[1000, 0]).await;
    let key = "POST /api/transfers HTTP/1.1\r\nidempotency-key: \"t-1\"\r\nx-padding:";
    let call = |amount: i64| {
        let body = json!({"from": 1, "to": 2, "amount": amount}).to_string();
        let shop = &shop;
        async move { shop.call(key, None, &body).await }
    };
    let answers = join_all((0..10).map(|_| call(300)).collect::<Vec<_>>()).await;
    assert!(answers.iter().all(|(status, ..)| [201, 409].contains(status)));
    let (status, head, _) = call(300).await;
    assert_eq!(status, 201);
    assert!(head.contains("idempotency-replayed: true"), "{head}");
    assert_eq!(call(301).await.2["code"], "HTTP-023", "another payload");
    assert_eq!((balance(&shop, 1).await, balance(&shop, 2).await), (700, 300));
}

async fn sales_make_best_sellers_and_pages_stay_true(shop: Shop) {
    shop.post("/api/users", r#"{"name":"A","email":"a@example.com"}"#).await;
    let stock = |page: &serde_json::Value, sku: &str| {
        let products = page["items"].as_array().unwrap();
        products.iter().find(|p| p["sku"] == sku).unwrap()["stock"].as_i64().unwrap()
    };
    assert_eq!(stock(&shop.get("/api/products").await.1, "tea"), 500);
    assert_eq!(shop.get("/api/best-sellers").await.1["items"], json!([]));
    let mails = tempfile::tempdir().unwrap();
    let worker = shop.worker(mails.path()).await;
    for (sku, quantity) in [("tea", 3), ("pot", 5), ("tea", 4)] {
        let body = json!({"user_id": 1, "items": [{"sku": sku, "quantity": quantity}]});
        let (_, order) = shop.post("/api/orders", &body.to_string()).await;
        assert_eq!(decided(&shop, order["id"].as_i64().unwrap()).await["status"], "confirmed");
        // The page that was kept is of before this order.
        let (_, page) = shop.get("/api/products").await;
        assert_ne!(stock(&page, sku), if sku == "pot" { 20 } else { 500 });
    }
    let expected = json!([
        {"rank": 1, "sku": "tea", "sold": 7},
        {"rank": 2, "sku": "pot", "sold": 5},
    ]);
    for _ in 0..3_000 {
        if shop.get("/api/best-sellers").await.1["items"] == expected {
            worker.drain(std::time::Duration::from_secs(20)).await.unwrap();
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{}", shop.get("/api/best-sellers").await.1);
}

mod limited {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_asks_too_often_is_told_when_to_come_again() {
        let mut config = shop::config::Config::default();
        "5/min".clone_into(&mut config.limits.requests);
        let shop = Box::pin(Shop::with(Fresh::new(Engine::Sqlite).await, config)).await;
        for left in (0..5).rev() {
            let (status, head, _) = shop.call("GET /api/products", None, "").await;
            assert_eq!(status, 200);
            assert!(head.contains(&format!("ratelimit: \"requests\";r={left};t=")), "{head}");
        }
        let (status, head, problem) = shop.call("GET /api/products", None, "").await;
        assert_eq!((status, &problem["code"]), (429, &json!("HTTP-001")));
        assert_eq!(problem["violated-policies"], json!(["requests"]));
        assert!(head.contains("retry-after: "), "{head}");
        assert_eq!(shop.get("/livez").await.0, 200, "probes are not counted");
    }
}
