//! From a transaction to a handler, and what becomes of a job on its way.

use std::time::Duration;

use mainstay_core::{Code, Error};
use mainstay_jobs::{Context, Enqueued, Jobs, Outcome};

use crate::support::{Here, Note, Seen, drain, note, on_every_backend, until, until_seen};

on_every_backend!(
    a_committed_job_runs_and_a_rolled_back_one_does_not,
    each_of_many_runs_once,
    a_failed_job_is_tried_again_until_it_is_dead,
    a_delayed_job_waits,
    a_unique_job_is_there_once,
    a_job_is_completed_in_its_handlers_transaction,
    a_snooze_is_no_attempt,
    a_cancelled_or_dead_outcome_ends_it,
    a_panic_is_a_failed_attempt,
    a_handler_that_hangs_is_dropped,
    an_unknown_job_is_left_for_others,
    a_payload_that_can_not_be_read_is_kept,
    a_result_is_kept_for_its_time,
    a_paused_queue_rests;
    databases:
    the_smaller_priority_and_the_older_runs_first
        "it holds when jobs are handed over; what the broker has already comes first",
    a_drained_worker_gives_back_what_it_has_not_begun
        "it goes back to the broker, which delivers it again",
);

async fn a_committed_job_runs_and_a_rolled_back_one_does_not(here: Here) {
    here.db.transaction(|tx| async move { tx.enqueue(&note("committed")).await }).await.unwrap();
    let refused: Result<(), Error> = here
        .db
        .transaction(|tx| async move {
            tx.enqueue(&note("rolled back")).await?;
            Err(Error::user("no"))
        })
        .await;
    refused.unwrap_err();
    let worker = here.notes().await;
    here.db.enqueue(&note("later")).await.unwrap();
    until_seen(&here.seen, 2).await;
    drain(worker).await.unwrap();
    // Both may run at once, so in either order.
    let mut seen = here.seen.all();
    seen.sort();
    assert_eq!(seen, ["committed", "later"]);
    for table in ["mainstay_job", "mainstay_ready", "mainstay_lease", "mainstay_worker"] {
        assert_eq!(here.count(table).await, 0, "{table}");
    }
}

async fn each_of_many_runs_once(here: Here) {
    let all: Vec<Note> = (0..3_000).map(|n| note(n.to_string())).collect();
    let enqueued = here.db.enqueue_all(&all).await.unwrap();
    assert_eq!(enqueued.len(), 3_000);
    assert!(enqueued.is_sorted_by_key(|one| one.id()));
    let (one, other) = (here.notes().await, here.another().await.notes().await);
    until_seen(&here.seen, 3_000).await;
    drain(one).await.unwrap();
    drain(other).await.unwrap();
    let counts = here.seen.counts();
    assert_eq!(counts.len(), 3_000);
    assert!(counts.values().all(|count| *count == 1));
    assert_eq!(here.count("mainstay_job").await, 0);
    assert_eq!(here.count("mainstay_lease").await, 0);
}

async fn the_smaller_priority_and_the_older_runs_first(here: Here) {
    for (text, priority) in [("c", 0), ("d", 0), ("b", -1), ("e", 5), ("a", -7)] {
        here.db.enqueue(&note(text)).priority(priority).await.unwrap();
    }
    let worker = here
        .worker()
        .concurrency(1)
        .handle(|note: Note, ctx: Context<Seen>| async move {
            ctx.state().add(note.text);
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 5).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["a", "b", "c", "d", "e"]);
}

async fn a_failed_job_is_tried_again_until_it_is_dead(here: Here) {
    let id = here.db.enqueue(&note("x")).max_attempts(3).await.unwrap().id();
    let worker = here
        .worker()
        .handle(|_: Note, ctx: Context<Seen>| async move {
            ctx.state().add(ctx.attempt().to_string());
            Err::<(), _>(Error::user("not today"))
        })
        .start()
        .await
        .unwrap();
    until("it is dead", || async { here.count("mainstay_finished").await == 1 }).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["1", "2", "3"]);
    let (state, attempt, errors): (i16, i32, String) = here
        .db
        .query("SELECT state, attempt, errors FROM mainstay_job WHERE id = $1")
        .bind(id.0)
        .one()
        .await
        .unwrap();
    assert_eq!((state, attempt), (3, 3));
    assert_eq!(errors.matches("not today").count(), 3);
}

