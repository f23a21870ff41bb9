//! What PostgreSQL's NOTIFY says is heard, also after the connection was lost; nobody listens elsewhere.

use std::time::Duration;

use mainstay_db::{Code, Db, Heard};
use mainstay_testkit::{Engine, Fresh};

async fn open(engine: Engine) -> (Fresh, Db) {
    let fresh = Fresh::new(engine).await;
    let db = Db::connect(fresh.url()).await.unwrap();
    (fresh, db)
}

async fn next(listener: &mut mainstay_db::Listener) -> Heard {
    tokio::time::timeout(Duration::from_secs(30), listener.next()).await.expect("heard").unwrap()
}

async fn say(db: &Db, what: &'static str) {
    db.query("SELECT pg_notify('news', $1)").bind(what).execute().await.unwrap();
}

fn said(payload: &str) -> Heard {
    Heard::Said { channel: "news".to_owned(), payload: payload.to_owned() }
}

mod postgres {
    use super::*;

    #[tokio::test]
    async fn what_is_said_is_heard_and_a_lost_connection_told() {
        let (_fresh, db) = open(Engine::Postgres).await;
        let mut listener = db.listen(&["news"]).await.unwrap();
        say(&db, "one").await;
        assert_eq!(next(&mut listener).await, said("one"));
        db.query(
            "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND query LIKE 'LISTEN%'",
        )
        .scalar::<i64>()
        .await
        .unwrap();
        assert_eq!(next(&mut listener).await, Heard::Again);
        say(&db, "two").await;
        assert_eq!(next(&mut listener).await, said("two"));
    }
}

mod pgbouncer {
    use super::*;

    #[tokio::test]
    async fn nobody_listens_through_a_pooler() {
        let (_fresh, db) = open(Engine::PgBouncer).await;
        assert_eq!(db.listen(&["news"]).await.unwrap_err().code(), Code::NeedsSession);
    }
}

mod mariadb {
    use super::*;

    #[tokio::test]
    async fn another_engine_has_no_listen() {
        let (_fresh, db) = open(Engine::MariaDb).await;
        assert_eq!(db.listen(&["news"]).await.unwrap_err().code(), Code::WrongEngine);
    }
}
