//! The stream of events, and what a pool shows of itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstay_core::inspect::{Health, Inspect};
use mainstay_core::observe::{self, Change, Checkout, Connection, Observer, Outcome, Subscriber};
use mainstay_pool::{Condition, Options, Pool};

use crate::fake::{Fake, options, until};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Log {
    fn connection(&self, event: &Connection<'_>) {
        self.add(match event.change {
            Change::Opened { .. } => "connect".to_owned(),
            Change::OpenFailed { error, .. } => format!("error {}", error.code()),
            Change::Acquired { .. } => "acquire".to_owned(),
            Change::Removed { why, .. } => format!("remove {}", why.as_str()),
        });
    }

    fn checkout(&self, event: &Checkout<'_>) {
        self.add(match event.outcome {
            Outcome::Done => "release".to_owned(),
            Outcome::Failed(error) => format!("refused {}", error.code()),
            Outcome::Cancelled => "cancelled".to_owned(),
        });
    }

    fn pool(&self, event: &observe::Pool<'_>) {
        self.add(format!("pool {} of {}", event.in_use, event.max_size));
    }
}

/// Table: wait, use and create time histograms (what they are made of: connect, acquire, release,
/// remove, error).
#[tokio::test]
async fn a_connections_life_is_told_step_by_step() {
    let (log, observer, fake) = (Log::default(), Observer::new(), Fake::default());
    observer.subscribe(log.clone());
    let limits = Options { acquire_timeout: Duration::from_millis(20), ..options(1) };
    let pool = Pool::builder(fake.clone()).options(limits).observer(observer).build().unwrap();
    let mut lease = pool.acquire().await.unwrap();
    assert_eq!(log.take(), ["connect", "acquire"]);
    let other = pool.clone();
    tokio::spawn(async move { other.acquire().await.unwrap_err() }).await.unwrap();
    assert_eq!(log.take(), ["refused POOL-002"]);
    let other = pool.clone();
    let waiting = tokio::spawn(async move { other.acquire().await.map(drop) });
    until("it waits", || pool.status().waiting == 1).await;
    waiting.abort();
    until("it is told", || log.0.lock().unwrap().len() == 1).await;
    assert_eq!(log.take(), ["cancelled"]);
    lease.condition = Condition::Broken;
    fake.0.down.store(true, std::sync::atomic::Ordering::SeqCst);
    drop(lease);
    assert_eq!(log.take(), ["remove broken", "release"]);
    pool.acquire().await.unwrap_err();
    let told = log.take();
    assert!(told.contains(&"error DB-022".to_owned()), "{told:?}");
    assert!(told.contains(&"refused POOL-003".to_owned()), "{told:?}");
    until("how it stands is told", || log.0.lock().unwrap().iter().any(|l| l == "pool 0 of 1"))
        .await;
}

#[tokio::test]
async fn a_pool_shows_itself() {
    let fake = Fake::default();
    let pool = fake.pool(options(2));
    let lease = pool.acquire().await.unwrap();
    let shown = pool.inspect();
    assert_eq!((shown.kind, shown.name.as_str(), shown.health), ("pool", "main", Health::Good));
    let fact = |name| shown.facts.iter().find(|f| f.name == name).unwrap().value;
    assert!((fact("in use") - 1.0).abs() < f64::EPSILON);
    assert_eq!(shown.tables[0].rows.len(), 1);
    assert!(shown.tables[0].rows[0][1].contains("events.rs:"), "{shown:?}");
    pool.suspend();
    assert_eq!(pool.inspect().health, Health::Degraded);
    pool.resume();
    drop(lease);
    pool.close(Duration::from_secs(1)).await.unwrap();
    assert_eq!(pool.inspect().health, Health::Bad);
}