async fn a_delayed_job_waits(here: Here) {
    let worker = here.notes().await;
    here.db.enqueue(&note("later")).delay(Duration::from_millis(700)).await.unwrap();
    here.db.enqueue(&note("now")).await.unwrap();
    until_seen(&here.seen, 2).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["now", "later"]);
    assert_eq!(here.count("mainstay_scheduled").await, 0);
}

async fn a_unique_job_is_there_once(here: Here) {
    let first = here.db.enqueue(&note("a")).unique("k").await.unwrap();
    assert!(first.is_new());
    let second = here.db.enqueue(&note("b")).unique("k").await.unwrap();
    assert_eq!(second, Enqueued::Duplicate(first.id()));
    let windowed =
        here.db.enqueue(&note("w")).unique_for("w", Duration::from_secs(3600)).await.unwrap();
    let worker = here.notes().await;
    until_seen(&here.seen, 2).await;
    until("both have ended", || async { here.count("mainstay_job").await == 0 }).await;
    assert!(here.db.enqueue(&note("c")).unique("k").await.unwrap().is_new(), "it has ended");
    let again = here.db.enqueue(&note("w")).unique_for("w", Duration::from_secs(3600)).await;
    assert_eq!(again.unwrap(), Enqueued::Duplicate(windowed.id()), "its window has not");
    until_seen(&here.seen, 3).await;
    drain(worker).await.unwrap();
}

