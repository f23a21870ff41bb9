//! Eager loading and loaders of rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use mainstay_core::Code;
use mainstay_db::{AssertSqlSafe, Db, Engine, Error, FromRow};
use mainstay_load::{Loader, Rows, load_many, load_one};
use uuid::Uuid;

use crate::support::{Seen, on_every_engine};

on_every_engine!(
    children_are_with_their_parents,
    one_is_found_or_none,
    the_text_is_the_same_for_any_number_of_keys,
    texts_and_uuids_are_keys,
    a_text_of_run_time_is_vouched_for,
    what_does_not_fit_is_told,
    a_loader_asks_once_for_all,
    a_loader_fails_key_by_key,
    inside_a_transaction,
);

#[derive(Clone, Debug, FromRow, PartialEq)]
struct Item {
    order_id: i64,
    sku: String,
}

const ITEMS: &str = "SELECT order_id, sku FROM item WHERE order_id IN ($keys) ORDER BY sku";

/// Orders 1 to `orders`; each has as many items as the remainder of three says.
async fn items(db: &Db, orders: i64) {
    db.script("CREATE TABLE item (order_id BIGINT NOT NULL, sku VARCHAR(20) NOT NULL)")
        .await
        .unwrap();
    let all = (1..=orders).flat_map(|order| (0..order % 3).map(move |n| (order, format!("s{n}"))));
    db.bulk_insert("item", &["order_id", "sku"], all).await.unwrap();
}

async fn children_are_with_their_parents(db: Db) {
    items(&db, 3000).await;
    // More than one statement takes, a repeated one, one of nobody, and one without a key.
    let mut parents: Vec<Option<i64>> = (1..=3000).map(Some).collect();
    parents.extend([Some(5), None, Some(9999)]);
    let seen = Seen::on(&db);
    let found: Vec<Vec<Item>> = load_many(&db, &parents, |p| *p, ITEMS).await.unwrap();
    assert_eq!(seen.take().len(), 3);
    assert_eq!(found.len(), parents.len());
    for (parent, items) in parents.iter().zip(&found) {
        let count = parent.filter(|p| *p <= 3000).map_or(0, |p| p % 3);
        let expected: Vec<String> = (0..count).map(|n| format!("s{n}")).collect();
        assert_eq!(items.iter().map(|i| i.sku.clone()).collect::<Vec<_>>(), expected, "{parent:?}");
        assert!(items.iter().all(|item| Some(item.order_id) == *parent));
    }
    let none: Vec<Vec<Item>> = load_many(&db, &[], |p: &i64| *p, ITEMS).await.unwrap();
    assert!(none.is_empty() && seen.take().is_empty(), "nothing is asked for nobody");
}

async fn a_text_of_run_time_is_vouched_for(db: Db) {
    items(&db, 3).await;
    let table = "item";
    let sql = format!("SELECT order_id, sku FROM {table} WHERE sku = $1 AND order_id IN ($keys)");
    let rows = Rows::from(AssertSqlSafe(sql)).bind("s0");
    let found: Vec<Vec<Item>> = load_many(&db, &[1i64, 2, 3], |p| *p, rows).await.unwrap();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0]);
}

async fn one_is_found_or_none(db: Db) {
    items(&db, 10).await;
    let sql = Rows::new("SELECT order_id, sku FROM item WHERE sku = $1 AND order_id IN ($keys)");
    let parents = [1i64, 3, 4, 1];
    let found: Vec<Option<Item>> = load_one(&db, &parents, |p| *p, sql.bind("s0")).await.unwrap();
    let ids: Vec<Option<i64>> = found.iter().map(|i| i.as_ref().map(|i| i.order_id)).collect();
    assert_eq!(ids, [Some(1), None, Some(4), Some(1)]);
    let several = load_one::<_, _, Item>(&db, &[2i64], |p| *p, ITEMS).await.unwrap_err();
    assert_eq!(several.code(), Code::TooManyRows);
}

async fn the_text_is_the_same_for_any_number_of_keys(db: Db) {
    items(&db, 10).await;
    let seen = Seen::on(&db);
    for count in [1i64, 2, 3, 10, 70, 500, 1024] {
        let parents: Vec<i64> = (1..=count).collect();
        load_many::<_, _, Item>(&db, &parents, |p| *p, ITEMS).await.unwrap();
    }
    let seen = seen.take();
    let texts: BTreeSet<_> = seen.iter().map(|(sql, _)| sql).collect();
    assert_eq!(texts.len(), if db.engine() == Engine::MySql { 5 } else { 1 }, "{texts:?}");
    assert!(seen.iter().all(|(_, file)| file.ends_with("rows.rs")), "whose are they? {seen:?}");
}

