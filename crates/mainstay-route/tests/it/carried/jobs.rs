//! A job, and the subscriber of an event, see from replicas what its enqueuer committed: in the jobs' own cluster by when
//! it was claimed, in others by the token that it brings.

use std::time::Duration;

use mainstay_core::scope::{Kind, Scope};
use mainstay_db::Db;
use mainstay_jobs::{Context, Event, Job, Jobs, Worker};
use mainstay_testkit::Engine;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Pair, add, read};

#[derive(Serialize, Deserialize)]
struct Look {
    least: i64,
    least_elsewhere: i64,
}

impl Job for Look {
    const NAME: &'static str = "look";
}

impl Event for Look {
    const NAME: &'static str = "looked";
}

/// What a handler was to see here and elsewhere, and what it saw.
type Seen = [(i64, i64); 2];

struct State {
    elsewhere: Db,
    seen: mpsc::Sender<Seen>,
}

async fn look(look: Look, ctx: Context<State>) -> mainstay_db::Result<()> {
    let (here, elsewhere) = (read(ctx.db()).await?, read(&ctx.state().elsewhere).await?);
    let seen = [(look.least, here), (look.least_elsewhere, elsewhere)];
    ctx.state().seen.send(seen).await.ok();
    Ok(())
}

/// The queue, in a cluster of one engine, and the rest in one of the other.
async fn who_works_for_it_sees_what_was_written(engine: Engine) {
    // In one order, so that two of these do not wait for each other.
    let (postgres, mariadb) = (Pair::of(Engine::Postgres).await, Pair::of(Engine::MariaDb).await);
    let (own, other) =
        if engine == Engine::Postgres { (postgres, mariadb) } else { (mariadb, postgres) };
    let (own, other) = (own.cluster("own").await, other.cluster("other").await);
    let (db, elsewhere) = (own.db(), other.db());
    let (seen, mut told) = mpsc::channel(16);
    let state = State { elsewhere: elsewhere.clone(), seen };
    let worker = Worker::builder(&db, state)
        .handle(look)
        .subscribe("group", |event: Look, ctx: Context<State>| look(event, ctx))
        .start()
        .await
        .unwrap();
    // Its tables are there, and so is its registration: it goes on without the replicas.
    own.resume().await;
    own.hold().await;
    other.hold().await;
    for round in 0..3 {
        let work = async {
            let least_elsewhere = match round {
                0 => add(&elsewhere).await,
                _ => {
                    // Its position is not told at once.
                    let sql = "UPDATE pairs SET n = n + 1 WHERE id = 1";
                    elsewhere.query(sql).execute().await.unwrap();
                    read(&elsewhere.fresh()).await.unwrap()
                }
            };
            db.transaction(|tx| async move {
                tx.query("UPDATE pairs SET n = n + 1 WHERE id = 1").execute().await?;
                let least: i64 = tx.query("SELECT n FROM pairs WHERE id = 1").scalar().await?;
                let look = Look { least, least_elsewhere };
                match round {
                    0 => drop(tx.enqueue(&look).await?),
                    1 => drop(tx.publish(&look).await?),
                    _ => drop(tx.publish_all(&[look]).await?),
                }
                Ok(())
            })
            .await
            .unwrap();
        };
        Scope::new(Kind::Request, "POST /look").run(work).await;
        let seen = tokio::time::timeout(Duration::from_secs(30), told.recv()).await;
        for (least, saw) in seen.unwrap().unwrap() {
            assert!(least > 0 && saw >= least, "round {round}: {saw} of {least}");
        }
    }
    // And without a token the replicas are as old as they are.
    let old = Scope::new(Kind::Request, "GET /n").run(read(&elsewhere)).await.unwrap();
    assert_eq!(old, 0);
    worker.drain(Duration::from_secs(20)).await.unwrap();
    own.resume().await;
    other.resume().await;
}

crate::on_servers!(who_works_for_it_sees_what_was_written);
