//! Jobs from a transaction to a handler: `cargo run -p mainstay --features jobs --example jobs`.

use std::time::Duration;

use mainstay::jobs::{Action, install};
use mainstay::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct WelcomeMail {
    user: String,
}

impl Job for WelcomeMail {
    const NAME: &'static str = "welcome_mail";

    fn failed(&self, attempt: u32, _: &Error) -> Action {
        Action::Retry(Duration::from_millis(200) * attempt)
    }
}

#[derive(Serialize, Deserialize)]
struct Order {
    number: i64,
}

impl Job for Order {
    const NAME: &'static str = "order";
    const MAX_ATTEMPTS: u32 = 1;
}

async fn mail(mail: WelcomeMail, ctx: Context<()>) -> Result<()> {
    if ctx.attempt() == 1 {
        println!("  mail to {}: the server is busy, and it is tried again", mail.user);
        return Err(Error::user("the mail server is busy"));
    }
    println!("  mail to {}: sent at attempt {}", mail.user, ctx.attempt());
    Ok(())
}

/// Its steps are done once, or all undone.
async fn order(order: Order, ctx: Context<()>) -> Result<()> {
    let number = order.number;
    ctx.step_tx("reserve", move |tx| async move {
        println!("  order {number}: reserved");
        tx.query("UPDATE stock SET pieces = pieces - 1").execute().await.map(drop)
    })
    .undo(move |(), tx| async move {
        println!("  order {number}: given back");
        tx.query("UPDATE stock SET pieces = pieces + 1").execute().await.map(drop)
    })
    .await?;
    ctx.step("charge", || async { Err::<(), _>(Error::user("the card was refused")) }).await
}

#[tokio::main]
async fn main() -> Result<()> {
    let db = Db::connect("sqlite::memory:").await?;
    install(&db).await?;
    db.script("CREATE TABLE stock (pieces INTEGER); INSERT INTO stock VALUES (3);").await?;

    println!("enqueued in a transaction that commits, and in one that does not");
    db.transaction(|tx| async move {
        tx.enqueue(&WelcomeMail { user: "ada".into() }).unique("welcome ada").await
    })
    .await?;
    let refused: Result<()> = db
        .transaction(|tx| async move {
            tx.enqueue(&WelcomeMail { user: "nobody".into() }).await?;
            Err(Error::user("changed my mind"))
        })
        .await;
    println!("  the second: {}", refused.unwrap_err());
    let again = db.enqueue(&WelcomeMail { user: "ada".into() }).unique("welcome ada").await?;
    println!("  the same once more: {again:?}");
    db.enqueue(&Order { number: 7 }).await?;

    println!("a worker begins");
    let worker = Worker::builder(&db, ()).handle(mail).handle(order).start().await?;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    worker.drain(Duration::from_secs(5)).await?;
    let pieces: i64 = db.query("SELECT pieces FROM stock").scalar().await?;
    println!("in stock at the end: {pieces}");
    Ok(())
}
