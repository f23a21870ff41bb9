//! Payments: the saga `settle_order`. A confirmed order is paid from its account, or all that was done for
//! it is undone: the money goes back, the stock too, and the order is cancelled.
//!
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
    // `inventory` has done this one; that it is noted here has it undone too.
    ctx.step("reserved", || async { Ok(()) })
        .undo(move |(), tx| {
            let shop = shop.clone();
            async move { inventory::release(&shop, &tx, order, NOT_PAID).await }
        })
        .await?;
    let charged = ctx
        .step_tx("charge", move |tx| async move { charge(&tx, payment).await })
        .undo(move |charged: bool, tx| async move {
            if charged { refund(&tx, payment).await } else { Ok(()) }
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

/// False where the account has not enough.
async fn charge(tx: &Db, payment: SettleOrder) -> Result<bool> {
    let taken = tx
        .query("UPDATE accounts SET balance = balance - $1 WHERE id = $2 AND balance >= $1")
        .bind(payment.amount)
        .bind(payment.account)
        .execute()
        .await?;
    if taken.rows_affected() == 0 {
        return Ok(false);
    }
    tx.query("INSERT INTO payments (order_id, account_id, amount) VALUES ($1, $2, $3)")
        .bind(payment.order)
        .bind(payment.account)
        .bind(payment.amount)
        .execute()
        .await?;
    Ok(true)
}

async fn refund(tx: &Db, payment: SettleOrder) -> Result<()> {
    tx.query("UPDATE accounts SET balance = balance + $1 WHERE id = $2")
        .bind(payment.amount)
        .bind(payment.account)
        .execute()
        .await?;
    tx.query("DELETE FROM payments WHERE order_id = $1").bind(payment.order).execute().await?;
    Ok(())
}

async fn mark_paid(tx: &Db, order: i64) -> Result<bool> {
    let paid = tx
        .query("UPDATE orders SET status = 'paid' WHERE id = $1 AND status = 'confirmed'")
        .bind(order)
        .execute()
        .await?;
    Ok(paid.rows_affected() == 1)
}
