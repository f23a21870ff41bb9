//! What a statement leaves on its session: closed with it on a server of our own, refused behind a
//! transaction pooler.

mod postgres {
    use mainstay_db::{Db, Engine};

    use crate::support;

    #[tokio::test]
    async fn what_was_set_on_a_session_is_not_found_by_the_next() {
        support::run(support::Engine::Postgres, |db| async move {
            db.query("SET application_name = 'changed'").execute().await.unwrap();
            let name: String = db.query("SHOW application_name").scalar().await.unwrap();
            assert_ne!(name, "changed");
            db.query("SELECT pg_advisory_lock(7)").execute().await.unwrap();
            let free: bool =
                db.query("SELECT pg_try_advisory_xact_lock(7)").scalar().await.unwrap();
            assert!(free, "it ended with its connection");
            keeps_its_connection(&db).await;
        })
        .await;
    }

    /// What ends with the transaction costs no connection.
    async fn keeps_its_connection(db: &Db) {
        assert_eq!(db.engine(), Engine::Postgres);
        let pid = || db.query("SELECT pg_backend_pid()").scalar::<i32>();
        let before = pid().await.unwrap();
        db.transaction(|tx| async move {
            tx.query("SET LOCAL statement_timeout = 4321").execute().await?;
            tx.query("SELECT pg_advisory_xact_lock(8)").execute().await.map(drop)
        })
        .await
        .unwrap();
        assert_eq!(pid().await.unwrap(), before);
    }
}

mod mariadb {
    use crate::support;

    #[tokio::test]
    async fn what_was_set_on_a_session_is_not_found_by_the_next() {
        support::run(support::Engine::MariaDb, |db| async move {
            db.query("SET @mine = 5").execute().await.unwrap();
            let mine: Option<i64> = db.query("SELECT @mine").scalar().await.unwrap();
            assert_eq!(mine, None);
            db.query("SELECT GET_LOCK('a', 1)").execute().await.unwrap();
            // The server ends a session a moment after its socket.
            for _ in 0..500 {
                let free: i64 = db.query("SELECT IS_FREE_LOCK('a')").scalar().await.unwrap();
                if free == 1 {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            panic!("the lock is still held");
        })
        .await;
    }
}

mod pgbouncer {
    use mainstay_core::observe::{Change, Connection, Subscriber};
    use mainstay_db::{Code, Db, SqlxResultExt};
    use mainstay_testkit::{Engine, Fresh};
    use sqlx::Executor;

    use crate::support;

    #[tokio::test]
    async fn what_needs_a_session_is_refused_and_says_why() {
        support::run(support::Engine::PgBouncer, |db| async move {
            for (sql, what) in [
                ("SET application_name = 'changed'", "a setting of the session"),
                ("SELECT pg_advisory_lock(7)", "a session's advisory lock"),
                ("LISTEN news", "a listener"),
                ("CREATE TEMPORARY TABLE t (a INT)", "a temporary table"),
                ("PREPARE a AS SELECT 1", "a prepared statement"),
            ] {
                let error = db.query(sql).execute().await.unwrap_err();
                assert_eq!(error.code(), Code::NeedsSession, "{error:?}");
                let report = error.report();
                assert!(report.contains(&format!("{what} needs a session of its own")), "{report}");
                assert!(report.contains("behind a transaction pooler"), "{report}");
                let inside =
                    db.transaction(|tx| async move { tx.query(sql).execute().await.map(drop) });
                assert_eq!(inside.await.unwrap_err().code(), Code::NeedsSession, "{sql}");
            }
            let prepared =
                db.postgres().unwrap().prepare(sqlx::SqlSafeStr::into_sql_str("SELECT 1"));
            assert_eq!(prepared.await.map(drop).coded().unwrap_err().code(), Code::NeedsSession);
        })
        .await;
    }

    #[tokio::test]
    async fn what_belongs_to_the_transaction_works() {
        support::run(support::Engine::PgBouncer, |db| async move {
            db.transaction(|tx| async move {
                tx.query("SET LOCAL statement_timeout = 4321").execute().await?;
                tx.query("SELECT pg_advisory_xact_lock($1)").bind(7i64).execute().await?;
                let shown: String = tx.query("SHOW statement_timeout").scalar().await?;
                assert_eq!(shown, "4321ms");
                Ok(())
            })
            .await
            .unwrap();
            let shown: String = db.query("SHOW statement_timeout").scalar().await.unwrap();
            assert_eq!(shown, "0");
            // Some of what may not be in a transaction.
            db.query("VACUUM").execute().await.unwrap();
        })
        .await;
    }

    /// Two handles, one server connection between them in turn: no statement of one is run as the
    /// other's, which is what named or unnamed statements in the driver's two exchanges lead to.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_clients_never_get_each_others_statements() {
        let fresh = Fresh::new(Engine::PgBouncer).await;
        let (a, b) =
            (Db::connect(fresh.url()).await.unwrap(), Db::connect(fresh.url()).await.unwrap());
        let ask = |db: Db, n: i64| async move {
            for i in 0..300i64 {
                let got: i64 = match (n + i) % 3 {
                    0 => {
                        db.query("SELECT $1::bigint * 3").bind(i).scalar::<i64>().await.unwrap() / 3
                    }
                    1 => {
                        db.query("SELECT $1::bigint + 7").bind(i).scalar::<i64>().await.unwrap() - 7
                    }
                    _ => db.query("SELECT $1::bigint").bind(i).scalar().await.unwrap(),
                };
                assert_eq!(got, i, "another's statement was run");
            }
        };
        let tasks: Vec<_> = (0..8)
            .map(|n| tokio::spawn(ask(if n % 2 == 0 { a.clone() } else { b.clone() }, n)))
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    /// An enumeration that the driver does not know is looked up between its two exchanges.
    #[tokio::test]
    async fn a_type_that_is_looked_up_on_the_way_works() {
        support::run(support::Engine::PgBouncer, |db| async move {
            db.script("CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE TABLE m (a mood)")
                .await
                .unwrap();
            db.query("INSERT INTO m (a) VALUES (CAST($1 AS mood))")
                .bind("good")
                .execute()
                .await
                .unwrap();
            let n: i64 = db
                .query("SELECT COUNT(*) FROM m WHERE a = CAST($1 AS mood)")
                .bind("good")
                .scalar()
                .await
                .unwrap();
            assert_eq!(n, 1);
        })
        .await;
    }

    /// An abandoned statement's connection is closed: no cancel that could hit another client.
    #[tokio::test]
    async fn an_abandoned_statement_costs_its_connection() {
        #[derive(Clone, Default)]
        struct Removed(std::sync::Arc<std::sync::atomic::AtomicUsize>);
        impl Subscriber for Removed {
            fn connection(&self, event: &Connection<'_>) {
                if matches!(event.change, Change::Removed { .. }) {
                    self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
            }
        }
        let fresh = Fresh::new(Engine::PgBouncer).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        let removed = Removed::default();
        db.observer().subscribe(removed.clone());
        let slow = db.query("SELECT 1 FROM pg_sleep($1)").bind(1.0f64).execute();
        tokio::time::timeout(std::time::Duration::from_millis(50), slow).await.unwrap_err();
        support::all_back(&db).await;
        assert_eq!(removed.0.load(std::sync::atomic::Ordering::SeqCst), 1);
        db.query("SELECT 1").execute().await.unwrap();
    }
}
