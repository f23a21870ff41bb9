//! Orders. One is taken at once, if its user and its products exist: it is recorded as pending and told as
//! `order.created`, in one transaction. Whether there is enough in stock is decided after the answer, by
//! the worker's `inventory`: it is confirmed, or cancelled and nothing is taken.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mainstay::jobs::Jobs;
use mainstay::{Db, FromRow, Result};
use serde::{Deserialize, Serialize};

use crate::events::OrderCreated;
use crate::extract::{Body, Id, Params};
use crate::page::{Listed, Page};
use crate::problem::{Answer, Problem};
use crate::schema::{self, CENTS_MAX};

const ITEMS_MAX: usize = 100;
const QUANTITY_MAX: i64 = 10_000;

/// An order with its items. Amounts are cents.
#[derive(Debug, Serialize)]
pub struct Order {
    #[serde(flatten)]
    head: Head,
    items: Vec<Item>,
}

/// An order without its items.
#[derive(Debug, Serialize, FromRow)]
pub struct Head {
    id: i64,
    user_id: i64,
    total: i64,
    /// pending, confirmed or cancelled.
    status: String,
    /// Why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A product ordered, at the price it had.
#[derive(Debug, Serialize, FromRow)]
pub struct Item {
    sku: String,
    quantity: i64,
    price: i64,
}

/// What an order is made from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    user_id: i64,
    items: Vec<NewItem>,
}

/// A product and how many of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewItem {
    sku: String,
    quantity: i64,
}

/// `?user_id=&limit=&after=`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    user_id: Option<i64>,
    limit: Option<i64>,
    after: Option<i64>,
}

/// `POST /orders`: 201, pending; 404 for no such user; 422. `GET /orders/{id}` tells what became of it.
pub async fn create(
    State(db): State<Db>,
    Body(new): Body<NewOrder>,
) -> Answer<(StatusCode, Json<Order>)> {
    let wanted = wanted(new.items)?;
    let user_id = new.user_id;
    let order = db
        .transaction(|tx| {
            let wanted = wanted.clone();
            async move { place(&tx, user_id, wanted).await }
        })
        .await?;
    Ok((StatusCode::CREATED, Json(order)))
}

/// Each product once, in the order in which rows are locked everywhere.
fn wanted(items: Vec<NewItem>) -> Answer<BTreeMap<String, i64>> {
    if items.is_empty() || items.len() > ITEMS_MAX {
        return Err(Problem::invalid(format!("an order has 1 to {ITEMS_MAX} items")));
    }
    let mut wanted = BTreeMap::new();
    for NewItem { sku, quantity } in items {
        if !(1..=QUANTITY_MAX).contains(&quantity) {
            return Err(Problem::invalid(format!("quantity of {sku} must be 1 to {QUANTITY_MAX}")));
        }
        *wanted.entry(sku).or_insert(0) += quantity;
    }
    Ok(wanted)
}

async fn place(tx: &Db, user_id: i64, wanted: BTreeMap<String, i64>) -> Result<Order> {
    let user =
        tx.query("SELECT id FROM users WHERE id = $1").bind(user_id).optional::<(i64,)>().await?;
    if user.is_none() {
        return Err(Problem::not_found("user", user_id).into_error());
    }
    let mut items = Vec::with_capacity(wanted.len());
    for (sku, quantity) in wanted {
        let price = price(tx, &sku).await?;
        items.push(Item { sku, quantity, price });
    }
    let sum = |sum: i64, item: &Item| sum.checked_add(item.price.checked_mul(item.quantity)?);
    let total = items.iter().try_fold(0, sum).filter(|total| *total <= CENTS_MAX);
    let total =
        total.ok_or_else(|| Problem::invalid("the order's total is too large").into_error())?;
    let id = schema::insert(
        tx,
        "INSERT INTO orders (user_id, total, status) VALUES ($1, $2, 'pending')",
        "INSERT INTO orders (user_id, total, status) VALUES ($1, $2, 'pending') RETURNING id",
        [user_id.into(), total.into()],
    )
    .await?;
    for item in &items {
        tx.query(
            "INSERT INTO order_items (order_id, sku, quantity, price) VALUES ($1, $2, $3, $4)",
        )
        .bind(id)
        .bind(item.sku.clone())
        .bind(item.quantity)
        .bind(item.price)
        .execute()
        .await?;
    }
    tx.publish(&OrderCreated { order: id, user: user_id }).await?;
    let (status, reason) = ("pending".to_owned(), None);
    Ok(Order { head: Head { id, user_id, total, status, reason }, items })
}

async fn price(tx: &Db, sku: &str) -> Result<i64> {
    let price: Option<(i64,)> =
        tx.query("SELECT price FROM products WHERE sku = $1").bind(sku).optional().await?;
    let none = || Problem::invalid(format!("there is no product {sku}")).into_error();
    price.map(|(price,)| price).ok_or_else(none)
}

/// `GET /orders/{id}`.
pub async fn get(State(db): State<Db>, Id(id): Id<i64>) -> Answer<Json<Order>> {
    let head = db
        .query("SELECT id, user_id, total, status, reason FROM orders WHERE id = $1")
        .bind(id)
        .optional()
        .await?;
    let head = head.ok_or_else(|| Problem::not_found("order", id))?;
    let items = db
        .query("SELECT sku, quantity, price FROM order_items WHERE order_id = $1 ORDER BY sku")
        .bind(id)
        .all()
        .await?;
    Ok(Json(Order { head, items }))
}

/// `GET /orders?user_id=&limit=&after=`.
pub async fn list(
    State(db): State<Db>,
    Params(filter): Params<Filter>,
) -> Answer<Json<Listed<Head>>> {
    let (after, limit) = Page { limit: filter.limit, after: filter.after }.bounds()?;
    let query = match filter.user_id {
        Some(user) => db
            .query("SELECT id, user_id, total, status, reason FROM orders WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3")
            .bind(user),
        None => db.query("SELECT id, user_id, total, status, reason FROM orders WHERE id > $1 ORDER BY id LIMIT $2"),
    };
    let orders: Vec<Head> = query.bind(after).bind(limit).all().await?;
    Ok(Json(Listed::new(orders, limit, |o| o.id)))
}
