//! Moving, as it is asked for: what moves, how fast, and what becomes of a move that was cut off.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mainstay_core::clock::Clock;
use mainstay_core::rng::Rng;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use super::dialect::Dialect;
use super::going::{BATCH, Going};
use super::journal::{Journal, Lease, Move, State};
use super::look;
use super::progress::{Outcome, Progress, Step};
use super::side::Side;
use super::switch::replaced;
use super::table::{Named, Pk, Table};
use super::which::Which;
use crate::shard::handle::Shards;
use crate::shard::map::Map;
use crate::shard::store::MapStore;

/// Tables of one move.
const TABLES_MAX: usize = 200;

/// Moves logical shards from one database to another while they are in use: see [the module](super).
#[derive(Clone)]
pub struct Mover {
    pub(super) shards: Shards,
    store: MapStore,
    pub(super) tables: Vec<Named>,
    pub(super) chunk: usize,
    pub(super) rate: u32,
    lease: Duration,
    grace: Duration,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    told: Option<Told>,
}

/// Who is told of each step.
type Told = Arc<dyn Fn(&Progress) + Send + Sync>;

impl Mover {
    /// For the shards whose map is in `store`, by which all clients follow it.
    pub fn new(shards: Shards, store: MapStore) -> Self {
        Self {
            clock: shards.0.clock.clone(),
            shards,
            store,
            tables: Vec::new(),
            chunk: 5_000,
            rate: 50_000,
            lease: Duration::from_secs(15),
            grace: Duration::from_secs(600),
            rng: Rng::system(),
            told: None,
        }
    }

    /// A table that moves, with the column that its rows' key is in, or the two of a pair. All tables that are placed by
    /// that key, in any order, and no reference tables; 200 at most.
    #[must_use]
    pub fn table(mut self, name: &str, key: &[&str]) -> Self {
        let key = key.iter().map(|column| (*column).to_owned()).collect();
        self.tables.push(Named { name: name.to_owned(), key });
        self
    }

    /// Rows that are looked at in one statement, of which those of the logical shard are copied, 500 in a transaction;
    /// default 5,000, from 1 to 100,000. Of all that are looked at the keys alone are in memory, of the 500 the whole rows.
    #[must_use]
    pub fn chunk(mut self, rows: usize) -> Self {
        self.chunk = rows.clamp(1, 100_000);
        self
    }

    /// Rows a second that are looked at in the copy and in each direction of the comparison, at most; default 50,000.
    #[must_use]
    pub fn rate(mut self, rows_per_s: u32) -> Self {
        self.rate = rows_per_s.max(1);
        self
    }

    /// After how long without a sign of life another may take a move over; default 15 s. One that is taken over too early
    /// does no harm: whoever had it finds out before it changes anything more.
    #[must_use]
    pub fn lease(mut self, limit: Duration) -> Self {
        self.lease = limit;
        self
    }

    /// How long after the switch the old rows stay, and their keys shut there; default 10 minutes. It must be well above
    /// the interval at which every client [watches](Shards::watch) the map: one that has not looked for longer reads
    /// nothing then, and what it writes to the old shard stays there, unseen.
    #[must_use]
    pub fn grace(mut self, period: Duration) -> Self {
        self.grace = period;
        self
    }

    /// The source of what is random: names and waits; default the machine's.
    #[must_use]
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// Told after each step, on the task that moves: it must not block for long.
    #[must_use]
    pub fn on(mut self, told: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.told = Some(Arc::new(told));
        self
    }

    pub(super) fn tell(&self, progress: &Progress) {
        if let Some(told) = &self.told {
            told(progress);
        }
    }

    fn journal(&self) -> Journal {
        Journal::new(&self.store, self.clock.clone(), self.rng.clone(), self.lease)
    }

    /// The catalogue's map, with its epoch, which the handle has then too. Errors: ROUTE-050 where it has none.
    pub(super) async fn newest(&self) -> Result<(Map, u64)> {
        self.shards.refresh(&self.store).await?;
        self.stored().await
    }

