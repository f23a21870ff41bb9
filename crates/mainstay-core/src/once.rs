//! What a person is told once, however often it happens.

use std::sync::{Mutex, PoisonError};

use crate::error::Place;

/// Pairs of places that are remembered; beyond, all are told anew.
const PAIRS_MAX: usize = 256;

/// Pairs of places in the program, such as where a connection is held and where a second one is asked
/// for: the mistake is the same each time, and a log needs it once. Subscribers are told each time.
#[derive(Debug, Default)]
pub struct Pairs(Mutex<Vec<(Place, Place)>>);

impl Pairs {
    /// Whether `pair` comes for the first time. Linear in the pairs known, 256 at most.
    pub fn is_new(&self, pair: (Place, Place)) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(&pair) {
            return false;
        }
        if told.len() >= PAIRS_MAX {
            told.clear();
        }
        told.push(pair);
        true
    }
}
