//! Keys in their order, with the number of each: a treap whose nodes know the size of what is below them.
//! All operations are logarithmic for whatever order the keys come in, since the shape is drawn at random.

use std::cmp::Ordering;

use mainstay_core::rng::Rng;

/// No node.
const NIL: usize = usize::MAX;

/// A set of keys that can be counted and paged through.
#[derive(Debug)]
pub(super) struct Tree<K> {
    nodes: Vec<Node<K>>,
    /// Nodes that are not in use.
    free: Vec<usize>,
    root: usize,
    rng: Rng,
}

#[derive(Debug)]
struct Node<K> {
    /// `None` where it is free.
    key: Option<K>,
    /// Never below that of a node underneath.
    weight: u64,
    size: usize,
    left: usize,
    right: usize,
}

impl<K> Default for Tree<K> {
    fn default() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), root: NIL, rng: Rng::system() }
    }
}

impl<K: Ord> Tree<K> {
    pub(super) fn len(&self) -> usize {
        self.size(self.root)
    }

    /// Puts in `key`, which is not there yet.
    pub(super) fn insert(&mut self, key: K) {
        let (left, right) = self.split(self.root, &key);
        let weight = self.rng.u64(0..u64::MAX);
        let node = Node { key: Some(key), weight, size: 1, left: NIL, right: NIL };
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at] = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        let left = self.join(left, at);
        self.root = self.join(left, right);
    }

    /// Takes out `key`; whether it was there.
    pub(super) fn remove(&mut self, key: &K) -> bool {
        let before = self.len();
        self.root = self.without(self.root, key);
        self.len() < before
    }

    /// How many keys there are for which `comes_first` holds: it must hold for none after one for which it
    /// does not.
    pub(super) fn count(&self, comes_first: impl Fn(&K) -> bool) -> usize {
        let (mut at, mut count) = (self.root, 0);
        while at != NIL {
            let node = &self.nodes[at];
            if node.key.as_ref().is_some_and(&comes_first) {
                count += self.size(node.left) + 1;
                at = node.right;
            } else {
                at = node.left;
            }
        }
        count
    }

    /// Up to `count` keys in their order, without the first `skip`.
    pub(super) fn page(&self, skip: usize, count: usize) -> Vec<&K> {
        let mut out = Vec::with_capacity(count.min(self.len().saturating_sub(skip)));
        self.walk(self.root, skip, count, &mut out);
        out
    }

    fn walk<'t>(&'t self, at: usize, skip: usize, count: usize, out: &mut Vec<&'t K>) {
        if self.size(at) <= skip || out.len() >= count {
            return;
        }
        let node = &self.nodes[at];
        let left = self.size(node.left);
        self.walk(node.left, skip, count, out);
        if skip <= left && out.len() < count {
            out.extend(&node.key);
        }
        self.walk(node.right, skip.saturating_sub(left + 1), count, out);
    }

    fn size(&self, at: usize) -> usize {
        if at == NIL { 0 } else { self.nodes[at].size }
    }

    fn measure(&mut self, at: usize) {
        let (left, right) = (self.nodes[at].left, self.nodes[at].right);
        self.nodes[at].size = self.size(left) + self.size(right) + 1;
    }

    fn order(&self, at: usize, key: &K) -> Ordering {
        self.nodes[at].key.as_ref().cmp(&Some(key))
    }

    /// What comes before `key`, and the rest.
    fn split(&mut self, at: usize, key: &K) -> (usize, usize) {
        if at == NIL {
            return (NIL, NIL);
        }
        if self.order(at, key).is_lt() {
            let (left, right) = self.split(self.nodes[at].right, key);
            self.nodes[at].right = left;
            self.measure(at);
            (at, right)
        } else {
            let (left, right) = self.split(self.nodes[at].left, key);
            self.nodes[at].left = right;
            self.measure(at);
            (left, at)
        }
    }

    /// One tree of two, all of the first before all of the second.
    fn join(&mut self, left: usize, right: usize) -> usize {
        if left == NIL || right == NIL {
            return if left == NIL { right } else { left };
        }
        if self.nodes[left].weight > self.nodes[right].weight {
            self.nodes[left].right = self.join(self.nodes[left].right, right);
            self.measure(left);
            left
        } else {
            self.nodes[right].left = self.join(left, self.nodes[right].left);
            self.measure(right);
            right
        }
    }

    fn without(&mut self, at: usize, key: &K) -> usize {
        if at == NIL {
            return NIL;
        }
        match self.order(at, key) {
            Ordering::Less => self.nodes[at].right = self.without(self.nodes[at].right, key),
            Ordering::Greater => self.nodes[at].left = self.without(self.nodes[at].left, key),
            Ordering::Equal => {
                self.nodes[at].key = None;
                self.free.push(at);
                return self.join(self.nodes[at].left, self.nodes[at].right);
            }
        }
        self.measure(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_is_a_sorted_list() {
        let rng = Rng::seeded(7);
        let (mut tree, mut oracle) = (Tree::default(), BTreeSet::new());
        for _ in 0..20_000 {
            let key = rng.u64(0..500);
            if rng.u64(0..3) == 0 || oracle.contains(&key) {
                assert_eq!(tree.remove(&key), oracle.remove(&key));
            } else {
                tree.insert(key);
                oracle.insert(key);
            }
            assert_eq!(tree.len(), oracle.len());
            assert_eq!(tree.count(|k| *k < key), oracle.range(..key).count());
            let (skip, count) = (rng.u64(0..600) as usize, rng.u64(0..20) as usize);
            let page: Vec<u64> = tree.page(skip, count).into_iter().copied().collect();
            assert_eq!(page, oracle.iter().skip(skip).take(count).copied().collect::<Vec<_>>());
        }
        assert!(tree.nodes.len() <= 500, "nodes are used again");
    }

    #[test]
    fn keys_in_order_make_no_list_of_it() {
        fn depth<K>(tree: &Tree<K>, at: usize) -> usize {
            if at == NIL {
                return 0;
            }
            let node = &tree.nodes[at];
            1 + depth(tree, node.left).max(depth(tree, node.right))
        }
        let mut tree = Tree::default();
        (0..20_000).for_each(|key| tree.insert(key));
        assert!(depth(&tree, tree.root) < 80, "{}", depth(&tree, tree.root));
    }
}
