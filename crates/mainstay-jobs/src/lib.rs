//! Background jobs, schedules, events and sagas, on the database that is there anyway: enqueued in your
//! transaction, run anywhere.
//!
//! ```
//! use mainstay_jobs::{Context, Job, Jobs, Worker};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct WelcomeMail {
//!     user: i64,
//! }
//!
//! impl Job for WelcomeMail {
//!     const NAME: &'static str = "welcome_mail";
//! }
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
//! let db = mainstay_db::Db::connect("sqlite::memory:").await?;
//! mainstay_jobs::install(&db).await?;
//!
//! // It is there exactly if the transaction commits.
//! db.transaction(|tx| async move { tx.enqueue(&WelcomeMail { user: 7 }).await }).await?;
//!
//! let (done, mut seen) = tokio::sync::mpsc::channel(1);
//! let worker = Worker::builder(&db, done)
//!     .handle(|mail: WelcomeMail, ctx: Context<tokio::sync::mpsc::Sender<i64>>| async move {
//!         ctx.state().send(mail.user).await.ok();
//!         Ok(())
//!     })
//!     .start()
//!     .await?;
//! assert_eq!(seen.recv().await, Some(7));
//! worker.drain(std::time::Duration::from_secs(5)).await?;
//! # Ok::<(), mainstay_db::Error>(()) }).unwrap();
//! ```
//!
//! What it does not do: it is no message broker, and needs none. Brokers can [carry](broker) its queues.

#[cfg(not(any(feature = "sqlite", feature = "postgres", feature = "mysql")))]
compile_error!("mainstay-jobs needs at least one engine: enable `sqlite`, `postgres` or `mysql`");

pub mod admin;
pub mod broker;
mod cron;
mod enqueue;
pub mod event;
mod job;
mod lead;
mod options;
mod retry;
mod saga;
mod schema;
mod store;
mod tokens;
mod wake;
mod worker;

use std::future::Future;

use mainstay_core::Result;
use mainstay_db::Db;
use serde::Serialize;

pub use cron::{Due, Missed, Schedule};
pub use enqueue::{Enqueue, Enqueued};
pub use event::{Delivered, Event, EventId, Publish};
pub use job::{Job, JobId};
pub use retry::{Action, Backoff};
pub use saga::{Signal, Step};
pub use schema::{install, schema};
pub use worker::{
    Batch, Context, Failure, Info, IntoOutcome, Next, Outcome, Queue, Worker, WorkerBuilder,
};

/// What a [`Db`] can do for jobs and events: on a transaction's handle it is part of the transaction.
pub trait Jobs {
    /// Enqueues a job: await it, after any options.
    ///
    /// ```
    /// # use mainstay_jobs::{Job, Jobs};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail { to: String }
    /// # impl Job for Mail { const NAME: &'static str = "mail"; }
    /// # async fn f(tx: mainstay_db::Db) -> mainstay_core::Result<()> {
    /// use std::time::Duration;
    ///
    /// let mail = Mail { to: "ada@example.com".to_owned() };
    /// tx.enqueue(&mail).delay(Duration::from_secs(60)).unique("mail ada").await?;
    /// # Ok(()) }
    /// ```
    #[track_caller]
    fn enqueue<J: Job>(&self, job: &J) -> Enqueue<'_>;

    /// Enqueues many, in their order, 500 in a statement; all or none. Errors: as [`Enqueue`].
    fn enqueue_all<J: Job>(&self, jobs: &[J])
    -> impl Future<Output = Result<Vec<Enqueued>>> + Send;

    /// Publishes an event to every group that subscribes to it: await it.
    #[track_caller]
    fn publish<E: Event>(&self, event: &E) -> Publish<'_>;

    /// Publishes many, in their order, up to 500 in a statement; all or none. Errors: as [`Publish`].
    fn publish_all<E: Event>(
        &self,
        events: &[E],
    ) -> impl Future<Output = Result<Vec<EventId>>> + Send;

    /// Sends a signal to a live job, which waits for it or will ([`Context::signal`]).
    ///
    /// Errors: JOB-011 (the job has ended), JOB-010, JOB-003, and those of a statement.
    fn signal<T: Serialize + Sync>(
        &self,
        job: JobId,
        name: &str,
        value: &T,
    ) -> impl Future<Output = Result<()>> + Send;
}

impl Jobs for Db {
    #[track_caller]
    fn enqueue<J: Job>(&self, job: &J) -> Enqueue<'_> {
        Enqueue::new(self, job)
    }

    async fn enqueue_all<J: Job>(&self, jobs: &[J]) -> Result<Vec<Enqueued>> {
        let jobs = jobs.iter().map(enqueue::record).collect::<Result<Vec<_>>>()?;
        store::enqueue::enqueue(self, jobs).await
    }

    #[track_caller]
    fn publish<E: Event>(&self, event: &E) -> Publish<'_> {
        Publish::new(self, event)
    }

    async fn publish_all<E: Event>(&self, events: &[E]) -> Result<Vec<EventId>> {
        event::publish_all(self, events).await
    }

    async fn signal<T: Serialize + Sync>(&self, job: JobId, name: &str, value: &T) -> Result<()> {
        saga::send(self, job, name, value).await
    }
}
