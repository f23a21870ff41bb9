//! The moves in the catalogue: how far each is, and who works on it. A move is one row; who works on it has its lease,
//! and writes only what still names it as the owner.

use std::time::{Duration, SystemTime};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{AssertSqlSafe, Db, Engine};
use serde::{Deserialize, Serialize};

use super::capture::taken;
use super::table::{Named, Pk};
use super::which::Which;
use crate::create::create;
use crate::shard::map::Map;
use crate::shard::store::MapStore;

/// How far a move is. What each leaves behind when it is cut off is taken up by
/// [`resume`](super::Mover::resume), or taken back by [`rollback`](super::Mover::rollback) up to `Switching`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// It is in the catalogue.
    Prepared,
    /// Triggers log what is written; rows are being copied.
    Copying,
    /// All are copied once; what was written meanwhile follows.
    CatchingUp,
    /// Both sides were found the same.
    Verified,
    /// Writers are being locked out and the last changes brought over.
    Switching,
    /// The map leads to the new shard. The old rows are still there, and can't be written.
    Done,
    /// The old rows are gone, and all that was made for the move.
    Cleaned,
    /// It is being taken back.
    RollingBack,
    /// It was taken back.
    RolledBack,
}

impl State {
    const ALL: [State; 9] = [
        State::Prepared,
        State::Copying,
        State::CatchingUp,
        State::Verified,
        State::Switching,
        State::Done,
        State::Cleaned,
        State::RollingBack,
        State::RolledBack,
    ];

    /// As it is written in the catalogue.
    pub fn name(self) -> &'static str {
        match self {
            State::Prepared => "prepared",
            State::Copying => "copying",
            State::CatchingUp => "catching_up",
            State::Verified => "verified",
            State::Switching => "switching",
            State::Done => "done",
            State::Cleaned => "cleaned",
            State::RollingBack => "rolling_back",
            State::RolledBack => "rolled_back",
        }
    }

    /// Whether nothing of it is left.
    pub fn is_over(self) -> bool {
        matches!(self, State::Cleaned | State::RolledBack)
    }
}

/// A move as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Move {
    /// Its own name.
    pub id: String,
    /// The logical shard.
    pub logical: u16,
    /// The shard that it is on, or was.
    pub from: String,
    /// The one that it goes to.
    pub to: String,
    /// How far it is.
    pub state: State,
    /// Rows copied, in all tables.
    pub rows: u64,
    /// For how long writes were locked out by the switch, and those that failed before it; the longest at a time.
    pub pause: Duration,
    /// Milliseconds since 1970 at which it came to its state.
    pub since_ms: u64,
    #[serde(skip)]
    pub(super) tables: Vec<Progressed>,
    /// What the map said of where keys are, in one number.
    #[serde(skip)]
    pub(super) placed: u32,
}

impl Move {
    /// No row of it was brought over yet.
    pub(super) fn untouched(&mut self) {
        for table in &mut self.tables {
            table.untouched = true;
        }
    }
}

/// A table of a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progressed {
    pub(super) name: String,
    pub(super) key: Vec<String>,
    /// Up to where its rows are copied.
    pub(super) cursor: Option<Pk>,
    /// The last row that there was when the copy of it began.
    #[serde(default)]
    pub(super) end: Option<Pk>,
    pub(super) copied: bool,
    /// Nothing of it was ever brought over: what is there is none of the move's.
    #[serde(default)]
    pub(super) untouched: bool,
}

impl Progressed {
    fn new(of: &Named) -> Self {
        Self {
            name: of.name.clone(),
            key: of.key.clone(),
            cursor: None,
            end: None,
            copied: false,
            untouched: false,
        }
    }