    /// The same, whatever the handle makes of it.
    pub(super) async fn stored(&self) -> Result<(Map, u64)> {
        let none = || {
            Error::new(Code::MoveRefused, "there is no map in the catalogue")
                .fix("save it with MapStore::save, and let all clients watch it")
        };
        let map = self.store.load().await?.ok_or_else(none)?;
        let epoch = map.epoch();
        Ok((map, epoch))
    }

    /// The moves that are not over, newest first; or all of them, up to 1,000.
    ///
    /// Errors: those of the catalogue.
    pub async fn moves(&self, all: bool) -> Result<Vec<Move>> {
        let journal = self.journal();
        journal.create().await?;
        journal.list(all).await
    }

    /// Moves the logical shard to the shard `to`, up to the map's change. The old rows stay until
    /// [`finish`](Self::finish).
    ///
    /// Dropped or killed at any moment, it is left as it is: [`resume`](Self::resume) goes on, and
    /// [`rollback`](Self::rollback) takes it back. In the moment between shutting the old shard and the map's change, writes
    /// to the logical shard then fail with ROUTE-026 until one of the two is done.
    ///
    /// Errors: ROUTE-050 (it can't be moved as things stand), ROUTE-023 (it would leave its region), ROUTE-052 (a move of
    /// it is not over), ROUTE-051 (the sides differ; it names some primary keys, also where those are personal data);
    /// ROUTE-021; those of the databases, after which it can be resumed. What is refused before a row is copied leaves no
    /// open move.
    pub async fn start(&self, logical: u16, to: &str) -> Result<Outcome> {
        let (map, _) = self.newest().await?;
        let from = map.owner(logical).ok_or_else(|| {
            let what = format!("there is no logical shard {logical}");
            Error::new(Code::MoveRefused, what)
        })?;
        if from == to {
            return Err(Error::new(
                Code::MoveRefused,
                format!("the logical shard {logical} is on {to} already"),
            ));
        }
        // Whether the map would allow it.
        map.assign(logical, to)?;
        self.named()?;
        let which = Which::new(&map, logical);
        let source = self.db(from)?;
        let tables = look::ordered(&source, Dialect::of(&source)?, &self.tables).await?;
        self.look(from, to, &tables, &which).await?;
        let journal = self.journal();
        journal.create().await?;
        let mut lease = journal.begin(logical, from, to, &tables, which.fingerprint()).await?;
        let opened = async {
            // Another map may have come before it was known that the logical shard moves.
            let (map, _) = self.newest().await?;
            let which = Which::new(&map, logical);
            let sides = self.sides(&lease.of, &which).await?;
            Ok((which, sides))
        };
        let (which, sides) = match opened.await {
            Ok(opened) => opened,
            Err(error) => {
                // Nothing was made for it: it is over, unless the catalogue can't be told.
                if lease.enter(State::RolledBack).await.is_err() {
                    lease.let_go().await;
                }
                return Err(error);
            }
        };
        let mut going = self.going(lease, which, sides, true);
        going.enter(State::Prepared).await?;
        self.end(going, Self::forward).await
    }

    /// Errors: ROUTE-050 where the tables that were named can't be those of a move.
    fn named(&self) -> Result<()> {
        if self.tables.is_empty() || self.tables.len() > TABLES_MAX {
            let what = format!("a move is of 1 to {TABLES_MAX} tables, not {}", self.tables.len());
            return Err(Error::new(Code::MoveRefused, what));
        }
        for (at, table) in self.tables.iter().enumerate() {
            let twice = self.tables[..at].iter().any(|other| other.name == table.name);
            if twice || table.key.is_empty() || table.key.len() > 2 {
                let what = format!(
                    "the table {:?} is named twice, or its key is not one or two columns",
                    table.name
                );
                return Err(Error::new(Code::MoveRefused, what));
            }
        }
        Ok(())
    }

