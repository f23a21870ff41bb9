//! A leak and an exhausted pool, as they are printed: `cargo run -p mainstay --example leak`.

use std::time::Duration;

use mainstay::observe::{Hold, Subscriber};
use mainstay::pool::Options;
use mainstay::prelude::*;
use mainstay::scope::{Kind, Scope};

/// Prints what the pool finds suspicious.
struct Print;

impl Subscriber for Print {
    fn hold(&self, event: &Hold<'_>) {
        println!("{}\n", event.report.report());
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options {
        max_size: 1,
        acquire_timeout: Duration::from_millis(300),
        leak_after: Some(Duration::from_millis(500)),
        ..Options::default()
    };
    let db = Db::builder("sqlite::memory:").pool(options).connect().await?;
    db.observer().subscribe(Print);
    db.query("CREATE TABLE orders (id INTEGER PRIMARY KEY, sku TEXT NOT NULL)").execute().await?;

    let other = db.clone();
    let order = Scope::new(Kind::Request, "POST /orders").run(db.transaction(|tx| async move {
        tx.query("INSERT INTO orders (sku) VALUES ($1)").bind("sku-1").execute().await?;
        // Stands for a call to a payment service: it has no business inside a transaction.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        Ok(())
    }));
    let list = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let asked = tokio::spawn(async move {
            other.query("SELECT COUNT(*) FROM orders").scalar::<i64>().await.map(drop)
        });
        if let Ok(Err(error)) = asked.await {
            println!("{}\n", error.report());
        }
    };
    let (ordered, ()) = tokio::join!(order, list);
    ordered?;
    println!("{}", db.advice().await?);
    Ok(())
}
