//! What is stored of a session, what changes of it, and how large it may be.

use std::collections::BTreeMap;

use mainstay_core::{Code, Error, Result};
use serde_json::Value;

/// How many bytes the data of a session may have: the keys, and the values as JSON.
pub const DATA_BYTES_MAX: usize = 4096;
/// How long a key of a session's data may be.
pub const KEY_BYTES_MAX: usize = 64;
/// How long the name of a session's user may be.
pub const USER_BYTES_MAX: usize = 200;

/// The data by their keys.
pub(super) type Data = BTreeMap<String, Value>;
/// New values by their keys; `None` where the key is removed.
pub(super) type Changes = BTreeMap<String, Option<Value>>;

/// A session as it is stored. Times are microseconds since 1970.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) user: Option<String>,
    /// When it began, or its user logged in.
    pub(super) created_us: i64,
    /// When its use was last written down.
    pub(super) seen_us: i64,
    pub(super) data: Data,
}

impl Record {
    pub(super) fn new(user: Option<&str>, now_us: i64) -> Self {
        let user = user.map(str::to_owned);
        Self { user, created_us: now_us, seen_us: now_us, data: Data::new() }
    }
}

/// The times that a store needs to know.
#[derive(Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the unit")]
pub(super) struct Span {
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "Redis alone forgets by itself")
    )]
    pub(super) now_us: i64,
    pub(super) seen_us: i64,
    /// When it ends if it is not used any more.
    pub(super) expires_us: i64,
    /// When it ends however much it is used.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "Redis alone forgets by itself")
    )]
    pub(super) ends_us: i64,
}

/// Who a session becomes, and since when.
#[derive(Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) user: &'a str,
    pub(super) created_us: i64,
}

/// How storing changes came out.
pub(super) enum Saved {
    /// With all data as they are now.
    Done(Data),
    Gone,
    TooLarge,
}

/// Applies `changes`; whether it still fits.
pub(super) fn merge(data: &mut Data, changes: &Changes) -> bool {
    for (key, value) in changes {
        match value {
            Some(value) => drop(data.insert(key.clone(), value.clone())),
            None => drop(data.remove(key)),
        }
    }
    size(data) <= DATA_BYTES_MAX
}

/// In bytes, as it counts for the limit.
pub(super) fn size(data: &Data) -> usize {
    data.iter().map(|(key, value)| key.len() + value.to_string().len()).sum()
}

pub(super) fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::new(
            Code::SessionData,
            format!("a key of a session has 1 to {KEY_BYTES_MAX} bytes"),
        )
        .fix("use a short name for what is kept"));
    }
    Ok(())
}

pub(super) fn check_user(user: &str) -> Result<()> {
    if user.is_empty() || user.len() > USER_BYTES_MAX || user.contains('\0') {
        return Err(Error::new(
            Code::SessionData,
            format!("a session's user has 1 to {USER_BYTES_MAX} bytes, and none of them is NUL"),
        )
        .fix("use the user's id"));
    }
    Ok(())
}

pub(super) fn too_large() -> Error {
    Error::new(
        Code::SessionData,
        format!("a session's data would have over {DATA_BYTES_MAX} bytes"),
    )
}

/// What is stored is not what this program writes. Its words are left out: they quote the data.
pub(super) fn unreadable(key: Option<&str>) -> Error {
    let what = match key {
        Some(key) => format!("what the session has as `{key}` is of another type"),
        None => "the record of a session can't be read".to_owned(),
    };
    Error::new(Code::SessionData, what).fix("use another key for another type")
}
