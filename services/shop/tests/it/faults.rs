//! `--faults`: the doctor names each failure at its line, and nothing on healthy routes.

use std::time::Duration;

use mainstay_testkit::{Engine, Fresh};
use serde_json::Value;
use shop::config::Config;

use crate::client::Shop;

/// The files of the faults.
const SOURCES: [(&str, &str); 6] = [
    ("loops.rs", include_str!("../../src/faults/loops.rs")),
    ("connections.rs", include_str!("../../src/faults/connections.rs")),
    ("transactions.rs", include_str!("../../src/faults/transactions.rs")),
    ("conflicts.rs", include_str!("../../src/faults/conflicts.rs")),
    ("indexes.rs", include_str!("../../src/faults/indexes.rs")),
    ("pools.rs", include_str!("../../src/faults/pools.rs")),
];

/// Routes, codes, the file, the function and what stands on the line that must be named.
const FAULTS: [(&str, &str, &str, &str, &str); 17] = [
    ("n-plus-one", "DOC-001", "loops.rs", "n_plus_one", "SELECT price"),
    ("repeat", "DOC-003", "loops.rs", "repeat", "SELECT stock"),
    ("write-loop", "DOC-002", "loops.rs", "write_loop", "UPDATE products"),
    ("query-loop", "DOC-004", "loops.rs", "query_loop", "SELECT price"),
    ("unbounded", "DOC-005", "loops.rs", "unbounded", "SELECT id, page"),
    ("leak", "DOC-006", "connections.rs", "leak", "SELECT id"),
    ("long-hold", "DOC-007", "connections.rs", "long_hold", "SELECT id"),
    ("nested-acquire", "DOC-008", "connections.rs", "users", "SELECT COUNT"),
    ("idle-transaction", "DOC-009", "transactions.rs", "idle_transaction", "db.transaction"),
    ("long-transaction", "DOC-010", "transactions.rs", "long_transaction", "db.transaction"),
    ("escape", "DOC-011", "transactions.rs", "escape", "outer.query"),
    ("network-call", "DOC-012", "transactions.rs", "network_call", "elsewhere.get"),
    ("dual-write", "DOC-013", "transactions.rs", "dual_write", "UPDATE products"),
    ("deadlock", "DOC-014", "conflicts.rs", "touch", "UPDATE products"),
    ("serialization-storm", "DOC-015", "conflicts.rs", "sell", "db.tx()"),
    ("missing-index", "DOC-020", "indexes.rs", "missing_index", ".query("),
    ("pool-too-small", "DOC-016", "pools.rs", "report", "db.tx()"),
];

/// What SQLite does not have: it lets one write at a time.
const NOT_SQLITE: [&str; 2] = ["DOC-014", "DOC-015"];

/// Whether `place` is the line of `function` in `source` where `written` stands; a chain of calls may be broken
/// after its first word.
fn is_there(place: &str, source: &str, function: &str, written: &str) -> bool {
    let (file, line) = place.rsplit_once(':').unwrap();
    let line: usize = line.parse().unwrap();
    let (_, text) = SOURCES.iter().find(|(name, _)| *name == source).unwrap();
    let begins =
        |l: &str| l.trim_start_matches("pub(super) ").starts_with(&format!("async fn {function}("));
    let from = text.lines().position(begins).unwrap();
    let body: Vec<&str> = text.lines().skip(from).take_while(|l| *l != "}").collect();
    let at = |line: usize| line.checked_sub(from + 1).and_then(|n| body.get(n));
    file.ends_with(&format!("src/faults/{source}"))
        && at(line).is_some()
        && (line..line + 2).any(|line| at(line).is_some_and(|l| l.contains(written)))
}

async fn shop(engine: Engine) -> Shop {
    let mut config = Config::default();
    config.http.faults = true;
    "100000/s".clone_into(&mut config.limits.requests);
    Box::pin(Shop::with(Fresh::new(engine).await, config)).await
}

/// Of the findings of one route, those of one code, once there are some: what lasts is told while it does.
async fn named(shop: &Shop, route: &str, code: &str) -> Vec<Value> {
    let of =
        |f: &&Value| f["code"] == code && f["scope"].as_str().is_none_or(|s| s.contains(route));
    for _ in 0..1200 {
        let (_, findings) = shop.get("/doctor").await;
        let found: Vec<Value> = findings.as_array().unwrap().iter().filter(of).cloned().collect();
        if !found.is_empty() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Vec::new()
}

async fn each_failure_is_named_at_its_line(engine: Engine) {
    let shop = shop(engine).await;
    for healthy in ["/api/products", "/api/orders", "/api/users", "/api/best-sellers"] {
        assert_eq!(shop.get(healthy).await.0, 200);
    }
    assert_eq!(shop.get("/doctor").await.1, serde_json::json!([]), "healthy routes");
    assert_eq!(shop.get("/faults/pool-too-large").await, (200, "begun".into()));
    each_at_its_line(&shop, engine).await;
    // It takes half a minute to be sure of that, and names no line.
    let found = named(&shop, "pool-too-large", "DOC-017").await;
    assert!(found.iter().any(|f| f["what"].as_str().unwrap().contains("`large` of 40")));
}

async fn each_at_its_line(shop: &Shop, engine: Engine) {
    for (route, code, source, function, written) in FAULTS {
        let (status, answer) = shop.get(&format!("/faults/{route}")).await;
        assert_eq!(status, 200, "{route}: {answer}");
        if engine == Engine::Sqlite && NOT_SQLITE.contains(&code) {
            continue;
        }
        let found = named(shop, route, code).await;
        let mut places = found.iter().filter_map(|f| f["place"].as_str());
        let right = places.any(|place| is_there(place, source, function, written));
        assert!(right, "{route}, {code}: {:#}", shop.get("/doctor").await.1);
        assert_eq!(found.len(), 1, "{route}, {code}, elsewhere as well: {found:#?}");
    }
    let text = shop.text("/doctor").await;
    assert!(text.contains("\nwarning[DOC-001]: N+1: 3 times `SELECT price"), "{text}");
    assert!(text.contains("\n   in: GET /faults/n-plus-one\n"), "{text}");
    // The shop goes on: nothing that was kept is out any more.
    assert_eq!(shop.get("/api/products").await.0, 200);
    // A suppression has no line; what it silenced is told as before.
    assert_eq!(shop.get("/faults/suppression").await.0, 200);
    let expired = named(shop, "suppression", "DOC-018").await;
    assert!(expired[0]["what"].as_str().unwrap().contains("GET /faults/repeat"), "{expired:?}");
    assert!(!named(shop, "repeat", "DOC-003").await.is_empty());
}

macro_rules! on {
    ($($module:ident $engine:ident),*) => { $(mod $module {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn each_failure_is_named_at_its_line() {
            super::each_failure_is_named_at_its_line(super::Engine::$engine).await;
        }
    })* };
}

on!(sqlite Sqlite, postgres Postgres, mariadb MariaDb);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_shop_has_no_such_routes() {
    let shop = Shop::start(Fresh::new(Engine::Sqlite).await).await;
    assert_eq!(shop.get("/faults/repeat").await.0, 404);
    assert_eq!(shop.get("/doctor").await.0, 404);
}
