//! Seeded writers while a logical shard moves, and moves back: each knows what it has committed, and all of it is there
//! in the end, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use mainstay_core::Result;
use mainstay_db::{Db, Isolation};
use mainstay_route::shard::moves::State;
use mainstay_route::shard::{Shards, ToKey};
use mainstay_testkit::Engine;

use super::support::{LOGICAL, Two, count, keys, nothing_left, orders};

const WRITERS: u64 = 4;
const USERS: usize = 24;

crate::on_servers!(nothing_is_lost_or_doubled_under_load);

/// What a writer has committed: its orders, with their users and cents.
type Own = BTreeMap<i64, (i64, i64)>;

struct Writer {
    shards: Shards,
    random: fastrand::Rng,
    users: Vec<i64>,
    others: Vec<i64>,
    next: i64,
    own: Own,
}

impl Writer {
    /// One piece of work, on the shard of the users that it is about.
    async fn work(&mut self) -> Result<()> {
        let user = self.users[self.random.usize(0..self.users.len())];
        let cents = self.random.i64(0..10_000);
        let some = self.some();
        match (self.random.u8(0..10), some) {
            (0..=3, _) | (_, None) => {
                let id = self.next;
                self.next += 1;
                let insert = |db: Db| async move {
                    let sql = "INSERT INTO orders (id, user_id, cents) VALUES ($1, $2, $3)";
                    db.query(sql).bind(id).bind(user).bind(cents).execute().await
                };
                self.shards.run(&user, insert).await?;
                self.own.insert(id, (user, cents));
            }
            (4..=5, Some((id, of))) => {
                let update = |db: Db| async move {
                    let sql = "UPDATE orders SET cents = $1, note = 'x' WHERE id = $2";
                    Ok(db.query(sql).bind(cents).bind(id).execute().await?.rows_affected())
                };
                assert_eq!(
                    self.shards.run(&of, update).await?,
                    1,
                    "the order is where its user is"
                );
                self.own.insert(id, (of, cents));
            }
            (6, Some((id, of))) => {
                let delete = |db: Db| async move {
                    Ok(db
                        .query("DELETE FROM orders WHERE id = $1")
                        .bind(id)
                        .execute()
                        .await?
                        .rows_affected())
                };
                assert_eq!(self.shards.run(&of, delete).await?, 1);
                self.own.remove(&id);
            }
            (7, Some((id, of))) => self.give_away(id, of, user).await?,
            (_, Some((id, of))) => self.exchange(id, of, cents).await?,
        }
        Ok(())
    }

    fn some(&mut self) -> Option<(i64, i64)> {
        let at = self.random.usize(0..self.own.len().max(1));
        self.own.iter().nth(at).map(|(id, (user, _))| (*id, *user))
    }

    /// An order changes its user, and its id with it: among those of the logical shard, or to another one for a moment, as
    /// long as both are on the same shard.
    async fn give_away(&mut self, id: i64, of: i64, to: i64) -> Result<()> {
        let (there, fresh) = (self.others[self.random.usize(0..self.others.len())], self.next);
        self.next += 1;
        let both = self.shards.of(&there)?.name() == self.shards.of(&of)?.name();
        let shards = self.shards.clone();
        let change = |db: Db| {
            let aside = both && shards.of(&there).is_ok_and(|other| other.name() == db.name());
            async move {
                db.transaction(|tx| async move {
                    if aside {
                        let sql = "UPDATE orders SET user_id = $1 WHERE id = $2";
                        tx.query(sql).bind(there).bind(id).execute().await?;
                    }
                    let sql = "UPDATE orders SET user_id = $1, id = $2 WHERE id = $3";
                    tx.query(sql).bind(to).bind(fresh).bind(id).execute().await
                })
                .await
            }
        };
        match self.shards.run(&of, change).await {
            Ok(done) => {
                assert_eq!(done.rows_affected(), 1);
                let (_, cents) = self.own.remove(&id).unwrap();
                self.own.insert(fresh, (to, cents));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Cents from one order to another, in a transaction of whichever isolation.
    async fn exchange(&mut self, id: i64, of: i64, cents: i64) -> Result<()> {
        let Some((other, _)) = self.some().filter(|(other, _)| *other != id) else { return Ok(()) };
        let level = [Isolation::ReadCommitted, Isolation::RepeatableRead][self.random.usize(0..2)];
        let transfer = |db: Db| async move {
            let work = |tx: Db| async move {
                for (id, cents) in [(id, -cents), (other, cents)] {
                    let sql = "UPDATE orders SET cents = cents + $1 WHERE id = $2";
                    let done = tx.query(sql).bind(cents).bind(id).execute().await?;
                    assert_eq!(done.rows_affected(), 1);
                }
                Ok(())
            };
            db.tx().isolation(level).run(work).await
        };
        self.shards.run(&of, transfer).await?;
        for (id, cents) in [(id, -cents), (other, cents)] {
            self.own.get_mut(&id).unwrap().1 += cents;
        }
        Ok(())
    }
}

async fn nothing_is_lost_or_doubled_under_load(engine: Engine) {
    let two = Two::orders(engine).await;
    two.fill(USERS).await;
    let before = orders(&two.a).await;
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let longest = Arc::new(AtomicU64::new(0));
    let mut writers = Vec::new();
    for n in 0..WRITERS {
        // Each with a handle of its own, as processes have.
        let shards = two.stale();
        shards.watch(two.store.clone(), Duration::from_secs(3600));
        let mut writer = Writer {
            shards,
            random: fastrand::Rng::with_seed(n),
            users: keys(LOGICAL, USERS),
            others: (1..).filter(|n: &i64| n.to_key().logical() != LOGICAL).take(USERS).collect(),
            next: 1_000_000_000 * (n as i64 + 1),
            own: Own::new(),
        };
        let (stop, written, longest) =
            (Arc::clone(&stop), Arc::clone(&written), Arc::clone(&longest));
        writers.push(tokio::spawn(async move {
            let clock = mainstay_core::clock::Clock::system();
            while !stop.load(SeqCst) {
                let began = clock.now();
                writer.work().await.unwrap_or_else(|e| panic!("writer {n}: {}", e.report()));
                longest.fetch_max((clock.now() - began).as_micros() as u64, SeqCst);
                written.fetch_add(1, SeqCst);
                // As many as come in, and not as many as can be: who moves must get on as well.
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            writer.own
        }));
    }
    let mover = two.mover().chunk(256);
    let mut pauses = Vec::new();
    for to in ["b", "a", "b"] {
        wait_for(&written, 150).await;
        let done = mover.start(LOGICAL, to).await.unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(done.state, State::Done);
        pauses.push(done.pause);
        wait_for(&written, 50).await;
        mover.finish(LOGICAL).await.unwrap_or_else(|e| panic!("{}", e.report()));
    }
    stop.store(true, SeqCst);
    let mut expected = before;
    for writer in writers {
        expected.extend(writer.await.unwrap());
    }
    assert_eq!(orders(&two.b).await, expected);
    assert!(orders(&two.a).await.is_empty());
    assert_eq!(count(&two.a, "orders").await, 2 * USERS as i64, "those of other logical shards");
    nothing_left(&two).await;
    println!(
        "{engine:?}: {} pieces of work, pauses {pauses:?}, the longest piece {} us",
        written.load(SeqCst),
        longest.load(SeqCst)
    );
    two.end().await;
}

/// So many more pieces of work are done.
async fn wait_for(written: &AtomicU64, more: u64) {
    let target = written.load(SeqCst) + more;
    for _ in 0..20_000 {
        if written.load(SeqCst) >= target {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the writers stand still");
}
