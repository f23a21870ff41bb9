//! What an operator does to a running pool: resize, suspend and resume, clear, close; and the bad
//! input of each.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use mainstay_core::Code;
use mainstay_core::clock::Clock;
use mainstay_pool::{Condition, Options, Pool};

use crate::fake::{Fake, options, until};

/// Table: suspend/resume, resize at run time (larger).
#[tokio::test]
async fn a_larger_bound_serves_those_who_wait() {
    let pool = Fake::default().pool(options(1));
    let _held = pool.acquire().await.unwrap();
    let waiting = pool.clone();
    let task = tokio::spawn(async move { waiting.acquire().await.map(drop) });
    until("the task waits", || pool.status().waiting == 1).await;
    pool.resize(2).unwrap();
    task.await.unwrap().unwrap();
    assert_eq!(pool.status().max_size, 2);
}

/// A resize below what is in use cuts nothing off: what comes back is closed until it fits.
#[tokio::test]
async fn a_smaller_bound_is_reached_as_connections_come_back() {
    let fake = Fake::default();
    let pool = fake.pool(options(4));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.acquire().await.unwrap());
    }
    pool.resize(1).unwrap();
    assert_eq!((pool.status().open, pool.status().in_use), (4, 4), "nothing is cut off");
    for left in (0..4).rev() {
        drop(held.pop());
        let expected = left.max(1);
        until("it shrinks", || fake.0.open.load(SeqCst) == expected).await;
    }
    assert_eq!(pool.status().idle, 1);
    let _one = pool.acquire().await.unwrap();
    let waiting = pool.clone();
    let task = tokio::spawn(async move { waiting.acquire().await.map(drop) });
    until("the bound holds", || pool.status().waiting == 1).await;
    task.abort();
}

#[tokio::test]
async fn a_smaller_bound_closes_what_is_idle_at_once() {
    let fake = Fake::default();
    let pool = fake.pool(Options { min_idle: 3, ..options(3) });
    until("three are ready", || pool.status().idle == 3).await;
    assert_eq!(pool.resize(2).unwrap_err().code(), Code::ConfigValue, "below min_idle");
    assert_eq!(pool.resize(0).unwrap_err().code(), Code::ConfigValue);
    assert_eq!(pool.resize(4097).unwrap_err().code(), Code::ConfigValue);
    assert_eq!(pool.status().max_size, 3, "a refused resize changes nothing");
    let other = Fake::default();
    let pool = other.pool(options(3));
    let leases = [pool.acquire().await, pool.acquire().await, pool.acquire().await];
    drop(leases);
    pool.resize(1).unwrap();
    until("two are closed", || other.0.open.load(SeqCst) == 1).await;
    assert_eq!(pool.status().open, 1);
}

/// Table: suspend/resume, resize at run time.
#[tokio::test]
async fn while_suspended_callers_wait_and_are_served_in_order_when_it_ends() {
    let fake = Fake::default();
    let pool = fake.pool(options(2));
    let out = pool.acquire().await.unwrap();
    drop(pool.acquire().await.unwrap());
    pool.suspend();
    assert!(pool.status().suspended);
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for n in 0..5 {
        let (waiting, order) = (pool.clone(), std::sync::Arc::clone(&order));
        tasks.push(tokio::spawn(async move {
            let _lease = waiting.acquire().await.unwrap();
            order.lock().unwrap().push(n);
        }));
        until("it waits", || pool.status().waiting == n + 1).await;
    }
    drop(out);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(pool.status().waiting, 5, "what comes back is not handed out");
    pool.resume();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(fake.0.connects.load(SeqCst), 2);
}

#[tokio::test]
async fn a_wait_that_ends_in_a_suspension_says_so() {
    let limits = Options { acquire_timeout: Duration::from_millis(20), ..options(1) };
    let pool = Fake::default().pool(limits);
    pool.suspend();
    let error = pool.acquire().await.unwrap_err();
    assert_eq!(error.code(), Code::PoolTimeout);
    assert!(error.report().contains("the pool is suspended"), "{error:?}");
    pool.resume();
    pool.acquire().await.unwrap();
}

