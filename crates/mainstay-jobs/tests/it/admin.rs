//! What people do with jobs, and that it is written down.

use std::time::Duration;

use mainstay_core::{Code, Error};
use mainstay_jobs::admin::{Act, Admin, Filter, GroupStats, State};
use mainstay_jobs::event::From;
use mainstay_jobs::{Context, Event, JobId, Jobs, Worker};
use serde::{Deserialize, Serialize};

use crate::support::{Here, Note, Seen, drain, note, on_every_backend, until, until_seen};

on_every_backend!(
    a_dead_job_is_tried_again,
    a_job_that_waits_is_cancelled,
    a_job_that_runs_is_cancelled,
    a_saga_whose_worker_died_is_undone_when_it_is_cancelled,
    a_job_that_is_tried_again_is_not_ended_by_an_old_cancel,
    a_deadline_that_has_passed_does_not_end_what_is_tried_again,
    a_queue_is_paused_drained_and_resumed,
    everything_is_counted,
    jobs_are_found_by_key_and_time,
    many_are_acted_on_at_once,
    groups_tell_how_far_behind_they_are,
);

fn of(state: State) -> Filter {
    Filter { state: Some(state), ..Filter::default() }
}

async fn a_dead_job_is_tried_again(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    let id = here.db.enqueue(&note("x")).max_attempts(1).await.unwrap().id();
    let worker = here
        .worker()
        .handle(|_: Note, ctx: Context<Seen>| async move {
            ctx.state().add("run");
            if ctx.state().len() == 1 { Err(Error::user("once")) } else { Ok(()) }
        })
        .start()
        .await
        .unwrap();
    until("it is dead", || async { admin.list(&of(State::Dead)).await.unwrap().len() == 1 }).await;
    let job = admin.show(id).await.unwrap();
    assert_eq!((job.info.state, job.errors.len()), (State::Dead, 1));
    assert!(job.info.last_error.unwrap().message.contains("once"));
    assert_eq!(admin.retry_dead(Some("elsewhere"), None, 10).await.unwrap(), 0);
    assert_eq!(admin.retry_dead(None, Some("note"), 10).await.unwrap(), 1);
    until_seen(&here.seen, 2).await;
    drain(worker).await.unwrap();
    assert!(admin.show(id).await.is_err(), "it was done");
    let audit = admin.audit(10).await.unwrap();
    assert_eq!((audit[0].actor.as_str(), audit[0].action.as_str()), ("ada@ops", "retry"));
    assert!(!admin.retry(&[JobId(987_654)]).await.unwrap()[0].done);
}

async fn a_job_that_waits_is_cancelled(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    let later = Duration::from_secs(3600);
    let id = here.db.enqueue(&note("x")).delay(later).unique("k").await.unwrap().id();
    assert_eq!(admin.list(&of(State::Scheduled)).await.unwrap()[0].id, id);
    assert!(admin.cancel(&[id]).await.unwrap()[0].done);
    assert_eq!(admin.show(id).await.unwrap().info.state, State::Cancelled);
    assert_eq!(here.count("mainstay_scheduled").await, 0);
    assert!(here.db.enqueue(&note("y")).delay(later).unique("k").await.unwrap().is_new());
    assert!(admin.delete(&[id]).await.unwrap()[0].done);
    assert!(admin.show(id).await.is_err());
}

async fn a_job_that_runs_is_cancelled(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    let id = here.db.enqueue(&note("x")).await.unwrap().id();
    let worker = here
        .worker()
        .handle(|_: Note, ctx: Context<Seen>| async move {
            ctx.state().add("begun");
            std::future::pending::<()>().await;
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 1).await;
    // What a broker carries has no lease: its worker finds that it has ended.
    assert!(admin.cancel(&[id]).await.unwrap()[0].done);
    until("it is cancelled", || async {
        admin.show(id).await.unwrap().info.state == State::Cancelled
    })
    .await;
    if here.broker.is_none() {
        until("it runs no more", || async { worker.running() == 0 }).await;
        drain(worker).await.unwrap();
    }
}

async fn a_saga_whose_worker_died_is_undone_when_it_is_cancelled(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    let id = here.db.enqueue(&note("x")).await.unwrap().id();
    // As a worker leaves it that is killed in the job's first run, after a step: the options say nothing.
    here.run(&format!(
        "INSERT INTO mainstay_step (job, name, seq, result, at_us) VALUES ({id}, 'charge', 0, '5', 0)"
    ))
    .await;
    let told = admin.cancel(&[id]).await.unwrap();
    assert_eq!(told[0].what, "what it did is being undone");
    assert_eq!(admin.show(id).await.unwrap().info.state, State::Ready);
    let worker = here
        .worker()
        .handle(|_: Note, ctx: Context<Seen>| async move {
            let seen = ctx.state().clone();
            ctx.step("charge", || async { Ok(7) })
                .undo(move |cents: i32, _| {
                    let seen = seen.clone();
                    async move {
                        seen.add(format!("refund {cents}"));
                        Ok(())
                    }
                })
                .await?;
            ctx.step("ship", || async {
                ctx.state().add("ship");
                Ok(())
            })
            .await
        })
        .start()
        .await
        .unwrap();
    until("it is cancelled", || async {
        admin.show(id).await.unwrap().info.state == State::Cancelled
    })
    .await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["refund 5"]);
}

