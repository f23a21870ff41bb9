//! Users that write and then read what they wrote, many at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use mainstay::scope::{Kind, Scope};
use mainstay::{Db, Retry};

use super::{now, since};

/// Each has a row of its own.
pub(super) const USERS: usize = 64;

/// Reads of one pair.
const READS_MAX: u32 = 5;

/// What a row has by now, over all runs.
static WRITTEN: AtomicI64 = AtomicI64::new(0);

/// How a user writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// In a transaction, whose COMMIT tells the position.
    Transaction,
    /// By a statement of its own, whose position nobody tells.
    Statement,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) pairs: u64,
    pub(super) stale: u64,
    pub(super) took: Duration,
}

/// So many pairs in all, or as many as there is time for; `handle` gives a user's.
pub(super) async fn pairs(
    handle: impl Fn() -> Db,
    write: Write,
    count: u64,
    limit: Duration,
) -> Seen {
    let left = Arc::new(AtomicU64::new(count));
    let (begun, end) = (now(), now() + limit);
    let user = |user: usize| tokio::spawn(one_user(handle(), user, write, Arc::clone(&left), end));
    let all: Vec<_> = (0..USERS).map(user).collect();
    let mut seen = Seen::default();
    for user in all {
        let (pairs, stale) = user.await.expect("no panic");
        seen.pairs += pairs;
        seen.stale += stale;
    }
    seen.took = since(begun);
    seen
}

async fn one_user(
    db: Db,
    user: usize,
    write: Write,
    left: Arc<AtomicU64>,
    end: Instant,
) -> (u64, u64) {
    let (mut pairs, mut stale) = (0, 0);
    let one_less = |n: u64| n.checked_sub(1);
    while now() < end && left.fetch_update(SeqCst, SeqCst, one_less).is_ok() {
        let request = Scope::new(Kind::Request, "POST /pairs");
        let fresh = request.run(pair(&db, user as i64, write, Duration::ZERO)).await;
        pairs += 1;
        stale += u64::from(!fresh);
    }
    (pairs, stale)
}

/// Whether what is read, so long after it was written, is what was written.
pub(super) async fn pair(db: &Db, user: i64, write: Write, pause: Duration) -> bool {
    const UPDATE: &str = "UPDATE pairs SET n = $1 WHERE id = $2";
    let n = WRITTEN.fetch_add(1, SeqCst) + 1;
    let wrote = match write {
        Write::Transaction => {
            db.transaction(|tx| async move {
                tx.query(UPDATE).bind(n).bind(user).execute().await.map(drop)
            })
            .await
        }
        Write::Statement => db.query(UPDATE).bind(n).bind(user).execute().await.map(drop),
    };
    wrote.expect("it is written");
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    let sql = "SELECT n FROM pairs WHERE id = $1";
    for _ in 0..READS_MAX {
        match db.query(sql).bind(user).scalar::<i64>().await {
            Ok(found) => return found == n,
            // A replica ends a read that is in the way of what it applies: a peer's user reads again.
            Err(error) if error.retryability() == Retry::Transaction => {}
            Err(error) => panic!("it is read: {error:?}"),
        }
    }
    panic!("it is read in {READS_MAX} times")
}
