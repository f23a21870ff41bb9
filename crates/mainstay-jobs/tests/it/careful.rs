//! Keys, limits and rates where they meet each other, deaths, and workers that disagree.

use std::time::Duration;

use mainstay_core::Error;
use mainstay_jobs::{Context, Jobs, Queue, Worker};

use crate::support::{Here, Note, Seen, drain, note, on_every_backend, until, until_seen};

on_every_backend!(
    order_by_key_holds_beside_a_limit_by_key,
    a_queue_at_its_limit_goes_on_with_what_was_given_back,
    a_key_of_a_job_that_is_no_more_comes_free,
    a_key_with_a_low_rate_does_not_keep_other_keys_back,
    workers_that_disagree_about_limits_run_each_job_once;
    databases:
    suspects_do_not_keep_others_back "a broker is handed suspects like all others",
);

async fn noting(here: &Here, queue: Queue) -> Worker {
    here.worker_on(queue)
        .concurrency(2)
        .handle(|note: Note, ctx: Context<Seen>| async move {
            ctx.state().add(note.text);
            Ok(())
        })
        .start()
        .await
        .unwrap()
}

async fn order_by_key_holds_beside_a_limit_by_key(here: Here) {
    for n in 0..60 {
        let job = note(format!("k{} {n}", n % 3));
        let enqueue = here.db.enqueue(&job).ordering_key(format!("k{}", n % 3));
        // Half of them wait for each other as well.
        let enqueue = if n % 2 == 0 { enqueue.limit_key("shared") } else { enqueue };
        enqueue.await.unwrap();
    }
    let start = || async {
        here.worker_on(here.queue("default").key_concurrency(1))
            .concurrency(4)
            .handle(|note: Note, ctx: Context<Seen>| async move {
                let n: usize = note.text.split(' ').nth(1).unwrap().parse().unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
                if n.is_multiple_of(5) && ctx.attempt() == 1 {
                    return Err(Error::user("at first"));
                }
                ctx.state().add(note.text);
                Ok(())
            })
            .start()
            .await
            .unwrap()
    };
    let workers = [start().await, start().await, start().await, start().await];
    until_seen(&here.seen, 60).await;
    for worker in workers {
        drain(worker).await.unwrap();
    }
    for key in ["k0", "k1", "k2"] {
        let seen = here.seen.all();
        let of_key = seen.iter().filter_map(|text| text.split_once(' '));
        let all: Vec<usize> =
            of_key.filter(|(k, _)| *k == key).map(|(_, n)| n.parse().unwrap()).collect();
        assert!(all.is_sorted() && all.len() == 20, "{key}: {all:?}");
    }
    for table in ["mainstay_job", "mainstay_parked", "mainstay_holding", "mainstay_lease"] {
        assert_eq!(here.count(table).await, 0, "{table}");
    }
}

async fn a_queue_at_its_limit_goes_on_with_what_was_given_back(here: Here) {
    for _ in 0..2 {
        here.db.enqueue(&note("given back")).await.unwrap();
    }
    // As a worker leaves them whose claim's answer was lost.
    here.run("INSERT INTO mainstay_holding (queue, key_text, id) SELECT queue, 'q', id FROM mainstay_job")
        .await;
    for _ in 0..120 {
        here.db.enqueue(&note("better")).priority(-1).await.unwrap();
    }
    let worker = noting(&here, here.queue("default").global_concurrency(2)).await;
    until_seen(&here.seen, 122).await;
    drain(worker).await.unwrap();
    assert_eq!(here.count("mainstay_holding").await, 0);
}

async fn a_key_of_a_job_that_is_no_more_comes_free(here: Here) {
    here.run(
        "INSERT INTO mainstay_holding (queue, key_text, id) VALUES ('default', 'o:k', 999999)",
    )
    .await;
    here.db.enqueue(&note("x")).ordering_key("k").await.unwrap();
    let worker = noting(&here, here.queue("default")).await;
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
    assert_eq!(here.count("mainstay_holding").await, 0);
}

async fn a_key_with_a_low_rate_does_not_keep_other_keys_back(here: Here) {
    for _ in 0..60 {
        here.db.enqueue(&note("slow")).limit_key("slow").await.unwrap();
    }
    here.db.enqueue(&note("other")).limit_key("other").await.unwrap();
    let second = Duration::from_secs(1);
    let queue = here.queue("default").rate(1_000, second).key_rate(1, second);
    let worker = noting(&here, queue).await;
    until("the other key had its turn", || async { here.seen.counts().contains_key("other") })
        .await;
    // Sixty slow ones take a minute.
    assert!(here.seen.len() < 40, "{:?}", here.seen.counts());
    drain(worker).await.unwrap();
}

async fn workers_that_disagree_about_limits_run_each_job_once(here: Here) {
    let limited = noting(&here, here.queue("default").global_concurrency(50)).await;
    let free = noting(&here, here.queue("default")).await;
    let other = here.another().await;
    for n in 0..300 {
        other.db.enqueue(&note(format!("{n}"))).await.unwrap();
    }
    until("all are done", || async { here.seen.counts().len() == 300 }).await;
    drain(limited).await.unwrap();
    drain(free).await.unwrap();
    let twice: Vec<_> = here.seen.counts().into_iter().filter(|(_, count)| *count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let _ = other.db.close(Duration::from_secs(5)).await;
}

async fn suspects_do_not_keep_others_back(here: Here) {
    for n in 0..120 {
        here.db.enqueue(&note("suspect")).limit_key(format!("{n}")).await.unwrap();
    }
    // Each alone from here on.
    here.run("UPDATE mainstay_job SET crashes = 2, lane = 2").await;
    here.run("UPDATE mainstay_ready SET lane = 2").await;
    here.db.enqueue(&note("other")).ordering_key("k").await.unwrap();
    let worker = here
        .worker()
        .concurrency(2)
        .handle(|note: Note, ctx: Context<Seen>| async move {
            while note.text == "suspect" && !ctx.state().counts().contains_key("other") {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            ctx.state().add(note.text);
            Ok(())
        })
        .start()
        .await
        .unwrap();
    until("the other one had its turn", || async { here.seen.counts().contains_key("other") })
        .await;
    drain(worker).await.unwrap();
}