async fn a_job_that_is_tried_again_is_not_ended_by_an_old_cancel(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    let id = here.db.enqueue(&note("x")).delay(Duration::from_secs(3600)).await.unwrap().id();
    assert!(admin.cancel(&[id]).await.unwrap()[0].done);
    // As it stays where a broker had the job: nobody ran it, so nobody was asked.
    let later = i64::MAX / 2;
    here.run(&format!("INSERT INTO mainstay_cancel (id, at_us) VALUES ({id}, {later})")).await;
    assert!(admin.retry(&[id]).await.unwrap()[0].done);
    assert_eq!(here.count("mainstay_cancel").await, 0);
    let worker = here.notes().await;
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
}

async fn a_deadline_that_has_passed_does_not_end_what_is_tried_again(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    let past = chrono::DateTime::from_timestamp(1_000_000_000, 0).unwrap();
    let id = here.db.enqueue(&note("x")).deadline(past).await.unwrap().id();
    let worker = here.notes().await;
    until("it is dead", || async { admin.list(&of(State::Dead)).await.unwrap().len() == 1 }).await;
    let job = admin.show(id).await.unwrap();
    assert_eq!(job.info.last_error.unwrap().code, "JOB-006");
    let told = admin.retry(&[id]).await.unwrap();
    assert_eq!(told[0].what, "ready again, without its deadline, which has passed");
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
}

