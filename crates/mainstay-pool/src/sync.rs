//! The primitives that the core stands on, in one place: its models are the same files over loom's.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};
