//! Whatever it was written by, its writer reads it: statements whose rows can't be read, sessions, hooks, transactions over
//! several databases. And a replica that is busy is none that has failed.

use std::time::Duration;

use mainstay_core::scope::{Kind, Scope};
use mainstay_core::token::Tokens;
use mainstay_db::{Code, Db, Error};
use mainstay_pool::Options;
use mainstay_route::replica::Settings;
use mainstay_route::{Cluster, Freshness, Role, TwoPhase};
use mainstay_testkit::Engine;
use tokio::sync::oneshot;

use super::{Pair, Tried, add, read, until};

/// Another cluster on the same servers, whose connections have done nothing yet.
async fn anew(tried: &Tried, replicas: Options) -> Cluster {
    let urls = [tried.servers.primary(), tried.servers.replica(0)].map(|s| s.url(&tried.database));
    let patient = |s: &mut Settings| {
        s.ramp = Duration::ZERO;
        s.probe_timeout = Duration::from_secs(5);
    };
    Cluster::builder("anew")
        .server("a", Db::builder(&urls[0]))
        .server("b", Db::builder(&urls[1]).pool(replicas))
        .settings(patient)
        .connect()
        .await
        .unwrap()
}

async fn in_a_request<T>(work: impl Future<Output = T>) -> (T, Tokens) {
    let scope = Scope::new(Kind::Request, "POST /n");
    let done = scope.clone().run(work).await;
    (done, scope.tokens().await)
}

async fn rows(db: &Db) -> i64 {
    db.query("SELECT COUNT(*) FROM pairs").scalar().await.unwrap()
}

/// MariaDB says nothing of where a connection is that has logged nothing.
async fn what_writes_nothing_leaves_a_token_that_can_be_sent_back(engine: Engine) {
    let pair = Pair::of(engine).await;
    let tried = pair.cluster("nothing").await;
    let cluster = anew(&tried, Options::default()).await;
    let db = cluster.db();
    let (seen, tokens) = in_a_request(async {
        let seen = db.transaction(|tx| async move { read(&tx).await }).await.unwrap();
        (seen, cluster.token().await.unwrap())
    })
    .await;
    let text = tokens.to_string();
    assert!(text.is_empty() || text.parse::<Tokens>().is_ok(), "{text}");
    assert_eq!((seen.0, seen.1.is_none()), (0, engine == Engine::MariaDb), "{seen:?}");
    assert_eq!(text.is_empty(), engine == Engine::MariaDb, "{text}");
}

/// It is there all the same.
async fn a_write_whose_rows_cannot_be_read_is_seen(engine: Engine) {
    let pair = Pair::of(engine).await;
    let tried = pair.cluster("returning").await;
    let db = tried.db();
    tried.hold().await;
    let ((), tokens) = in_a_request(async {
        let two = db.query("INSERT INTO pairs VALUES (2, 0), (3, 0) RETURNING n");
        let refused = two.one::<(i64,)>().await.unwrap_err();
        assert_eq!(refused.code(), Code::TooManyRows, "{refused}");
        assert_eq!(rows(&db).await, 3);
        let token = tried.cluster.token().await.unwrap().unwrap().to_string();
        assert!(!token.contains('*'), "it is done, and that is known: {token}");
    })
    .await;
    assert!(!tokens.is_empty());
    in_a_request(async {
        let odd = db.query("INSERT INTO pairs VALUES (4, 0) RETURNING n");
        let refused = odd.one::<(String,)>().await.unwrap_err();
        assert_eq!(refused.code(), Code::Decode, "{refused}");
        assert_eq!(rows(&db).await, 4);
    })
    .await;
    // One that was refused has written nothing.
    let ((), tokens) = in_a_request(async {
        let twice = db.query("INSERT INTO pairs VALUES (4, 0) RETURNING n").one::<(i64,)>().await;
        assert_eq!(twice.unwrap_err().code(), Code::Unique);
    })
    .await;
    assert!(tokens.is_empty(), "{tokens}");
    tried.resume().await;
}

