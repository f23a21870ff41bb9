//! Leaks, nested acquires, and the list of who holds what.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::observe::{Hold, HoldKind, Observer, Subscriber};
use mainstay_core::scope::{Kind, Scope};
use mainstay_pool::{Options, Pool, What};

use crate::fake::{Fake, options, until};

/// What was told of holds: the kind and the report, with places cut to their file.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<(HoldKind, String)>>>);

impl Subscriber for Told {
    fn hold(&self, event: &Hold<'_>) {
        self.0.lock().unwrap().push((event.kind, event.report.report()));
    }
}

impl Told {
    fn of(&self, kind: HoldKind) -> Vec<String> {
        let told = self.0.lock().unwrap();
        told.iter().filter(|(k, _)| *k == kind).map(|(_, r)| r.clone()).collect()
    }
}

fn watched(fake: &Fake, limits: Options) -> (Pool<Fake>, Told) {
    let (told, observer) = (Told::default(), Observer::new());
    observer.subscribe(told.clone());
    let pool = Pool::builder(fake.clone()).options(limits).observer(observer).build().unwrap();
    (pool, told)
}

fn quick() -> Options {
    Options { leak_after: Some(Duration::from_millis(100)), ..options(3) }
}

/// Table: leak report with call site.
#[tokio::test]
async fn a_leak_is_told_once_with_its_place_and_again_when_it_comes_back() {
    let (pool, told) = watched(&Fake::default(), quick());
    let scope = Scope::new(Kind::Request, "POST /orders");
    let lease = scope.run(async { pool.acquire().await.unwrap() }).await;
    until("it is told", || told.of(HoldKind::Leak).len() == 1).await;
    let report = told.of(HoldKind::Leak).remove(0);
    assert!(report.starts_with("error[POOL-007]: a connection of pool `main` is held by POST /orders (crates/mainstay-pool/tests/it/holders.rs:"), "{report}");
    assert!(report.contains("was not used for "), "{report}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(told.of(HoldKind::Leak).len(), 1, "once");
    assert!(told.of(HoldKind::LeakReturned).is_empty());
    drop(lease);
    let back = told.of(HoldKind::LeakReturned).remove(0);
    assert!(back.starts_with("error[POOL-008]"), "{back}");
    assert!(back.contains("POST /orders"), "{back}");
}

/// No false report: short holds, and long ones that are in use all the time.
#[tokio::test]
async fn what_is_used_is_no_leak_however_long_it_is_held() {
    let (pool, told) = watched(&Fake::default(), quick());
    let lease = pool.acquire().await.unwrap();
    let activity = lease.activity.clone().unwrap();
    for _ in 0..40 {
        activity.begins(What::Static("SELECT 1"));
        tokio::time::sleep(Duration::from_millis(5)).await;
        activity.ends();
        tokio::time::sleep(Duration::from_millis(5)).await;
        drop(pool.acquire().await.unwrap());
    }
    activity.begins(What::Static("SELECT a long time"));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(told.of(HoldKind::Leak).is_empty(), "{:?}", told.of(HoldKind::Leak));
    activity.ends();
    until("now it lies there", || told.of(HoldKind::Leak).len() == 1).await;
    let report = told.of(HoldKind::Leak).remove(0);
    assert!(report.contains("last: SELECT a long time"), "{report}");
}

/// Table: a task that acquires twice is told.
#[tokio::test]
async fn a_task_that_acquires_twice_is_told_with_both_places() {
    let (pool, told) = watched(&Fake::default(), options(3));
    let first = pool.acquire().await.unwrap();
    let first_line = line!() - 1;
    let second = pool.acquire().await.unwrap();
    let second_line = line!() - 1;
    let report = told.of(HoldKind::Nested).remove(0);
    assert!(
        report.contains(&format!("held by crates/mainstay-pool/tests/it/holders.rs:{first_line}")),
        "{report}"
    );
    assert!(
        report.contains(&format!("at: crates/mainstay-pool/tests/it/holders.rs:{second_line}")),
        "{report}"
    );
    drop((first, second));
    drop(pool.acquire().await.unwrap());
    assert_eq!(told.of(HoldKind::Nested).len(), 1, "one after the other is no nesting");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_side_by_side_and_branches_that_are_busy_are_not_nested() {
    let (pool, told) = watched(&Fake::default(), options(3));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    let _lease = pool.acquire().await.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let branch = || async {
        let lease = pool.acquire().await.unwrap();
        lease.activity.as_ref().unwrap().begins(What::Static("SELECT 1"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    tokio::join!(branch(), branch(), branch());
    assert!(told.of(HoldKind::Nested).is_empty(), "{:?}", told.of(HoldKind::Nested));
}

#[tokio::test]
async fn every_holder_is_listed_at_any_time() {
    let pool = Fake::default().pool(options(3));
    assert!(pool.in_use().is_empty());
    let scope = Scope::new(Kind::Job, "nightly");
    let first = scope.run(async { pool.acquire().await.unwrap() }).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let activity = first.activity.clone().unwrap();
    activity.in_transaction(true);
    activity.begins(What::Static("UPDATE t SET a = 1"));
    let second = pool.acquire().await.unwrap();
    let held = pool.in_use();
    assert_eq!(held.len(), 2);
    assert_eq!(held[0].scope.as_ref().unwrap().name(), "nightly");
    assert_eq!(held[0].state(), "running a statement in a transaction");
    assert_eq!(held[0].last.as_ref().unwrap().as_str(), "UPDATE t SET a = 1");
    assert!(held[0].held >= held[1].held);
    assert_eq!((held[1].connection, held[1].state()), (second.id(), "idle"));
    drop((first, second));
    assert!(pool.in_use().is_empty());
}

/// What the last one did is not the next one's doing.
#[tokio::test]
async fn a_new_holder_starts_with_a_clean_sheet() {
    let pool = Fake::default().pool(options(1));
    {
        let lease = pool.acquire().await.unwrap();
        lease.activity.as_ref().unwrap().begins(What::Static("SELECT 1"));
    }
    let _lease = pool.acquire().await.unwrap();
    assert!(pool.in_use()[0].last.is_none());
    assert_eq!(pool.in_use()[0].state(), "idle");
}

/// The error of an exhausted pool, as it is printed.
#[tokio::test]
async fn an_exhausted_pool_names_the_holders_and_the_fix() {
    let limits = Options { acquire_timeout: Duration::from_millis(60), ..options(3) };
    let pool = Fake::default().pool(limits);
    let mut held = Vec::new();
    for (route, open) in [("POST /orders", true), ("POST /orders", true), ("GET /users", false)] {
        let scope = Scope::new(Kind::Request, route);
        let waiting = pool.clone();
        let task = tokio::spawn(scope.run(async move {
            let lease = waiting.acquire().await.unwrap();
            lease.activity.as_ref().unwrap().in_transaction(open);
            lease
        }));
        held.push(task.await.unwrap());
    }
    let error = pool.acquire().await.unwrap_err();
    let report = regex(&error.report());
    insta::assert_snapshot!(report, @r"
    error[POOL-002]: no connection within N (max 3: 3 in use, 0 idle, 0 waiting)
      why: 2 are held for over N by POST /orders (crates/mainstay-pool/tests/it/holders.rs:L), idle in a transaction
           1 is held for over N by GET /users (crates/mainstay-pool/tests/it/holders.rs:L), idle
       at: crates/mainstay-pool/tests/it/holders.rs:L
      fix: move what is not SQL, such as a call to another service, out of the transaction, or raise pool.max_size
      see: mainstay explain POOL-002
    ");
}

/// Times as N, lines as L.
fn regex(report: &str) -> String {
    let mut out = String::new();
    for word in report.split_inclusive([' ', '\n']) {
        let bare = word.trim_end();
        let space = &word[bare.len()..];
        if bare == "ms" && out.ends_with("N ") {
            out.pop();
            out += space;
        } else if bare.parse::<u32>().is_ok()
            && (out.ends_with("within ") || out.ends_with("over "))
        {
            out += "N ";
        } else if let Some((file, rest)) = bare.split_once(".rs:") {
            let end = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            out += &format!("{file}.rs:L{end}{space}");
        } else {
            out += word;
        }
    }
    out
}

/// One that is used again and again is none, and one without a transaction is at most a leak.
#[tokio::test]
async fn a_transaction_that_lies_idle_is_told_once() {
    let limits = Options {
        leak_after: None,
        transaction_idle_after: Some(Duration::from_millis(100)),
        ..options(3)
    };
    let (pool, told) = watched(&Fake::default(), limits);
    let plain = pool.acquire().await.unwrap();
    let lease = pool.acquire().await.unwrap();
    let activity = lease.activity.clone().unwrap();
    activity.in_transaction(true);
    for _ in 0..20 {
        activity.begins(What::Static("UPDATE stock"));
        activity.ends();
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    assert!(told.of(HoldKind::IdleInTransaction).is_empty());
    until("it is told", || told.of(HoldKind::IdleInTransaction).len() == 1).await;
    let report = told.of(HoldKind::IdleInTransaction).remove(0);
    assert!(report.starts_with("error[TX-011]"), "{report}");
    assert!(report.contains("last: UPDATE stock"), "{report}");
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(told.of(HoldKind::IdleInTransaction).len(), 1, "once");
    drop((plain, lease));
}
