//! The database is killed and restarted, or hangs, while workers work: they go on when it is back.

use std::time::Duration;

use mainstay_db::{AssertSqlSafe, Code, Db};
use mainstay_jobs::{Context, Jobs, Queue, Schedule, Worker, install};
use mainstay_testkit::Broker;

use crate::support::{LIMIT, Note, Seen, drain, note, until_seen};

/// Until it is there: the database may be on its way back.
async fn enqueue(db: &Db, text: String) {
    let tries = async {
        while db.enqueue(&note(text.as_str())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, tries).await.expect("the database is back");
}

mod postgres {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn workers_go_on_after_the_database_was_killed() {
        let server = Broker::postgres().await;
        let db = Db::connect(&server.url()).await.unwrap();
        install(&db).await.unwrap();
        let seen = Seen::default();
        let worker = Worker::builder(&db, seen.clone())
            .queue(Queue::new("default"))
            .handle(|note: Note, ctx: Context<Seen>| async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                ctx.state().add(note.text);
                Ok(())
            })
            .start()
            .await
            .unwrap();
        for n in 0..200 {
            enqueue(&db, format!("before {n}")).await;
        }
        until_seen(&seen, 20).await;
        server.kill().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        server.start().await;
        for n in 0..20 {
            enqueue(&db, format!("after {n}")).await;
        }
        // An end that was not written before the kill is a job that runs again.
        let all = async {
            while seen.counts().len() < 220 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, all).await.expect("all were run");
        drain(worker).await.unwrap();
        let left: i64 = db.query("SELECT COUNT(*) FROM mainstay_job").scalar().await.unwrap();
        assert_eq!(left, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_worker_goes_on_after_the_database_hung() {
        let server = Broker::postgres().await;
        let db = Db::connect(&server.url()).await.unwrap();
        install(&db).await.unwrap();
        let seen = Seen::default();
        let worker = Worker::builder(&db, seen.clone())
            .handle(|note: Note, ctx: Context<Seen>| async move {
                ctx.state().add(note.text);
                Ok(())
            })
            .start()
            .await
            .unwrap();
        enqueue(&db, "before".to_owned()).await;
        until_seen(&seen, 1).await;
        server.freeze().await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        server.thaw().await;
        enqueue(&db, "after".to_owned()).await;
        until_seen(&seen, 2).await;
        drain(worker).await.unwrap();
    }
}

mod sqlite {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_schedule_runs_once_across_workers() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("s.db").display());
        let seen = Seen::default();
        let mut workers = Vec::new();
        for _ in 0..3 {
            let db = Db::connect(&url).await.unwrap();
            let worker = Worker::builder(&db, seen.clone())
                .handle(|_: Note, ctx: Context<Seen>| async move {
                    let planned = ctx.headers()["mainstay-planned-for"].clone();
                    ctx.state().add(planned);
                    Ok(())
                })
                .schedule("tick", Schedule::every(Duration::from_secs(1)), || note("tick"));
            workers.push(worker.start().await.unwrap());
        }
        until_seen(&seen, 3).await;
        for worker in workers {
            drain(worker).await.unwrap();
        }
        assert!(seen.counts().values().all(|count| *count == 1), "{:?}", seen.all());
    }
}

mod full {
    use super::*;

    /// Bounds the file as a disk does that has so many pages left, or takes the bound away.
    async fn pages_left(db: &Db, left: Option<i64>) {
        db.transaction(|tx| async move {
            let now: i64 = tx.query("PRAGMA page_count").scalar().await?;
            let max = left.map_or(1_000_000, |left| now + left);
            let sql = format!("PRAGMA max_page_count = {max}");
            tx.query(AssertSqlSafe(sql)).execute().await.map(drop)
        })
        .await
        .unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_enqueued_before_the_disk_was_full_is_run_and_the_rest_refused() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("f.db").display());
        let db = Db::connect(&url).await.unwrap();
        install(&db).await.unwrap();
        pages_left(&db, Some(40)).await;
        let text = |n: usize| format!("{n} {}", "x".repeat(1_000));
        let mut taken = 0;
        let refused = loop {
            match db.enqueue(&note(text(taken))).await {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
            assert!(taken < 1_000, "the disk is never full");
        };
        assert_eq!(refused.code(), Code::Resources, "{refused:?}");
        let seen = Seen::default();
        let worker = Worker::builder(&db, seen.clone())
            .poll_interval(Duration::from_millis(50))
            .handle(|note: Note, ctx: Context<Seen>| async move {
                ctx.state().add(note.text);
                Ok(())
            })
            .start();
        // It may not even be able to enter itself before there is room.
        let worker = match worker.await {
            Ok(worker) => worker,
            Err(error) => {
                assert_eq!(error.code(), Code::Resources, "{error:?}");
                pages_left(&db, None).await;
                Worker::builder(&db, seen.clone())
                    .handle(|note: Note, ctx: Context<Seen>| async move {
                        ctx.state().add(note.text);
                        Ok(())
                    })
                    .start()
                    .await
                    .unwrap()
            }
        };
        tokio::time::sleep(Duration::from_millis(300)).await;
        pages_left(&db, None).await;
        db.enqueue(&note(text(taken))).await.unwrap();
        let all = async {
            while seen.counts().len() <= taken {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, all).await.expect("all were run");
        drain(worker).await.unwrap();
        let left: i64 = db.query("SELECT COUNT(*) FROM mainstay_job").scalar().await.unwrap();
        assert_eq!(left, 0);
    }
}

mod blocking {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    #[expect(clippy::disallowed_methods, reason = "what is tested is a handler that blocks")]
    async fn a_handler_that_blocks_a_thread_keeps_its_job_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("b.db").display());
        let db = Db::connect(&url).await.unwrap();
        install(&db).await.unwrap();
        let seen = Seen::default();
        let worker = Worker::builder(&db, seen.clone())
            .handle(|note: Note, ctx: Context<Seen>| async move {
                if note.text == "blocks" {
                    std::thread::sleep(Duration::from_secs(3));
                }
                ctx.state().add(note.text);
                Ok(())
            })
            .start()
            .await
            .unwrap();
        db.enqueue(&note("blocks")).await.unwrap();
        for n in 0..50 {
            db.enqueue(&note(n.to_string())).await.unwrap();
        }
        until_seen(&seen, 51).await;
        assert_eq!(seen.all().last().unwrap(), "blocks", "the others did not wait for it");
        drain(worker).await.unwrap();
        assert!(seen.counts().values().all(|count| *count == 1), "{:?}", seen.all());
    }
}

mod pgbouncer {
    use super::*;
    use mainstay_testkit::{Engine, Fresh};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn behind_a_pooler_workers_poll_and_lead() {
        let fresh = Fresh::new(Engine::PgBouncer).await;
        let db = Db::connect(fresh.url()).await.unwrap();
        install(&db).await.unwrap();
        let seen = Seen::default();
        let worker = Worker::builder(&db, seen.clone())
            .poll_interval(Duration::from_millis(50))
            .handle(|note: Note, ctx: Context<Seen>| async move {
                ctx.state().add(note.text);
                Ok(())
            })
            .start()
            .await
            .unwrap();
        db.enqueue(&note("now")).await.unwrap();
        db.enqueue(&note("later")).delay(Duration::from_millis(300)).await.unwrap();
        until_seen(&seen, 2).await;
        drain(worker).await.unwrap();
        assert_eq!(seen.all(), ["now", "later"]);
    }
}