async fn a_queue_is_paused_drained_and_resumed(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    let worker = here.notes().await;
    admin.drain("default", Duration::from_secs(20)).await.unwrap();
    here.db.enqueue(&note("x")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(here.seen.len(), 0);
    admin.resume("default").await.unwrap();
    until_seen(&here.seen, 1).await;
    admin.drain_worker(worker.id()).await.unwrap();
    worker.told_to_drain().await;
    drain(worker).await.unwrap();
    let actions: Vec<_> =
        admin.audit(10).await.unwrap().into_iter().rev().map(|one| one.action).collect();
    assert_eq!(actions, ["pause", "resume", "drain"]);
}

async fn everything_is_counted(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    for n in 0..5 {
        here.db.enqueue(&note(n.to_string())).await.unwrap();
    }
    let later = here.db.enqueue(&note("later")).delay(Duration::from_secs(600)).await.unwrap().id();
    here.run(&format!("UPDATE mainstay_job SET attempt = 1 WHERE id = {later}")).await;
    let stats = admin.stats().await.unwrap();
    let queue = stats.queues.iter().find(|queue| queue.name == "default").unwrap();
    assert_eq!((queue.ready, queue.scheduled, queue.running, queue.dead), (5, 1, 0, 0));
    assert_eq!(queue.retrying, 1);
    assert!(queue.oldest_ready_at.is_some() && stats.workers.is_empty());
    let listed = admin.list(&Filter { limit: 2, ..Filter::default() }).await.unwrap();
    assert_eq!((listed[0].state, listed[1].state), (State::Scheduled, State::Ready));
    let older = Filter { before: Some(listed[1].id), ..Filter::default() };
    assert_eq!(admin.list(&older).await.unwrap().len(), 4);
    let worker = here.notes().await;
    until_seen(&here.seen, 5).await;
    assert_eq!(admin.stats().await.unwrap().workers.len(), 1);
    drain(worker).await.unwrap();
}

async fn jobs_are_found_by_key_and_time(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    let later = Duration::from_secs(3600);
    let ordered = here.db.enqueue(&note("a")).delay(later).ordering_key("k").await.unwrap().id();
    let unique = here.db.enqueue(&note("b")).delay(later).unique("k").await.unwrap().id();
    here.db.enqueue(&note("c")).delay(later).unique("K").await.unwrap();
    here.db.enqueue(&note("k")).delay(later).await.unwrap();
    let keyed = Filter { key: Some("k".to_owned()), ..of(State::Scheduled) };
    let found = admin.list(&keyed).await.unwrap();
    assert_eq!(found.iter().map(|job| job.id).collect::<Vec<_>>(), [unique, ordered]);
    assert_eq!(admin.count(&keyed).await.unwrap(), 2);
    let at = found[1].created_at;
    let since = Filter { since: Some(at), ..Filter::default() };
    assert_eq!(admin.list(&since).await.unwrap().len(), 4);
    let until = Filter { until: Some(at), ..Filter::default() };
    assert!(admin.list(&until).await.unwrap().is_empty());
    let to_come = Filter { since: Some(at + later), ..keyed };
    assert!(admin.list(&to_come).await.unwrap().is_empty());
}

async fn many_are_acted_on_at_once(here: Here) {
    let admin = Admin::new(&here.db, "ada@ops");
    let later = Duration::from_secs(3600);
    for queue in ["default", "default", "default", "other"] {
        here.db.enqueue(&note("x")).queue(queue).delay(later).await.unwrap();
    }
    let waiting = Filter { queue: Some("default".to_owned()), ..of(State::Scheduled) };
    assert_eq!(admin.count(&waiting).await.unwrap(), 3);
    assert_eq!(admin.act_on_all(Act::Cancel, &waiting, 2).await.unwrap(), 2);
    assert_eq!(admin.count(&waiting).await.unwrap(), 1);
    let cancelled = of(State::Cancelled);
    assert_eq!(admin.act_on_all(Act::Retry, &cancelled, 1).await.unwrap(), 1);
    assert_eq!(admin.count(&of(State::Ready)).await.unwrap(), 1);
    assert_eq!(admin.act_on_all(Act::Delete, &cancelled, 10).await.unwrap(), 1);
    assert_eq!(admin.count(&Filter::default()).await.unwrap(), 3);
}

#[derive(Serialize, Deserialize)]
struct Happened {
    n: i64,
}

impl Event for Happened {
    const NAME: &'static str = "happened";
    const MAX_ATTEMPTS: u32 = 1;
}

async fn subscriber(here: &Here) -> Worker {
    here.worker()
        .group(here.queue("a"))
        .subscribe("a", |event: Happened, ctx: Context<Seen>| async move {
            ctx.state().add(event.n.to_string());
            if event.n < 0 { Err(Error::user("poison")) } else { Ok(()) }
        })
        .start()
        .await
        .unwrap()
}

async fn groups_tell_how_far_behind_they_are(here: Here) {
    async fn group(admin: &Admin) -> GroupStats {
        let mut groups = admin.groups().await.unwrap();
        assert_eq!(groups.len(), 1);
        groups.remove(0)
    }

    let admin = Admin::new(&here.db, "ada@ops");
    assert!(admin.groups().await.unwrap().is_empty());
    drain(subscriber(&here).await).await.unwrap();
    let idle = group(&admin).await;
    assert_eq!((idle.name.as_str(), idle.lag, idle.oldest_at), ("a", 0, None));
    assert_eq!(idle.events, ["happened"]);
    for n in [-1, 1, 2] {
        here.db.publish(&Happened { n }).await.unwrap();
    }
    let behind = group(&admin).await;
    assert_eq!(behind.lag, 3, "nobody has given them out yet");
    assert!(behind.oldest_at.is_some());
    admin.pause("group:a").await.unwrap();
    let worker = subscriber(&here).await;
    until("they are given out", || async { here.count("mainstay_outbox").await == 0 }).await;
    let paused = group(&admin).await;
    assert_eq!((paused.lag, paused.paused, here.seen.len()), (3, true, 0));
    admin.resume("group:a").await.unwrap();
    until("it has caught up", || async {
        let group = group(&admin).await;
        (group.lag, group.dead) == (0, 1)
    })
    .await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.len(), 3);

    assert_eq!(admin.replay("a", From::Start).await.unwrap().events, 3);
    let again = group(&admin).await;
    assert_eq!((again.lag, again.replaying), (3, false));
    let refused = admin.replay("nobody", From::Start).await.unwrap_err();
    assert_eq!(refused.code(), Code::JobNotFound);
    let audit = admin.audit(10).await.unwrap();
    assert_eq!((audit[0].action.as_str(), audit[0].target.as_str()), ("replay", "group a"));
}
