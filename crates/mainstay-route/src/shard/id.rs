//! Ids that carry their logical shard: UUIDs of version 7, so that they are in the order of their time as well.
//!
//! ```text
//! 48 bits  ms since 1970
//!  4 bits  version 7
//! 12 bits  the logical shard, or a slot
//!  2 bits  variant
//!  1 bit   whether it is a slot
//! 21 bits  counts within a ms, from a random start
//! 40 bits  random
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use std::time::SystemTime;
use uuid::{Uuid, Variant};

use super::key::LOGICAL;

const COUNTER_BITS: u32 = 21;
const RANDOM_BITS: u32 = 40;

/// Makes ids, each after all before it of the same logical shard, even where the clock goes back.
#[derive(Debug)]
pub(crate) struct Ids {
    clock: Clock,
    rng: Rng,
    /// The ms and the counter of the last one.
    last: AtomicU64,
}

impl Ids {
    pub(crate) fn new(clock: Clock, rng: Rng) -> Self {
        Self { clock, rng, last: AtomicU64::new(0) }
    }

    pub(crate) fn make(&self, logical: u16) -> Uuid {
        let stamp = self.stamp();
        let (ms, count) = (stamp >> COUNTER_BITS, stamp & ((1 << COUNTER_BITS) - 1));
        let (number, slot) = match logical.checked_sub(LOGICAL) {
            Some(slot) => (slot, 1),
            None => (logical, 0),
        };
        let high = (u128::from(ms) << 16) | (7 << 12) | u128::from(number & 0xfff);
        let random = u128::from(self.rng.u64(0..1 << RANDOM_BITS));
        let low = (0b10 << 62) | (slot << 61) | (u128::from(count) << RANDOM_BITS) | random;
        Uuid::from_u128((high << 64) | low)
    }

    /// A counter that runs over goes on in the next ms, before its time.
    fn stamp(&self) -> u64 {
        let wall = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // The upper half is left for counting.
        let start = self.rng.u64(0..1 << (COUNTER_BITS - 1));
        let fresh = ((wall.as_millis() as u64) << COUNTER_BITS) | start;
        let next = |last: u64| {
            let same = fresh >> COUNTER_BITS <= last >> COUNTER_BITS;
            if same { last + 1 } else { fresh }
        };
        let last =
            self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(last.unwrap_or_default())
    }
}

/// The logical shard that `id` carries; a slot's is 4,096 or more. Errors: ROUTE-029 where it is no UUID of
/// version 7. One that was made elsewhere can't be told from ours.
pub(crate) fn logical_of(id: Uuid) -> Result<u16> {
    if id.get_version_num() != 7 || id.get_variant() != Variant::RFC4122 {
        return Err(Error::new(
            Code::ShardId,
            "the id is no UUID of version 7: it carries no shard",
        ));
    }
    let bits = id.as_u128();
    let number = (bits >> 64) as u16 & 0xfff;
    Ok(if (bits >> 61) & 1 == 1 { LOGICAL + number } else { number })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_id_gives_its_logical_shard_back_and_keeps_the_order_of_time() {
        let (clock, hand) = Clock::manual();
        hand.advance(Duration::from_secs(1_700_000_000));
        let ids = Ids::new(clock, Rng::seeded(3));
        let mut last = Uuid::nil();
        for n in 0..20_000_u32 {
            if n % 7 == 0 {
                hand.advance(Duration::from_millis(1));
            }
            let id = ids.make(4097);
            assert!(id > last, "{id} comes after {last}");
            assert_eq!(logical_of(id).unwrap(), 4097);
            last = id;
        }
        for logical in [0, 1, 4095, 4096, 8191] {
            assert_eq!(logical_of(ids.make(logical)).unwrap(), logical);
        }
        let (secs, nanos) = last.get_timestamp().unwrap().to_unix();
        assert_eq!(Duration::new(secs, nanos).as_secs(), 1_700_000_002);
    }

    #[test]
    fn within_one_ms_none_is_made_twice_and_a_full_counter_goes_on() {
        let (clock, _hand) = Clock::manual();
        let ids = Ids::new(clock, Rng::seeded(3));
        let count = |id: Uuid| id.as_u128() >> RANDOM_BITS;
        let mut last = count(ids.make(5));
        // More than the counter holds.
        for _ in 0..(1 << COUNTER_BITS) + 10 {
            let next = count(ids.make(5));
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn another_id_is_refused() {
        for id in [Uuid::nil(), Uuid::from_u128(0x4000_8000_0000_0000_0000 << 48)] {
            assert_eq!(logical_of(id).unwrap_err().code(), Code::ShardId);
        }
    }
}
