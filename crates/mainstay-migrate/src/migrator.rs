//! What is done with the migrations of one database: applied, shown, checked, taken back, repaired.

use std::collections::HashMap;
use std::time::Duration;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;
use serde::Serialize;

use crate::callback::Event;
use crate::database::{Database, Facts};
use crate::history::{Applied, History};
use crate::info::{Info, kind_of};
use crate::lock::MigrationLock;
use crate::options::Options;
use crate::placeholder::Placeholders;
use crate::plan::{Inputs, Item, Plan, Target};
use crate::progress::{self, Key, Progress};
use crate::run::{MIGRATE, Runner, run_callbacks};
use crate::script::prepare;
use crate::source::{Migrations, Scripts};
use crate::split::Statement;
use crate::state::State;
use crate::told::{Tell, Told};
use crate::validate::{Validation, can_resume, validate};

/// The migrations of a database, and what can be done with them.
///
/// ```
/// use mainstay_migrate::{Migrations, Migrator, Target};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let db = mainstay_db::Db::connect("sqlite::memory:").await?;
/// let migrations =
///     Migrations::new().text("V1__users.sql", "CREATE TABLE users (id INTEGER PRIMARY KEY)");
/// let migrator = Migrator::new(&db, migrations);
/// let done = migrator.up(Target::Latest).await?;
/// assert_eq!(done.applied.len(), 1);
/// assert_eq!(migrator.info().await?.version.as_deref(), Some("1"));
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Migrator {
    pub(crate) db: Db,
    pub(crate) migrations: Migrations,
    pub(crate) options: Options,
    pub(crate) tell: Tell,
}

/// What `up` or `undo` did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The scripts that ran, in order.
    pub applied: Vec<Ran>,
    /// The highest version that is applied now.
    pub version: Option<String>,
    /// What ought to be looked at.
    pub warnings: Vec<String>,
    /// The scripts in the history that this program does not know: a newer one was here.
    pub unknown: Vec<String>,
}

/// A script that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ran {
    /// Its file, below its folder.
    pub script: String,
    /// Of a versioned one.
    pub version: Option<String>,
    /// What its name says.
    pub description: String,
    /// How long it took, in milliseconds.
    #[serde(rename = "took_ms", serialize_with = "as_ms")]
    pub took: Duration,
}

fn as_ms<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}

/// A script that would run.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// Its file, as messages name it.
    pub path: String,
    /// Of a versioned one.
    pub version: Option<String>,
    /// Whether all of it runs in one transaction.
    pub in_transaction: bool,
    /// What would be sent.
    #[serde(skip)]
    pub statements: Vec<Statement>,
}

/// What a command has read before it begins.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) scripts: Scripts,
    pub(crate) values: Placeholders,
    pub(crate) history: History,
    pub(crate) progress: HashMap<Key, Progress>,
}

impl Migrator {
    /// Of `db`, with the default options.
    pub fn new(db: &Db, migrations: Migrations) -> Self {
        let (options, tell) = (Options::default(), Tell::default());
        Self { db: db.clone(), migrations, options, tell }
    }

    /// With these options.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Tells `tell` what happens meanwhile, in place of the log.
    #[must_use]
    pub fn on(mut self, tell: impl Fn(Told<'_>) + Send + Sync + 'static) -> Self {
        self.tell = Tell::new(tell);
        self
    }

    pub(crate) async fn open(&self) -> Result<Opened> {
        self.options.validate()?;
        let mut database = Database::open(&self.db, &self.options).await?;
        let scripts = self.migrations.load(database.facts.scripts_for())?;
        for script in &scripts.callbacks {
            if let crate::name::Kind::Callback(event) = script.kind
                && event.never_runs()
            {
                self.tell.note(&format!("{}: {} never happens here", script.path, event.as_str()));
            }
        }
        let values = self.values(&database);
        database.greet(self.hello(&scripts, &values, &database.facts)?).await?;
        let history = History::read(&mut database).await?;
        let progress = progress::read(&mut database).await?.into_iter().collect();
        Ok(Opened { database, scripts, values, history, progress })
    }

    /// The statements of `afterConnect`.
    fn hello(
        &self,
        scripts: &Scripts,
        values: &Placeholders,
        facts: &Facts,
    ) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for script in &scripts.callbacks {
            if script.kind == crate::name::Kind::Callback(Event::AfterConnect) {
                let ready = prepare(script, values, self.options.replace_placeholders, facts)?;
                all.extend(ready.steps.into_iter().map(|step| step.statement.text));
            }
        }
        Ok(all)
    }

