//! An order that is placed, or not, and what comes with it: `cargo run -p mainstay --example
//! transactions`.
//!
//! With the features of other engines, `DATABASE_URL` chooses another database.

use mainstay::prelude::*;
use mainstay::{Conflict, RetryPolicy};
use std::time::Duration;

/// Places the order. The gift is nice to have: without it, the order stands.
async fn order(db: &Db, sku: &'static str, gift: &'static str) -> Result<()> {
    db.tx()
        .isolation(Isolation::Serializable)
        .timeout(Duration::from_secs(3))
        .retry(RetryPolicy::attempts(20))
        .run(|tx| async move {
            take(&tx, sku).await?;
            let wrapped = tx.tx().propagation(Propagation::Nested);
            if let Err(error) = wrapped.run(|tx| async move { take(&tx, gift).await }).await {
                println!("  without {gift}: {error}");
            }
            // Never for an order that was rolled back, and once for one that was run again.
            tx.after_commit(move |_| async move {
                println!("  mail: {sku} is on its way");
                Ok(())
            })
            .await
        })
        .await
}

async fn take(db: &Db, sku: &'static str) -> Result<()> {
    let left = "UPDATE stock SET count = count - 1 WHERE sku = $1 AND count > 0";
    if db.query(left).bind(sku).execute().await?.rows_affected() == 0 {
        return Err(Error::user(format!("{sku} is sold out")));
    }
    Ok(())
}

/// Two people have the same price before them.
async fn edit(db: &Db) -> Result<()> {
    let (price, version): (i64, i64) =
        db.query("SELECT price, version FROM stock WHERE sku = 'tea'").one().await?;
    let cheaper = db.versioned("stock", "sku", "tea", version).set("price", price - 1);
    println!("the first saves version {}", cheaper.update().await?);
    let dearer = db.versioned("stock", "sku", "tea", version).set("price", price + 1);
    let error = dearer.update().await.unwrap_err();
    println!("the second: {error} {:?}", error.detail::<Conflict>());
    Ok(())
}

/// An error of a part is swallowed: half of the work is not committed in silence.
async fn swallowed(db: &Db) -> Result<()> {
    db.transaction(|tx| async move {
        take(&tx, "tea").await?;
        let _: Result<()> = tx.transaction(|tx| async move { take(&tx, "cups").await }).await;
        Ok(())
    })
    .await
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings = mainstay::Settings::sources().load::<mainstay::Settings>()?.value;
    let db = settings.connect("sqlite::memory:").await?;
    db.script("DROP TABLE IF EXISTS stock; CREATE TABLE stock (sku VARCHAR(20) PRIMARY KEY, count BIGINT NOT NULL, price BIGINT NOT NULL, version BIGINT NOT NULL)")
        .await?;
    let rows = [("tea", 2i64, 500i64, 1i64), ("cups", 0, 900, 1)];
    db.bulk_insert("stock", &["sku", "count", "price", "version"], rows).await?;

    println!("tea, and cups as a gift:");
    order(&db, "tea", "cups").await?;
    println!("cups:");
    println!("  {}", order(&db, "cups", "tea").await.unwrap_err());
    edit(&db).await?;
    println!("\n{}\n", swallowed(&db).await.unwrap_err().report());

    if let Some(lock) = db.advisory_lock("nightly report").try_acquire().await? {
        println!("the only one of all processes with the lock `{}`", lock.name());
        lock.release().await?;
    }
    let left: i64 = db.query("SELECT count FROM stock WHERE sku = 'tea'").scalar().await?;
    println!("{left} tea left");
    db.close(Duration::from_secs(5)).await
}
