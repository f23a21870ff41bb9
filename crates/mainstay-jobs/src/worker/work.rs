//! What all parts of a running worker share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_db::Db;
use tokio::sync::watch;

use super::call::Call;
use super::finish::Held;
use super::handler::{Handlers, Layer};
use super::pending::{Item, Pending, Slip};
use super::queue::Queue;
use crate::saga::Steps;
use crate::store::claim::Claimed;
use crate::tokens;

/// What all parts of a running worker share.
pub(crate) struct Work {
    /// Of a cluster the primary alone.
    pub(crate) db: Db,
    /// As it was given.
    pub(crate) given: Db,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) handlers: Handlers,
    pub(crate) layers: Arc<[Layer]>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) pending: Pending,
    pub(crate) held: Held,
    /// Its number in the database; another one when it had been taken for dead.
    pub(crate) id: AtomicI64,
    pub(crate) poll: Duration,
    /// Turns true once: nothing more is claimed.
    pub(crate) stopping: watch::Sender<bool>,
    /// Runs by job, to be cancelled or looked at.
    pub(crate) calls: Mutex<HashMap<i64, Weak<Call>>>,
    /// Jobs that run at a time, over all queues.
    pub(crate) concurrency: usize,
}

impl Work {
    pub(crate) fn id(&self) -> i64 {
        self.id.load(Relaxed)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until nothing more is to be claimed.
    pub(crate) async fn stopped(&self) {
        let mut told = self.stopping.subscribe();
        // The sender is in `self`, so it can't be gone.
        let _ = told.wait_for(|stopping| *stopping).await;
    }

    /// Waits so long, or until nothing more is to be claimed.
    pub(crate) async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.clock.sleep(time) => {}
            () = self.stopped() => {}
        }
    }

    /// How many jobs of a queue may run here at a time.
    pub(crate) fn concurrency(&self, line: usize) -> usize {
        self.queues[line].concurrency.unwrap_or(self.concurrency).min(self.concurrency)
    }

    /// A job that was just claimed, ready to be run.
    pub(crate) fn item(&self, queue: &Arc<str>, job: Claimed, receipt: Option<Slip>) -> Item {
        let handler = self.handlers.find(queue, &job.name);
        let options = job.options.as_deref();
        let own = options.and_then(|options| options.max_attempts);
        let kept = options.and_then(|options| options.retention_ms).map(Duration::from_millis);
        let call = Call {
            primary: self.db.clone(),
            given: self.given.clone(),
            marks: tokens::now(&self.db),
            queue: Arc::clone(queue),
            max_attempts: own.or_else(|| handler.map(|h| h.max_attempts)).unwrap_or(25),
            keep: kept.or_else(|| handler.and_then(|h| h.retention)),
            recorded: true,
            completed: false.into(),
            has_progress: false.into(),
            ended: false.into(),
            cancelled: false.into(),
            cancel: tokio::sync::Notify::new(),
            steps: Steps::default(),
            job,
        };
        Item { call: Arc::new(call), receipt }
    }

    /// Remembers runs that may be cancelled, and forgets those that are over.
    pub(crate) fn remember(&self, items: &[Item]) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() > 4 * self.concurrency.max(1_000) {
            calls.retain(|_, call| call.strong_count() > 0);
        }
        calls.extend(items.iter().map(|item| (item.call.job.id, Arc::downgrade(&item.call))));
    }

    /// The run of a job, if it is here.
    pub(crate) fn call(&self, id: i64) -> Option<Arc<Call>> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.get(&id)?.upgrade().filter(|call| !call.ended.load(Relaxed))
    }

    /// What is here and not over.
    pub(crate) fn open_calls(&self) -> Vec<Arc<Call>> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let live = calls.values().filter_map(Weak::upgrade);
        live.filter(|call| !call.ended.load(Relaxed)).collect()
    }
}