async fn sessions_and_hooks_see_what_was_written(engine: Engine) {
    let pair = Pair::of(engine).await;
    let tried = pair.cluster("sessions").await;
    let db = tried.db();
    tried.hold().await;
    in_a_request(async {
        let mut session = db.session().await.unwrap();
        session.run("UPDATE pairs SET n = 7 WHERE id = 1").await.unwrap();
        assert_eq!(read(&db).await.unwrap(), 7);
        session.run("BEGIN; UPDATE pairs SET n = 8 WHERE id = 1; COMMIT").await.unwrap();
        assert_eq!(read(&db).await.unwrap(), 8);
    })
    .await;
    // A hook's reads are its transaction's; its writes are seen by who waited for it.
    let (told, seen) = oneshot::channel();
    in_a_request(async {
        let told = std::sync::Arc::new(std::sync::Mutex::new(Some(told)));
        db.transaction(|tx| {
            let told = std::sync::Arc::clone(&told);
            async move {
                tx.query("UPDATE pairs SET n = 9 WHERE id = 1").execute().await?;
                tx.after_commit(move |db| async move {
                    let saw = read(&db).await?;
                    db.query("UPDATE pairs SET n = 10 WHERE id = 1").execute().await?;
                    let told = told.lock().unwrap().take().unwrap();
                    told.send(saw).map_err(|_| Error::user("nobody waits"))
                })
                .await
            }
        })
        .await
        .unwrap();
        assert_eq!(seen.await.unwrap(), 9);
        assert_eq!(read(&db).await.unwrap(), 10);
    })
    .await;
    tried.resume().await;
}

async fn all_of_a_transaction_over_several_is_seen(engine: Engine) {
    let pair = Pair::of(engine).await;
    let (north, south) = (pair.cluster("two north").await, pair.cluster("two south").await);
    let parts = vec![("north", north.db()), ("south", south.db())];
    let both = TwoPhase::new(north.db(), parts).await.unwrap();
    north.hold().await;
    let ((), tokens) = in_a_request(async {
        let outcome = both.transaction(&["north", "south"], |parts| async move {
            for part in &parts {
                part.query("UPDATE pairs SET n = n + 5 WHERE id = 1").execute().await?;
            }
            Ok(())
        });
        outcome.await.unwrap();
        for one in [&north, &south] {
            assert_eq!(read(&one.db()).await.unwrap(), 5);
        }
    })
    .await;
    assert!(!tokens.is_empty());
    north.resume().await;
}

/// One connection, and somebody has it.
async fn a_replica_that_is_busy_stays_in(engine: Engine) {
    let pair = Pair::of(engine).await;
    let tried = pair.cluster("busy").await;
    add(&tried.db()).await;
    tried.resume().await;
    let acquire_timeout = Duration::from_millis(200);
    let one = Options { max_size: 1, min_idle: 0, acquire_timeout, ..Options::default() };
    let cluster = anew(&tried, one).await;
    until(|| cluster.status()[1].role == Role::Replica).await;
    let replica = cluster.read(Freshness::Any).await.unwrap();
    assert!(!replica.is_same(&cluster.primary().await.unwrap()));
    let session = replica.session().await.unwrap();
    for _ in 0..3 {
        assert_eq!(read(&cluster.db_with(Freshness::Any)).await.unwrap(), 1);
        assert_eq!(cluster.status()[1].role, Role::Replica, "{:?}", cluster.status());
    }
    drop(session);
}

crate::on_servers!(
    what_writes_nothing_leaves_a_token_that_can_be_sent_back,
    a_write_whose_rows_cannot_be_read_is_seen,
    sessions_and_hooks_see_what_was_written,
    all_of_a_transaction_over_several_is_seen,
    a_replica_that_is_busy_stays_in
);
