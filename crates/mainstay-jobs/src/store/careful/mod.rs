//! Claiming jobs that may have to wait for others: for their turn by key, for a limit of the fleet, or to
//! be alone since a worker died with them.
//!
//! Claims of one queue come one after the other, under a lock of its row, so each sees what those before
//! it committed: that keeps the order by key, and the counts. Who ends a job takes no such lock: it lets
//! go of its keys and leaves a note (`mainstay_freed`), which the next claim reads. A note is only ever
//! added there and only removed here, so none is missed; a job that is parked while a key comes free is
//! found by the note that is committed with it, or the claim saw the key free.
//!
//! A job is parked at most once a key that it waits for, and each move costs a look in an index.

mod decide;
mod keys;

use std::collections::BTreeMap;

use mainstay_core::Result;
use mainstay_db::{Db, Engine};

pub(crate) use keys::{release_keys, unpark};

use super::claim::{Claimed, lease, short, take};
use super::enqueue::named;
use super::{Sql, json, now};
use crate::options::{Options, micros};
use crate::worker::queue::Limits;
use decide::{Candidate, Decision, Keys};

/// What a claim brought.
#[derive(Debug, Default)]
pub(crate) struct Careful {
    pub(crate) jobs: Vec<Claimed>,
    /// There may be more: something was moved, or somebody else was at it.
    pub(crate) more: bool,
}

/// Candidates looked at in one claim, beyond those asked for.
const EXTRA: usize = 50;

const LOOK: &str = "SELECT (SELECT COUNT(*) FROM (SELECT id FROM mainstay_ready WHERE queue = $1 AND lane = 1 LIMIT 1) AS a) \
     + (SELECT COUNT(*) FROM (SELECT id FROM mainstay_freed WHERE queue = $1 LIMIT 1) AS b) \
     + (SELECT COUNT(*) FROM (SELECT id FROM mainstay_ready WHERE queue = $1 AND lane = 0 AND $2 = 1 LIMIT 1) AS c)";

const LOCK: Sql = Sql {
    sqlite: "SELECT paused FROM mainstay_queue WHERE name = $1",
    postgres: "SELECT paused FROM mainstay_queue WHERE name = $1 FOR UPDATE SKIP LOCKED",
    mysql: "SELECT paused FROM mainstay_queue WHERE name = $1 FOR UPDATE SKIP LOCKED",
};

/// Claims up to `max` jobs of `queue` for `worker`: those with keys, and all where the queue has limits of
/// its own. With `suspects`, one that a worker died with may be among them.
pub(crate) async fn claim(
    db: &Db,
    worker: i64,
    queue: &str,
    limits: &Limits,
    max: usize,
    suspects: bool,
) -> Result<Careful> {
    let all = i64::from(limits.bind_all());
    // Looking costs no lock, and most queues have nothing of the kind.
    let anything: i64 = db.query(LOOK).bind(queue).bind(all).scalar().await.map_err(named)?;
    if anything == 0 {
        return Ok(Careful::default());
    }
    short(db)
        .run(|tx| async move {
            let locked: Option<(i16,)> =
                tx.query(LOCK.on(tx.engine())).bind(queue).optional().await?;
            match locked {
                Some((0,)) => Claim { tx: &tx, worker, queue, limits }.run(max, suspects).await,
                Some(_) => Ok(Careful::default()),
                // Somebody else has it, and looks at the same.
                None => Ok(Careful { jobs: Vec::new(), more: tx.engine() != Engine::Sqlite }),
            }
        })
        .await
        .map_err(named)
}

struct Claim<'c> {
    tx: &'c Db,
    worker: i64,
    queue: &'c str,
    limits: &'c Limits,
}

