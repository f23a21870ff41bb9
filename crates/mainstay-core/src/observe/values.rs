//! Values as the doctor sees them: hashes of what a statement was bound with and of the keys that it
//! returned, so that a value can be followed from one statement to the next without being kept.
//!
//! Gathered only where a subscriber asks for it. A value itself never gets here to stay: hashes are
//! seeded anew in every process.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use foldhash::fast::{FoldHasher, RandomState};

/// Bound values of one statement that are hashed; later ones are left out.
pub const BINDS_MAX: usize = 16;
/// Returned values of one statement that are hashed, all of its columns together.
pub const RETURNED_MAX: usize = 1024;
/// A longer text is no key.
const TEXT_MAX: usize = 64;
/// Buffers that a thread keeps for its next statements.
const BUFFERS_MAX: usize = 16;

static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// The hash of a value in its normal form: an integer is the same in every width and as a text, a UUID
/// is the same as 16 bytes and as its usual text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueHash(u64);

impl ValueHash {
    /// Of NULL, and of what is too long to be a key: equal to nothing.
    pub const NULL: Self = Self(0);
    /// Of an array: many values bound as one.
    pub const MANY: Self = Self(u64::MAX);

    fn of(kind: u8, hash: impl FnOnce(&mut FoldHasher<'_>)) -> Self {
        let mut hasher = SEED.build_hasher();
        hasher.write_u8(kind);
        hash(&mut hasher);
        Self::within(hasher.finish())
    }

    /// Neither of the two that mean something else.
    fn within(hash: u64) -> Self {
        Self(hash.clamp(1, u64::MAX - 1))
    }

    /// Of an integer.
    #[inline]
    pub fn int(value: i64) -> Self {
        Self::of(1, |h| h.write_i64(value))
    }

    /// Of an integer that may be above 2^63.
    #[inline]
    pub fn uint(value: u64) -> Self {
        i64::try_from(value).map_or_else(|_| Self::of(2, |h| h.write_u64(value)), Self::int)
    }

    /// Of a number with a fraction; without one it is an integer.
    pub fn float(value: f64) -> Self {
        #[expect(clippy::float_cmp, reason = "exactly the numbers that are integers")]
        if value.trunc() == value && value.abs() < 9e15 {
            return Self::int(value as i64);
        }
        Self::of(3, |h| h.write_u64(value.to_bits()))
    }

    /// Of a text.
    #[inline]
    pub fn text(value: &str) -> Self {
        let bytes = value.as_bytes();
        match bytes {
            [b'-' | b'0'..=b'9', ..] if bytes.len() <= 20 => {
                if let Some(int) = canonical(value) {
                    return Self::int(int);
                }
            }
            _ if bytes.len() == 36 => {
                if let Some(id) = uuid(bytes) {
                    return Self::bytes(&id);
                }
            }
            _ if bytes.len() > TEXT_MAX => return Self::NULL,
            _ => {}
        }
        Self::bytes(bytes)
    }

    /// Of bytes, a UUID's among them.
    #[inline]
    pub fn bytes(value: &[u8]) -> Self {
        if value.len() > TEXT_MAX {
            return Self::NULL;
        }
        Self::of(4, |h| h.write(value))
    }

    /// Of anything else that equals only its like: a date, a flag.
    pub fn other(value: &impl Hash) -> Self {
        Self::of(5, |h| value.hash(h))
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Of what [`get`](Self::get) gave, another one for the same value, which can be compared only with
    /// those of the same `salt`.
    pub fn resalted(hash: u64, salt: u64) -> u64 {
        let mut hasher = SEED.build_hasher();
        hasher.write_u64(salt);
        hasher.write_u64(hash);
        hasher.finish()
    }
}

/// An integer as it is usually written: `007` and `+7` are texts.
fn canonical(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let leads = digits.len() > 1 && digits[0] == b'0';
    let zero = digits == b"0" && text.len() > 1;
    (!leads && !zero).then(|| text.parse().ok()).flatten()
}

fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut out = [0; 16];
    let mut at = 0;
    for (n, byte) in out.iter_mut().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            (text.get(at) == Some(&b'-')).then_some(())?;
            at += 1;
        }
        let digit = |c: u8| (c as char).to_digit(16);
        *byte = (digit(*text.get(at)?)? * 16 + digit(*text.get(at + 1)?)?) as u8;
        at += 2;
    }
    Some(out)
}

/// The columns that look like keys of what a text returns. One for all its statements.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyColumns(pub Box<[Box<str>]>);

