//! What one worker of the fleet does for all: it makes due what is due, gives events to their groups,
//! plans what is scheduled, takes from the dead what they had, and cleans up. Who has the lock leads; it
//! ends with its process, and another one takes over within a second or two.
//!
//! Nothing here is trusted to happen once: each step is one transaction, which two leaders at the same
//! moment do not do twice.

pub(crate) mod clean;
pub(crate) mod cron;
pub(crate) mod promote;
pub(crate) mod rescue;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::{Code, Result};
use mainstay_db::Engine;

use crate::event;
use crate::wake;
use crate::worker::work::Work;

pub(crate) const LOCK: &str = "mainstay jobs leader";
/// Between two tries to lead.
const TRY_EVERY: Duration = Duration::from_secs(1);
/// Without wake-ups from other processes, how often it looks for what is due.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// With them.
const LOOK_SELDOM: Duration = Duration::from_secs(1);

/// Leads whenever nobody else does, until dropped.
pub(crate) async fn lead(work: Arc<Work>, schedules: Arc<[cron::Planned]>) {
    loop {
        match term(&work, &schedules).await {
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(code = %error.code(), "leading was interrupted: {error}");
            }
        }
        work.clock.sleep(work.rng.jittered(TRY_EVERY, 0.2)).await;
    }
}

/// One term: from having the lock to losing it. Errors end it, and another one may begin.
async fn term(work: &Arc<Work>, schedules: &[cron::Planned]) -> Result<()> {
    match work.db.advisory_lock(LOCK).try_acquire().await {
        Ok(None) => Ok(()),
        Ok(Some(mut lock)) => {
            let mut duties = Duties::new(work, schedules);
            loop {
                duties.round().await?;
                duties.wait().await;
                lock.check().await?;
            }
        }
        // Behind a pooler there are only a transaction's locks: one round in each.
        Err(error) if error.code() == Code::NeedsSession => {
            let mut duties = Duties::new(work, schedules);
            loop {
                let ours = work
                    .db
                    .transaction(|tx| async move {
                        let lock = tx.advisory_lock(LOCK).try_acquire().await?;
                        Ok(lock.is_some())
                    })
                    .await?;
                if ours {
                    duties.round().await?;
                }
                duties.wait().await;
            }
        }
        Err(error) => Err(error),
    }
}

/// What is done, and when each was done last.
struct Duties<'w> {
    work: &'w Arc<Work>,
    schedules: &'w [cron::Planned],
    schedule: Arc<tokio::sync::Notify>,
    outbox: Arc<tokio::sync::Notify>,
    rescue: rescue::Observed,
    next_due: Duration,
    rescued_at: Option<Instant>,
    cron_in: Duration,
    cron_at: Option<Instant>,
    cleaned_at: Option<Instant>,
    swept_at: Option<Instant>,
    planned: bool,
}

impl<'w> Duties<'w> {
    fn new(work: &'w Arc<Work>, schedules: &'w [cron::Planned]) -> Self {
        Self {
            work,
            schedules,
            schedule: wake::subscribe(&work.db, &wake::Of::Schedule),
            outbox: wake::subscribe(&work.db, &wake::Of::Outbox),
            rescue: rescue::Observed::default(),
            next_due: Duration::ZERO,
            rescued_at: None,
            cron_in: Duration::ZERO,
            cron_at: None,
            cleaned_at: None,
            swept_at: None,
            planned: false,
        }
    }

    fn is_due(&self, last: Option<Instant>, every: Duration) -> bool {
        let now = self.work.clock.now();
        last.is_none_or(|at| now.saturating_duration_since(at) >= every)
    }

    async fn round(&mut self) -> Result<()> {
        let db = &self.work.db;
        let now = self.work.clock.now();
        self.next_due = promote::promote(db).await?;
        // What can't be given out must not keep the dead from being found.
        let given_out = async {
            while event::dispatch(db, event::DISPATCH_MAX).await? == event::DISPATCH_MAX {}
            Ok::<(), mainstay_core::Error>(())
        };
        if let Err(error) = given_out.await {
            tracing::warn!(code = %error.code(), "events could not be given to their groups: {error}");
        }
        if self.is_due(self.rescued_at, rescue::EVERY) {
            self.rescued_at = Some(now);
            rescue::rescue(self.work, &mut self.rescue).await?;
        }
        if !self.planned {
            cron::plan(db, self.schedules).await?;
            self.planned = true;
        }
        if self.is_due(self.cron_at, self.cron_in) {
            self.cron_at = Some(now);
            self.cron_in = cron::run(db, self.schedules).await?;
        }
        if self.is_due(self.cleaned_at, clean::EVERY) {
            self.cleaned_at = Some(now);
            clean::clean(self.work).await?;
        }
        if self.is_due(self.swept_at, clean::SWEEP_EVERY) {
            self.swept_at = Some(now);
            clean::sweep(db).await?;
        }
        Ok(())
    }

    /// Until something is due, or somebody says so.
    async fn wait(&self) {
        let heard = self.work.db.engine() == Engine::Postgres;
        let most = if heard { LOOK_SELDOM } else { LOOK_EVERY };
        let most = most.min(self.cron_in).min(self.next_due).max(Duration::from_millis(1));
        tokio::select! {
            () = self.work.clock.sleep(most) => {}
            () = self.schedule.notified() => {}
            () = self.outbox.notified() => {}
        }
    }
}
