//! Strict mode: a test that does what it must not fails, with the line.

use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt, TryStreamExt};
use mainstay_db::Db;
use mainstay_doctor::strict;

use crate::support::{on_every_engine, posts};

on_every_engine!(what_is_wrong_fails_with_its_line, what_is_right_passes);

async fn failure<F: Future>(db: &Db, body: F) -> String {
    let caught = AssertUnwindSafe(strict::check(db, body)).catch_unwind().await;
    match caught {
        Ok(_) => panic!("strict mode let it pass"),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

async fn what_is_wrong_fails_with_its_line(db: Db, _: String) {
    posts(&db, 4).await;
    let line = line!() + 6;
    let looped = failure(&db, async {
        let ids: Vec<(i64,)> = db.query("SELECT id FROM posts").all().await.unwrap();
        for (id,) in ids {
            let other = db.clone();
            tokio::spawn(async move {
                other.query("SELECT id FROM comments WHERE post_id = $1").bind(id).execute().await
            })
            .await
            .unwrap()
            .unwrap();
        }
    })
    .await;
    assert!(looped.contains("DOC-001"), "{looped}");
    assert!(looped.contains(&format!("{}:{line}", file!())), "{looped}");

    let escaped = failure(&db, async {
        let outer = db.clone();
        db.transaction(|tx| {
            let outer = outer.clone();
            async move {
                tx.query("SELECT 1").execute().await?;
                outer.query("SELECT COUNT(*) FROM posts").execute().await
            }
        })
        .await
        .unwrap();
    })
    .await;
    assert!(escaped.contains("DOC-011") && escaped.contains("strict.rs:"), "{escaped}");

    let mut kept = None;
    let leaked = failure(&db, async {
        let mut rows = Box::pin(db.query("SELECT id FROM posts").stream::<(i64,)>());
        rows.try_next().await.unwrap();
        kept = Some(rows);
    })
    .await;
    assert!(leaked.contains("DOC-006") && leaked.contains("strict.rs:"), "{leaked}");
    drop(kept);
}

async fn what_is_right_passes(db: Db, _: String) {
    posts(&db, 4).await;
    let n = strict::check(&db, async {
        db.transaction(|tx| async move { tx.query("SELECT id FROM posts").all::<(i64,)>().await })
            .await
            .unwrap()
            .len()
    })
    .await;
    assert_eq!(n, 4);
    assert!(!db.observer().wants_values(), "it stops watching");
}
