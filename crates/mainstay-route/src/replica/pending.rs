//! A write whose position was not told: that of a statement outside a transaction. The next look at the primary tells one
//! that covers it.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mainstay_core::token::{Pending, Position, Token};

use super::cluster::Inner;

/// Who carries a token elsewhere waits so long for it. A look takes some 50 us, and begins at once.
const WAIT_MAX: Duration = Duration::from_millis(250);

pub(crate) struct After {
    /// It does not keep the cluster: a scope may live for long.
    inner: Weak<Inner>,
    /// The last question before it; see [`Samples::now`](super::samples::Samples::now).
    question: u64,
    unknown: Token,
}

impl After {
    pub(crate) fn new(inner: &Arc<Inner>) -> Self {
        Self {
            inner: Arc::downgrade(inner),
            question: inner.samples.now(),
            unknown: inner.token_at(Position::Unknown),
        }
    }
}

impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("After").field(&self.question).finish()
    }
}

impl Pending for After {
    fn known(&self) -> Option<Token> {
        let inner = self.inner.upgrade()?;
        let position = inner.samples.since(self.question)?;
        Some(inner.token_at(position))
    }

    fn wait(&self) -> Pin<Box<dyn Future<Output = Token> + Send + '_>> {
        Box::pin(async {
            let Some(inner) = self.inner.upgrade() else { return self.unknown() };
            let clock = inner.settings.clock.clone();
            let until = clock.now() + WAIT_MAX;
            let mut news = inner.news.subscribe();
            loop {
                if let Some(token) = self.known() {
                    return token;
                }
                inner.ask_primary();
                if clock.timeout_at(until, news.changed()).await.is_none() {
                    return self.unknown();
                }
            }
        })
    }

    fn unknown(&self) -> Token {
        self.unknown.clone()
    }

    fn number(&self) -> u64 {
        self.question
    }
}
