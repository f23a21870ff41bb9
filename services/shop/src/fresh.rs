//! Replicas follow a moment later. Who wrote something reads it: what a client has written goes with it in a cookie
//! (`TokenLayer`), and its next request reads no less, whichever process answers. Without replicas there is no cookie.
//!
//! Who keeps no cookies may be shown what is a moment old; but nobody is told that something is not there by a replica alone.

use mainstay::route::Databases;
use mainstay::route::topology::MAIN;
use mainstay::{Db, Result};

/// Reads of the main database that must not miss what is there.
#[derive(Clone, Debug)]
pub struct Reads {
    db: Db,
    /// Where the main database has replicas.
    primary: Option<Db>,
}

impl Reads {
    /// Errors: none, where there is a main database.
    pub(crate) fn new(databases: &Databases) -> Result<Self> {
        let follows = databases.cluster(MAIN)?.is_some();
        let primary = if follows { Some(databases.primary(MAIN)?) } else { None };
        Ok(Self { db: databases.main(), primary })
    }

    /// From a replica; what it does not have, from the primary. Errors: those of `read`.
    pub(crate) async fn find<T, F, W>(&self, read: F) -> Result<Option<T>>
    where
        F: Fn(Db) -> W,
        W: Future<Output = Result<Option<T>>>,
    {
        match (read(self.db.clone()).await?, &self.primary) {
            (None, Some(primary)) => read(primary.clone()).await,
            (found, _) => Ok(found),
        }
    }
}
