//! The queue of those who wait: first come, first served, and whoever gives up leaves its place at
//! once. A slab of linked nodes, so that nothing is allocated in steady state and each operation
//! is O(1).
//!
//! It wakes nobody: it returns wakers, to be woken when the lock around it has been let go.

use std::task::{Context, Poll, Waker};

use mainstay_core::clock::Tick;
use mainstay_core::scope::Priority;

/// A place in the queue. It must be given back through [`Waiters::poll`] or [`Waiters::leave`].
pub(crate) type Key = usize;

/// Since when somebody asks, and how much it matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) asked: Tick,
    pub(crate) priority: Priority,
}

#[derive(Debug)]
pub(crate) struct Waiters<T> {
    nodes: Vec<Node<T>>,
    free: Vec<Key>,
    head: Option<Key>,
    tail: Option<Key>,
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    prev: Option<Key>,
    next: Option<Key>,
    ticket: Ticket,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Free,
    /// In the queue.
    Waiting(Option<Waker>),
    /// Out of the queue, with what the owner has yet to collect.
    Given(T),
}

impl<T> Waiters<T> {
    pub(crate) const fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), head: None, tail: None, len: 0 }
    }

    /// How many wait and have been given nothing yet.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The first in the queue.
    pub(crate) fn first(&self) -> Option<&Ticket> {
        self.head.map(|key| &self.nodes[key].ticket)
    }

    /// Joins at the end, or at the front for one whose turn it had been already. `waker` is told
    /// when something was given.
    pub(crate) fn join(&mut self, ticket: Ticket, front: bool, waker: Option<Waker>) -> Key {
        let node = Node { prev: None, next: None, ticket, state: State::Waiting(waker) };
        let key = match self.free.pop() {
            Some(key) => {
                self.nodes[key] = node;
                key
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        let (end, other) =
            if front { (&mut self.head, &mut self.tail) } else { (&mut self.tail, &mut self.head) };
        match end.replace(key) {
            None => *other = Some(key),
            Some(near) if front => {
                self.nodes[near].prev = Some(key);
                self.nodes[key].next = Some(near);
            }
            Some(near) => {
                self.nodes[near].next = Some(key);
                self.nodes[key].prev = Some(near);
            }
        }
        self.len += 1;
        key
    }

    /// Gives `item` to the first in the queue; gives it back if nobody waits.
    pub(crate) fn give(&mut self, item: T) -> Result<Option<Waker>, T> {
        let Some(key) = self.head else { return Err(item) };
        self.unlink(key);
        match std::mem::replace(&mut self.nodes[key].state, State::Given(item)) {
            State::Waiting(waker) => Ok(waker),
            State::Free | State::Given(_) => unreachable!("only waiting nodes are linked"),
        }
    }

    /// Collects what was given to `key`, which ends the key, or leaves a waker to be told.
    pub(crate) fn poll(&mut self, key: Key, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.nodes[key].state {
            State::Waiting(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            state => match std::mem::replace(state, State::Free) {
                State::Given(item) => {
                    self.free.push(key);
                    Poll::Ready(item)
                }
                State::Free | State::Waiting(_) => {
                    unreachable!("a key is used until it is given back")
                }
            },
        }
    }

    /// Gives up the place; returns what had been given to it in the meantime.
    pub(crate) fn leave(&mut self, key: Key) -> Option<T> {
        if matches!(self.nodes[key].state, State::Waiting(_)) {
            self.unlink(key);
        }
        self.free.push(key);
        match std::mem::replace(&mut self.nodes[key].state, State::Free) {
            State::Given(item) => Some(item),
            State::Free | State::Waiting(_) => None,
        }
    }

    fn unlink(&mut self, key: Key) {
        let (prev, next) = (self.nodes[key].prev.take(), self.nodes[key].next.take());
        match prev {
            Some(prev) => self.nodes[prev].next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => self.nodes[next].prev = prev,
            None => self.tail = prev,
        }
        self.len -= 1;
    }
}
