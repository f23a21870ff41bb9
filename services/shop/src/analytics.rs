//! The subscriber `analytics`: counts per day how many orders were confirmed and how many were cancelled.
//! One that was confirmed and could not be paid is counted as both. Each shard counts its own orders, in the transaction that
//! ends the delivery; what is shown is the sum over all.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Days, Utc};
use mainstay::clock::Clock;
use mainstay::http::Answer;
use mainstay::jobs::Context;
use mainstay::{Engine, Result};
use serde::Serialize;
use utoipa::ToSchema;

use crate::events::{OrderCancelled, OrderConfirmed};
use crate::state::Shop;
use crate::worker::Work;

/// Days.
const SHOWN: u64 = 62;

/// How many orders.
#[derive(Debug, Serialize, ToSchema)]
pub struct Counts {
    /// By day, the newest first, and status.
    items: Vec<OrderCount>,
}

/// Of one day and status.
#[derive(Debug, Serialize, ToSchema)]
struct OrderCount {
    /// As 2026-03-01.
    day: String,
    /// confirmed or cancelled.
    status: String,
    orders: i64,
}

/// `GET /order-counts`: of the last two months, on all shards.
#[utoipa::path(get, path = "/order-counts", tag = "orders", responses((status = 200, body = Counts)))]
pub async fn list(State(shop): State<Shop>) -> Answer<Json<Counts>> {
    // Added up here: texts are grouped by a collation on MySQL, which only the server knows.
    const COUNTS: &str = "SELECT day, status, orders FROM order_counts WHERE day >= $1";
    let today = DateTime::<Utc>::from(Clock::system().wall());
    let first = (today - Days::new(SHOWN)).format("%Y-%m-%d").to_string();
    let asked = shop.shards().scatter().query(COUNTS).bind(first);
    let mut sums: BTreeMap<(Reverse<String>, String), i64> = BTreeMap::new();
    for (day, status, orders) in asked.all::<(String, String, i64)>().await?.rows {
        *sums.entry((Reverse(day), status)).or_default() += orders;
    }
    let rows = sums.into_iter().map(|((Reverse(day), status), orders)| (day, status, orders));
    let items = rows.map(|(day, status, orders)| OrderCount { day, status, orders });
    Ok(Json(Counts { items: items.collect() }))
}

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