    pub(super) fn named(&self) -> Named {
        Named { name: self.name.clone(), key: self.key.clone() }
    }
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS mainstay_shard_moves (id VARCHAR(16) NOT NULL PRIMARY KEY, \
    logical INTEGER NOT NULL, open_logical INTEGER UNIQUE, source VARCHAR(63) NOT NULL, target VARCHAR(63) NOT NULL, \
    state VARCHAR(16) NOT NULL, tables TEXT NOT NULL, moved_rows BIGINT NOT NULL, pause_us BIGINT NOT NULL, \
    placed BIGINT NOT NULL, owner VARCHAR(16) NOT NULL, beat_ms BIGINT NOT NULL, since_ms BIGINT NOT NULL)";

const COLUMNS: &str = "id, logical, source, target, state, tables, moved_rows, pause_us, placed, owner, beat_ms, since_ms";

type Row = (String, i32, String, String, String, String, i64, i64, i64, String, i64, i64);

/// The table of moves.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    db: Db,
    store: MapStore,
    clock: Clock,
    rng: Rng,
    lease: Duration,
}

/// A move that is worked on here.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) journal: Journal,
    pub(super) of: Move,
    pub(super) owner: String,
    beat_ms: i64,
}

impl Journal {
    pub(super) fn new(store: &MapStore, clock: Clock, rng: Rng, lease: Duration) -> Self {
        Self { db: store.db().clone(), store: store.clone(), clock, rng, lease }
    }

    pub(super) async fn create(&self) -> Result<()> {
        let sql = if self.db.engine() == Engine::MySql {
            // Its TEXT ends at 64 KiB, which many tables with long primary keys pass.
            let table = TABLE.replace("tables TEXT", "tables LONGTEXT");
            format!("{table} ENGINE = InnoDB CHARACTER SET utf8mb4")
        } else {
            TABLE.to_owned()
        };
        create(&self.db, sql).await
    }

    fn now_ms(&self) -> i64 {
        let now = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.as_millis() as i64
    }

    fn draw(&self) -> String {
        format!("{:016x}", self.rng.u64(0..u64::MAX))
    }

    /// Newest first, 1,000 at most; only those that are not over, or all.
    pub(super) async fn list(&self, all: bool) -> Result<Vec<Move>> {
        let only = if all { "" } else { "WHERE open_logical IS NOT NULL" };
        let sql = format!(
            "SELECT {COLUMNS} FROM mainstay_shard_moves {only} ORDER BY since_ms DESC, id LIMIT 1000"
        );
        let rows: Vec<Row> = self.db.query(AssertSqlSafe(sql)).all().await?;
        rows.into_iter().map(|row| read(row).map(|(of, ..)| of)).collect()
    }

    async fn open(&self, logical: u16) -> Result<Option<(Move, String, i64)>> {
        let sql = format!("SELECT {COLUMNS} FROM mainstay_shard_moves WHERE open_logical = $1");
        let row: Option<Row> =
            self.db.query(AssertSqlSafe(sql)).bind(i32::from(logical)).optional().await?;
        row.map(read).transpose()
    }

    /// A new move. Errors: ROUTE-052 where the last one of that logical shard is not over.
    pub(super) async fn begin(
        &self,
        logical: u16,
        from: &str,
        to: &str,
        tables: &[Named],
        placed: u32,
    ) -> Result<Lease> {
        let tables: Vec<Progressed> = tables.iter().map(Progressed::new).collect();
        let (id, owner, now) = (self.draw(), self.draw(), self.now_ms());
        let insert = "INSERT INTO mainstay_shard_moves (id, logical, open_logical, source, target, state, tables, \
            moved_rows, pause_us, placed, owner, beat_ms, since_ms) \
            VALUES ($1, $2, $2, $3, $4, 'prepared', $5, 0, 0, $6, $7, $8, $8)";
        let done = (self.db.query(insert))
            .bind(id.as_str())
            .bind(i32::from(logical))
            .bind(from)
            .bind(to)
            .bind(json(&tables))
            .bind(i64::from(placed))
            .bind(owner.as_str())
            .bind(now)
            .execute()
            .await;
        if let Err(error) = done {
            if error.code() != Code::Unique {
                return Err(error);
            }
            return Err(self.unfinished(logical).await);
        }
        let of = Move {
            id,
            logical,
            from: from.to_owned(),
            to: to.to_owned(),
            state: State::Prepared,
            rows: 0,
            pause: Duration::ZERO,
            since_ms: now.unsigned_abs(),
            tables,
            placed,
        };
        Ok(Lease { journal: self.clone(), of, owner, beat_ms: now })
    }