    /// Goes on with a move of the logical shard that was cut off, or with its being taken back.
    ///
    /// Errors: as [`start`](Self::start); ROUTE-052 while somebody else works on it.
    pub async fn resume(&self, logical: u16) -> Result<Outcome> {
        let going = self.take(logical).await?;
        match going.lease.of.state {
            State::RollingBack => self.end(going, Self::back).await,
            State::Done => self.end(going, Self::stay).await,
            _ => self.end(going, Self::forward).await,
        }
    }

    /// Takes a move back that has not changed the map yet: the triggers go, and the copied rows.
    ///
    /// Cancel safe in that it can be called again, or resumed.
    ///
    /// Errors: ROUTE-050 (the map is changed: move it back once it is finished), ROUTE-052.
    pub async fn rollback(&self, logical: u16) -> Result<Outcome> {
        let mut going = self.take(logical).await?;
        if going.lease.of.state == State::Done {
            let from = &going.lease.of.from;
            let error = Error::new(Code::MoveRefused, "the map leads to the new shard already")
                .why("what was written there since would be lost")
                .fix(format!("finish the move, and then move the logical shard to {from}"));
            going.lease.let_go().await;
            return Err(error);
        }
        if going.lease.of.state != State::RollingBack {
            if going.lease.of.state == State::Prepared {
                going.lease.of.untouched();
            }
            // From here on the map can't be changed for it.
            going.enter(State::RollingBack).await?;
        }
        self.end(going, Self::back).await
    }

    /// Cleans up after a move that is done, once the [grace period](Self::grace) is over: the old rows go, the triggers,
    /// and what was noted of it on both sides.
    ///
    /// Cancel safe in that it can be called again.
    ///
    /// Errors: ROUTE-050 (it is not done, or the period is not over), ROUTE-052.
    pub async fn finish(&self, logical: u16) -> Result<Outcome> {
        let going = self.take(logical).await?;
        let now = self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = now.saturating_sub(Duration::from_millis(going.lease.of.since_ms));
        let refused = if going.lease.of.state != State::Done {
            let what = format!("the move is {}, and not done", going.lease.of.state.name());
            Some(Error::new(Code::MoveRefused, what).fix("resume it first"))
        } else if since < self.grace {
            let left = self.grace.saturating_sub(since).as_secs() + 1;
            let what = format!("the old rows stay for {left} s more");
            Some(
                Error::new(Code::MoveRefused, what)
                    .why("clients that have not heard of the new map may still read them")
                    .fix("finish it later, or with a shorter grace period"),
            )
        } else {
            None
        };
        if let Some(error) = refused {
            going.lease.let_go().await;
            return Err(error);
        }
        self.end(going, Self::clean).await
    }

    /// The databases of the two shards.
    fn db(&self, name: &str) -> Result<Db> {
        self.shards.shard(name)
    }

    /// Looks at both sides' tables. Errors: ROUTE-050.
    async fn look(
        &self,
        from: &str,
        to: &str,
        named: &[Named],
        which: &Which,
    ) -> Result<[Vec<Table>; 2]> {
        let mut both = Vec::new();
        for side in [from, to] {
            let db = self.db(side)?;
            let d = Dialect::of(&db)?;
            let tables = look::tables(&db, d, side, named).await?;
            look::fits(which, &tables)?;
            look::relations(&db, d, side, &tables, |name| self.shards.is_reference(name)).await?;
            both.push(tables);
        }
        let target = both.pop().unwrap_or_default();
        let source = both.pop().unwrap_or_default();
        for (a, b) in source.iter().zip(&target) {
            a.same(b, to)?;
        }
        Ok([source, target])
    }

