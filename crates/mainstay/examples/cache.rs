//! A cache before a table: `cargo run -p mainstay --features cache --example cache`.

use std::sync::Arc;
use std::time::Duration;

use mainstay::cache::{Cache, Memory};
use mainstay::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, FromRow)]
struct Product {
    name: String,
    price: i64,
}

#[derive(Clone)]
struct Shop {
    db: Db,
    products: Cache<Product>,
}

impl Shop {
    async fn product(&self, id: i64) -> Result<Option<Arc<Product>>> {
        let db = self.db.clone();
        let load = move || async move {
            println!("  product {id} is read from the database");
            tokio::time::sleep(Duration::from_millis(50)).await;
            let query = db.query("SELECT name, price FROM product WHERE id = $1");
            query.bind(id).optional().await
        };
        self.products.get_or_load_tagged(&id.to_string(), &["price list"], load).await
    }

    async fn show(&self, id: i64) -> Result<()> {
        match self.product(id).await? {
            Some(product) => println!("  the {} costs {}", product.name, product.price),
            None => println!("  there is no product {id}"),
        }
        Ok(())
    }

    /// The cache follows the transaction: a rollback invalidates nothing.
    async fn reprice(&self, id: i64, price: i64) -> Result<()> {
        self.db
            .transaction(|tx| async move {
                let query = tx.query("UPDATE product SET price = $1 WHERE id = $2");
                query.bind(price).bind(id).execute().await?;
                self.products.invalidate_after_commit(&tx, &id.to_string()).await?;
                if price < 0 { Err(Error::user("a price is not negative")) } else { Ok(()) }
            })
            .await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let db = Db::connect("sqlite::memory:").await?;
    db.script(
        "CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER NOT NULL);
         INSERT INTO product VALUES (1, 'lamp', 20), (2, 'cup', 5);",
    )
    .await?;
    let products =
        Cache::builder("products", Memory::new()).negative_ttl(Duration::from_secs(5)).build()?;
    let shop = Shop { db, products };

    println!("100 ask for a product that is not cached");
    let all = (0..100).map(|_| shop.clone());
    let all: Vec<_> = all.map(|s| tokio::spawn(async move { s.product(1).await })).collect();
    for asked in all {
        asked.await.expect("no panic")?;
    }
    println!("one that is not there, twice");
    shop.show(9).await?;
    shop.show(9).await?;
    println!("a price changes, and a change is rolled back");
    shop.reprice(1, 25).await?;
    shop.show(1).await?;
    println!("  {}", shop.reprice(1, -1).await.unwrap_err());
    shop.show(1).await?;
    println!("the whole price list is new");
    shop.show(2).await?;
    shop.products.invalidate_tag("price list").await?;
    shop.show(2).await?;
    let facts = shop.products.snapshot().facts;
    let told = facts.iter().filter(|fact| ["hits", "misses", "loads"].contains(&fact.name));
    told.for_each(|fact| println!("  {}: {}", fact.name, fact.value));
    Ok(())
}
