//! The stack of idle slots, without its models.

use crate::slots::{Gated, Popped, SLOTS_MAX, Slots};

#[test]
fn last_in_is_first_out_and_counted() {
    let slots = Slots::<()>::new();
    assert_eq!(slots.pop(), Popped::Empty);
    for slot in [0, 7, 8, 100, SLOTS_MAX - 1] {
        slots.push(slot).unwrap();
    }
    assert_eq!(slots.idle(), 5);
    for slot in [SLOTS_MAX - 1, 100, 8, 7, 0] {
        assert_eq!(slots.pop(), Popped::Slot(slot));
    }
    assert_eq!((slots.pop(), slots.idle()), (Popped::Empty, 0));
}

#[test]
fn each_number_has_a_place_of_its_own() {
    let slots = Slots::<u32>::new();
    for slot in 0..SLOTS_MAX {
        *slots.lock(slot) = slot;
    }
    assert!((0..SLOTS_MAX).all(|slot| *slots.lock(slot) == slot));
}

#[test]
fn a_shut_gate_stops_all_but_its_owner() {
    let slots = Slots::<()>::new();
    slots.push(1).unwrap();
    slots.set_gate(true);
    assert_eq!((slots.push(2), slots.pop()), (Err(Gated), Popped::Gated));
    slots.push_gated(2);
    assert_eq!(slots.pop_gated(), Some(2));
    slots.set_gate(false);
    assert_eq!(slots.pop(), Popped::Slot(1));
}

/// Four threads take and give back: nothing is had twice, nothing is lost.
#[test]
fn under_contention_nothing_is_lost_or_had_twice() {
    let slots = Slots::<bool>::new();
    (0..3).for_each(|slot| slots.push(slot).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50_000 {
                    let Popped::Slot(slot) = slots.pop() else { continue };
                    assert!(!std::mem::replace(&mut *slots.lock(slot), true), "had twice");
                    *slots.lock(slot) = false;
                    slots.push(slot).unwrap();
                }
            });
        }
    });
    assert_eq!(slots.idle(), 3);
    let mut all: Vec<_> = std::iter::from_fn(|| slots.pop_gated()).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
}
