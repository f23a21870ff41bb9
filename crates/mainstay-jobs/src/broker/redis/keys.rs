//! Under which keys a queue is kept. All have the same part in braces, so that a cluster keeps them on
//! one node and a script may touch them at once. It asks no server.

use mainstay_core::{Code, Error, Result};

/// The longest name of a queue.
const LENGTH: usize = 100;

/// The keys that belong to one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) queue: String,
    /// The stream of what waits and what is unsettled.
    pub(super) stream: String,
    /// The sorted set of what is to be delivered later, by when.
    pub(super) delayed: String,
    /// The stream of dead letters.
    pub(super) dead: String,
}

impl Keys {
    /// Errors: MSG-004 where `queue` is not 1 to 100 of `A-Za-z0-9_.:-`.
    pub(super) fn of(queue: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if queue.is_empty() || queue.len() > LENGTH || !queue.chars().all(fits) {
            return Err(Error::new(Code::BrokerQueue, format!("no queue can be called `{queue}`"))
                .why(format!("a name has 1 to {LENGTH} of the characters A-Z a-z 0-9 _ . : -"))
                .fix("use another name"));
        }
        let stream = format!("{{mainstay:{queue}}}");
        Ok(Self {
            queue: queue.to_owned(),
            delayed: format!("{stream}:delayed"),
            dead: format!("{stream}:dead"),
            stream,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_queue_share_what_is_in_braces() {
        let keys = Keys::of("shop.mails:eu").unwrap();
        assert_eq!(keys.stream, "{mainstay:shop.mails:eu}");
        assert_eq!(keys.delayed, "{mainstay:shop.mails:eu}:delayed");
        assert_eq!(keys.dead, "{mainstay:shop.mails:eu}:dead");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for queue in ["", "a b", "a}", "{a", "ä", &"x".repeat(101)] {
            assert_eq!(Keys::of(queue).unwrap_err().code(), Code::BrokerQueue, "{queue}");
        }
        assert!(Keys::of(&"x".repeat(100)).is_ok());
    }
}
