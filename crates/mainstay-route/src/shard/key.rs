//! Keys: what decides on which shard a row is. A key has one text, the same here and in SQL, and no engine's form.

use std::fmt;

use uuid::Uuid;

/// Logical shards that keys are hashed to. It never changes: what changes is where each of them is.
pub const LOGICAL: u16 = 4096;

/// Between the parts of a pair: no sensible key holds it.
pub(crate) const SEPARATOR: u8 = 0x1f;
/// Two UUIDs or a UUID and a number fit in with it.
const SHORT_BYTES: usize = 80;

/// A key with its text: a number in decimal, a text as it is, a UUID in small letters with hyphens, and a pair
/// as its two texts with the character 31 between.
///
/// Its logical shard is the upper 12 bits of the text's CRC-32, which SQL can compute too. MySQL and MariaDB:
/// `CRC32(id) >> 20`, of a pair `CRC32(CONCAT(a, CHAR(31), b)) >> 20`. On PostgreSQL create
/// [`POSTGRES_LOGICAL`], a function `mainstay_logical(text)`.
///
/// It shows nothing of itself: it is a value of the user's world.
#[derive(Clone)]
pub struct Key<'a> {
    text: Text<'a>,
    /// Of the first part, where it is a number.
    number: Option<i128>,
    /// The length of the first part.
    head: usize,
}

#[derive(Clone)]
enum Text<'a> {
    Lent(&'a [u8]),
    Short([u8; SHORT_BYTES], u8),
    Long(Vec<u8>),
}

/// What can be a key: the integers, texts, UUIDs, and pairs of them; an `Option` of one, and an empty text, is
/// refused where it is none (ROUTE-020), as where a request names no tenant. Of a pair, the first part decides where
/// values have places (a country, a tenant, a range), and the whole is what is hashed.
pub trait ToKey {
    /// As a key; without allocation, save for a pair of long texts.
    fn to_key(&self) -> Key<'_>;
}

impl<'a> Key<'a> {
    fn lent(text: &'a str) -> Self {
        Self { text: Text::Lent(text.as_bytes()), number: None, head: text.len() }
    }

    fn short(bytes: &[u8], number: Option<i128>) -> Self {
        let mut own = [0; SHORT_BYTES];
        own[..bytes.len()].copy_from_slice(bytes);
        Self { text: Text::Short(own, bytes.len() as u8), number, head: bytes.len() }
    }

    fn integer(n: i128) -> Self {
        // The longest is -9223372036854775808.
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = n.unsigned_abs() as u64;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if n < 0 {
            at -= 1;
            digits[at] = b'-';
        }
        Self::short(&digits[at..], Some(n))
    }

    /// As a database gave it: the whole text, how long the first part of it is, and that part as a number.
    pub(crate) fn read(whole: &'a str, head: usize, number: Option<i128>) -> Self {
        Self { text: Text::Lent(whole.as_bytes()), number, head: head.min(whole.len()) }
    }

    /// Its text.
    pub fn bytes(&self) -> &[u8] {
        match &self.text {
            Text::Lent(text) => text,
            Text::Short(bytes, len) => &bytes[..usize::from(*len)],
            Text::Long(bytes) => bytes,
        }
    }

    /// The logical shard that it is hashed to: 0 to 4,095.
    ///
    /// ```
    /// use mainstay_route::shard::ToKey;
    ///
    /// // SELECT CRC32('42') >> 20
    /// assert_eq!(42_i64.to_key().logical(), 802);
    /// ```
    pub fn logical(&self) -> u16 {
        (crc32fast::hash(self.bytes()) >> 20) as u16
    }

    /// The text of the first part.
    pub(crate) fn head(&self) -> &[u8] {
        &self.bytes()[..self.head]
    }

    pub(crate) fn is_pair(&self) -> bool {
        self.head < self.bytes().len()
    }

    pub(crate) fn number(&self) -> Option<i128> {
        self.number
    }

    /// As maps write it.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

impl fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("bytes", &self.bytes().len()).finish_non_exhaustive()
    }
}