    /// What a move of a logical shard is told that has one already.
    async fn unfinished(&self, logical: u16) -> Error {
        let state = match self.open(logical).await {
            Ok(found) => found.map_or("unknown", |(of, ..)| of.state.name()),
            Err(error) => return error,
        };
        let what = format!("a move of the logical shard {logical} is not finished: it is {state}");
        let error = Error::new(Code::MoveUnfinished, what);
        if state == State::Done.name() {
            error.fix("clean up after it first: mainstay shards move --finish")
        } else {
            error
        }
    }

    /// Takes an open move over, once nobody works on it. Errors: ROUTE-052 while somebody does; ROUTE-050 where there is
    /// none.
    pub(super) async fn take(&self, logical: u16) -> Result<Lease> {
        let Some((of, owner, beat)) = self.open(logical).await? else {
            let what = format!("there is no open move of the logical shard {logical}");
            return Err(
                Error::new(Code::MoveRefused, what).fix("look at them with mainstay shards status")
            );
        };
        let (now, fresh) = (self.now_ms(), self.draw());
        let busy = |ms: i64| {
            let what = format!("somebody works on the move of the logical shard {logical}");
            Error::new(Code::MoveUnfinished, what)
                .why(format!(
                    "it was heard of {ms} ms ago, and may be taken over after {} ms",
                    self.lease.as_millis()
                ))
                .fix("let it go on, or try again once it has ended")
        };
        if now - beat < self.lease.as_millis() as i64 {
            return Err(busy(now - beat));
        }
        let sql = "UPDATE mainstay_shard_moves SET owner = $1, beat_ms = $2 WHERE id = $3 AND owner = $4 AND beat_ms = $5";
        let query = self.db.query(sql).bind(fresh.as_str()).bind(now).bind(of.id.as_str());
        match query.bind(owner).bind(beat).execute().await?.rows_affected() {
            1 => Ok(Lease { journal: self.clone(), of, owner: fresh, beat_ms: now }),
            _ => Err(busy(0)),
        }
    }
}

/// Whether an open move forbids a map: one that has its logical shard elsewhere, or other keys in it.
///
/// Errors: ROUTE-052.
pub(in crate::shard) async fn allows(db: &Db, map: &Map) -> Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM mainstay_shard_moves WHERE open_logical IS NOT NULL");
    let rows: Vec<Row> = match db.query(AssertSqlSafe(sql)).all().await {
        Ok(rows) => rows,
        // Nothing was ever moved.
        Err(error) if error.code() == Code::Undefined => return Ok(()),
        Err(error) => return Err(error),
    };
    for row in rows {
        let (of, ..) = read(row)?;
        let home = if of.state == State::Done { &of.to } else { &of.from };
        let same = Which::new(map, of.logical).fingerprint() == of.placed;
        if !same || map.owner(of.logical) != Some(home.as_str()) {
            let what = format!("a move of the logical shard {} is not finished", of.logical);
            return Err(Error::new(Code::MoveUnfinished, what).why(if same {
                "the map has it on another shard"
            } else {
                "the map has other keys in it"
            }));
        }
    }
    Ok(())
}

impl Lease {
    /// Writes how far it is. Errors: ROUTE-052 where another has taken it over.
    pub(super) async fn save(&mut self) -> Result<()> {
        let db = self.journal.db.clone();
        self.save_on(&db, None).await
    }

    async fn save_on(&mut self, db: &Db, was: Option<State>) -> Result<()> {
        let now = self.journal.now_ms();
        let sql = "UPDATE mainstay_shard_moves SET state = $1, tables = $2, moved_rows = $3, pause_us = $4, beat_ms = $5, \
            since_ms = $6, open_logical = $7 WHERE id = $8 AND owner = $9 AND (state = $10 OR $11 = 0)";
        let of = &self.of;
        let open = (!of.state.is_over()).then_some(i32::from(of.logical));
        let done = (db.query(sql))
            .bind(of.state.name())
            .bind(json(&of.tables))
            .bind(of.rows as i64)
            .bind(of.pause.as_micros() as i64)
            .bind(now)
            .bind(of.since_ms as i64)
            .bind(open)
            .bind(of.id.as_str())
            .bind(self.owner.as_str())
            .bind(was.map_or("", State::name))
            .bind(i32::from(was.is_some()))
            .execute()
            .await?;
        if done.rows_affected() != 1 {
            return Err(taken());
        }
        self.beat_ms = now;
        Ok(())
    }

