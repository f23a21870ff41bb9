//! What a queue is called in JetStream, where a name may hold no dots. It asks no server.

use mainstay_core::{Code, Error, Result};

/// The longest name of a queue.
const LENGTH: usize = 100;

/// The names that belong to one queue. Different queues never share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) queue: String,
    pub(super) stream: String,
    pub(super) subject: String,
    pub(super) dead_stream: String,
    pub(super) dead_subject: String,
}

impl Names {
    /// Errors: MSG-004 where `queue` is not 1 to 100 of `A-Za-z0-9_.:-`.
    pub(super) fn of(queue: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if queue.is_empty() || queue.len() > LENGTH || !queue.chars().all(fits) {
            return Err(Error::new(Code::BrokerQueue, format!("no queue can be called `{queue}`"))
                .why(format!("a name has 1 to {LENGTH} of the characters A-Z a-z 0-9 _ . : -"))
                .fix("use another name"));
        }
        // Neither is part of a queue's name, so two queues can't become one. A colon is replaced for
        // the sake of the folder that carries the stream's name.
        let safe = queue.replace('.', "=").replace(':', "~");
        Ok(Self {
            queue: queue.to_owned(),
            stream: format!("mainstay-{safe}"),
            subject: format!("mainstay.queue.{safe}"),
            dead_stream: format!("mainstay-{safe}+dead"),
            dead_subject: format!("mainstay.dead.{safe}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_and_a_colon_are_written_otherwise() {
        let names = Names::of("shop.mails:eu_1-a").unwrap();
        assert_eq!(names.stream, "mainstay-shop=mails~eu_1-a");
        assert_eq!(names.subject, "mainstay.queue.shop=mails~eu_1-a");
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for queue in ["", "a b", "a*", "a>", "ä", "a/b", "a=b", &"x".repeat(101)] {
            assert_eq!(Names::of(queue).unwrap_err().code(), Code::BrokerQueue, "{queue}");
        }
        assert!(Names::of(&"x".repeat(100)).is_ok());
    }

    #[test]
    fn a_queue_is_never_anothers_dead_letters() {
        let orders = Names::of("orders").unwrap();
        for other in ["orders.dead", "orders:dead", "orders.dead:", "orders-dead"] {
            assert_ne!(Names::of(other).unwrap().stream, orders.dead_stream);
        }
    }
}
