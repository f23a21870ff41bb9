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
/// For so long the map's change is tried, once the source is shut: others may change it at the same time, and the
/// catalogue may be away for a moment.
const LEAD: Duration = Duration::from_secs(10);
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
            self.source.begin_brief().await?;
            let began = self.mover.clock.now();
            let clock = self.mover.clock.clone();
            let tried = clock.timeout_at(began + BUDGET, self.shut_within()).await;
            let late = clock.now() >= began + BUDGET;
            let done = match tried {
                Some(Ok(true)) => return Ok(Some(began)),
                Some(Ok(false)) => self.source.rollback().await,
                Some(Err(error)) if !late || is_of_the_move(&error) => {
                    self.source.undo().await;
                    Err(error)
                }
                // In the middle of something: what it was is over once its connection is. Or stopped for so long that the
                // server has ended it; if it was shut all the same, the next look tells.
                _ => {
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
        // The catalogue's: whether this handle has a database for each of its shards is of no matter here.
        let (map, epoch) = self.mover.stored().await?;
        let (logical, from) = (self.lease.of.logical, self.lease.of.from.as_str());
        let same = Which::new(&map, logical).fingerprint() == self.lease.of.placed;
        if !same || map.owner(logical) != Some(from) {
            return Err(replaced());
        }
        Ok((map.assign(logical, &self.lease.of.to)?, epoch))
    }

    /// Changes the map. Nobody can write until then: what may pass is tried again for a while.
    ///
    /// Errors: ROUTE-050, ROUTE-023, and those of the catalogue; the source stays shut then.
    async fn lead(&mut self, next: &mut Option<(Map, u64)>) -> Result<()> {
        let clock = self.mover.clock.clone();
        let until = clock.now() + LEAD;
        for attempt in 0.. {
            let error = match self.lead_once(next.take(), attempt > 0).await {
                Ok(saved) => {
                    // Others hear of it by their own looks.
                    if let Err(error) = self.mover.shards.replace_map(saved) {
                        tracing::debug!(%error, "the map was brought up to date by another");
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            if error.code() == Code::MoveUnfinished {
                return Err(error);
            }
            let lasts =
                matches!(error.code(), Code::MoveRefused | Code::ShardMap | Code::ShardResidency);
            if lasts || clock.now() >= until {
                let logical = self.lease.of.logical;
                return Err(error.note(format!(
                    "writes to the logical shard {logical} fail with ROUTE-026 until the move is resumed or rolled back"
                )));
            }
            // Without a sign of life to the catalogue, which may be what does not answer.
            let wait = Duration::from_millis(20) * 2u32.saturating_pow(attempt.min(4));
            clock.sleep(self.mover.rng.jittered(wait, 0.5)).await;
        }
        Ok(())
    }

    /// Once; where it was tried before, it may have been done by a commit whose answer did not come.
    async fn lead_once(&mut self, next: Option<(Map, u64)>, again: bool) -> Result<Map> {
        if again && self.lease.is_done().await? {
            return Ok(self.mover.stored().await?.0);
        }
        let (map, epoch) = match next {
            Some(next) => next,
            None => self.next_map().await?,
        };
        let done = self.lease.save_map(&map, epoch).await;
        // That commit may have come only now.
        let taken = done.as_ref().is_err_and(|error| error.code() == Code::MoveUnfinished);
        if again && taken && self.lease.is_done().await? {
            return Ok(self.mover.stored().await?.0);
        }
        done
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
            going.source.begin_brief().await?;
            let done = unlocked(&mut going.source, going.which.logical, &owner).await;
            match done {
                Ok(true) => return Ok(()),
                Ok(false) => going.source.rollback().await?,
                Err(error) => {
                    going.source.undo().await;
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

/// What no other try changes.
fn is_of_the_move(error: &Error) -> bool {
    matches!(error.code(), Code::MoveRefused | Code::MoveUnfinished | Code::MoveVerify)
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
