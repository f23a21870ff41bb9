//! Events and their groups.

use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use mainstay_jobs::event::{From, replay, unsubscribe};
use mainstay_jobs::{Action, Context, Event, Jobs, Worker};
use serde::{Deserialize, Serialize};

use crate::support::{Here, Seen, drain, on_every_backend, until, until_seen};

on_every_backend!(
    each_group_gets_each_event_once,
    a_rolled_back_event_is_never_seen,
    an_event_that_commits_late_is_not_missed,
    events_of_one_key_come_in_order,
    what_was_comes_again,
    an_old_version_is_brought_up,
    a_poison_event_keeps_nobody_back,
    a_later_group_gets_what_comes_then,
);

#[derive(Serialize, Deserialize)]
struct Created {
    n: i64,
    #[serde(default)]
    key: Option<String>,
}

impl Event for Created {
    const NAME: &'static str = "created";
    const VERSION: u32 = 2;
    const MAX_ATTEMPTS: u32 = 2;

    fn key(&self) -> Option<String> {
        self.key.clone()
    }

    fn failed(&self, _: u32, _: &Error) -> Action {
        Action::Retry(Duration::from_millis(10))
    }

    fn upcast(version: u32, mut payload: serde_json::Value) -> Result<serde_json::Value> {
        if version == 1 {
            payload["n"] = payload["number"].clone();
        }
        Ok(payload)
    }
}

fn created(n: i64) -> Created {
    Created { n, key: None }
}

async fn listener(here: &Here, group: &'static str) -> Worker {
    here.worker()
        .group(here.queue(group))
        .subscribe(group, move |event: Created, ctx: Context<Seen>| async move {
            if event.n < 0 {
                return Err(Error::user("poison"));
            }
            assert!(ctx.event().unwrap().position > 0);
            ctx.state().add(format!("{group} {}", event.n));
            Ok(())
        })
        .start()
        .await
        .unwrap()
}

async fn each_group_gets_each_event_once(here: Here) {
    let workers =
        [listener(&here, "a").await, listener(&here, "a").await, listener(&here, "b").await];
    for n in 0..50 {
        here.db.publish(&created(n)).await.unwrap();
    }
    until_seen(&here.seen, 100).await;
    for worker in workers {
        drain(worker).await.unwrap();
    }
    let counts = here.seen.counts();
    assert_eq!(counts.len(), 100);
    assert!(counts.values().all(|count| *count == 1));
    assert_eq!(here.count("mainstay_outbox").await, 0);
    assert_eq!(here.count("mainstay_job").await, 0);
}

async fn a_rolled_back_event_is_never_seen(here: Here) {
    let worker = listener(&here, "a").await;
    let refused: Result<()> = here
        .db
        .transaction(|tx| async move {
            tx.publish(&created(1)).await?;
            Err(Error::user("no"))
        })
        .await;
    refused.unwrap_err();
    here.db.transaction(|tx| async move { tx.publish(&created(2)).await }).await.unwrap();
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["a 2"]);
}

async fn an_event_that_commits_late_is_not_missed(here: Here) {
    let worker = listener(&here, "a").await;
    if here.db.engine() == mainstay_db::Engine::Sqlite {
        // One writer at a time: nothing commits out of order.
        return drain(worker).await.unwrap();
    }
    here.db
        .transaction(|tx| {
            let here = here.clone();
            async move {
                tx.publish(&created(0)).await?;
                let other = here.another().await;
                for n in 1..=100 {
                    other.db.publish(&created(n)).await?;
                }
                until_seen(&here.seen, 100).await;
                Ok(())
            }
        })
        .await
        .unwrap();
    until_seen(&here.seen, 101).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all().last().unwrap(), "a 0");
}

async fn events_of_one_key_come_in_order(here: Here) {
    let workers = [listener(&here, "a").await, listener(&here, "a").await];
    for n in 0..60 {
        let event = Created { n, key: Some(format!("k{}", n % 3)) };
        here.db.publish(&event).await.unwrap();
    }
    until_seen(&here.seen, 60).await;
    for worker in workers {
        drain(worker).await.unwrap();
    }
    let all: Vec<i64> = here.seen.all().iter().map(|text| text[2..].parse().unwrap()).collect();
    for key in 0..3 {
        assert!(all.iter().filter(|n| **n % 3 == key).is_sorted(), "{all:?}");
    }
}

async fn what_was_comes_again(here: Here) {
    let worker = listener(&here, "a").await;
    for n in 0..5 {
        here.db.publish(&created(n)).await.unwrap();
    }
    until_seen(&here.seen, 5).await;
    let time = here.number("SELECT MAX(at_us) FROM mainstay_log").await;
    let later = chrono::DateTime::from_timestamp_micros(time + 1).unwrap();
    assert_eq!(replay(&here.db, "a", From::Start).await.unwrap().events, 5);
    until_seen(&here.seen, 10).await;
    let last = here.number("SELECT MAX(position) FROM mainstay_log").await;
    assert_eq!(replay(&here.db, "a", From::Position(last)).await.unwrap().events, 1);
    until_seen(&here.seen, 11).await;
    assert_eq!(replay(&here.db, "a", From::Time(later)).await.unwrap().events, 0);
    let unknown = replay(&here.db, "nobody", From::Start).await.unwrap_err();
    assert_eq!(unknown.code(), Code::JobNotFound);
    drain(worker).await.unwrap();
    // One that was begun and killed is gone on with by whoever leads.
    here.run("UPDATE mainstay_group SET replay_from = 0, replay_to = 1000000").await;
    let worker = listener(&here, "a").await;
    until_seen(&here.seen, 16).await;
    drain(worker).await.unwrap();
}

async fn an_old_version_is_brought_up(here: Here) {
    let worker = listener(&here, "a").await;
    let old = r#"{"number": 7, "unknown": true}"#;
    here.db
        .transaction(|tx| async move {
            let id = tx.publish(&created(0)).await?;
            tx.query("UPDATE mainstay_event SET version = 1, payload = $2 WHERE id = $1")
                .bind(id.0)
                .bind(old)
                .execute()
                .await
        })
        .await
        .unwrap();
    until_seen(&here.seen, 1).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), ["a 7"]);
}

async fn a_poison_event_keeps_nobody_back(here: Here) {
    let worker = listener(&here, "a").await;
    for n in [-1, 1, 2] {
        here.db.publish(&created(n)).await.unwrap();
    }
    until_seen(&here.seen, 2).await;
    until("it is dead", || async { here.count("mainstay_finished").await == 1 }).await;
    drain(worker).await.unwrap();
    let queue: String = here.db.query("SELECT queue FROM mainstay_job").scalar().await.unwrap();
    assert_eq!(queue, "group:a");
}

async fn a_later_group_gets_what_comes_then(here: Here) {
    let first = listener(&here, "a").await;
    here.db.publish(&created(1)).await.unwrap();
    until_seen(&here.seen, 1).await;
    let second = listener(&here, "b").await;
    here.db.publish(&created(2)).await.unwrap();
    until_seen(&here.seen, 3).await;
    drain(first).await.unwrap();
    drain(second).await.unwrap();
    assert_eq!(here.seen.counts().len(), 3);
    unsubscribe(&here.db, "b", &[]).await.unwrap();
    assert_eq!(here.count("mainstay_group").await, 1);
}