/// The generation counter: after a failover no old connection is used again.
#[tokio::test]
async fn a_clear_ends_every_connection_opened_before() {
    let fake = Fake::default();
    let pool = fake.pool(options(3));
    let (out, idle) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let old = [out.id, idle.id];
    drop(idle);
    pool.clear();
    until("the idle one is closed", || fake.0.open.load(SeqCst) == 1).await;
    assert!(!old.contains(&pool.acquire().await.unwrap().id));
    drop(out);
    until("the one that was out is closed", || fake.0.open.load(SeqCst) == 1).await;
    assert!(!old.contains(&pool.acquire().await.unwrap().id));
}

#[tokio::test]
async fn a_connection_that_was_being_opened_during_a_clear_is_of_the_old_generation() {
    let fake = Fake::default();
    *fake.0.connect_time.lock().unwrap() = Duration::from_millis(50);
    let pool = fake.pool(options(1));
    let waiting = pool.clone();
    let task = tokio::spawn(async move { waiting.acquire().await.unwrap().id });
    until("it is being opened", || pool.status().connecting == 1).await;
    pool.clear();
    assert_eq!(task.await.unwrap(), 1, "the first was closed, the second handed out");
}

#[tokio::test]
async fn closing_twice_is_fine_and_the_second_waits_for_the_same() {
    let pool = Fake::default().pool(options(1));
    let held = pool.acquire().await.unwrap();
    let first = pool.close(Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(first.code(), Code::PoolStillOut);
    let closing = pool.clone();
    let second = tokio::spawn(async move { closing.close(Duration::from_secs(10)).await });
    drop(held);
    second.await.unwrap().unwrap();
    assert_eq!(pool.acquire().await.unwrap_err().code(), Code::PoolClosed);
    pool.resume();
    pool.clear();
    pool.resize(5).unwrap();
    assert_eq!(pool.acquire().await.unwrap_err().code(), Code::PoolClosed, "closed stays closed");
}

/// Table: keepalive.
#[tokio::test]
async fn what_lies_silent_is_asked_whether_it_lives_and_replaced_if_not() {
    let fake = Fake::default();
    let (clock, hand) = Clock::manual();
    let limits = Options {
        min_idle: 2,
        keepalive: Some(Duration::from_secs(60)),
        idle_timeout: None,
        // Room to open more, which being asked is no reason for.
        ..options(4)
    };
    let pool = Pool::builder(fake.clone()).options(limits).clock(clock).build().unwrap();
    until("two are ready", || pool.status().idle == 2).await;
    step(&hand, 59).await;
    assert_eq!(fake.0.checks.load(SeqCst), 0);
    step(&hand, 4).await;
    until("both were asked", || fake.0.checks.load(SeqCst) == 2).await;
    assert_eq!(fake.0.connects.load(SeqCst), 2);
    fake.0.silent.store(true, SeqCst);
    step(&hand, 70).await;
    fake.0.silent.store(false, SeqCst);
    until("both were replaced", || fake.0.connects.load(SeqCst) == 4).await;
    until("two are ready again", || pool.status().idle == 2).await;
}

/// A keepalive is not a use: the idle timeout goes on.
#[tokio::test]
async fn a_keepalive_does_not_keep_what_nobody_uses() {
    let fake = Fake::default();
    let (clock, hand) = Clock::manual();
    let limits = Options {
        keepalive: Some(Duration::from_secs(10)),
        idle_timeout: Some(Duration::from_secs(60)),
        ..options(1)
    };
    let pool = Pool::builder(fake.clone()).options(limits).clock(clock).build().unwrap();
    drop(pool.acquire().await.unwrap());
    step(&hand, 62).await;
    until("it is closed", || fake.0.open.load(SeqCst) == 0).await;
    assert!(fake.0.checks.load(SeqCst) >= 4);
}

/// Moves the clock on, second by second, and lets the pool's tasks see each.
async fn step(hand: &mainstay_core::clock::Hand, seconds: u64) {
    for _ in 0..seconds {
        hand.advance(Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Table: open transaction found on return (that of a database: in mainstay-db, transactions.rs).
#[tokio::test]
async fn what_comes_back_dirty_is_put_right_and_what_is_spent_is_closed() {
    let fake = Fake::default();
    let pool = fake.pool(options(1));
    let mut lease = pool.acquire().await.unwrap();
    let id = lease.id;
    lease.condition = Condition::Dirty;
    drop(lease);
    let mut lease = pool.acquire().await.unwrap();
    assert_eq!((lease.id, lease.condition), (id, Condition::Clean));
    lease.condition = Condition::Spent;
    drop(lease);
    assert_ne!(pool.acquire().await.unwrap().id, id);
}

/// Bad input: a guard dropped on another runtime, and after its own has ended.
#[test]
fn a_guard_outlives_its_runtime_and_the_pool_says_that_it_is_over() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (build(), build());
    let fake = Fake::default();
    let pool = first.block_on(async { fake.pool(options(2)) });
    let (a, b) =
        first.block_on(async { (pool.acquire().await.unwrap(), pool.acquire().await.unwrap()) });
    second.block_on(async move { drop(a) });
    assert_eq!(pool.status().idle, 1);
    drop(first);
    drop(b);
    assert_eq!(fake.0.open.load(SeqCst), 0, "nobody could look after them any more");
    let error = second.block_on(pool.acquire()).unwrap_err();
    assert_eq!(error.code(), Code::PoolClosed, "{error:?}");
}

#[tokio::test]
async fn limits_that_make_no_sense_are_refused_by_name() {
    let ms = Duration::from_millis;
    for (key, wrong) in [
        ("max_size", Options { max_size: 5000, ..Options::default() }),
        ("max_lifetime", Options { max_lifetime: Some(ms(999)), ..Options::default() }),
        ("idle_timeout", Options { idle_timeout: Some(ms(0)), ..Options::default() }),
        ("keepalive", Options { keepalive: Some(ms(500)), ..Options::default() }),
        ("leak_after", Options { leak_after: Some(ms(99)), ..Options::default() }),
        ("shed_target", Options { shed_target: Some(ms(0)), ..Options::default() }),
    ] {
        let error = Pool::builder(Fake::default()).options(wrong).build().unwrap_err();
        assert_eq!(error.code(), Code::ConfigValue);
        assert!(error.to_string().contains(&format!("pool.{key} ")), "{error}");
    }
}

/// For a failover the database is down while the pool is suspended: nobody is refused, nothing is
/// opened, and all are served when it ends.
#[tokio::test]
async fn a_suspension_holds_callers_and_connects_through_an_outage() {
    let fake = Fake::default();
    let pool = fake.pool(Options { min_idle: 1, ..options(2) });
    until("one is ready", || pool.status().idle == 1).await;
    fake.0.down.store(true, SeqCst);
    pool.clear();
    until("a connect has failed", || pool.failure().is_some()).await;
    pool.suspend();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let tried = fake.0.connects.load(SeqCst);
    let waiting = pool.clone();
    let task = tokio::spawn(async move { waiting.acquire().await.map(drop) });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!task.is_finished(), "it waits");
    assert!(fake.0.connects.load(SeqCst) <= tried + 1, "nothing is opened meanwhile");
    fake.0.down.store(false, SeqCst);
    pool.resume();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pool_made_smaller_while_suspended_loses_no_place() {
    let fake = Fake::default();
    let pool = fake.pool(options(4));
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.acquire().await.unwrap());
    }
    pool.suspend();
    let waiting = pool.clone();
    let task = tokio::spawn(async move { waiting.acquire().await.map(drop) });
    until("it waits", || pool.status().waiting == 1).await;
    pool.resize(2).unwrap();
    drop(held);
    pool.resume();
    task.await.unwrap().unwrap();
    until("two are left", || fake.0.open.load(SeqCst) <= 2).await;
    let both = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    assert_eq!(pool.status().open, 2);
    drop(both);
}

/// A runtime that ends in a panic, as that of a failing test does, ends its pools and nothing else.
#[test]
fn a_runtime_that_ends_in_a_panic_ends_its_pools() {
    let fake = Fake::default();
    let mut kept = None;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let pool = runtime.block_on(async { fake.pool(options(1)) });
        kept = Some(pool.clone());
        runtime.block_on(async { drop(pool.acquire().await) });
        panic!("as a failing test does");
    }));
    assert!(panicked.is_err());
    assert!(kept.unwrap().status().closed);
}
