//! The queue against a plain one.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use mainstay_core::scope::Priority;
use proptest::prelude::*;

use crate::waiters::{Key, Ticket, Waiters};

#[derive(Clone, Debug)]
enum Op {
    Join(bool),
    Give,
    Collect(usize),
    Leave(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any::<bool>().prop_map(Op::Join),
        2 => Just(Op::Give),
        2 => any::<usize>().prop_map(Op::Collect),
        1 => any::<usize>().prop_map(Op::Leave),
    ]
}

proptest! {
    /// Against a plain queue: the same order, nothing lost, nothing given twice.
    #[test]
    fn behaves_as_a_plain_queue(ops in prop::collection::vec(op(), 0..200)) {
        let mut waiters = Waiters::new();
        let mut model: VecDeque<Key> = VecDeque::new();
        let mut given: Vec<(Key, u32)> = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        let asked = mainstay_core::clock::Clock::system().coarse();
        let ticket = Ticket { asked, priority: Priority::Normal };
        for (n, op) in ops.into_iter().enumerate() {
            match op {
                Op::Join(front) => {
                    let key = waiters.join(ticket, front, None);
                    if front { model.push_front(key) } else { model.push_back(key) }
                }
                Op::Give => match (waiters.give(n as u32), model.pop_front()) {
                    (Ok(_), Some(key)) => given.push((key, n as u32)),
                    (Err(item), None) => prop_assert_eq!(item, n as u32),
                    other => prop_assert!(false, "{:?}", other),
                },
                Op::Collect(i) if !given.is_empty() => {
                    let (key, item) = given.swap_remove(i % given.len());
                    prop_assert_eq!(waiters.poll(key, &mut cx), Poll::Ready(item));
                }
                Op::Leave(i) if !given.is_empty() && i % 2 == 0 => {
                    let (key, item) = given.swap_remove(i % given.len());
                    prop_assert_eq!(waiters.leave(key), Some(item));
                }
                Op::Leave(i) if !model.is_empty() => {
                    let key = model.remove(i % model.len()).unwrap();
                    prop_assert!(waiters.poll(key, &mut cx).is_pending());
                    prop_assert_eq!(waiters.leave(key), None);
                }
                Op::Collect(_) | Op::Leave(_) => {}
            }
            prop_assert_eq!(waiters.len(), model.len());
        }
    }
}
