//! Leaderboards in the table `mainstay_board`. On the handle of a transaction, all of it joins it.

use mainstay_core::{Code, Result};
use mainstay_db::{Db, Engine, Query};

use super::statements as texts;
use super::{Slot, WHOLE, beyond};
use crate::board::entry::{Lines, Standing};
use crate::schema::named;

#[derive(Clone)]
pub(super) struct Sql {
    db: Db,
}

impl Sql {
    pub(super) fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    pub(super) fn place(&self) -> String {
        self.db.place()
    }

    pub(super) fn transaction(&self) -> Option<&Db> {
        self.db.in_transaction().then_some(&self.db)
    }

    pub(super) async fn add(&self, slot: &Slot<'_>, member: &str, delta: i64) -> Result<i64> {
        if self.db.engine() == Engine::MySql {
            return self.add_and_read(slot, member, delta).await;
        }
        let (least, most) =
            if delta < 0 { (i64::MIN - delta, i64::MAX) } else { (i64::MIN, i64::MAX - delta) };
        let query = about(&self.db, texts::ADD, slot).bind(member).bind(delta);
        let added = query.bind(least).bind(most).optional::<(i64,)>().await.map_err(named)?;
        added.map(|(score,)| score).ok_or_else(|| beyond(WHOLE))
    }

    /// The row stays ours between the two, so that the score read is the one made here.
    async fn add_and_read(&self, slot: &Slot<'_>, member: &str, delta: i64) -> Result<i64> {
        self.db
            .transaction(|tx| async move {
                let query = about(&tx, texts::ADD_MYSQL, slot).bind(member).bind(delta);
                query.execute().await.map_err(|error| match error.code() {
                    Code::Data => beyond(WHOLE),
                    _ => named(error),
                })?;
                about(&tx, texts::SCORE, slot).bind(member).scalar().await
            })
            .await
    }

    pub(super) async fn set(&self, slot: &Slot<'_>, member: &str, score: i64) -> Result<()> {
        let query = about(&self.db, texts::SET.on(&self.db), slot).bind(member).bind(score);
        query.execute().await.map_err(named)?;
        Ok(())
    }

    pub(super) async fn remove(&self, slot: &Slot<'_>, member: &str) -> Result<bool> {
        let query = about(&self.db, texts::REMOVE, slot).bind(member);
        Ok(query.execute().await.map_err(named)?.rows_affected() > 0)
    }

    pub(super) async fn standing(&self, slot: &Slot<'_>, member: &str) -> Result<Option<Standing>> {
        let query = about(&self.db, texts::STANDING, slot).bind(member);
        let found = query.optional::<(i64, i64)>().await.map_err(named)?;
        Ok(found.map(|(score, above)| Standing { rank: above as u64 + 1, score }))
    }

    pub(super) async fn range(&self, slot: &Slot<'_>, before: u64, count: u32) -> Result<Lines> {
        let offset = i64::try_from(before).unwrap_or(i64::MAX);
        let query = about(&self.db, texts::RANGE.on(&self.db), slot);
        let query = query.bind(i64::from(count)).bind(offset);
        let found = query.all::<(String, i64, i64)>().await.map_err(named)?;
        let above = found.first().map(|(_, _, above)| *above as u64).unwrap_or_default();
        let rows = found.into_iter().map(|(member, score, _)| (member, score)).collect();
        Ok(Lines { before, above, rows })
    }

    pub(super) async fn around(&self, slot: &Slot<'_>, member: &str, count: u32) -> Result<Lines> {
        let query = about(&self.db, texts::AROUND.on(&self.db), slot).bind(member);
        let query = query.bind(i64::from(count)).bind(i64::from(count) + 1);
        let found = query.all::<(String, i64, i64, i64)>().await.map_err(named)?;
        let Some((_, _, above, ahead)) = found.first() else { return Ok(Lines::default()) };
        let (above, ahead) = (*above as u64, *ahead as u64);
        // Of those ahead, as many as stand before it here.
        let shown = found.iter().take_while(|(name, ..)| name != member).count() as u64;
        let rows = found.into_iter().map(|(member, score, ..)| (member, score)).collect();
        Ok(Lines { before: ahead.saturating_sub(shown), above, rows })
    }

    pub(super) async fn len(&self, slot: &Slot<'_>) -> Result<u64> {
        let count: i64 = about(&self.db, texts::LEN, slot).scalar().await.map_err(named)?;
        Ok(count as u64)
    }

    pub(super) async fn prune(&self, board: &str, from: &str, oldest: &str) -> Result<u64> {
        let query = self.db.query(texts::PRUNE).bind(board).bind(from).bind(oldest);
        Ok(query.execute().await.map_err(named)?.rows_affected())
    }
}

fn about<'d>(db: &'d Db, text: &'static str, slot: &Slot<'_>) -> Query<'d> {
    db.query(text).bind(slot.board).bind(slot.label.as_str())
}
