//! Bulk insert: all or nothing, of any size, inside a transaction and out.

use mainstay_db::{Code, Db, Error, Result, Value};

use crate::support::{accounts, on_every_engine};

on_every_engine!(
    many_rows_arrive,
    nothing_is_nothing,
    a_violation_inserts_nothing,
    inside_a_transaction_it_is_part_of_it,
    a_row_of_the_wrong_width_inserts_nothing,
);

async fn count(db: &Db) -> i64 {
    db.query("SELECT COUNT(*) FROM accounts").scalar().await.unwrap()
}

fn rows(ids: std::ops::Range<i64>) -> impl Iterator<Item = (i64, i64)> + Send {
    ids.map(|id| (id, id))
}

const COLUMNS: &[&str] = &["id", "balance"];

async fn many_rows_arrive(db: Db) {
    accounts(&db, 0).await;
    assert_eq!(db.bulk_insert("accounts", COLUMNS, rows(0..25_003)).await.unwrap(), 25_003);
    assert_eq!(count(&db).await, 25_003);
    let wrong: i64 =
        db.query("SELECT COUNT(*) FROM accounts WHERE id <> balance").scalar().await.unwrap();
    assert_eq!(wrong, 0);
}

async fn nothing_is_nothing(db: Db) {
    accounts(&db, 0).await;
    assert_eq!(db.bulk_insert("accounts", COLUMNS, rows(0..0)).await.unwrap(), 0);
}

async fn a_violation_inserts_nothing(db: Db) {
    accounts(&db, 0).await;
    let doubled = rows(0..20_000).chain(rows(5..6));
    let error = db.bulk_insert("accounts", COLUMNS, doubled).await.unwrap_err();
    assert_eq!(error.code(), Code::Unique, "{error:?}");
    assert!(error.place().unwrap().file().ends_with("bulk.rs"));
    assert_eq!(count(&db).await, 0);
}

async fn inside_a_transaction_it_is_part_of_it(db: Db) {
    accounts(&db, 0).await;
    let outcome: Result<()> = db
        .transaction(|tx| async move {
            tx.bulk_insert("accounts", COLUMNS, rows(0..9_000)).await?;
            assert_eq!(count(&tx).await, 9_000);
            Err(Error::user("no"))
        })
        .await;
    assert!(outcome.is_err());
    assert_eq!(count(&db).await, 0);
}

async fn a_row_of_the_wrong_width_inserts_nothing(db: Db) {
    accounts(&db, 0).await;
    let wrong = vec![vec![Value::from(1i64), 1i64.into()], vec![Value::from(2i64)]];
    let error = db.bulk_insert("accounts", COLUMNS, wrong).await.unwrap_err();
    assert_eq!(error.code(), Code::BindCount, "{error:?}");
    assert_eq!(count(&db).await, 0);
}
