//! What is examined, by name: what `--only` and `--skip` take. How it is done is with each engine.

use std::fmt;
use std::str::FromStr;

use mainstay_core::{Code, Error};
use mainstay_db::Engine;
use serde::{Serialize, Serializer};

macro_rules! checks {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal;)*) => {
        /// One thing that is examined.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Check { $($(#[doc = $doc])* $name,)* }

        impl Check {
            /// Every check of every engine.
            pub const ALL: &'static [Check] = &[$(Check::$name,)*];

            /// As it is written, such as `unused-indexes`.
            pub const fn name(self) -> &'static str {
                match self { $(Check::$name => $text,)* }
            }
        }
    };
}

checks! {
    /// How many of the server's connections are in use.
    Connections = "connections";
    /// Sessions that wait for another's lock.
    Locks = "locks";
    /// Transactions that are open for long.
    Transactions = "transactions";
    /// Prepared transactions that were left.
    PreparedTransactions = "prepared-transactions";
    /// Slots that retain WAL.
    ReplicationSlots = "replication-slots";
    /// Replicas that are behind.
    Replication = "replication";
    /// Transaction numbers that are not frozen.
    Wraparound = "wraparound";
    /// Pages whose checksum was wrong.
    Checksums = "checksums";
    /// Settings with a clear better value.
    Settings = "settings";
    /// Reads that the cache answered.
    Cache = "cache";
    /// Indexes left unfinished.
    InvalidIndexes = "invalid-indexes";
    /// Indexes that another one covers.
    DuplicateIndexes = "duplicate-indexes";
    /// Indexes that nobody uses.
    UnusedIndexes = "unused-indexes";
    /// Tables that are read from end to end.
    MissingIndexes = "missing-indexes";
    /// Foreign keys without an index.
    ForeignKeys = "foreign-keys";
    /// Tables without a primary key.
    PrimaryKeys = "primary-keys";
    /// Sequences near their end.
    Sequences = "sequences";
    /// Statistics that are missing or old.
    Statistics = "statistics";
    /// Tables kept without transactions.
    StorageEngines = "storage-engines";
    /// Texts that can't hold every character.
    Encoding = "encoding";
    /// Types that mean another than they say.
    Types = "types";
    /// The statements that take the most time.
    Statements = "statements";
    /// Indexes with much room for little, estimated.
    BloatedIndexes = "bloated-indexes";
    /// Tables, or a file, with much room for little, estimated.
    BloatedTables = "bloated-tables";
    /// Whether what is stored is damaged.
    Integrity = "integrity";
    /// Rows that refer to none.
    References = "references";
}

use Check as C;

impl Check {
    /// Those of `engine`, in the order in which they are done: what tells of trouble first.
    pub fn of(engine: Engine) -> &'static [Check] {
        match engine {
            Engine::Postgres => &[
                C::Connections,
                C::Locks,
                C::Transactions,
                C::PreparedTransactions,
                C::ReplicationSlots,
                C::Replication,
                C::Wraparound,
                C::Checksums,
                C::Settings,
                C::Cache,
                C::InvalidIndexes,
                C::DuplicateIndexes,
                C::UnusedIndexes,
                C::MissingIndexes,
                C::ForeignKeys,
                C::PrimaryKeys,
                C::Sequences,
                C::Statistics,
                C::Statements,
                C::BloatedIndexes,
                C::BloatedTables,
            ],
            Engine::MySql => &[
                C::Connections,
                C::Locks,
                C::Transactions,
                C::PreparedTransactions,
                C::Replication,
                C::Settings,
                C::Cache,
                C::DuplicateIndexes,
                C::UnusedIndexes,
                C::PrimaryKeys,
                C::Sequences,
                C::StorageEngines,
                C::Encoding,
                C::Statements,
                C::BloatedTables,
            ],
            Engine::Sqlite => &[
                C::Settings,
                C::DuplicateIndexes,
                C::ForeignKeys,
                C::PrimaryKeys,
                C::Sequences,
                C::Statistics,
                C::Types,
                C::BloatedTables,
                C::Integrity,
                C::References,
            ],
        }
    }

    /// Whether it is asked of a server too whose connections are nearly used up: it says what is wrong, at next to no cost.
    pub(super) fn is_urgent(self) -> bool {
        matches!(
            self,
            C::Connections
                | C::Locks
                | C::Transactions
                | C::PreparedTransactions
                | C::ReplicationSlots
        )
    }

    /// Whether it reads users' data: left out on production.
    pub(super) fn reads_data(self) -> bool {
        matches!(self, C::Integrity | C::References)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Check {
    type Err = Error;

    /// Errors: APP-003, with the names there are.
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().copied().find(|check| check.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|check| check.name()).collect();
            Error::new(Code::Argument, format!("there is no check `{text}`"))
                .fix(format!("one of {}", names.join(", ")))
        })
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_an_engine_and_a_name_of_its_own() {
        let engines = [Engine::Postgres, Engine::MySql, Engine::Sqlite];
        for check in Check::ALL {
            assert!(engines.iter().any(|engine| Check::of(*engine).contains(check)), "{check}");
            assert_eq!(check.name().parse::<Check>().unwrap(), *check);
        }
        let error = "indices".parse::<Check>().unwrap_err();
        assert!(error.report().contains("unused-indexes"), "{error:?}");
    }
}
