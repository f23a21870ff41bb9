//! Orders. One is taken at once, if its user and its products exist, which [`peers`](crate::peers) are asked:
//! it is recorded as pending and told as `order.created`, in one transaction. Whether there is enough in stock is decided after the answer, by
//! the worker's `inventory`: it is confirmed, or cancelled and nothing is taken. One that names an account is
//! paid from it then, or cancelled.
//!
//! An order, its items, its events and its jobs are on the shard of its user, and its number tells that shard. With one
//! database that is the main one, which numbers them itself.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use mainstay::jobs::Jobs;
use mainstay::{Db, Engine, Error, FromRow, Result};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::IdempotencyKey;
use crate::events::OrderCreated;
use crate::extract::{Body, Id, Params};
use crate::page::{Listed, Page};
use crate::products;
use crate::schema::{self, CENTS_MAX};
use crate::state::Shop;
use mainstay::http::{Answer, Idempotent, Problem};

const ITEMS_MAX: usize = products::ASKED_MAX;
const QUANTITY_MAX: i64 = 10_000;
/// Tries of a number that another process has not made too.
const NUMBERS_MAX: u32 = 4;

/// An order with its items. Amounts are cents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Order {
    #[serde(flatten)]
    head: Head,
    items: Vec<Item>,
}

/// An order without its items.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Head {
    id: i64,
    user_id: i64,
    total: i64,
    /// What pays it; without one it is paid elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<i64>,
    /// pending, confirmed, paid or cancelled.
    status: String,
    /// Why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A product ordered, at the price it had.
#[derive(Clone, Debug, Serialize, FromRow, ToSchema)]
pub struct Item {
    sku: String,
    quantity: i64,
    price: i64,
}

/// What an order is made from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    user_id: i64,
    account_id: Option<i64>,
    #[schema(min_items = 1, max_items = 100)]
    items: Vec<NewItem>,
}

/// A product and how many of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewItem {
    sku: String,
    #[schema(minimum = 1, maximum = 10_000)]
    quantity: i64,
}

/// `?user_id=&limit=&after=`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    user_id: Option<i64>,
    /// Items at most, 1 to 100; default 20.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<i64>,
    after: Option<i64>,
}

/// `POST /orders`: 201, pending; 404 for no such user or account; 422; 503 or 504 where a service that is
/// asked does not answer. `GET /orders/{id}` tells what became of it.
#[utoipa::path(post, path = "/orders", tag = "orders", request_body = NewOrder, params(IdempotencyKey), responses(
    (status = 201, body = Order), (status = 404, description = "No such user or account"),
    (status = 409, description = "The key is in flight"), (status = 422)))]
pub async fn create(
    State(shop): State<Shop>,
    once: Idempotent,
    Body(new): Body<NewOrder>,
) -> Answer<Response> {
    let wanted = wanted(new.items)?;
    let (user_id, account_id) = (new.user_id, new.account_id);
    let priced = match price(&shop, user_id, account_id, wanted).await {
        Ok(priced) => priced,
        // Who was answered before is answered again, whatever the others say by now.
        Err(problem) => {
            return once.replay(&shop.orders_of(user_id)?).await?.ok_or(problem);
        }
    };
    let db = shop.orders_of(user_id)?;
    once.run(&db, move |tx| {
        let (shop, priced) = (shop.clone(), priced.clone());
        async move {
            let order = place(&shop, &tx, user_id, account_id, priced).await?;
            Ok((StatusCode::CREATED, Json(order)))
        }
    })
    .await
}

