//! Starts what a worker consists of.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Engine;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::builder::WorkerBuilder;
use super::fetch::Fetch;
use super::finish::{Ended, Finisher, Held};
use super::listen::listen;
use super::pending::Pending;
use super::queue::Queue;
use super::watch::Watch;
use super::work::Work;
use super::{Worker, relay, slot, tend};
use crate::event;
use crate::lead::{self, cron::Planned};
use crate::schema;

/// Ends that may wait to be written, beyond one a slot.
const ENDS_MAX: usize = 4_096;

pub(super) async fn start<S: Send + Sync + 'static>(builder: WorkerBuilder<S>) -> Result<Worker> {
    let WorkerBuilder { db: given, name, leads, schedules, wrong, groups, mut queues, .. } =
        builder;
    if let Some(error) = wrong {
        return Err(error);
    }
    if queues.is_empty() && !builder.handlers.names().is_empty() {
        queues.push(Queue::new("default"));
    }
    queues.extend(groups);
    if queues.is_empty() && schedules.is_empty() && !leads {
        let what = "a worker without handlers, groups and schedules has nothing to do";
        return Err(Error::new(Code::JobOption, what));
    }
    let db = given.fresh();
    schema::install(&db).await?;
    for (queue, events) in builder.handlers.groups() {
        event::register(&db, event::group_of(queue), &events).await?;
    }
    let heard = db.engine() == Engine::Postgres;
    let poll = if heard { Duration::from_secs(1) } else { Duration::from_millis(200) };
    let concurrency = builder.concurrency;
    let lines: Vec<_> = queues
        .iter()
        .map(|queue| (queue.concurrency.unwrap_or(concurrency).min(concurrency), queue.weight))
        .collect();
    let work = Arc::new(Work {
        clock: Clock::system(),
        rng: Rng::system(),
        handlers: builder.handlers,
        layers: builder.layers.into(),
        pending: Pending::new(&lines, builder.strict),
        held: Held::default(),
        id: AtomicI64::new(0),
        poll: builder.poll.unwrap_or(poll),
        stopping: watch::Sender::new(false),
        calls: Mutex::new(HashMap::new()),
        concurrency,
        queues,
        db,
        given,
    });
    let name = name.unwrap_or_else(|| {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        format!("{host}:{}", std::process::id())
    });
    let life = tend::enter(&work, &name).await?;
    Ok(begin(work, name, life, leads, schedules.into()))
}

fn begin(
    work: Arc<Work>,
    name: String,
    life: tend::Life,
    leads: bool,
    schedules: Arc<[Planned]>,
) -> Worker {
    let (ends, written) = mpsc::channel::<Ended>(ENDS_MAX);
    let finisher = Finisher {
        db: work.db.clone(),
        clock: work.clock.clone(),
        held: work.held.clone(),
        ends: written,
    };
    let finisher = tokio::spawn(finisher.run());
    let watch = Watch::start(work.concurrency, work.clock.clone());
    let (mut slots, mut aside) = (JoinSet::new(), JoinSet::new());
    let (mut fetchers, mut consumers) = (JoinSet::new(), JoinSet::new());
    for at in 0..work.concurrency {
        slots.spawn(slot::slot(Arc::clone(&work), ends.clone(), watch.spot(at)));
    }
    for (line, queue) in work.queues.iter().enumerate() {
        if queue.broker.is_some() {
            fetchers.spawn(relay::hand_over(Arc::clone(&work), line, ends.clone()));
            consumers.spawn(relay::consume(Arc::clone(&work), line, ends.clone()));
        } else {
            fetchers.spawn(Fetch::new(&work, line, ends.clone()).run());
        }
    }
    aside.spawn(async move {
        // Kept until the worker ends.
        let _watch = watch;
        std::future::pending::<()>().await;
    });
    aside.spawn(tend::tend(Arc::clone(&work), name, life));
    aside.spawn(listen(Arc::clone(&work)));
    if leads {
        aside.spawn(lead::lead(Arc::clone(&work), schedules));
    }
    Worker { work, fetchers, consumers, slots, finisher: Some(finisher), ends: Some(ends), aside }
}
