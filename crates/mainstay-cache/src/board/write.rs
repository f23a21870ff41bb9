//! What is written on a board, and the removal of old windows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_core::Result;

use super::entry::check_member;
use super::store::Slot;
use super::{Board, BoardStore, wrong};

impl Board {
    /// Adds `delta` to the score of `member`, which begins at 0; returns the new score. A delta of 0 puts it on
    /// the board.
    ///
    /// Errors: CACHE-004 where the score would leave its bounds, or the window is kept no more.
    pub async fn add(&self, member: &str, delta: i64) -> Result<i64> {
        let slot = self.slot_to_write(member)?;
        self.prune_if_new().await?;
        self.store.add(&slot, member, delta).await
    }

    /// Gives `member` a score, whatever it had.
    ///
    /// Errors: as [`add`](Self::add).
    pub async fn set(&self, member: &str, score: i64) -> Result<()> {
        let slot = self.slot_to_write(member)?;
        self.prune_if_new().await?;
        self.store.set(&slot, member, score).await
    }

    /// Takes `member` off the board; whether it was there.
    pub async fn remove(&self, member: &str) -> Result<bool> {
        check_member(member)?;
        match self.slot()? {
            Some(slot) => self.store.remove(&slot, member).await,
            None => Ok(false),
        }
    }

    /// Removes the windows that are not kept any more: how many lines. The first write of a new window does it
    /// by itself; on Redis they expire.
    pub async fn prune(&self) -> Result<u64> {
        // Refuses what is wrong with the board itself.
        self.slot()?;
        let now = self.moment(self.clock.wall())?;
        match self.window.oldest(now, self.keep) {
            Some((from, oldest)) => self.store.prune(&self.name, from, &oldest).await,
            None => Ok(0),
        }
    }

    fn slot_to_write(&self, member: &str) -> Result<Slot<'_>> {
        check_member(member)?;
        self.slot()?.ok_or_else(|| {
            wrong(format!("the window is over and not kept any more: {} are", self.keep))
                .fix("keep(..) more windows")
        })
    }

    /// At the first write of a window; once it is committed, where that is in a transaction: it may be much,
    /// and is none of its business.
    async fn prune_if_new(&self) -> Result<()> {
        let Ok(now) = self.moment(self.clock.wall()) else { return Ok(()) };
        let Some((from, oldest)) = self.window.oldest(now, self.keep) else { return Ok(()) };
        if *lock(&self.pruned) == oldest {
            return Ok(());
        }
        let hook = format!("mainstay board {} before {oldest}", self.name);
        // Not the board itself: a hook that held its own transaction would keep it.
        let (name, pruned) = (Arc::clone(&self.name), Arc::clone(&self.pruned));
        let prune = move |store: BoardStore| async move {
            if std::mem::replace(&mut *lock(&pruned), oldest.clone()) == oldest {
                return;
            }
            if let Err(error) = store.prune(&name, from, &oldest).await {
                tracing::warn!(board = &*name, %error, "old windows could not be removed");
            }
        };
        let Some(tx) = self.store.transaction() else {
            prune(self.store.clone()).await;
            return Ok(());
        };
        let prune = |db| async move {
            prune(BoardStore::sql(&db)).await;
            Ok(())
        };
        tx.after_commit_once(hook, prune).await
    }
}

fn lock(pruned: &Mutex<String>) -> MutexGuard<'_, String> {
    pruned.lock().unwrap_or_else(PoisonError::into_inner)
}
