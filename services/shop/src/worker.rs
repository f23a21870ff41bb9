//! What happens after an answer was given: stock is reserved, mails are written, orders are counted.
//!
//! An order is pending until `inventory` has decided; either all of its stock is reserved and it is
//! confirmed, or nothing is and it is cancelled. Whatever dies in between, it goes on.

use mainstay::jobs::{Context, Jobs, Queue, Worker};
use mainstay::{Db, Engine, Result};

use crate::config::Background;
use crate::events::{OrderCreated, OrderDecided, WelcomeMail};
use crate::mail::Mails;

/// Starts the shop's worker. Errors: those of [`mainstay::jobs::WorkerBuilder::start`], DB-026.
pub async fn start(db: &Db, config: &Background) -> Result<Worker> {
    let mails = Mails::new(&config.mail_folder)?;
    Worker::builder(db, mails)
        .concurrency(config.concurrency)
        .queue(Queue::new("mail"))
        .handle(welcome)
        .subscribe("inventory", reserve)
        .subscribe("notifications", notify)
        .subscribe("analytics", count)
        .start()
        .await
}

async fn welcome(job: WelcomeMail, ctx: Context<Mails>) -> Result<()> {
    let name = format!("welcome-{}", job.user);
    ctx.state().send(ctx.db(), job.user, &name, "Welcome to the shop").await
}

/// Reserves the whole order or nothing, and says which.
async fn reserve(event: OrderCreated, ctx: Context<Mails>) -> Result<()> {
    let event = &event;
    ctx.transaction(|tx| async move {
        let short = take_stock(&tx, event.order).await?;
        let confirmed = short.is_none();
        let reason = short.map(|sku| format!("there is not enough of {sku}"));
        tx.query("UPDATE orders SET status = $2, reason = $3 WHERE id = $1 AND status = 'pending'")
            .bind(event.order)
            .bind(if confirmed { "confirmed" } else { "cancelled" })
            .bind(reason.clone())
            .execute()
            .await?;
        let (order, user) = (event.order, event.user);
        tx.publish(&OrderDecided { order, user, confirmed, reason }).await.map(drop)
    })
    .await
}

/// What there is not enough of; nothing is taken then. Products are locked in the order of their keys.
async fn take_stock(tx: &Db, order: i64) -> Result<Option<String>> {
    let items: Vec<(String, i64)> = tx
        .query("SELECT sku, quantity FROM order_items WHERE order_id = $1 ORDER BY sku")
        .bind(order)
        .all()
        .await?;
    let mut taken = Vec::with_capacity(items.len());
    for (sku, quantity) in items {
        let done = tx
            .query("UPDATE products SET stock = stock - $1 WHERE sku = $2 AND stock >= $1")
            .bind(quantity)
            .bind(sku.as_str())
            .execute()
            .await?;
        if done.rows_affected() == 1 {
            taken.push((sku, quantity));
            continue;
        }
        // What was taken before it goes back: the order is taken as a whole.
        for (sku, quantity) in taken {
            tx.query("UPDATE products SET stock = stock + $1 WHERE sku = $2")
                .bind(quantity)
                .bind(sku)
                .execute()
                .await?;
        }
        return Ok(Some(sku));
    }
    Ok(None)
}

async fn notify(event: OrderDecided, ctx: Context<Mails>) -> Result<()> {
    let name = format!("order-{}", event.order);
    let text = match (&event.reason, event.confirmed) {
        (_, true) => format!("Your order {} is confirmed", event.order),
        (Some(reason), false) => format!("Your order {} is cancelled: {reason}", event.order),
        (None, false) => format!("Your order {} is cancelled", event.order),
    };
    ctx.state().send(ctx.db(), event.user, &name, &text).await
}

/// Counts each decision once, however often it is delivered.
async fn count(event: OrderDecided, ctx: Context<Mails>) -> Result<()> {
    let day = ctx.event().map(|event| event.published_at.format("%Y-%m-%d").to_string());
    let day = &day.unwrap_or_default();
    let status = if event.confirmed { "confirmed" } else { "cancelled" };
    ctx.transaction(|tx| async move {
        let sql = match tx.engine() {
            Engine::Sqlite | Engine::Postgres => {
                "INSERT INTO order_counts (day, status, orders) VALUES ($1, $2, 1) \
                 ON CONFLICT (day, status) DO UPDATE SET orders = order_counts.orders + 1"
            }
            Engine::MySql => {
                "INSERT INTO order_counts (day, status, orders) VALUES ($1, $2, 1) \
                 ON DUPLICATE KEY UPDATE orders = orders + 1"
            }
        };
        tx.query(sql).bind(day.as_str()).bind(status).execute().await.map(drop)
    })
    .await
}
