//! Fills the database: enough rows for indexes and pages to matter.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressIterator, ProgressStyle};
use mainstay::route::Databases;
use mainstay::route::topology::MAIN;
use mainstay::{Db, Engine, Error, Result};

const USERS: i64 = 10_000;
const PRODUCTS: i64 = 1_000;
const ORDERS: i64 = 100_000;
/// What every account begins with, in cents.
const BALANCE: i64 = 100_000;

/// Adds the rows after those that are there, all or none of each database, with progress on a terminal. Orders are on the
/// shards of their users, and products on every shard.
pub async fn run(databases: &Databases) -> Result<()> {
    let started = mainstay::clock::Clock::system();
    let begun = started.now();
    let sharded = databases.is_sharded();
    let (users, products) = databases
        .primary(MAIN)?
        .transaction(|tx| async move {
            let users = last(&tx, "SELECT COALESCE(MAX(id), 0) FROM users").await?;
            let accounts = last(&tx, "SELECT COALESCE(MAX(id), 0) FROM accounts").await?;
            let products = last(&tx, "SELECT COALESCE(MAX(id), 0) FROM products").await?;
            let orders = last(&tx, "SELECT COALESCE(MAX(id), 0) FROM orders").await?;
            add_users(&tx, users, accounts).await?;
            add_products(&tx, products).await?;
            if !sharded {
                let numbers: Vec<_> = (1..=ORDERS).map(|n| (orders + n, n)).collect();
                add_orders(&tx, users, products, &numbers).await?;
            }
            advance(&tx).await?;
            Ok((users, products))
        })
        .await?;
    if sharded {
        on_shards(databases, users, products).await?;
    }
    let took = started.now() - begun;
    println!(
        "added {USERS} users with accounts, {PRODUCTS} products and {ORDERS} orders in {took:.1?}"
    );
    Ok(())
}

/// Run again after a failure it adds more, to the shards that had it too.
async fn on_shards(databases: &Databases, users: i64, products: i64) -> Result<()> {
    let shards = databases.shards();
    let mut numbers: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for n in 1..=ORDERS {
        let user = users + 1 + n % USERS;
        let name = shards.of(&user)?.name().to_owned();
        numbers.entry(name).or_default().push((shards.id64(&user)?, n));
    }
    let numbers = &numbers;
    let add = |name: String, _| async move {
        let own = numbers.get(&name).map(Vec::as_slice).unwrap_or_default();
        databases
            .primary(&name)?
            .transaction(|tx| async move {
                add_products(&tx, products).await?;
                add_orders(&tx, users, products, own).await?;
                advance(&tx).await
            })
            .await
    };
    // One at a time: bars of several would be written over each other.
    shards.each(add).fan_out(1).run().await.map(drop)
}

async fn last(tx: &Db, sql: &'static str) -> Result<i64> {
    tx.query(sql).scalar().await
}

async fn add_users(tx: &Db, users: i64, accounts: i64) -> Result<()> {
    let rows = (1..=USERS).map(|n| {
        (users + n, format!("User {}", users + n), format!("user{}@example.com", users + n))
    });
    tx.bulk_insert("users", &["id", "name", "email"], rows.progress_with(bar("users", USERS)?))
        .await?;
    let rows = (1..=USERS).map(|n| (accounts + n, users + n, BALANCE));
    tx.bulk_insert(
        "accounts",
        &["id", "owner_id", "balance"],
        rows.progress_with(bar("accounts", USERS)?),
    )
    .await?;
    Ok(())
}

async fn add_products(tx: &Db, products: i64) -> Result<()> {
    let rows = (1..=PRODUCTS).map(|n| {
        let id = products + n;
        (id, sku(id), format!("Product {id}"), price(id), 1_000_000i64)
    });
    let bar = bar("products", PRODUCTS)?;
    tx.bulk_insert("products", &["id", "sku", "name", "price", "stock"], rows.progress_with(bar))
        .await?;
    Ok(())
}

/// One to three different products an order, the same ones at every run: of each its number, and which of all it is.
async fn add_orders(tx: &Db, users: i64, products: i64, orders: &[(i64, i64)]) -> Result<()> {
    let items = move |n: i64| {
        (0..=(n % 3)).map(move |i| (products + 1 + (n * 7 + i * 13) % PRODUCTS, 1 + i))
    };
    let rows: Vec<(i64, i64, i64)> = (orders.iter())
        .map(|&(id, n)| {
            let total = items(n).map(|(product, quantity)| price(product) * quantity).sum();
            (id, users + 1 + n % USERS, total)
        })
        .collect();
    let count = orders.len() as i64;
    let shown = rows.into_iter().progress_with(bar("orders", count)?);
    tx.bulk_insert("orders", &["id", "user_id", "total"], shown).await?;
    let orders = orders.iter().copied().progress_with(bar("items", count)?);
    let rows = orders.flat_map(move |(id, n)| {
        items(n).map(move |(product, quantity)| (id, sku(product), quantity, price(product)))
    });
    tx.bulk_insert("order_items", &["order_id", "sku", "quantity", "price"], rows).await?;
    Ok(())
}

/// PostgreSQL's counters do not notice keys that were given.
async fn advance(tx: &Db) -> Result<()> {
    if tx.engine() == Engine::Postgres {
        tx.query(
            "SELECT setval(pg_get_serial_sequence('users', 'id'), (SELECT MAX(id) FROM users)),
                    setval(pg_get_serial_sequence('accounts', 'id'), (SELECT MAX(id) FROM accounts)),
                    setval(pg_get_serial_sequence('products', 'id'), (SELECT MAX(id) FROM products)),
                    setval(pg_get_serial_sequence('orders', 'id'), (SELECT MAX(id) FROM orders))",
        )
        .execute()
        .await?;
    }
    Ok(())
}

fn sku(product: i64) -> String {
    format!("sku-{product:06}")
}

fn price(product: i64) -> i64 {
    100 + product * 37 % 9_900
}

fn bar(what: &'static str, count: i64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg:>9} {bar:40} {pos}/{len} {elapsed}")
        .map_err(|e| Error::user(format!("the progress bar's template is wrong: {e}")))?;
    Ok(ProgressBar::new(count.cast_unsigned()).with_style(style).with_message(what))
}
