//! A Liquibase changelog run against a database: what is new is applied and recorded, as Liquibase
//! does, so that either can go on where the other stopped.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use mainstay_core::clock::Clock;
use mainstay_core::{Code, Error, Result};
use mainstay_db::{Db, Session};
use serde::Serialize;

use super::folder::Folder;
use super::precondition::{Preconditions, Reaction};
use super::store::{self, How, Ran, Who, who};
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
    options: Options,
    tell: Tell,
}

/// What a run of a changelog did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChangelogReport {
    /// The change sets that ran, or were taken back: `file::id::author`.
    pub ran: Vec<String>,
    /// Those that a precondition passed over, for good.
    pub marked_ran: Vec<String>,
    /// Those that were passed over this time, with why.
    pub skipped: Vec<String>,
}

/// Where a change set stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeSetStatus {
    /// `file::id::author`.
    pub name: String,
    /// Its line in its file.
    pub line: usize,
    /// Whether the next update runs it.
    pub pending: bool,
    /// As the history says, `EXECUTED` and the like.
    pub state: Option<String>,
    /// When it ran.
    pub executed_on: Option<String>,
    /// Its checksum now.
    pub checksum: String,
    /// Whether it is not what ran.
    pub changed: bool,
}

/// Up to where a rollback goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RollbackTo {
    /// So many change sets, the last first.
    Count(usize),
    /// All that ran after the one with this tag.
    Tag(String),
}

/// A change set's SQL, as it would be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangeSetSql {
    /// `file::id::author`.
    pub name: String,
    /// The statements.
    pub statements: Vec<String>,
}

struct Opened {
    database: Database,
    log: ChangeLog,
    target: Target,
    meant: Meant,
    ran: Vec<Ran>,
}

/// What a set's turn comes to.
enum Turn {
    Run(How),
    Pass,
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

    async fn open(&self) -> Result<Opened> {
        let mut options = self.options.clone();
        store::table_name(self.db.engine()).clone_into(&mut options.table);
        options.validate()?;
        let mut database = Database::open(&self.db, &options).await?;
        let target = Target { engine: database.facts.engine, mariadb: database.facts.mariadb };
        let mut meant = Meant::new(target);
        meant.contexts.clone_from(&self.contexts);
        meant.labels.clone_from(&self.labels);
        meant.parameters.clone_from(&self.parameters);
        let log = load(&self.root, &self.folder, &meant)?;
        let ran = store::read(&mut database).await?;
        Ok(Opened { database, log, target, meant, ran })
    }

