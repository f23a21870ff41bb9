//! Where statements wait to be looked at: buffers of a fixed size, one a few threads, filled on the hot
//! path and emptied in the background.
//!
//! Filling one waits for nobody and allocates nothing: what has no room, or finds every buffer in use, is
//! counted and left out. What fills it is written to memory that no cache has any more, so what is put down is
//! small, and nothing waits until it is written: the lock is let go by a plain store.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mainstay_core::observe::{KeyColumns, SqlId, ValueHash};
use mainstay_core::scope::Scope;
use mainstay_core::{Code, Place};
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// Buffers.
const SHARDS: usize = 8;
/// Statements in each, and checkouts.
const EVENTS_MAX: usize = 4096;
/// Hashes of values in each.
const VALUES_MAX: usize = 32 * 1024;

/// A statement, as it is put down.
pub(super) struct Raw {
    /// Which of the watched handles it ran on.
    pub(super) pool: u16,
    pub(super) sql: u64,
    pub(super) place: Place,
    pub(super) scope: Option<Scope>,
    pub(super) task: Option<NonZeroU64>,
    pub(super) tx: Option<NonZeroU64>,
    pub(super) conn: Option<NonZeroU64>,
    pub(super) ended: Instant,
    pub(super) duration_us: u64,
    pub(super) rows: u32,
    pub(super) end: End,
    /// How many of the values are its binds, if they are known.
    pub(super) binds: Option<u16>,
    pub(super) columns: Option<Arc<KeyColumns>>,
    pub(super) returned: u16,
}

const _: () = assert!(size_of::<Raw>() <= 96, "it is written for every statement");

#[derive(Clone, Copy)]
pub(super) enum End {
    Done,
    Failed(Code),
    Cancelled,
}

/// A connection that came back, or could not be had.
pub(super) struct Held {
    /// Which of the watched handles, and which of its pools.
    pub(super) pool: usize,
    /// The pool's name, as a number: SQLite's readers and writer are two of one handle.
    pub(super) name: SqlId,
    pub(super) place: Place,
    pub(super) wait: Duration,
    pub(super) time: Duration,
    pub(super) had: bool,
}

/// What was put down since it was last emptied.
pub(super) struct Buffer {
    pub(super) events: Vec<Raw>,
    /// Of each event its binds, then what it returned.
    pub(super) values: Vec<ValueHash>,
    pub(super) held: Vec<Held>,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self {
            events: Vec::with_capacity(EVENTS_MAX),
            values: Vec::with_capacity(VALUES_MAX),
            held: Vec::with_capacity(EVENTS_MAX),
        }
    }
}

pub(super) struct Ring {
    shards: Box<[SpinMutex<Buffer>]>,
    dropped: AtomicU64,
}

impl Ring {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| SpinMutex::new(Buffer::new())).collect();
        Self { shards, dropped: AtomicU64::new(0) }
    }

    /// Statements and checkouts that were left out.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// A buffer that nobody uses, the thread's own first.
    fn with(&self, put: impl FnOnce(&mut Buffer) -> bool) {
        let first = shard();
        for n in 0..SHARDS {
            let Some(mut buffer) = self.shards[(first + n) % SHARDS].try_lock() else { continue };
            if !put(&mut buffer) {
                break;
            }
            return;
        }
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn statement(&self, mut raw: Raw, binds: &[ValueHash], returned: &[ValueHash]) {
        self.with(|buffer| {
            let fits = buffer.events.len() < EVENTS_MAX;
            if fits {
                let room = VALUES_MAX - buffer.values.len();
                if binds.len() > room {
                    raw.binds = None;
                } else {
                    buffer.values.extend_from_slice(binds);
                }
                // Whole rows, as many as there is room for.
                let width = raw.columns.as_ref().map_or(1, |c| c.0.len()).max(1);
                let room = (VALUES_MAX - buffer.values.len()) / width * width;
                let returned = &returned[..returned.len().min(room).min(usize::from(u16::MAX))];
                buffer.values.extend_from_slice(returned);
                raw.returned = returned.len() as u16;
                buffer.events.push(raw);
            }
            fits
        });
    }

    #[inline]
    pub(super) fn held(&self, held: Held) {
        self.with(|buffer| {
            let fits = buffer.held.len() < EVENTS_MAX;
            if fits {
                buffer.held.push(held);
            }
            fits
        });
    }

    /// Hands each buffer that has something to `look`, and has the thread that fills it wait for no longer
    /// than it takes to change it for the empty `spare`.
    pub(super) fn empty(&self, spare: &mut Buffer, mut look: impl FnMut(&mut Buffer)) {
        for shard in &self.shards {
            {
                let mut buffer = lock(shard);
                if buffer.events.is_empty() && buffer.held.is_empty() {
                    continue;
                }
                std::mem::swap(&mut *buffer, spare);
            }
            look(spare);
            spare.events.clear();
            spare.values.clear();
            spare.held.clear();
        }
    }
}

/// Whoever fills it has it for some nanoseconds, unless the system takes the processor from it.
fn lock(shard: &SpinMutex<Buffer>) -> SpinMutexGuard<'_, Buffer> {
    loop {
        match shard.try_lock() {
            Some(buffer) => return buffer,
            None => std::thread::yield_now(),
        }
    }
}

/// The thread's own buffer.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
    }
    OWN.try_with(|own| *own).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> Raw {
        Raw {
            pool: 0,
            sql: 1,
            place: Place::here(),
            scope: None,
            task: None,
            tx: None,
            conn: None,
            ended: mainstay_core::clock::Clock::system().now(),
            duration_us: 0,
            rows: 0,
            end: End::Done,
            binds: Some(1),
            columns: None,
            returned: 0,
        }
    }

    #[test]
    fn what_has_no_room_is_counted_and_nothing_is_allocated() {
        let ring = Ring::new();
        let value = [ValueHash::int(1)];
        ring.statement(raw(), &value, &value);
        let counted = allocation_counter::measure(|| {
            for _ in 0..EVENTS_MAX + 9 {
                ring.statement(raw(), &value, &value);
            }
        });
        assert_eq!((counted.count_total, ring.dropped()), (0, 10));
        let mut seen = 0;
        let mut spare = Buffer::new();
        ring.empty(&mut spare, |buffer| seen += buffer.events.len());
        assert_eq!(seen, EVENTS_MAX);
        ring.statement(raw(), &value, &value);
        assert_eq!(ring.dropped(), 10, "there is room again");
    }

    #[test]
    fn without_room_for_values_the_statement_stays() {
        let ring = Ring::new();
        let many = vec![ValueHash::int(1); VALUES_MAX];
        ring.statement(raw(), &[], &many);
        ring.statement(raw(), &many[..3], &[]);
        ring.empty(&mut Buffer::new(), |buffer| {
            assert_eq!(buffer.values.len(), VALUES_MAX);
            assert!(buffer.events[1].binds.is_none());
        });
    }
}
