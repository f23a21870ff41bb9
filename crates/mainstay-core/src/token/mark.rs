//! What one piece of work knows of how far each cluster must have come for it: a token, and what it wrote whose position
//! it was not told yet.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::Token;

/// Marks of one piece of work that it was given from outside. Those of what it wrote itself are as many as the clusters
/// that the program has.
const GIVEN_MAX: usize = 64;

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
    /// What `token` covers must be seen. One of a server where nothing was written yet covers nothing.
    pub fn observe(&mut self, token: &Token) {
        if token.is_empty() {
            return;
        }
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

    /// What was unsure is over by now, whichever way: had it been written, it was so before `pending`.
    pub fn sure(&mut self, pending: Arc<dyn Pending>) {
        self.unsure = false;
        self.wrote(pending);
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

    /// What is told elsewhere.
    fn told(&mut self, all: &mut Vec<Told>) {
        self.settle();
        match &self.pending {
            Some(pending) if self.unsure => all.push(Told::Now(pending.unknown())),
            pending => {
                all.extend(self.token.clone().map(Told::Now));
                all.extend(pending.clone().map(Told::Later));
            }
        }
    }
}

/// A token that is told elsewhere, or has to be waited for before it is.
pub(crate) enum Told {
    Now(Token),
    Later(Arc<dyn Pending>),
}

#[derive(Clone, Debug)]
struct Entry {
    cluster: u64,
    mark: Mark,
    /// The program has this cluster; of the others it was told from outside, and they may be made up.
    is_own: bool,
}

/// The marks of one piece of work, by cluster: of all that the program wrote to, and of at most 64 that it was told of.
#[derive(Clone, Debug, Default)]
pub struct Marks(Vec<Entry>);

impl Marks {
    /// Looks at that of `cluster`, which the program has, or changes it; it is empty at first.
    pub fn change<T>(&mut self, cluster: u64, change: impl FnOnce(&mut Mark) -> T) -> T {
        if let Some(entry) = self.entry(cluster) {
            entry.is_own = true;
            return change(&mut entry.mark);
        }
        let mut mark = Mark::default();
        let changed = change(&mut mark);
        if !mark.is_empty() {
            self.0.push(Entry { cluster, mark, is_own: true });
        }
        changed
    }

    /// What `token` covers must be seen: it came from outside, and its cluster may be nobody's. Of more than 64 such ones,
    /// those that came later are not kept.
    pub fn observe(&mut self, token: &Token) {
        self.given(token.cluster(), |mark| mark.observe(token));
    }

    /// All that is in `others`, too.
    pub fn add(&mut self, others: &Marks) {
        for Entry { cluster, mark, is_own } in &others.0 {
            if *is_own {
                self.change(*cluster, |own| own.add(mark));
            } else {
                self.given(*cluster, |own| own.add(mark));
            }
        }
    }

    fn entry(&mut self, cluster: u64) -> Option<&mut Entry> {
        self.0.iter_mut().find(|entry| entry.cluster == cluster)
    }

    fn given(&mut self, cluster: u64, change: impl FnOnce(&mut Mark)) {
        if let Some(entry) = self.entry(cluster) {
            return change(&mut entry.mark);
        }
        if self.0.iter().filter(|entry| !entry.is_own).count() >= GIVEN_MAX {
            return;
        }
        let mut mark = Mark::default();
        change(&mut mark);
        if !mark.is_empty() {
            self.0.push(Entry { cluster, mark, is_own: false });
        }
    }

    /// Their tokens, save that of one cluster: those of the program's own clusters first, since there is a bound on how
    /// many are told.
    pub(crate) fn tokens(&mut self, except: Option<u64>) -> Vec<Told> {
        let mut all = Vec::new();
        for own in [true, false] {
            let those = |entry: &&mut Entry| entry.is_own == own && Some(entry.cluster) != except;
            self.0.iter_mut().filter(those).for_each(|entry| entry.mark.told(&mut all));
        }
        all
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
        let told = marks.tokens(None);
        assert!(matches!(&told[..], [Told::Now(token)] if token.to_string() == "pg.1.*"));
        // Until it is said that it is over.
        marks.change(1, |mark| mark.sure(soon));
        assert!(marks.change(1, |mark| mark.known() == Some(&at(30))));
    }

    #[test]
    fn where_nothing_was_written_there_is_nothing_to_see() {
        let nothing = Token::mariadb(1, Position::gtid("").unwrap());
        let mut marks = Marks::default();
        marks.observe(&nothing);
        marks.change(1, |mark| mark.observe(&nothing));
        assert!(marks.tokens(None).is_empty());
        marks.change(1, |mark| mark.observe(&Token::mariadb(1, Position::gtid("0-1-5").unwrap())));
        marks.change(1, |mark| mark.observe(&nothing));
        assert!(
            matches!(&marks.tokens(None)[..], [Told::Now(token)] if token.to_string() == "my.1.0-5")
        );
    }

    #[test]
    fn what_was_written_is_marked_whatever_came_from_outside() {
        let mut marks = Marks::default();
        for cluster in 100..300 {
            marks.observe(&Token::postgres(cluster, Position::Lsn(1)));
        }
        marks.change(7, |mark| mark.observe(&Token::postgres(7, Position::Lsn(9))));
        let told = marks.tokens(None);
        assert_eq!(told.len(), GIVEN_MAX + 1);
        assert!(matches!(&told[0], Told::Now(token) if token.cluster() == 7));
        let mut more = Marks::default();
        for cluster in 1000..1064 {
            more.observe(&Token::postgres(cluster, Position::Lsn(1)));
        }
        more.add(&marks);
        assert_eq!(more.tokens(None).len(), GIVEN_MAX + 1);
        assert_eq!(more.tokens(Some(7)).len(), GIVEN_MAX);
    }
}
