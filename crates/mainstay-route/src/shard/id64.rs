//! Ids of 64 bits that carry their logical shard, for tables whose keys are BIGINT.
//!
//! ```text
//!  1 bit   0
//! 41 bits  ms since 2024: up to 2093
//! 13 bits  the logical shard, or a slot
//!  9 bits  counts within a ms, from a random start
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};

use super::key::LOGICAL;

const COUNTER_BITS: u32 = 9;
const LOGICAL_BITS: u32 = 13;
/// 2024-01-01, in ms since 1970.
const BEGIN_MS: u64 = 1_704_067_200_000;

/// Makes ids, each after all before it of the same logical shard, even where the clock goes back.
#[derive(Debug, Default)]
pub(crate) struct Ids64 {
    /// The ms and the counter of the last one.
    last: AtomicU64,
}

impl Ids64 {
    pub(crate) fn make(&self, logical: u16, clock: &Clock, rng: &Rng) -> i64 {
        let wall = clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let ms = (wall.as_millis() as u64).saturating_sub(BEGIN_MS).max(1);
        // The upper half is left for counting; a counter that runs over goes on in the next ms, before its time.
        let fresh = (ms << COUNTER_BITS) | rng.u64(0..1 << (COUNTER_BITS - 1));
        let next = |last: u64| {
            let same = fresh >> COUNTER_BITS <= last >> COUNTER_BITS;
            if same { last + 1 } else { fresh }
        };
        let last =
            self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        let stamp = next(last.unwrap_or_default());
        let (ms, count) = (stamp >> COUNTER_BITS, stamp & ((1 << COUNTER_BITS) - 1));
        let logical = u64::from(logical & (2 * LOGICAL - 1)) << COUNTER_BITS;
        ((ms << (LOGICAL_BITS + COUNTER_BITS)) | logical | count).cast_signed() & i64::MAX
    }
}

/// The logical shard that `id` carries. Errors: ROUTE-029 below 4,194,304, where no id of ours is.
pub(crate) fn logical_of(id: i64) -> Result<u16> {
    if id < 1 << (LOGICAL_BITS + COUNTER_BITS) {
        let what = "the id is below 4,194,304: it carries no shard";
        return Err(Error::new(Code::ShardId, what));
    }
    Ok((id >> COUNTER_BITS) as u16 & (2 * LOGICAL - 1))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_id_gives_its_logical_shard_back_and_rises() {
        let (clock, hand) = Clock::manual();
        hand.advance(Duration::from_secs(1_900_000_000));
        let (ids, rng) = (Ids64::default(), Rng::seeded(3));
        let mut last = 0;
        for n in 0..5_000_u32 {
            if n % 700 == 0 {
                hand.advance(Duration::from_millis(1));
            }
            let id = ids.make(4097, &clock, &rng);
            assert!(id > last, "{id} comes after {last}");
            assert_eq!(logical_of(id).unwrap(), 4097);
            last = id;
        }
        for logical in [0, 1, 4095, 4096, 8191] {
            assert_eq!(logical_of(ids.make(logical, &clock, &rng)).unwrap(), logical);
        }
        for id in [i64::MIN, -1, 0, 1, 100_000, 4_194_303] {
            assert_eq!(logical_of(id).unwrap_err().code(), Code::ShardId);
        }
    }

    #[test]
    fn before_2024_and_at_the_end_of_the_years_it_is_positive() {
        let (ids, rng) = (Ids64::default(), Rng::seeded(3));
        let (clock, hand) = Clock::manual();
        assert_eq!(logical_of(ids.make(7, &clock, &rng)).unwrap(), 7);
        hand.advance(Duration::from_secs(3_900_000_000));
        let id = ids.make(8191, &clock, &rng);
        assert!(id > 0 && logical_of(id).unwrap() == 8191);
    }
}
