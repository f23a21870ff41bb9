//! Names of keys and tags, within bounds. It knows no store.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use mainstay_core::{Code, Error, Result};
use sha2::{Digest, Sha256};

/// The longest that is kept as it is, in bytes.
const NAME_MAX: usize = 200;
/// The most tags that an entry may have.
pub(crate) const TAGS_MAX: usize = 16;

/// A name as stores keep it: a long one ends in its SHA-256.
pub(crate) fn normal(name: &str) -> Cow<'_, str> {
    if name.len() <= NAME_MAX {
        return Cow::Borrowed(name);
    }
    let mut out = name[..name.floor_char_boundary(100)].to_owned();
    out.push('~');
    for byte in Sha256::digest(name.as_bytes()) {
        let _ = write!(out, "{byte:02x}");
    }
    Cow::Owned(out)
}

/// The tags of an entry: sorted, each once. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Option<Arc<[Arc<str>]>>);

impl Tags {
    /// Errors: CACHE-004 where they are more than 16.
    pub(crate) fn of(tags: &[&str]) -> Result<Self> {
        if tags.len() > TAGS_MAX {
            let what = format!("an entry has {} tags, and may have {TAGS_MAX}", tags.len());
            return Err(Error::new(Code::CacheOption, what).fix("give it fewer tags"));
        }
        let mut all: Vec<Arc<str>> = tags.iter().map(|tag| Arc::from(&*normal(tag))).collect();
        all.sort();
        all.dedup();
        Ok(Self((!all.is_empty()).then(|| all.into())))
    }

    /// Of names that are sorted already.
    pub(crate) fn sorted(all: Vec<Arc<str>>) -> Self {
        Self((!all.is_empty()).then(|| all.into()))
    }

    pub(crate) fn as_slice(&self) -> &[Arc<str>] {
        self.0.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_apart_and_within_the_bound() {
        let (one, other) = ("ä".repeat(500) + "1", "ä".repeat(500) + "2");
        assert!(normal(&one).len() <= NAME_MAX);
        assert_ne!(normal(&one), normal(&other));
        assert_eq!(normal("short"), "short");
    }

    #[test]
    fn tags_are_few_sorted_and_each_once() {
        let tags = Tags::of(&["b", "a", "b"]).unwrap();
        assert_eq!(tags.as_slice().iter().map(|t| &**t).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Tags::of(&["x"; 17]).unwrap_err().code(), Code::CacheOption);
    }
}