/// What an order would be, from those who know.
#[derive(Clone)]
struct Priced {
    items: Vec<Item>,
    total: i64,
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

/// Both are asked at the same time; what is wrong with the user is told first.
async fn price(
    shop: &Shop,
    user: i64,
    account: Option<i64>,
    wanted: BTreeMap<String, i64>,
) -> Answer<Priced> {
    let skus = wanted.keys().cloned().collect();
    let (known, prices) =
        tokio::join!(shop.users.check(user, account), shop.catalogue.prices(skus));
    let prices = known.and(prices)?;
    let mut items = Vec::with_capacity(wanted.len());
    for (sku, quantity) in wanted {
        let Some(&price) = prices.get(&sku) else {
            return Err(Problem::invalid(format!("there is no product {sku}")));
        };
        items.push(Item { sku, quantity, price });
    }
    let sum = |sum: i64, item: &Item| sum.checked_add(item.price.checked_mul(item.quantity)?);
    let total = items.iter().try_fold(0, sum).filter(|total| *total <= CENTS_MAX);
    let total = total.ok_or_else(|| Problem::invalid("the order's total is too large"))?;
    Ok(Priced { items, total })
}

async fn place(
    shop: &Shop,
    tx: &Db,
    user_id: i64,
    account_id: Option<i64>,
    Priced { items, total }: Priced,
) -> Result<Order> {
    let id = if shop.databases.is_sharded() {
        number(shop, tx, user_id, account_id, total).await?
    } else {
        schema::insert(
            tx,
            "INSERT INTO orders (user_id, total, account_id, status) VALUES ($1, $2, $3, 'pending')",
            "INSERT INTO orders (user_id, total, account_id, status) VALUES ($1, $2, $3, 'pending') RETURNING id",
            [user_id.into(), total.into(), account_id.into()],
        )
        .await?
    };
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
    Ok(Order { head: Head { id, user_id, total, account_id, status, reason }, items })
}

/// The order's row, under a number that tells its shard. Another process may have made the same one in the same ms: then
/// the next.
async fn number(
    shop: &Shop,
    tx: &Db,
    user_id: i64,
    account_id: Option<i64>,
    total: i64,
) -> Result<i64> {
    let sql = match tx.engine() {
        Engine::Sqlite | Engine::Postgres => {
            "INSERT INTO orders (id, user_id, total, account_id, status) VALUES ($1, $2, $3, $4, 'pending') \
             ON CONFLICT (id) DO NOTHING"
        }
        Engine::MySql => {
            "INSERT IGNORE INTO orders (id, user_id, total, account_id, status) VALUES ($1, $2, $3, $4, 'pending')"
        }
    };
    for _ in 0..NUMBERS_MAX {
        let id = shop.shards().id64(&user_id)?;
        let insert = tx.query(sql).bind(id).bind(user_id).bind(total).bind(account_id);
        if insert.execute().await?.rows_affected() == 1 {
            return Ok(id);
        }
    }
    Err(Error::user(format!("{NUMBERS_MAX} numbers of orders were all taken")))
}

/// `GET /orders/{id}`.
#[utoipa::path(get, path = "/orders/{id}", tag = "orders", params(("id" = i64, Path)), responses(
    (status = 200, body = Order), (status = 404)))]
pub async fn get(State(shop): State<Shop>, Id(id): Id<i64>) -> Answer<Json<Order>> {
    let none = || Problem::not_found("order", id);
    let db = shop.order_at(id).await?.ok_or_else(none)?;
    let order = match read(&db, id).await? {
        // A replica may not have it yet.
        None => read(&shop.databases.primary(db.name())?, id).await?,
        found => found,
    };
    order.map(Json).ok_or_else(none)
}

/// An order without items is none: they come from a replica that does not have them yet.
async fn read(db: &Db, id: i64) -> Result<Option<Order>> {
    let head = db
        .query("SELECT id, user_id, total, account_id, status, reason FROM orders WHERE id = $1")
        .bind(id)
        .optional()
        .await?;
    let Some(head) = head else { return Ok(None) };
    let items: Vec<Item> = db
        .query("SELECT sku, quantity, price FROM order_items WHERE order_id = $1 ORDER BY sku")
        .bind(id)
        .all()
        .await?;
    Ok((!items.is_empty()).then_some(Order { head, items }))
}

/// `GET /orders?user_id=&limit=&after=`.
#[utoipa::path(get, path = "/orders", tag = "orders", params(Filter), responses(
    (status = 200, body = Listed<Head>), (status = 422)))]
pub async fn list(
    State(shop): State<Shop>,
    Params(filter): Params<Filter>,
) -> Answer<Json<Listed<Head>>> {
    let (after, limit) = Page { limit: filter.limit, after: filter.after }.bounds()?;
    let orders: Vec<Head> = match filter.user_id {
        Some(user) => {
            let sql = "SELECT id, user_id, total, account_id, status, reason FROM orders WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3";
            let db = shop.shards().of(&user)?;
            db.query(sql).bind(user).bind(after).bind(limit).all().await?
        }
        None => {
            let sql = "SELECT id, user_id, total, account_id, status, reason FROM orders WHERE id > $1 ORDER BY id LIMIT $2";
            let all = shop.shards().scatter().query(sql).bind(after).bind(limit);
            all.all().await?.rows
        }
    };
    Ok(Json(Listed::new(orders, limit, |o| o.id)))
}
