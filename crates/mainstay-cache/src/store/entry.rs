//! An entry, and the bytes it is in a store: a version, a checksum, its tags' generations, its body.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use mainstay_core::{Code, Error, Result};

/// Begins every entry: the last is the format's version.
const MAGIC: [u8; 4] = *b"msc\x01";
/// The largest body.
const BODY_MAX: usize = 8 << 20;

/// What is cached under a key: a value, or that there is none.
pub struct Entry {
    present: bool,
    /// The value as JSON; empty where only `object` is kept.
    bytes: Vec<u8>,
    size: usize,
    /// The value itself, once somebody needed it.
    object: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Entry {
    /// Without the value: it may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("present", &self.present)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// That there is nothing.
    pub(crate) fn none() -> Self {
        Self { present: false, bytes: Vec::new(), size: 0, object: OnceLock::new() }
    }

    /// Errors: CACHE-004 where it can't be written as JSON or is too large.
    pub(crate) fn of<V: Serialize + Send + Sync + 'static>(value: &Arc<V>) -> Result<Self> {
        let bytes = serde_json::to_vec(&**value).map_err(|error| {
            Error::new(Code::CacheOption, "a value can't be written as JSON").cause(error)
        })?;
        if bytes.len() > BODY_MAX {
            let what = format!("a value of {} bytes is not cached", bytes.len());
            return Err(Error::new(Code::CacheOption, what)
                .why(format!("an entry has {BODY_MAX} bytes at most"))
                .fix("cache parts of it"));
        }
        let entry = Self::raw(bytes);
        let _ = entry.object.set(Arc::<V>::clone(value));
        Ok(entry)
    }

    fn raw(bytes: Vec<u8>) -> Self {
        Self { present: true, size: bytes.len(), bytes, object: OnceLock::new() }
    }

    /// The value. Errors: CACHE-002 where it is none of `V`'s.
    pub(crate) fn value<V: DeserializeOwned + Send + Sync + 'static>(
        &self,
    ) -> Result<Option<Arc<V>>> {
        if !self.present {
            return Ok(None);
        }
        let object = match self.object.get() {
            Some(object) => object,
            None => {
                let read: V = serde_json::from_slice(&self.bytes).map_err(|error| {
                    // Not its words: they may repeat a part of the value.
                    let place = format!("line {}, column {}", error.line(), error.column());
                    corrupt(format!("its body is not what it should be, at {place}"))
                })?;
                self.object.get_or_init(|| Arc::new(read))
            }
        };
        match Arc::clone(object).downcast::<V>() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(corrupt("another cache of this name holds values of another type")),
        }
    }

    /// Without the bytes, where the value itself is there.
    pub(crate) fn slim(self: Arc<Self>) -> Arc<Self> {
        if self.bytes.is_empty() || self.object.get().is_none() {
            return self;
        }
        let object = self.object.clone();
        Arc::new(Self { present: self.present, bytes: Vec::new(), size: self.size, object })
    }

    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        self.size + self.bytes.len() + 160
    }
}

/// An entry can't be read.
pub(crate) fn corrupt(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Code::CacheEntry, "an entry can't be read").why(why)
}

/// An entry as a store gave it.
pub(crate) struct Stored {
    pub(crate) entry: Entry,
    pub(crate) stale: Duration,
    pub(crate) tags: Vec<(Arc<str>, u64)>,
}

/// The bytes to store. A tag has 255 bytes at most, and an entry as many tags.
pub(crate) fn encode(entry: &Entry, stale: Duration, tags: &[(&str, u64)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.bytes.len() + 32 + tags.len() * 32);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.push(u8::from(entry.present));
    out.extend_from_slice(&(stale.as_millis() as u64).to_le_bytes());
    out.push(tags.len() as u8);
    for (tag, generation) in tags {
        out.push(tag.len() as u8);
        out.extend_from_slice(tag.as_bytes());
        out.extend_from_slice(&generation.to_le_bytes());
    }
    out.extend_from_slice(&entry.bytes);
    let sum = crc32fast::hash(&out[8..]);
    out[4..8].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Errors: CACHE-002.
pub(crate) fn decode(bytes: &[u8]) -> Result<Stored> {
    let rest = bytes.strip_prefix(&MAGIC[..]).ok_or_else(|| corrupt("it is of another format"))?;
    let cut = || corrupt("it is cut off");
    let (sum, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*sum) {
        return Err(corrupt("its checksum is wrong"));
    }
    let (present, rest) = rest.split_first().ok_or_else(cut)?;
    let (stale, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let (count, mut rest) = rest.split_first().ok_or_else(cut)?;
    let mut tags = Vec::with_capacity(usize::from(*count));
    for _ in 0..*count {
        let (length, after) = rest.split_first().ok_or_else(cut)?;
        let (tag, after) = after.split_at_checked(usize::from(*length)).ok_or_else(cut)?;
        let (generation, after) = after.split_first_chunk::<8>().ok_or_else(cut)?;
        let tag = std::str::from_utf8(tag).map_err(|_| corrupt("a tag is not UTF-8"))?;
        tags.push((Arc::from(tag), u64::from_le_bytes(*generation)));
        rest = after;
    }
    let entry = if *present == 0 { Entry::none() } else { Entry::raw(rest.to_vec()) };
    Ok(Stored { entry, stale: Duration::from_millis(u64::from_le_bytes(*stale)), tags })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let entry = Entry::of(&Arc::new("lamp".to_owned())).unwrap();
        let bytes = encode(&entry, Duration::from_secs(3), &[("a", 7), ("b", u64::MAX)]);
        let back = decode(&bytes).unwrap();
        assert_eq!(*back.entry.value::<String>().unwrap().unwrap(), "lamp");
        assert_eq!(back.stale, Duration::from_secs(3));
        assert_eq!(back.tags, [("a".into(), 7), ("b".into(), u64::MAX)]);
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let entry = Entry::of(&Arc::new("lamp".to_owned())).unwrap();
        let bytes = encode(&entry, Duration::ZERO, &[("tag", 1)]);
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 4;
            assert!(decode(&changed).is_err(), "byte {i}");
            assert!(decode(&bytes[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn another_type_is_no_value() {
        let entry = Entry::of(&Arc::new("lamp".to_owned())).unwrap();
        assert_eq!(entry.value::<u32>().unwrap_err().code(), Code::CacheEntry);
        let raw = Entry::raw(b"\"secret\"".to_vec());
        let error = raw.value::<u32>().unwrap_err();
        assert!(!error.report().contains("secret"));
    }
}
