//! The end of a pool.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mainstay_core::Code;

use crate::fake::{Fake, options, until};

#[tokio::test]
async fn closing_waits_for_what_is_out_and_refuses_the_rest() {
    let fake = Fake::default();
    let pool = fake.pool(options(1));
    let held = pool.acquire().await.unwrap();
    let waiting = pool.clone();
    let waiter = tokio::spawn(async move { waiting.acquire().await.map(drop) });
    until("the task waits", || pool.status().waiting == 1).await;
    let closing = pool.clone();
    let close = tokio::spawn(async move { closing.close(Duration::from_secs(5)).await });
    assert_eq!(waiter.await.unwrap().unwrap_err().code(), Code::PoolClosed);
    assert_eq!(pool.acquire().await.unwrap_err().code(), Code::PoolClosed);
    drop(held);
    close.await.unwrap().unwrap();
    until("it is closed", || fake.0.open.load(SeqCst) == 0).await;
    pool.close(Duration::from_secs(1)).await.unwrap();
}

/// Table: bounded close.
#[tokio::test]
async fn closing_gives_up_at_its_bound_and_names_who_holds() {
    let pool = Fake::default().pool(options(1));
    let _held = pool.acquire().await.unwrap();
    let error = pool.close(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.code(), Code::PoolStillOut);
    assert!(error.report().contains("by crates/mainstay-pool/tests/it/close.rs:"), "{error:?}");
}