async fn a_job_is_completed_in_its_handlers_transaction(here: Here) {
    here.run("CREATE TABLE effects (n INTEGER)").await;
    here.db.enqueue(&note("x")).await.unwrap();
    let worker = here
        .worker()
        .handle(|_: Note, ctx: Context<Seen>| async move {
            ctx.transaction(|tx| async move {
                tx.query("INSERT INTO effects (n) VALUES (1)").execute().await?;
                Ok(())
            })
            .await?;
            ctx.state().add("done");
            // It is too late to fail.
            Err::<(), _>(Error::user("after the commit"))
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
    assert_eq!(here.count("effects").await, 1);
    for table in ["mainstay_job", "mainstay_lease", "mainstay_scheduled"] {
        assert_eq!(here.count(table).await, 0, "{table}");
    }
}

async fn a_snooze_is_no_attempt(here: Here) {
    here.db.enqueue(&note("x")).max_attempts(1).await.unwrap();
    let worker = here
        .worker()
        .handle(|_: Note, ctx: Context<Seen>| async move {
            ctx.state().add(ctx.attempt().to_string());
            let snoozed = ctx.state().len() < 3;
            Ok(if snoozed { Outcome::Snooze(Duration::from_millis(10)) } else { Outcome::Done })
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 3).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["1", "1", "1"]);
    assert_eq!(here.count("mainstay_job").await, 0);
}

async fn a_cancelled_or_dead_outcome_ends_it(here: Here) {
    here.db.enqueue(&note("cancel")).await.unwrap();
    here.db.enqueue(&note("dead")).await.unwrap();
    let worker = here
        .worker()
        .handle(|note: Note, ctx: Context<Seen>| async move {
            ctx.state().add(note.text.clone());
            Ok(match note.text.as_str() {
                "cancel" => Outcome::Cancel("not needed".to_owned()),
                _ => Outcome::Dead("impossible".to_owned()),
            })
        })
        .start()
        .await
        .unwrap();
    until("both ended", || async { here.count("mainstay_finished").await == 2 }).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.len(), 2);
    assert_eq!(here.number("SELECT COUNT(*) FROM mainstay_job WHERE state = 2").await, 1);
    assert_eq!(here.number("SELECT COUNT(*) FROM mainstay_job WHERE state = 3").await, 1);
}

async fn a_panic_is_a_failed_attempt(here: Here) {
    here.db.enqueue(&note("x")).await.unwrap();
    let worker = here
        .worker()
        .concurrency(1)
        .handle(|_: Note, ctx: Context<Seen>| async move {
            ctx.state().add(ctx.attempt().to_string());
            assert!(ctx.attempt() > 1, "the first one panics");
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 2).await;
    drain(worker).await.unwrap();
    assert_eq!(here.count("mainstay_job").await, 0);
}

async fn a_handler_that_hangs_is_dropped(here: Here) {
    here.db.enqueue(&note("x")).timeout(Duration::from_millis(50)).max_attempts(1).await.unwrap();
    let worker = here
        .worker()
        .handle(|_: Note, _: Context<Seen>| async move {
            std::future::pending::<()>().await;
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until("it is dead", || async { here.count("mainstay_finished").await == 1 }).await;
    drain(worker).await.unwrap();
    let errors: String = here.db.query("SELECT errors FROM mainstay_job").scalar().await.unwrap();
    assert!(errors.contains(Code::JobTimeout.as_str()), "{errors}");
}

async fn a_drained_worker_gives_back_what_it_has_not_begun(here: Here) {
    for n in 0..20 {
        here.db.enqueue(&note(n.to_string())).await.unwrap();
    }
    let slow = here
        .worker()
        .concurrency(2)
        .handle(|note: Note, ctx: Context<Seen>| async move {
            ctx.state().add(note.text);
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 1).await;
    drain(slow).await.unwrap();
    let done = here.seen.len() as i64;
    assert!(done < 20);
    assert_eq!(here.count("mainstay_ready").await, 20 - done);
    assert_eq!(here.count("mainstay_lease").await, 0);
    let worker = here.notes().await;
    until_seen(&here.seen, 20).await;
    drain(worker).await.unwrap();
    assert!(here.seen.counts().values().all(|count| *count == 1));
}

async fn an_unknown_job_is_left_for_others(here: Here) {
    let id = here.db.enqueue(&note("x")).await.unwrap().id();
    let old = here.worker().start().await.unwrap();
    until("it was left", || async { here.count("mainstay_scheduled").await == 1 }).await;
    drain(old).await.unwrap();
    let (state, attempt, errors): (i16, i32, String) = here
        .db
        .query("SELECT state, attempt, errors FROM mainstay_job WHERE id = $1")
        .bind(id.0)
        .one()
        .await
        .unwrap();
    assert_eq!((state, attempt), (0, 0));
    assert!(errors.contains("JOB-002"), "{errors}");
}

async fn a_payload_that_can_not_be_read_is_kept(here: Here) {
    let id = here.db.enqueue(&note("x")).max_attempts(1).await.unwrap().id();
    here.run(r#"UPDATE mainstay_job SET payload = '{"text": 17, "secret": "hush"}'"#).await;
    let worker = here.notes().await;
    until("it is dead", || async { here.count("mainstay_finished").await == 1 }).await;
    drain(worker).await.unwrap();
    let (payload, errors): (String, String) = here
        .db
        .query("SELECT payload, errors FROM mainstay_job WHERE id = $1")
        .bind(id.0)
        .one()
        .await
        .unwrap();
    assert!(payload.contains("17"));
    assert!(errors.contains("JOB-003") && errors.contains("a string was expected"), "{errors}");
    assert!(!errors.contains("hush"), "a payload may be private: {errors}");
}

async fn a_result_is_kept_for_its_time(here: Here) {
    let id = here.db.enqueue(&note("x")).retention(Duration::from_secs(600)).await.unwrap().id();
    let worker = here
        .worker()
        .handle(|_: Note, ctx: Context<Seen>| async move {
            ctx.progress(0.5, "half").await?;
            ctx.result(&vec![1, 2])
        })
        .start()
        .await
        .unwrap();
    until("it has ended", || async { here.count("mainstay_finished").await == 1 }).await;
    drain(worker).await.unwrap();
    let (state, result): (i16, String) = here
        .db
        .query("SELECT state, result FROM mainstay_job WHERE id = $1")
        .bind(id.0)
        .one()
        .await
        .unwrap();
    assert_eq!((state, result.as_str()), (1, "[1,2]"));
    assert_eq!(here.count("mainstay_progress").await, 0);
}

async fn a_paused_queue_rests(here: Here) {
    here.run("INSERT INTO mainstay_queue (name, paused) VALUES ('default', 1)").await;
    here.db.enqueue(&note("x")).await.unwrap();
    let worker = here.notes().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(here.seen.len(), 0);
    here.run("UPDATE mainstay_queue SET paused = 0").await;
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
}
