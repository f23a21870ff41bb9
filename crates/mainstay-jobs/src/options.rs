//! What is asked of a single job beyond its type's defaults, and within which bounds.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// Characters of a queue's or a job's name.
pub(crate) const NAME_MAX: usize = 100;
/// Characters of a key.
pub(crate) const KEY_MAX: usize = 190;
/// Bytes of a payload, as JSON: larger things belong in a store of their own, with their address here.
pub(crate) const PAYLOAD_MAX: usize = 1 << 20;
/// Bytes of all headers of a job together.
pub(crate) const HEADERS_MAX: usize = 8 << 10;

/// The part of a job's record that few jobs have, kept as JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deadline_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retention_ms: Option<u64>,
    /// It has a row in `mainstay_unique`, which ends with the job unless it has a time of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unique: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ordering_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch_key: Option<String>,
    /// The event that it delivers, and that event's key and time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<EventRef>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) headers: BTreeMap<String, String>,
    /// It has remembered steps.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) steps: bool,
    /// It undoes what its steps did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) undoing: Option<String>,
    /// It has its place in all rates, and may start.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) rate_paid: bool,
    /// It has its place in the rate of its limit key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) key_rate_paid: bool,
}

/// Which event a job delivers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventRef {
    pub(crate) id: i64,
    pub(crate) position: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    pub(crate) created_us: i64,
}

impl Options {
    /// As it is kept: nothing where nothing was asked.
    pub(crate) fn to_text(&self) -> Option<String> {
        (*self != Self::default())
            .then(|| serde_json::to_string(self).expect("plain fields are always JSON"))
    }

    /// Whether it must be claimed with care: it may have to wait for others.
    pub(crate) fn is_keyed(&self) -> bool {
        self.ordering_key.is_some() || self.limit_key.is_some()
    }
}

/// A name of a queue: it is part of keys, of channels and of brokers' names. Errors: JOB-010.
pub(crate) fn check_queue(name: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    if !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(fine) {
        return Ok(());
    }
    let what = format!("`{}` can't be a queue's name", shown(name));
    Err(Error::new(Code::JobOption, what)
        .why(format!("it is 1 to {NAME_MAX} characters of A-Z a-z 0-9 _ . : -")))
}

/// A job's or an event's name. Errors: JOB-010.
pub(crate) fn check_name(name: &str) -> Result<()> {
    check_text("name", name, NAME_MAX)
}

/// A key of any kind. Errors: JOB-010.
pub(crate) fn check_key(what: &str, key: &str) -> Result<()> {
    check_text(what, key, KEY_MAX)
}

fn check_text(what: &str, text: &str, max: usize) -> Result<()> {
    let why = if text.is_empty() {
        "it is empty".to_owned()
    } else if text.chars().count() > max {
        format!("it has {} characters, and may have {max}", text.chars().count())
    } else if text.contains('\0') {
        "it has a NUL character".to_owned()
    } else {
        return Ok(());
    };
    let shown = shown(text);
    Err(Error::new(Code::JobOption, format!("`{shown}` can't be a {what}")).why(why))
}

/// The payload as it is kept. Errors: JOB-010 (too large), JOB-003 (not JSON).
pub(crate) fn payload<T: Serialize>(name: &str, value: &T) -> Result<String> {
    let text = serde_json::to_string(value).map_err(|e| {
        Error::new(Code::JobPayload, format!("`{name}` can't be written as JSON")).cause(e)
    })?;
    if text.len() > PAYLOAD_MAX {
        let what = format!("the payload of `{name}` has {} bytes", text.len());
        return Err(Error::new(Code::JobOption, what)
            .why(format!("it may have {PAYLOAD_MAX}"))
            .fix("keep what is large elsewhere, and enqueue where it is"));
    }
    Ok(text)
}

/// Microseconds, as far as they go.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

fn shown(text: &str) -> String {
    text.chars().take(40).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_is_nothing_kept() {
        assert_eq!(Options::default().to_text(), None);
        let asked = Options { max_attempts: Some(3), ..Options::default() };
        let text = asked.to_text().unwrap();
        assert_eq!(text, r#"{"max_attempts":3}"#);
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), asked);
    }

    #[test]
    fn names_have_bounds_and_say_which() {
        assert!(check_queue("mail.high-1:x").is_ok());
        for wrong in ["", "a b", "ä", &"x".repeat(101)] {
            assert_eq!(check_queue(wrong).unwrap_err().code(), Code::JobOption);
        }
        assert!(check_key("ordering key", "a\0b").unwrap_err().report().contains("NUL"));
        assert!(check_key("ordering key", &"x".repeat(191)).is_err());
    }

    #[test]
    fn a_payload_that_is_too_large_is_refused() {
        let refused = payload("big", &"x".repeat(PAYLOAD_MAX)).unwrap_err();
        assert_eq!(refused.code(), Code::JobOption);
    }
}
