//! A Liquibase changelog run against a database: what is new is applied and recorded, as Liquibase
//! does, so that either can go on where the other stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::Db;

use super::folder::Folder;
use super::hold::Hold;
use super::precondition::{Preconditions, Reaction};
use super::report::ChangelogReport;
use super::standing::{Again, again};
use super::store::{self, How, Ran, Rows, who};
use super::{ChangeLog, ChangeSet, Options as Meant, Target, ask, checksum, load, render};
use crate::conf::Conf;
use crate::database::Database;
use crate::history::History;
use crate::lock::MigrationLock;
use crate::name::Kind;
use crate::nature::{Nature, nature};
use crate::options::Options;
use crate::placeholder::Placeholders;
use crate::progress::{self, Key, hash_of};
use crate::run::{Job, MIGRATE, Record, Runner};
use crate::script::{Prepared, Step};
use crate::source::{Script, Scripts};
use crate::split::Statement;
use crate::told::{Tell, Told};

/// A Liquibase changelog and the database that it is for.
///
/// Formatted SQL, XML, YAML and JSON, with `include` and `includeAll`, properties, contexts, labels,
/// preconditions and rollback. Its history is Liquibase's `databasechangelog`, with checksums of
/// version 9. What is not known of a changelog is an error, never left out.
///
/// ```no_run
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use mainstay_migrate::Changelog;
///
/// let db = mainstay_db::Db::connect("sqlite:shop.db").await?;
/// let done = Changelog::new(&db, "db/changelog.yaml").contexts(["prod"]).update().await?;
/// println!("{} change sets ran", done.ran.len());
/// # Ok::<(), mainstay_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Changelog {
    db: Db,
    root: String,
    folder: Folder,
    contexts: Vec<String>,
    labels: Option<String>,
    parameters: BTreeMap<String, String>,
    pub(super) options: Options,
    pub(super) tell: Tell,
}

/// A changelog that has been read, with what its database says of it.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) log: ChangeLog,
    pub(super) target: Target,
    pub(super) meant: Meant,
    /// In the order in which they ran.
    pub(super) ran: Vec<Ran>,
}

/// What a run has in hand, with Liquibase kept out.
pub(super) struct Work<'a> {
    pub(super) run: Runner<'a>,
    hold: Hold,
    target: Target,
}

/// What an update has done so far.
struct Done {
    deployment: String,
    /// The highest number of the history.
    order: i32,
    rows: Rows,
    report: ChangelogReport,
}

impl Changelog {
    /// The changelog whose first file is `root`, a path from the current folder.
    pub fn new(db: &Db, root: impl Into<String>) -> Self {
        Self {
            db: db.clone(),
            root: root.into(),
            folder: Folder(PathBuf::from(".")),
            contexts: Vec::new(),
            labels: None,
            parameters: BTreeMap::new(),
            options: Options::default(),
            tell: Tell::default(),
        }
    }

    /// The folder that all paths lead from, as Liquibase's `searchPath`. The history names files from
    /// there.
    #[must_use]
    pub fn search_path(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Folder(folder.into());
        self
    }

    /// The contexts of this run; without any, every context's change sets run.
    #[must_use]
    pub fn contexts<C: Into<String>>(mut self, contexts: impl IntoIterator<Item = C>) -> Self {
        self.contexts = contexts.into_iter().map(Into::into).collect();
        self
    }

    /// An expression of labels, such as `a and !b`.
    #[must_use]
    pub fn labels(mut self, expression: impl Into<String>) -> Self {
        self.labels = Some(expression.into());
        self
    }

    /// The value of a property, which wins over the changelog's own.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }

    /// How locks are waited for: `lock_wait`, `lock_timeout` and `lock_retries` count.
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

    /// A session, with the history's table as Liquibase calls it.
    pub(super) async fn connect(&self) -> Result<Database> {
        let mut options = self.options.clone();
        store::table_name(self.db.engine()).clone_into(&mut options.table);
        options.validate()?;
        Database::open(&self.db, &options).await
    }

    pub(super) async fn open(&self) -> Result<Opened> {
        let mut database = self.connect().await?;
        let target = target(&database);
        let mut meant = Meant::new(target);
        meant.contexts.clone_from(&self.contexts);
        meant.labels.clone_from(&self.labels);
        meant.parameters.clone_from(&self.parameters);
        let log = load(&self.root, &self.folder, &meant)?;
        let ran = store::read(&mut database).await?;
        Ok(Opened { database, log, target, meant, ran })
    }

    /// Waits until nobody else migrates, makes the tables, and keeps Liquibase out.
    pub(super) async fn lock(&self, database: &mut Database) -> Result<(MigrationLock, Hold)> {
        let waiting = || self.tell.tell(Told::Waiting);
        let lock = MigrationLock::acquire(database, self.options.lock_wait, waiting).await?;
        store::create(database).await?;
        progress::create(database).await?;
        let hold = Hold::acquire(database, &self.options).await?;
        Ok((lock, hold))
    }

