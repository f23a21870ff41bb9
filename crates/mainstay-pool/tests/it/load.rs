//! Shedding under overload, with priorities; and fairness with many more tasks than connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::Code;
use mainstay_core::scope::{Kind, Priority, Scope};
use mainstay_pool::Options;

use crate::fake::{Fake, options, until};

fn shedding(max_size: u32) -> Options {
    Options { shed_target: Some(Duration::from_millis(20)), ..options(max_size) }
}

/// Table: load shedding (CoDel).
///
/// Twice as much as the pool can carry: some are refused, early, and those served are served soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_overload_those_who_waited_too_long_are_refused_and_the_rest_served() {
    let pool = Fake::default().pool(shedding(4));
    let (served, shed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    // 4 connections held for 4 ms carry 1000 a second; 2000 come.
    for n in 0..1200u64 {
        let (pool, served, shed) = (pool.clone(), Arc::clone(&served), Arc::clone(&shed));
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_micros(n * 500)).await;
            match pool.acquire().await {
                Ok(_lease) => {
                    tokio::time::sleep(Duration::from_millis(4)).await;
                    served.fetch_add(1, SeqCst);
                }
                Err(error) => {
                    assert_eq!(error.code(), Code::PoolShed, "{error:?}");
                    assert!(error.report().contains("pool `main` is overloaded"), "{error:?}");
                    shed.fetch_add(1, SeqCst);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(shed.load(SeqCst) > 50, "{} were shed", shed.load(SeqCst));
    assert!(served.load(SeqCst) > 200, "{} were served", served.load(SeqCst));
    assert_eq!(pool.usage().shed as usize, shed.load(SeqCst));
    assert_eq!(pool.status().in_use, 0);
}

/// While overloaded: the low are refused at once, the high never.
#[tokio::test]
async fn priority_decides_who_is_refused() {
    let target = Some(Duration::from_millis(150));
    let pool = Fake::default().pool(Options { shed_target: target, ..options(1) });
    let held = pool.acquire().await.unwrap();
    let ask = |priority| {
        let pool = pool.clone();
        let scope = Scope::new(Kind::Request, "GET /").with_priority(priority);
        tokio::spawn(scope.run(async move { pool.acquire().await.map(drop).map_err(|e| e.code()) }))
    };
    let high = ask(Priority::High);
    until("it waits", || pool.status().waiting == 1).await;
    let normal = ask(Priority::Normal);
    until("both wait", || pool.status().waiting == 2).await;
    tokio::time::sleep(Duration::from_millis(650)).await;
    let low = ask(Priority::Low);
    assert_eq!(low.await.unwrap(), Err(Code::PoolShed), "refused as soon as it asks");
    let late = ask(Priority::Normal);
    until("the late one waits", || pool.status().waiting == 3).await;
    drop(held);
    assert_eq!(high.await.unwrap(), Ok(()));
    assert_eq!(normal.await.unwrap(), Err(Code::PoolShed), "it waited for too long");
    assert_eq!(late.await.unwrap(), Ok(()), "it did not");
}

#[tokio::test]
async fn without_overload_nobody_is_refused() {
    let pool = Fake::default().pool(shedding(2));
    for _ in 0..20 {
        let burst: Vec<_> = (0..10)
            .map(|_| {
                let pool = pool.clone();
                tokio::spawn(async move {
                    let _lease = pool.acquire().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                })
            })
            .collect();
        for task in burst {
            task.await.unwrap();
        }
    }
    assert_eq!(pool.usage().shed, 0);
}

/// Everybody gets as many turns as everybody else, to within one, as long as all ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tasks_on_fifty_connections_take_turns() {
    let pool = Fake::default().pool(options(50));
    let turns: Vec<_> = (0..1000).map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let tasks: Vec<_> = turns
        .iter()
        .map(|turn| {
            let (pool, turn) = (pool.clone(), Arc::clone(turn));
            tokio::spawn(async move {
                loop {
                    let _lease = pool.acquire().await.unwrap();
                    turn.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    // The first rounds go to those that were started first: they do not count.
    until("all had one", || turns.iter().all(|t| t.load(SeqCst) >= 1)).await;
    let before: Vec<_> = turns.iter().map(|t| t.load(SeqCst)).collect();
    let since = || turns.iter().zip(&before).map(|(t, before)| t.load(SeqCst) - before);
    until("all had twenty more", || since().all(|turns| turns >= 20)).await;
    let counts: Vec<_> = since().collect();
    for task in &tasks {
        task.abort();
    }
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(most - least <= most / 2 + 5, "between {least} and {most} turns");
}

/// What was counted, and the advice from it.
#[tokio::test]
async fn use_is_counted_and_advised_upon() {
    let pool = Fake::default().pool(options(2));
    let tasks: Vec<_> = (0..150)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let _lease = pool.acquire().await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let usage = pool.usage();
    assert_eq!((usage.uses, usage.peak, usage.opened), (150, 2, 2));
    assert!(usage.waited >= 148, "{usage:?}");
    assert!(usage.wait_p99 >= usage.wait_p50 && usage.wait_max >= usage.wait_p99, "{usage:?}");
    assert!(usage.busy() > 0.5 && usage.busy() <= 2.1, "{usage:?}");
    let advice = pool.advice(&mainstay_pool::Server::default());
    assert!(advice.max_size.unwrap() > 2, "{advice}");
    assert!(
        advice.to_string().contains("callers wait: raise pool.max_size from 2 to "),
        "{advice}"
    );
}

/// One that lay idle and is asked first was not waited for, and a suspension is no overload.
#[tokio::test]
async fn what_is_no_wait_and_what_is_no_overload() {
    let limits = Options { validate_after: Duration::from_millis(5), ..shedding(1) };
    let pool = Fake::default().pool(limits);
    drop(pool.acquire().await.unwrap());
    let waited = pool.usage().waited;
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(pool.acquire().await.unwrap());
    }
    assert_eq!(pool.usage().waited, waited);
    pool.suspend();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.acquire().await.map(drop) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    pool.resume();
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    assert_eq!(pool.usage().shed, 0);
}
