//! Fetches for one queue: claims what there is room for, waits to be woken otherwise.
//!
//! How far ahead it claims follows from how fast the queue's jobs are: as much as runs in a sixth of a
//! second, so that fast jobs are claimed by the thousand and slow ones not before their turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};

use super::finish::Ended;
use super::gather::Gather;
use super::pending::Item;
use super::work::Work;
use crate::store::careful;
use crate::store::claim::{self, Claimed, Hint};
use crate::wake;

/// How much work is claimed ahead.
const AHEAD: Duration = Duration::from_millis(160);
/// Jobs claimed ahead, and in one claim.
const AHEAD_MAX: usize = 5_000;
const CLAIM_MAX: usize = 2_000;
/// While there is free work, jobs with keys are looked for this often.
const CAREFUL_EVERY: Duration = Duration::from_millis(20);
/// After an error, at least this long.
const PAUSE: Duration = Duration::from_millis(200);

/// Fetches for one queue.
pub(crate) struct Fetch {
    work: Arc<Work>,
    line: usize,
    queue: Arc<str>,
    gather: Gather,
    look: Look,
    pace: Pace,
    /// When jobs with keys were looked for last.
    careful_at: Option<Instant>,
    wake: Arc<Notify>,
    room: Arc<Notify>,
}

impl Fetch {
    pub(crate) fn new(work: &Arc<Work>, line: usize, ends: mpsc::Sender<Ended>) -> Self {
        let queue: Arc<str> = work.queues[line].name.as_str().into();
        Self {
            line,
            gather: Gather::new(work, line, ends),
            look: Look::default(),
            pace: Pace::new(work.clock.now()),
            careful_at: None,
            wake: wake::subscribe(&work.db, &wake::Of::Queue(queue.to_string())),
            room: work.pending.room(line),
            queue,
            work: Arc::clone(work),
        }
    }

    /// Until the worker stops.
    pub(crate) async fn run(mut self) {
        while !self.work.is_stopping() {
            let room = self.room_for();
            if room == 0 {
                tokio::select! {
                    () = self.room.notified() => {}
                    () = self.gather.due() => self.gather.flush().await,
                    () = self.work.stopped() => {}
                }
                continue;
            }
            match self.fetch(room).await {
                Ok(0) => self.wait().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(code = %error.code(), "nothing could be claimed from `{}`: {error}", self.queue);
                    let pause = self.work.rng.jittered(PAUSE, 0.5);
                    self.work.pause(pause).await;
                }
            }
        }
        self.gather.close().await;
    }

    /// How many more may be claimed now; nothing until half of what was claimed ahead has begun.
    fn room_for(&mut self) -> usize {
        let standing = self.work.pending.standing(self.line);
        let rate = self.pace.measure(self.work.clock.now(), standing.ended);
        let slots = self.work.concurrency(self.line);
        let ahead = ((rate * AHEAD.as_secs_f64()) as usize).clamp(slots, AHEAD_MAX);
        let has = standing.waiting + self.gather.len();
        let free = slots.saturating_sub(standing.running);
        if has > ahead / 2 && free == 0 || has >= ahead + slots {
            return 0;
        }
        (ahead + free).saturating_sub(has).min(CLAIM_MAX)
    }

    async fn fetch(&mut self, room: usize) -> mainstay_core::Result<usize> {
        let bound = self.work.queues[self.line].limits.bind_all();
        let mut count = 0;
        if !bound {
            count += self.fetch_free(room).await?;
        }
        let now = self.work.clock.now();
        let due =
            self.careful_at.is_none_or(|at| now.saturating_duration_since(at) >= CAREFUL_EVERY);
        if (due || bound) && count < room {
            self.careful_at = Some(now);
            count += self.fetch_careful(room - count).await?;
        }
        Ok(count)
    }

    async fn fetch_careful(&mut self, room: usize) -> mainstay_core::Result<usize> {
        let limits = self.work.queues[self.line].limits;
        let (db, id, suspects) = (&self.work.db, self.work.id(), !self.has_suspect());
        let got = careful::claim(db, id, &self.queue, &limits, room, suspects).await?;
        let mut count = got.jobs.len();
        let jobs = got.jobs.into_iter().map(|job| Claimed { careful: true, ..job }).collect();
        self.take(jobs).await;
        if got.more && count == 0 {
            self.work.pause(Duration::from_millis(2)).await;
            count = 1;
        }
        Ok(count)
    }

    async fn fetch_free(&mut self, room: usize) -> mainstay_core::Result<usize> {
        let begun = self.work.clock.now();
        let hint = self.look.from(begun);
        let jobs = claim::claim(&self.work.db, self.work.id(), &self.queue, hint, room).await?;
        let took = self.work.clock.now().saturating_duration_since(begun);
        self.look.saw(begun, took, hint, &jobs);
        let mut count = jobs.len();
        if count < room && hint != Hint::START {
            // Nothing new: what came back to an earlier place is looked for now.
            self.look.restart();
            count += usize::from(count == 0);
        }
        self.take(jobs).await;
        Ok(count)
    }

    /// Holds them, and gives them to the slots.
    async fn take(&mut self, jobs: Vec<Claimed>) {
        let mut lease = (0, Vec::new());
        for job in &jobs {
            if job.lease != lease.0 && !lease.1.is_empty() {
                self.work.held.add(lease.0, std::mem::take(&mut lease.1));
            }
            lease.0 = job.lease;
            lease.1.push(job.id);
        }
        if !lease.1.is_empty() {
            self.work.held.add(lease.0, lease.1);
        }
        let items: Vec<Item> =
            jobs.into_iter().map(|job| self.work.item(&self.queue, job, None)).collect();
        self.work.remember(&items);
        self.gather.take(items).await;
    }

    /// Whether a job is here that a worker died with: one at a time, so that it is known which it was.
    fn has_suspect(&self) -> bool {
        self.work.open_calls().iter().any(|call| call.job.crashes > 0)
    }

    async fn wait(&mut self) {
        let poll = self.work.rng.jittered(self.work.poll, 0.2);
        tokio::select! {
            () = self.wake.notified() => self.careful_at = None,
            () = self.work.clock.sleep(poll) => {
                self.look.restart();
                self.careful_at = None;
            }
            () = self.gather.due() => self.gather.flush().await,
            () = self.work.stopped() => {}
        }
    }
}