macro_rules! integers {
    ($($of:ty),*) => {
        $(impl ToKey for $of {
            fn to_key(&self) -> Key<'_> {
                Key::integer(i128::from(*self))
            }
        })*
    };
}
integers!(i16, i32, i64, u16, u32, u64);

impl ToKey for str {
    fn to_key(&self) -> Key<'_> {
        Key::lent(self)
    }
}

impl ToKey for String {
    fn to_key(&self) -> Key<'_> {
        Key::lent(self)
    }
}

impl ToKey for Uuid {
    fn to_key(&self) -> Key<'_> {
        let mut text = [0; 36];
        self.hyphenated().encode_lower(&mut text);
        Key::short(&text, None)
    }
}

impl ToKey for Key<'_> {
    fn to_key(&self) -> Key<'_> {
        Key { text: Text::Lent(self.bytes()), number: self.number, head: self.head }
    }
}

/// None is no key: ROUTE-020 where one is asked for.
impl<T: ToKey> ToKey for Option<T> {
    fn to_key(&self) -> Key<'_> {
        self.as_ref().map_or(Key::lent(""), ToKey::to_key)
    }
}

impl<T: ToKey + ?Sized> ToKey for &T {
    fn to_key(&self) -> Key<'_> {
        (**self).to_key()
    }
}

impl<A: ToKey, B: ToKey> ToKey for (A, B) {
    fn to_key(&self) -> Key<'_> {
        let (a, b) = (self.0.to_key(), self.1.to_key());
        let (head, tail) = (a.bytes(), b.bytes());
        let whole = head.len() + 1 + tail.len();
        let text = if whole <= SHORT_BYTES {
            let mut own = [0; SHORT_BYTES];
            own[..head.len()].copy_from_slice(head);
            own[head.len()] = SEPARATOR;
            own[head.len() + 1..whole].copy_from_slice(tail);
            Text::Short(own, whole as u8)
        } else {
            Text::Long([head, &[SEPARATOR], tail].concat())
        };
        Key { text, number: a.number, head: head.len() }
    }
}

/// The SQL that gives PostgreSQL a function `mainstay_logical(text)`, for the logical shard of a key's text:
/// `SELECT mainstay_logical(id::text)`. Text is taken as UTF-8. It is some 50 us a key: for moves and checks,
/// not for the queries of a service.
pub const POSTGRES_LOGICAL: &str = "\
CREATE OR REPLACE FUNCTION mainstay_logical(key text) RETURNS integer
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $mainstay$
DECLARE
    bytes bytea := convert_to(key, 'UTF8');
    crc bigint := 4294967295;
BEGIN
    FOR i IN 0 .. length(bytes) - 1 LOOP
        crc := crc # get_byte(bytes, i);
        FOR b IN 1 .. 8 LOOP
            crc := (crc >> 1) # (3988292384 * (crc & 1));
        END LOOP;
    END LOOP;
    RETURN (crc # 4294967295) >> 20;
END
$mainstay$";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_decimal_text() {
        for n in [0, 7, -1, 42, 1_000_000, i64::MAX, i64::MIN] {
            assert_eq!(n.to_key().text(), n.to_string());
            assert_eq!(n.to_key().number(), Some(i128::from(n)));
        }
        assert_eq!(u64::MAX.to_key().text(), u64::MAX.to_string());
    }

    #[test]
    fn a_pair_is_both_and_its_first_part_is_known() {
        let pair = ("DE", 42_i64);
        let key = pair.to_key();
        assert_eq!(key.bytes(), b"DE\x1f42");
        assert_eq!((key.head(), key.is_pair(), key.number()), (&b"DE"[..], true, None));
        let long = ("x".repeat(100), "y");
        assert_eq!(long.to_key().bytes().len(), 102);
        assert_eq!((7_i64, "a").to_key().number(), Some(7));
    }

    #[test]
    fn a_uuid_is_its_hyphenated_text_and_nothing_is_shown() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id.to_key().text(), id.to_string());
        assert!(!format!("{:?}", "secret@example.org".to_key()).contains("secret"));
    }
}
