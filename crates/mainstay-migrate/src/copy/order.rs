//! The order in which tables are copied: what is referred to before what refers to it.

/// Indices in an order that keeps foreign keys, and those that no order does: which refer to each other
/// in a circle. `references[n]` are the indices that table `n` refers to; itself does not count.
pub(super) fn order(references: &[Vec<usize>]) -> (Vec<usize>, Vec<usize>) {
    let mut left: Vec<usize> = (0..references.len()).collect();
    let mut out = Vec::with_capacity(left.len());
    take_ready(references, &mut left, &mut out);
    let circle = circle(references, left.clone());
    // What refers to the circle comes after it.
    left.retain(|n| !circle.contains(n));
    out.extend(&circle);
    take_ready(references, &mut left, &mut out);
    out.extend(left);
    (out, circle)
}

/// Moves what waits for nothing that is left, until all that is left waits.
fn take_ready(references: &[Vec<usize>], left: &mut Vec<usize>, out: &mut Vec<usize>) {
    loop {
        let waits = |n: usize| references[n].iter().any(|r| *r != n && left.contains(r));
        let ready: Vec<usize> = left.iter().copied().filter(|n| !waits(*n)).collect();
        if ready.is_empty() {
            return;
        }
        left.retain(|n| !ready.contains(n));
        out.extend(ready);
    }
}

/// Without those that only refer to the circle, and that nobody in it refers to.
fn circle(references: &[Vec<usize>], mut left: Vec<usize>) -> Vec<usize> {
    loop {
        let wanted = |n: usize| left.iter().any(|o| *o != n && references[*o].contains(&n));
        let kept: Vec<usize> = left.iter().copied().filter(|n| wanted(*n)).collect();
        if kept.len() == left.len() {
            return left;
        }
        left = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_referred_to_comes_first() {
        assert_eq!(order(&[vec![1], vec![2], vec![]]), (vec![2, 1, 0], vec![]));
        // To itself is no circle.
        assert_eq!(order(&[vec![0], vec![]]), (vec![0, 1], vec![]));
        let (all, circle) = order(&[vec![1], vec![0], vec![0], vec![]]);
        assert_eq!((all, circle), (vec![3, 0, 1, 2], vec![0, 1]));
        let (all, circle) = order(&[vec![1], vec![2], vec![3], vec![2]]);
        assert_eq!((all, circle), (vec![2, 3, 1, 0], vec![2, 3]));
    }
}
