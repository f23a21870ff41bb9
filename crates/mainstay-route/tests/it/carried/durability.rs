//! What COMMIT waits for, on a primary with a synchronous standby.

use std::time::Duration;

use mainstay_core::inspect::Inspect;
use mainstay_core::scope::{Kind, Scope};
use mainstay_db::{Code, Db, Durability, Result, Retry};
use mainstay_testkit::Engine;

use super::{Pair, Tried, read, until};

async fn write(db: &Db, durability: Durability, timeout: Option<Duration>) -> Result<i64> {
    let tx = db.tx().durability(durability);
    let tx = match timeout {
        Some(timeout) => tx.timeout(timeout),
        None => tx,
    };
    tx.run(|tx| async move {
        tx.query("UPDATE pairs SET n = n + 1 WHERE id = 1").execute().await?;
        tx.query("SELECT n FROM pairs WHERE id = 1").scalar().await
    })
    .await
}

async fn set(tried: &Tried, names: &str) {
    let sql = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
    tried.servers.primary().execute(&sql).await;
    tried.servers.primary().execute("SELECT pg_reload_conf()").await;
    until(|| &*tried.cluster.status()[0].synchronous == names).await;
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_commit_waits_for_what_it_is_asked_to() {
        let pair = Pair::of(Engine::Postgres).await;
        let tried = pair.cluster("durable").await;
        set(&tried, "*").await;
        let shown = tried.cluster.inspect();
        assert!(shown.notes[0].ends_with("waits for: *"), "{:?}", shown.notes);
        let primary = tried.cluster.primary().await.unwrap();
        let replica = Db::connect(&tried.servers.replica(0).url(&tried.database)).await.unwrap();

        // A read there sees it, with no token.
        for _ in 0..50 {
            let wrote = write(&primary, Durability::Applied, None).await.unwrap();
            assert_eq!(read(&replica).await.unwrap(), wrote);
        }

        tried.hold().await;
        let old = read(&replica).await.unwrap();
        // Only what waits for the standby to apply it waits.
        for durability in
            [Durability::Async, Durability::Local, Durability::Received, Durability::Replicated]
        {
            write(&primary, durability, None).await.unwrap();
        }
        assert_eq!(read(&replica).await.unwrap(), old);

        // It does not return, and its timeout says what is so: it is there, and is not to be run again.
        let db = tried.db();
        let scope = Scope::new(Kind::Request, "POST /n");
        scope
            .run(async {
                let limit = Some(Duration::from_millis(200));
                let error = write(&db, Durability::Applied, limit).await.unwrap_err();
                assert_eq!(
                    (error.code(), error.retryability()),
                    (Code::TxAmbiguous, Retry::Unknown)
                );
                let report = error.report();
                assert!(report.contains("don't run it again"), "{report}");
                // Nobody knows its position: reads of this request go to the primary.
                let token = tried.cluster.token().await.unwrap().unwrap();
                assert!(token.to_string().ends_with('*'), "{token}");
                for _ in 0..2000 {
                    if read(&db).await.unwrap() == old + 5 {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                panic!("it was not committed");
            })
            .await;

        let waiting = tokio::spawn({
            let primary = primary.clone();
            async move { write(&primary, Durability::Applied, None).await }
        });
        let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        for _ in 0..2000 {
            if tried.servers.primary().execute(waits).await.trim() == "1" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!waiting.is_finished());
        tried.resume().await;
        let wrote = waiting.await.unwrap().unwrap();
        assert_eq!(read(&replica).await.unwrap(), wrote);

        // With nobody to wait for, it waits for nobody.
        set(&tried, "").await;
        tried.hold().await;
        write(&primary, Durability::Applied, None).await.unwrap();
        tried.resume().await;
    }
}
