//! Schema changes while the application runs, old and new version side by side: a column added and
//! filled, renamed, given another type or split; a unique constraint, a foreign key, an index.
//!
//! A change is declared in a file and made in three phases. **Expand** adds what is new beside what is
//! old, and triggers that keep the two in step whichever code writes. **Backfill** fills old rows, batch
//! by batch. **Contract**, once no old code runs any more, takes away what is old. Each phase goes on
//! where it stopped, also after a kill; what it did is in the table `mainstay_change`. On each engine it
//! is done by that engine's own means: checks that are validated later and indexes that are built
//! concurrently on PostgreSQL, `ALGORITHM=INSTANT` and `INPLACE` on MySQL and MariaDB (never a copy),
//! and on SQLite, which has one writer anyway, a table that is written anew.
//!
//! ```
//! use mainstay_migrate::online::{Change, Online};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let db = mainstay_db::Db::connect("sqlite::memory:").await?;
//! # db.query("CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER NOT NULL)").execute().await?;
//! let change = Change::parse(
//!     "orders-cents.toml",
//!     r#"
//!         name = "orders-cents"
//!         table = "orders"
//!         [rename_column]
//!         column = "total"
//!         to = "total_cents"
//!     "#,
//! )?;
//! let online = Online::new(&db);
//! online.start(&change).await?;
//! online.backfill("orders-cents").await?;
//! // ... once every process runs the new code:
//! online.contract("orders-cents", true).await?;
//! # db.query("INSERT INTO orders (total_cents) VALUES (5)").execute().await?;
//! # Ok::<(), mainstay_core::Error>(()) }).unwrap();
//! ```
//!
//! What it does not do: it changes one table of the session's default schema at a time, carries no
//! privileges or comments of single columns over on PostgreSQL, and refuses a column that views,
//! checks, foreign keys or other triggers use rather than change those too.

mod backfill;
mod change;
mod engines;
mod expr;
mod ground;
mod keys;
mod look;
mod make;
mod older;
mod options;
mod plan;
mod rebuild;
mod run;
mod state;
mod told;

use mainstay_core::{Code, Error, Result};
use mainstay_db::{AdvisoryLock, Db};
use serde::Serialize;

pub use change::Change;
pub use options::OnlineOptions;
pub use plan::{Plan, Step, Steps};
pub use state::Phase;
pub use told::{Progress, Told};

use crate::database::Database;
use crate::options::Options;
use backfill::Filler;
use make::Site;
use plan::Made;
use run::{Runner, now};
use state::Saved;
use told::Tell;

/// The changes of a database, and what can be done with them. Each of its calls takes a connection of
/// the pool for itself, and on PostgreSQL and MySQL one more for its lock.
#[derive(Clone, Debug)]
pub struct Online {
    db: Db,
    options: OnlineOptions,
    tell: Tell,
}

/// Where a change stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The table that it changes.
    pub table: String,
    /// The key that its declaration begins with, such as `add_column`.
    pub kind: String,
    /// The phase that it is in; `contract` waits for [`Online::contract`].
    pub phase: Phase,
    /// The steps of that phase that are done.
    pub step: usize,
    /// Rows that the backfill went through.
    pub rows_done: u64,
    /// About how many there were when it began.
    pub rows_total: u64,
    /// When it began.
    pub started_at: String,
    /// When something of it was last done.
    pub updated_at: String,
}

impl Online {
    /// Of `db`, with the default options.
    pub fn new(db: &Db) -> Self {
        Self { db: db.clone(), options: OnlineOptions::default(), tell: Tell::default() }
    }

    /// With these options.
    #[must_use]
    pub fn options(mut self, options: OnlineOptions) -> Self {
        self.options = options;
        self
    }

