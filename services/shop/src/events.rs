//! What happens to orders, and the jobs of the shop: their names and fields, which other services know.

use mainstay::jobs::{Event, Job};
use serde::{Deserialize, Serialize};

/// An order was taken, and is pending.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderCreated {
    /// Its number.
    pub order: i64,
    /// Whose it is.
    pub user: i64,
}

impl Event for OrderCreated {
    const NAME: &'static str = "order.created";

    fn key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
}

/// An order was confirmed or cancelled.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderDecided {
    /// Its number.
    pub order: i64,
    /// Whose it is.
    pub user: i64,
    /// Whether its stock is reserved.
    pub confirmed: bool,
    /// Why not.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Event for OrderDecided {
    const NAME: &'static str = "order.decided";

    fn key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
}

/// A new user is welcomed.
#[derive(Debug, Serialize, Deserialize)]
pub struct WelcomeMail {
    /// The user.
    pub user: i64,
}

impl Job for WelcomeMail {
    const NAME: &'static str = "welcome_mail";
    const QUEUE: &'static str = "mail";
}
