//! Durable steps: done once, gone on with, undone.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mainstay_core::{Code, Error};
use mainstay_jobs::{Action, Context, Job, Jobs};
use serde::{Deserialize, Serialize};

use crate::support::{Here, Seen, drain, on_every_backend, until, until_seen};

on_every_backend!(
    a_step_is_done_once,
    what_was_done_is_undone_in_reverse,
    a_timer_frees_the_worker,
    a_signal_is_waited_for,
    a_signal_that_does_not_come_times_out,
    an_undo_that_fails_is_tried_again,
    steps_must_not_change_their_order,
    a_saga_that_is_cancelled_while_it_runs_is_undone,
);

#[derive(Clone, Serialize, Deserialize)]
struct Order {
    fails: bool,
}

impl Job for Order {
    const NAME: &'static str = "order";
    const MAX_ATTEMPTS: u32 = 3;

    fn failed(&self, _: u32, _: &Error) -> Action {
        Action::Retry(Duration::from_millis(20))
    }
}

async fn a_step_is_done_once(here: Here) {
    here.run("CREATE TABLE effects (n INTEGER)").await;
    here.db.enqueue(&Order { fails: false }).await.unwrap();
    let worker = here
        .worker()
        .handle(|_: Order, ctx: Context<Seen>| async move {
            let seen = ctx.state().clone();
            let charged: u32 = ctx
                .step("charge", || async {
                    seen.add("charge");
                    Ok(17)
                })
                .await?;
            assert_eq!(charged, 17);
            ctx.step_tx("reserve", |tx| async move {
                tx.query("INSERT INTO effects (n) VALUES (1)").execute().await.map(drop)
            })
            .await?;
            if ctx.attempt() < 3 {
                return Err(Error::user("later"));
            }
            ctx.state().add("done");
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 2).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["charge", "done"]);
    assert_eq!(here.count("effects").await, 1);
    assert_eq!(here.count("mainstay_step").await, 0);
}

async fn what_was_done_is_undone_in_reverse(here: Here) {
    here.run("CREATE TABLE stock (n INTEGER)").await;
    here.db.enqueue(&Order { fails: true }).await.unwrap();
    let worker = here
        .worker()
        .handle(|_: Order, ctx: Context<Seen>| async move {
            let (one, two, three) = (ctx.state().clone(), ctx.state().clone(), ctx.state().clone());
            ctx.step_tx("reserve", |tx| async move {
                tx.query("INSERT INTO stock (n) VALUES (1)").execute().await.map(drop)
            })
            .undo(move |(), tx| {
                let seen = one.clone();
                async move {
                    seen.add("release");
                    tx.query("DELETE FROM stock").execute().await.map(drop)
                }
            })
            .await?;
            ctx.step("charge", || async { Ok(5) })
                .undo(move |cents: i32, _| {
                    let seen = two.clone();
                    async move {
                        seen.add(format!("refund {cents}"));
                        Ok(())
                    }
                })
                .await?;
            ctx.step("ship", || async {
                three.add("ship");
                Err::<(), _>(Error::user("no carrier"))
            })
            .await
        })
        .start()
        .await
        .unwrap();
    until("it has ended", || async { here.count("mainstay_finished").await == 1 }).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["ship", "ship", "ship", "refund 5", "release"]);
    assert_eq!(here.count("stock").await, 0);
    let (state, errors): (i16, String) =
        here.db.query("SELECT state, errors FROM mainstay_job").one().await.unwrap();
    assert_eq!(state, 2, "undone, so nobody need look at it");
    assert!(errors.contains("was undone"), "{errors}");
}

