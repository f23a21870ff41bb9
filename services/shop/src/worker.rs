//! The worker: which service does what after an answer was given. The work itself is in the modules named here.
//!
//! ```text
//! pending --inventory--> confirmed --settle_order--> paid
//!             |              |
//!             +--> cancelled <--+ (undone)
//! ```
//!
//! An order is pending until `inventory` has decided; one that names an account is then paid, or undone.
//! Whatever dies in between, it goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay::clock::Clock;
use mainstay::jobs::broker::rabbitmq::RabbitMq;
use mainstay::jobs::{Queue, Worker};
use mainstay::route::topology::MAIN;
use mainstay::{Db, Result};
use tokio::task::JoinSet;

use crate::config::Background;
use crate::mail::Mails;
use crate::part::Part;
use crate::state::Shop;
use crate::{analytics, best_sellers, inventory, notifications, payments};

/// Between two tries of a shard's worker.
const AGAIN: Duration = Duration::from_secs(2);

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) mails: Mails,
    pub(crate) shop: Shop,
}

/// A worker for each database: what was told in one is worked on there.
#[derive(Debug)]
pub struct Workers {
    running: Arc<Mutex<Vec<Worker>>>,
    /// Of shards that were not there at the start.
    late: JoinSet<()>,
}

/// Starts the workers of the services that this process is. That of a shard that is down is started when it is there.
///
/// Errors: those of [`mainstay::jobs::WorkerBuilder::start`], MSG-001, MSG-002, DB-026.
pub async fn start(shop: &Shop, config: &Background) -> Result<Workers> {
    let mails = Mails::new(&config.mail_folder)?;
    let broker = match &config.broker {
        Some(url) => Some(RabbitMq::connect(url).await?),
        None => None,
    };
    let work = Work { mails, shop: shop.clone() };
    let mut workers = Workers { running: Arc::default(), late: JoinSet::new() };
    for name in shop.databases.names() {
        let db = shop.databases.primary(name)?;
        match one(&db, &work, config.concurrency, broker.as_ref()).await {
            Ok(worker) => workers.add(worker),
            Err(error) if name != MAIN => {
                tracing::warn!(shard = name, %error, "its worker is started later");
                let (work, running) = (work.clone(), Arc::clone(&workers.running));
                workers.late.spawn(later(db, work, config.concurrency, running));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(workers)
}

async fn later(db: Db, work: Work, concurrency: usize, running: Arc<Mutex<Vec<Worker>>>) {
    loop {
        Clock::system().sleep(AGAIN).await;
        if let Ok(worker) = one(&db, &work, concurrency, None).await {
            running.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
            return;
        }
    }
}

impl Workers {
    fn add(&self, worker: Worker) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }

    fn take(&self) -> Vec<Worker> {
        std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends them in order, each within `limit`. Errors: the first of JOB-013.
    pub async fn drain(mut self, limit: Duration) -> Result<()> {
        self.late.shutdown().await;
        let drained = self.take().into_iter().map(|worker| worker.drain(limit));
        futures_util::future::join_all(drained).await.into_iter().collect()
    }
}

async fn one(
    db: &Db,
    work: &Work,
    concurrency: usize,
    broker: Option<&RabbitMq>,
) -> Result<Worker> {
    let queue = |name| carried(Queue::new(name), broker);
    let begun = Worker::builder(db, work.clone()).concurrency(concurrency);
    let ours = Part::SERVICES.into_iter().filter(|part| work.shop.part.is(*part));
    ours.fold(begun, |worker, part| match part {
        Part::Orders => worker.queue(queue("payments")).handle(payments::settle),
        Part::Inventory => {
            worker.group(queue("inventory")).subscribe("inventory", inventory::reserve)
        }
        Part::Notifications => worker
            .queue(queue("mail"))
            .handle(notifications::welcome)
            .handle(notifications::login)
            .group(queue("notifications"))
            .subscribe("notifications", notifications::confirmed)
            .subscribe("notifications", notifications::cancelled),
        Part::Analytics => worker
            .group(queue("best-sellers"))
            .subscribe("best-sellers", best_sellers::count)
            .group(queue("analytics"))
            .subscribe("analytics", analytics::confirmed)
            .subscribe("analytics", analytics::cancelled),
        // Only the users service has no work; `All` is the four above.
        Part::Users | Part::All => worker,
    })
    .start()
    .await
}

/// By the database, or the broker if there is one.
fn carried(queue: Queue, broker: Option<&RabbitMq>) -> Queue {
    match broker {
        Some(broker) => queue.via(broker.clone()),
        None => queue,
    }
}

/// Lets them work until `end`, or until one is told to drain by `mainstay jobs drain --worker`, and drains them for up to
/// `limit`.
pub async fn run(workers: Workers, end: impl Future<Output = ()> + Send, limit: Duration) {
    // Those that come later are told by the end alone.
    let first = workers.take();
    {
        let told = first.iter().map(|worker| Box::pin(worker.told_to_drain()));
        tokio::select! {
            _ = futures_util::future::select_all(told) => {}
            () = end => {}
        }
    }
    for worker in first {
        workers.add(worker);
    }
    if let Err(error) = workers.drain(limit).await {
        eprintln!("{}", error.report());
    }
}