    /// Runs every change set that is meant and did not run yet, or runs again where it says so.
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
        let index = store::index(&opened.ran);
        opened.check_sums(&index)?;
        let lock = self.lock(&mut opened).await?;
        store::create(&mut opened.database).await?;
        progress::create(&mut opened.database).await?;
        let _liquibase = store::hold(&mut opened.database, self.options.lock_wait).await?;
        opened.ran = store::read(&mut opened.database).await?;
        self.update_locked(opened, lock).await
    }

    async fn lock(&self, opened: &mut Opened) -> Result<MigrationLock> {
        let waiting = || self.tell.tell(Told::Waiting);
        MigrationLock::acquire(&mut opened.database, self.options.lock_wait, waiting).await
    }

    async fn update_locked(&self, opened: Opened, lock: MigrationLock) -> Result<ChangelogReport> {
        let Opened { mut database, log, target, meant, ran } = opened;
        for asked in &log.preconditions {
            self.ask(&mut database, target, &ran, asked).await?;
        }
        let kept = progress::read(&mut database).await?.into_iter().collect();
        let (scripts, values) = (Scripts::default(), Placeholders::default());
        let mut run = Runner {
            database,
            lock,
            history: History::default(),
            progress: kept,
            scripts: &scripts,
            values: &values,
            options: &self.options,
            tell: &self.tell,
        };
        let mut done =
            Done { deployment: store::deployment_id(), ran, report: ChangelogReport::default() };
        for set in &log.sets {
            if meant.means(set)? {
                self.turn(&mut run, set, target, &mut done).await?;
            }
        }
        Ok(done.report)
    }

    async fn turn(
        &self,
        run: &mut Runner<'_>,
        set: &ChangeSet,
        target: Target,
        done: &mut Done,
    ) -> Result<()> {
        let sum = checksum::set(set, target.name());
        let before = done.ran.iter().find(|row| row.who() == who(set)).cloned();
        let how = match before {
            None => How::Executed,
            Some(row) => match again(set, &row, &sum) {
                Again::No => return Ok(()),
                Again::Restate => {
                    let sql = store::restate_sql(&run.database.facts, &row, &sum);
                    return run.database.run(&sql).await.map(drop);
                }
                Again::Yes => How::Reran,
            },
        };
        let turn = match &set.preconditions {
            None => Turn::Run(how),
            Some(asked) => match self.react(run, set, target, &done.ran, asked).await? {
                Reaction::MarkRan => Turn::Run(How::MarkedRan),
                Reaction::Continue => Turn::Pass,
                Reaction::Halt | Reaction::Warn => Turn::Run(how),
            },
        };
        let Turn::Run(how) = turn else {
            done.report.skipped.push(set.name());
            return Ok(());
        };
        let order = done.ran.iter().map(|row| row.order).max().unwrap_or(0) + 1;
        let facts = &run.database.facts;
        let record = store::record_sql(facts, set, target.name(), how, order, &done.deployment);
        if how == How::MarkedRan {
            run.database.run(&record).await?;
            done.report.marked_ran.push(set.name());
        } else {
            let statements = render::statements(set, target)?;
            match execute(run, set, statements, record).await {
                Ok(()) => done.report.ran.push(set.name()),
                Err(error) if !set.fail_on_error && error.code() == Code::MigrationFailed => {
                    self.tell.note(&format!("{} failed, which it allows: {error}", set.name()));
                    done.report.skipped.push(set.name());
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        done.note(set, how, order, sum);
        Ok(())
    }

    /// What is to be done about a set's preconditions: `Halt` where they hold.
    async fn react(
        &self,
        run: &mut Runner<'_>,
        set: &ChangeSet,
        target: Target,
        ran: &[Ran],
        asked: &Preconditions,
    ) -> Result<Reaction> {
        let held = ask::all(&mut run.database, target, ran, &asked.conditions).await;
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
        ran: &[Ran],
        asked: &Preconditions,
    ) -> Result<()> {
        let held = ask::all(database, target, ran, &asked.conditions).await;
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

    /// What `update` would send, without what it records. Preconditions are not asked.
    ///
    /// Errors: MIG-002, MIG-014.
    pub async fn dry_run(&self) -> Result<Vec<ChangeSetSql>> {
        let opened = self.open().await?;
        let index = store::index(&opened.ran);
        opened.check_sums(&index)?;
        let mut out = Vec::new();
        for set in &opened.log.sets {
            if opened.meant.means(set)? && opened.is_pending(set, &index) {
                let statements = render::statements(set, opened.target)?;
                out.push(ChangeSetSql { name: set.name(), statements });
            }
        }
        Ok(out)
    }

    /// Each change set that is meant, with where it stands. Errors: MIG-014.
    pub async fn status(&self) -> Result<Vec<ChangeSetStatus>> {
        let opened = self.open().await?;
        let index = store::index(&opened.ran);
        let mut out = Vec::new();
        for set in &opened.log.sets {
            if !opened.meant.means(set)? {
                continue;
            }
            let sum = checksum::set(set, opened.target.name());
            let row = index.get(&who(set));
            out.push(ChangeSetStatus {
                name: set.name(),
                line: set.line(),
                pending: opened.is_pending(set, &index),
                state: row.map(|row| row.kind.clone()),
                executed_on: row.map(|row| row.on.clone()),
                changed: row.is_some_and(|row| is_changed(set, row, &sum)),
                checksum: sum,
            });
        }
        Ok(out)
    }

    /// Whether the changelog can be read and what ran is what it says. Errors: MIG-002, MIG-014.
    pub async fn validate(&self) -> Result<()> {
        let opened = self.open().await?;
        opened.check_sums(&store::index(&opened.ran))
    }

    /// Takes change sets back, the last that ran first: by their own rollback, or else by undoing each
    /// change that can be undone. All are looked at before any is taken back.
    ///
    /// Errors: MIG-012 (one can't be taken back), MIG-016 (no such tag), and as
    /// [`update`](Self::update).
    pub async fn rollback(&self, to: RollbackTo) -> Result<ChangelogReport> {
        let mut opened = self.open().await?;
        let lock = self.lock(&mut opened).await?;
        store::create(&mut opened.database).await?;
        progress::create(&mut opened.database).await?;
        let _liquibase: Option<Session> =
            store::hold(&mut opened.database, self.options.lock_wait).await?;
        opened.ran = store::read(&mut opened.database).await?;
        let rows = last(&opened.ran, &to)?;
        let mut todo = Vec::new();
        for row in rows {
            let set = opened.log.sets.iter().find(|set| who(set) == row.who());
            let set = set.ok_or_else(|| {
                let name = format!("{}::{}::{}", row.file, row.id, row.author);
                Error::new(Code::MigrationUndo, format!("{name} ran and is in no file any more"))
            })?;
            todo.push((set.clone(), row.clone(), render::rollback(set, opened.target)?));
        }
        let (scripts, values) = (Scripts::default(), Placeholders::default());
        let kept = progress::read(&mut opened.database).await?.into_iter().collect();
        let mut run = Runner {
            database: opened.database,
            lock,
            history: History::default(),
            progress: kept,
            scripts: &scripts,
            values: &values,
            options: &self.options,
            tell: &self.tell,
        };
        let mut report = ChangelogReport::default();
        for (set, row, statements) in todo {
            let record = store::remove_sql(&run.database.facts, &row);
            execute(&mut run, &set, statements, record).await?;
            report.ran.push(set.name());
        }
        Ok(report)
    }
}

/// What an update has done so far.
struct Done {
    deployment: String,
    ran: Vec<Ran>,
    report: ChangelogReport,
}

impl Done {
    fn note(&mut self, set: &ChangeSet, how: How, order: i32, sum: String) {
        let (file, id, author) = who(set);
        self.ran.retain(|row| row.who() != who(set));
        self.ran.push(Ran {
            order,
            kind: how.as_str().to_owned(),
            md5sum: Some(sum),
            tag: set.tag().map(str::to_owned),
            on: String::new(),
            file,
            id,
            author,
        });
    }
}

impl Opened {
    /// Errors: MIG-002, naming every change set that was edited.
    fn check_sums(&self, index: &HashMap<Who, Ran>) -> Result<()> {
        let mut changed = Vec::new();
        for set in &self.log.sets {
            let sum = checksum::set(set, self.target.name());
            if let Some(row) = index.get(&who(set))
                && is_changed(set, row, &sum)
            {
                let before = row.md5sum.clone().unwrap_or_default();
                changed.push(format!("{}: {} was {before}, and is {sum}", set.at, set.name()));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let what = format!("{} change sets are not what ran", changed.len());
        Err(Error::new(Code::MigrationChanged, what).why(changed.join("\n")).fix(
            "put them back as they were and write the change as a new change set; \
             or allow the new checksum with validCheckSum, or runOnChange",
        ))
    }

    fn is_pending(&self, set: &ChangeSet, index: &HashMap<Who, Ran>) -> bool {
        let sum = checksum::set(set, self.target.name());
        let row = index.get(&who(set));
        row.is_none_or(|row| matches!(again(set, row, &sum), Again::Yes))
    }
}

enum Again {
    No,
    Yes,
    /// The row is given the checksum: it has none, or one of an older Liquibase.
    Restate,
}

fn again(set: &ChangeSet, row: &Ran, sum: &str) -> Again {
    let same = row.md5sum.as_deref() == Some(sum);
    if set.run_always || (set.run_on_change && !same && is_current(row)) {
        return Again::Yes;
    }
    if same || is_current(row) { Again::No } else { Again::Restate }
}

/// Whether the row's checksum is one that ours can be compared with.
fn is_current(row: &Ran) -> bool {
    row.md5sum.as_deref().is_some_and(|sum| sum.starts_with("9:"))
}

fn is_changed(set: &ChangeSet, row: &Ran, sum: &str) -> bool {
    let allowed = || {
        set.valid_checksums.iter().any(|valid| {
            let valid = valid.trim();
            valid == sum || valid.eq_ignore_ascii_case("any") || valid.ends_with(":any")
        })
    };
    is_current(row)
        && row.md5sum.as_deref() != Some(sum)
        && !(set.run_on_change || set.run_always)
        && !allowed()
}

fn refusal(asked: &Preconditions, message: Option<&str>, untold: bool) -> String {
    let what = if untold { "a precondition can't be told" } else { "a precondition does not hold" };
    match message {
        Some(message) => format!("{}: {what}: {message}", asked.at),
        None => format!("{}: {what}", asked.at),
    }
}

/// The rows to be taken back, the last first. Errors: MIG-016.
fn last(ran: &[Ran], to: &RollbackTo) -> Result<Vec<Ran>> {
    let mut rows: Vec<Ran> = ran.to_vec();
    rows.sort_by_key(|row| std::cmp::Reverse(row.order));
    match to {
        RollbackTo::Count(count) => rows.truncate(*count),
        RollbackTo::Tag(tag) => {
            let at =
                rows.iter().position(|row| row.tag.as_deref() == Some(tag)).ok_or_else(|| {
                    Error::new(Code::MigrationHistory, format!("no change set has the tag `{tag}`"))
                })?;
            rows.truncate(at);
        }
    }
    Ok(rows)
}

/// Runs a set's statements and `record`.
async fn execute(
    run: &mut Runner<'_>,
    set: &ChangeSet,
    statements: Vec<String>,
    record: String,
) -> Result<()> {
    let facts = run.database.facts.clone();
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
    // A name of any length, as one that fits the table.
    let name = hash_of([set.file.as_str(), set.id.as_str(), set.author.as_str()]);
    let key = Key { kind: 'L', name };
    let begun = Clock::system().now();
    let job = Job {
        script: &script,
        prepared,
        key,
        sha256,
        around: &MIGRATE,
        record: Record::Sql(record),
        begun,
    };
    run.run(job).await.map(drop)
}
