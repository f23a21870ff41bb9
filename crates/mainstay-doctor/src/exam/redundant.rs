//! Which indexes another one makes superfluous: the same on every engine.

/// An index as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Whatever tells the table from others.
    pub(super) table: String,
    /// As it is written in SQL.
    pub(super) name: String,
    /// Such as `btree`.
    pub(super) method: String,
    /// Each key with all that makes it another: column or expression, order, collation, class.
    pub(super) keys: Vec<String>,
    /// What is kept beside the keys.
    pub(super) included: Vec<String>,
    /// The condition of a partial one.
    pub(super) condition: String,
    pub(super) unique: bool,
    /// It can't be dropped without a constraint, or a replica needs it.
    pub(super) bound: bool,
    pub(super) bytes: u64,
}

/// One that may go, and the one that makes it superfluous, by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) goes: usize,
    pub(super) stays: usize,
    /// The keys are the same, and not only the first ones of more.
    pub(super) same: bool,
}

/// The pairs among `shapes`, which are in the order of their tables. Each index goes at most once.
pub(super) fn pairs(shapes: &[Shape]) -> Vec<Pair> {
    let mut out = Vec::new();
    let mut begin = 0;
    for group in shapes.chunk_by(|a, b| a.table == b.table) {
        // Of two that cover each other one stays: what went already is nobody's reason.
        let mut gone = vec![false; group.len()];
        for goes in (0..group.len()).rev() {
            let others = (0..group.len()).filter(|other| *other != goes && !gone[*other]);
            let best = others
                .filter(|other| covers(&group[*other], &group[goes]))
                .min_by_key(|other| group[*other].keys.len());
            if let Some(stays) = best {
                gone[goes] = true;
                let same = group[stays].keys.len() == group[goes].keys.len();
                out.push(Pair { goes: begin + goes, stays: begin + stays, same });
            }
        }
        begin += group.len();
    }
    out
}

/// Whether `stays` does all that `goes` does.
fn covers(stays: &Shape, goes: &Shape) -> bool {
    if stays.method != goes.method || stays.condition != goes.condition || goes.bound {
        return false;
    }
    let same = stays.keys == goes.keys;
    // Only trees are read by their first keys.
    let first =
        matches!(stays.method.as_str(), "btree" | "BTREE") && stays.keys.starts_with(&goes.keys);
    // A unique one enforces something, which more keys do not.
    let enforces = !goes.unique || (same && stays.unique);
    let included = goes
        .included
        .iter()
        .all(|column| stays.included.contains(column) || stays.keys.contains(column));
    enforces && included && (same || first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(name: &str, keys: &[&str]) -> Shape {
        let keys = keys.iter().map(|k| (*k).to_owned()).collect();
        Shape {
            table: "t".into(),
            name: name.into(),
            method: "btree".into(),
            keys,
            ..Shape::default()
        }
    }

    #[test]
    fn the_first_keys_of_another_are_superfluous() {
        let all = [shape("a", &["x"]), shape("ab", &["x", "y"]), shape("b", &["y"])];
        assert_eq!(pairs(&all), [Pair { goes: 0, stays: 1, same: false }]);
    }

    #[test]
    fn of_two_that_are_the_same_one_goes() {
        let unique = Shape { unique: true, ..shape("u", &["x"]) };
        let bound = Shape { bound: true, ..unique.clone() };
        let plain = shape("p", &["x"]);
        let of = |a: &Shape, b: &Shape| pairs(&[a.clone(), b.clone()]);
        assert_eq!(of(&plain, &plain), [Pair { goes: 1, stays: 0, same: true }]);
        assert_eq!(of(&plain, &unique), [Pair { goes: 0, stays: 1, same: true }]);
        assert_eq!(of(&unique, &plain), [Pair { goes: 1, stays: 0, same: true }]);
        assert_eq!(of(&bound, &unique), [Pair { goes: 1, stays: 0, same: true }]);
        assert_eq!(of(&bound, &bound), []);
    }

    #[test]
    fn what_does_more_is_not_superfluous() {
        let wide = shape("w", &["x", "y"]);
        for other in [
            Shape { unique: true, ..shape("a", &["x"]) },
            Shape { condition: "c".into(), ..shape("a", &["x"]) },
            Shape { method: "hash".into(), ..shape("a", &["x"]) },
            Shape { included: vec!["z".into()], ..shape("a", &["x"]) },
            Shape { table: "other".into(), ..shape("a", &["x"]) },
            shape("a", &["y"]),
            shape("a", &["x desc"]),
        ] {
            assert_eq!(pairs(&[wide.clone(), other.clone()]), [], "{other:?}");
        }
    }
}
