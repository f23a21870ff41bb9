//! Three ways out of a query for each row: `cargo run -p mainstay --features load --example loaders`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay::load::{Loader, load_many, load_one};
use mainstay::observe::{Statement, Subscriber};
use mainstay::prelude::*;
use mainstay::scope::{Kind, Scope};

#[derive(FromRow)]
struct Order {
    id: i64,
    customer: Option<i64>,
}

#[derive(Clone, FromRow)]
struct Customer {
    name: String,
}

#[derive(Clone, FromRow)]
struct Item {
    sku: String,
}

/// Prints each statement, and the place that it belongs to.
#[derive(Default)]
struct Log(AtomicUsize);

impl Subscriber for Log {
    fn statement(&self, statement: &Statement<'_>) {
        let n = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        println!("  {n}: {} ({})", statement.sql, statement.place);
    }
}

const ITEMS: &str = "SELECT order_id, sku FROM item WHERE order_id IN ($keys) ORDER BY sku";
const CUSTOMERS: &str = "SELECT id, name FROM customer WHERE id IN ($keys)";

/// What the resolvers of one request share.
#[derive(Clone)]
struct Loaders {
    customers: Loader<i64, Arc<Customer>>,
    items: Loader<i64, Arc<[Item]>>,
}

impl Loaders {
    fn new(db: &Db) -> Self {
        Self { customers: Loader::row(db, CUSTOMERS), items: Loader::rows(db, ITEMS) }
    }

    /// It knows one order, and nothing of the others.
    async fn describe(self, order: Order) -> Result<String> {
        let customer = match order.customer {
            Some(id) => self.customers.load(id).await?,
            None => None,
        };
        let items = self.items.load(order.id).await?.unwrap_or_default();
        let skus: Vec<&str> = items.iter().map(|item| item.sku.as_str()).collect();
        let name = customer.as_ref().map_or("nobody", |customer| customer.name.as_str());
        Ok(format!("  order {} of {name}: {}", order.id, skus.join(", ")))
    }
}

async fn orders(db: &Db) -> Result<Vec<Order>> {
    db.query("SELECT id, customer FROM orders ORDER BY id").all().await
}

#[tokio::main]
async fn main() -> Result<()> {
    let db = Db::connect("sqlite::memory:").await?;
    db.script(
        "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER);
         CREATE TABLE item (order_id INTEGER NOT NULL, sku TEXT NOT NULL);
         INSERT INTO customer VALUES (1, 'Ada'), (2, 'Grace');
         INSERT INTO orders VALUES (10, 1), (11, 2), (12, 1), (13, NULL);
         INSERT INTO item VALUES (10, 'lamp'), (10, 'cup'), (11, 'cup'), (12, 'desk');",
    )
    .await?;
    db.observer().subscribe(Log::default());

    println!("eager: a query for the orders, one for their customers, one for their items");
    let all = orders(&db).await?;
    let customers: Vec<Option<Customer>> =
        load_one(&db, &all, |order| order.customer, CUSTOMERS).await?;
    let items: Vec<Vec<Item>> = load_many(&db, &all, |order| order.id, ITEMS).await?;
    for ((order, customer), items) in all.iter().zip(&customers).zip(&items) {
        let name = customer.as_ref().map_or("nobody", |customer| &customer.name);
        println!("  order {} of {name}: {} items", order.id, items.len());
    }

    println!("one-to-one: a JOIN in the first query");
    let joined: Vec<(i64, Option<String>)> = db
        .query("SELECT o.id, c.name FROM orders o LEFT JOIN customer c ON c.id = o.customer ORDER BY o.id")
        .all()
        .await?;
    println!("  {} orders with their customers", joined.len());

    println!("loaders: each order in a task of its own, and as many queries as before");
    let request = Scope::new(Kind::Request, "GET /orders");
    let described = request.clone().run(async {
        let loaders = Loaders::new(&db);
        let tasks: Vec<_> = orders(&db)
            .await?
            .into_iter()
            .map(|order| tokio::spawn(request.clone().run(loaders.clone().describe(order))))
            .collect();
        let mut lines = Vec::new();
        for task in tasks {
            lines.push(task.await.expect("no panic")?);
        }
        Ok::<_, Error>(lines)
    });
    for line in described.await? {
        println!("{line}");
    }

    println!("inside a transaction they see what it has written");
    db.transaction(|tx| async move {
        tx.query("INSERT INTO item VALUES (13, 'chair')").execute().await?;
        let items = Loader::<i64, Arc<[Item]>>::rows(&tx, ITEMS);
        let found = items.load(13).await?.unwrap_or_default();
        println!("  order 13: {} item", found.len());
        Ok(())
    })
    .await
}