    pub(crate) fn values(&self, database: &Database) -> Placeholders {
        let facts = &database.facts;
        let mut values = Placeholders::default();
        let now = chrono::DateTime::<chrono::Utc>::from(Clock::system().wall());
        for (name, value) in [
            ("defaultSchema", facts.schema.clone()),
            ("user", facts.user.clone()),
            ("database", facts.database.clone()),
            ("table", facts.table.clone()),
            ("timestamp", now.format("%Y-%m-%d %H:%M:%S").to_string()),
            ("environment", "default".to_owned()),
        ] {
            values.set(&format!("flyway:{name}"), value);
        }
        let folder = std::env::current_dir().unwrap_or_default();
        values.set("flyway:workingDirectory", folder.display().to_string());
        for (name, value) in &self.options.placeholders {
            values.set_own(name, value.clone());
        }
        values
    }

    /// Applies what is pending, up to `target`. Of several processes one does at a time, and those
    /// that waited find nothing left to do.
    ///
    /// Each script runs in one transaction where its statements can be in one; otherwise statement by
    /// statement, and after a failure, or the end of the process, the next `up` goes on with the
    /// statement that was not done.
    ///
    /// Cancel safe: dropped, the script under way is rolled back, or goes on at the next `up`.
    ///
    /// Errors: MIG-001 to MIG-010, MIG-013, LOCK-003, CFG-003; those of connecting.
    pub async fn up(&self, target: Target) -> Result<Report> {
        let opened = self.open().await?;
        if let Some(report) = self.nothing_to_do(&opened, &target)? {
            return Ok(report);
        }
        self.locked(opened, async |run: &mut Runner<'_>| {
            let done = self.up_locked(run, &target).await;
            if done.is_err() {
                // The failure is what is told; that a callback of it fails too is noted.
                if let Err(error) = run.callback(Event::AfterMigrateError).await {
                    self.tell.note(&format!("afterMigrateError failed: {error}"));
                }
            }
            done
        })
        .await
    }

    /// Does `work` under the lock, with what others have done meanwhile read anew.
    pub(crate) async fn locked<R>(
        &self,
        mut opened: Opened,
        work: impl AsyncFnOnce(&mut Runner<'_>) -> Result<R>,
    ) -> Result<R> {
        let lock = self.lock(&mut opened.database).await?;
        self.read_again(&mut opened).await?;
        let Opened { database, scripts, values, history, progress } = opened;
        let mut run = Runner {
            database,
            lock,
            history,
            progress,
            scripts: &scripts,
            values: &values,
            options: &self.options,
            tell: &self.tell,
        };
        work(&mut run).await
    }

    /// What `up` did, where that is nothing: found without the lock.
    fn nothing_to_do(&self, opened: &Opened, target: &Target) -> Result<Option<Report>> {
        if !opened.history.exists || !opened.scripts.callbacks.is_empty() {
            return Ok(None);
        }
        let inputs = self.inputs(opened, target);
        let plan = Plan::make(&inputs)?;
        let warnings = self.checked(&plan, &opened.progress)?;
        let nothing = todo(&plan, &opened.progress).is_empty();
        let version = plan.current.as_ref().map(ToString::to_string);
        let (applied, unknown) = (Vec::new(), unknown(&plan));
        Ok(nothing.then_some(Report { applied, version, warnings, unknown }))
    }

    pub(crate) fn inputs<'a>(&self, opened: &'a Opened, target: &'a Target) -> Inputs<'a> {
        let Opened { scripts, values, history, .. } = opened;
        Inputs::of(&self.options, scripts, values, history, target)
    }

    /// What checking warns of. Errors: its first problem; a half that can't be gone on with, also where
    /// checking is turned off.
    pub(crate) fn checked(
        &self,
        plan: &Plan<'_>,
        progress: &HashMap<Key, Progress>,
    ) -> Result<Vec<String>> {
        self.no_half(plan, progress)?;
        if !self.options.validate {
            return Ok(Vec::new());
        }
        let found = validate(plan, &self.options, progress, true);
        let mut warnings: Vec<_> = found.warnings.iter().map(|w| w.what.clone()).collect();
        found.check()?;
        let future = plan.items.iter().filter(|item| item.state.is_future());
        warnings.extend(future.map(|i| format!("{} was applied by a newer program", i.name())));
        Ok(warnings)
    }

    /// Errors: MIG-006.
    fn no_half(&self, plan: &Plan<'_>, progress: &HashMap<Key, Progress>) -> Result<()> {
        let failed = plan.items.iter().find(|item| {
            let undo = item.applied.is_some_and(|row| row.is_undo());
            let ignored = item.state == State::FailedFuture
                && self.options.ignores(item.version().is_some(), "future");
            item.state.is_failed() && !ignored && (undo || !can_resume(item, progress))
        });
        if let Some(item) = failed {
            let what = format!("{} failed and left what it had done", item.name());
            return Err(Error::new(Code::MigrationHalf, what));
        }
        let todo = todo(plan, progress);
        let due = |key: &Key| {
            let of = |item: &&Item<'_>| {
                item.script.and_then(|s| Key::of(&s.kind, &s.description)).as_ref() == Some(key)
            };
            todo.iter().any(of)
        };
        // A target may leave one out: it is gone on with when its turn comes.
        let waits = |key: &Key| {
            key.kind == 'L'
                || plan.items.iter().any(|item| {
                    item.state == State::AboveTarget
                        && item.script.and_then(|s| Key::of(&s.kind, &s.description)).as_ref()
                            == Some(key)
                })
        };
        match progress.iter().find(|(key, p)| !p.is_complete() && !due(key) && !waits(key)) {
            None => Ok(()),
            Some((Key { kind: 'U', name }, _)) => {
                let what = format!("the undo of version {name} is half done");
                Err(Error::new(Code::MigrationHalf, what).fix("run mainstay migrate undo again"))
            }
            Some((Key { name, .. }, half)) => {
                let what = format!("{name} is half done, and its file is gone");
                let why = format!("{} of its {} statements are done", half.done, half.total);
                Err(Error::new(Code::MigrationHalf, what).why(why))
            }
        }
    }

    pub(crate) async fn lock(&self, database: &mut Database) -> Result<MigrationLock> {
        let waiting = || self.tell.tell(Told::Waiting);
        MigrationLock::acquire(database, self.options.lock_wait, waiting).await
    }

    pub(crate) async fn read_again(&self, opened: &mut Opened) -> Result<()> {
        opened.history = History::read(&mut opened.database).await?;
        opened.progress = progress::read(&mut opened.database).await?.into_iter().collect();
        Ok(())
    }

    async fn up_locked(&self, run: &mut Runner<'_>, target: &Target) -> Result<Report> {
        let mut report = Report::default();
        {
            let history = run.history.clone();
            let inputs = Inputs::of(&self.options, run.scripts, run.values, &history, target);
            let plan = Plan::make(&inputs)?;
            report.warnings = self.checked(&plan, &run.progress)?;
            report.unknown = unknown(&plan);
        }
        self.prepare_history(run).await?;
        run.callback(Event::BeforeMigrate).await?;
        let history = run.history.clone();
        let inputs = Inputs::of(&self.options, run.scripts, run.values, &history, target);
        let plan = Plan::make(&inputs)?;
        let mut todo = todo(&plan, &run.progress);
        if *target == Target::Next {
            todo.truncate(1);
        }
        for item in &todo {
            if item.version().is_some() {
                report.applied.push(self.apply(run, item).await?);
            }
        }
        run.callback(Event::AfterVersioned).await?;
        if todo.iter().any(|item| item.version().is_none()) {
            run.callback(Event::BeforeRepeatables).await?;
        }
        for item in &todo {
            if item.version().is_none() {
                report.applied.push(self.apply(run, item).await?);
            }
        }
        if !report.applied.is_empty() {
            run.callback(Event::AfterMigrateApplied).await?;
        }
        run.callback(Event::AfterMigrate).await?;
        let last = todo.iter().filter_map(|item| item.version()).max();
        report.version = last.max(plan.current.as_ref()).map(ToString::to_string);
        Ok(report)
    }

    async fn apply(&self, run: &mut Runner<'_>, item: &Item<'_>) -> Result<Ran> {
        let script = item.script.ok_or_else(|| Error::new(Code::MigrationMissing, item.name()))?;
        let version = script.kind.version().cloned();
        let mut row = Applied::new(kind_of(script), version, &script.description, &script.script);
        row.checksum = item.checksum;
        row.by = self.installed_by(&run.database);
        let took = run.apply(script, row, &MIGRATE).await?;
        Ok(Ran {
            script: script.script.clone(),
            version: item.version().map(ToString::to_string),
            description: script.description.clone(),
            took,
        })
    }

    pub(crate) fn installed_by(&self, database: &Database) -> String {
        self.options.installed_by.clone().unwrap_or_else(|| database.facts.user.clone())
    }

    /// Makes the tables, unless that would hide that the database is somebody else's.
    async fn prepare_history(&self, run: &mut Runner<'_>) -> Result<()> {
        if !run.history.exists {
            let found = crate::takeover::look(&mut run.database).await?;
            if found.is_empty() {
                run.history.create(&mut run.database).await?;
            } else if self.options.baseline_on_migrate {
                let row = self.baseline_row(&run.database)?;
                run.history.create_with(&mut run.database, Some(row)).await?;
            } else {
                return Err(found.refusal(&run.database.facts));
            }
        } else if run.history.rows.is_empty()
            && self.options.baseline_on_migrate
            && !crate::takeover::look(&mut run.database).await?.is_empty()
        {
            // MySQL makes the table and its first row one after the other.
            let row = self.baseline_row(&run.database)?;
            run.history.insert(&mut run.database, row).await?;
        }
        progress::create(&mut run.database).await
    }

    pub(crate) fn baseline_row(&self, database: &Database) -> Result<Applied> {
        let version =
            crate::version::Version::parse(&self.options.baseline_version).ok_or_else(|| {
                Error::new(Code::ConfigValue, "migrate.baseline_version is no version")
            })?;
        let description = &self.options.baseline_description;
        let mut row = Applied::new("BASELINE", Some(version), description, description);
        row.by = self.installed_by(database);
        Ok(row)
    }

    /// What `up` would run, as it would be sent; nothing is changed.
    ///
    /// Errors: as [`up`](Self::up), short of running.
    pub async fn dry_run(&self, target: Target) -> Result<Vec<DryRun>> {
        let opened = self.open().await?;
        let inputs = self.inputs(&opened, &target);
        let plan = Plan::make(&inputs)?;
        self.checked(&plan, &opened.progress)?;
        let limit = if target == Target::Next { 1 } else { usize::MAX };
        let mut out = Vec::new();
        for item in todo(&plan, &opened.progress).into_iter().take(limit) {
            let Some(script) = item.script else { continue };
            let replaces = self.options.replace_placeholders;
            let ready = prepare(script, &opened.values, replaces, &opened.database.facts)?;
            out.push(DryRun {
                path: script.path.clone(),
                version: item.version().map(ToString::to_string),
                in_transaction: ready.in_transaction,
                statements: ready.steps.into_iter().map(|step| step.statement).collect(),
            });
        }
        Ok(out)
    }

    /// Each migration with where it stands. Errors: MIG-001, MIG-008, MIG-016.
    pub async fn info(&self) -> Result<Info> {
        let mut opened = self.open().await?;
        self.around_read(&mut opened, Event::BeforeInfo).await?;
        let target = Target::Latest;
        let info = {
            let inputs = self.inputs(&opened, &target);
            let schema = opened.database.facts.schema.clone();
            Plan::make(&inputs).map(|p| Info::of(&p, &opened.scripts, self.db.place(), schema))
        };
        let event = if info.is_ok() { Event::AfterInfo } else { Event::AfterInfoError };
        self.around_read(&mut opened, event).await?;
        info
    }

    async fn around_read(&self, opened: &mut Opened, event: Event) -> Result<()> {
        let Opened { database, scripts, values, .. } = opened;
        run_callbacks(database, scripts, values, &self.options, event).await
    }

    /// Whether what was applied is what the files say, and all that they say. What is pending is a
    /// problem here.
    ///
    /// Errors: MIG-001, MIG-008, MIG-016; what it finds is in the result.
    pub async fn validate(&self) -> Result<Validation> {
        let mut opened = self.open().await?;
        self.around_read(&mut opened, Event::BeforeValidate).await?;
        let target = Target::Latest;
        let found = {
            let inputs = self.inputs(&opened, &target);
            validate(&Plan::make(&inputs)?, &self.options, &opened.progress, false)
        };
        let well = found.problems.is_empty();
        let event = if well { Event::AfterValidate } else { Event::AfterValidateError };
        self.around_read(&mut opened, event).await?;
        Ok(found)
    }
}

/// The scripts that a newer program has applied.
pub(crate) fn unknown(plan: &Plan<'_>) -> Vec<String> {
    let future = plan.items.iter().filter(|item| item.state.is_future());
    future.filter_map(|item| item.applied.map(|row| row.script.clone())).collect()
}

/// What `up` runs: what is pending, and what it can go on with.
pub(crate) fn todo<'p, 'a>(
    plan: &'p Plan<'a>,
    progress: &HashMap<Key, Progress>,
) -> Vec<&'p Item<'a>> {
    let resumes = |item: &Item<'_>| {
        let undo = item.applied.is_some_and(|row| row.is_undo());
        item.state == State::Failed && !undo && can_resume(item, progress)
    };
    let mut todo: Vec<_> = plan.items.iter().filter(|i| resumes(i)).collect();
    todo.extend(plan.pending());
    todo.sort_by(|a, b| {
        let repeatable = |item: &Item<'_>| item.version().is_none();
        repeatable(a).cmp(&repeatable(b)).then_with(|| a.version().cmp(&b.version()))
    });
    todo
}
