//! The same shop on shards, and on replicas: by configuration alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mainstay::Db;
use mainstay::jobs::Jobs;
use mainstay::route::topology::Database;
use mainstay_testkit::{Cluster, Engine, Fresh, Proxy, Weather};
use serde_json::{Value, json};
use shop::config::Config;
use shop::events::OrderCreated;

use crate::client::{Shop, cookie_of};

const USERS: i64 = 12;

fn config(main: Database, shards: impl IntoIterator<Item = (&'static str, Database)>) -> Config {
    let mut config = Config::default();
    "100000/s".clone_into(&mut config.limits.requests);
    "100000/s".clone_into(&mut config.limits.orders);
    config.mainstay.database.url = main.url;
    config.mainstay.database.replicas = main.replicas;
    let named = shards.into_iter().map(|(name, database)| (name.to_owned(), database));
    config.mainstay.shards.databases = named.collect();
    config.mainstay.shards.reference = vec!["products".to_owned()];
    config
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within a minute: {what}");
}

async fn people(shop: &Shop) {
    for n in 1..=USERS {
        let user = json!({"name": format!("U{n}"), "email": format!("u{n}@example.com")});
        assert_eq!(shop.post("/api/users", &user.to_string()).await.0, 201);
        let account = json!({"owner_id": n, "balance": 10_000});
        assert_eq!(shop.post("/api/accounts", &account.to_string()).await.0, 201);
    }
}

async fn order(shop: &Shop, user: i64, account: Option<i64>, sku: &str) -> i64 {
    let items = json!([{"sku": sku, "quantity": 1}]);
    let body = json!({"user_id": user, "account_id": account, "items": items}).to_string();
    let (status, order) = shop.post("/api/orders", &body).await;
    assert_eq!((status, &order["status"]), (201, &json!("pending")), "{order}");
    order["id"].as_i64().unwrap()
}

async fn number(db: &Db, sql: &'static str) -> i64 {
    db.query(sql).scalar().await.unwrap()
}

/// What is not decided, paid or told of yet, on any database.
async fn rests(shop: &Shop) -> bool {
    for name in shop.databases.names() {
        let db = shop.databases.primary(name).unwrap();
        let open = "SELECT (SELECT COUNT(*) FROM mainstay_outbox) \
            + (SELECT COUNT(*) FROM mainstay_job WHERE state = 0) + (SELECT COUNT(*) FROM orders \
            WHERE status = 'pending' OR (status = 'confirmed' AND account_id IS NOT NULL))";
        if number(&db, open).await > 0 {
            return false;
        }
    }
    true
}

async fn stock(shop: &Shop, sku: &'static str) -> i64 {
    shop.db.query("SELECT stock FROM products WHERE sku = $1").bind(sku).scalar().await.unwrap()
}

/// Each order is on the shard of its user and nowhere else, with its event.
async fn orders_are_where_their_users_are(shop: &Shop, taken: &BTreeMap<i64, i64>) {
    let map = shop.databases.shards().map();
    let mut found = BTreeMap::new();
    for name in ["a", "b", "c"] {
        let db = shop.databases.primary(name).unwrap();
        let rows: Vec<(i64, i64)> = db.query("SELECT id, user_id FROM orders").all().await.unwrap();
        assert!(!rows.is_empty(), "{USERS} users are spread over three shards");
        let created = "SELECT COUNT(*) FROM mainstay_event WHERE name = 'order.created'";
        assert_eq!(number(&db, created).await, rows.len() as i64, "{name}");
        for (id, user) in rows {
            assert_eq!(map.shard_of(&user).unwrap(), name);
            assert_eq!(found.insert(id, user), None);
        }
    }
    assert_eq!(&found, taken);
    assert_eq!(number(&shop.db, "SELECT COUNT(*) FROM orders").await, 0);
}

async fn lists(shop: &Shop, taken: &BTreeMap<i64, i64>) {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let (_, page) = shop.get(&format!("/api/orders?limit=7&after={after}")).await;
        all.extend(page["items"].as_array().unwrap().iter().map(|o| o["id"].as_i64().unwrap()));
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert!(all.iter().eq(taken.keys()), "pages over all shards, in order: {all:?}");
    let (_, own) = shop.get("/api/orders?user_id=3").await;
    let own: Vec<i64> =
        own["items"].as_array().unwrap().iter().map(|o| o["id"].as_i64().unwrap()).collect();
    let of_three = taken.iter().filter(|(_, user)| **user == 3).map(|(id, _)| *id);
    assert!(of_three.eq(own));
    assert_eq!(shop.get("/api/orders/77").await.0, 404, "a number from before: nobody has it");
    assert_eq!(shop.get(&format!("/api/orders/{}", i64::MAX)).await.0, 404);
}

async fn orders_are_on_shards(engine: Engine) {
    let mut fresh = Vec::new();
    for _ in 0..4 {
        fresh.push(Fresh::new(engine).await);
    }
    let at = |n: usize| Database::at(fresh[n].url());
    let shop =
        Box::pin(Shop::configured(config(at(0), [("a", at(1)), ("b", at(2)), ("c", at(3))])));
    let shop = shop.await;
    people(&shop).await;
    let mut taken = BTreeMap::new();
    for n in 0..2 * USERS {
        let user = 1 + n % USERS;
        // Twelve of them are paid from an account that has enough for one pot: 6,900.
        let account = (n % 2 == 0).then_some(user);
        taken.insert(order(&shop, user, account, "pot").await, user);
    }
    orders_are_where_their_users_are(&shop, &taken).await;
    lists(&shop, &taken).await;
    let mails = tempfile::tempdir().unwrap();
    let worker = shop.worker(mails.path()).await;
    until("all is decided, paid and told", async || rests(&shop).await).await;
    let mut by_status: BTreeMap<String, i64> = BTreeMap::new();
    for id in taken.keys() {
        let (_, order) = shop.get(&format!("/api/orders/{id}")).await;
        assert_eq!(order["items"][0]["sku"], "pot");
        *by_status.entry(order["status"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    // There were 20 pots for 24, and whoever was undone gave one back.
    let (paid, confirmed) = (by_status["paid"], by_status["confirmed"]);
    assert_eq!(stock(&shop, "pot").await, 20 - paid - confirmed, "{by_status:?}");
    let money = number(&shop.db, "SELECT CAST(SUM(balance) AS SIGNED) FROM accounts");
    let money = if engine == Engine::MariaDb {
        money.await
    } else {
        number(&shop.db, "SELECT CAST(SUM(balance) AS BIGINT) FROM accounts").await
    };
    assert_eq!(money, USERS * 10_000 - paid * 6_900);
    assert_eq!(number(&shop.db, "SELECT COUNT(*) FROM payments").await, paid);
    told(&shop, &by_status, mails.path()).await;
    again(&shop, *taken.first_key_value().unwrap().0).await;
    worker.drain(Duration::from_secs(20)).await.unwrap();
}

/// Counts and best sellers are those of all shards, and each decision is a mail of its own.
async fn told(shop: &Shop, by_status: &BTreeMap<String, i64>, mails: &std::path::Path) {
    let (status, counts) = shop.get("/api/order-counts").await;
    assert_eq!(status, 200, "{counts}");
    let count = |status: &str| {
        let rows = counts["items"].as_array().unwrap().iter();
        rows.filter(|c| c["status"] == status).map(|c| c["orders"].as_i64().unwrap()).sum::<i64>()
    };
    let cancelled = by_status.get("cancelled").copied().unwrap_or_default();
    assert_eq!(count("cancelled"), cancelled, "{counts}");
    let confirmed = count("confirmed");
    let (_, best) = shop.get("/api/best-sellers").await;
    assert_eq!(best["items"], json!([{"rank": 1, "sku": "pot", "sold": confirmed}]));
    let names = std::fs::read_dir(mails).unwrap().map(|mail| mail.unwrap().file_name());
    let names: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
    let told = names.iter().filter(|name| name.starts_with("event-")).count() as i64;
    assert_eq!(told, confirmed + cancelled, "{names:?}");
}

/// As where a process dies after the main database has committed and before the shard has: the order is decided again, as
/// before, and nothing is taken twice.
async fn again(shop: &Shop, id: i64) {
    let db = shop.databases.shards().of_id64(id).unwrap();
    let of = "SELECT user_id FROM orders WHERE id = $1";
    let user: i64 = db.query(of).bind(id).scalar().await.unwrap();
    let before = (stock(shop, "pot").await, shop.get("/api/best-sellers").await);
    let (_, was) = shop.get(&format!("/api/orders/{id}")).await;
    db.transaction(|tx| async move {
        let back = "UPDATE orders SET status = 'pending', account_id = NULL WHERE id = $1";
        tx.query(back).bind(id).execute().await?;
        tx.publish(&OrderCreated { order: id, user }).await
    })
    .await
    .unwrap();
    until("it is decided again", async || rests(shop).await).await;
    let (_, is) = shop.get(&format!("/api/orders/{id}")).await;
    let decided =
        |order: &Value| order["status"] != "cancelled" || order["reason"] == "it could not be paid";
    assert_eq!(decided(&was), is["status"] == "confirmed", "{was} {is}");
    assert_eq!((stock(shop, "pot").await, shop.get("/api/best-sellers").await), before);
}

/// The shop begins without a shard, takes orders of the others, and those of that one when it is there.
async fn a_shard_that_is_down_stops_only_its_own(engine: Engine) {
    let (main, a, b) =
        (Fresh::new(engine).await, Fresh::new(engine).await, Fresh::new(engine).await);
    let (proxy, url) = Proxy::before(b.url()).await.unwrap();
    proxy.set(Weather::Down);
    let config =
        config(Database::at(main.url()), [("a", Database::at(a.url())), ("b", Database::at(url))]);
    let shop = Box::pin(Shop::configured(config)).await;
    people(&shop).await;
    let mails = tempfile::tempdir().unwrap();
    let worker = shop.worker(mails.path()).await;
    let map = shop.databases.shards().map();
    let of = |name: &str| (1..=USERS).find(|user| map.shard_of(user).unwrap() == name).unwrap();
    let (here, away) = (of("a"), of("b"));
    let first = order(&shop, here, None, "tea").await;
    let body = json!({"user_id": away, "items": [{"sku": "tea", "quantity": 1}]}).to_string();
    assert!(shop.post("/api/orders", &body).await.0 >= 500);
    until("the other's order is decided", async || {
        shop.get(&format!("/api/orders/{first}")).await.1["status"] == "confirmed"
    })
    .await;
    proxy.set(Weather::Fair);
    let mut second = 0;
    until("the shard is migrated and takes orders", async || {
        let (status, order) = shop.post("/api/orders", &body).await;
        second = order["id"].as_i64().unwrap_or_default();
        status == 201
    })
    .await;
    until("its worker is there", async || {
        shop.get(&format!("/api/orders/{second}")).await.1["status"] == "confirmed"
    })
    .await;
    worker.drain(Duration::from_secs(20)).await.unwrap();
}

/// A replica that is a second behind, of the main database and of both shards: who wrote reads it, and nobody is told that
/// something is not there.
async fn who_wrote_through_http_reads_it(engine: Engine) {
    let servers = Cluster::new(engine, 1).await;
    let mut databases = Vec::new();
    for _ in 0..3 {
        let name = servers.database().await;
        let replicas = vec![servers.replica(0).url(&name)];
        databases.push(Database { replicas, ..Database::at(servers.primary().url(&name)) });
    }
    let [main, a, b] = databases.try_into().unwrap();
    let shop = Box::pin(Shop::configured(config(main, [("a", a), ("b", b)]))).await;
    servers.caught_up().await;
    servers.replica(0).delay(Duration::from_secs(1)).await;
    for n in 1..=4_i64 {
        let user = json!({"name": "U", "email": format!("u{n}@example.com")}).to_string();
        let (status, head, user) = shop.call("POST /api/users", None, &user).await;
        assert_eq!(status, 201);
        let id = user["id"].as_i64().unwrap();
        assert_eq!(shop.get(&format!("/api/users/{id}")).await.0, 200, "without a cookie too");
        let cookie = cookie_of(&head);
        assert!(cookie.starts_with("mainstay_token="), "{cookie}");
        let (_, _, listed) =
            shop.call(&format!("GET /api/users?after={}", id - 1), Some(&cookie), "").await;
        assert_eq!(listed["items"][0]["id"], id, "a list says what it has: with the cookie all");
        let body = json!({"user_id": id, "items": [{"sku": "tea", "quantity": 1}]}).to_string();
        let (status, head, order) = shop.call("POST /api/orders", Some(&cookie), &body).await;
        assert_eq!(status, 201, "{order}");
        let cookie = cookie_of(&head);
        let (_, _, own) =
            shop.call(&format!("GET /api/orders?user_id={id}"), Some(&cookie), "").await;
        assert_eq!(own["items"][0]["id"], order["id"]);
        assert_eq!(shop.get(&format!("/api/orders/{}", order["id"])).await.1, order);
    }
}

macro_rules! on {
    ($module:ident $engine:ident: $($name:ident),*) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    Box::pin(super::$name(Engine::$engine)).await;
                }
            )*
        }
    };
}
on!(sqlite Sqlite: orders_are_on_shards);
on!(postgres Postgres: orders_are_on_shards, a_shard_that_is_down_stops_only_its_own, who_wrote_through_http_reads_it);
on!(mariadb MariaDb: orders_are_on_shards, who_wrote_through_http_reads_it);
