//! What a process wrote to a cluster outside of any request or job, up to now. It lives as long as the process: so what was
//! in doubt is not kept in doubt for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::token::{Mark, Pending};

/// A statement whose answer was lost is over by then: its pool cancels it within its `recover_timeout`, 2 s unless set
/// otherwise.
const DOUBT_MAX: Duration = Duration::from_secs(30);

/// A mark, and since when it is in doubt.
#[derive(Debug, Default)]
pub(crate) struct Own {
    mark: Mark,
    since: Option<Instant>,
}

impl Own {
    /// The mark as it stands `now`. `after` is what covers all that was written by now.
    pub(crate) fn mark<P: Pending + 'static>(
        &mut self,
        now: Instant,
        after: impl FnOnce() -> Arc<P>,
    ) -> &mut Mark {
        if !self.mark.is_unsure() {
            self.since = None;
        } else if now.saturating_duration_since(*self.since.get_or_insert(now)) >= DOUBT_MAX {
            self.mark.sure(after());
            self.since = None;
        }
        &mut self.mark
    }

    /// Something was sent `now`, and nobody knows whether it was written.
    pub(crate) fn unsure(&mut self, now: Instant, after: Arc<dyn Pending>) {
        self.mark.unsure(after);
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use mainstay_core::clock::Clock;
    use mainstay_core::token::{Position, Token};

    use super::*;

    #[derive(Debug)]
    struct At(u64);

    impl Pending for At {
        fn known(&self) -> Option<Token> {
            Some(Token::postgres(1, Position::Lsn(self.0)))
        }

        fn wait(&self) -> Pin<Box<dyn Future<Output = Token> + Send + '_>> {
            Box::pin(async { self.unknown() })
        }

        fn unknown(&self) -> Token {
            Token::postgres(1, Position::Unknown)
        }

        fn number(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn doubt_lapses() {
        let (clock, hand) = Clock::manual();
        let mut own = Own::default();
        let at = |lsn| move || Arc::new(At(lsn));
        own.unsure(clock.now(), Arc::new(At(5)));
        assert!(own.mark(clock.now(), at(6)).known().is_none());
        hand.advance(DOUBT_MAX / 2);
        own.unsure(clock.now(), Arc::new(At(7)));
        hand.advance(DOUBT_MAX / 2);
        assert!(own.mark(clock.now(), at(8)).is_unsure(), "the later one is younger");
        hand.advance(DOUBT_MAX / 2);
        let known = own.mark(clock.now(), at(9)).known().cloned();
        assert_eq!(known, Some(Token::postgres(1, Position::Lsn(9))));
    }
}
