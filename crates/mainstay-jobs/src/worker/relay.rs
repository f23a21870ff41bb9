//! A queue that a broker carries: what is ready is claimed, published with confirms, and noted as handed
//! over; what the broker delivers is looked up, and runs here if it is still to be run.
//!
//! The database knows every job from its enqueueing to its end, so a message that comes twice, or one
//! that the broker lost, is told by its record.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use mainstay_core::Result;
use tokio::sync::{Notify, mpsc};

use super::call::Call;
use super::finish::Ended;
use super::gather::Gather;
use super::pending::{Item, Slip};
use super::verdict::{self, Verdict};
use super::work::Work;
use crate::broker::{Broker, Consumer, Delivery, Message};
use crate::options::{Options, micros};
use crate::saga::Steps;
use crate::store::claim::{self, BODIES, Body, Claimed, Hint};
use crate::store::settle::End;
use crate::store::{careful, json};
use crate::{tokens, wake};

/// The header that ties a message to its job.
const JOB: &str = "mainstay-job";
/// Jobs handed over at once.
const HAND_MAX: usize = 500;
const PAUSE: Duration = Duration::from_millis(500);
/// A message may be delivered before it is noted that its job was handed over.
const NOTED_WITHIN: Duration = Duration::from_millis(200);
const LOOK_AGAIN: Duration = Duration::from_millis(4);
/// A job that was delivered so often takes its workers down.
const DELIVERIES_MAX: u32 = 12;
const KEEP_EVERY: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Hands what is ready over to the broker, until the worker stops.
pub(crate) async fn hand_over(work: Arc<Work>, line: usize, ends: mpsc::Sender<Ended>) {
    let queue: Arc<str> = work.queues[line].name.as_str().into();
    let Some(broker) = work.queues[line].broker.clone() else { return };
    let woken = wake::subscribe(&work.db, &wake::Of::Queue(queue.to_string()));
    while !work.is_stopping() {
        match hand_once(&work, line, &queue, &*broker, &ends).await {
            Ok(0) => wait(&work, &woken).await,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(code = %error.code(), "`{queue}` could not be handed to {}: {error}", broker.place());
                work.pause(work.rng.jittered(PAUSE, 0.5)).await;
            }
        }
    }
}

async fn wait(work: &Work, woken: &Notify) {
    tokio::select! {
        () = woken.notified() => {}
        () = work.pause(work.rng.jittered(work.poll, 0.2)) => {}
    }
}

async fn hand_once(
    work: &Work,
    line: usize,
    queue: &Arc<str>,
    broker: &dyn Broker,
    ends: &mpsc::Sender<Ended>,
) -> Result<usize> {
    broker.declare(queue).await?;
    let limits = work.queues[line].limits;
    let keyed = careful::claim(&work.db, work.id(), queue, &limits, HAND_MAX, true).await?;
    let mut jobs: Vec<Claimed> =
        keyed.jobs.into_iter().map(|job| Claimed { careful: true, ..job }).collect();
    if !limits.bind_all() {
        jobs.extend(claim::claim(&work.db, work.id(), queue, Hint::START, HAND_MAX).await?);
    }
    for job in &jobs {
        work.held.add(job.lease, [job.id]);
    }
    let count = jobs.len();
    let items: Vec<Item> = jobs.into_iter().map(|job| work.item(queue, job, None)).collect();
    let messages: Vec<Message> = items.iter().map(|item| message(&item.call)).collect();
    let confirmed = broker.publish(queue, &messages).await;
    let mut failed = None;
    for (item, confirmed) in items.into_iter().zip(confirmed) {
        // Whoever waits for its end is told then; here its keys stay as they are.
        let end = match confirmed {
            Ok(()) => End::Handed,
            Err(error) => {
                failed = Some(error);
                End::Back { options: None }
            }
        };
        verdict::deliver(ends, item, Verdict::End(end)).await;
    }
    failed.map_or(Ok(count), Err)
}

fn message(call: &Call) -> Message {
    let mut headers: BTreeMap<String, String> = call.options().headers.clone();
    headers.insert(JOB.to_owned(), call.job.id.to_string());
    Message {
        // Another one each time that it is handed over: a broker that drops what it has seen would drop
        // the next attempt.
        id: format!("{}.{}", call.job.id, call.job.lease),
        name: call.job.name.clone(),
        headers,
        body: call.job.payload.clone().into_bytes(),
    }
}

