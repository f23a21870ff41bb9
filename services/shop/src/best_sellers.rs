//! The best sellers of the week: a leaderboard that the subscriber `best-sellers` feeds from confirmed orders,
//! each order once.

use axum::Json;
use axum::extract::State;
use mainstay::Result;
use mainstay::jobs::Context;
use serde::Serialize;
use utoipa::ToSchema;

use crate::events::OrderConfirmed;
use crate::state::Shop;
use crate::worker::Work;
use mainstay::http::Answer;

const SHOWN: u32 = 10;

/// The products that sell best.
#[derive(Debug, Serialize, ToSchema)]
pub struct BestSellers {
    items: Vec<BestSeller>,
}

/// One of them.
#[derive(Debug, Serialize, ToSchema)]
struct BestSeller {
    /// From 1.
    rank: u64,
    sku: String,
    /// Units, this week.
    sold: i64,
}

/// In the transaction in which the delivery ends: a second one finds it ended.
pub(crate) async fn count(event: OrderConfirmed, ctx: Context<Work>) -> Result<()> {
    let board = &ctx.state().shop.best_sellers;
    ctx.transaction(|tx| async move {
        let board = board.on(&tx)?;
        let items: Vec<(String, i64)> = tx
            .query("SELECT sku, quantity FROM order_items WHERE order_id = $1 ORDER BY sku")
            .bind(event.order)
            .all()
            .await?;
        for (sku, quantity) in items {
            board.add(&sku, quantity).await?;
        }
        Ok(())
    })
    .await
}

/// `GET /best-sellers`: the ten of this week.
#[utoipa::path(get, path = "/best-sellers", tag = "products", responses((status = 200, body = BestSellers)))]
pub async fn list(State(shop): State<Shop>) -> Answer<Json<BestSellers>> {
    let top = shop.best_sellers.top(SHOWN).await?;
    let items =
        top.into_iter().map(|one| BestSeller { rank: one.rank, sku: one.member, sold: one.score });
    Ok(Json(BestSellers { items: items.collect() }))
}
