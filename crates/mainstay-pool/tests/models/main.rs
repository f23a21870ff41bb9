//! The pool's core under loom: every interleaving of a few threads, within bounds, over the same
//! files that the pool is made of.
//!
//! What is modelled is the lock-free stack with its gate, and the queue behind the lock; not the
//! tasks that open connections.

#![allow(dead_code, unreachable_pub, reason = "the models use a part of each file")]

#[path = "../../src/core.rs"]
mod core;
#[path = "../../src/options.rs"]
mod options;
#[path = "../../src/shed.rs"]
mod shed;
#[path = "../../src/slots.rs"]
mod slots;
#[path = "../../src/waiters.rs"]
mod waiters;

/// Loom's primitives, where the pool has the standard library's.
mod sync {
    pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    pub use loom::sync::{Mutex, MutexGuard};
}

use std::task::{Context, Poll, Waker};

use loom::sync::Arc;
use loom::thread;
use mainstay_core::clock::{Clock, Tick};
use mainstay_core::scope::Priority;

use crate::core::{Given, Got, Hub, Put};
use crate::options::Options;
use crate::slots::Popped;
use crate::waiters::Ticket;

/// Whether somebody has the connection of a slot.
type Taken = bool;

fn model(work: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(work);
}

fn hub(connections: u32) -> Arc<Hub<Taken>> {
    let options = Options { max_size: connections, ..Options::default() };
    let hub = Hub::new(&options);
    for _ in 0..connections {
        let mut core = hub.lock();
        core.connecting += 1;
        let slot = core.connected(now());
        assert_eq!(core.put(slot, now()).0, Put::Kept);
    }
    Arc::new(hub)
}

fn now() -> Tick {
    Clock::system().coarse()
}

/// As the pool does: the fast path, then the queue. `None` where it has to wait.
fn acquire(hub: &Hub<Taken>) -> Result<u32, waiters::Key> {
    if let Popped::Slot(slot) = hub.slots.pop() {
        return Ok(slot);
    }
    let ticket = Ticket { asked: now(), priority: Priority::Normal };
    match hub.lock().acquire(ticket, now(), false, Waker::noop()) {
        Got::Slot(slot) => Ok(slot),
        Got::Wait(key) => Err(key),
        other => panic!("{other:?}"),
    }
}

fn take(hub: &Hub<Taken>, slot: u32) {
    assert!(!std::mem::replace(&mut *hub.slots.lock(slot), true), "one connection, two holders");
}

fn give_back(hub: &Hub<Taken>, slot: u32) {
    *hub.slots.lock(slot) = false;
    offer(hub, slot);
}

fn offer(hub: &Hub<Taken>, slot: u32) {
    if hub.slots.push(slot).is_err() {
        let (put, woken) = hub.lock().put(slot, now());
        assert_eq!(put, Put::Kept);
        woken.wake();
    }
}

/// What came for a waiter.
fn collect(hub: &Hub<Taken>, key: waiters::Key) -> Option<u32> {
    let mut cx = Context::from_waker(Waker::noop());
    match hub.lock().waiters.poll(key, &mut cx) {
        Poll::Ready(Given::Slot(slot)) => Some(slot),
        Poll::Ready(other) => panic!("{other:?}"),
        Poll::Pending => None,
    }
}

/// All is back: every connection is idle, nobody waits, and the fast path is open.
fn check_whole(hub: &Hub<Taken>, connections: usize) {
    assert_eq!(hub.look().waiters.len(), 0);
    assert_eq!(hub.slots.idle(), connections);
    for _ in 0..connections {
        assert!(matches!(hub.slots.pop(), Popped::Slot(_)), "the gate stayed shut");
    }
}

/// Two tasks, one connection: never two holders; whoever waits is served when the other returns it.
#[test]
fn one_connection_is_never_held_twice_and_never_lost() {
    model(|| {
        let hub = hub(1);
        let other = Arc::clone(&hub);
        let turn = |hub: &Hub<Taken>| -> Option<waiters::Key> {
            match acquire(hub) {
                Ok(slot) => {
                    take(hub, slot);
                    give_back(hub, slot);
                    None
                }
                Err(key) => Some(key),
            }
        };
        let waits = thread::spawn(move || turn(&other));
        let mine = turn(&hub);
        let theirs = waits.join().unwrap();
        assert!(mine.is_none() || theirs.is_none(), "both wait for nobody");
        if let Some(key) = mine.or(theirs) {
            let slot = collect(&hub, key).expect("it was returned, so the waiter has it");
            take(&hub, slot);
            give_back(&hub, slot);
        }
        check_whole(&hub, 1);
    });
}

/// A return and a wait that is given up at the same time: the connection is not lost between them.
#[test]
fn a_wait_given_up_passes_on_what_it_was_given() {
    model(|| {
        let hub = hub(1);
        let slot = acquire(&hub).unwrap();
        take(&hub, slot);
        let key = acquire(&hub).unwrap_err();
        let other = Arc::clone(&hub);
        let returns = thread::spawn(move || give_back(&other, slot));
        let left = hub.lock().waiters.leave(key);
        match left {
            Some(Given::Slot(slot)) => offer(&hub, slot),
            None => {}
            other => panic!("{other:?}"),
        }
        returns.join().unwrap();
        check_whole(&hub, 1);
    });
}

/// One takes a connection while another takes all and returns them in another order, so that the
/// top is as before and what is below is not (ABA): nothing is lost, nothing is had twice.
#[test]
fn the_stack_is_not_fooled_by_a_top_that_came_back() {
    model(|| {
        let hub = hub(3);
        let other = Arc::clone(&hub);
        let shuffles = thread::spawn(move || {
            let mut had = Vec::new();
            while let Popped::Slot(slot) = other.slots.pop() {
                take(&other, slot);
                had.push(slot);
            }
            // The first that was had is again on top.
            for slot in had.iter().skip(1).chain(had.first()) {
                give_back(&other, *slot);
            }
        });
        if let Popped::Slot(slot) = hub.slots.pop() {
            take(&hub, slot);
            give_back(&hub, slot);
        }
        shuffles.join().unwrap();
        check_whole(&hub, 3);
    });
}

/// The upkeep goes through the idle ones while a task takes and returns one: it may have to look
/// under the lock, but neither waits nor finds nothing.
#[test]
fn a_sweep_hides_nothing_from_who_asks_meanwhile() {
    model(|| {
        let hub = hub(2);
        let other = Arc::clone(&hub);
        let sweep = thread::spawn(move || {
            let mut core = other.lock();
            let idle = core.take_idle();
            for slot in idle.into_iter().rev() {
                core.push_idle(slot);
            }
        });
        let slot = acquire(&hub).expect("there is always one for the only one who asks");
        take(&hub, slot);
        give_back(&hub, slot);
        sweep.join().unwrap();
        check_whole(&hub, 2);
    });
}

/// A close and a return at once: the connection is either handed to the closer or refused as one
/// too many, never left idle in a closed pool.
#[test]
fn a_close_catches_what_comes_back_meanwhile() {
    model(|| {
        let hub = hub(1);
        let slot = acquire(&hub).unwrap();
        let other = Arc::clone(&hub);
        let returns = thread::spawn(move || match other.slots.push(slot) {
            Ok(()) => false,
            Err(_) => other.lock().put(slot, now()).0 == Put::Surplus,
        });
        let (idle, woken) = hub.lock().close();
        woken.wake();
        let refused = returns.join().unwrap();
        assert_ne!(refused, idle == [slot], "closed by exactly one of the two");
        assert_eq!(hub.slots.idle(), 0);
    });
}