/// Runs what the broker delivers, until the worker stops.
pub(crate) async fn consume(work: Arc<Work>, line: usize, ends: mpsc::Sender<Ended>) {
    let Some(broker) = work.queues[line].broker.clone() else { return };
    let queue: Arc<str> = work.queues[line].name.as_str().into();
    let slots = work.concurrency(line);
    let prefetch = u16::try_from(slots * 2 + 20).unwrap_or(u16::MAX).min(2_000);
    let mut consuming = Consuming {
        gather: Gather::new(&work, line, ends.clone()),
        keeper: Keeper::default(),
        aside: Vec::new(),
        work: Arc::clone(&work),
        queue,
        ends,
        line,
        prefetch,
    };
    while !work.is_stopping() {
        if let Err(error) = consuming.run(&*broker).await {
            let queue = &consuming.queue;
            tracing::warn!(code = %error.code(), "`{queue}` can't be consumed from {}: {error}", broker.place());
            work.pause(work.rng.jittered(PAUSE, 0.5)).await;
        }
    }
    consuming.gather.close().await;
}

struct Consuming {
    work: Arc<Work>,
    queue: Arc<str>,
    line: usize,
    prefetch: u16,
    ends: mpsc::Sender<Ended>,
    gather: Gather,
    keeper: Keeper,
    /// Deliveries to be looked at again.
    aside: Vec<Delivery>,
}

impl Consuming {
    async fn run(&mut self, broker: &dyn Broker) -> Result<()> {
        broker.declare(&self.queue).await?;
        let mut consumer = broker.consume(&self.queue, self.prefetch).await?;
        let mut keep = self.work.clock.now() + KEEP_EVERY;
        loop {
            let first = tokio::select! {
                delivery = consumer.next() => delivery?,
                () = self.gather.due() => {
                    self.gather.flush().await;
                    continue;
                }
                () = self.work.clock.sleep_until(keep) => {
                    keep = self.work.clock.now() + KEEP_EVERY;
                    self.keeper.keep().await;
                    self.look_aside().await?;
                    continue;
                }
                () = self.work.stopped() => {
                    self.gather.close().await;
                    self.aside.clear();
                    self.keeper.last().await;
                    return Ok(());
                }
            };
            let mut batch = vec![first];
            while batch.len() < usize::from(self.prefetch)
                && let Some(next) = ready(&mut *consumer)?
            {
                batch.push(next);
            }
            self.take(batch).await?;
        }
    }

    /// Sorts a batch: jobs of ours are looked up, others' messages pass as they are.
    async fn take(&mut self, batch: Vec<Delivery>) -> Result<()> {
        let mut ours: HashMap<i64, Delivery> = HashMap::new();
        let mut items = Vec::new();
        for delivery in batch {
            let id = delivery.message.headers.get(JOB).and_then(|id| id.parse::<i64>().ok());
            match id {
                Some(id) if !ours.contains_key(&id) && self.work.call(id).is_none() => {
                    ours.insert(id, delivery);
                }
                // It runs here already: kept until that is over, should this process end first.
                Some(_) => self.aside.push(delivery),
                None => items.push(self.foreign(delivery)),
            }
        }
        let deadline = self.work.clock.now() + NOTED_WITHIN;
        while !ours.is_empty() {
            self.look_up(&mut ours, &mut items).await?;
            if ours.is_empty() || self.work.clock.now() >= deadline || self.work.is_stopping() {
                break;
            }
            if !items.is_empty() {
                self.pass(std::mem::take(&mut items)).await;
            }
            self.work.clock.sleep(LOOK_AGAIN).await;
        }
        // Live and not noted as handed over: it will be, or is handed over anew. One that has ended by the
        // next look is told by its record.
        self.aside.extend(ours.into_values());
        self.pass(items).await;
        Ok(())
    }

    async fn look_aside(&mut self) -> Result<()> {
        let aside = std::mem::take(&mut self.aside);
        for delivery in &aside {
            settle(delivery.receipt.keep()).await;
        }
        if aside.is_empty() { Ok(()) } else { Box::pin(self.take(aside)).await }
    }

