//! Where a migration stands, in Flyway's words.

use serde::{Serialize, Serializer};

macro_rules! states {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// Where a migration stands.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum State { $($(#[doc = $doc])* $name,)* }

        impl State {
            /// As it is shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(State::$name => $text,)* }
            }
        }
    };
}

states! {
    /// Its turn is at the next `up`.
    Pending = "Pending",
    /// Above the version that was asked for.
    AboveTarget = "Above Target",
    /// Below the version that the database was taken for.
    BelowBaseline = "Below Baseline",
    /// Of the version that the database was taken for.
    IgnoredBaseline = "Ignored (Baseline)",
    /// Says that the database was taken for one of this version.
    Baseline = "Baseline",
    /// Not run: below one that was applied, or its `shouldExecute` says so.
    Ignored = "Ignored",
    /// Applied, and its file is gone.
    Missing = "Missing",
    /// Failed, and its file is gone.
    FailedMissing = "Failed (Missing)",
    /// Applied.
    Success = "Success",
    /// Applied, then taken back.
    Undone = "Undone",
    /// It failed half-way.
    Failed = "Failed",
    /// Applied after a higher one.
    OutOfOrder = "Out of Order",
    /// Applied by a newer program.
    Future = "Future",
    /// Failed in a newer program.
    FailedFuture = "Failed (Future)",
    /// A repeatable that has changed since: it runs again at the next `up`.
    Outdated = "Outdated",
    /// An earlier run of a repeatable.
    Superseded = "Superseded",
    /// Applied, and its file was given up since.
    Deleted = "Deleted",
}

impl State {
    /// Whether it failed.
    pub const fn is_failed(self) -> bool {
        matches!(self, State::Failed | State::FailedMissing | State::FailedFuture)
    }

    /// Whether it was applied by a newer program.
    pub const fn is_future(self) -> bool {
        matches!(self, State::Future | State::FailedFuture)
    }

    pub(crate) const fn is_missing(self) -> bool {
        matches!(self, State::Missing | State::FailedMissing)
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
