//! The subscriber `inventory`: reserves an order's stock, all of it or none, and gives it back.
//!
//! Stock is on the main database, and the order may be on a shard. What is done for an order on the main database is done
//! once, as its row in `reservations` tells, and before the order says so: what dies in between is done again.

use mainstay::jobs::{Context, Jobs};
use mainstay::{Db, Result};

use crate::events::{OrderCancelled, OrderConfirmed, OrderCreated, SettleOrder};
use crate::payments;
use crate::state::{PRODUCTS, Shop};
use crate::worker::Work;

/// Of the column.
const REASON_MAX_CHARS: usize = 200;

/// Confirms a pending order or cancels it, and says which.
pub(crate) async fn reserve(event: OrderCreated, ctx: Context<Work>) -> Result<()> {
    let OrderCreated { order, user } = event;
    let shop = &ctx.state().shop;
    ctx.transaction(|tx| async move { decide(shop, &tx, order, user).await }).await
}

async fn decide(shop: &Shop, tx: &Db, order: i64, user: i64) -> Result<()> {
    // Its row first: an order that is told of again, by a replay say, is not decided again.
    let pending = tx
        .query("UPDATE orders SET status = 'confirmed' WHERE id = $1 AND status = 'pending'")
        .bind(order)
        .execute()
        .await?;
    if pending.rows_affected() == 0 {
        return Ok(());
    }
    let items = &items(tx, order).await?;
    let held =
        shop.on_main(tx, |main| async move { hold(shop, &main, order, items).await }).await?;
    if let Some(sku) = held {
        return cancel(tx, order, user, format!("there is not enough of {sku}")).await;
    }
    tx.publish(&OrderConfirmed { order, user }).await?;
    let (account, amount): (Option<i64>, i64) =
        tx.query("SELECT account_id, total FROM orders WHERE id = $1").bind(order).one().await?;
    if let Some(account) = account {
        tx.enqueue(&SettleOrder { order, account, amount }).await?;
    }
    Ok(())
}

/// Takes an order's stock once, and remembers what came of it: what there is not enough of, if anything. Nothing is taken
/// then.
async fn hold(
    shop: &Shop,
    main: &Db,
    order: i64,
    items: &[(String, i64)],
) -> Result<Option<String>> {
    if let Some((_, short)) = reservation(main, order).await? {
        return Ok(short);
    }
    shop.products.invalidate_tag_after_commit(main, PRODUCTS).await?;
    let short = take_stock(main, items).await?;
    let state = if short.is_some() { "short" } else { "reserved" };
    // Of two at the same time one is refused, and undone with all it took.
    main.query("INSERT INTO reservations (order_id, state, sku) VALUES ($1, $2, $3)")
        .bind(order)
        .bind(state)
        .bind(short.clone())
        .execute()
        .await?;
    Ok(short)
}

/// What became of an order on the main database, and what it was short of.
async fn reservation(main: &Db, order: i64) -> Result<Option<(String, Option<String>)>> {
    let found = main.query("SELECT state, sku FROM reservations WHERE order_id = $1").bind(order);
    found.optional().await
}

/// What there is not enough of; nothing is taken then. Products are locked in the order of their keys.
async fn take_stock(main: &Db, items: &[(String, i64)]) -> Result<Option<String>> {
    for (at, (sku, quantity)) in items.iter().enumerate() {
        let taken = main
            .query("UPDATE products SET stock = stock - $1 WHERE sku = $2 AND stock >= $1")
            .bind(*quantity)
            .bind(sku.as_str())
            .execute()
            .await?;
        if taken.rows_affected() == 0 {
            give(main, &items[..at]).await?;
            return Ok(Some(sku.clone()));
        }
    }
    Ok(None)
}

/// Gives back what was reserved for an order and what it paid, and cancels it. Nothing to do where nothing is.
pub(crate) async fn release(shop: &Shop, tx: &Db, order: i64, reason: &str) -> Result<()> {
    let items = &items(tx, order).await?;
    shop.on_main(tx, |main| async move {
        payments::refund(&main, order).await?;
        let released = main
            .query("UPDATE reservations SET state = 'released' WHERE order_id = $1 AND state = 'reserved'")
            .bind(order)
            .execute()
            .await?;
        if released.rows_affected() == 1 {
            give(&main, items).await?;
            shop.products.invalidate_tag_after_commit(&main, PRODUCTS).await?;
        }
        Ok(())
    })
    .await?;
    let reserved = tx
        .query(
            "UPDATE orders SET status = 'cancelled' \
             WHERE id = $1 AND (status = 'confirmed' OR status = 'paid')",
        )
        .bind(order)
        .execute()
        .await?;
    if reserved.rows_affected() == 0 {
        return Ok(());
    }
    let user: i64 =
        tx.query("SELECT user_id FROM orders WHERE id = $1").bind(order).scalar().await?;
    cancel(tx, order, user, reason.to_owned()).await
}

async fn cancel(tx: &Db, order: i64, user: i64, reason: String) -> Result<()> {
    let reason: String = reason.chars().take(REASON_MAX_CHARS).collect();
    tx.query("UPDATE orders SET status = 'cancelled', reason = $2 WHERE id = $1")
        .bind(order)
        .bind(reason.as_str())
        .execute()
        .await?;
    tx.publish(&OrderCancelled { order, user, reason }).await.map(drop)
}

async fn items(tx: &Db, order: i64) -> Result<Vec<(String, i64)>> {
    tx.query("SELECT sku, quantity FROM order_items WHERE order_id = $1 ORDER BY sku")
        .bind(order)
        .all()
        .await
}

async fn give(main: &Db, items: &[(String, i64)]) -> Result<()> {
    for (sku, quantity) in items {
        main.query("UPDATE products SET stock = stock + $1 WHERE sku = $2")
            .bind(*quantity)
            .bind(sku.as_str())
            .execute()
            .await?;
    }
    Ok(())
}