impl Claim<'_> {
    async fn run(&self, max: usize, suspects: bool) -> Result<Careful> {
        let freed = keys::take_freed(self.tx, self.queue, max * 4 + EXTRA).await?;
        let mut unparked = 0;
        for key in &freed {
            unparked += keys::unpark_one(self.tx, self.queue, self.limits, key).await?;
        }
        let candidates = self.candidates(max + EXTRA).await?;
        if candidates.is_empty() {
            return Ok(Careful { jobs: Vec::new(), more: !freed.is_empty() });
        }
        let asked: Vec<String> =
            candidates.iter().flat_map(|one| one.keys(self.limits).all()).collect();
        let mut held = keys::held(self.tx, self.queue, &asked).await?;
        let mut rates = self.rates(&candidates).await?;
        let before = rates.clone();
        let now_us = self.now_us().await?;
        let mut decided: Vec<(Candidate, Decision)> = Vec::new();
        let (mut count, mut suspect) = (0, false);
        for candidate in candidates {
            if count >= max {
                break;
            }
            let may_suspect = suspects && !suspect;
            let decision =
                decide::decide(&candidate, self.limits, &mut held, &mut rates, now_us, may_suspect);
            count += usize::from(matches!(decision, Decision::Run));
            suspect |= candidate.crashes > 0 && matches!(decision, Decision::Run);
            decided.push((candidate, decision));
        }
        let more = decided.iter().any(|(_, d)| matches!(d, Decision::Park(_))) || unparked > 0;
        let jobs = self.carry_out(&decided).await?;
        keys::set_rates(self.tx, self.queue, &before, &rates).await?;
        Ok(Careful { jobs, more })
    }

    async fn candidates(&self, max: usize) -> Result<Vec<Candidate>> {
        // A suspect that may not run must not stand in the way of the others.
        const FIND: &str = "SELECT j.id, r.lane, j.priority, j.crashes, j.options FROM mainstay_ready AS r \
             JOIN mainstay_job AS j ON j.id = r.id WHERE r.queue = $1 AND r.lane = $2 \
             ORDER BY r.priority, r.id LIMIT $3";
        let mut found = Vec::new();
        let lanes: &[i16] = if self.limits.bind_all() { &[1, 0] } else { &[1] };
        for lane in lanes {
            let rows: Vec<(i64, i16, i16, i32, Option<String>)> =
                self.tx.query(FIND).bind(self.queue).bind(*lane).bind(max as i64).all().await?;
            found.extend(rows);
        }
        let read = |(id, lane, priority, crashes, options): (_, _, _, _, Option<String>)| {
            let options = options.and_then(|text| serde_json::from_str(&text).ok());
            let options: Options = options.unwrap_or_default();
            Candidate { id, lane, priority, crashes, options }
        };
        let mut found: Vec<Candidate> = found.into_iter().map(read).collect();
        found.sort_by_key(|one| (one.priority, one.id));
        Ok(found)
    }

    async fn now_us(&self) -> Result<i64> {
        const NOW: Sql = Sql {
            sqlite: concat!("SELECT ", now!(sqlite)),
            postgres: concat!("SELECT ", now!(postgres)),
            mysql: concat!("SELECT ", now!(mysql)),
        };
        self.tx.query(NOW.on(self.tx.engine())).scalar().await
    }

    async fn rates(&self, candidates: &[Candidate]) -> Result<BTreeMap<String, i64>> {
        if self.limits.rate.is_none() && self.limits.key_rate.is_none() {
            return Ok(BTreeMap::new());
        }
        let keys: Vec<Keys> = candidates.iter().map(|one| one.keys(self.limits)).collect();
        let wanted = keys.iter().flat_map(Keys::rated);
        keys::rates(self.tx, self.queue, &wanted.collect::<Vec<_>>()).await
    }

    /// Moves each to where it was decided, and leases those that run.
    async fn carry_out(&self, decided: &[(Candidate, Decision)]) -> Result<Vec<Claimed>> {
        for lane in [0, 1] {
            let leave = |(one, decision): &&(Candidate, Decision)| {
                one.lane == lane && !matches!(decision, Decision::Leave)
            };
            let rows: Vec<(i64, i16)> =
                decided.iter().filter(leave).map(|(one, _)| (one.id, one.priority)).collect();
            if !rows.is_empty() {
                take(self.tx, self.queue, lane, &rows).await?;
            }
        }
        let (mut plain, mut suspects) = (Vec::new(), Vec::new());
        for (one, decision) in decided {
            match decision {
                Decision::Leave => {}
                Decision::Park(key) => keys::park(self.tx, self.queue, key, one).await?,
                Decision::Slot(run_us) => self.reserve(one, *run_us).await?,
                Decision::Run => {
                    keys::hold(self.tx, self.queue, one.id, &one.keys(self.limits)).await?;
                    if one.options.rate_paid {
                        let options = Options { rate_paid: false, ..one.options.clone() };
                        self.set_options(one.id, &options).await?;
                    }
                    let list = if one.crashes > 0 { &mut suspects } else { &mut plain };
                    list.push(one.id);
                }
            }
        }
        let mut jobs = Vec::new();
        if !plain.is_empty() {
            jobs = lease(self.tx, self.worker, self.queue, plain.into_iter()).await?;
        }
        for id in suspects {
            jobs.extend(lease(self.tx, self.worker, self.queue, [id].into_iter()).await?);
        }
        Ok(jobs)
    }

    /// Its place in the rate is at that time: it need not be looked at before.
    async fn reserve(&self, one: &Candidate, run_us: i64) -> Result<()> {
        let options = Options { rate_paid: true, ..one.options.clone() };
        self.set_options(one.id, &options).await?;
        self.tx
            .query(
                "INSERT INTO mainstay_scheduled (run_us, id, queue, lane, priority) \
                 SELECT $2, id, queue, lane, priority FROM mainstay_job WHERE id = $1 AND state = 0",
            )
            .bind(one.id)
            .bind(run_us)
            .execute()
            .await?;
        Ok(())
    }

    async fn set_options(&self, id: i64, options: &Options) -> Result<()> {
        let update = self.tx.query("UPDATE mainstay_job SET options = $2 WHERE id = $1");
        update.bind(id).bind(options.to_text()).execute().await?;
        Ok(())
    }
}

/// A rate as the time between two starts.
fn interval_us(rate: crate::worker::queue::Rate) -> i64 {
    (micros(rate.per) / i64::from(rate.count)).max(1)
}

/// Its parameter.
fn list(keys: &[String]) -> String {
    serde_json::to_string(keys).unwrap_or_else(|_| json([]))
}
