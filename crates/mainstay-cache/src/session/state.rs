//! One session in the hands of one request. It asks no store: [`Sessions::save`](super::Sessions::save) does.

use mainstay_core::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::record::{self, Changes, Record};
use super::token::Id;

/// A session. What is set and removed is kept here until it is saved.
pub struct Session {
    pub(super) id: Id,
    pub(super) record: Record,
    /// Since it was opened or saved.
    pub(super) changes: Changes,
}

impl Session {
    pub(super) fn new(id: Id, record: Record) -> Self {
        Self { id, record, changes: Changes::new() }
    }

    /// The id. It is a secret: don't log it. Without its signature it opens nothing.
    pub fn id(&self) -> &str {
        self.id.as_str()
    }

    /// Whose it is; `None` of a visitor's.
    pub fn user(&self) -> Option<&str> {
        self.record.user.as_deref()
    }

    /// What is kept under `key`.
    ///
    /// Errors: CACHE-006 where it is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let read = |value: &Value| T::deserialize(value).map_err(|_| record::unreadable(Some(key)));
        self.record.data.get(key).map(read).transpose()
    }

    /// Keeps `value` under `key`, of 1 to 64 bytes.
    ///
    /// Errors: CACHE-006 where the data would have over 4 KiB in all, or the value is nothing that JSON has;
    /// what was there stays.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<()> {
        record::check_key(key)?;
        let value = serde_json::to_value(value).map_err(|_| record::unreadable(Some(key)))?;
        let change = Changes::from([(key.to_owned(), Some(value))]);
        let mut data = self.record.data.clone();
        if !record::merge(&mut data, &change) {
            return Err(record::too_large());
        }
        self.record.data = data;
        self.changes.extend(change);
        Ok(())
    }

    /// Removes what is kept under `key`; whether there was something.
    pub fn remove(&mut self, key: &str) -> bool {
        self.changes.insert(key.to_owned(), None);
        self.record.data.remove(key).is_some()
    }
}

/// Without its id and its data.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.record.user)
            .field("keys", &self.record.data.keys())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::DATA_BYTES_MAX;

    fn session() -> Session {
        Session::new(Id::new().unwrap(), Record::new(Some("ann"), 0))
    }

    #[test]
    fn neither_id_nor_data_are_printed() {
        let mut session = session();
        session.set("card", "4111").unwrap();
        let printed = format!("{session:?}");
        assert!(printed.contains("ann") && printed.contains("card"), "{printed}");
        assert!(!printed.contains("4111") && !printed.contains(session.id()), "{printed}");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut session = session();
        session.set("a", "x").unwrap();
        // The key, and the quotes of JSON.
        let fits = "x".repeat(DATA_BYTES_MAX - 4 - 3);
        session.set("b", &fits).unwrap();
        assert!(session.set("b", &(fits.clone() + "x")).is_err());
        assert_eq!(session.get::<String>("b").unwrap(), Some(fits));
        assert!(session.set("", &1).is_err() && session.set(&"k".repeat(65), &1).is_err());
        assert!(session.get::<u8>("a").is_err() && session.get::<u8>("c").unwrap().is_none());
    }
}
