//! Which task holds which connection, so that one which asks for a second is noticed.
//!
//! A table by hash, read and written without any read-modify-write: a collision may hide a nested
//! acquire, and never makes one up, since whoever finds an entry looks at the holder itself.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Many times the connections of most pools: collisions are rare.
const ENTRIES: usize = 1024;

/// Whose future it is that asks for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    Task(tokio::task::Id),
    /// Outside any task: `block_on`, the body of a test.
    Thread(std::thread::ThreadId),
}

impl Asker {
    pub(crate) fn current() -> Self {
        match tokio::task::try_id() {
            Some(id) => Asker::Task(id),
            None => Asker::Thread(std::thread::current().id()),
        }
    }

    fn entry(self) -> usize {
        let mut mix = Mix(0);
        match self {
            Asker::Task(id) => id.hash(&mut mix),
            Asker::Thread(id) => id.hash(&mut mix),
        }
        (mix.0 >> (64 - ENTRIES.ilog2())) as usize
    }
}

/// Fibonacci hashing (Knuth, TAOCP 6.4): the ids are numbers that count up.
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Slots, by who holds them.
#[derive(Debug)]
pub(crate) struct Askers(Box<[AtomicU32]>);

impl Askers {
    pub(crate) fn new() -> Self {
        Self((0..ENTRIES).map(|_| AtomicU32::new(0)).collect())
    }

    /// A slot that `asker` may be holding.
    pub(crate) fn held_by(&self, asker: Asker) -> Option<u32> {
        self.0[asker.entry()].load(Relaxed).checked_sub(1)
    }

    /// `asker` has `slot`. The first that it has stays.
    pub(crate) fn enter(&self, asker: Asker, slot: u32) {
        let entry = &self.0[asker.entry()];
        if entry.load(Relaxed) == 0 {
            entry.store(slot + 1, Relaxed);
        }
    }

    /// `asker` has given `slot` back.
    pub(crate) fn leave(&self, asker: Asker, slot: u32) {
        let entry = &self.0[asker.entry()];
        if entry.load(Relaxed) == slot + 1 {
            entry.store(0, Relaxed);
        }
    }
}
