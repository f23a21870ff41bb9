//! Money moves between two accounts, or it does not: `cargo run -p mainstay --example transfer`.
//!
//! With the features of other engines, `DATABASE_URL` chooses another database.

use mainstay::prelude::*;

#[derive(Debug, FromRow)]
struct Account {
    id: i64,
    balance: i64,
}

async fn transfer(db: &Db, from: i64, to: i64, cents: i64) -> Result<()> {
    db.transaction(|tx| async move {
        let taken = tx
            .query("UPDATE accounts SET balance = balance - $1 WHERE id = $2 AND balance >= $1")
            .bind(cents)
            .bind(from)
            .execute()
            .await?;
        if taken.rows_affected() == 0 {
            return Err(Error::user("insufficient funds"));
        }
        tx.query("UPDATE accounts SET balance = balance + $1 WHERE id = $2")
            .bind(cents)
            .bind(to)
            .execute()
            .await?;
        Ok(())
    })
    .await
}

#[tokio::main]
async fn main() -> Result<()> {
    let settings = mainstay::Settings::sources().load::<mainstay::Settings>()?.value;
    let db = settings.connect("sqlite::memory:").await?;
    db.script("DROP TABLE IF EXISTS accounts; CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)")
        .await?;
    db.bulk_insert("accounts", &["id", "balance"], [(1i64, 100i64), (2, 0)]).await?;
    transfer(&db, 1, 2, 70).await?;
    println!("a second time: {}", transfer(&db, 1, 2, 70).await.unwrap_err());
    let accounts: Vec<Account> =
        db.query("SELECT id, balance FROM accounts ORDER BY id").all().await?;
    for account in &accounts {
        println!("account {} has {} cents", account.id, account.balance);
    }
    db.close(std::time::Duration::from_secs(5)).await
}
