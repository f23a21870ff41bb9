//! What the doctor can subscribe to: statements past the open transaction, calls over the network
//! inside one, transactions that lie idle.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::observe::{Finding, FindingKind, Hold, HoldKind, Subscriber};
use mainstay_db::{Db, Engine, Propagation, network_call};
use mainstay_pool::Options;

use crate::support::{accounts, on_every_engine};

on_every_engine!(
    a_statement_past_the_open_transaction_is_a_finding,
    a_network_call_inside_a_transaction_is_a_finding,
    what_is_meant_is_no_finding,
);
mod bounded {
    use super::*;
    on_every_engine!(url: a_transaction_that_lies_idle_is_told,);
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Seen>>>);

/// A finding's kind, or none for a transaction that lay idle, and its report.
type Seen = (Option<FindingKind>, String);

impl Subscriber for Told {
    fn finding(&self, event: &Finding<'_>) {
        self.0.lock().unwrap().push((Some(event.kind), event.report.report()));
    }

    fn hold(&self, event: &Hold<'_>) {
        if event.kind == HoldKind::IdleInTransaction {
            self.0.lock().unwrap().push((None, event.report.report()));
        }
    }
}

impl Told {
    fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

async fn a_statement_past_the_open_transaction_is_a_finding(db: Db) {
    accounts(&db, 1).await;
    let told = Told::default();
    db.observer().subscribe(told.clone());
    let outer = db.clone();
    db.transaction(|tx| {
        let outer = outer.clone();
        async move {
            tx.query("SELECT COUNT(*) FROM accounts").execute().await?;
            outer.query("SELECT COUNT(*) FROM accounts").execute().await?;
            // A task of its own is not inside.
            let other = outer.clone();
            tokio::spawn(async move { other.query("SELECT 1").execute().await }).await.unwrap()?;
            if outer.engine() != Engine::Sqlite {
                outer.transaction(|_| async { Ok(()) }).await?;
            }
            Ok(())
        }
    })
    .await
    .unwrap();
    let all = told.all();
    let expected = if db.engine() == Engine::Sqlite { 1 } else { 2 };
    assert_eq!(all.len(), expected, "{all:?}");
    for (kind, report) in all {
        assert_eq!(kind, Some(FindingKind::OuterHandle));
        assert!(report.contains("TX-010"), "{report}");
        assert_eq!(report.matches("findings.rs:").count(), 2, "both places: {report}");
    }
}

async fn a_network_call_inside_a_transaction_is_a_finding(db: Db) {
    let told = Told::default();
    db.observer().subscribe(told.clone());
    network_call("POST payments");
    assert!(told.all().is_empty(), "nothing is open");
    db.transaction(|_| async {
        network_call("POST payments");
        Ok(())
    })
    .await
    .unwrap();
    let all = told.all();
    assert_eq!(all.len(), 1, "{all:?}");
    // A part that goes without the transaction keeps its locks waiting all the same.
    db.transaction(|tx| async move {
        let without = tx.tx().propagation(Propagation::NotSupported);
        without
            .run(|_| async {
                network_call("POST payments");
                Ok(())
            })
            .await
    })
    .await
    .unwrap();
    assert_eq!(told.all().len(), 2);
    assert_eq!(all[0].0, Some(FindingKind::NetworkCall));
    assert!(all[0].1.contains("POST payments") && all[0].1.contains("TX-012"), "{}", all[0].1);
    assert_eq!(all[0].1.matches("findings.rs:").count(), 2, "{}", all[0].1);
}

async fn what_is_meant_is_no_finding(db: Db) {
    accounts(&db, 1).await;
    let told = Told::default();
    db.observer().subscribe(told.clone());
    db.transaction(|tx| async move {
        tx.query("SELECT COUNT(*) FROM accounts").execute().await?;
        tx.tx()
            .propagation(Propagation::NotSupported)
            .run(|pool| async move { pool.query("SELECT COUNT(*) FROM accounts").execute().await })
            .await?;
        if tx.engine() != Engine::Sqlite {
            let new = tx.tx().propagation(Propagation::RequiresNew);
            new.run(|tx| async move { tx.query("SELECT 1").execute().await }).await?;
        }
        tx.tx()
            .propagation(Propagation::Nested)
            .run(|inner| async move { inner.query("SELECT 1").execute().await })
            .await
    })
    .await
    .unwrap();
    assert_eq!(told.all(), []);
}

async fn a_transaction_that_lies_idle_is_told(_: Db, url: String) {
    let after = Duration::from_millis(150);
    let options = Options { transaction_idle_after: Some(after), ..Options::default() };
    let db = Db::builder(&url).pool(options).connect().await.unwrap();
    let told = Told::default();
    db.observer().subscribe(told.clone());
    let idle = told.clone();
    db.transaction(|tx| {
        let told = idle.clone();
        async move {
            tx.query("SELECT 1").execute().await?;
            for _ in 0..400 {
                if !told.all().is_empty() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        }
    })
    .await
    .unwrap();
    let all = told.all();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].1.contains("TX-011") && all[0].1.contains("SELECT 1"), "{}", all[0].1);
    assert!(all[0].1.contains("findings.rs:"), "{}", all[0].1);
    db.close(Duration::from_secs(5)).await.unwrap();
}
