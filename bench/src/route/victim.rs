//! Transfers between two databases, and the process that is killed while it makes them.

use std::io::BufRead;

use mainstay::route::TwoPhase;
use mainstay::{Db, Result};

/// Makes one, says `ready`, and at a line of its input goes on for as long as it lives.
pub(crate) async fn run(urls: [&str; 2]) {
    let both = both(urls).await;
    transfer(&both, 1).await.expect("it is the only one");
    println!("ready");
    let asked =
        tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()));
    asked.await.expect("no panic").expect("it is asked to go on");
    for cents in 1.. {
        // A part of the one that was killed before may still have the row.
        let _ = transfer(&both, cents % 9 + 1).await;
    }
}

pub(super) async fn both(urls: [&str; 2]) -> TwoPhase {
    let mut dbs = Vec::new();
    for url in urls {
        let pool = mainstay::pool::Options { max_size: 4, ..Default::default() };
        dbs.push(Db::builder(url).pool(pool).connect().await.expect("a database"));
    }
    let parts = vec![("a", dbs[0].clone()), ("b", dbs[1].clone())];
    TwoPhase::new(dbs[0].clone(), parts).await.expect("two databases")
}

pub(super) async fn transfer(both: &TwoPhase, cents: i64) -> Result<()> {
    both.transaction(&["a", "b"], |parts| async move {
        for (part, cents) in parts.iter().zip([-cents, cents]) {
            add(part, cents).await?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn add(db: &Db, cents: i64) -> Result<()> {
    let sql = "UPDATE accounts SET cents = cents + $1 WHERE id = 1";
    db.query(sql).bind(cents).execute().await.map(drop)
}