/// What was bound and what keys were returned, by hash.
#[derive(Debug, Default)]
pub struct Values {
    bound: bool,
    binds: Vec<ValueHash>,
    columns: Option<Arc<KeyColumns>>,
    returned: Vec<ValueHash>,
}

thread_local! {
    // The box is what is kept: it goes with the statement.
    #[expect(clippy::vec_box, reason = "a statement takes the box and gives it back")]
    static BUFFERS: RefCell<Vec<Box<Values>>> = const { RefCell::new(Vec::new()) };
}

impl Values {
    /// An empty one: one that was given back on this thread, if there is one.
    pub fn take() -> Box<Self> {
        BUFFERS.try_with(|all| all.borrow_mut().pop()).ok().flatten().unwrap_or_default()
    }

    /// Keeps it for this thread's next statement.
    pub fn give_back(mut self: Box<Self>) {
        self.bound = false;
        self.binds.clear();
        self.returned.clear();
        self.columns = None;
        let _ = BUFFERS.try_with(|all| {
            let mut all = all.borrow_mut();
            if all.len() < BUFFERS_MAX {
                all.push(self);
            }
        });
    }

    /// What the statement is bound with; beyond [`BINDS_MAX`] nothing is hashed.
    pub fn bind(&mut self, values: impl Iterator<Item = ValueHash>) {
        self.bound = true;
        self.binds.extend(values.take(BINDS_MAX));
    }

    /// Its rows have these columns.
    pub fn set_columns(&mut self, columns: Arc<KeyColumns>) {
        self.columns = Some(columns);
    }

    /// How many values a row adds; 0 once there is no room for one more.
    #[inline]
    pub fn room(&self) -> usize {
        let width = self.columns.as_ref().map_or(0, |c| c.0.len());
        if self.returned.len() + width <= RETURNED_MAX { width } else { 0 }
    }

    /// One more value of a row, in the order of the columns.
    #[inline]
    pub fn returns(&mut self, value: ValueHash) {
        self.returned.push(value);
    }

    /// What was bound; `None` where it is not known, as through sqlx's own functions.
    pub fn binds(&self) -> Option<&[ValueHash]> {
        self.bound.then_some(&self.binds)
    }

    /// The columns that look like keys.
    pub fn columns(&self) -> Option<&Arc<KeyColumns>> {
        self.columns.as_ref()
    }

    /// Their values, row by row; of the first rows alone where there were many.
    pub fn returned(&self) -> &[ValueHash] {
        &self.returned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_same_however_it_is_written() {
        assert_eq!(ValueHash::int(7), ValueHash::text("7"));
        assert_eq!(ValueHash::int(-7), ValueHash::text("-7"));
        assert_eq!(ValueHash::int(7), ValueHash::uint(7));
        assert_eq!(ValueHash::int(7), ValueHash::float(7.0));
        for text in ["07", "+7", "7.5", "-0", ""] {
            assert_ne!(ValueHash::text(text), ValueHash::int(7), "{text}");
        }
        assert_ne!(ValueHash::text("-0"), ValueHash::int(0));
        assert_ne!(ValueHash::text("a"), ValueHash::text("b"));
        let id = "018f3a5c-0000-7000-8000-0123456789ab";
        assert_eq!(ValueHash::text(id), ValueHash::text(&id.to_uppercase()));
        assert_ne!(ValueHash::text(id), ValueHash::text(&id.replace('8', "9")));
        assert_eq!(ValueHash::text(&"x".repeat(65)), ValueHash::NULL);
        let salted = |value: ValueHash, salt| ValueHash::resalted(value.get(), salt);
        assert_eq!(salted(ValueHash::int(1), 3), salted(ValueHash::text("1"), 3));
        assert_ne!(salted(ValueHash::int(1), 3), salted(ValueHash::int(1), 4));
    }

    #[test]
    fn a_buffer_is_used_again_and_holds_no_more_than_its_bound() {
        let mut values = Values::take();
        values.set_columns(Arc::new(KeyColumns(Box::new(["id".into(), "owner_id".into()]))));
        values.bind((0..100).map(ValueHash::int));
        let mut n = 0;
        while values.room() > 0 {
            values.returns(ValueHash::int(n));
            values.returns(ValueHash::int(n));
            n += 1;
        }
        assert_eq!((values.binds().unwrap().len(), values.returned().len()), (16, 1024));
        values.give_back();
        let again = Values::take();
        assert!(again.binds().is_none() && again.returned().is_empty());
        assert!(again.columns().is_none() && again.returned.capacity() >= 1024);
    }
}
