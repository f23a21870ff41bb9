//! Events and their groups: `cargo run -p mainstay --features jobs --example events`.

use std::time::Duration;

use mainstay::jobs::event::{From, replay};
use mainstay::jobs::install;
use mainstay::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct OrderCreated {
    order: i64,
    customer: String,
}

impl Event for OrderCreated {
    const NAME: &'static str = "order.created";

    // One customer's orders come in their order.
    fn key(&self) -> Option<String> {
        Some(self.customer.clone())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let db = Db::connect("sqlite::memory:").await?;
    install(&db).await?;
    let worker = Worker::builder(&db, ())
        .subscribe("mail", |event: OrderCreated, _: Context<()>| async move {
            println!("  mail: order {} of {}", event.order, event.customer);
            Ok(())
        })
        .subscribe("analytics", |event: OrderCreated, ctx: Context<()>| async move {
            let position = ctx.event().map_or(0, |event| event.position);
            println!("  analytics: order {} at position {position}", event.order);
            Ok(())
        })
        .start()
        .await?;

    println!("three orders, each published in its transaction");
    for (order, customer) in [(1, "ada"), (2, "ada"), (3, "grace")] {
        db.transaction(|tx| async move {
            tx.publish(&OrderCreated { order, customer: customer.into() }).await
        })
        .await?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;

    println!("analytics wants them again, from the second on");
    let replayed = replay(&db, "analytics", From::Position(2)).await?;
    println!("  {} events", replayed.events);
    tokio::time::sleep(Duration::from_secs(1)).await;
    worker.drain(Duration::from_secs(5)).await
}