async fn a_timer_frees_the_worker(here: Here) {
    here.db.enqueue(&Order { fails: false }).await.unwrap();
    let worker = here
        .worker()
        .concurrency(1)
        .handle(|_: Order, ctx: Context<Seen>| async move {
            ctx.sleep("cool off", Duration::from_millis(300)).await?;
            ctx.state().add(format!("attempt {}", ctx.attempt()));
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until("it sleeps", || async { here.count("mainstay_scheduled").await == 1 }).await;
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["attempt 1"]);
}

async fn a_signal_is_waited_for(here: Here) {
    let id = here.db.enqueue(&Order { fails: false }).await.unwrap().id();
    let worker = here
        .worker()
        .handle(|_: Order, ctx: Context<Seen>| async move {
            let paid: Option<i64> = ctx.signal("paid").await?;
            ctx.state().add(format!("paid {paid:?}"));
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until("it waits", || async { here.count("mainstay_scheduled").await == 1 }).await;
    here.db.transaction(|tx| async move { tx.signal(id, "paid", &7).await }).await.unwrap();
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["paid Some(7)"]);
    let gone = here.db.signal(id, "paid", &7).await.unwrap_err();
    assert_eq!(gone.code(), Code::JobNotFound);
}

async fn a_signal_that_does_not_come_times_out(here: Here) {
    here.db.enqueue(&Order { fails: false }).await.unwrap();
    let worker = here
        .worker()
        .handle(|_: Order, ctx: Context<Seen>| async move {
            let paid = ctx.signal::<i64>("paid").timeout(Duration::from_millis(200)).await?;
            ctx.state().add(format!("{paid:?}"));
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["None"]);
}

async fn an_undo_that_fails_is_tried_again(here: Here) {
    here.db.enqueue(&Order { fails: true }).max_attempts(1).await.unwrap();
    let tries = std::sync::Arc::new(AtomicU32::new(0));
    let worker = here
        .worker()
        .handle(move |_: Order, ctx: Context<Seen>| {
            let tries = std::sync::Arc::clone(&tries);
            async move {
                let seen = ctx.state().clone();
                ctx.step("charge", || async { Ok(()) })
                    .undo(move |(), _| {
                        let (tries, seen) = (std::sync::Arc::clone(&tries), seen.clone());
                        async move {
                            if tries.fetch_add(1, Ordering::SeqCst) == 0 {
                                return Err(Error::user("the bank is closed"));
                            }
                            seen.add("refund");
                            Ok(())
                        }
                    })
                    .await?;
                ctx.state().add("ship");
                Err::<(), _>(Error::user("no carrier"))
            }
        })
        .start()
        .await
        .unwrap();
    until("it has ended", || async { here.count("mainstay_finished").await == 1 }).await;
    drain(worker).await.unwrap();
    let all = here.seen.all();
    assert_eq!(all.iter().filter(|one| *one == "refund").count(), 1, "{all:?}");
}

async fn steps_must_not_change_their_order(here: Here) {
    here.db.enqueue(&Order { fails: false }).await.unwrap();
    let worker = here
        .worker()
        .handle(|_: Order, ctx: Context<Seen>| async move {
            if ctx.attempt() > 1 {
                ctx.step("new", || async { Ok(()) }).await?;
            }
            ctx.step("old", || async { Ok(()) }).await?;
            Err::<(), _>(Error::user("again"))
        })
        .start()
        .await
        .unwrap();
    until("it is dead", || async { here.count("mainstay_finished").await == 1 }).await;
    drain(worker).await.unwrap();
    let errors: String = here.db.query("SELECT errors FROM mainstay_job").scalar().await.unwrap();
    assert!(errors.contains("JOB-016"), "{errors}");
}

async fn a_saga_that_is_cancelled_while_it_runs_is_undone(here: Here) {
    let id = here.db.enqueue(&Order { fails: false }).await.unwrap().id();
    let worker = here
        .worker()
        .handle(|_: Order, ctx: Context<Seen>| async move {
            let seen = ctx.state().clone();
            if ctx.attempt() > 1 {
                // Cancelled here, it has not come by its step in this run.
                ctx.state().add("again");
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            ctx.step("charge", || async { Ok(()) })
                .undo(move |(), _| {
                    let seen = seen.clone();
                    async move {
                        seen.add("refund");
                        Ok(())
                    }
                })
                .await?;
            Err::<(), _>(Error::user("later"))
        })
        .start()
        .await
        .unwrap();
    until_seen(&here.seen, 1).await;
    let admin = mainstay_jobs::admin::Admin::new(&here.db, "ada@ops");
    assert!(admin.cancel(&[id]).await.unwrap()[0].done);
    until("it has ended", || async { here.count("mainstay_finished").await == 1 }).await;
    drain(worker).await.unwrap();
    let refunds = here.seen.all().iter().filter(|one| *one == "refund").count();
    assert_eq!(refunds, 1, "{:?}", here.seen.all());
}
