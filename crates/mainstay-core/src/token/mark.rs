//! What one piece of work knows of how far each cluster must have come for it: a token, and what it wrote whose position
//! it was not told yet.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::{Token, Tokens};

/// Marks of one piece of work; more than it can be given from outside.
const MARKS_MAX: usize = 128;

/// Something was written, and the cluster says soon how far that was.
pub trait Pending: Send + Sync + fmt::Debug {
    /// A token that covers it, if it is known by now.
    fn known(&self) -> Option<Token>;

    /// As soon as it is known; an unknown position where that takes too long.
    fn wait(&self) -> Pin<Box<dyn Future<Output = Token> + Send + '_>>;

    /// A token that says that nobody knows.
    fn unknown(&self) -> Token;

    /// Of two of one cluster, that with the larger number covers the other.
    fn number(&self) -> u64;
}

/// How far one cluster must have come for what is read of it. It only moves forward.
#[derive(Clone, Debug, Default)]
pub struct Mark {
    token: Option<Token>,
    pending: Option<Arc<dyn Pending>>,
    /// Something may have been written, or may yet be.
    unsure: bool,
}

impl Mark {
    /// What `token` covers must be seen.
    pub fn observe(&mut self, token: &Token) {
        self.token = Some(match self.token.take() {
            Some(own) => own.and(token),
            None => token.clone(),
        });
    }

    /// Something was written whose position is told later.
    pub fn wrote(&mut self, pending: Arc<dyn Pending>) {
        self.settle();
        if self.pending.as_ref().is_none_or(|own| own.number() <= pending.number()) {
            self.pending = Some(pending);
        }
    }

    /// Something was sent, and whether it was written is not known: it may yet be.
    pub fn unsure(&mut self, pending: Arc<dyn Pending>) {
        self.wrote(pending);
        self.unsure = true;
    }

    /// Its token is nobody's: one without a position, one of a line that was given up in a failover, or one that was made
    /// up. What it may have covered is as far as the cluster has come by now.
    pub fn replace_token(&mut self, pending: Arc<dyn Pending>) {
        self.token = None;
        self.wrote(pending);
    }

    /// The token that covers all of it, if there is one by now.
    pub fn known(&mut self) -> Option<&Token> {
        self.settle();
        self.token.as_ref().filter(|_| self.pending.is_none() && !self.unsure)
    }

    /// Whether nothing must be seen.
    pub fn is_empty(&self) -> bool {
        self.token.is_none() && self.pending.is_none() && !self.unsure
    }

    /// Whether nobody will tell, within this piece of work.
    pub fn is_unsure(&self) -> bool {
        self.unsure
    }

    /// Not of what is unsure: that stays so.
    fn settle(&mut self) {
        let pending = self.pending.as_ref().filter(|_| !self.unsure);
        if let Some(token) = pending.and_then(|pending| pending.known()) {
            self.pending = None;
            self.observe(&token);
        }
    }

    fn add(&mut self, other: &Mark) {
        self.settle();
        if let Some(token) = &other.token {
            self.observe(token);
        }
        if let Some(pending) = &other.pending {
            self.wrote(Arc::clone(pending));
        }
        self.unsure |= other.unsure;
    }

    /// What is told elsewhere; the second where it has to be waited for.
    fn told(&mut self) -> (Option<Token>, Option<Arc<dyn Pending>>) {
        self.settle();
        match (&self.pending, self.unsure) {
            (Some(pending), true) => (Some(pending.unknown()), None),
            (pending, _) => (self.token.clone(), pending.clone()),
        }
    }
}

/// The marks of one piece of work, by cluster: of at most 128.
#[derive(Clone, Debug, Default)]
pub struct Marks(Vec<(u64, Mark)>);

impl Marks {
    /// Looks at that of `cluster`, which is empty at first, or changes it. Where there are too many, one that nobody
    /// keeps.
    pub fn change<T>(&mut self, cluster: u64, change: impl FnOnce(&mut Mark) -> T) -> T {
        if let Some((_, mark)) = self.0.iter_mut().find(|(known, _)| *known == cluster) {
            return change(mark);
        }
        let mut mark = Mark::default();
        let changed = change(&mut mark);
        if self.0.len() < MARKS_MAX && !mark.is_empty() {
            self.0.push((cluster, mark));
        }
        changed
    }

    /// All that is in `others`, too.
    pub fn add(&mut self, others: &Marks) {
        for (cluster, mark) in &others.0 {
            self.change(*cluster, |own| own.add(mark));
        }
    }

    /// Their tokens, save that of one cluster, and what has to be waited for before they are whole.
    pub(crate) fn tokens(&mut self, except: Option<u64>) -> (Tokens, Vec<Arc<dyn Pending>>) {
        let (mut tokens, mut open) = (Vec::new(), Vec::new());
        for (_, mark) in self.0.iter_mut().filter(|(cluster, _)| Some(*cluster) != except) {
            let (token, pending) = mark.told();
            tokens.extend(token);
            open.extend(pending);
        }
        (tokens.into_iter().collect(), open)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::super::Position;
    use super::*;

    #[derive(Debug, Default)]
    struct Soon(OnceLock<u64>);

    fn at(lsn: u64) -> Token {
        Token::postgres(1, Position::Lsn(lsn))
    }

    impl Pending for Soon {
        fn known(&self) -> Option<Token> {
            self.0.get().map(|lsn| at(*lsn))
        }

        fn wait(&self) -> Pin<Box<dyn Future<Output = Token> + Send + '_>> {
            Box::pin(async { self.known().unwrap_or_else(|| self.unknown()) })
        }

        fn unknown(&self) -> Token {
            Token::postgres(1, Position::Unknown)
        }

        fn number(&self) -> u64 {
            1
        }
    }

    #[test]
    fn a_mark_only_moves_forward() {
        let mut mark = Mark::default();
        mark.observe(&at(10));
        mark.observe(&at(5));
        assert_eq!(mark.known(), Some(&at(10)));
        let soon = Arc::new(Soon::default());
        mark.wrote(Arc::clone(&soon) as Arc<dyn Pending>);
        mark.observe(&at(20));
        assert_eq!(mark.known(), None, "what was written may be further");
        soon.0.set(30).unwrap();
        assert_eq!(mark.known(), Some(&at(30)));
    }

    #[test]
    fn what_may_have_been_written_stays_unknown() {
        let mut marks = Marks::default();
        let soon = Arc::new(Soon::default());
        marks.change(1, |mark| mark.unsure(Arc::clone(&soon) as Arc<dyn Pending>));
        soon.0.set(30).unwrap();
        assert!(marks.change(1, |mark| mark.is_unsure() && mark.known().is_none()));
        let (tokens, open) = marks.tokens(None);
        assert!(open.is_empty());
        assert_eq!(tokens.to_string(), "pg.1.*");
    }
}