/// Where to begin to look. From the start as long as that is cheap; behind the last claimed one where an
/// old transaction keeps deleted rows in the way, with a look from the start that takes a twentieth of
/// the time at most.
#[derive(Default)]
struct Look {
    hint: Option<Hint>,
    full_cost: Duration,
    full_at: Option<Instant>,
}

/// A look from the start that takes longer is made seldom.
const CHEAP: Duration = Duration::from_millis(4);

impl Look {
    fn from(&self, now: Instant) -> Hint {
        let due =
            self.full_at.is_none_or(|at| now.saturating_duration_since(at) >= self.full_cost * 20);
        match self.hint {
            Some(hint) if self.full_cost > CHEAP && !due => hint,
            _ => Hint::START,
        }
    }

    fn saw(&mut self, at: Instant, took: Duration, hint: Hint, jobs: &[Claimed]) {
        if hint == Hint::START {
            // What was found has its own cost: some microseconds a job.
            let found = Duration::from_micros(15) * jobs.len() as u32;
            self.full_cost = took.saturating_sub(found);
            self.full_at = Some(at + took);
        }
        if let Some(last) = jobs.last() {
            self.hint = Some(Hint { priority: last.priority, id: last.id });
        }
    }

    fn restart(&mut self) {
        self.hint = None;
    }
}

/// How many jobs end in a second, over the last moments.
struct Pace {
    at: Instant,
    ended: u64,
    rate: f64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { at: now, ended: 0, rate: 0.0 }
    }

    fn measure(&mut self, now: Instant, ended: u64) -> f64 {
        const SPAN: Duration = Duration::from_millis(5);
        self.ended += ended;
        let passed = now.saturating_duration_since(self.at);
        if passed >= SPAN {
            let rate = self.ended as f64 / passed.as_secs_f64();
            // Quick to believe in more, slower in less.
            let share = if rate > self.rate { 0.7 } else { 0.2 };
            self.rate += (rate - self.rate) * share;
            (self.at, self.ended) = (now, 0);
        }
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(priority: i16, id: i64) -> Claimed {
        let body = (id, "n".to_owned(), 1, 0, priority, 0, None, 0, 0, "{}".to_owned(), None, None);
        Claimed::of(1, body)
    }

    #[test]
    fn it_looks_from_the_start_unless_that_is_dear() {
        let clock = mainstay_core::clock::Clock::system();
        let now = clock.now();
        let mut look = Look::default();
        assert_eq!(look.from(now), Hint::START);
        look.saw(now, Duration::from_millis(1), Hint::START, &[job(0, 7)]);
        assert_eq!(look.from(now), Hint::START, "cheap");
        look.saw(now, Duration::from_millis(50), Hint::START, &[job(0, 9)]);
        assert_eq!(look.from(now + Duration::from_millis(60)), Hint { priority: 0, id: 9 });
        assert_eq!(look.from(now + Duration::from_secs(2)), Hint::START, "now and then");
    }

    #[test]
    fn the_pace_follows_quickly() {
        let clock = mainstay_core::clock::Clock::system();
        let now = clock.now();
        let mut pace = Pace::new(now);
        let rate = pace.measure(now + Duration::from_millis(10), 100);
        assert!(rate > 5_000.0, "{rate}");
        let rate = pace.measure(now + Duration::from_millis(20), 100);
        assert!((8_000.0..=10_000.0).contains(&rate), "{rate}");
    }
}