    /// Takes those that are live and were handed over; ends those that have ended.
    async fn look_up(
        &self,
        ours: &mut HashMap<i64, Delivery>,
        items: &mut Vec<Item>,
    ) -> Result<()> {
        let ids = json(ours.keys().copied());
        let db = &self.work.db;
        let live: Vec<Body> = db.query(BODIES.on(db.engine())).bind(ids.as_str()).all().await?;
        let handed: Vec<(i64,)> =
            db.query(crate::store::HANDED.on(db.engine())).bind(ids.as_str()).all().await?;
        let ended: Vec<i64> =
            ours.keys().copied().filter(|id| live.iter().all(|body| body.0 != *id)).collect();
        for id in ended {
            if let Some(delivery) = ours.remove(&id) {
                settle(delivery.receipt.ack()).await;
            }
        }
        for body in live {
            if !handed.contains(&(body.0,)) {
                continue;
            }
            let Some(delivery) = ours.remove(&body.0) else { continue };
            let job = Claimed::of(0, body);
            let careful = job.lane != 0 || self.work.queues[self.line].limits.bind_all();
            let job = Claimed { careful, ..job };
            let slip = Slip::new(delivery.receipt);
            let item = self.work.item(&self.queue, job, Some(slip));
            if delivery.deliveries > DELIVERIES_MAX {
                let verdict = verdict::delivered_too_often(&item.call, delivery.deliveries);
                verdict::deliver(&self.ends, item, verdict).await;
                continue;
            }
            items.push(item);
        }
        Ok(())
    }

    async fn pass(&mut self, items: Vec<Item>) {
        for slip in items.iter().filter_map(|item| item.receipt.as_ref()) {
            self.keeper.add(slip);
        }
        self.work.remember(&items);
        self.gather.take(items).await;
    }

    /// A message without a record.
    fn foreign(&self, delivery: Delivery) -> Item {
        // Told apart by a number of their own while they are here.
        static NEXT: AtomicI64 = AtomicI64::new(-1);
        let Delivery { message, deliveries, receipt } = delivery;
        let named = self.work.handlers.find(&self.queue, &message.name).is_some();
        let name = match self.work.queues[self.line].foreign {
            Some(name) if !named => name.to_owned(),
            _ => message.name,
        };
        let handler = self.work.handlers.find(&self.queue, &name);
        let mut headers = message.headers;
        if !message.id.is_empty() {
            headers.insert(super::MESSAGE_ID.to_owned(), message.id);
        }
        let options = Options { headers, ..Options::default() };
        let job = Claimed {
            id: NEXT.fetch_sub(1, Relaxed),
            lease: 0,
            name,
            version: handler.map_or(1, |handler| handler.version),
            lane: 0,
            careful: false,
            priority: 0,
            created_us: micros(
                self.work.clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default(),
            ),
            run_us: None,
            attempt: deliveries.saturating_sub(1),
            crashes: 0,
            payload: String::from_utf8_lossy(&message.body).into_owned(),
            options: Some(Box::new(options)),
            errors: None,
        };
        let max_attempts = handler.map_or(1, |handler| handler.max_attempts);
        let call = Call {
            primary: self.work.db.clone(),
            given: self.work.given.clone(),
            // Its sender may have written here before it sent.
            marks: tokens::now(&self.work.db),
            queue: Arc::clone(&self.queue),
            max_attempts,
            keep: None,
            recorded: false,
            completed: false.into(),
            has_progress: false.into(),
            ended: false.into(),
            cancelled: false.into(),
            cancel: Notify::new(),
            steps: Steps::default(),
            job,
        };
        Item { call: Arc::new(call), receipt: Some(Slip::new(receipt)) }
    }
}

/// One that is there already.
fn ready(consumer: &mut dyn Consumer) -> Result<Option<Delivery>> {
    consumer.next().now_or_never().transpose()
}

async fn settle(told: impl Future<Output = Result<()>>) {
    if let Err(error) = told.await {
        tracing::debug!(code = %error.code(), "a delivery could not be settled, and comes again: {error}");
    }
}

/// Tells the broker that what is here is being worked on.
#[derive(Default)]
struct Keeper(Vec<Slip>);

impl Keeper {
    fn add(&mut self, slip: &Slip) {
        self.0.push(slip.clone());
    }

    /// Until all is settled: what runs here would be delivered to others once the consumer is gone.
    async fn last(&mut self) {
        let clock = mainstay_core::clock::Clock::system();
        while !self.0.is_empty() {
            self.keep().await;
            clock.sleep(LAST_LOOK).await;
        }
    }

    async fn keep(&mut self) {
        self.0.retain(Slip::is_open);
        let all = self.0.iter().map(Slip::keep);
        futures_util::future::join_all(all).await;
    }
}
