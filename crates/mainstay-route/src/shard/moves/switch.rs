//! The switch: writers of the logical shard are locked out for a moment, the last changes brought over, the source shut,
//! and the map changed. In this order: cut off in between, its writes fail until somebody resumes, and none is lost.

use std::time::{Duration, Instant};

use mainstay_core::{Code, Error, Result};

use super::going::Going;
use super::journal::State;
use super::mover::Mover;
use super::progress::Step;
use super::side::Side;
use super::which::Which;
use crate::shard::map::Map;

/// From asking for the lock to the source being shut; what does not fit is tried again. With the map's change that leaves
/// some room below the 500 ms that writes may be kept waiting.
const BUDGET: Duration = Duration::from_millis(350);
/// Then it is left as verified, to be resumed.
const ATTEMPTS: u32 = 60;
/// Others may change the map at the same time.
const MAPS: u32 = 10;
/// Entries that are brought over while writers wait.
const LAST: usize = 2000;

impl Going<'_> {
    /// Errors: ROUTE-050 where writers never let it in, or the map's placement was changed meanwhile; ROUTE-051.
    pub(super) async fn switch(&mut self) -> Result<()> {
        // Worked out before writers wait; where it is another by then, anew.
        let mut next = Some(self.next_map().await?);
        let began = self.shut().await?;
        self.tell(Step::Fenced, None);
        self.lead(&mut next).await?;
        let whole = began.map(|at| self.mover.clock.now().saturating_duration_since(at));
        self.longest(whole.unwrap_or_default());
        // The map is there; what it took is for the reader.
        self.lease.save().await?;
        self.tell(Step::Switched, None);
        Ok(())
    }

    fn longest(&mut self, pause: Duration) {
        self.lease.of.pause = self.lease.of.pause.max(pause);
    }

    /// Shuts the source; gives when writers began to wait, unless that was earlier.
    async fn shut(&mut self) -> Result<Option<Instant>> {
        for attempt in 0..ATTEMPTS {
            if self.source.is_fenced().await? {
                return Ok(None);
            }
            self.drain().await?;
            self.lease.beat().await?;
            self.tell(Step::Locking, None);
            self.source.begin().await?;
            let began = self.mover.clock.now();
            let clock = self.mover.clock.clone();
            let done = match clock.timeout_at(began + BUDGET, self.shut_within()).await {
                Some(Ok(true)) => return Ok(Some(began)),
                Some(done) => {
                    let rolled = self.source.rollback().await;
                    done.and(rolled)
                }
                // In the middle of something: what it was is over once its connection is.
                None => {
                    self.source.renew().await?;
                    self.target.renew().await
                }
            };
            self.longest(self.mover.clock.now().saturating_duration_since(began));
            match done {
                Err(error)
                    if !matches!(
                        error.code(),
                        Code::LockTimeout | Code::Deadlock | Code::Serialization
                    ) =>
                {
                    return Err(error);
                }
                _ => self.wait(attempt).await?,
            }
        }
        self.enter(State::Verified).await?;
        let what = format!("writers did not let the switch in, {ATTEMPTS} times");
        Err(Error::new(Code::MoveRefused, what)
            .why(format!(
                "each time it waits for {} ms alone, so that they are not kept waiting",
                super::side::LOCK_WAIT.as_millis()
            ))
            .fix("end the transactions that stay open on the logical shard, and resume"))
    }

    /// Under the lock, up to the commit that shuts the source; false where the lock did not come.
    async fn shut_within(&mut self) -> Result<bool> {
        if !self.source.lock(self.which.logical).await? {
            return Ok(false);
        }
        self.tell(Step::Locked, None);
        // None is added: what writes them waits.
        while self.follow_within(LAST).await? > 0 {}
        let restless = self.restless.clone();
        let differ = self.differing_within(&restless).await?;
        if !differ.is_empty() {
            return Err(self.differ(&differ));
        }
        self.tell(Step::Drained, None);
        let owner = self.lease.owner.clone();
        self.source.fence(&owner, true).await?;
        self.source.commit().await?;
        Ok(true)
    }

    /// The map that leads to the new shard, and the epoch that it comes after. Errors: ROUTE-050, ROUTE-023.
    async fn next_map(&self) -> Result<(Map, u64)> {
        let (map, epoch) = self.mover.newest().await?;
        let (logical, from) = (self.lease.of.logical, self.lease.of.from.as_str());
        let same = Which::new(&map, logical).fingerprint() == self.lease.of.placed;
        if !same || map.owner(logical) != Some(from) {
            return Err(replaced());
        }
        Ok((map.assign(logical, &self.lease.of.to)?, epoch))
    }

    /// Changes the map. Errors: ROUTE-050, ROUTE-023, and those of the catalogue; the source stays shut then.
    async fn lead(&mut self, next: &mut Option<(Map, u64)>) -> Result<()> {
        let mut last = None;
        for attempt in 0..MAPS {
            let (map, epoch) = match next.take() {
                Some(next) => next,
                None => self.next_map().await?,
            };
            match self.lease.save_map(&map, epoch).await {
                Ok(saved) => {
                    // Others hear of it by their own looks.
                    if let Err(error) = self.mover.shards.replace_map(saved) {
                        tracing::debug!(%error, "the map was brought up to date by another");
                    }
                    return Ok(());
                }
                Err(error) if error.code() == Code::ShardStale => last = Some(error),
                Err(error) => return Err(error),
            }
            self.wait(attempt).await?;
        }
        Err(last.unwrap_or_else(replaced))
    }
}

impl Mover {
    /// Opens the source again. Nobody can change the map for this move any more.
    pub(super) async fn open_again(&self, going: &mut Going<'_>) -> Result<()> {
        let owner = going.lease.owner.clone();
        for attempt in 0..ATTEMPTS {
            if !going.source.is_fenced().await? {
                return Ok(());
            }
            going.source.begin().await?;
            let done = unlocked(&mut going.source, going.which.logical, &owner).await;
            match done {
                Ok(true) => return Ok(()),
                Ok(false) => going.source.rollback().await?,
                Err(error) => {
                    going.source.rollback().await?;
                    return Err(error);
                }
            }
            going.wait(attempt).await?;
        }
        Err(Error::new(
            Code::MoveRefused,
            "the source could not be opened again between its writers",
        )
        .fix("end the transactions that stay open on it, and roll back again"))
    }
}

async fn unlocked(source: &mut Side, logical: u16, owner: &str) -> Result<bool> {
    if !source.lock(logical).await? {
        return Ok(false);
    }
    source.fence(owner, false).await?;
    source.commit().await?;
    Ok(true)
}

pub(super) fn replaced() -> Error {
    Error::new(Code::MoveRefused, "the map places keys otherwise than when the move began")
        .why("a pin or the placement was changed meanwhile, and which rows move with it")
        .fix("roll the move back, and begin anew")
}