    /// The two sides, looked at and connected to. Errors: ROUTE-050, those of the databases.
    async fn sides(&self, of: &Move, which: &Which) -> Result<[Side; 2]> {
        let named: Vec<Named> = of.tables.iter().map(super::journal::Progressed::named).collect();
        let (from, to, id) = (&of.from, &of.to, &of.id);
        let [source, target] = self.look(from, to, &named, which).await?;
        let source = Side::open(from, self.db(from)?, id, source, which).await?;
        let target = Side::open(to, self.db(to)?, id, target, which).await?;
        for side in [&source, &target] {
            look::triggers(&side.db, side.d, &side.name, &side.tables, side.is_silent()).await?;
        }
        Ok([source, target])
    }

    fn going(
        &self,
        lease: Lease,
        which: Which,
        [source, target]: [Side; 2],
        fresh: bool,
    ) -> Going<'_> {
        Going {
            mover: self,
            lease,
            which,
            source,
            target,
            fresh,
            seen: 0,
            lag: 0,
            restless: Vec::new(),
        }
    }

    async fn take(&self, logical: u16) -> Result<Going<'_>> {
        let (map, _) = self.newest().await?;
        let journal = self.journal();
        journal.create().await?;
        let lease = journal.take(logical).await?;
        let which = Which::new(&map, logical);
        match self.sides(&lease.of, &which).await {
            Ok(sides) => Ok(self.going(lease, which, sides, false)),
            Err(error) => {
                lease.let_go().await;
                Err(error)
            }
        }
    }

    /// Does it, and lets others at it where it failed.
    async fn end<'m>(
        &'m self,
        mut going: Going<'m>,
        work: impl AsyncFnOnce(&Mover, &mut Going<'m>) -> Result<()>,
    ) -> Result<Outcome> {
        let done = work(self, &mut going).await;
        going.lease.let_go().await;
        done?;
        let of = &going.lease.of;
        Ok(Outcome {
            id: of.id.clone(),
            logical: of.logical,
            from: of.from.clone(),
            to: of.to.clone(),
            state: of.state,
            rows: of.rows,
            pause: of.pause,
            epoch: self.shards.epoch(),
        })
    }

    #[allow(clippy::unused_async, reason = "one of several that are asked alike")]
    async fn stay(&self, _: &mut Going<'_>) -> Result<()> {
        Ok(())
    }

    /// From whichever state to the map's change.
    async fn forward(&self, going: &mut Going<'_>) -> Result<()> {
        if going.which.fingerprint() != going.lease.of.placed {
            return Err(replaced());
        }
        if going.lease.of.state == State::Prepared {
            self.ready(going).await?;
            going.enter(State::Copying).await?;
        } else {
            going.take_sides(false).await?;
        }
        if going.lease.of.state == State::Copying {
            going.copy().await?;
            going.enter(State::CatchingUp).await?;
        }
        if going.lease.of.state == State::CatchingUp {
            going.drain().await?;
            going.verify().await?;
            going.enter(State::Verified).await?;
        }
        if going.lease.of.state == State::Verified {
            going.enter(State::Switching).await?;
        }
        going.switch().await
    }

    /// Up to the triggers. Where it can't be, as things stand, the move is taken back, so that it is not left open.
    async fn ready(&self, going: &mut Going<'_>) -> Result<()> {
        match self.vacant(going).await {
            Err(error) if error.code() == Code::MoveRefused => {
                return Err(self.withdrawn(going, error).await);
            }
            other => other?,
        }
        match going.take_sides(true).await {
            Err(error) if error.code() == Code::Denied && going.fresh => {
                // There are no triggers yet, and what else there is of it nobody reads.
                for side in [&mut going.source, &mut going.target] {
                    if let Err(error) = side.forget().await {
                        tracing::debug!(%error, "what was noted of a refused move may be left");
                    }
                }
                going.enter(State::RolledBack).await?;
                return Err(error);
            }
            other => other?,
        }
        going.tell(Step::Prepared, None);
        match going.capture().await {
            Err(error) if error.code() == Code::Denied => Err(self.withdrawn(going, error).await),
            other => other,
        }
    }

    /// Takes a move back of which no row was brought over, for the error that it gives.
    async fn withdrawn(&self, going: &mut Going<'_>, error: Error) -> Error {
        going.lease.of.untouched();
        let done = async {
            going.enter(State::RollingBack).await?;
            self.back(going).await
        };
        match done.await {
            Ok(()) => error,
            Err(other) => {
                error.note(format!("the move is open still, since {other}: roll it back"))
            }
        }
    }

    /// Errors: ROUTE-050 where the target has rows of the logical shard already: whose they are nobody knows, and taking
    /// the move back would delete them.
    async fn vacant(&self, going: &mut Going<'_>) -> Result<()> {
        for table in 0..going.target.tables.len() {
            let Some(end) = going.target.last(table).await? else { continue };
            let mut cursor: Option<Pk> = None;
            loop {
                let began = self.clock.now();
                let seen =
                    going.target.scan(table, cursor.as_ref(), Some(&end), self.chunk).await?;
                let integer = going.target.tables[table].has_integer_key();
                if seen.iter().any(|row| going.which.has(&row.key, integer)) {
                    let (name, to) = (&going.target.tables[table].name, &going.target.name);
                    let what = format!(
                        "{to} has rows of the logical shard {} in {name:?} already",
                        going.which.logical
                    );
                    let error = Error::new(Code::MoveRefused, what)
                        .why("the map does not have them there: they were written by a client with another map, or left behind")
                        .fix("look at them with mainstay shards verify, and remove them or put them where they belong");
                    return Err(error);
                }
                going.lease.beat().await?;
                going.slow(seen.len(), began).await;
                let full = seen.len() == self.chunk;
                cursor = seen.into_iter().next_back().map(|row| row.pk);
                if !full {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn back(&self, going: &mut Going<'_>) -> Result<()> {
        // Of one that was cut off while it was prepared, the tables may not be there.
        going.take_sides(true).await?;
        self.open_again(going).await?;
        going.release().await?;
        self.delete(going, false).await?;
        going.source.forget().await?;
        going.target.forget().await?;
        going.enter(State::RolledBack).await
    }

    async fn clean(&self, going: &mut Going<'_>) -> Result<()> {
        going.take_sides(true).await?;
        self.delete(going, true).await?;
        going.release().await?;
        going.source.forget().await?;
        going.target.forget().await?;
        going.enter(State::Cleaned).await
    }

    /// Deletes the rows of the logical shard on one side, the last tables first.
    async fn delete(&self, going: &mut Going<'_>, source: bool) -> Result<()> {
        let owner = going.lease.owner.clone();
        for table in (0..going.source.tables.len()).rev() {
            if !source && going.lease.of.tables[table].untouched {
                continue;
            }
            going.seen = 0;
            let side = if source { &mut going.source } else { &mut going.target };
            // None is added that is of it.
            let Some(end) = side.last(table).await? else { continue };
            let mut cursor: Option<Pk> = None;
            loop {
                let began = self.clock.now();
                let side = if source { &mut going.source } else { &mut going.target };
                let seen = side.scan(table, cursor.as_ref(), Some(&end), self.chunk).await?;
                let integer = side.tables[table].has_integer_key();
                let all = seen.len();
                cursor = seen.last().map(|row| row.pk.clone());
                let own: Vec<Pk> = seen
                    .into_iter()
                    .filter(|row| going.which.has(&row.key, integer))
                    .map(|row| row.pk)
                    .collect();
                for some in own.chunks(BATCH) {
                    side.begin().await?;
                    let done = async {
                        side.hold(&owner).await?;
                        side.delete(table, some).await?;
                        side.commit().await
                    };
                    if let Err(error) = done.await {
                        side.undo().await;
                        return Err(error);
                    }
                }
                going.seen += all as u64;
                going.lease.beat().await?;
                going.tell(Step::Deleted, Some(table));
                going.slow(all, began).await;
                if all < self.chunk {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Mover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mover")
            .field("shards", &self.shards)
            .field("tables", &self.tables.len())
            .finish_non_exhaustive()
    }
}
