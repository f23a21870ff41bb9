//! How a worker treats one queue: how much at a time, how fast, and before or beside which others.

use std::sync::Arc;
use std::time::Duration;

use mainstay_core::Result;

use crate::broker::Broker;
use crate::options::check_queue;

/// A queue of a worker, with its limits. Limits of the fleet are kept in the database, so every worker of
/// the queue must be given the same.
///
/// ```
/// use std::time::Duration;
/// use mainstay_jobs::Queue;
///
/// let mail = Queue::new("mail").concurrency(5).rate(100, Duration::from_secs(1));
/// ```
#[derive(Clone, Debug)]
pub struct Queue {
    pub(crate) name: String,
    pub(crate) concurrency: Option<usize>,
    pub(crate) weight: u32,
    pub(crate) limits: Limits,
    pub(crate) broker: Option<Arc<dyn Broker>>,
    /// The job that messages without a name are.
    pub(crate) foreign: Option<&'static str>,
}

/// What holds across the fleet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    pub(crate) global_concurrency: Option<u32>,
    pub(crate) key_concurrency: Option<u32>,
    pub(crate) rate: Option<Rate>,
    pub(crate) key_rate: Option<Rate>,
}

/// So many in that time, evenly spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) count: u32,
    pub(crate) per: Duration,
}

impl Limits {
    /// Whether also jobs without a key must be claimed with care.
    pub(crate) fn bind_all(&self) -> bool {
        self.global_concurrency.is_some() || self.rate.is_some()
    }
}

impl Queue {
    /// The queue of that name, without limits of its own.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            concurrency: None,
            weight: 1,
            limits: Limits::default(),
            broker: None,
            foreign: None,
        }
    }

    /// How many of its jobs this worker runs at a time; default: the worker's concurrency.
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = Some(jobs.max(1));
        self
    }

    /// How often it is served beside the worker's other queues: of weights 6 and 1, six of seven jobs are
    /// the first one's as long as both have some. Default 1. A [strict](crate::WorkerBuilder::strict)
    /// worker serves its queues in the order given instead.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight.max(1);
        self
    }

    /// How many of its jobs run at a time in the whole fleet.
    pub fn global_concurrency(mut self, jobs: u32) -> Self {
        self.limits.global_concurrency = Some(jobs.max(1));
        self
    }

    /// How many jobs with the same [limit key](crate::Enqueue::limit_key) run at a time in the whole fleet.
    pub fn key_concurrency(mut self, jobs: u32) -> Self {
        self.limits.key_concurrency = Some(jobs.max(1));
        self
    }

    /// How many of its jobs begin in that time in the whole fleet, evenly spread.
    pub fn rate(mut self, count: u32, per: Duration) -> Self {
        self.limits.rate = Some(Rate { count: count.max(1), per });
        self
    }

    /// How many jobs with the same [limit key](crate::Enqueue::limit_key) begin in that time in the whole
    /// fleet, evenly spread.
    pub fn key_rate(mut self, count: u32, per: Duration) -> Self {
        self.limits.key_rate = Some(Rate { count: count.max(1), per });
        self
    }

    /// Carried by a broker: what is ready is handed to it by whoever of the fleet comes first, and comes
    /// back to whoever it delivers it to. Handlers, retries, keys and dead letters stay as they are.
    pub fn via(mut self, broker: impl Broker) -> Self {
        self.broker = Some(Arc::new(broker));
        self
    }

    /// Also takes messages of others from the broker's queue of that name: those without a name of ours
    /// are read as the job `J`. They have no record in the database: one that fails is delivered again by
    /// the broker, and goes to the broker's dead letters after [`Job::MAX_ATTEMPTS`](crate::Job) deliveries.
    pub fn foreign<J: crate::Job>(mut self) -> Self {
        self.foreign = Some(J::NAME);
        self
    }

    /// Errors: JOB-010.
    pub(crate) fn check(&self) -> Result<()> {
        check_queue(&self.name)
    }
}
