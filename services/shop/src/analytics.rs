//! The subscriber `analytics`: counts per day how many orders were confirmed and how many were cancelled.
//! One that was confirmed and could not be paid is counted as both.

use mainstay::jobs::Context;
use mainstay::{Engine, Result};

use crate::events::{OrderCancelled, OrderConfirmed};
use crate::worker::Work;

/// An order that was confirmed.
pub(crate) async fn confirmed(_: OrderConfirmed, ctx: Context<Work>) -> Result<()> {
    count(&ctx, "confirmed").await
}

/// An order that was cancelled.
pub(crate) async fn cancelled(_: OrderCancelled, ctx: Context<Work>) -> Result<()> {
    count(&ctx, "cancelled").await
}

/// Once for each event, however often its delivery is tried. A replay counts again: empty the table first.
async fn count(ctx: &Context<Work>, status: &'static str) -> Result<()> {
    let Some(event) = ctx.event() else { return Ok(()) };
    let day = &event.published_at.format("%Y-%m-%d").to_string();
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
