//! A value of a trace: what it equals, and how likely it equals something by chance.

use mainstay_core::observe::ValueHash;
use serde_json::Value as Json;

/// How much it says that a value is found twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Weight {
    /// Little: a small number or a short text.
    Light,
    /// Nobody knows: it came as a hash.
    Hashed,
    /// Much: a UUID, a large number, a long text.
    Heavy,
}

/// A bound or returned value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// NULL, or what is no key.
    Null,
    /// Many values in one, as an array.
    Many,
    /// A value, by its hash.
    One(u64, Weight),
}

/// Above it, two equal integers are no accident.
const HEAVY_INT: u64 = 100_000;
/// Of a text this long as well.
const HEAVY_TEXT: usize = 8;
/// Integers beyond it are hashes, or keys that look like them.
const EXACT_INT: u64 = 1 << 53;

impl Bind {
    /// As it was hashed in this process.
    pub(crate) fn hashed(hash: ValueHash) -> Self {
        match hash {
            ValueHash::NULL => Bind::Null,
            ValueHash::MANY => Bind::Many,
            hash => Bind::One(hash.get(), Weight::Hashed),
        }
    }

    /// As a trace has it.
    pub(crate) fn json(value: &Json) -> Self {
        match value {
            Json::Null | Json::Bool(_) => Bind::Null,
            Json::Array(_) | Json::Object(_) => Bind::Many,
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(int), _) => Self::int(int),
                (_, Some(int)) => Bind::One(ValueHash::uint(int).get(), Weight::Hashed),
                _ => {
                    let float = n.as_f64().unwrap_or_default();
                    Bind::One(ValueHash::float(float).get(), Weight::Light)
                }
            },
            Json::String(text) => Self::text(text),
        }
    }

    fn int(int: i64) -> Self {
        let weight = match int.unsigned_abs() {
            n if n >= EXACT_INT => Weight::Hashed,
            n if n >= HEAVY_INT => Weight::Heavy,
            _ => Weight::Light,
        };
        Bind::One(ValueHash::int(int).get(), weight)
    }

    fn text(text: &str) -> Self {
        let hash = match ValueHash::text(text) {
            ValueHash::NULL => ValueHash::other(&text),
            hash => hash,
        };
        if hash != ValueHash::bytes(text.as_bytes()) && text.len() <= 20 {
            // It is a number, written as a text.
            return text.parse().map_or(Bind::One(hash.get(), Weight::Light), Self::int);
        }
        let weight = match text {
            _ if looks_hashed(text) => Weight::Hashed,
            _ if text.len() >= HEAVY_TEXT => Weight::Heavy,
            _ => Weight::Light,
        };
        Bind::One(hash.get(), weight)
    }

    /// As it stands in a text of SQL.
    pub(crate) fn literal(text: &str) -> Self {
        let inner = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        match inner.strip_prefix('\'') {
            Some(rest) => Self::text(&rest.strip_suffix('\'').unwrap_or(rest).replace("''", "'")),
            None => match text.parse::<f64>() {
                Ok(_) if text.parse::<i64>().is_ok() => Self::int(text.parse().unwrap_or_default()),
                Ok(float) => Bind::One(ValueHash::float(float).get(), Weight::Light),
                Err(_) => Self::text(text),
            },
        }
    }

    /// The hash, of one value.
    pub fn hash(self) -> Option<u64> {
        match self {
            Bind::One(hash, _) => Some(hash),
            _ => None,
        }
    }

    pub(crate) fn weight(self) -> Option<Weight> {
        match self {
            Bind::One(_, weight) => Some(weight),
            _ => None,
        }
    }
}

/// Digits of a hash, maybe behind the name of how they were made.
fn looks_hashed(text: &str) -> bool {
    let digits = text.rsplit([':', '#', '$']).next().unwrap_or(text);
    let named = digits.len() < text.len();
    let hex = digits.bytes().all(|c| c.is_ascii_hexdigit());
    hex && digits.len() >= if named { 4 } else { 8 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_equal_however_they_are_written() {
        let of = |value| Bind::json(&value);
        assert_eq!(of(json!(7)).hash(), of(json!("7")).hash());
        assert_eq!(of(json!(7)).hash(), of(json!(7.0)).hash());
        assert_eq!(of(json!(7)), Bind::literal("7"));
        assert_eq!(of(json!("it's")), Bind::literal("'it''s'"));
        assert_eq!(of(json!(7)).hash(), Bind::literal("'7'").hash());
        assert_ne!(of(json!(7)).hash(), of(json!(8)).hash());
        assert_eq!(of(json!([1, 2])), Bind::Many);
        assert_eq!(of(json!(null)), Bind::Null);
        let long = "0123456789abcdef".repeat(8);
        assert_eq!(of(json!(long)).hash(), of(json!(long)).hash());
        assert!(of(json!(long)).hash().is_some());
    }

    #[test]
    fn what_can_be_equal_by_chance_is_light() {
        let weight = |value| Bind::json(&value).weight();
        assert_eq!(weight(json!(12)), Some(Weight::Light));
        assert_eq!(weight(json!("12")), Some(Weight::Light));
        assert_eq!(weight(json!("de")), Some(Weight::Light));
        assert_eq!(weight(json!(4_000_123)), Some(Weight::Heavy));
        assert_eq!(weight(json!("ada@example.com")), Some(Weight::Heavy));
        let id = "018f3a5c-0000-7000-8000-0123456789ab";
        assert_eq!(weight(json!(id)), Some(Weight::Heavy));
        for hash in ["9f86d081884c7d65", "h:9f86d081", "sha256:9f86d081884c7d65"] {
            assert_eq!(weight(json!(hash)), Some(Weight::Hashed), "{hash}");
        }
        assert_eq!(weight(json!(9_223_372_036_854_775_807_i64)), Some(Weight::Hashed));
    }
}
