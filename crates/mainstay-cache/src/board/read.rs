//! What is asked of a board.

use mainstay_core::Result;

use super::Board;
use super::entry::{Entry, Standing, check_count, check_member};

impl Board {
    /// Where `member` stands; `None` if it has no score.
    ///
    /// Memory and Redis count those above in logarithmic time; a database reads their lines in the index.
    pub async fn rank(&self, member: &str) -> Result<Option<Standing>> {
        check_member(member)?;
        match self.slot()? {
            Some(slot) => self.store.standing(&slot, member).await,
            None => Ok(None),
        }
    }

    /// The first `count` lines, up to 1000.
    pub async fn top(&self, count: u32) -> Result<Vec<Entry>> {
        self.range(1, count).await
    }

    /// `count` lines, up to 1000, from the `from`th on, counted from 1. Lines are counted one by one, also
    /// where they share a rank, so that pages follow each other. A database reads all lines before them.
    ///
    /// Errors: CACHE-004 where `from` is 0 or `count` too large.
    pub async fn range(&self, from: u64, count: u32) -> Result<Vec<Entry>> {
        check_count(count)?;
        let Some(before) = from.checked_sub(1) else {
            return Err(super::wrong("lines are counted from 1"));
        };
        match self.slot()? {
            Some(slot) if count > 0 => Ok(self.store.range(&slot, before, count).await?.ranked()),
            _ => Ok(Vec::new()),
        }
    }

    /// `member`'s line with up to `count` before it and up to `count` after it, up to 1000; empty if it has no
    /// score.
    pub async fn around(&self, member: &str, count: u32) -> Result<Vec<Entry>> {
        check_member(member)?;
        check_count(count)?;
        match self.slot()? {
            Some(slot) => Ok(self.store.around(&slot, member, count).await?.ranked()),
            None => Ok(Vec::new()),
        }
    }

    /// How many members have a score.
    pub async fn len(&self) -> Result<u64> {
        match self.slot()? {
            Some(slot) => self.store.len(&slot).await,
            None => Ok(0),
        }
    }

    /// Whether no member has a score.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.len().await? == 0)
    }
}
