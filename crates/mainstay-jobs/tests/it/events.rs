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
    a_replay_begins_where_it_is_told_to,
    a_replay_that_is_dropped_is_finished_without_doubles,
    what_is_old_goes_and_what_came_later_stays,
    two_versions_of_a_worker_add_up,
    a_group_has_a_name_within_bounds,
    many_are_published_in_their_order;
    databases: large_events_pass "brokers have bounds of their own for a message",
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

#[derive(Serialize, Deserialize)]
struct Large {
    text: String,
}

impl Event for Large {
    const NAME: &'static str = "large";
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
            assert_eq!(ctx.event().unwrap().name, "created");
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
    // The leader may be the one that gives some of them: what counts is what was seen.
    assert!(replay(&here.db, "a", From::Start).await.unwrap().events <= 5);
    until_seen(&here.seen, 10).await;
    let last = here.number("SELECT MAX(position) FROM mainstay_log").await;
    assert!(replay(&here.db, "a", From::Position(last)).await.unwrap().events <= 1);
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
    assert_eq!(here.seen.len(), 16);
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

async fn a_replay_begins_where_it_is_told_to(here: Here) {
    let worker = listener(&here, "a").await;
    for n in 0..3 {
        here.db.publish(&created(n)).await.unwrap();
        until_seen(&here.seen, n as usize + 1).await;
        // The next one has a later time, also where that counts in milliseconds.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = "ORDER BY position LIMIT 1 OFFSET 1";
    let position = here.number(&format!("SELECT position FROM mainstay_log {second}")).await;
    let time = here.number(&format!("SELECT at_us FROM mainstay_log {second}")).await;
    let time = chrono::DateTime::from_timestamp_micros(time).unwrap();
    replay(&here.db, "a", From::Position(position)).await.unwrap();
    until_seen(&here.seen, 5).await;
    replay(&here.db, "a", From::Time(time)).await.unwrap();
    until_seen(&here.seen, 7).await;
    drain(worker).await.unwrap();
    let counts: Vec<_> = here.seen.counts().into_iter().collect();
    assert_eq!(counts, [("a 0".to_owned(), 1), ("a 1".to_owned(), 3), ("a 2".to_owned(), 3)]);
}

async fn a_replay_that_is_dropped_is_finished_without_doubles(here: Here) {
    const EVENTS: i64 = 1_200;
    here.db
        .transaction(|tx| async move {
            for n in 0..EVENTS {
                tx.publish(&created(n)).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
    // This one leads, and is no member of the group: what is given to it can be counted.
    let leader = here.notes().await;
    until("all are given out", || async { here.count("mainstay_outbox").await == 0 }).await;
    drain(leader).await.unwrap();
    drain(listener(&here, "a").await).await.unwrap();
    for dropped_after in [1, 10, 40] {
        let limit = Duration::from_millis(dropped_after);
        let _ = tokio::time::timeout(limit, replay(&here.db, "a", From::Start)).await;
        let leader = here.notes().await;
        until("the replay is over", || async {
            here.number("SELECT COUNT(*) FROM mainstay_group WHERE replay_from IS NOT NULL").await
                == 0
        })
        .await;
        drain(leader).await.unwrap();
        // Nothing, where it was dropped before it was begun.
        let given = here.number("SELECT COUNT(*) FROM mainstay_job WHERE queue = 'group:a'").await;
        assert!(given == 0 || given == EVENTS, "{given}");
        let each = "SELECT COUNT(DISTINCT payload) FROM mainstay_job WHERE queue = 'group:a'";
        assert_eq!(here.number(each).await, given);
        for table in ["ready", "job"] {
            here.run(&format!("DELETE FROM mainstay_{table} WHERE queue = 'group:a'")).await;
        }
    }
}

async fn what_is_old_goes_and_what_came_later_stays(here: Here) {
    let worker = listener(&here, "a").await;
    for n in 0..3 {
        here.db.publish(&created(n)).await.unwrap();
    }
    until_seen(&here.seen, 3).await;
    drain(worker).await.unwrap();
    here.run("UPDATE mainstay_log SET at_us = at_us - 691200000000").await;
    here.db.publish(&created(3)).await.unwrap();
    let worker = listener(&here, "a").await;
    until("the old ones are gone", || async { here.count("mainstay_event").await == 1 }).await;
    until_seen(&here.seen, 4).await;
    assert_eq!(here.count("mainstay_log").await, 1);
    replay(&here.db, "a", From::Start).await.unwrap();
    until_seen(&here.seen, 5).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all()[3..], ["a 3", "a 3"]);
}

async fn two_versions_of_a_worker_add_up(here: Here) {
    let old = listener(&here, "a").await;
    let new = here.worker().group(here.queue("a")).subscribe("a", large).start().await.unwrap();
    drain(new).await.unwrap();
    drain(old).await.unwrap();
    drain(listener(&here, "a").await).await.unwrap();
    let both = "SELECT COUNT(*) FROM mainstay_group WHERE events LIKE '%created%large%'";
    assert_eq!(here.number(both).await, 1);
    unsubscribe(&here.db, "a", &["large"]).await.unwrap();
    assert_eq!(here.number(both).await, 0);
    assert_eq!(here.count("mainstay_group").await, 1);
}

async fn large(event: Large, ctx: Context<Seen>) -> Result<()> {
    ctx.state().add(format!("{} {}", ctx.queue(), event.text.len()));
    Ok(())
}

async fn a_group_has_a_name_within_bounds(here: Here) {
    for wrong in ["", "a b", &"x".repeat(91)] {
        let refused = here.worker().subscribe(wrong, large).start().await.unwrap_err();
        assert_eq!(refused.code(), Code::JobOption, "{wrong}");
    }
    let worker = here.worker().subscribe(&"x".repeat(90), large).start().await.unwrap();
    drain(worker).await.unwrap();
}

/// Together they are larger than what MariaDB takes in one statement.
async fn large_events_pass(here: Here) {
    here.db
        .transaction(|tx| async move {
            for _ in 0..20 {
                tx.publish(&Large { text: "x".repeat(1_000_000) }).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let worker = here.worker().subscribe("a", large).subscribe("b", large).start().await.unwrap();
    until_seen(&here.seen, 40).await;
    assert_eq!(here.seen.counts().into_values().collect::<Vec<_>>(), [20, 20]);
    replay(&here.db, "a", From::Start).await.unwrap();
    until_seen(&here.seen, 60).await;
    drain(worker).await.unwrap();
}

async fn many_are_published_in_their_order(here: Here) {
    let worker = listener(&here, "a").await;
    let keyed = |n| Created { n, key: Some("k \"ö\"".to_owned()) };
    let many: Vec<_> = (0..20).map(keyed).collect();
    let ids = here.db.publish_all(&many).await.unwrap();
    assert_eq!(ids.len(), 20);
    assert!(ids.is_sorted());
    let refused: Result<()> = here
        .db
        .transaction(|tx| async move {
            tx.publish_all(&[created(100), created(101)]).await?;
            Err(Error::user("no"))
        })
        .await;
    refused.unwrap_err();
    let wrong = [created(102), Created { n: 103, key: Some(String::new()) }];
    let refused = here.db.publish_all(&wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::JobOption);
    assert!(here.db.publish_all::<Created>(&[]).await.unwrap().is_empty());
    until_seen(&here.seen, 20).await;
    drain(worker).await.unwrap();
    assert_eq!(here.seen.all(), (0..20).map(|n| format!("a {n}")).collect::<Vec<_>>());
}
