//! Claiming jobs that may have to wait for others: for their turn by key, for a limit of the fleet, for
//! their place in a rate, or to be apart since a worker died with them. It does not run them, and does not
//! decide when a failed one is tried again.
//!
//! **No wake-up is lost.** Claims of one queue come one after the other, under a lock of its row. Who ends
//! a job takes no such lock: in the transaction that ends it, it lets go of its keys and leaves a note
//! (`mainstay_freed`). Notes are only added there and only removed here, and they are read before who has
//! the keys is read: a key that comes free in between is seen free, and its note is still there for the
//! next claim.
//!
//! **Order by key holds.** Claims look at committed rows in order of priority and age. A key that comes
//! free is handed to the oldest job that waits for it, at once; and who has its turn keeps it while it
//! waits for something else, be it a limit, a rate or its next attempt. So whoever is younger finds the
//! key taken. Jobs of different priority are ordered by that as long as none of them waits for the key;
//! jobs enqueued by two transactions that were open at once have no order.
//!
//! **Nothing is stranded.** Whoever is parked waits for a key that somebody has, who will leave a note. What
//! breaks that (a limit was raised or dropped, a process runs with other limits than its fleet) is found
//! by [`unpark`].
//!
//! **Nothing is claimed twice.** Candidates are read without a lock; if one of them is gone by the time that
//! it is taken, all of the claim is rolled back and begun anew.
//!
//! A job is parked once for each key that it waits for, and each move costs a look in an index. A claim
//! is a number of statements that does not depend on how many jobs it moves, save one for each limit key
//! with more than one place, and two for each job that is given a later place in a rate.

mod decide;
mod keys;
mod rates;
mod release;
mod sweep;

use std::collections::BTreeSet;

use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Durability};

pub(crate) use release::{release_all, release_keys};
pub(crate) use sweep::unpark;

use super::claim::{Claimed, lease, short, take};
use super::{Sql, now, worker as known};
use crate::options::Options;
use crate::schema::named;
use crate::worker::queue::Limits;
use decide::{Book, Candidate, Decided, Decision, GROUP, Slot};

/// What a claim brought.
#[derive(Debug, Default)]
pub(crate) struct Careful {
    pub(crate) jobs: Vec<Claimed>,
    /// There may be more: something was moved, or somebody else was at it.
    pub(crate) more: bool,
}

/// The lane of those that a worker died with.
pub(crate) const SUSPECT: i16 = 2;
/// Candidates looked at in one claim, beyond those asked for.
const EXTRA: usize = 50;

const LOOK: &str = "SELECT (SELECT COUNT(*) FROM (SELECT id FROM mainstay_ready WHERE queue = $1 AND lane >= 1 LIMIT 1) AS a) \
     + (SELECT COUNT(*) FROM (SELECT id FROM mainstay_freed WHERE queue = $1 LIMIT 1) AS b) \
     + (SELECT COUNT(*) FROM (SELECT id FROM mainstay_ready WHERE queue = $1 AND lane = 0 AND $2 = 1 LIMIT 1) AS c)";

const LOCK: Sql = Sql {
    sqlite: "SELECT paused FROM mainstay_queue WHERE name = $1",
    postgres: "SELECT paused FROM mainstay_queue WHERE name = $1 FOR UPDATE SKIP LOCKED",
    mysql: "SELECT paused FROM mainstay_queue WHERE name = $1 FOR UPDATE SKIP LOCKED",
};

/// A row of what has ended has no job: it is taken away.
const FIND: &str = "SELECT r.id, r.lane, r.priority, j.crashes, j.options FROM mainstay_ready AS r \
     LEFT JOIN mainstay_job AS j ON j.id = r.id AND j.state = 0 \
     WHERE r.queue = $1 AND r.lane = $2 ORDER BY r.priority, r.id LIMIT $3";

/// Those that have a place in the queue's limit already: no more than that limit.
const FIND_PLACED: &str = "SELECT r.id, r.lane, r.priority, j.crashes, j.options FROM mainstay_holding AS h \
     JOIN mainstay_job AS j ON j.id = h.id AND j.state = 0 \
     JOIN mainstay_ready AS r ON r.queue = j.queue AND r.lane = j.lane AND r.priority = j.priority AND r.id = j.id \
     WHERE h.queue = $1 AND h.key_text = 'q'";

