//! Payments: the saga `settle_order`. A confirmed order is paid from its account, or all that was done for
//! it is undone: the money goes back, the stock too, and the order is cancelled.
//!
//! Accounts and payments are on the main database, and the order may be on a shard: `reservations` tells what was done for it.
//! What was paid moves from `accounts` to `payments`; both together stay the same.

use mainstay::jobs::{Context, Outcome};
use mainstay::{Db, Result};

use crate::events::SettleOrder;
use crate::inventory;
use crate::worker::Work;

const NOT_PAID: &str = "it could not be paid";

/// Its steps are done once each, whatever is killed in between.
pub(crate) async fn settle(payment: SettleOrder, ctx: Context<Work>) -> Result<Outcome> {
    let (order, shop) = (payment.order, ctx.state().shop.clone());
    let refunding = shop.clone();
    // `inventory` has done this one; that it is noted here has it undone too.
    ctx.step("reserved", || async { Ok(()) })
        .undo(move |(), tx| {
            let shop = shop.clone();
            async move { inventory::release(&shop, &tx, order, NOT_PAID).await }
        })
        .await?;
    let main = ctx.state().shop.clone();
    let charged = ctx
        .step_tx("charge", move |tx| {
            let shop = main.clone();
            async move { shop.on_main(&tx, |main| async move { charge(&main, payment).await }).await }
        })
        .undo(move |charged: bool, tx| {
            let shop = refunding.clone();
            async move {
                if !charged {
                    return Ok(());
                }
                shop.on_main(&tx, |main| async move { refund(&main, order).await }).await
            }
        })
        .await?;
    if !charged {
        // Tried again it would end in the same way. It is undone at once.
        return Ok(Outcome::Dead("the account has not enough".to_owned()));
    }
    let paid = ctx.step_tx("mark paid", move |tx| async move { mark_paid(&tx, order).await });
    if paid.await? {
        Ok(Outcome::Done)
    } else {
        Ok(Outcome::Dead("the order is not confirmed any more".to_owned()))
    }
}

/// Once for an order. False where the account has not enough, or the order's stock is not reserved any more.
async fn charge(main: &Db, payment: SettleOrder) -> Result<bool> {
    let begun = main
        .query(
            "UPDATE reservations SET state = 'charged' WHERE order_id = $1 AND state = 'reserved'",
        )
        .bind(payment.order)
        .execute()
        .await?;
    if begun.rows_affected() == 0 {
        let state = main.query("SELECT state FROM reservations WHERE order_id = $1");
        let state: Option<(String,)> = state.bind(payment.order).optional().await?;
        return Ok(state.is_some_and(|(state,)| state == "charged"));
    }
    let taken = main
        .query("UPDATE accounts SET balance = balance - $1 WHERE id = $2 AND balance >= $1")
        .bind(payment.amount)
        .bind(payment.account)
        .execute()
        .await?;
    if taken.rows_affected() == 0 {
        uncharge(main, payment.order).await?;
        return Ok(false);
    }
    main.query("INSERT INTO payments (order_id, account_id, amount) VALUES ($1, $2, $3)")
        .bind(payment.order)
        .bind(payment.account)
        .bind(payment.amount)
        .execute()
        .await?;
    Ok(true)
}

/// Gives back what an order has paid, if it has: once.
pub(crate) async fn refund(main: &Db, order: i64) -> Result<()> {
    if !uncharge(main, order).await? {
        return Ok(());
    }
    let paid = main.query("SELECT account_id, amount FROM payments WHERE order_id = $1");
    let paid: Option<(i64, i64)> = paid.bind(order).optional().await?;
    let Some((account, amount)) = paid else { return Ok(()) };
    main.query("UPDATE accounts SET balance = balance + $1 WHERE id = $2")
        .bind(amount)
        .bind(account)
        .execute()
        .await?;
    main.query("DELETE FROM payments WHERE order_id = $1").bind(order).execute().await?;
    Ok(())
}

/// Whether it was charged until now.
async fn uncharge(main: &Db, order: i64) -> Result<bool> {
    let undone = main
        .query(
            "UPDATE reservations SET state = 'reserved' WHERE order_id = $1 AND state = 'charged'",
        )
        .bind(order)
        .execute()
        .await?;
    Ok(undone.rows_affected() == 1)
}

async fn mark_paid(tx: &Db, order: i64) -> Result<bool> {
    let paid = tx
        .query("UPDATE orders SET status = 'paid' WHERE id = $1 AND status = 'confirmed'")
        .bind(order)
        .execute()
        .await?;
    Ok(paid.rows_affected() == 1)
}
