//! Products and their stock. Pages of them are kept, until an order changes a stock.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mainstay::db::sea_query::{Expr, ExprTrait, Query};
use mainstay::{Db, FromRow, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::{Body, Params};
use crate::page::{Listed, Page};
use crate::peers::{Prices, Skus};
use crate::state::{PRODUCTS, Shop};
use mainstay::http::{Answer, Problem};

/// A product. Its price is in cents.
#[derive(Debug, Serialize, Deserialize, FromRow, ToSchema)]
pub struct Product {
    id: i64,
    sku: String,
    name: String,
    price: i64,
    stock: i64,
}

/// `GET /products?limit=&after=`.
#[utoipa::path(get, path = "/products", tag = "products", params(Page), responses(
    (status = 200, body = Listed<Product>), (status = 422)))]
pub async fn list(
    State(shop): State<Shop>,
    Params(page): Params<Page>,
) -> Answer<Json<Arc<Listed<Product>>>> {
    let (after, limit) = page.bounds()?;
    let (key, db) = (format!("{after} {limit}"), shop.db.clone());
    let load = move || async move { read(&db, after, limit).await.map(Some) };
    let page = shop.products.get_or_load_tagged(&key, &[PRODUCTS], load).await?;
    Ok(Json(page.unwrap_or_else(|| Arc::new(Listed { items: Vec::new(), next: None }))))
}

async fn read(db: &Db, after: i64, limit: i64) -> Result<Listed<Product>> {
    let products: Vec<Product> = db
        .query(
            "SELECT id, sku, name, price, stock FROM products WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(Listed::new(products, limit, |p| p.id))
}

/// SKUs that may be asked for at a time: as many as an order has items.
pub const ASKED_MAX: usize = 100;

/// `POST /prices`: what the orders service asks. Those that there are; 422 for too many.
#[utoipa::path(post, path = "/prices", tag = "products", request_body = Skus, responses(
    (status = 200, body = Prices), (status = 422)))]
pub async fn prices(State(db): State<Db>, Body(asked): Body<Skus>) -> Answer<Json<Prices>> {
    if asked.skus.len() > ASKED_MAX {
        return Err(Problem::invalid(format!("skus has {ASKED_MAX} at most")));
    }
    Ok(Json(Prices { prices: prices_of(&db, asked.skus).await? }))
}

/// The prices of those of `skus` that there are.
pub(crate) async fn prices_of(db: &Db, skus: Vec<String>) -> Result<HashMap<String, i64>> {
    let select = Query::select()
        .columns(["sku", "price"])
        .from("products")
        .and_where(Expr::col("sku").is_in(skus))
        .take();
    let prices: Vec<(String, i64)> = db.build(&select).all().await?;
    Ok(prices.into_iter().collect())
}
