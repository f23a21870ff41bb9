//! What a worker has claimed and not begun, and which of it is begun next: by order of the queues in a
//! strict worker, by their weights otherwise (smooth weighted round robin, as nginx has it).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mainstay_core::Result;
use tokio::sync::Notify;

use super::call::Call;
use crate::broker::Receipt;

/// One thing to run: a job, or a batch of them.
pub(crate) struct Unit {
    pub(crate) calls: Vec<Item>,
}

/// A job with its broker's receipt, if a broker brought it.
pub(crate) struct Item {
    pub(crate) call: Arc<Call>,
    pub(crate) receipt: Option<Slip>,
}

/// A broker's receipt, which whoever runs the job and whoever keeps it alive at the broker share until it
/// is settled.
#[derive(Clone)]
pub(crate) struct Slip(Arc<tokio::sync::Mutex<Option<Box<dyn Receipt>>>>);

impl Slip {
    pub(crate) fn new(receipt: Box<dyn Receipt>) -> Self {
        Self(Arc::new(tokio::sync::Mutex::new(Some(receipt))))
    }

    /// Whether it is not settled, and somebody may yet do that.
    pub(crate) fn is_open(&self) -> bool {
        // Locked, it is just being settled.
        Arc::strong_count(&self.0) > 1 && self.0.try_lock().map_or(true, |slip| slip.is_some())
    }

    pub(crate) async fn keep(&self) {
        if let Some(receipt) = &*self.0.lock().await
            && let Err(error) = receipt.keep().await
        {
            tracing::debug!(code = %error.code(), "a delivery could not be kept: {error}");
        }
    }

    pub(crate) async fn ack(self) -> Result<()> {
        match self.0.lock().await.take() {
            Some(receipt) => receipt.ack().await,
            None => Ok(()),
        }
    }

    pub(crate) async fn again(self, after: Duration) -> Result<()> {
        match self.0.lock().await.take() {
            Some(receipt) => receipt.again(after).await,
            None => Ok(()),
        }
    }

    pub(crate) async fn dead(self, reason: String) -> Result<()> {
        match self.0.lock().await.take() {
            Some(receipt) => receipt.dead(reason).await,
            None => Ok(()),
        }
    }
}

impl Unit {
    pub(crate) fn one(item: Item) -> Self {
        Self { calls: vec![item] }
    }
}

/// The lines of a worker's queues.
pub(crate) struct Pending {
    inner: Mutex<Inner>,
    /// For slots: there is something to run.
    work: Notify,
    strict: bool,
}

struct Inner {
    lines: Vec<Line>,
    /// No more is begun.
    closed: bool,
}

struct Line {
    waiting: VecDeque<Unit>,
    jobs: usize,
    running: usize,
    running_max: usize,
    weight: i64,
    credit: i64,
    /// Ended since it was last asked.
    ended: u64,
    room: Arc<Notify>,
}

/// How a line stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) waiting: usize,
    pub(crate) running: usize,
    /// Jobs that ended since it was last asked.
    pub(crate) ended: u64,
}

impl Pending {
    /// Of queues with their concurrency and weight.
    pub(crate) fn new(queues: &[(usize, u32)], strict: bool) -> Self {
        let line = |&(running_max, weight): &(usize, u32)| Line {
            waiting: VecDeque::new(),
            jobs: 0,
            running: 0,
            running_max,
            weight: i64::from(weight),
            credit: 0,
            ended: 0,
            room: Arc::new(Notify::new()),
        };
        let lines = queues.iter().map(line).collect();
        Self { inner: Mutex::new(Inner { lines, closed: false }), work: Notify::new(), strict }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Told when the line may want more.
    pub(crate) fn room(&self, line: usize) -> Arc<Notify> {
        self.with(|inner| Arc::clone(&inner.lines[line].room))
    }

    /// Adds to a line; gives back what comes too late.
    pub(crate) fn push(&self, line: usize, units: Vec<Unit>) -> Vec<Unit> {
        let count = units.len();
        let late = self.with(|inner| {
            if inner.closed {
                return units;
            }
            let line = &mut inner.lines[line];
            line.jobs += units.iter().map(|unit| unit.calls.len()).sum::<usize>();
            line.waiting.extend(units);
            Vec::new()
        });
        for _ in 0..count {
            self.work.notify_one();
        }
        late
    }

    /// How the line stands.
    pub(crate) fn standing(&self, line: usize) -> Standing {
        self.with(|inner| {
            let line = &mut inner.lines[line];
            let ended = std::mem::take(&mut line.ended);
            Standing { waiting: line.jobs, running: line.running, ended }
        })
    }

    /// Jobs that wait and that run, without being asked for a line's tally.
    pub(crate) fn counts(&self) -> Vec<(usize, usize)> {
        self.with(|inner| inner.lines.iter().map(|line| (line.jobs, line.running)).collect())
    }

    fn take(inner: &mut Inner, strict: bool) -> Option<(usize, Unit)> {
        let able = |line: &Line| !line.waiting.is_empty() && line.running < line.running_max;
        let picked = if strict {
            inner.lines.iter().position(able)?
        } else {
            let mut total = 0;
            let mut best: Option<usize> = None;
            for at in 0..inner.lines.len() {
                if !able(&inner.lines[at]) {
                    continue;
                }
                let weight = inner.lines[at].weight;
                total += weight;
                inner.lines[at].credit += weight;
                if best.is_none_or(|b| inner.lines[at].credit > inner.lines[b].credit) {
                    best = Some(at);
                }
            }
            let best = best?;
            inner.lines[best].credit -= total;
            best
        };
        let line = &mut inner.lines[picked];
        let unit = line.waiting.pop_front()?;
        line.jobs -= unit.calls.len();
        line.running += 1;
        Some((picked, unit))
    }

    /// The next to run; none when no more is begun.
    ///
    /// Cancel safe: what was taken is returned at once.
    pub(crate) async fn next(&self) -> Option<(usize, Unit)> {
        loop {
            let mut work = std::pin::pin!(self.work.notified());
            work.as_mut().enable();
            let (taken, closed) = self.with(|inner| (Self::take(inner, self.strict), inner.closed));
            if taken.is_some() || closed {
                return taken;
            }
            work.await;
        }
    }

    /// A unit of a line has ended.
    pub(crate) fn ended(&self, line: usize, jobs: usize) {
        let (room, more) = self.with(|inner| {
            let line = &mut inner.lines[line];
            line.running -= 1;
            line.ended += jobs as u64;
            (Arc::clone(&line.room), !line.waiting.is_empty())
        });
        room.notify_one();
        // Another slot may have found the line at its bound.
        if more {
            self.work.notify_one();
        }
    }

    /// Begins nothing more, and gives out what was not begun.
    pub(crate) fn close(&self) -> Vec<Unit> {
        let rest = self.with(|inner| {
            inner.closed = true;
            let lines = inner.lines.iter_mut();
            lines
                .flat_map(|line| {
                    line.jobs = 0;
                    std::mem::take(&mut line.waiting)
                })
                .collect()
        });
        self.work.notify_waiters();
        // Who is just about to wait finds a permit, and passes it on.
        self.work.notify_one();
        rest
    }
}
