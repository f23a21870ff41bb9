//! Products and their stock.

use axum::Json;
use axum::extract::State;
use mainstay::{Db, FromRow};
use serde::Serialize;

use crate::extract::Params;
use crate::page::{Listed, Page};
use crate::problem::Answer;

/// A product. Its price is in cents.
#[derive(Debug, Serialize, FromRow)]
pub struct Product {
    id: i64,
    sku: String,
    name: String,
    price: i64,
    stock: i64,
}

/// `GET /products?limit=&after=`.
pub async fn list(
    State(db): State<Db>,
    Params(page): Params<Page>,
) -> Answer<Json<Listed<Product>>> {
    let (after, limit) = page.bounds()?;
    let products: Vec<Product> = db
        .query(
            "SELECT id, sku, name, price, stock FROM products WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after)
        .bind(limit)
        .all()
        .await?;
    Ok(Json(Listed::new(products, limit, |p| p.id)))
}
