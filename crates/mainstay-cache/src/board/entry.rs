//! What a leaderboard tells: ranks, and lines of the list.

use mainstay_core::Result;

use super::wrong;

/// How many lines are given at once.
pub const COUNT_MAX: u32 = 1000;
/// How long a member's name may be.
pub const MEMBER_BYTES_MAX: usize = 200;

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// One more than there are members with a higher score.
    pub rank: u64,
    /// The score.
    pub score: i64,
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// As [`Standing::rank`]: shared by those of one score.
    pub rank: u64,
    /// Who.
    pub member: String,
    /// The score.
    pub score: i64,
}

/// Lines that follow each other, without their ranks.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// How many lines come before the first of these.
    pub(super) before: u64,
    /// How many have a higher score than the first of these.
    pub(super) above: u64,
    pub(super) rows: Vec<(String, i64)>,
}

impl Lines {
    /// With their ranks: who has another score than the line before has the rank of its place.
    pub(super) fn ranked(self) -> Vec<Entry> {
        let mut out: Vec<Entry> = Vec::with_capacity(self.rows.len());
        for (place, (member, score)) in (self.before + 1..).zip(self.rows) {
            let rank = match out.last() {
                None => self.above + 1,
                Some(last) if last.score == score => last.rank,
                Some(_) => place,
            };
            out.push(Entry { rank, member, score });
        }
        out
    }
}

pub(super) fn check_member(member: &str) -> Result<()> {
    if member.is_empty() || member.len() > MEMBER_BYTES_MAX || member.contains('\0') {
        return Err(wrong(format!(
            "a member's name has 1 to {MEMBER_BYTES_MAX} bytes, and none of them is NUL"
        )));
    }
    Ok(())
}

pub(super) fn check_count(count: u32) -> Result<()> {
    if count > COUNT_MAX {
        return Err(wrong(format!("{count} lines at once: up to {COUNT_MAX} are given")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_score_share_a_rank_also_across_pages() {
        let rows = |scores: &[i64]| scores.iter().map(|s| (String::new(), *s)).collect();
        let ranks = |before, above, scores| -> Vec<u64> {
            let lines = Lines { before, above, rows: rows(scores) };
            lines.ranked().iter().map(|entry| entry.rank).collect()
        };
        assert_eq!(ranks(0, 0, &[9, 8, 8, 7]), [1, 2, 2, 4]);
        assert_eq!(ranks(2, 1, &[8, 7, 7]), [2, 4, 4]);
        assert_eq!(ranks(0, 0, &[]), Vec::<u64>::new());
    }
}
