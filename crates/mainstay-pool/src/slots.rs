//! Numbered places for connections, and the idle ones among them as a stack that needs no lock.
//!
//! The stack is Treiber's (IBM RJ 5118, 1986) over numbers instead of pointers, so that it is safe
//! Rust: one word holds the top, how many there are, a count of the changes against ABA, and a gate.
//! While the gate is shut, only whoever has the core's lock may push and pop: that one bit is how
//! the fast path learns that somebody waits, or that anything else has to be decided.

use std::sync::{OnceLock, PoisonError};

use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};

/// Places at most, and so connections.
pub(crate) const SLOTS_MAX: u32 = 4096;

const FIELD_BITS: u32 = 13;
const FIELD: u64 = (1 << FIELD_BITS) - 1;
const NIL: u32 = FIELD as u32;
const GATE: u64 = 1 << (2 * FIELD_BITS);
/// The count of changes has the remaining 37 bits: it comes round after hours of nothing else.
const CHANGE: u64 = GATE << 1;

/// The first two segments have this many places, each further one as many as all before it.
const FIRST: u32 = 8;
const SEGMENTS: usize = 10;

/// Places with a `T` each, none of which ever moves.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    head: Padded,
    segments: [OnceLock<Box<[Slot<T>]>>; SEGMENTS],
}

/// On a cache line of its own: it is what all threads write.
#[derive(Debug)]
#[repr(align(128))]
struct Padded(AtomicU64);

#[derive(Debug)]
#[repr(align(64))]
struct Slot<T> {
    /// The one below, while it is on the stack.
    below: AtomicU32,
    value: Mutex<T>,
}

/// What [`Slots::pop`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    Slot(u32),
    Empty,
    Gated,
}

/// The gate is shut: take the lock and decide there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gated;

#[derive(Clone, Copy)]
struct Head(u64);

impl Head {
    fn top(self) -> u32 {
        (self.0 & FIELD) as u32
    }

    fn idle(self) -> u32 {
        (self.0 >> FIELD_BITS & FIELD) as u32
    }

    fn is_gated(self) -> bool {
        self.0 & GATE != 0
    }

    fn with(self, top: u32, idle: u32) -> u64 {
        let kept = self.0 & !(FIELD | FIELD << FIELD_BITS);
        (kept | u64::from(top) | u64::from(idle) << FIELD_BITS).wrapping_add(CHANGE)
    }
}

impl<T: Default> Slots<T> {
    pub(crate) fn new() -> Self {
        Self {
            head: Padded(AtomicU64::new(u64::from(NIL))),
            segments: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    /// What is at `slot`.
    pub(crate) fn lock(&self, slot: u32) -> MutexGuard<'_, T> {
        self.slot(slot).value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last that was pushed, unless the gate is shut.
    pub(crate) fn pop(&self) -> Popped {
        self.take(false)
    }

    /// As [`pop`](Self::pop), for whoever shut the gate.
    pub(crate) fn pop_gated(&self) -> Option<u32> {
        match self.take(true) {
            Popped::Slot(slot) => Some(slot),
            Popped::Empty | Popped::Gated => None,
        }
    }

    /// Puts `slot` on top, unless the gate is shut. It must not be on the stack.
    pub(crate) fn push(&self, slot: u32) -> Result<(), Gated> {
        self.give(slot, false)
    }

    /// As [`push`](Self::push), for whoever shut the gate.
    pub(crate) fn push_gated(&self, slot: u32) {
        let _ = self.give(slot, true);
    }

    /// Shuts or opens the gate; only under the core's lock.
    pub(crate) fn set_gate(&self, shut: bool) {
        if Head(self.head.0.load(Ordering::Acquire)).is_gated() == shut {
            return;
        }
        if shut {
            self.head.0.fetch_or(GATE, Ordering::AcqRel);
        } else {
            self.head.0.fetch_and(!GATE, Ordering::AcqRel);
        }
    }

    /// How many are on the stack.
    pub(crate) fn idle(&self) -> usize {
        Head(self.head.0.load(Ordering::Acquire)).idle() as usize
    }

    fn take(&self, even_gated: bool) -> Popped {
        let mut head = Head(self.head.0.load(Ordering::Acquire));
        loop {
            if head.is_gated() && !even_gated {
                return Popped::Gated;
            }
            let top = head.top();
            if top == NIL {
                return Popped::Empty;
            }
            // If another pops and pushes it meanwhile, this may be anything: the count has changed.
            let below = self.slot(top).below.load(Ordering::Relaxed);
            let next = head.with(below, head.idle() - 1);
            match self.swap(head, next) {
                Ok(()) => return Popped::Slot(top),
                Err(now) => head = now,
            }
        }
    }

    fn give(&self, slot: u32, even_gated: bool) -> Result<(), Gated> {
        let below = &self.slot(slot).below;
        let mut head = Head(self.head.0.load(Ordering::Acquire));
        loop {
            if head.is_gated() && !even_gated {
                return Err(Gated);
            }
            below.store(head.top(), Ordering::Relaxed);
            match self.swap(head, head.with(slot, head.idle() + 1)) {
                Ok(()) => return Ok(()),
                Err(now) => head = now,
            }
        }
    }

    fn swap(&self, from: Head, to: u64) -> Result<(), Head> {
        self.head
            .0
            .compare_exchange_weak(from.0, to, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
            .map_err(Head)
    }

    fn slot(&self, slot: u32) -> &Slot<T> {
        debug_assert!(slot < SLOTS_MAX, "numbers are given out below the bound");
        let (segment, offset, len) = match slot.checked_ilog2() {
            Some(log) if slot >= FIRST => {
                ((log - FIRST.ilog2() + 1) as usize, slot - (1 << log), 1 << log)
            }
            _ => (0, slot, FIRST),
        };
        let segment = self.segments[segment].get_or_init(|| {
            let new = || Slot { below: AtomicU32::new(NIL), value: Mutex::new(T::default()) };
            (0..len).map(|_| new()).collect()
        });
        &segment[offset as usize]
    }
}