    /// What runs change sets.
    pub(super) async fn work<'a>(
        &'a self,
        mut database: Database,
        (lock, hold): (MigrationLock, Hold),
        scripts: &'a Scripts,
        values: &'a Placeholders,
    ) -> Result<Work<'a>> {
        let target = target(&database);
        let progress = progress::read(&mut database).await?.into_iter().collect();
        let history = History::default();
        let (options, tell) = (&self.options, &self.tell);
        let run = Runner { database, lock, history, progress, scripts, values, options, tell };
        Ok(Work { run, hold, target })
    }

    /// Runs every change set that is meant and did not run yet, or runs again where it says so. What the
    /// engine can't do is met before anything runs.
    ///
    /// Each in one transaction where its statements can be in one; otherwise statement by statement,
    /// and after a failure, or the end of the process, the next update goes on with the statement that
    /// was not done.
    ///
    /// Cancel safe: dropped, the change set under way is rolled back, or goes on at the next update.
    ///
    /// Errors: MIG-002 (a change set that ran was edited), MIG-005, MIG-006, MIG-007, MIG-014 (the
    /// changelog), MIG-015 (a precondition), LOCK-003.
    pub async fn update(&self) -> Result<ChangelogReport> {
        let mut opened = self.open().await?;
        opened.check_sums(&store::index(&opened.ran))?;
        let locks = self.lock(&mut opened.database).await?;
        // Another process may have run meanwhile, with another version of the files.
        opened.ran = store::read(&mut opened.database).await?;
        let rows = store::index(&opened.ran);
        opened.check_sums(&rows)?;
        let target = opened.target;
        for asked in &opened.log.preconditions {
            self.ask(&mut opened.database, target, &rows, asked).await?;
        }
        opened.can_run(&rows)?;
        let Opened { database, log, meant, ran, .. } = opened;
        let (scripts, values) = (Scripts::default(), Placeholders::default());
        let mut work = self.work(database, locks, &scripts, &values).await?;
        let order = store::last_order(&ran);
        let (deployment, report) = (store::deployment_id(), ChangelogReport::default());
        let mut done = Done { deployment, order, rows, report };
        for set in &log.sets {
            if meant.means(set)? {
                self.turn(&mut work, set, &mut done).await?;
            }
        }
        Ok(done.report)
    }

    async fn turn(&self, work: &mut Work<'_>, set: &ChangeSet, done: &mut Done) -> Result<()> {
        let sum = checksum::set(set, work.target.name());
        let Some(how) = self.how(work, set, done, &sum).await? else { return Ok(()) };
        let (how, statements) = match render::statements(set, work.target) {
            _ if how == How::MarkedRan => (how, Vec::new()),
            Err(error) if set.mark_invalid && !set.stops() => {
                self.tell.note(&format!("{} counts as run, as it says: {error}", set.name()));
                (How::MarkedRan, Vec::new())
            }
            rendered => (how, rendered?),
        };
        let before = done.rows.get(&who(set));
        let (order, deployment) = (done.order + 1, &done.deployment);
        let (facts, dbms) = (&work.run.database.facts, work.target.name());
        let record = store::record_sql(facts, set, dbms, before, how, order, deployment);
        if how == How::MarkedRan {
            work.write(&record).await?;
            done.report.marked_ran.push(set.name());
        } else {
            match work.execute(set, statements, record).await {
                Ok(()) => done.report.ran.push(set.name()),
                Err(error) if !set.fail_on_error && error.code() == Code::MigrationFailed => {
                    self.tell.note(&format!("{} failed, which it allows: {error}", set.name()));
                    done.report.skipped.push(set.name());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        done.note(set, how, sum);
        Ok(())
    }

    /// How a set runs; none if it does not, this time.
    async fn how(
        &self,
        work: &mut Work<'_>,
        set: &ChangeSet,
        done: &mut Done,
        sum: &str,
    ) -> Result<Option<How>> {
        let how = match done.rows.get(&who(set)) {
            None => How::Executed,
            Some(row) => match again(set, row, sum) {
                Again::No => return Ok(None),
                Again::Yes => How::Reran,
                Again::Restate => {
                    if let Some(old) = &row.md5sum {
                        self.tell.note(&format!(
                            "{}: its checksum {old} is of another Liquibase and could not be \
                             compared; from now on it is {sum}",
                            set.name()
                        ));
                    }
                    let sql = store::restate_sql(&work.run.database.facts, row, sum);
                    work.write(&sql).await?;
                    return Ok(None);
                }
            },
        };
        let Some(asked) = &set.preconditions else { return Ok(Some(how)) };
        match self.react(work, set, &done.rows, asked).await? {
            Reaction::MarkRan => Ok(Some(How::MarkedRan)),
            Reaction::Halt | Reaction::Warn => Ok(Some(how)),
            Reaction::Continue => {
                done.report.skipped.push(set.name());
                Ok(None)
            }
        }
    }

    /// What is to be done about a set's preconditions: `Halt` where they hold.
    async fn react(
        &self,
        work: &mut Work<'_>,
        set: &ChangeSet,
        rows: &Rows,
        asked: &Preconditions,
    ) -> Result<Reaction> {
        let database = &mut work.run.database;
        let held = ask::all(database, work.target, rows, &asked.conditions).await;
        let (reaction, message, cause) = match held {
            Ok(true) => return Ok(Reaction::Halt),
            Ok(false) => (asked.on_fail, &asked.fail_message, None),
            Err(error) => (asked.on_error, &asked.error_message, Some(error)),
        };
        let what = refusal(asked, message.as_deref(), cause.is_some());
        if reaction == Reaction::Halt {
            let error = Error::new(Code::MigrationPrecondition, what);
            return Err(cause.into_iter().fold(error, Error::cause));
        }
        self.tell.note(&format!("{}: {what}", set.name()));
        Ok(reaction)
    }

    /// Of the whole changelog. Errors: MIG-015.
    async fn ask(
        &self,
        database: &mut Database,
        target: Target,
        rows: &Rows,
        asked: &Preconditions,
    ) -> Result<()> {
        let held = ask::all(database, target, rows, &asked.conditions).await;
        let (reaction, message, cause) = match held {
            Ok(true) => return Ok(()),
            Ok(false) => (asked.on_fail, &asked.fail_message, None),
            Err(error) => (asked.on_error, &asked.error_message, Some(error)),
        };
        let what = refusal(asked, message.as_deref(), cause.is_some());
        if reaction == Reaction::Warn {
            self.tell.note(&what);
            return Ok(());
        }
        let error = Error::new(Code::MigrationPrecondition, what);
        Err(cause.into_iter().fold(error, Error::cause))
    }
}

impl Done {
    fn note(&mut self, set: &ChangeSet, how: How, sum: String) {
        self.order += 1;
        let before = self.rows.get(&who(set));
        let row = Ran {
            order: self.order,
            kind: how.as_str().to_owned(),
            md5sum: Some(sum),
            tag: set.tag().map(str::to_owned),
            on: String::new(),
            // Its row keeps the name that it has.
            file: before.map_or_else(|| set.file.clone(), |row| row.file.clone()),
            id: set.id.clone(),
            author: set.author.clone(),
            description: String::new(),
        };
        self.rows.insert(who(set), row);
    }
}

impl Work<'_> {
    /// Makes sure that nobody else migrates.
    async fn check(&mut self) -> Result<()> {
        self.run.lock.check().await?;
        self.hold.check().await
    }

    /// Runs a statement of the history's.
    pub(super) async fn write(&mut self, sql: &str) -> Result<()> {
        self.check().await?;
        self.run.database.run(sql).await.map(drop)
    }

    /// Runs a set's statements and `record`.
    pub(super) async fn execute(
        &mut self,
        set: &ChangeSet,
        statements: Vec<String>,
        record: String,
    ) -> Result<()> {
        self.check().await?;
        let facts = self.run.database.facts.clone();
        let sha256 = hash_of(statements.iter().map(String::as_str));
        let step = |text: String| {
            let (line, column) = (set.line(), 1);
            let nature = nature(&text, &facts);
            Step { statement: Statement { text, bytes: 0..0, line, column, copy: None }, nature }
        };
        let steps: Vec<Step> = statements.into_iter().map(step).collect();
        let fits = steps.iter().all(|s| matches!(s.nature, Nature::Plain | Nature::Setting));
        let prepared = Prepared {
            path: set.at.file.to_string(),
            in_transaction: set.run_in_transaction && fits,
            sets_session: steps.iter().any(|s| matches!(s.nature, Nature::Setting | Nature::Alone)),
            steps,
        };
        let conf =
            Conf { in_transaction: (!set.run_in_transaction).then_some(false), ..Conf::default() };
        let script = Script {
            kind: Kind::Repeatable,
            description: set.id.clone(),
            script: set.file.clone(),
            path: set.name(),
            text: "".into(),
            conf,
        };
        let job = Job {
            script: &script,
            prepared,
            key: key(set),
            sha256,
            around: &MIGRATE,
            record: Record::Sql(record),
            begun: Clock::system().now(),
        };
        self.run.run(job).await.map(drop)
    }
}

/// What our own table calls a set: a name of any length, as one that fits.
pub(super) fn key(set: &ChangeSet) -> Key {
    let name = hash_of([set.file.as_str(), set.id.as_str(), set.author.as_str()]);
    Key { kind: 'L', name }
}

fn target(database: &Database) -> Target {
    Target { engine: database.facts.engine, mariadb: database.facts.mariadb }
}

fn refusal(asked: &Preconditions, message: Option<&str>, untold: bool) -> String {
    let what = if untold { "a precondition can't be told" } else { "a precondition does not hold" };
    match message {
        Some(message) => format!("{}: {what}: {message}", asked.at),
        None => format!("{}: {what}", asked.at),
    }
}
