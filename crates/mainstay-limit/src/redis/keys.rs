//! Under which keys limits are counted. A key depends on its limit and on whose it is alone, so that whoever
//! asks, and together with what else, counts in one place. It asks no server.
//!
//! A cluster runs a script on keys of one slot only. All keys have the prefix in braces and so share one, until
//! the keys given begin with braces of their own: `{tenant1}` and `{tenant1}:alice` share theirs. Braces
//! further on mean nothing: they may be a route's, or what a caller has written.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::Ask;

/// Bytes of a key that is kept as it is.
const LENGTH: usize = 128;

/// The key of what is asked; `letter` tells the rule.
pub(super) fn of(prefix: &str, letter: char, ask: &Ask<'_>) -> String {
    let own = tag(ask.key).map(shortened);
    let name = ask.policy.name().replace('%', "%25").replace(':', "%3A");
    let key = shortened(ask.key);
    match own {
        Some(tag) => format!("{{{tag}}}:{prefix}:{letter}:{name}:{key}"),
        None => format!("{{{prefix}}}:{letter}:{name}:{key}"),
    }
}

/// What is between a `{` at the beginning and the next `}`.
fn tag(key: &str) -> Option<&str> {
    let (tag, _) = key.strip_prefix('{')?.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= LENGTH {
        return text.into();
    }
    let digest = Sha256::digest(text.as_bytes());
    let hex = digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    hex.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    /// CRC16/XMODEM of the tag, or of the whole key, modulo the number of slots.
    fn slot(key: &str) -> u16 {
        let crc = tag(key).unwrap_or(key).bytes().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            })
        });
        crc % 16_384
    }

    fn key(name: &'static str, key: &str) -> String {
        let policy = Policy::per_second(1).named(name);
        of("mainstay", 'g', &Ask { policy: &policy, key, cost: 1 })
    }

    #[test]
    fn the_slot_is_that_of_the_specification() {
        assert_eq!(slot("123456789"), 0x31C3);
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
    }

    #[test]
    fn what_is_decided_together_shares_a_slot() {
        let long = "x".repeat(1000);
        let route = key("route", "route:GET /users/{id}");
        let all = [key("user", "alice"), key("all", ""), key("ip", &long), key("ip", "{}b"), route];
        assert!(all.iter().all(|key| slot(key) == slot("mainstay")), "{all:?}");
        let own =
            [key("user", "{t1}:alice"), key("all", "{t1}"), key("ip", &format!("{{t1}}{long}"))];
        assert!(own.iter().all(|key| slot(key) == slot("t1")), "{own:?}");
        let tag = format!("{{{long}}}");
        assert_eq!(slot(&key("a", &tag)), slot(&key("b", &format!("{tag}:c"))));
    }

    #[test]
    fn a_key_is_its_limits_and_nobody_elses() {
        assert_eq!(key("user", "alice"), "{mainstay}:g:user:alice");
        assert_eq!(key("user", "{t1}a"), "{t1}:mainstay:g:user:{t1}a");
        assert_ne!(key("a:b", "c"), key("a", "b:c"));
        assert!(key("user", &"x".repeat(129)).len() < 100);
        assert_ne!(key("user", &"x".repeat(129)), key("user", &"x".repeat(130)));
    }
}