    /// Tells `tell` what happens meanwhile, in place of the log.
    #[must_use]
    pub fn on(mut self, tell: impl Fn(Told<'_>) + Send + Sync + 'static) -> Self {
        self.tell = Tell::new(tell);
        self
    }

    /// What the change would consist of, on this database; nothing is changed.
    ///
    /// Errors: MIG-017 where it can't be made, CFG-003, those of connecting.
    pub async fn plan(&self, change: &Change) -> Result<Plan> {
        let mut database = open(&self.db, &self.options).await?;
        let ground = match state::find(&mut database, &change.name).await? {
            Some(saved) if same(&saved, change)? => saved.ground,
            _ => {
                let ground = look::ground(&mut database, &change.table).await?;
                look::check(&mut database, change, &ground).await?;
                let made = make::make(&database.facts, &ground, change)?;
                look::free(&mut database, &ground, &made.makes).await?;
                ground
            }
        };
        let made = make::make(&database.facts, &ground, change)?;
        let site = Site { facts: &database.facts, ground: &ground, change: &change.name };
        Ok(make::plan(change, &ground, &made, site))
    }

    /// The expand phase; goes on with one that was stopped. Of a change that is further already it
    /// does nothing. What needs no other phase is done after it.
    ///
    /// Cancel safe: dropped, it goes on at the next call.
    ///
    /// Errors: MIG-017 (it can't be made), MIG-018 (it is being taken back, or another change of its
    /// table is not done), MIG-019 (rows stand in the way), LOCK-002 (another process works on it),
    /// LOCK-003, CFG-003, and those of a statement.
    pub async fn start(&self, change: &Change) -> Result<()> {
        let lock = self.lock(&change.name).await?;
        let mut database = open(&self.db, &self.options).await?;
        state::create(&mut database).await?;
        let saved = match state::find(&mut database, &change.name).await? {
            Some(saved) => {
                if !same(&saved, change)? {
                    let what = format!("the change {} is under way as another one", change.name);
                    return Err(Error::new(Code::ExpandPlan, what)
                        .why(saved.declaration)
                        .fix("give the new one another name, or take back the one under way"));
                }
                saved
            }
            None => begin(&mut database, change).await?,
        };
        match saved.phase {
            Phase::Expand => {}
            Phase::Abort => return Err(order(&saved, "it is being taken back")),
            Phase::Backfill | Phase::Contract | Phase::Done => return Ok(()),
        }
        let made = make::make(&database.facts, &saved.ground, change)?;
        let mut run = self.runner(database, lock, saved);
        run.steps(&made.expand).await?;
        run.saved.expanded_at = older::now(&mut run.database).await?;
        finish(run, made.after_expand()).await
    }

    /// The backfill; goes on with one that was stopped, of which at most one batch is done again. Of a
    /// change that is further already it does nothing.
    ///
    /// Cancel safe: dropped, the batch under way is rolled back.
    ///
    /// Errors: MIG-018 (the expand phase is not done), MIG-019 (rows can't be filled), LOCK-002,
    /// LOCK-003, CFG-003, and those of a statement.
    pub async fn backfill(&self, name: &str) -> Result<()> {
        let lock = self.lock(name).await?;
        let (database, saved, made) = self.under_way(name).await?;
        match saved.phase {
            Phase::Backfill => {}
            Phase::Expand => return Err(order(&saved, "its expand phase is not done")),
            Phase::Abort => return Err(order(&saved, "it is being taken back")),
            Phase::Contract | Phase::Done => return Ok(()),
        }
        drop(database);
        let Some(fill) = &made.fill else { return Ok(()) };
        let mut filler = Filler {
            db: &self.db,
            database: None,
            lock,
            saved,
            fill,
            options: &self.options,
            tell: &self.tell,
        };
        filler.run().await?;
        let Filler { database, lock, saved, .. } = filler;
        let database = match database {
            Some(database) => database,
            None => open(&self.db, &self.options).await?,
        };
        finish(self.runner(database, lock, saved), Phase::Contract).await
    }

    /// The contract phase, which can't be taken back: `confirmed` says that no code runs any more
    /// which knows the old schema only. Goes on with one that was stopped.
    ///
    /// Cancel safe: dropped, it goes on at the next call.
    ///
    /// Errors: MIG-018 (not confirmed, or the backfill is not done), MIG-019 (rows stand in the way),
    /// LOCK-002, LOCK-003, CFG-003, and those of a statement.
    pub async fn contract(&self, name: &str, confirmed: bool) -> Result<()> {
        let lock = self.lock(name).await?;
        let (mut database, saved, made) = self.under_way(name).await?;
        match saved.phase {
            Phase::Contract => {}
            Phase::Expand => return Err(order(&saved, "its expand phase is not done")),
            Phase::Backfill => return Err(order(&saved, "its backfill is not done")),
            Phase::Abort => return Err(order(&saved, "it is being taken back")),
            Phase::Done => return Ok(()),
        }
        if !confirmed {
            let older = older::sessions(&mut database, &saved.expanded_at).await?;
            let drops = made.drops.join("\n");
            return Err(order(&saved, "nobody confirmed that the old code is gone")
                .why(format!("it would drop:\n{drops}"))
                .note(older)
                .fix("once no old code runs any more, say so: --old-code-is-gone"));
        }
        let mut run = self.runner(database, lock, saved);
        run.steps(&made.contract).await?;
        finish(run, Phase::Done).await
    }

    /// Takes back what the expand phase did: drops the triggers and the new columns with what is in
    /// them, and forgets the change. Goes on with one that was stopped.
    ///
    /// Cancel safe: dropped, it goes on at the next call.
    ///
    /// Errors: MIG-018 (the contract phase has begun, or it is done), LOCK-002, LOCK-003, CFG-003, and
    /// those of a statement.
    pub async fn abort(&self, name: &str) -> Result<()> {
        let lock = self.lock(name).await?;
        let (mut database, mut saved, made) = self.under_way(name).await?;
        match saved.phase {
            Phase::Done => return Err(order(&saved, "it is done, and can't be taken back")),
            Phase::Contract if saved.step > 0 => {
                return Err(order(&saved, "its contract phase has begun, and must be ended"));
            }
            Phase::Abort => {}
            Phase::Expand | Phase::Backfill | Phase::Contract => {
                (saved.phase, saved.step) = (Phase::Abort, 0);
                let note = saved.update_sql(&database.facts)?;
                database.run(&note).await?;
            }
        }
        let mut run = self.runner(database, lock, saved);
        run.steps(&made.abort).await?;
        let forget = run.saved.delete_sql(&run.database.facts);
        run.database.run(&forget).await?;
        run.lock.release().await
    }

    /// Every change with where it stands, by name. Errors: CFG-003, MIG-016, those of connecting.
    pub async fn status(&self) -> Result<Vec<Status>> {
        let mut database = open(&self.db, &self.options).await?;
        let saved = state::all(&mut database).await?;
        let one = |saved: Saved| {
            let kind = Change::parse(&saved.name, &saved.declaration)
                .map_or_else(|_| "unknown".to_owned(), |change| change.kind.key().to_owned());
            Status {
                kind,
                table: saved.ground.table,
                phase: saved.phase,
                step: saved.step,
                rows_done: saved.rows_done,
                rows_total: saved.ground.rows,
                started_at: saved.started_at,
                updated_at: saved.updated_at,
                name: saved.name,
            }
        };
        Ok(saved.into_iter().map(one).collect())
    }

    /// Keeps a second process out. Errors: LOCK-002, CFG-003.
    async fn lock(&self, name: &str) -> Result<AdvisoryLock> {
        self.options.validate()?;
        let lock = self.db.advisory_lock(format!("mainstay change {name}")).try_acquire().await?;
        lock.ok_or_else(|| {
            Error::new(Code::LockBusy, format!("another process works on the change {name}"))
                .fix("wait until it is done, or end it: the change goes on where it stopped")
        })
    }

    /// Errors: MIG-018 where there is none.
    async fn under_way(&self, name: &str) -> Result<(Database, Saved, Made)> {
        let mut database = open(&self.db, &self.options).await?;
        let Some(saved) = state::find(&mut database, name).await? else {
            let all = state::all(&mut database).await?;
            let names: Vec<_> = all.iter().map(|saved| saved.name.as_str()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let what = format!("no change called {name} was started");
            return Err(Error::new(Code::ExpandOrder, what).why(format!("there are: {known}")));
        };
        let change = Change::parse(&format!("mainstay_change: {name}"), &saved.declaration)?;
        let made = make::make(&database.facts, &saved.ground, &change)?;
        Ok((database, saved, made))
    }

    fn runner(&self, database: Database, lock: AdvisoryLock, saved: Saved) -> Runner<'_> {
        Runner { database, lock, saved, options: &self.options, tell: &self.tell }
    }
}

/// Looks whether a change can be made, and writes down that it begins.
///
/// Errors: MIG-017, MIG-018 where another one of the same table is not done.
async fn begin(database: &mut Database, change: &Change) -> Result<Saved> {
    let ground = look::ground(database, &change.table).await?;
    let engine = database.facts.engine;
    let others = state::all(database).await?;
    let of_table = |other: &&Saved| expr::same(engine, &other.ground.table, &ground.table);
    if let Some(other) = others.iter().filter(of_table).find(|other| other.phase != Phase::Done) {
        // Each keeps what the table was before it, and would undo or miss what the other does.
        let why = format!("until it is done, no other one of {} begins", ground.table);
        return Err(order(other, &why).fix("end that change first, or take it back"));
    }
    look::check(database, change, &ground).await?;
    let made = make::make(&database.facts, &ground, change)?;
    look::free(database, &ground, &made.makes).await?;
    let saved = Saved::new(&change.name, &change.text, ground, now());
    let sql = saved.insert_sql(&database.facts)?;
    database.run(&sql).await?;
    Ok(saved)
}

/// Writes down that a phase is over, and lets go of the lock.
async fn finish(mut run: Runner<'_>, phase: Phase) -> Result<()> {
    (run.saved.phase, run.saved.step) = (phase, 0);
    run.saved.updated_at = now();
    let note = run.saved.update_sql(&run.database.facts)?;
    run.database.run(&note).await?;
    run.lock.release().await
}

/// A session that waits for no lock for long. Errors: CFG-003, DB-036, those of connecting.
async fn open(db: &Db, options: &OnlineOptions) -> Result<Database> {
    options.validate()?;
    let OnlineOptions { lock_timeout, lock_retries, .. } = *options;
    Database::open(db, &Options { lock_timeout, lock_retries, ..Options::default() }).await
}

/// Whether the change under way is the one declared, however the file is laid out.
fn same(saved: &Saved, change: &Change) -> Result<bool> {
    let before = Change::parse(&format!("mainstay_change: {}", saved.name), &saved.declaration)?;
    Ok(before.table == change.table && before.kind == change.kind)
}

/// Errors: MIG-018.
fn order(saved: &Saved, why: &str) -> Error {
    let what = format!("the change {} is in its {} phase: {why}", saved.name, saved.phase);
    Error::new(Code::ExpandOrder, what)
}
