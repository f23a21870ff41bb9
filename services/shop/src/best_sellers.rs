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

/// Once for an order, as its row in `reservations` tells.
pub(crate) async fn count(event: OrderConfirmed, ctx: Context<Work>) -> Result<()> {
    let shop = &ctx.state().shop;
    ctx.transaction(|tx| async move {
        let items: Vec<(String, i64)> = tx
            .query("SELECT sku, quantity FROM order_items WHERE order_id = $1 ORDER BY sku")
            .bind(event.order)
            .all()
            .await?;
        let items = &items;
        shop.on_main(&tx, |main| async move {
            let first = main
                .query("UPDATE reservations SET counted = 1 WHERE order_id = $1 AND counted = 0")
                .bind(event.order)
                .execute()
                .await?;
            if first.rows_affected() == 0 {
                return Ok(());
            }
            let board = shop.best_sellers.on(&main)?;
            for (sku, quantity) in items {
                board.add(sku, *quantity).await?;
            }
            Ok(())
        })
        .await
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
