//! Schemas of which one must hold: which of the new ones is which of the old.

use super::compare::{At, Comparing, Effect, Parts};
use super::shape::Shape;

impl<'a> Comparing<'a> {
    /// Compares choices. Says whether that was all there is to compare: where one side is a choice and the
    /// other is not, and where there is nothing beside the choices.
    pub(super) fn unions(
        &mut self,
        (old, older): (&Parts<'a>, &Shape<'a>),
        (new, newer): (&Parts<'a>, &Shape<'a>),
        at: &At,
    ) -> bool {
        let each = |union: &Parts<'a>| union.iter().map(|one| vec![*one]).collect::<Vec<_>>();
        match (older.unions.as_slice(), newer.unions.as_slice()) {
            ([], []) => false,
            ([union], []) if older.is_bare() => {
                self.alternatives(&each(union), std::slice::from_ref(new), at);
                true
            }
            ([], [union]) if newer.is_bare() => {
                self.alternatives(std::slice::from_ref(old), &each(union), at);
                true
            }
            (olds, news) => {
                for (old, new) in olds.iter().zip(news) {
                    self.alternatives(&each(old), &each(new), at);
                }
                for union in olds.iter().skip(news.len()) {
                    let what = format!("a choice of {} is no longer made", union.len());
                    self.effect(at, Effect::Widened, "choice-removed", what);
                }
                for union in news.iter().skip(olds.len()) {
                    let what = format!("a choice of {} must be made now", union.len());
                    self.effect(at, Effect::Narrowed, "choice-added", what);
                }
                false
            }
        }
    }

    /// First those of the same name, then those that are compatible; of two that are left, the one is taken
    /// for what the other became.
    fn alternatives(&mut self, old: &[Parts<'a>], new: &[Parts<'a>], at: &At) {
        let at = At { depth: at.depth + 1, ..at.clone() };
        let mut news: Vec<&Parts<'a>> = new.iter().collect();
        let mut left = Vec::new();
        for old in old {
            let same = news.iter().position(|new| name(old).is_some() && name(old) == name(new));
            match same {
                Some(place) => {
                    let new = news.remove(place);
                    self.schema(old, new, &at);
                }
                None => left.push(old),
            }
        }
        left.retain(|old| {
            let compatible = news.iter().position(|new| {
                let found = self.tried(|this| this.schema(old, new, &at));
                !found.iter().any(|difference| difference.breaking)
            });
            if let Some(place) = compatible {
                news.remove(place);
            }
            compatible.is_none()
        });
        if let ([old], [new]) = (left.as_slice(), news.as_slice()) {
            self.schema(old, new, &at);
            return;
        }
        for old in left {
            let what = format!("the alternative {} is gone", told(old));
            self.effect(&at, Effect::Narrowed, "alternative-removed", what);
        }
        for new in news {
            let what = format!("the alternative {} is new", told(new));
            self.effect(&at, Effect::Widened, "alternative-added", what);
        }
    }
}

/// What a reference leads to is called.
fn name<'a>(parts: &Parts<'a>) -> Option<&'a str> {
    match parts.as_slice() {
        [one] => one.get("$ref")?.as_str()?.rsplit('/').next(),
        _ => None,
    }
}

fn told(parts: &Parts<'_>) -> String {
    let word = |name: &str| parts.first()?.get(name)?.as_str();
    let known = name(parts).or(word("title")).or(word("type"));
    known.unwrap_or("without a name").to_owned()
}
