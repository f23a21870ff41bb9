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

/// The stock of an order is reserved.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderConfirmed {
    /// Its number.
    pub order: i64,
    /// Whose it is.
    pub user: i64,
}

impl Event for OrderConfirmed {
    const NAME: &'static str = "order.confirmed";

    fn key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
}

/// An order was cancelled: nothing is reserved for it, or no longer.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderCancelled {
    /// Its number.
    pub order: i64,
    /// Whose it is.
    pub user: i64,
    /// Why.
    pub reason: String,
}

impl Event for OrderCancelled {
    const NAME: &'static str = "order.cancelled";

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

/// A code to log in with is sent.
#[derive(Debug, Serialize, Deserialize)]
pub struct LoginMail {
    /// To whom.
    pub user: i64,
    /// The code.
    pub code: String,
}

impl Job for LoginMail {
    const NAME: &'static str = "login_mail";
    const QUEUE: &'static str = "mail";
}

/// A confirmed order is paid from an account.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SettleOrder {
    /// The order.
    pub order: i64,
    /// The account that pays.
    pub account: i64,
    /// Cents.
    pub amount: i64,
}

impl Job for SettleOrder {
    const NAME: &'static str = "settle_order";
    const QUEUE: &'static str = "payments";
}
