//! Accounts and the transfers between them. Money is neither created nor lost: both sides of a
//! transfer change in one transaction, and no balance goes below zero.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use mainstay::{Code, Db, FromRow, Result};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::IdempotencyKey;
use crate::extract::{Body, Id};
use crate::schema::{self, CENTS_MAX};
use crate::state::Shop;
use mainstay::http::{Answer, Idempotent, Problem};

/// An account. Amounts are cents.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Account {
    id: i64,
    owner_id: i64,
    balance: i64,
}

/// What an account is made from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    owner_id: i64,
    /// Cents.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    balance: i64,
}

/// A transfer of cents between two accounts.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    from: i64,
    to: i64,
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000_i64)]
    amount: i64,
}

/// `POST /accounts`: 201; 404 for no such owner; 422.
#[utoipa::path(post, path = "/accounts", tag = "accounts", request_body = NewAccount, responses(
    (status = 201, body = Account), (status = 404, description = "No such owner"), (status = 422)))]
pub async fn create(
    State(db): State<Db>,
    Body(new): Body<NewAccount>,
) -> Answer<(StatusCode, Json<Account>)> {
    let NewAccount { owner_id, balance } = new;
    if !(0..=CENTS_MAX).contains(&balance) {
        return Err(Problem::invalid(format!("balance must be 0 to {CENTS_MAX} cents")));
    }
    let id = schema::insert(
        &db,
        "INSERT INTO accounts (owner_id, balance) VALUES ($1, $2)",
        "INSERT INTO accounts (owner_id, balance) VALUES ($1, $2) RETURNING id",
        [owner_id.into(), balance.into()],
    )
    .await
    .map_err(|error| match error.code() {
        Code::ForeignKey => Problem::not_found("user", owner_id),
        _ => error.into(),
    })?;
    Ok((StatusCode::CREATED, Json(Account { id, owner_id, balance })))
}

/// `GET /accounts/{id}`.
#[utoipa::path(get, path = "/accounts/{id}", tag = "accounts", params(("id" = i64, Path)), responses(
    (status = 200, body = Account), (status = 404)))]
pub async fn get(State(shop): State<Shop>, Id(id): Id<i64>) -> Answer<Json<Account>> {
    let read = |db: Db| async move {
        let found = db.query("SELECT id, owner_id, balance FROM accounts WHERE id = $1");
        found.bind(id).optional().await
    };
    let account: Option<Account> = shop.reads.find(read).await?;
    account.map(Json).ok_or_else(|| Problem::not_found("account", id))
}

/// `POST /transfers`: 201; 404 for no such account; 409 where funds are short; 422.
#[utoipa::path(post, path = "/transfers", tag = "accounts", request_body = Transfer, params(IdempotencyKey), responses(
    (status = 201, body = Transfer), (status = 404, description = "No such account"),
    (status = 409, description = "Funds are short, or the key is in flight"), (status = 422)))]
pub async fn transfer(
    State(db): State<Db>,
    once: Idempotent,
    Body(transfer): Body<Transfer>,
) -> Answer<Response> {
    let Transfer { from, to, amount } = transfer;
    if !(1..=CENTS_MAX).contains(&amount) {
        return Err(Problem::invalid(format!("amount must be 1 to {CENTS_MAX} cents")));
    }
    if from == to {
        return Err(Problem::invalid("from and to are the same account"));
    }
    once.run(&db, move |tx| async move {
        move_money(&tx, from, to, amount).await?;
        Ok((StatusCode::CREATED, Json(transfer)))
    })
    .await
}

/// Rows are touched in the order of their keys, so that two transfers can't wait for each other.
async fn move_money(tx: &Db, from: i64, to: i64, amount: i64) -> Result<()> {
    if from < to {
        take(tx, from, amount).await?;
        give(tx, to, amount).await
    } else {
        give(tx, to, amount).await?;
        take(tx, from, amount).await
    }
}

async fn take(tx: &Db, id: i64, amount: i64) -> Result<()> {
    let taken = tx
        .query("UPDATE accounts SET balance = balance - $1 WHERE id = $2 AND balance >= $1")
        .bind(amount)
        .bind(id)
        .execute()
        .await?;
    if taken.rows_affected() == 1 {
        return Ok(());
    }
    let exists =
        tx.query("SELECT id FROM accounts WHERE id = $1").bind(id).optional::<(i64,)>().await?;
    Err(match exists {
        Some(_) => Problem::conflict(
            "Insufficient funds",
            format!("account {id} has less than {amount} cents"),
        ),
        None => Problem::not_found("account", id),
    }
    .into_error())
}

async fn give(tx: &Db, id: i64, amount: i64) -> Result<()> {
    let given = tx
        .query("UPDATE accounts SET balance = balance + $1 WHERE id = $2")
        .bind(amount)
        .bind(id)
        .execute()
        .await
        .map_err(|error| match error.code() {
            Code::Check => Problem::conflict(
                "Account full",
                format!("account {id} can't hold {amount} cents more"),
            )
            .into_error(),
            _ => error,
        })?;
    if given.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Problem::not_found("account", id).into_error())
    }
}