async fn texts_and_uuids_are_keys(db: Db) {
    let uuid = match db.engine() {
        Engine::Postgres => "UUID",
        Engine::Sqlite => "BLOB",
        Engine::MySql => "BINARY(16)",
    };
    let create = format!(
        "CREATE TABLE doc (id {uuid} NOT NULL, small INTEGER NOT NULL, name VARCHAR(50) NOT NULL)"
    );
    db.query(AssertSqlSafe(create)).execute().await.unwrap();
    let ids: Vec<Uuid> = (1..=3).map(Uuid::from_u128).collect();
    let names = ["a", "it's \"quoted\"\\ \n", "日本"];
    let rows = ids.iter().zip(names).zip(1i32..).map(|((id, name), n)| (*id, n, name.to_owned()));
    db.bulk_insert("doc", &["id", "small", "name"], rows).await.unwrap();

    let sql = "SELECT id, name FROM doc WHERE id IN ($keys)";
    let by_id: Vec<Option<(Uuid, String)>> = load_one(&db, &ids, |id| *id, sql).await.unwrap();
    assert_eq!(by_id.iter().flatten().map(|(_, n)| n.as_str()).collect::<Vec<_>>(), names);
    let sql = "SELECT name, id FROM doc WHERE name IN ($keys)";
    let by_name: Vec<Option<(String, Uuid)>> =
        load_one(&db, &names, |n| (*n).to_owned(), sql).await.unwrap();
    assert_eq!(by_name.iter().flatten().map(|(_, id)| *id).collect::<Vec<_>>(), ids);
    let sql = "SELECT small, name FROM doc WHERE small IN ($keys)";
    let by_small: Vec<Option<(i32, String)>> =
        load_one(&db, &[2i32, 9], |n| *n, sql).await.unwrap();
    assert_eq!(by_small[0].as_ref().unwrap().1, names[1]);
    assert!(by_small[1].is_none());
}

async fn what_does_not_fit_is_told(db: Db) {
    items(&db, 3).await;
    for sql in [
        "SELECT order_id, sku FROM item",
        "SELECT order_id, sku FROM item WHERE order_id NOT IN ($keys)",
        // The first column is another number than the key.
        "SELECT order_id + 100, sku FROM item WHERE order_id IN ($keys)",
    ] {
        let error = load_many::<_, _, (i64, String)>(&db, &[1i64], |p| *p, sql).await.unwrap_err();
        assert_eq!(error.code(), Code::LoadStatement, "{sql}: {error:?}");
        assert!(error.place().unwrap().file().ends_with("rows.rs"));
        let loader = Loader::<i64, Arc<[(i64, String)]>>::rows(&db, sql);
        assert_eq!(loader.load(1).await.unwrap_err().code(), Code::LoadStatement, "{sql}");
    }
}

async fn a_loader_asks_once_for_all(db: Db) {
    items(&db, 100).await;
    let seen = Seen::on(&db);
    let loader = Loader::<i64, Arc<[Item]>>::rows(&db, ITEMS);
    let found = join_all((1..=100).map(|order| loader.load(order))).await;
    for (order, items) in (1i64..).zip(found) {
        assert_eq!(items.unwrap().unwrap().len() as i64, order % 3);
    }
    loader.load(7).await.unwrap();
    let seen = seen.take();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].1.ends_with("rows.rs"), "not told of the place of a load: {seen:?}");
}

async fn a_loader_fails_key_by_key(db: Db) {
    items(&db, 10).await;
    let loader = Loader::<i64, Arc<Item>>::row(&db, ITEMS);
    let (one, two, none) = tokio::join!(loader.load(1), loader.load(2), loader.load(3));
    assert_eq!(one.unwrap().unwrap().sku, "s0");
    assert_eq!(two.unwrap_err().code(), Code::TooManyRows);
    assert!(none.unwrap().is_none());
    db.script("DROP TABLE item").await.unwrap();
    let (two, five) = tokio::join!(loader.load(2), loader.load(5));
    assert_eq!(two.unwrap_err().code(), Code::Undefined);
    assert_eq!(five.unwrap_err().code(), Code::Undefined);
    assert!(loader.load(1).await.unwrap().is_some(), "what is kept needs no table");
}

async fn inside_a_transaction(db: Db) {
    items(&db, 10).await;
    let escaped = db
        .transaction(|tx| async move {
            tx.query("INSERT INTO item VALUES (3, 'new')").execute().await?;
            let loader = Loader::<i64, Arc<[Item]>>::rows(&tx, ITEMS);
            let all = join_all([1, 2, 3].map(|order| loader.load(order))).await;
            assert_eq!(all[2].as_ref().unwrap().as_ref().unwrap()[0].sku, "new");
            let eager: Vec<Vec<Item>> = load_many(&tx, &[3i64], |p| *p, ITEMS).await?;
            assert_eq!(eager[0].len(), 1);
            // Asked for, and given up: the transaction goes on.
            let mut given_up = Box::pin(loader.load(4));
            assert!(futures_util::poll!(&mut given_up).is_pending());
            drop(given_up);
            Ok::<_, Error>(loader)
        })
        .await
        .unwrap();
    assert_eq!(escaped.load(3).await.unwrap().unwrap().len(), 1, "what is kept is still there");
    assert_eq!(escaped.load(5).await.unwrap_err().code(), Code::TxEnded);
    let found: Vec<Vec<Item>> = load_many(&db, &[3i64], |p| *p, ITEMS).await.unwrap();
    assert_eq!(found[0].len(), 1);
}
