//! The shop's services: a process is all of them or one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which services a process is. What each serves is said in [`server`](crate::server), what it works on in
/// [`worker`](crate::worker).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Every one of them, in one process.
    #[default]
    All,
    /// Users, their accounts, transfers and sessions.
    Users,
    /// Orders and their payment.
    Orders,
    /// Products, their prices and stock.
    Inventory,
    /// Mails.
    Notifications,
    /// Counts, and the best sellers.
    Analytics,
}

impl Part {
    /// The five, in the order in which they are started.
    pub const SERVICES: [Part; 5] =
        [Part::Users, Part::Orders, Part::Inventory, Part::Notifications, Part::Analytics];

    /// Whether a process that is `self` is the service `other`.
    pub fn is(self, other: Part) -> bool {
        self == Part::All || self == other
    }

    /// Whether it has work to do beside answering: the users service has none.
    pub fn has_work(self) -> bool {
        self != Part::Users
    }

    /// As the flag `--service` calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Part::All => "all",
            Part::Users => "users",
            Part::Orders => "orders",
            Part::Inventory => "inventory",
            Part::Notifications => "notifications",
            Part::Analytics => "analytics",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