    /// Whether the map was saved after all, by a commit whose answer did not come.
    pub(super) async fn is_done(&mut self) -> Result<bool> {
        let sql =
            "SELECT since_ms FROM mainstay_shard_moves WHERE id = $1 AND owner = $2 AND state = $3";
        let query = self.journal.db.query(sql).bind(self.of.id.as_str()).bind(self.owner.as_str());
        let since: Option<(i64,)> = query.bind(State::Done.name()).optional().await?;
        if let Some((since,)) = since {
            (self.of.state, self.of.since_ms) = (State::Done, since.unsigned_abs());
        }
        Ok(since.is_some())
    }

    /// Comes to another state.
    pub(super) async fn enter(&mut self, state: State) -> Result<()> {
        (self.of.state, self.of.since_ms) = (state, self.journal.now_ms().unsigned_abs());
        self.save().await
    }

    /// Says that it is still worked on, once a fifth of the lease is over.
    pub(super) async fn beat(&mut self) -> Result<()> {
        if self.journal.now_ms() - self.beat_ms < self.journal.lease.as_millis() as i64 / 5 {
            return Ok(());
        }
        self.save().await
    }

    /// Lets others work on it at once. What fails here is made up for by the lease's end.
    pub(super) async fn let_go(&self) {
        let sql = "UPDATE mainstay_shard_moves SET beat_ms = 0 WHERE id = $1 AND owner = $2";
        let query = self.journal.db.query(sql).bind(self.of.id.as_str()).bind(self.owner.as_str());
        let _ = query.execute().await;
    }

    /// Saves the map that leads to the new shard, and that the move is done, in one transaction: so that whoever has
    /// lost the lease changes no map, and no map is there of a move that was taken back.
    ///
    /// Errors: ROUTE-026 (another map was saved meanwhile), ROUTE-052.
    pub(super) async fn save_map(&mut self, map: &Map, expected: u64) -> Result<Map> {
        let (db, store) = (self.journal.db.clone(), self.journal.store.clone());
        let mut done = Lease {
            journal: self.journal.clone(),
            of: self.of.clone(),
            owner: self.owner.clone(),
            beat_ms: 0,
        };
        done.of.state = State::Done;
        done.of.since_ms = self.journal.now_ms().unsigned_abs();
        let of = done.of.clone();
        let cell = tokio::sync::Mutex::new(done);
        let (cell, store) = (&cell, &store);
        let saved = db
            .transaction(|tx: Db| async move {
                cell.lock().await.save_on(&tx, Some(State::Switching)).await?;
                store.save_in(&tx, map, expected).await
            })
            .await?;
        self.of = of;
        Ok(saved)
    }
}

fn json(tables: &[Progressed]) -> String {
    // Texts alone: nothing in it can fail to be written.
    serde_json::to_string(tables).unwrap_or_default()
}

fn read(row: Row) -> Result<(Move, String, i64)> {
    let (id, logical, from, to, state, tables, rows, pause, placed, owner, beat, since) = row;
    // They are written into statements as they are.
    let plain = |text: &str| text.len() <= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let wrong =
        || Error::new(Code::MoveRefused, format!("the move {id} in the catalogue can't be read"));
    if !plain(&id) || !plain(&owner) {
        return Err(wrong());
    }
    let of = Move {
        logical: u16::try_from(logical).map_err(|_| wrong())?,
        from,
        to,
        state: State::ALL.into_iter().find(|s| s.name() == state).ok_or_else(wrong)?,
        rows: rows.unsigned_abs(),
        pause: Duration::from_micros(pause.unsigned_abs()),
        since_ms: since.unsigned_abs(),
        tables: serde_json::from_str(&tables).map_err(|_| wrong())?,
        placed: u32::try_from(placed).map_err(|_| wrong())?,
        id: id.clone(),
    };
    Ok((of, owner, beat))
}
