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

use std::time::Duration;

use mainstay::Result;
use mainstay::jobs::broker::rabbitmq::RabbitMq;
use mainstay::jobs::{Queue, Worker};

use crate::config::Background;
use crate::mail::Mails;
use crate::part::Part;
use crate::state::Shop;
use crate::{analytics, best_sellers, inventory, notifications, payments};

/// What handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) mails: Mails,
    pub(crate) shop: Shop,
}

/// Starts the worker of the services that this process is. Errors: those of
/// [`mainstay::jobs::WorkerBuilder::start`], MSG-001, MSG-002, DB-026.
pub async fn start(shop: &Shop, config: &Background) -> Result<Worker> {
    let mails = Mails::new(&config.mail_folder)?;
    let broker = match &config.broker {
        Some(url) => Some(RabbitMq::connect(url).await?),
        None => None,
    };
    let queue = |name| carried(Queue::new(name), broker.as_ref());
    let begun = Worker::builder(&shop.db, Work { mails, shop: shop.clone() })
        .concurrency(config.concurrency);
    let ours = Part::SERVICES.into_iter().filter(|part| shop.part.is(*part));
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

/// Lets it work until `end`, or until it is told to drain by `mainstay jobs drain --worker`, and drains it
/// for up to `limit`.
pub async fn run(worker: Worker, end: impl Future<Output = ()> + Send, limit: Duration) {
    tokio::select! {
        () = worker.told_to_drain() => {}
        () = end => {}
    }
    if let Err(error) = worker.drain(limit).await {
        eprintln!("{}", error.report());
    }
}