type Found = (i64, i16, i16, Option<i32>, Option<String>);

/// Claims up to `max` jobs of `queue` for `worker`: those with keys, and all where the queue has limits of
/// its own. With `suspects`, some that a worker died with may be among them, in a lease of their own.
///
/// Dropped half-way, it is rolled back, or what was claimed is in leases that are given back when the
/// worker's leases are compared with what it knows. Errors: JOB-001, and those of a statement.
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
    // As a free claim it need not reach the disk: what is forgotten is forgotten as a whole.
    let claimed = short(db)
        .durability(Durability::Async)
        .run(|tx| async move {
            let locked: Option<(i16,)> =
                tx.query(LOCK.on(tx.engine())).bind(queue).optional().await?;
            match locked {
                Some((0,)) => {
                    let claim = Claim { tx: &tx, worker, queue, limits };
                    Ok(Some(Box::pin(claim.run(max, suspects)).await?))
                }
                Some(_) => Ok(Some(Careful::default())),
                None => Ok(None),
            }
        })
        .await
        .map_err(named)?;
    match claimed {
        Some(claimed) => Ok(claimed),
        // Somebody else has it and looks at the same; or nobody has made the queue known.
        None => {
            let sql = "SELECT COUNT(*) FROM mainstay_queue WHERE name = $1";
            if db.query(sql).bind(queue).scalar::<i64>().await? == 0 {
                known::know_queues(db, &[queue.to_owned()]).await?;
            }
            Ok(Careful { jobs: Vec::new(), more: true })
        }
    }
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
        let unparked = keys::hand_on(self.tx, self.queue, self.limits, &freed).await?;
        let candidates = self.candidates(max + EXTRA, suspects).await?;
        if candidates.is_empty() {
            return Ok(Careful { jobs: Vec::new(), more: !freed.is_empty() });
        }
        let mut book = self.book(&candidates).await?;
        let before = book.rates.clone();
        let decided = decide::decide_all(candidates, self.limits, &mut book, max, suspects);
        // Places in the whole queue's rate are all later ones from here on; those of a key say nothing
        // of other keys.
        let moved = |decision: &Decision| match decision {
            Decision::Park(_) => true,
            Decision::Later(_) => self.limits.key_rate.is_some(),
            Decision::Run | Decision::Leave | Decision::Wait | Decision::Drop => false,
        };
        let more = unparked > 0 || decided.iter().any(|one| moved(&one.decision));
        let jobs = self.carry_out(&decided).await?;
        rates::set(self.tx, self.queue, &before, &book.rates).await?;
        Ok(Careful { jobs, more })
    }

    /// In their order. Suspects have a lane of their own: there may be thousands of them, which must not
    /// stand in the way of the others.
    async fn candidates(&self, max: usize, suspects: bool) -> Result<Vec<Candidate>> {
        let (tx, max) = (self.tx, max as i64);
        let mut found: Vec<Found> = Vec::new();
        let lanes: &[i16] = if self.limits.bind_all() { &[1, 0] } else { &[1] };
        for lane in lanes {
            let query = tx.query(FIND).bind(self.queue).bind(*lane).bind(max);
            found.extend(query.all::<Found>().await?);
        }
        if suspects {
            let query = tx.query(FIND).bind(self.queue).bind(SUSPECT).bind(GROUP as i64);
            found.extend(query.all::<Found>().await?);
        }
        if self.limits.global_concurrency.is_some() {
            // Given back while they had their place: nobody else may run instead of them, however many
            // are before them.
            found.extend(tx.query(FIND_PLACED).bind(self.queue).all::<Found>().await?);
        }
        let mut found: Vec<Candidate> = found.into_iter().map(candidate).collect();
        found.sort_by_key(|one| (one.priority, one.id));
        found.dedup_by_key(|one| one.id);
        Ok(found)
    }

    /// What has to be known for deciding about these.
    async fn book(&self, candidates: &[Candidate]) -> Result<Book> {
        const NOW: Sql = Sql {
            sqlite: concat!("SELECT ", now!(sqlite)),
            postgres: concat!("SELECT ", now!(postgres)),
            mysql: concat!("SELECT ", now!(mysql)),
        };
        let (mut held, mut rated) = (BTreeSet::new(), BTreeSet::new());
        for keys in candidates.iter().map(|one| one.keys(self.limits)) {
            rated.extend(keys.rated());
            held.extend(keys.held.into_iter().map(|(key, _)| key));
        }
        let held = keys::holders(self.tx, self.queue, &held).await?;
        if rated.is_empty() {
            return Ok(Book { held, ..Book::default() });
        }
        let rates = rates::read(self.tx, self.queue, &rated).await?;
        let now_us = self.tx.query(NOW.on(self.tx.engine())).scalar().await?;
        Ok(Book { held, rates, now_us })
    }

    /// Moves each to where it was decided, and leases those that run.
    async fn carry_out(&self, decided: &[Decided]) -> Result<Vec<Claimed>> {
        self.take_all(decided).await?;
        let (mut plain, mut suspects, mut parked) = (Vec::new(), Vec::new(), Vec::new());
        for Decided { one, decision, .. } in decided {
            match decision {
                Decision::Leave | Decision::Wait | Decision::Drop => {}
                Decision::Park(key) => parked.push((key.as_str(), one.id, one.priority)),
                Decision::Later(slot) => self.reserve(one, *slot).await?,
                Decision::Run => {
                    if one.options.rate_paid || one.options.key_rate_paid {
                        let options = one.options.clone();
                        let options = Options { rate_paid: false, key_rate_paid: false, ..options };
                        self.set_options(one.id, &options).await?;
                    }
                    let list = if one.crashes > 0 { &mut suspects } else { &mut plain };
                    list.push(one.id);
                }
            }
        }
        keys::park(self.tx, self.queue, &parked).await?;
        let mut jobs = Vec::new();
        if !plain.is_empty() {
            jobs = lease(self.tx, self.worker, self.queue, plain.into_iter()).await?;
        }
        if !suspects.is_empty() {
            jobs.extend(lease(self.tx, self.worker, self.queue, suspects.into_iter()).await?);
        }
        // What has ended meanwhile, by a worker that was taken for dead, is to have no key.
        let live: BTreeSet<i64> = jobs.iter().map(|job| job.id).collect();
        let has = |done: &&Decided| done.decision != Decision::Run || live.contains(&done.one.id);
        let held: Vec<(&str, i64)> = decided
            .iter()
            .filter(has)
            .flat_map(|done| done.keys.iter().map(|key| (key.as_str(), done.one.id)))
            .collect();
        keys::hold(self.tx, self.queue, &held).await?;
        Ok(jobs)
    }

    /// Takes those that are moved out of ready: all of them, or none. Who cancels one, and a worker that
    /// does not know of the queue's limits, takes no lock of the queue.
    async fn take_all(&self, decided: &[Decided]) -> Result<()> {
        for lane in [0, 1, SUSPECT] {
            let moved = |done: &&Decided| {
                done.one.lane == lane && !matches!(done.decision, Decision::Leave | Decision::Wait)
            };
            let rows: Vec<(i64, i16)> =
                decided.iter().filter(moved).map(|done| (done.one.id, done.one.priority)).collect();
            if rows.is_empty() {
                continue;
            }
            if take(self.tx, self.queue, lane, &rows).await? != rows.len() as u64 {
                let what = format!("jobs of `{}` were taken while they were claimed", self.queue);
                return Err(Error::new(Code::Serialization, what)
                    .why("somebody cancelled one, or claims the queue without its limits"));
            }
        }
        Ok(())
    }

    /// Its place in the rate is later: it need not be looked at before.
    async fn reserve(&self, one: &Candidate, slot: Slot) -> Result<()> {
        let options =
            Options { rate_paid: slot.paid_all, key_rate_paid: true, ..one.options.clone() };
        self.set_options(one.id, &options).await?;
        self.tx
            .query(
                "INSERT INTO mainstay_scheduled (run_us, id, queue, lane, priority) \
                 SELECT $2, id, queue, lane, priority FROM mainstay_job WHERE id = $1 AND state = 0",
            )
            .bind(one.id)
            .bind(slot.at_us)
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

fn candidate((id, lane, priority, crashes, options): Found) -> Candidate {
    // What cannot be read was written by a later release: it runs by the defaults of its type.
    let options = options.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Candidate {
        id,
        lane,
        priority,
        live: crashes.is_some(),
        crashes: crashes.unwrap_or(0),
        options,
    }
}
